"""Tables of timelines as a whole: what a full refresh carries over, and tiles that nobody needs any more.

Where plain views have one row a key, the facts of a key stand in several rows, so a table is read timeline by timeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.contracts.online import OnlineStore, ReadRequest, SwapBatch
from tiffin.errors import StoreError
from tiffin.online.tails import MARK_BYTES, NEVER_US
from tiffin.online.timeline import FactCodec, Facts, Timeline, is_tile, new_marks, tile_facts
from tiffin.operations.online import timelines_of
from tiffin.operations.timelines import TimelineWriter

if TYPE_CHECKING:
    from tiffin.definitions import FeatureView
    from tiffin.operations.context import Context

#: (n,) which of the facts of a key are wanted.
Wanted = Callable[[bytes, Facts], NDArray[np.bool_]]

#: How often a timeline is read whose tiles are replaced meanwhile.
_MAX_READS = 100
#: Timelines that are carried over at once, and facts of one of them from which on it is not waited for more.
_KEYS, _FACTS = 1_000, 10_000


def all_timelines(store: OnlineStore, table: str, codec: FactCodec) -> Iterator[tuple[bytes, Timeline, Facts]]:
    """Each timeline of a table with all of its facts, as far as they are kept one by one.

    Raises:
        StoreError: the store fails, or a timeline is written to all the time.
    """
    for page in store.scan(table):
        for key, row in page:
            if not is_tile(row):
                yield key, *_whole(store, table, codec, key, row)


def _whole(store: OnlineStore, table: str, codec: FactCodec, key: bytes, row: bytes) -> tuple[Timeline, Facts]:
    held: bytes | None = row
    for _ in range(_MAX_READS):
        timeline = Timeline.of(codec, held)
        names = [tile.name for tile in timeline.tiles if tile.has_facts]
        tiles = store.read([ReadRequest(table, [key + name for name in names])])[0] if names else []
        if None not in tiles:
            parts = [tile_facts(codec, tile) for tile in tiles if tile is not None]
            return timeline, Facts.joined(codec, [*parts, timeline.facts])
        (held,) = store.read([ReadRequest(table, [key])])[0]
    raise StoreError(
        f"a timeline of {table} was written {_MAX_READS} times while it was read",
        hint="run it again when fewer facts come",
    )


def new_facts(ctx: Context, view: FeatureView, table: str) -> Wanted:
    """What a table holds now, as a function that tells which facts are not among it.

    A hash of 8 bytes a fact is kept, so that memory is bounded by these, not by the facts.
    """
    timelines = all_timelines(ctx.online, table, timelines_of(ctx, view).codec)
    held = np.sort(np.concatenate([np.empty(0, np.uint64), *(_hashes(key, facts) for key, _, facts in timelines)]))

    def is_new(key: bytes, facts: Facts) -> NDArray[np.bool_]:
        hashes = _hashes(key, facts)
        places = np.searchsorted(held, hashes)
        found = np.zeros(len(hashes), np.bool_)
        inside = places < len(held)
        found[inside] = held[places[inside]] == hashes[inside]
        return ~found

    return is_new


def _hashes(key: bytes, facts: Facts) -> NDArray[np.uint64]:
    seed = blake2b(key).digest()
    stamps = facts.octets[:, : facts.codec.payload_at]
    digests = (
        blake2b(stamps[place].tobytes() + facts.payload(place), digest_size=8, key=seed).digest()
        for place in range(len(facts))
    )
    return np.frombuffer(b"".join(digests), np.uint64)


def carry_over_facts(ctx: Context, view: FeatureView, old: str, new: str, is_wanted: Wanted) -> None:
    """Put some facts of a table, and all that was deleted from it (WR-4), into the table that replaces it."""
    spec = timelines_of(ctx, view)
    writer = TimelineWriter(ctx.online, new, spec, ctx.now_us)
    found: dict[bytes, Facts] = {}
    newest_us = NEVER_US
    for key, timeline, facts in all_timelines(ctx.online, old, spec.codec):
        if timeline.deleted_us[0] != NEVER_US:
            writer.bury_until(key, timeline.deleted_us)
        wanted = np.flatnonzero(is_wanted(key, facts))
        if len(wanted):
            found[key] = facts.take(wanted)
            newest_us = max(newest_us, int(found[key].block["event"].max()))
        if len(found) >= _KEYS or len(wanted) >= _FACTS:
            _write(writer, spec.codec, found)
            found.clear()
    _write(writer, spec.codec, found)
    ctx.newest.note(new, newest_us)


def _write(writer: TimelineWriter, codec: FactCodec, found: Mapping[bytes, Facts]) -> None:
    sizes = np.array([len(facts) for facts in found.values()], np.int64)
    writer.write(list(found), Facts.joined(codec, list(found.values())), sizes)


def sweep_tiles(store: OnlineStore, table: str) -> int:
    """Remove the tiles that no timeline names: those of writers that were killed before they came to name them.

    A writer may be about to name a tile, so the timeline gets a new mark first. Whoever has read it before is refused
    then, and makes its tiles anew; whoever reads it afterwards does not know the ones that are removed.

    Returns:
        How many tiles were removed.
    """
    removed = 0
    for page in store.scan(table):
        tiles: dict[bytes, list[bytes]] = {}
        for key, row in page:
            if is_tile(row):
                tiles.setdefault(key[:-MARK_BYTES], []).append(key)
        if tiles:
            rows = store.read([ReadRequest(table, list(tiles))])[0]
            for (key, found), timeline in zip(tiles.items(), rows, strict=True):
                removed += _sweep(store, table, key, found, timeline)
    return removed


def _sweep(store: OnlineStore, table: str, key: bytes, found: list[bytes], row: bytes | None) -> int:
    """Remove those of some tiles of a key that are not named; none when somebody writes to it at this moment."""
    codec = FactCodec((), has_known=False)
    named = {key + tile.name for tile in Timeline.of(codec, row).tiles}
    unnamed = [tile for tile in found if tile not in named]
    if not unnamed:
        return 0
    (mark,) = new_marks(1)
    marked = mark + row[MARK_BYTES:] if row is not None else Timeline(codec.nothing).to_bytes(mark)
    before = b"" if row is None else row[:MARK_BYTES]
    return store.delete(table, unnamed) if store.swap(SwapBatch(table, [key], [before], [marked]))[0] else 0
