"""The timelines that a store found for one view of a request: windows evaluated at ``now``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import nullable_column, single_chunk, valid_mask
from tiffin.online.found import FieldStatus
from tiffin.online.timeline import Facts, Timeline, all_tails, has_tiles, tail
from tiffin.online.windowed import (
    TimelineReader,
    WindowedFeature,
    tail_values,
    tiles_to_read,
    values_of_many,
    visible,
)
from tiffin.time import from_us
from tiffin.types import UnixTimestamp, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.planning.online import TimelineRead

#: So many keys are read one by one; the way of many costs nearly a millisecond, however few they are.
_FEW_KEYS = 24


class FoundTimelines:
    """One view's timelines, one per entity row.

    A key that was never seen has windows without facts, as it has for training: counts of 0, null in all else. A null
    key has nulls (PIT-8).

    Args:
        view: how the view is read.
        keys: the key of each entity row.
        rows: what the store found, ``None`` where nothing.
        now_us: the moment.
    """

    #: A change of what a timeline means gives it another table, so every row that is there can be read.
    is_readable = True

    def __init__(
        self, view: TimelineRead, keys: Sequence[bytes | None], rows: Sequence[bytes | None], now_us: int
    ) -> None:
        self._view = view
        self._keys = keys
        self._rows = rows
        self._now_us = now_us
        self._tiles: dict[bytes, bytes] = {}

    def tiles(self) -> list[bytes]:
        """The keys of the tiles that have to be read, too; none but for keys with many facts."""
        if not any([row is not None and has_tiles(row) for row in self._rows]):  # noqa: C419 - a list is faster
            return []
        found = (self._tiles_to_read(key, row) for key, row in zip(self._keys, self._rows, strict=True))
        return list(dict.fromkeys(tile for tiles in found for tile in tiles))

    def _tiles_to_read(self, key: bytes | None, row: bytes | None) -> list[bytes]:
        """The keys of the tiles that the windows of one entity row need."""
        if key is None or row is None or not has_tiles(row):
            return []
        timeline = Timeline.of(self._view.spec.codec, row)
        return [key + name for name in tiles_to_read(timeline, self._view.request.windows, self._now_us)]

    def put_tiles(self, keys: Sequence[bytes], rows: Sequence[bytes | None], *, are_all: bool = True) -> bool:
        """Take the rows of the tiles; false when one is gone, because the timeline was written anew meanwhile.

        Unless ``are_all``: a key of which one is missing then counts as one that was never seen.
        """
        self._tiles = {key: row for key, row in zip(keys, rows, strict=True) if row is not None}
        if len(self._tiles) == len(keys):
            return True
        if not are_all:
            self._rows = [
                row if all(tile in self._tiles for tile in self._tiles_to_read(key, row)) else None
                for key, row in zip(self._keys, self._rows, strict=True)
            ]
        return not are_all

    def __len__(self) -> int:
        return len(self._rows)

    def are_present(self) -> bool:
        """Whether every value is known to be there without a look at it; never."""
        return False

    def values(self) -> list[list[Any]]:
        """For each wanted feature its values as Python objects, ``None`` for null."""
        if self._view.is_same and self._is_few:
            return list(map(list, zip(*self._by_key)))  # noqa: B905 - all are of one length
        return [list(column) for column in self._columns]

    @property
    def _is_few(self) -> bool:
        """Whether keys are read one by one."""
        return 0 < len(self._rows) <= _FEW_KEYS and self._view.spec.is_plain

    @cached_property
    def _by_key(self) -> list[list[Any]]:
        """Per entity row its values; computed once, though an answer asks for them and functions do, too."""
        return [self._one(place) for place in range(len(self._rows))]

    @cached_property
    def _columns(self) -> list[list[Any]]:
        """Computed once, as above."""
        if not self._is_few:
            return self._from_arrays()
        return [
            _python(feature, [values[number] for values in self._by_key])
            for number, feature in enumerate(self._view.request.features)
        ]

    def arrays(self) -> list[pa.Array]:
        """For each wanted feature its values as an Arrow array of its type (TYP-2)."""
        return self._arrays

    def statuses(self) -> NDArray[np.int8]:
        """(entity rows, wanted features) the ``FieldStatus`` of each value."""
        found = np.full((len(self._rows), len(self._view.request.features)), FieldStatus.NULL_VALUE, np.int8)
        for number, column in enumerate(self._arrays):
            found[valid_mask(column), number] = FieldStatus.PRESENT
        found[[us is None for us in self.event_us()]] = FieldStatus.NOT_FOUND
        return found

    def event_us(self) -> list[int | None]:
        """Per entity row the event time of its newest fact; ``None`` where there is none."""
        return [None if row is None else self._newest(row) for row in self._rows]

    def _newest(self, row: bytes) -> int | None:
        codec = self._view.spec.codec
        facts = visible(*tail(codec, row), self._now_us)
        if len(facts):
            return int(facts.event[-1])
        return Timeline.of(codec, row).tiles[-1].last_us if has_tiles(row) else None

    def _one(self, place: int) -> list[Any]:
        """The values of one entity row, as the aggregates give them."""
        key, row, view = self._keys[place], self._rows[place], self._view
        if key is None:
            return [None] * len(view.request.features)
        if row is None or not has_tiles(row):
            return tail_values(view.spec, row, view.request, self._now_us)
        timeline = Timeline.of(view.spec.codec, row)
        return TimelineReader(view.spec, timeline, self._tiles_of(key, timeline), self._now_us).values(view.request)

    def _tiles_of(self, key: bytes, timeline: Timeline) -> Mapping[bytes, Facts]:
        rows = {tile.name: self._tiles.get(key + tile.name) for tile in timeline.tiles}
        codec = self._view.spec.codec
        return {name: Timeline.of(codec, row).facts for name, row in rows.items() if row is not None}

    def _from_arrays(self) -> list[list[Any]]:
        from tiffin.transforms.column import Column

        return [
            list(Column(feature.dtype, arrow=column).python())
            for feature, column in zip(self._view.request.features, self._arrays, strict=True)
        ]

    @cached_property
    def _arrays(self) -> list[pa.Array]:
        import pyarrow as pa

        there = np.array([key is not None for key in self._keys], np.bool_)
        tiled = np.array([row is not None and has_tiles(row) for row in self._rows], np.bool_)
        plain = np.flatnonzero(there & ~tiled)
        facts, counts = self._all_facts(plain)
        features = self._view.request.features
        found = values_of_many(self._view.spec, facts, counts, features, self._now_us)
        order = np.concatenate([plain, np.flatnonzero(tiled)])
        positions = np.zeros(len(self._rows), np.int64)
        positions[order] = np.arange(len(order))
        if tiled.any():
            by_key = [self._one(place) for place in np.flatnonzero(tiled).tolist()]
            rest = [pa.array([v[n] for v in by_key], each.type) for n, each in enumerate(found)]
            found = [pa.concat_arrays(parts) for parts in zip(found, rest, strict=True)]
        if len(order) < len(there) or tiled.any():
            taken = nullable_column(positions, there)
            found = [column.take(taken) for column in found]
        return [_cast(column, feature) for column, feature in zip(found, features, strict=True)]

    def _all_facts(self, places: NDArray[np.intp]) -> tuple[Facts, Sequence[int]]:
        codec = self._view.spec.codec
        rows = [self._rows[place] for place in places.tolist()]
        facts, some = all_tails(codec, [row for row in rows if row is not None])
        counts = np.zeros(len(rows), np.int64)
        counts[[row is not None for row in rows]] = some
        return facts, counts  # type: ignore[return-value]


def _python(feature: WindowedFeature, values: list[Any]) -> list[Any]:
    """The values of an aggregate as an answer gives them."""
    if feature.is_same:
        return values
    if feature.dtype is feature.result and feature.dtype is UnixTimestamp:
        return [None if value is None else from_us(value) for value in values]
    import pyarrow as pa

    from tiffin.transforms.column import Column

    column = _cast(pa.array(values, arrow_type(feature.result)), feature)
    return list(Column(feature.dtype, arrow=column).python())


def _cast(column: pa.Array, feature: WindowedFeature) -> pa.Array:
    """The values in the type of the feature."""
    from tiffin.planning.casting import cast_exactly

    column = single_chunk(column)
    return column if feature.dtype == feature.result else cast_exactly(column, feature.dtype, "value")
