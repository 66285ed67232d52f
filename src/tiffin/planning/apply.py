"""Applying definitions as a plan: what changes, what becomes of stored rows, and the snapshot that results.

Pure: the columns of the sources are handed in. A plan belongs to the snapshot that it was made against, and is refused
when the registry has moved on (DEF-2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiffin.definitions import Definition
from tiffin.errors import DefinitionError, NotFoundError, RequestError, nearest
from tiffin.planning.changes import ADDED, CHANGED, REMOVED, Change, find_changes, is_same
from tiffin.planning.declared import VIEW, Declared, Key, affected_views, collect, key_of, references
from tiffin.planning.inference import resolve
from tiffin.planning.storage import decide_storage, restore_storage
from tiffin.registry.snapshot import KINDS, VIEW_KINDS, Entry, Snapshot, entry_of

if TYPE_CHECKING:
    from tiffin.planning.inference import Schemas


#: What is made while a project runs, and is in no file of its repository.
_LASTING = ("saved dataset", "validation reference")


@dataclass(frozen=True)
class ApplyPlan:
    """What an ``apply`` changes. ``str(plan)`` is readable.

    Attributes:
        project: the project.
        base_version: the version that it was made against.
        changes: what becomes of each object that does not stay as it is.
        snapshot: the definitions as they will be.
    """

    project: str
    base_version: int
    changes: tuple[Change, ...]
    snapshot: Snapshot

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes (DEF-3)."""
        return not self.changes

    @property
    def version(self) -> int:
        """The version that results: the next one, or the same when nothing changes."""
        return self.snapshot.version

    def count(self, action: str) -> int:
        """How many objects are ``added``, ``changed`` or ``removed``."""
        return sum(change.action == action for change in self.changes)

    @property
    def summary(self) -> str:
        """The counts in one line."""
        if self.is_empty:
            return f"nothing changes: project {self.project} stays at version {self.base_version}"
        return f"{self.count(ADDED)} added, {self.count(CHANGED)} changed, {self.count(REMOVED)} removed"

    def lines(self) -> list[str]:
        """The plan as people read it."""
        return [*(line for change in self.changes for line in change.lines()), self.summary]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "project": self.project,
            "base_version": self.base_version,
            "version": self.version,
            "is_empty": self.is_empty,
            "changes": [change.to_dict() for change in self.changes],
        }


@dataclass(frozen=True)
class Wish:
    """What somebody wants to apply, gathered but not yet checked against the sources.

    Attributes:
        declared: every definition once; views that stay but stand on something that changes included.
        entries: the same as entries.
        current: the definitions as they are.
        kept: those that are neither replaced by something else nor removed.
    """

    declared: Declared
    entries: Mapping[Key, Entry]
    current: Snapshot
    kept: Snapshot


def gather(
    current: Snapshot, objects: Definition | Iterable[Definition], deletions: Sequence[Definition], *, partial: bool
) -> Wish:
    """Gather what is to be applied.

    Raises:
        DefinitionError: two different objects have one name, or one object is both declared and to be removed.
        NotFoundError: an object that is to be removed is not there.
    """
    declared = collect(objects, current.project)
    removed = {key_of(definition) for definition in deletions}
    for kind, name in sorted(removed):
        current.entry(kind, name)
        if (kind, name) in declared:
            raise RequestError(f"{kind} {name} is to be applied and to be removed", hint="leave it out of one of them")
    lasting = [entry for entry in current.entries if partial or entry.kind in _LASTING]
    kept = tuple(entry for entry in lasting if (entry.kind, entry.name) not in removed)
    snapshot = Snapshot(current.project, current.version, kept)
    entries = {key: entry_of(definition) for key, definition in declared.items()}
    _check_references({**snapshot.by_key, **entries}, current)
    return Wish({**declared, **affected_views(snapshot, declared)}, entries, current, snapshot)


def plan_apply(wish: Wish, schemas: Schemas) -> ApplyPlan:
    """Make the plan.

    Args:
        wish: what is to be applied.
        schemas: the columns of the sources that ``sources_to_read`` names.

    Raises:
        DefinitionError: definitions contradict one another or their sources.
        NotFoundError: a service names a view or a feature that is not there.
        SourceError: a source lacks a column.
        UnsupportedError: a type cannot be kept.
    """
    current = wish.current
    resolved = resolve(wish.declared, wish.kept, schemas)
    entries = dict(wish.kept.by_key)
    for key, definition in resolved.items():
        as_declared = definition is wish.declared[key] and key in wish.entries
        entries[key] = wish.entries[key] if as_declared else entry_of(definition)
    _check_names(entries)
    _check_uses(entries)
    _check_circles(entries)
    unchanged = {key: old for key, new in entries.items() if (old := current.by_key.get(key)) and is_same(old, new)}
    entries |= unchanged
    return _with_storage(current, entries)


def plan_rollback(current: Snapshot, old: Snapshot, between: Iterable[Snapshot]) -> ApplyPlan:
    """Make the definitions of an older snapshot current again, with the online tables that they had.

    Args:
        current: the definitions as they are.
        old: those that are wanted back.
        between: the snapshots after ``old``, newest first.
    """
    history = tuple(between)
    entries = []
    words = {}
    for entry in old.entries:
        now = current.by_key.get((entry.kind, entry.name))
        if entry.storage is not None:
            storage = restore_storage(entry.name, entry.storage, history)
            entry = Entry(entry.kind, entry.name, entry.spec, storage)
            if now is None or now.storage is None or now.storage.table != storage.table:
                words[entry.name] = f"back to its online table of version {old.version}: materialize what came since"
        same = now is not None and now.storage == entry.storage and is_same(now, entry)
        entries.append(now if same and now is not None else entry)
    return _plan(current, Snapshot(current.project, current.version + 1, tuple(entries)), words)


def _plan(current: Snapshot, target: Snapshot, words: Mapping[str, str]) -> ApplyPlan:
    changes = find_changes(current, target, words)
    return ApplyPlan(current.project, current.version, changes, target if changes else current)


def _with_storage(current: Snapshot, entries: Mapping[Key, Entry]) -> ApplyPlan:
    """Decide the storage of every view, and compare."""
    version = current.version + 1
    bare = Snapshot(current.project, version, tuple(entries.values()))
    standing = {key for key, entry in entries.items() if current.by_key.get(key) is entry}
    placed = dict(entries)
    words = {}
    for key, entry in entries.items():
        if entry.kind != "feature view" or (key in standing and _stands(entry, entries, standing)):
            continue
        before = current.by_key.get(key)
        decision = decide_storage(entry.name, bare, current)
        words[entry.name] = decision.words
        if before is None or decision.storage != before.storage or key not in standing:
            placed[key] = Entry(entry.kind, entry.name, entry.spec, decision.storage)
    ordered = sorted(placed.values(), key=lambda entry: (KINDS.index(entry.kind), entry.name))
    return _plan(current, Snapshot(current.project, version, tuple(ordered)), words)


def _stands(entry: Entry, entries: Mapping[Key, Entry], standing: set[Key]) -> bool:
    """Whether everything that a view stands on stays as it is."""
    return all(
        key in standing and (key[0] != "data source" or _stands(entries[key], entries, standing))
        for key in references(entry)
    )


def _check_references(entries: Mapping[Key, Entry], current: Snapshot) -> None:
    """Refuse to remove what is still used, and to use what is not there."""
    for entry in entries.values():
        for kind, name in references(entry):
            if _is_in(entries, kind, name):
                continue
            location = str(entry.spec.get("location", ""))
            subject = f"{entry.kind} {entry.name}"
            what = "feature view" if kind == VIEW else kind
            if _is_in(current.by_key, kind, name):
                raise DefinitionError(
                    f"{what} {name} cannot be removed: {subject} uses it",
                    subject=f"{what} {name}",
                    location=location,
                    hint=f"remove or change {subject} as well",
                )
            raise NotFoundError(
                f"{subject} uses {what} {name!r}, which does not exist",
                subject=subject,
                location=location,
                hint=nearest(name, (known for found, known in entries if found in _kinds(kind))),
            )


def _kinds(kind: str) -> tuple[str, ...]:
    return VIEW_KINDS if kind == VIEW else (kind,)


def _is_in(entries: Mapping[Key, Entry], kind: str, name: str) -> bool:
    return any((each, name) in entries for each in _kinds(kind))


def _check_names(entries: Mapping[Key, Entry]) -> None:
    """Refuse views, and sources, whose names differ only by case: many stores cannot keep them apart."""
    seen: dict[Key, Entry] = {}
    for (kind, name), entry in entries.items():
        if kind not in (*VIEW_KINDS, "data source"):
            continue
        first = seen.setdefault((VIEW if kind in VIEW_KINDS else kind, name.casefold()), entry)
        if first is not entry:
            places = [str(each.spec.get("location", "the registry")) for each in (first, entry)]
            how = "are one" if first.name == name else "differ only by case"
            raise DefinitionError(
                f"the names of {first.kind} {first.name} at {places[0]} and {kind} {name} at {places[1]} {how}",
                subject=f"{kind} {name}",
                location=places[1],
                hint="give one of them another name",
            )


def _check_uses(entries: Mapping[Key, Entry]) -> None:
    """Refuse services and on-demand views that use a feature or a join key that their view does not have."""
    for (kind, name), entry in entries.items():
        if kind not in ("feature service", "on-demand feature view"):
            continue
        for use in entry.spec["features" if kind == "feature service" else "sources"]:
            if "request" in use:
                continue
            view = next(entries[each, use["view"]] for each in VIEW_KINDS if (each, use["view"]) in entries)
            keys = [entries["entity", entity].spec["join_key"] for entity in view.spec.get("entities", ())]
            features = [field["name"] for field in view.spec.get("schema", ()) if field["name"] not in keys]
            wanted = [*((f, features, "feature") for f in use.get("features") or ())]
            wanted += [(key, keys, "join key") for key in use.get("join_key_map") or ()]
            for item, known, what in wanted:
                if item not in known:
                    raise NotFoundError(
                        f"{kind} {name} uses {what} {item!r} of feature view {use['view']}, which has no such {what}",
                        subject=f"{kind} {name}",
                        location=str(entry.spec.get("location", "")),
                        hint=nearest(item, known),
                    )


def _check_circles(entries: Mapping[Key, Entry]) -> None:
    """Refuse views that come from themselves, over however many others."""
    views = {name: entry for (kind, name), entry in entries.items() if kind in VIEW_KINDS}
    sources = {name: [used for kind, used in references(entry) if kind == VIEW] for name, entry in views.items()}
    done: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            entry = views[name]
            raise DefinitionError(
                f"{entry.kind} {name} comes from itself: {' -> '.join([*path[path.index(name) :], name])}",
                subject=f"{entry.kind} {name}",
                location=str(entry.spec.get("location", "")),
                hint="take one of these views out of the sources of the other",
            )
        if name not in done:
            for used in sources[name]:
                follow(used, (*path, name))
            done.add(name)

    for name in views:
        follow(name, ())
