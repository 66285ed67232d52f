"""Decide where a view's rows are kept online when its definition changes (DEF-4).

A table holds facts of one meaning: the same keys, the same source, and for every feature name one type. While that
holds, features may come, go and move: a new layout is appended, and rows of older layouts stay readable. When it does
not hold, the view gets a new table; the old one stays, so that readers of the old version keep their answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tiffin.definitions import DataSource, FileSource, StreamSource
from tiffin.registry.snapshot import Snapshot, ViewStorage
from tiffin.types import Int32, Int64

#: Rows name their layout in two bytes.
MAX_LAYOUTS = 1 << 16

Layout = tuple[tuple[str, str], ...]

NEW_TABLE = "new online table: materialize again"
NEW_FEATURES = "same online table: new features are there once it is materialized again"
SAME_TABLE = "same online table: stored values stay"


@dataclass(frozen=True)
class StorageDecision:
    """Where a view's rows are kept, and what that means to people; no words when nothing changes."""

    storage: ViewStorage
    words: str = ""


@dataclass(frozen=True)
class Shape:
    """What stored rows depend on.

    Attributes:
        keys: the join keys with their types; int32 and int64 are one (TYP-3).
        source: where the facts come from.
        layout: the columns of a row.
        computed: the function that rows go through, what is computed from many facts, and the types that both are
            computed from; what is stored for one definition says nothing about another.
    """

    keys: Layout
    source: tuple[object, ...]
    layout: Layout
    computed: str = ""


def shape_of(name: str, snapshot: Snapshot) -> Shape:
    """The shape of a view, from its entry: building all views would take most of the time of a large ``apply``."""
    spec = snapshot.entry("feature view", name).spec
    declared = {field["name"]: field["dtype"] for field in spec["schema"]}
    keys = []
    for entity in (snapshot.entities[each] for each in spec["entities"]):
        dtype = declared.pop(entity.join_key, repr(entity.key_type))
        keys.append((entity.join_key, repr(Int64) if dtype == repr(Int32) else dtype))
    computed: list[Any] = [spec[part] for part in ("aggregations", "inputs") if part in spec]
    if "function" in spec or "sql" in spec:
        # Moving a function changes no value, so its place is not looked at.
        told = {part: spec.get(part) for part in ("mode", "sql", "singleton", "input_schema")}
        computed.append(told | {"digest": spec.get("function", {}).get("digest")})
    return Shape(
        keys=tuple(keys),
        source=_source_meaning(snapshot.sources[spec["source"]]),
        layout=tuple(declared.items()),
        computed=json.dumps(computed, sort_keys=True) if computed else "",
    )


def decide_storage(name: str, new: Snapshot, current: Snapshot) -> StorageDecision:
    """The storage of a view.

    Args:
        name: the view.
        new: the snapshot that is being made, without storages. Its version ends the table's name, so that no name
            comes twice.
        current: the snapshot that it follows.
    """
    shape = shape_of(name, new)
    table = f"{new.project}.{name}.{new.version}"
    before = current.by_key.get(("feature view", name))
    if before is None or before.storage is None:
        return StorageDecision(ViewStorage(1, table, (shape.layout,)), "new online table")
    stored, old = before.storage, shape_of(name, current)
    full = len(stored.layouts) >= MAX_LAYOUTS and stored.layouts[-1] != shape.layout
    same_meaning = replace(shape, layout=()) == replace(old, layout=())
    if full or not same_meaning or _contradicts(shape.layout, stored.layouts):
        return StorageDecision(ViewStorage(stored.version + 1, table, (shape.layout,)), NEW_TABLE)
    return _with_layout(stored, shape.layout)


def restore_storage(name: str, old: ViewStorage, history: Iterable[Snapshot]) -> ViewStorage:
    """The storage of a view whose older definition becomes current again: its table, with all layouts that it has got.

    Args:
        name: the view.
        old: its storage in the older snapshot.
        history: the snapshots since then, newest first.
    """
    for snapshot in history:
        entry = snapshot.by_key.get(("feature view", name))
        if entry is not None and entry.storage is not None and entry.storage.stands_for(old.table):
            return _with_layout(entry.storage, old.layouts[-1]).storage
    return old


def _with_layout(stored: ViewStorage, layout: Layout) -> StorageDecision:
    last = stored.layouts[-1]
    if last == layout:
        return StorageDecision(stored)
    added = {name for name, _ in layout} - {name for name, _ in last}
    storage = replace(stored, version=stored.version + 1, layouts=(*stored.layouts, layout))
    return StorageDecision(storage, NEW_FEATURES if added else SAME_TABLE)


def _contradicts(layout: Layout, others: Iterable[Layout]) -> bool:
    """Whether a feature has another type than under the same name in a row that may be stored."""
    types = dict(layout)
    return any(types.get(name, dtype) != dtype for other in others for name, dtype in other)


def _source_meaning(source: DataSource | None) -> tuple[object, ...]:
    """Where facts come from, whatever the source is called. Pushed facts are those of the batch source, come early."""
    if isinstance(source, StreamSource):
        return ("pushed", source.name) if source.batch_source is None else _source_meaning(source.batch_source)
    assert source is not None
    times = (source.timestamp_field, source.created_timestamp_column, tuple(sorted(source.mapping.items())))
    if isinstance(source, FileSource):
        return ("file", source.path, source.format_name, source.s3_endpoint_override, *times)
    return (type(source).__name__, source.name, *times)
