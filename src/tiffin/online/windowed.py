"""The values of windows at a moment, from timelines: one key by lists, many keys at once as training sets are made.

Both give the same values to the last bit. A single key is worth neither Arrow nor numpy: with a few hundred facts,
Python's own sums and searches take microseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tiffin.definitions.aggregation import ALL_FACTS
from tiffin.online.timeline import PLAIN, FactCodec, Facts, Tile, Timeline, tail
from tiffin.types import Bool, Bytes, FeatureType, Float32, Float64, Int32, Int64, String
from tiffin.windows.aggregate import Aggregate, Order, plain_values
from tiffin.windows.conditions import Condition, is_true
from tiffin.windows.evaluate import Asked, SortedFacts, evaluate_windows
from tiffin.windows.functions import make_aggregate
from tiffin.windows.window import Window

if TYPE_CHECKING:
    import pyarrow as pa


#: A writer whose clock is ahead by less drops nothing that a reader still needs.
_SLOW_CLOCK_US = 300_000_000
#: Types whose values are the same objects in an answer as in an aggregate.
_SAME = (Int32, Int64, Float32, Float64, Bool, String, Bytes)


@dataclass(frozen=True)
class Part:
    """What is known of facts without their times: an aggregate of a column, of those that fulfil a condition.

    Attributes:
        function, params, column, dtype: the aggregate, and what it is computed from.
        condition: which of the timelines' conditions; ``None`` where all facts count.
    """

    function: str
    params: tuple[tuple[str, Any], ...]
    column: str
    dtype: FeatureType
    condition: int | None


@dataclass(frozen=True)
class WindowedFeature:
    """A feature: a part over a window.

    Attributes:
        part: the number of the part.
        window: which facts.
        dtype: its type.
        result: the type of the aggregate's values, which ``dtype`` can keep.
    """

    part: int
    window: Window
    dtype: FeatureType
    result: FeatureType

    @property
    def is_same(self) -> bool:
        """Whether its values are the same objects in an answer as in an aggregate."""
        return self.dtype is self.result and self.dtype in _SAME


@dataclass(frozen=True)
class WindowRequest:
    """Features that are asked for together.

    Attributes:
        features: the features.
        windows: their different windows.
        window_numbers: for each feature the number of its window.
        by_part: for each part that is needed, where its values go in the answer, and over which windows.
    """

    features: tuple[WindowedFeature, ...]
    windows: tuple[Window, ...]
    window_numbers: tuple[int, ...]
    by_part: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]

    @classmethod
    def of(cls, features: Sequence[WindowedFeature]) -> WindowRequest:
        """Make it, once for a shape of request."""
        windows = tuple(dict.fromkeys(feature.window for feature in features))
        numbers = tuple(windows.index(feature.window) for feature in features)
        by_part: dict[int, list[tuple[int, int]]] = {}
        for place, (feature, number) in enumerate(zip(features, numbers, strict=True)):
            by_part.setdefault(feature.part, []).append((place, number))
        return cls(tuple(features), windows, numbers, tuple((part, tuple(all_)) for part, all_ in by_part.items()))


@dataclass(frozen=True)
class TimelineSpec:
    """The timelines of a view.

    Attributes:
        codec: how facts are kept.
        parts: the different parts of its features; tiles keep a state for each, in this order.
        conditions: the different filters.
        reach_us: how far back any window goes; ``None`` for ever.
    """

    codec: FactCodec
    parts: tuple[Part, ...]
    conditions: tuple[Condition, ...]
    reach_us: int | None

    @cached_property
    def aggregates(self) -> tuple[Aggregate[Any], ...]:
        """The aggregate of each part."""
        return tuple(make_aggregate(part.function, part.dtype, dict(part.params)) for part in self.parts)

    @cached_property
    def is_plain(self) -> bool:
        """Whether all columns can be read without Arrow."""
        return all(dtype in PLAIN for dtype in self.codec.types.values())

    def gone_us(self, now_us: int) -> int | None:
        """Facts with an event time up to here are in no window any more, nor by a clock that is slow."""
        return None if self.reach_us is None else now_us - self.reach_us - _SLOW_CLOCK_US

    def states(self, facts: Facts) -> bytes:
        """The states of all parts over some facts."""
        read = FactReader(self, facts)
        return _pack([each.encoded(read.state(number)) for number, each in enumerate(self.aggregates)])

    def more_states(self, states: bytes, facts: Facts) -> bytes:
        """The states over some facts, when others that are not among them come in addition."""
        read = FactReader(self, facts)
        return _pack(
            [
                each.encoded(each.merged(each.decoded(data), read.state(number)))
                for number, (each, data) in enumerate(zip(self.aggregates, _unpack(states), strict=True))
            ]
        )

    def joined_states(self, tiles: Sequence[Tile]) -> bytes:
        """The states over several tiles together."""
        listed = [_unpack(tile.states) for tile in tiles]
        found = []
        for aggregate, datas in zip(self.aggregates, zip(*listed, strict=True), strict=True):
            state = aggregate.decoded(datas[0])
            for data in datas[1:]:
                state = aggregate.merged(state, aggregate.decoded(data))
            found.append(aggregate.encoded(state))
        return _pack(found)


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class FactReader:
    """The values of some facts of one key as aggregates take them; columns are read when they are first asked for."""

    __slots__ = ("_columns", "_events", "_facts", "_filled", "_kept", "_spec")

    def __init__(self, spec: TimelineSpec, facts: Facts) -> None:
        self._spec = spec
        self._facts = facts
        self._events: list[int] | None = None
        self._filled: int | None = None
        self._kept: dict[tuple[str, int | None], tuple[list[Any], list[int] | None]] = {}
        self._columns: dict[str, pa.Array] = {}

    @property
    def events(self) -> list[int]:
        """(n,) event times."""
        if self._events is None:
            self._events = self._facts.event.tolist()
        return self._events

    def ends(self, windows: Sequence[Window], now_us: int) -> list[tuple[int, int]]:
        """For each window the place of its first fact, and the one after its last."""
        events = self.events
        found = []
        for window in windows:
            after, until = window.bounds(now_us)
            found.append((bisect_right(events, after), bisect_right(events, until)))
        return found

    def values(self, request: WindowRequest, ends: Sequence[tuple[int, int]]) -> list[Any]:
        """The value of each feature, as its aggregate gives it, where these are all the facts that there are.

        Args:
            request: the features.
            ends: as ``ends`` finds them for its windows.
        """
        found: list[Any] = [None] * len(request.features)
        for part, wanted in request.by_part:
            values, places = self._all(part)
            value_of = self._spec.aggregates[part].value_of
            for place, window in wanted:
                first, last = ends[window]
                if places is not None:
                    first, last = bisect_left(places, first), bisect_left(places, last)
                found[place] = value_of(values[first:last])
        return found

    def state(self, number: int, first: int = 0, last: int | None = None) -> Any:
        """The state of a part over the facts from one place on and before another."""
        values, places = self._all(number)
        last = len(self._facts) if last is None else last
        if places is not None:
            first, last = bisect_left(places, first), bisect_left(places, last)

        def order_of(position: int) -> Order:
            place = first + position if places is None else places[first + position]
            facts = self._facts
            return int(facts.event[place]), int(facts.known[place]), facts.payload(place)

        return self._spec.aggregates[number].gathered(values[first:last], order_of)

    def _all(self, number: int) -> tuple[list[Any], list[int] | None]:
        """The values of a part that are there and count, and the places of their facts; ``None`` where all are."""
        part = self._spec.parts[number]
        of = (part.column, part.condition)
        found = self._kept.get(of)
        if found is None:
            found = self._kept[of] = self._values(*of)
        return found

    def _values(self, column: str, condition: int | None) -> tuple[list[Any], list[int] | None]:
        count, codec = len(self._facts), self._facts.codec
        everything = column == ALL_FACTS
        if self._filled is None:
            self._filled = codec.filled(self._facts)
        full = everything or self._filled >> codec.number(column) & 1
        chosen = None if full else codec.valid(self._facts, column)
        if condition is not None:
            held = is_true(self._spec.conditions[condition], self.columns, count)
            chosen = held if chosen is None else chosen & held
        values = [True] * count if everything else self._plain(column)
        if chosen is None or chosen.all():
            return values, None
        places = np.flatnonzero(chosen).tolist()
        return [values[place] for place in places], places

    def _plain(self, column: str) -> list[Any]:
        codec = self._facts.codec
        if codec.types[column] in PLAIN:
            return codec.plain(self._facts, column)
        return plain_values(self.array(column))

    def array(self, column: str) -> pa.Array:
        """(n,) a column in its Arrow type."""
        found = self._columns.get(column)
        if found is None:
            found = self._columns[column] = self._facts.codec.array(self._facts, column)
        return found

    @property
    def columns(self) -> Mapping[str, pa.Array]:
        """The columns by name, each read when it is asked for."""
        return _Columns(self, self._facts.codec.types)


class _Columns(Mapping[str, Any]):
    def __init__(self, reader: FactReader, names: Mapping[str, FeatureType]) -> None:
        self._reader, self._names = reader, names

    def __getitem__(self, name: str) -> Any:
        return self._reader.array(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def tiles_to_read(timeline: Timeline, windows: Sequence[Window], now_us: int) -> list[bytes]:
    """The names of the tiles whose facts are needed: those in which an edge of a window lies."""
    found = []
    for tile in timeline.tiles:
        if tile.has_facts and any(_is_cut(tile, *window.bounds(now_us), now_us) for window in windows):
            found.append(tile.name)
    return found


def _is_cut(tile: Tile, after_us: int, until_us: int, now_us: int) -> bool:
    """Whether only some facts of a tile are in a window, or may be."""
    if tile.last_us <= after_us or tile.first_us > until_us:
        return False
    return tile.first_us <= after_us or tile.last_us > until_us or tile.latest_us > now_us


def tail_values(spec: TimelineSpec, row: bytes | None, request: WindowRequest, now_us: int) -> list[Any]:
    """The values of the windows of one key whose timeline has no tiles, as ``TimelineReader`` gives them.

    Args:
        spec: the timelines of the view.
        row: the key's; ``None`` where there is none.
        request: the features.
        now_us: the moment.
    """
    codec = spec.codec
    reader = FactReader(spec, codec.nothing if row is None else visible(*tail(codec, row), now_us))
    return reader.values(request, reader.ends(request.windows, now_us))


class TimelineReader:
    """The values of one key's windows.

    Args:
        spec: the timelines of the view.
        timeline: the key's.
        tiles: by name the facts of the tiles that ``tiles_to_read`` names.
        now_us: the moment.
    """

    __slots__ = ("_now_us", "_spec", "_states", "_tail", "_tile_readers", "_tiles", "_timeline")

    def __init__(self, spec: TimelineSpec, timeline: Timeline, tiles: Mapping[bytes, Facts], now_us: int) -> None:
        self._spec = spec
        self._timeline = timeline
        self._tiles = tiles
        self._now_us = now_us
        self._tail = FactReader(spec, visible(timeline.facts, timeline.latest_us, now_us))
        self._tile_readers: dict[bytes, FactReader] = {}
        self._states: dict[int, list[bytes]] = {}

    def values(self, request: WindowRequest) -> list[Any]:
        """The value of each feature, as its aggregate gives it."""
        ends = self._tail.ends(request.windows, self._now_us)
        if self._timeline.tiles:
            return [
                self._over_tiles(feature.part, feature.window, *ends[number])
                for feature, number in zip(request.features, request.window_numbers, strict=True)
            ]
        return self._tail.values(request, ends)

    def _over_tiles(self, part: int, window: Window, first: int, last: int) -> Any:
        aggregate = self._spec.aggregates[part]
        after, until = window.bounds(self._now_us)
        state = self._tail.state(part, first, last)
        for number, tile in enumerate(self._timeline.tiles):
            if tile.last_us <= after or tile.first_us > until:
                continue
            if tile.has_facts and _is_cut(tile, after, until, self._now_us):
                reader = self._tile_reader(tile)
                ends = bisect_right(reader.events, after), bisect_right(reader.events, until)
                state = aggregate.merged(state, reader.state(part, *ends))
            else:
                state = aggregate.merged(state, aggregate.decoded(self._states_of(number, tile)[part]))
        return aggregate.finished(state)

    def _states_of(self, number: int, tile: Tile) -> list[bytes]:
        found = self._states.get(number)
        if found is None:
            found = self._states[number] = _unpack(tile.states)
        return found

    def _tile_reader(self, tile: Tile) -> FactReader:
        found = self._tile_readers.get(tile.name)
        if found is None:
            facts = visible(self._tiles[tile.name], tile.latest_us, self._now_us)
            found = self._tile_readers[tile.name] = FactReader(self._spec, facts)
        return found


def visible(facts: Facts, latest_us: int, now_us: int) -> Facts:
    """The facts that have happened and are known at a moment; ``latest_us`` is the greatest of their times."""
    if latest_us <= now_us:
        return facts
    return facts.take(np.flatnonzero((facts.event <= now_us) & (facts.known <= now_us)))


def values_of_many(
    spec: TimelineSpec, facts: Facts, counts: Sequence[int], features: Sequence[WindowedFeature], now_us: int
) -> list[pa.Array]:
    """The values of many keys' windows, for each feature (keys,) as its aggregate gives them.

    Args:
        spec: the timelines of the view.
        facts: the facts of all keys, one key's after the other's, each in order.
        counts: (keys,) how many facts each key has.
        features: what is wanted.
        now_us: the moment.
    """
    codes = np.repeat(np.arange(len(counts)), counts)
    wanted = {spec.parts[feature.part].column for feature in features} - {ALL_FACTS}
    filtered = any(spec.parts[feature.part].condition is not None for feature in features)
    reader = FactReader(spec, facts)
    held = [is_true(each, reader.columns, len(facts)) for each in spec.conditions] if filtered else []
    unknown = facts.codec.has_known and bool((facts.known > now_us).any())
    sorted_facts = SortedFacts(
        codes=codes,
        event_us=np.ascontiguousarray(facts.event),
        known_us=np.ascontiguousarray(facts.known) if unknown else None,
        columns={name: reader.array(name) for name in wanted},
        conditions=held,
    )
    asked = [
        Asked(part.function, part.column, part.dtype, feature.window, part.condition, part.params)
        for feature in features
        for part in (spec.parts[feature.part],)
    ]
    rows = np.arange(len(counts))
    times = np.full(len(counts), now_us, np.int64)
    found = evaluate_windows(sorted_facts, rows, times, asked, only_known=True)
    return list(found.columns)
