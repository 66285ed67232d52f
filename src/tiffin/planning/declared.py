"""Gather what is to be applied: every definition once, with what it refers to, under its kind and name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tiffin.definitions import (
    LATEST,
    DataSource,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    FileSource,
    OnDemandFeatureView,
    Permission,
    Project,
    RequestSource,
    SavedDataset,
    StreamSource,
    ValidationReference,
    view_from_spec,
)
from tiffin.errors import DefinitionError, DefinitionTypeError, UnsupportedError
from tiffin.registry.snapshot import Entry, Snapshot

#: A definition's kind and name.
Key = tuple[str, str]
Declared = dict[Key, Definition]
#: The kind of a reference to a view whose kind only the snapshot knows.
VIEW = "view"

_SOURCES = (FileSource, StreamSource, RequestSource)
_SAVED = (SavedDataset, ValidationReference)
_ALLOWED = (Project, Entity, FeatureView, OnDemandFeatureView, FeatureService, Permission, *_SAVED, *_SOURCES)
#: Arguments that are words for people; a change of them shows in the plan and touches no data.
WORDS = frozenset({"location", "description", "tags", "owner"})


def collect(objects: Definition | Iterable[Definition], project: str) -> Declared:
    """Every definition once. What a view refers to comes along; a service's views do not, it only names them.

    Raises:
        DefinitionTypeError: an object is no definition.
        DefinitionError: two different objects have one name, or a project has another name than the repository's.
        UnsupportedError: a view is pinned to a version.
    """
    given = [objects] if isinstance(objects, Definition) else list(objects)
    found: Declared = {}
    for item in given:
        for part in _parts(item):
            first = found.setdefault(key_of(part), part)
            if first is not part and value_text(first.to_spec(), first) != value_text(part.to_spec(), part):
                raise part.error(
                    f"there are two different objects called {part.subject}: at {first.location} and at "
                    f"{part.location}",
                    hint="give one of them another name, or use the same object in both places",
                )
    _check_project(found, project)
    for definition in found.values():
        _refuse_pin(definition)
    return found


def _refuse_pin(definition: Definition) -> None:
    if isinstance(definition, FeatureView | OnDemandFeatureView) and definition.version != LATEST:
        raise UnsupportedError(
            f"{definition.subject} cannot be pinned to version {definition.version!r}",
            subject=definition.subject,
            location=definition.location,
            hint="leave version out; an older version of a feature view is read as view@v1:feature, and rollback makes "
            "the definitions of an older version current",
        )


def key_of(definition: Definition) -> Key:
    """Kind and name."""
    return definition.kind, definition.name


def value_text(spec: Mapping[str, Any], definition: Definition | None = None) -> str:
    """The value of a definition as canonical text; equal text means equal meaning. The place is not part of it.

    Raises:
        DefinitionError: it holds something that the registry cannot keep.
    """
    try:
        plain = {name: value for name, value in spec.items() if name != "location"}
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        if definition is None:
            raise
        raise definition.error(
            f"{definition.subject} holds a value that the registry cannot keep: {error}",
            hint="a default_value may be a number, text, true or false, or a list or dict of these",
        ) from None


def affected_views(current: Snapshot, declared: Declared) -> Declared:
    """Views that are not declared anew, but refer to a source or entity that is declared otherwise than before.

    They are built again with the new objects, so that they are checked like any other. What they refer to comes along.
    """
    changed = {key for key, definition in declared.items() if _differs(current.by_key.get(key), definition)}
    names = {(kind, name) for kind, name in changed if kind in ("entity", "data source")}
    names |= {
        ("data source", entry.name)
        for entry in current.entries
        if entry.kind == "data source" and ("data source", entry.spec.get("batch_source")) in names
    }
    if not names:
        return {}
    sources = dict(current.sources)
    sources.update({name: item for (_, name), item in declared.items() if isinstance(item, DataSource)})
    entities = dict(current.entities)
    entities.update({name: item for (_, name), item in declared.items() if isinstance(item, Entity)})
    for name, source in sources.items():
        if isinstance(source, StreamSource) and source.batch_source is not None:
            batch = sources[source.batch_source.name]
            if batch is not source.batch_source:
                sources[name] = replace(source, batch_source=batch)
    views = (
        view_from_spec(entry.spec, sources, entities)
        for entry in current.entries
        if entry.kind == "feature view"
        and ("feature view", entry.name) not in declared
        and not names.isdisjoint(references(entry))
    )
    parts = {key_of(part): part for view in views for part in _parts(view)}
    return {key: part for key, part in parts.items() if key not in declared}


def references(entry: Entry) -> Iterator[Key]:
    """What an entry names."""
    spec = entry.spec
    for argument in ("source", "sink_source", "batch_source"):
        if argument in spec:
            yield "data source", spec[argument]
    for name in spec.get("entities", ()):
        yield "entity", name
    if "dataset" in spec:
        yield "saved dataset", spec["dataset"]
    if spec.get("source_view"):
        yield VIEW, spec["source_view"]
    for use in spec["features"] if entry.kind == "feature service" else spec.get("sources", ()):
        yield ("data source", use["request"]) if "request" in use else (VIEW, use["view"])


def _parts(item: object) -> Iterator[Definition]:
    if not isinstance(item, _ALLOWED):
        raise DefinitionTypeError(
            f"{item!r} ({type(item).__name__}) cannot be applied",
            location=item.location if isinstance(item, Definition) else "",
            hint="pass entities, sources, feature views, feature services or a project",
        )
    if isinstance(item, FeatureView):
        yield from item.entity_list
        for parent in item.parents:
            yield from _parts(parent)
        for source in (item.source, item.sink_source):
            if source is not None:
                yield from _parts(source)
        if isinstance(item.source, RequestSource):
            hint = "a request source has no history; give the view a FileSource or a PushSource"
            raise item.error(f"{item.subject} has {item.source.subject} as its source", hint=hint)
    if isinstance(item, OnDemandFeatureView):
        yield from item.entities or ()
        for source in item.sources or ():
            if isinstance(source, Definition):
                yield from _parts(source)
    if isinstance(item, StreamSource) and item.batch_source is not None:
        yield from _parts(item.batch_source)
    yield item


def _check_project(declared: Declared, project: str) -> None:
    for definition in declared.values():
        if isinstance(definition, Project) and definition.name != project:
            raise DefinitionError(
                f"{definition.subject} is declared, but this repository's project is {project}",
                subject=definition.subject,
                location=definition.location,
                hint=f"name it {project!r}, or set project: {definition.name} in feature_store.yaml",
            )


def _differs(entry: Entry | None, definition: Definition) -> bool:
    """Whether what views build on differs; what only a source knows may be left out of the definition."""
    if entry is None:
        return False
    old, new = dict(entry.spec), definition.to_spec()
    for argument in ("timestamp_field", "value_type"):
        if argument not in new:
            old.pop(argument, None)
    return any(old.get(name) != new.get(name) for name in (old.keys() | new.keys()) - WORDS)
