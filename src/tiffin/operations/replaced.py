"""Online tables that a full refresh has replaced: kept while a reader or writer may still use them, then dropped.

A process looks for newer definitions every ``cache_ttl_seconds``. Until each has, some read the old table, and some
push to it; what they pushed is carried over before it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from tiffin.contracts.online import WriteBatch
from tiffin.online.rows import RowHeader, event_us
from tiffin.operations.timeline_tables import carry_over_facts, new_facts, sweep_tiles
from tiffin.operations.vectors import write_vectored
from tiffin.operations.versions import list_versions
from tiffin.time import DAY_US, MIN_US, SECOND_US

if TYPE_CHECKING:
    from tiffin.definitions import FeatureView
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import ViewStorage

#: How long after a refresh other processes may not have noticed, when they look only when they are asked to.
_UNKNOWN_TTL_SECONDS = 600
#: How long a process may go on with a request that it began under the older definitions.
_MARGIN_SECONDS = 60
#: No refresh takes as long.
_ABANDONED_US = 7 * DAY_US


def drop_replaced(ctx: Context, view: FeatureView, storage: ViewStorage) -> None:
    """Drop the tables that a view's full refreshes have replaced, once every process knows of the last one."""
    if not storage.replaced:
        return
    ttl = ctx.config.registry.cache_ttl_seconds or _UNKNOWN_TTL_SECONDS
    if ctx.now_us() < storage.replaced_us + (ttl + _MARGIN_SECONDS) * SECOND_US:
        return
    for old in storage.replaced:
        if any(info.table == old for info in ctx.online.tables(prefix=old)):
            _carry_over_pushed(ctx, view, old, storage)
            ctx.online.drop([old])


def _carry_over_pushed(ctx: Context, view: FeatureView, old: str, storage: ViewStorage) -> None:
    """Carry over what became known after a table was replaced."""
    since_us = storage.replaced_us
    if view.aggregations:
        carry_over_facts(ctx, view, old, storage.table, lambda key, facts: facts.known >= since_us)
    else:
        _carry_over_rows(ctx, view, old, storage.table, lambda key, row: RowHeader.of(row).known_us >= since_us)


def carrier(ctx: Context, view: FeatureView, old: str) -> Callable[[str], None]:
    """What writes to another table all that has come to ``old`` since now, and what was ever deleted from it.

    What is known only later counts as come since, whenever it was pushed: no source can have it yet.

    Tiles that nobody needs any more are swept out of ``old``, which may be there for a while.
    """
    now = ctx.now_us()
    if view.aggregations:
        sweep_tiles(ctx.online, old)
        are_new = new_facts(ctx, view, old)
        return lambda new: carry_over_facts(
            ctx, view, old, new, lambda key, facts: are_new(key, facts) | (facts.known > now)
        )
    is_new = _contents(ctx, old)
    return lambda new: _carry_over_rows(
        ctx, view, old, new, lambda key, row: is_new(key, row) or RowHeader.of(row).known_us > now
    )


def refreshed_table(ctx: Context, view: FeatureView, version: int, began_us: int) -> str:
    """The name of the table that a full refresh loads; it tells when that began."""
    return f"{ctx.project}.{view.name}.{version}.{began_us}"


def sweep(ctx: Context, view: FeatureView, storage: ViewStorage) -> None:
    """Drop the tables of refreshes that were killed long ago: those that no version of the view names."""
    before = ctx.now_us() - _ABANDONED_US
    prefix = f"{ctx.project}.{view.name}."
    began_us = {info.table: _began_us(info.table.removeprefix(prefix)) for info in ctx.online.tables(prefix)}
    abandoned = {table for table, began in began_us.items() if began is not None and began < before}
    abandoned -= {storage.table, *storage.replaced}
    if abandoned:
        abandoned -= {version.table for version in list_versions(ctx, view.name)}
        ctx.online.drop(sorted(abandoned))


def _began_us(ending: str) -> int | None:
    """When the refresh began whose table's name ends so; ``None`` for other tables."""
    version, _, began = ending.partition(".")
    return int(began) if version.isdecimal() and began.isdecimal() else None


def _carry_over_rows(
    ctx: Context, view: FeatureView, old: str, new: str, is_wanted: Callable[[bytes, bytes], bool]
) -> None:
    """Write some rows of a table, and all of its tombstones (WR-4), to the table that replaces it."""
    for page in ctx.online.scan(old):
        pairs = [(key, row) for key, row in page if RowHeader.of(row).tombstone or is_wanted(key, row)]
        if pairs:
            keys, rows = zip(*pairs, strict=True)
            write_vectored(ctx, WriteBatch(new, keys, rows, view.ttl_us))
            ctx.newest.note(
                new, max((event_us(row) for row in rows if not RowHeader.of(row).tombstone), default=MIN_US)
            )


def _contents(ctx: Context, table: str) -> Callable[[bytes, bytes], bool]:
    """What a table holds now, as a function that tells whether a pair of key and row is not among it.

    A hash of 8 bytes a row is kept, so that memory is bounded by these, not by the rows.
    """
    pages = (np.fromiter((_hash(*pair) for pair in page), np.uint64, len(page)) for page in ctx.online.scan(table))
    held = np.sort(np.concatenate([np.empty(0, np.uint64), *pages]))

    def is_new(key: bytes, row: bytes) -> bool:
        place = int(np.searchsorted(held, np.uint64(_hash(key, row))))
        return place == len(held) or int(held[place]) != _hash(key, row)

    return is_new


def _hash(key: bytes, row: bytes) -> int:
    return int.from_bytes(blake2b(row, digest_size=8, key=blake2b(key).digest()).digest(), "little")
