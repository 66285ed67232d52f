"""Facts put into timelines: united as sets, cut into tiles where they are many, dropped where no window reaches.

Everything here is computed from bytes that were read; a driver reads, and puts the result in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiffin.online.tails import NEVER_US, Room, is_simple, tail_heads
from tiffin.online.timeline import (
    Facts,
    Int64Array,
    Tile,
    Timeline,
    all_tails,
    distinct,
    latest_us,
    mark_bytes,
    new_marks,
    tile_facts,
    tile_row,
)
from tiffin.online.windowed import TimelineSpec

#: How many facts a timeline's own row has at most, and how many of them stay when older ones become a tile.
MOST_TAIL, KEPT_TAIL = 512, 256
#: How many tiles a timeline has at most, and how many facts and bytes a tile. Late facts let a tile grow by half, which
#: is still less than the 400 KB that DynamoDB takes.
MOST_TILES, MOST_TILE, MOST_TILE_BYTES = 64, 16_384, 262_144


@dataclass(frozen=True)
class Limits:
    """When facts become tiles, and tiles larger ones; tests take small numbers.

    ``tile_bytes`` holds for the facts in a timeline's own row, too.
    """

    tail: int = MOST_TAIL
    kept: int = KEPT_TAIL
    tiles: int = MOST_TILES
    tile: int = MOST_TILE
    tile_bytes: int = MOST_TILE_BYTES

    def tile_facts(self, spec: TimelineSpec) -> int:
        """How many facts a tile has at most, before their texts."""
        return min(self.tile, max(1, self.tile_bytes // spec.codec.width))


@dataclass(frozen=True)
class Counts:
    """What became of facts that were put into timelines.

    Attributes:
        added: facts that are new.
        known: facts that were there already, or that had been deleted.
        late: facts before all windows, or before those that are kept one by one: they change nothing any more.
        capped: keys of which only the states of more of their oldest facts are kept now.
    """

    added: int = 0
    known: int = 0
    late: int = 0
    capped: int = 0

    def __add__(self, other: Counts) -> Counts:
        sums = (self.added + other.added, self.known + other.known, self.late + other.late)
        return Counts(*sums, self.capped + other.capped)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.added - other.added, self.known - other.known, self.late - other.late)


@dataclass(frozen=True)
class Merged:
    """A timeline with facts put in.

    Attributes:
        timeline: as it is to be.
        tiles: by name the rows of the tiles that are new.
        gone: the names of the tiles that are not in it any more.
        counts: what became of the facts.
    """

    timeline: Timeline
    tiles: Mapping[bytes, bytes]
    gone: tuple[bytes, ...]
    counts: Counts


@dataclass(frozen=True)
class Needed:
    """The names of tiles whose facts have to be read first."""

    names: tuple[bytes, ...]


def merge(
    spec: TimelineSpec,
    timeline: Timeline,
    facts: Facts,
    now_us: int,
    tiles: Mapping[bytes, bytes],
    limits: Limits,
) -> Merged | Needed:
    """Put facts into a timeline.

    Args:
        spec: the timelines of the view.
        timeline: as it is.
        facts: in order, each once.
        now_us: the moment; what no window reaches any more goes.
        tiles: by name the rows of tiles that were read so far.
        limits: when facts become tiles.
    """
    given = len(facts)
    gone_us = spec.gone_us(now_us)
    oldest = max(timeline.coarse_us, NEVER_US if gone_us is None else gone_us)
    facts = facts.part(int(np.searchsorted(facts.event, oldest, side="right")), given)
    late = given - len(facts)
    facts = _not_deleted(facts, timeline.deleted_us)
    work = _Work(spec, timeline, now_us, tiles, limits)
    work.drop(gone_us)
    added = work.put(facts)
    if isinstance(added, Needed):
        return added
    work.cut()
    needed = work.join()
    if needed is not None:
        return needed
    return work.done(Counts(added, given - late - added, late, int(work.is_capped)))


def without(
    spec: TimelineSpec, timeline: Timeline, deleted_us: tuple[int, int], tiles: Mapping[bytes, bytes]
) -> Merged | Needed:
    """A timeline after all facts up to a stamp were deleted (WR-4).

    Args:
        spec: the timelines of the view.
        timeline: as it is.
        deleted_us: the stamp, event and known time.
        tiles: by name the rows of tiles that were read so far.
    """
    work = _Work(spec, replace(timeline, deleted_us=max(deleted_us, timeline.deleted_us)), 0, tiles, Limits())
    return work.delete(deleted_us) or work.done(Counts())


def latest_stamp(timeline: Timeline) -> tuple[int, int]:
    """A stamp that no fact of a timeline comes after."""
    latest = max([timeline.latest_us, *(tile.latest_us for tile in timeline.tiles)])
    return max(timeline.newest_us, NEVER_US), latest


class _Work:
    """A timeline while it is changed."""

    def __init__(
        self, spec: TimelineSpec, timeline: Timeline, now_us: int, rows: Mapping[bytes, bytes], limits: Limits
    ) -> None:
        self._spec = spec
        self._timeline = timeline
        self._now_us = now_us
        self._rows = rows
        self._limits = limits
        self._tail = timeline.facts
        self._tiles = list(timeline.tiles)
        self._made: dict[bytes, Facts] = {}
        self._coarse_us = timeline.coarse_us

    @property
    def is_capped(self) -> bool:
        """Whether more facts than before are kept as states only."""
        return self._coarse_us > self._timeline.coarse_us

    def drop(self, gone_us: int | None) -> None:
        """Let go of what no window reaches."""
        if gone_us is None:
            return
        self._tiles = [tile for tile in self._tiles if tile.last_us > gone_us]
        if len(self._tail) and self._tail.event[0] <= gone_us:
            start = int(np.searchsorted(self._tail.event, gone_us, side="right"))
            self._tail = self._tail.part(start, len(self._tail))

    def delete(self, deleted_us: tuple[int, int]) -> Needed | None:
        """Let go of facts up to a stamp."""
        event_us, known_us = deleted_us
        cut = [tile for tile in self._tiles if tile.first_us <= event_us < tile.last_us or tile.last_us == event_us]
        cut = [tile for tile in cut if tile.has_facts and (tile.last_us > event_us or tile.latest_us > known_us)]
        missing = tuple(tile.name for tile in cut if not self._is_held(tile))
        if missing:
            return Needed(missing)
        kept = []
        for tile in self._tiles:
            if tile in cut:
                rest = _not_deleted(self._facts(tile), deleted_us)
                kept += [self._tile(rest)] if len(rest) else []
            elif tile.first_us > event_us:
                kept.append(tile)
            # Of states nothing can be taken away: rather too few facts count than deleted ones.
        self._tiles = kept
        self._tail = _not_deleted(self._tail, deleted_us)
        return None

    def put(self, facts: Facts) -> int | Needed:
        """Unite facts with those that are there; how many were new."""
        if not len(facts):
            return 0
        groups = self._by_tile(facts)
        changed = [self._tiles[place] for place, _ in groups if place is not None]
        names = tuple(tile.name for tile in changed if not self._is_held(tile))
        if names:
            return Needed(names)
        added = 0
        for place, some in groups:
            if place is None:
                united, _ = distinct(Facts.joined(self._spec.codec, [self._tail, some]))
                added += len(united) - len(self._tail)
                self._tail = united
                continue
            tile = self._tiles[place]
            held = self._facts(tile)
            united, _ = distinct(Facts.joined(self._spec.codec, [held, some]))
            if len(united) > len(held):
                added += len(united) - len(held)
                all_new = len(united) == len(held) + len(some)
                states = self._spec.more_states(tile.states, some) if all_new else None
                self._tiles[place] = self._tile(united, states)
        return added

    def _by_tile(self, facts: Facts) -> list[tuple[int | None, Facts]]:
        """The facts by the tile that they belong to; ``None`` for the newest."""
        found: list[tuple[int | None, Facts]] = []
        start = 0
        for place, tile in enumerate(self._tiles):
            stop = int(np.searchsorted(facts.event, tile.last_us, side="right"))
            if stop > start:
                found.append((place, facts.part(start, stop)))
                start = stop
        if start < len(facts):
            found.append((None, facts.part(start, len(facts))))
        return found

    def cut(self) -> None:
        """Make the older facts of a long tail tiles, and two tiles of one that has become too large."""
        limits = self._limits
        count, size_bytes = len(self._tail), self._tail.size_bytes
        if count > limits.tail or size_bytes > limits.tile_bytes:
            kept = min(limits.kept, limits.tile_bytes * count // (2 * size_bytes))
            stop = self._before(self._tail, count - kept)
            older = self._tail.part(0, stop)
            # Many small tiles rather than a few large ones: a read takes those apart that an edge lies in.
            size = max(limits.kept, len(older) // (limits.tiles // 2))
            for part in _pieces(older, min(size, self._fitting(older))):
                self._tiles.append(self._tile(part))
            self._tail = self._tail.part(stop, count)
        for place in range(len(self._tiles) - 1, -1, -1):
            tile = self._tiles[place]
            if tile.name in self._made and self._is_too_large(tile):
                facts = self._made.pop(tile.name)
                size = min(self._fitting(facts), (len(facts) + 1) // 2)
                self._tiles[place : place + 1] = [self._tile(part) for part in _pieces(facts, size)]

    def _is_too_large(self, tile: Tile) -> bool:
        limits = self._limits
        return 2 * tile.count > 3 * limits.tile or 2 * tile.size_bytes > 3 * limits.tile_bytes

    def _fitting(self, facts: Facts) -> int:
        """How many of some facts fit into a tile."""
        return min(self._limits.tile, max(1, self._limits.tile_bytes * len(facts) // max(1, facts.size_bytes)))

    def _before(self, facts: Facts, place: int) -> int:
        """A place near the wanted one that no moment is on both sides of; all facts before it are visible by now."""
        stop = min(place, int(np.searchsorted(facts.event, self._now_us, side="right")))
        unknown = np.flatnonzero(facts.known[:stop] > self._now_us)
        stop = int(unknown[0]) if len(unknown) else stop
        return int(np.searchsorted(facts.event, facts.event[stop])) if stop < len(facts) else stop

    def join(self) -> Needed | None:
        """Make fewer tiles of many: two neighbours one, or, where all are large, keep of the oldest only the states."""
        limits = self._limits
        while len(self._tiles) > limits.tiles:
            place = self._smallest_pair()
            pair = self._tiles[place : place + 2]
            if self._size_bytes(pair) > limits.tile_bytes:
                self._tiles[:2] = [self._coarse(self._tiles[:2])]
                continue
            missing = tuple(tile.name for tile in pair if not self._is_held(tile))
            if missing:
                return Needed(missing)
            facts = Facts.joined(self._spec.codec, [self._facts(tile) for tile in pair])
            for tile in pair:
                self._made.pop(tile.name, None)
            self._tiles[place : place + 2] = [self._tile(facts, self._spec.joined_states(pair))]
        return None

    def _smallest_pair(self) -> int:
        sizes = [self._size_bytes(self._tiles[place : place + 2]) for place in range(len(self._tiles) - 1)]
        return int(np.argmin(sizes))

    def _size_bytes(self, pair: Sequence[Tile]) -> int:
        """The size of a tile of both; more than a tile has where there cannot be one."""
        limits = self._limits
        if sum(tile.count for tile in pair) > limits.tile or not all(tile.has_facts for tile in pair):
            return limits.tile_bytes + 1
        return sum(tile.size_bytes for tile in pair)

    def _coarse(self, tiles: Sequence[Tile]) -> Tile:
        """One tile of several that keeps only the states."""
        for tile in tiles:
            self._made.pop(tile.name, None)
        self._coarse_us = tiles[-1].last_us
        return Tile(
            tiles[0].first_us,
            tiles[-1].last_us,
            max(tile.latest_us for tile in tiles),
            sum(tile.count for tile in tiles),
            0,
            b"",
            self._spec.joined_states(tiles),
        )

    def _tile(self, facts: Facts, states: bytes | None = None) -> Tile:
        (name,) = new_marks(1)
        self._made[name] = facts
        latest = max(int(facts.event[-1]), int(facts.known.max()))
        states = self._spec.states(facts) if states is None else states
        return Tile(int(facts.event[0]), int(facts.event[-1]), latest, len(facts), facts.size_bytes, name, states)

    def _is_held(self, tile: Tile) -> bool:
        return tile.name in self._made or tile.name in self._rows

    def _facts(self, tile: Tile) -> Facts:
        made = self._made.get(tile.name)
        return tile_facts(self._spec.codec, self._rows[tile.name]) if made is None else made

    def done(self, counts: Counts) -> Merged:
        """What came out."""
        tail = self._tail
        names = {tile.name for tile in self._tiles}
        timeline = replace(
            self._timeline,
            facts=tail,
            tiles=tuple(self._tiles),
            coarse_us=self._coarse_us,
            latest_us=latest_us(tail),
        )
        made = {name: tile_row(name, facts) for name, facts in self._made.items() if name in names}
        gone = tuple(tile.name for tile in self._timeline.tiles if tile.has_facts and tile.name not in names)
        return Merged(timeline, made, gone, counts)


def _pieces(facts: Facts, size: int) -> list[Facts]:
    """Facts cut into pieces of about a size; those of one moment stay together."""
    found, start = [], 0
    while start < len(facts):
        stop = min(start + size, len(facts))
        if stop < len(facts):
            before = int(np.searchsorted(facts.event, facts.event[stop]))
            stop = before if before > start else int(np.searchsorted(facts.event, facts.event[stop], side="right"))
        found.append(facts.part(start, stop))
        start = stop
    return found


def _not_deleted(facts: Facts, deleted_us: tuple[int, int]) -> Facts:
    """The facts after a stamp."""
    if deleted_us[0] == NEVER_US:
        return facts
    event, known = facts.event, facts.known
    after: Any = (event > deleted_us[0]) | ((event == deleted_us[0]) & (known > deleted_us[1]))
    return facts if after.all() else facts.take(np.flatnonzero(after))


# --- Many keys at once -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ManyMerged:
    """Timelines of many keys with facts put in.

    Attributes:
        rows: for each key its new row; ``None`` where nothing changes, or where the key has to be done by itself.
        alone: the places of the keys that have to be done by themselves: those with tiles, or that get some.
        added, known, late: (keys,) what became of the facts of each of the other keys, as ``Counts`` has it.
    """

    rows: Sequence[bytes | None]
    alone: Sequence[int]
    added: Int64Array
    known: Int64Array
    late: Int64Array

    def counts(self, places: Sequence[int] = ()) -> Counts:
        """What became of all facts; of those of some keys, where places are given."""
        chosen: Any = list(places) or slice(None)
        return Counts(*(int(each[chosen].sum()) for each in (self.added, self.known, self.late)))


def merge_many(
    spec: TimelineSpec,
    rows: Sequence[bytes | None],
    facts: Facts,
    sizes: Int64Array,
    now_us: int,
    limits: Limits,
) -> ManyMerged:
    """Put facts into the timelines of many keys that have few facts each.

    Args:
        spec: the timelines of the view.
        rows: (keys,) the row of each.
        facts: of all keys, one key's after the other's, each in order and each once.
        sizes: (keys,) how many facts each key gets.
        now_us: the moment; what no window reaches any more goes.
        limits: when facts become tiles.
    """
    gone_us = spec.gone_us(now_us)
    codec = spec.codec
    simple = np.array([row is None or is_simple(row) for row in rows], np.bool_)
    held = np.zeros(len(rows), np.int64)
    tails = codec.nothing
    there = [place for place, row in enumerate(rows) if row is not None and simple[place]]
    if there:
        tails, held[there] = all_tails(codec, [rows[place] for place in there])  # type: ignore[misc]
    simple &= (held + sizes <= limits.tail) & (_sizes_bytes(rows, facts, sizes) <= limits.tile_bytes)
    numbers = np.arange(len(rows))
    given, codes = _of_keys(facts, np.repeat(numbers, sizes), simple)
    if gone_us is not None:
        given, codes = _after(given, codes, gone_us)
    count = len(rows)
    in_time = np.bincount(codes, minlength=count)
    kept, kept_codes = _of_keys(tails, np.repeat(numbers, held), simple)
    was = np.where(simple, held, 0)
    staying = was
    if len(kept):
        if gone_us is not None:
            kept, kept_codes = _after(kept, kept_codes, gone_us)
            staying = np.bincount(kept_codes, minlength=count)
        given, sorted_codes = distinct(Facts.joined(codec, [kept, given]), np.concatenate([kept_codes, codes]))
        assert sorted_codes is not None
        codes = sorted_codes
    now = np.bincount(codes, minlength=count)
    added = now - staying
    changed = _rows(given, now, (added > 0) | (staying < was))
    late = np.where(simple, sizes, 0) - in_time
    return ManyMerged(changed, np.flatnonzero(~simple).tolist(), added, in_time - added, late)


def _sizes_bytes(rows: Sequence[bytes | None], facts: Facts, sizes: Int64Array) -> Int64Array:
    """(keys,) about how large the rows will be, if all facts are new."""
    found: Int64Array = np.array([0 if row is None else len(row) for row in rows]) + sizes * facts.codec.width
    if facts.codec.has_content:
        found += np.diff(facts.starts[np.concatenate([[0], np.cumsum(sizes)])])
    return found


def _of_keys(facts: Facts, codes: Int64Array, wanted: NDArray[np.bool_]) -> tuple[Facts, Int64Array]:
    if wanted.all():
        return facts, codes
    places = np.flatnonzero(wanted[codes])
    return facts.take(places), codes[places]


def _after(facts: Facts, codes: Int64Array, gone_us: int) -> tuple[Facts, Int64Array]:
    later = facts.event > gone_us
    if later.all():
        return facts, codes
    places = np.flatnonzero(later)
    return facts.take(places), codes[places]


def rows_behind(facts: Facts, sizes: Int64Array, room: Room) -> list[bytes | None]:
    """The rows of keys that have no other facts, for a store to put behind those that it has.

    Args:
        facts: of all keys, one key's after the other's, each in order and each once.
        sizes: (keys,) how many facts each key gets.
        room: when they may be put there.

    Returns:
        (keys,) the rows; ``None`` for keys whose facts have to be merged.
    """
    first = facts.event[np.cumsum(sizes) - sizes]
    few = (sizes <= room.most_facts) & (_sizes_bytes([None] * len(sizes), facts, sizes) <= room.most_bytes)
    return _rows(facts, sizes, few & (first > room.gone_us))


def _rows(facts: Facts, sizes: Int64Array, wanted: NDArray[np.bool_]) -> list[bytes | None]:
    """The rows of timelines that have only a tail; ``None`` where none is wanted."""
    codec, width = facts.codec, facts.codec.width
    ends = np.cumsum(sizes)
    starts = ends - sizes
    places = np.flatnonzero(wanted)
    found: list[bytes | None] = [None] * len(sizes)
    if not len(places):
        return found
    block, content = facts.block.tobytes(), facts.content
    starts, ends = starts[places], ends[places]
    heads = tail_heads(mark_bytes(len(places)), ends - starts, _latest_of_each(facts, starts, ends))
    bodies = zip(places.tolist(), heads, (starts * width).tolist(), (ends * width).tolist(), strict=True)
    for place, head, start, end in bodies:
        found[place] = head + block[start:end]
    if codec.has_content:
        cuts = zip(places.tolist(), facts.starts[starts].tolist(), facts.starts[ends].tolist(), strict=True)
        for place, start, end in cuts:
            found[place] += content[start:end]  # type: ignore[operator]
    return found


def _latest_of_each(facts: Facts, starts: Int64Array, ends: Int64Array) -> Int64Array:
    """(keys,) the greatest time of the facts of some keys."""
    filled = ends > starts
    found = np.full(len(starts), NEVER_US, np.int64)
    if not filled.any():
        return found
    found[filled] = facts.event[ends[filled] - 1]
    if facts.codec.has_known:
        # Between the keys that are wanted others may lie, so both ends are named.
        bounds = np.stack([starts[filled], ends[filled]], axis=1).ravel()
        padded = np.append(facts.known, NEVER_US)
        found[filled] = np.maximum(found[filled], np.maximum.reduceat(padded, bounds)[::2])
    return found
