"""Delete entities online: as tombstones, which older facts do not overwrite (WR-4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tiffin.contracts.online import ReadRequest, WriteBatch
from tiffin.definitions import FeatureView
from tiffin.errors import InputError, RequestError
from tiffin.online.keys import encode_keys
from tiffin.online.pipeline import EntityRows, entity_columns
from tiffin.online.rows import RowHeader, tombstone
from tiffin.operations.timelines import TimelineWriter
from tiffin.operations.vectors import write_vectored
from tiffin.operations.versions import list_versions
from tiffin.planning.timelines import timeline_spec

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot, ViewStorage

#: How often rows ahead of now are looked for again, while somebody keeps writing them.
_ROUNDS = 10


@dataclass(frozen=True)
class EntityDeletion:
    """What a deletion reached.

    Attributes:
        views: feature view to how many of the keys it knew, deleted ones included. Each has a tombstone now.
        older_tables: the online tables of older versions of these views that were treated in the same way.
    """

    views: Mapping[str, int]
    older_tables: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)


def delete_entities(
    ctx: Context, entity_rows: EntityRows, feature_views: Sequence[str] | None = None
) -> EntityDeletion:
    """Write a tombstone for every key, in every view that has it as its join key.

    The tombstone has the present moment as its time: facts from before it do not come back, whoever loads or pushes
    them; facts that happen afterwards do. A fact that lies ahead of now, by a clock that is fast, is covered too.

    Args:
        ctx: the opened project.
        entity_rows: dicts with the same keys, or columns of the same length.
        feature_views: names; every online view whose join keys are all among the columns when left out.

    Raises:
        NotFoundError: a view does not exist.
        RequestError: no view has these join keys, or a named view is not online or has others.
        InputError: a key is null or not of its type; names row and column.
        StoreError: the store fails; running it again converges (WR-7).
    """
    columns, count = entity_columns(entity_rows)
    snapshot = ctx.snapshot()
    views = _views(snapshot, columns, feature_views)
    encoded = {view.name: _keys(view, columns, count) for view in views}
    found: dict[str, int] = {}
    older: list[str] = []
    for view in views:
        storage = snapshot.storage(view.name)
        ctx.online.ensure([storage.table])
        found[view.name] = _bury(ctx, view, storage.table, encoded[view.name])
        for table, old in _older_tables(ctx, view, storage).items():
            _bury(ctx, old, table, _keys(old, columns, count))
            older.append(table)
    return EntityDeletion(found, tuple(older))


def _bury(ctx: Context, view: FeatureView, table: str, keys: list[bytes]) -> int:
    """Put a tombstone over every key of a table; how many rows there were."""
    now = ctx.now_us()
    if view.aggregations:
        return TimelineWriter(ctx.online, table, timeline_spec(view), ctx.now_us).bury(keys, now)
    stones = {key: tombstone(now, now) for key in keys}
    known = 0
    for attempt in range(_ROUNDS):
        rows = ctx.online.read([ReadRequest(table, list(stones))])[0]
        if attempt == 0:
            known = sum(row is not None for row in rows)
        # A row ahead of now is not beaten by a tombstone of now, but by one of its own stamp.
        stones = {
            key: max(tombstone(now, now), _over(row))
            for key, row in zip(stones, rows, strict=True)
            if row is None or row < tombstone(now, now) or not RowHeader.of(row).tombstone
        }
        if not stones:
            return known
        write_vectored(ctx, WriteBatch(table, list(stones), list(stones.values()), view.ttl_us))
    return known


def _over(row: bytes | None) -> bytes:
    """The tombstone that beats a row."""
    if row is None:
        return b""
    header = RowHeader.of(row)
    return tombstone(header.event_us, header.known_us, header.seq)


def _keys(view: FeatureView, columns: Mapping[str, list[Any]], count: int) -> list[bytes]:
    parts = [columns[name] for name in view.join_keys]
    encoded = encode_keys(parts, view.known_key_types(), view.join_keys, count)
    for row, key in enumerate(encoded):
        if key is None:
            name = next(name for name in view.join_keys if columns[name][row] is None)
            raise InputError(f"row {row}, column {name!r}: the key is null", subject=name, hint="leave the row out")
    return list(dict.fromkeys(key for key in encoded if key is not None))


def _views(snapshot: Snapshot, columns: Mapping[str, Any], names: Sequence[str] | None) -> list[FeatureView]:
    if isinstance(names, str):
        raise RequestError(f"feature_views is the text {names!r}", hint=f"pass a list: [{names!r}]")
    if names is None:
        found = [v for v in snapshot.views.values() if v.online and v.join_keys and set(v.join_keys) <= set(columns)]
        if not found:
            keys = sorted({key for view in snapshot.views.values() for key in view.join_keys})
            raise RequestError(
                f"no online feature view has its join keys among {', '.join(columns) or 'no columns'}",
                hint=f"the join keys of this project: {', '.join(keys)}",
            )
        return found
    views = [snapshot.view(name) for name in names]
    for view in views:
        missing = [key for key in view.join_keys if key not in columns]
        if missing or not view.online:
            what = f"needs the join key {missing[0]!r}" if missing else "is not online"
            hint = f"see `tiffin feature-views describe {view.name}`"
            raise RequestError(f"{view.subject} {what}", subject=view.subject, location=view.location, hint=hint)
    return views


def _older_tables(ctx: Context, view: FeatureView, storage: ViewStorage) -> dict[str, FeatureView]:
    """Online tables that only older versions of a view use, and that have the same join keys."""
    found: dict[str, FeatureView] = {}
    if storage.version == 1:
        return found
    for version in list_versions(ctx, view.name):
        if storage.stands_for(version.table) or version.table in found:
            continue
        old = ctx.registry.load(ctx.project, at=version.definitions_version).view(view.name)
        if old.online and set(old.join_keys) <= set(view.join_keys):
            found[version.table] = old
    return found
