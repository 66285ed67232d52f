"""Facts put into the timelines of an online store: read, united, and put back unless somebody else was faster."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import key_codes, numpy_values, single_chunk
from tiffin.contracts.online import ExtendBatch, OnlineStore, ReadRequest, SwapBatch, WriteBatch
from tiffin.errors import StoreError
from tiffin.online.cells import check_cells
from tiffin.online.keys import cast_key_column, encode_key_columns
from tiffin.online.merging import (
    Counts,
    Limits,
    Merged,
    Needed,
    latest_stamp,
    merge,
    merge_many,
    rows_behind,
    without,
)
from tiffin.online.tails import MARK_BYTES, NEVER_US, Room
from tiffin.online.timeline import Facts, Timeline, distinct, new_marks
from tiffin.online.windowed import TimelineSpec
from tiffin.operations.facts import EVENT_COLUMN, KNOWN_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.definitions import FeatureView

Int64Array = NDArray[np.int64]

#: Keys that are read and put back at once, and about how many facts.
_KEYS, _FACTS = 5_000, 200_000
#: How often a key is tried again while others write to it, and the longest pause between two times.
_ATTEMPTS, _LONGEST_PAUSE = 200, 0.05


def encode_timelines(
    view: FeatureView, spec: TimelineSpec, batch: pa.RecordBatch | pa.Table
) -> tuple[list[bytes], Facts, Int64Array]:
    """Facts by key: the distinct keys, all facts in the order of the keys and of their times, and how many each has.

    Args:
        view: the view that they are facts of.
        spec: its timelines.
        batch: the join keys, the columns that aggregations read, ``__event_us`` and ``__known_us``. Rows with a null in
            their key can never be asked for and are left out.

    Raises:
        TypeMismatchError: a value could not be read again in its type; names row and column.
    """
    import pyarrow as pa

    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    for name, dtype in spec.codec.types.items():
        check_cells(single_chunk(table.column(name)), dtype, name)
    codes, valid, wanted = key_codes(table, view.join_keys)
    if not valid.all():
        table, codes = table.filter(pa.array(valid)), codes[valid]
    event, known = (numpy_values(single_chunk(table.column(name))) for name in (EVENT_COLUMN, KNOWN_COLUMN))
    facts, sorted_codes = distinct(spec.codec.encode(table, event, known), codes)
    assert sorted_codes is not None
    sizes = np.bincount(sorted_codes, minlength=wanted.num_rows)
    parts = [
        cast_key_column(single_chunk(wanted[f"k{number}"]), dtype, name)
        for number, (name, dtype) in enumerate(zip(view.join_keys, view.known_key_types(), strict=True))
    ]
    keys = encode_key_columns(parts, wanted.num_rows)
    if sizes.all():
        return keys, facts, sizes
    # A key all of whose parts are there, but only in rows where another one is null.
    there = np.flatnonzero(sizes)
    return [keys[place] for place in there.tolist()], facts, sizes[there]


class TimelineWriter:
    """Puts facts into the timelines of one table. It may be used by many threads, and beside other processes.

    Args:
        store: the online store.
        table: the table.
        spec: the timelines of the view.
        now_us: tells the moment.
        limits: when facts become tiles.
    """

    def __init__(
        self,
        store: OnlineStore,
        table: str,
        spec: TimelineSpec,
        now_us: Callable[[], int],
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._table = table
        self._spec = spec
        self._now_us = now_us
        self._limits = limits or Limits()

    def write(self, keys: Sequence[bytes], facts: Facts, sizes: Int64Array) -> Counts:
        """Put facts in; they can be read when it returns. Doing it again changes nothing (WR-2).

        Args:
            keys: the distinct keys.
            facts: as ``encode_timelines`` gives them.
            sizes: how many facts each key has.

        Raises:
            StoreError: the store fails; running it again converges (WR-7).
        """
        counts = Counts()
        ends = np.cumsum(sizes)
        for first, last in _chunks(ends):
            begin = int(ends[first - 1]) if first else 0
            part = facts.part(begin, int(ends[last - 1]))
            counts += self._write(list(keys[first:last]), part, sizes[first:last])
        return counts

    def _write(self, keys: list[bytes], facts: Facts, sizes: Int64Array) -> Counts:
        done = self._put_behind(keys, facts, sizes)
        counts = Counts(added=int(sizes[done].sum()))
        if done.all():
            return counts
        return counts + self._merge(*_some_of(keys, facts, sizes, np.flatnonzero(~done)))

    def _put_behind(self, keys: Sequence[bytes], facts: Facts, sizes: Int64Array) -> NDArray[np.bool_]:
        """(keys,) which keys' facts the store has put behind those that it had, so that nobody had to read them."""
        gone_us, limits = self._spec.gone_us(self._now_us()), self._limits
        room = Room(self._spec.codec.width, limits.tail, limits.tile_bytes, NEVER_US if gone_us is None else gone_us)
        rows = rows_behind(facts, sizes, room)
        done = np.array([row is not None for row in rows])
        if done.any():
            given = [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]
            batch = ExtendBatch(self._table, [key for key, _ in given], [row for _, row in given], room)
            done[done] = self._store.extend(batch)
        return done

    def _merge(self, keys: list[bytes], facts: Facts, sizes: Int64Array) -> Counts:
        """Put facts in that may be there already, or come between those that are, or that become tiles."""
        counts = Counts()
        for attempt in range(_ATTEMPTS):
            pause_before(attempt)
            rows = self._read(keys)
            merged = merge_many(self._spec, rows, facts, sizes, self._now_us(), self._limits)
            refused = self._put(keys, rows, merged.rows)
            counts += merged.counts()
            starts = np.cumsum(sizes) - sizes
            for place in merged.alone:
                own = facts.part(int(starts[place]), int(starts[place] + sizes[place]))
                counts += self._write_one(keys[place], rows[place], own)
            if not refused:
                return counts
            # Counted when they are put in; others may have put them in meanwhile.
            counts -= merged.counts(refused)
            keys, facts, sizes = _some_of(keys, facts, sizes, np.array(refused))
        raise self._contended()

    def _put(self, keys: Sequence[bytes], rows: Sequence[bytes | None], new: Sequence[bytes | None]) -> list[int]:
        """Put rows in the place of others; the places of the keys that somebody else has written meanwhile."""
        places = [place for place, row in enumerate(new) if row is not None]
        if not places:
            return []
        expected = [_mark(rows[place]) for place in places]
        chosen: list[bytes] = [new[place] for place in places]  # type: ignore[misc]
        swapped = self._store.swap(SwapBatch(self._table, [keys[place] for place in places], expected, chosen))
        return [place for place, done in zip(places, swapped, strict=True) if not done]

    def _write_one(self, key: bytes, row: bytes | None, facts: Facts) -> Counts:
        """Put facts into a timeline that has tiles, or gets some."""

        def change(timeline: Timeline, tiles: dict[bytes, bytes]) -> Merged | Needed:
            return merge(self._spec, timeline, facts, self._now_us(), tiles, self._limits)

        return self.change(key, change, row).counts

    def bury(self, keys: Sequence[bytes], now_us: int) -> int:
        """Delete the facts of some keys up to a moment, so that they do not come back (WR-4).

        A fact that lies ahead of the moment, by a clock that is fast, is covered too.

        Returns:
            How many of the keys were there.
        """
        known = 0
        for key, row in zip(keys, self._read(keys), strict=True):
            known += row is not None
            self._bury(key, lambda timeline: max((now_us, now_us), latest_stamp(timeline)), row)
        return known

    def bury_until(self, key: bytes, deleted_us: tuple[int, int]) -> None:
        """Delete the facts of a key up to a stamp, event and known time; later ones stay."""
        (row,) = self._read([key])
        if row is None or Timeline.of(self._spec.codec, row).deleted_us < deleted_us:
            self._bury(key, lambda _: deleted_us, row)

    def _bury(self, key: bytes, stamp_of: Callable[[Timeline], tuple[int, int]], row: bytes | None) -> None:
        self.change(key, lambda timeline, tiles: without(self._spec, timeline, stamp_of(timeline), tiles), row)

    def change(
        self,
        key: bytes,
        change: Callable[[Timeline, dict[bytes, bytes]], Merged | Needed],
        row: bytes | None = None,
    ) -> Merged:
        """Change a timeline, again and again until nobody else has written to it meanwhile.

        Args:
            key: the key.
            change: from the timeline and the tiles read so far to what is to be, or to tiles that it needs.
            row: the key's row as it was read before, if it was.
        """
        written: set[bytes] = set()
        for attempt in range(_ATTEMPTS):
            pause_before(attempt)
            if attempt or row is None:
                (row,) = self._read([key])
            timeline = Timeline.of(self._spec.codec, row)
            # A swap that is refused may have been made: the store tried again because the reply was lost, and somebody
            # else had built on it by then. Only the row tells whose tiles these are.
            self._delete(key, sorted(written.difference(tile.name for tile in timeline.tiles)))
            written.clear()
            merged = self._merged(key, timeline, change)
            if merged is None:
                continue
            (mark,) = new_marks(1)
            if merged.tiles:
                names = list(merged.tiles)
                rows = [merged.tiles[name] for name in names]
                self._store.write(WriteBatch(self._table, [key + name for name in names], rows))
            new = merged.timeline.to_bytes(mark)
            if self._store.swap(SwapBatch(self._table, [key], [_mark(row)], [new]))[0]:
                self._delete(key, merged.gone)
                return merged
            written.update(merged.tiles)
        raise self._contended()

    def _merged(
        self,
        key: bytes,
        timeline: Timeline,
        change: Callable[[Timeline, dict[bytes, bytes]], Merged | Needed],
    ) -> Merged | None:
        """What a timeline is to be; ``None`` when a tile of it is gone, because it was written anew meanwhile."""
        tiles: dict[bytes, bytes] = {}
        while True:
            merged = change(timeline, tiles)
            if isinstance(merged, Merged):
                return merged
            found = self._read([key + name for name in merged.names])
            for name, tile in zip(merged.names, found, strict=True):
                if tile is None:
                    return None
                tiles[name] = tile

    def _read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store.read([ReadRequest(self._table, keys)])[0]

    def _delete(self, key: bytes, names: Sequence[bytes]) -> None:
        if names:
            self._store.delete(self._table, [key + name for name in names])

    def _contended(self) -> StoreError:
        return StoreError(
            f"a timeline of {self._table} was written by others {_ATTEMPTS} times while facts were put into it",
            hint="write the facts of one key from fewer processes; running it again converges",
        )


def pause_before(attempt: int) -> None:
    """Let others finish: not before the first attempt, longer before each further one."""
    if attempt:
        time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.001 * 2**attempt)))


def _mark(row: bytes | None) -> bytes:
    return b"" if row is None else row[:MARK_BYTES]


def _some_of(
    keys: Sequence[bytes], facts: Facts, sizes: Int64Array, places: NDArray[np.intp]
) -> tuple[list[bytes], Facts, Int64Array]:
    """Some keys, their facts, and how many each has."""
    starts = np.cumsum(sizes) - sizes
    parts = [facts.part(int(starts[place]), int(starts[place] + sizes[place])) for place in places]
    return [keys[place] for place in places], Facts.joined(facts.codec, parts), sizes[places]


def _chunks(ends: Int64Array) -> Iterator[tuple[int, int]]:
    """Keys in runs of a bounded number, with a bounded number of facts unless one key has more."""
    first = 0
    while first < len(ends):
        done = int(ends[first - 1]) if first else 0
        most = int(np.searchsorted(ends, done + _FACTS, side="right"))
        last = max(first + 1, min(most, first + _KEYS))
        yield first, last
        first = last
