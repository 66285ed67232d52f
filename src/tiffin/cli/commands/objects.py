"""``tiffin entities``, ``feature-views``, ... : what the registry holds, listed and described."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_table, print_yaml, say
from tiffin.definitions import Aggregation, FeatureView
from tiffin.errors import NotFoundError, RequestError, nearest
from tiffin.time import format_duration

if TYPE_CHECKING:
    from tiffin.definitions import (
        DataSource,
        Definition,
        Entity,
        FeatureService,
        FeatureView,
        Field,
        OnDemandFeatureView,
        Project,
    )
    from tiffin.store import FeatureStore


def _object_group(
    name: str,
    plural: str,
    columns: Sequence[str],
    row: Callable[[Any], Sequence[Any]],
    find_all: Callable[[FeatureStore, dict[str, str] | None], Sequence[Any]],
    find: Callable[[FeatureStore, str], Definition],
) -> click.Group:
    """A group with ``list`` and ``describe`` for one kind of object.

    Args:
        name: of the group.
        plural: how help texts call the objects.
        columns: the columns of the list.
        row: the cells of an object in the list.
        find_all: all objects that have the given tags.
        find: one object by name.
    """

    @click.group(name, help=f"List and describe {plural}.")
    def group() -> None:
        pass

    @group.command("list", help=f"List the {plural} of the project.")
    @click.option("--tags", multiple=True, metavar="KEY:VALUE", help="Only those with this tag; may be repeated.")
    @json_option
    @pass_invocation
    def list_(invocation: Invocation, tags: tuple[str, ...], as_json: bool) -> None:
        with invocation.store() as store:
            found = find_all(store, _parse_tags(tags))
        if as_json:
            print_json([describe_definition(item) for item in found])
        else:
            print_table(columns, [row(item) for item in found], empty=f"There are no {plural}.")

    @group.command("describe", help=f"Print one of the {plural} with everything that it declares.")
    @click.argument("name")
    @json_option
    @pass_invocation
    def describe(invocation: Invocation, name: str, as_json: bool) -> None:
        with invocation.store() as store:
            shown = _describe(store, find(store, name))
        if as_json:
            print_json(shown)
        else:
            print_yaml(shown)

    return group


def _parse_tags(texts: Sequence[str]) -> dict[str, str] | None:
    """Tags from ``key:value`` texts.

    Raises:
        RequestError: a text has no colon.
    """
    tags: dict[str, str] = {}
    for part in ",".join(texts).split(",") if texts else ():
        key, sign, value = part.strip().partition(":")
        if not sign:
            raise RequestError(f"--tags {part.strip()!r} is not key:value", hint="write --tags team:fraud")
        tags[key] = value
    return tags or None


def describe_definition(definition: Definition) -> dict[str, Any]:
    """What a definition declares, for people and programs; durations as text."""
    shown = definition.to_spec()
    for name in ("ttl", "freshness"):
        if f"{name}_us" in shown:
            shown[name] = format_duration(timedelta(microseconds=shown.pop(f"{name}_us")))
    if "aggregations" in shown:
        shown["aggregations"] = {item["name"]: str(Aggregation.from_spec(item)) for item in shown["aggregations"]}
        shown["inputs"] = dict(shown.get("inputs", ()))
    if "input_schema" in shown:
        shown["input_schema"] = dict(shown["input_schema"])
    return shown


def _describe(store: FeatureStore, definition: Definition) -> dict[str, Any]:
    """What a definition declares; for a feature view, also which version it is and where its rows are kept online."""
    shown = describe_definition(definition)
    if definition.kind == "feature view":
        storage = store.context.snapshot().storage(definition.name)
        shown |= {"version": storage.version, "online_table": storage.table}
        if isinstance(definition, FeatureView) and definition.aggregations:
            from tiffin.planning.timelines import describe_timelines

            shown["kept_online"] = describe_timelines(definition)
    return shown


def _entity_row(entity: Entity) -> Sequence[Any]:
    return [entity.name, entity.join_key, entity.key_type and repr(entity.key_type), entity.description]


def _view_row(view: FeatureView) -> Sequence[Any]:
    source = view.source.name if view.source is not None else ""
    names = [entity.name for entity in view.entity_list]
    return [view.name, names, len(view.features), format_duration(view.ttl), view.online, source]


def _on_demand_row(view: OnDemandFeatureView) -> Sequence[Any]:
    sources = [use.name for use in view.uses] + [source.name for source in view.request_sources]
    function = view.function
    return [view.name, sources, len(view.features), view.mode, f"{function.module}:{function.name}" if function else ""]


def _source_row(source: DataSource) -> Sequence[Any]:
    path = getattr(source, "path", "")
    return [source.name, type(source).__name__, path, source.timestamp_field, source.created_timestamp_column]


def _service_row(service: FeatureService) -> Sequence[Any]:
    return [service.name, [_use_text(use.view, use.projection.features) for use in service.uses], service.description]


def _use_text(view: str, features: Sequence[str] | None) -> str:
    return view if features is None else ", ".join(f"{view}:{feature}" for feature in features)


def _project_row(project: Project) -> Sequence[Any]:
    return [project.name, project.description, project.owner]


entities = _object_group(
    "entities",
    "entities",
    ["NAME", "JOIN KEY", "TYPE", "DESCRIPTION"],
    _entity_row,
    lambda store, tags: store.list_entities(tags=tags),
    lambda store, name: store.get_entity(name),
)
feature_views = _object_group(
    "feature-views",
    "feature views",
    ["NAME", "ENTITIES", "FEATURES", "TTL", "ONLINE", "SOURCE"],
    _view_row,
    lambda store, tags: store.list_feature_views(tags=tags),
    lambda store, name: store.get_feature_view(name),
)


@feature_views.command("enable")
@click.argument("name")
@pass_invocation
def enable(invocation: Invocation, name: str) -> None:
    """Serve a feature view again that was disabled."""
    with invocation.store() as store:
        store.enable_feature_view(name)
    say(f"Feature view {name} is enabled")


@feature_views.command("disable")
@click.argument("name")
@pass_invocation
def disable(invocation: Invocation, name: str) -> None:
    """Serve and load a feature view no longer.

    What is stored stays. The next apply makes it what its file says.
    """
    with invocation.store() as store:
        store.disable_feature_view(name)
    say(f"Feature view {name} is disabled")


@feature_views.command("list-versions")
@click.argument("name")
@json_option
@pass_invocation
def list_versions(invocation: Invocation, name: str, as_json: bool) -> None:
    """List the versions of a feature view.

    A feature of one is asked for as view@v1:feature.
    """
    with invocation.store() as store:
        found = store.list_feature_view_versions(name)
    if as_json:
        print_json(found)
        return
    rows = [[f"v{each['version']}", each["created"], each["features"], each["table"]] for each in found]
    print_table(["VERSION", "CREATED", "FEATURES", "ONLINE TABLE"], rows)


on_demand_feature_views = _object_group(
    "on-demand-feature-views",
    "on-demand feature views",
    ["NAME", "COMPUTES FROM", "FEATURES", "MODE", "FUNCTION"],
    _on_demand_row,
    lambda store, tags: store.list_on_demand_feature_views(tags=tags),
    lambda store, name: store.get_on_demand_feature_view(name),
)
label_views = _object_group(
    "label-views",
    "label views",
    ["NAME", "ENTITIES", "FEATURES", "TTL", "ONLINE", "SOURCE"],
    _view_row,
    lambda store, tags: store.list_label_views(tags=tags),
    lambda store, name: store.get_label_view(name),
)
data_sources = _object_group(
    "data-sources",
    "data sources",
    ["NAME", "TYPE", "PATH", "EVENT TIME", "CREATED TIME"],
    _source_row,
    lambda store, tags: store.list_data_sources(tags=tags),
    lambda store, name: store.get_data_source(name),
)
feature_services = _object_group(
    "feature-services",
    "feature services",
    ["NAME", "FEATURES", "DESCRIPTION"],
    _service_row,
    lambda store, tags: store.list_feature_services(tags=tags),
    lambda store, name: store.get_feature_service(name),
)
saved_datasets = _object_group(
    "saved-datasets",
    "saved datasets",
    ["NAME", "ROWS", "FEATURES", "DEFINITIONS", "PATH"],
    lambda dataset: [
        dataset.name,
        dataset.rows,
        len(dataset.features),
        f"version {dataset.definitions_version}",
        dataset.storage.path,
    ],
    lambda store, tags: store.list_saved_datasets(tags=tags),
    lambda store, name: store.get_saved_dataset(name),
)
validation_references = _object_group(
    "validation-references",
    "validation references",
    ["NAME", "SAVED DATASET", "DESCRIPTION"],
    lambda reference: [reference.name, reference.dataset_name, reference.description],
    lambda store, tags: store.list_validation_references(tags=tags),
    lambda store, name: store.get_validation_reference(name),
)
projects = _object_group(
    "projects",
    "projects",
    ["NAME", "DESCRIPTION", "OWNER"],
    _project_row,
    lambda store, tags: store.list_projects(tags=tags),
    lambda store, name: store.get_project(name),
)


@projects.command("current_project")
@pass_invocation
def current_project(invocation: Invocation) -> None:
    """Print the name of the project that feature_store.yaml is about."""
    say(invocation.config().project)


@saved_datasets.command("compare")
@click.argument("name")
@json_option
@pass_invocation
def compare_saved_dataset(invocation: Invocation, name: str, as_json: bool) -> None:
    """Make a saved dataset again and count the rows that differ.

    The exit status is 1 when a value differs.
    """
    with invocation.store() as store:
        found = store.compare_saved_dataset(name)
    if as_json:
        print_json(found.to_dict())
    else:
        rows = [[feature, found.rows, different] for feature, different in found.different.items()]
        print_table(["FEATURE", "ROWS", "DIFFERENT"], rows, thousands=True)
        then, now = found.definitions_version
        say(f"\nMade with version {then} of the definitions, compared with version {now}")
        if found.changed_sources:
            say(f"Changed since then: {', '.join(found.changed_sources)}")
    if not found.is_same:
        raise SystemExit(1)


@click.group()
def features() -> None:
    """List and describe features."""


@features.command("list")
@click.option("-v", "--view", metavar="VIEW", help="Only the features of this feature view.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="The form.")
@json_option
@pass_invocation
def list_features(invocation: Invocation, view: str | None, output: str, as_json: bool) -> None:
    """List the features of the project."""
    with invocation.store() as store:
        found = _features([store.get_feature_view(view)] if view else store.list_feature_views())
    if as_json or output == "json":
        print_json([_describe_feature(view, field) for view, field in found])
        return
    rows = [[field.name, view.name, repr(field.dtype), field.description] for view, field in found]
    print_table(["FEATURE", "FEATURE VIEW", "TYPE", "DESCRIPTION"], rows, empty="There are no features.")


@features.command("describe")
@click.argument("name")
@json_option
@pass_invocation
def describe_feature(invocation: Invocation, name: str, as_json: bool) -> None:
    """Print the features called NAME, or the one called VIEW:FEATURE."""
    with invocation.store() as store:
        every = _features(store.list_feature_views())
    found = [(view, field) for view, field in every if name in (field.name, f"{view.name}:{field.name}")]
    if not found:
        names = {field.name for _, field in every} | {f"{view.name}:{field.name}" for view, field in every}
        raise NotFoundError(f"there is no feature {name!r}", subject=f"feature {name}", hint=nearest(name, names))
    shown = [_describe_feature(view, field) for view, field in found]
    if as_json:
        print_json(shown)
    else:
        print_yaml(shown if len(shown) > 1 else shown[0])


def _features(views: Sequence[FeatureView]) -> list[tuple[FeatureView, Field]]:
    return [(view, field) for view in views for field in view.features]


def _describe_feature(view: FeatureView, field: Field) -> dict[str, Any]:
    return {"feature_view": view.name, **describe_definition(field)}
