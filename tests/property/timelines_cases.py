"""Timelines of random facts, beside the sets that they stand for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from property.windows_cases import COLUMNS, Case, arrow_columns, is_equal
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.online import OnlineStore, ReadRequest
from tiffin.online.found_windows import FoundTimelines
from tiffin.online.merging import Counts, Limits
from tiffin.online.rows import payload_bytes
from tiffin.online.tails import NEVER_US
from tiffin.online.timeline import Facts, Timeline, distinct, fact_codec, is_tile, tile_facts
from tiffin.online.windowed import (
    Part,
    TimelineReader,
    TimelineSpec,
    WindowedFeature,
    WindowRequest,
    tiles_to_read,
    values_of_many,
)
from tiffin.operations.timelines import TimelineWriter
from tiffin.planning.online import TimelineRead
from tiffin.semantics.oracle import Fact
from tiffin.semantics.oracle_windows import window_value
from tiffin.sql.conditions import parse_condition
from tiffin.windows.aggregate import plain_values
from tiffin.windows.evaluate import Asked, result_type

TABLE = "tests.kept.1"
LAYOUT = tuple((name, repr(dtype)) for name, dtype in COLUMNS.items())
POSITIVE = "i > 0 AND NOT i IS NULL"
#: So that everything happens to few facts: rows and tiles of eight, four tiles, and only states of what is older.
TINY = Limits(tail=8, kept=4, tiles=4, tile=8)


def spec_of(asked: Sequence[Asked], has_known: bool) -> TimelineSpec:
    """The timelines of a view whose features are asked for."""
    condition = parse_condition(POSITIVE, COLUMNS)
    windows = [each.window for each in asked]
    reaches = [None if w.length_us is None else w.length_us + w.offset_us + (w.slide_us or 0) for w in windows]
    return TimelineSpec(
        codec=fact_codec(LAYOUT, has_known),
        parts=tuple(dict.fromkeys(map(_part, asked))),
        conditions=(condition,),
        reach_us=None if None in reaches else max(each for each in reaches if each is not None),
    )


def features_of(asked: Sequence[Asked], spec: TimelineSpec) -> tuple[WindowedFeature, ...]:
    """What is asked for, as features of the timelines."""
    found = []
    for each in asked:
        result = result_type(each.function, each.dtype, dict(each.params))
        found.append(WindowedFeature(spec.parts.index(_part(each)), each.window, result, result))
    return tuple(found)


def _part(asked: Asked) -> Part:
    return Part(asked.function, asked.params, asked.column, asked.dtype, asked.condition)


def facts_of(case: Case) -> list[Fact]:
    """The facts of a case as the rules see them."""
    encoded = payload_bytes(LAYOUT, pa.table(arrow_columns(case.columns)))
    rows = zip(*case.columns.values(), strict=True)
    times = zip(case.keys.tolist(), case.event.tolist(), case.known.tolist(), strict=True)
    return [
        Fact((key,), event, known, dict(zip(case.columns, row, strict=True)), 0, content)
        for (key, event, known), row, content in zip(times, rows, encoded, strict=True)
    ]


@dataclass
class Expected:
    """What is to be held of a key: the facts as a set, and up to where they were deleted."""

    facts: dict[tuple[int, int, bytes], Fact] = field(default_factory=dict)
    deleted: tuple[int, int] = (NEVER_US, NEVER_US)

    def put(self, fact: Fact) -> bool:
        """Put a fact in; whether it is new."""
        if (fact.event_ts, fact.known_ts) <= self.deleted or identity(fact) in self.facts:
            return False
        self.facts[identity(fact)] = fact
        return True

    def without_all(self, now_us: int) -> Expected:
        """After everything was deleted, what lies ahead of now too."""
        events = [fact.event_ts for fact in self.facts.values()]
        times = events + [fact.known_ts for fact in self.facts.values()]
        latest = (max(events), max(times)) if events else (NEVER_US, NEVER_US)
        return Expected({}, max((now_us, now_us), latest, self.deleted))


class Kept:
    """Timelines in a store, and what the rules say of the same facts.

    Args:
        case: the facts that may come, and what is asked.
        limits: when facts become tiles.
        store: where; one in memory when left out.
    """

    def __init__(self, case: Case, limits: Limits, store: OnlineStore | None = None) -> None:
        self.case = case
        self.limits = limits
        self.now_us = -(1 << 40)
        self.spec = spec_of(case.asked, case.has_known)
        self.features = features_of(case.asked, self.spec)
        self.store = store or MemoryOnlineStore()
        self.store.ensure([TABLE])
        self.writer = TimelineWriter(self.store, TABLE, self.spec, lambda: self.now_us, limits)
        self.known = facts_of(case)
        self.all = self.spec.codec.encode(pa.table(arrow_columns(case.columns)), case.event, case.known)
        self.expected: defaultdict[int, Expected] = defaultdict(Expected)
        self.cells = self.blurred = 0

    def row(self, key: int) -> bytes | None:
        """The row of a key."""
        return self.store.read([ReadRequest(TABLE, [key_bytes(key)])])[0][0]

    def timeline(self, key: int) -> Timeline:
        """The timeline of a key."""
        return Timeline.of(self.spec.codec, self.row(key))

    def put(self, places: Sequence[int]) -> None:
        """Put facts in, by their numbers, and compare what is said of them."""
        at = np.array(places, np.intp)
        facts, codes = distinct(self.all.take(at), self.case.keys[at])
        assert codes is not None
        keys, sizes = np.unique(codes, return_counts=True)
        expected = self.expect(places)
        found = self.writer.write([key_bytes(key) for key in keys.tolist()], facts, sizes)
        assert replace(found, capped=0) == expected

    def expect(self, places: Sequence[int]) -> Counts:
        """Put facts into the sets, and what the store is to say of them."""
        counts = Counts()
        gone_us = self.spec.gone_us(self.now_us)
        fresh = {(self.known[place].key[0], *identity(self.known[place])): self.known[place] for place in places}
        keys = {fact.key[0] for fact in fresh.values()}
        oldest = {key: max(self.timeline(key).coarse_us, NEVER_US if gone_us is None else gone_us) for key in keys}
        for (key, *_), fact in fresh.items():
            held = self.expected[key]
            if fact.event_ts <= oldest[key]:
                counts += Counts(late=1)
            else:
                counts += Counts(added=1) if held.put(fact) else Counts(known=1)
        return counts

    def delete(self, keys: Sequence[int]) -> None:
        """Delete keys."""
        self.writer.bury([key_bytes(key) for key in keys], self.now_us)
        for key in keys:
            self.expected[key] = self.expected[key].without_all(self.now_us)

    def check(self, times: Sequence[int]) -> None:
        """The store holds what the timelines name and nothing else, and every window has the value of the rules.

        Args:
            times: moments, none of them before now.
        """
        named = set()
        for key in self.expected:
            row = self.row(key)
            timeline = Timeline.of(self.spec.codec, row)
            named |= {key_bytes(key)} if row is not None else set()
            named |= {key_bytes(key) + tile.name for tile in timeline.tiles if tile.has_facts}
            self._check_tiles(key, timeline)
            for t in times:
                self._check_values(key, row, timeline, t)
        assert {key for key, _ in self.store.scan_all(TABLE)} == named

    def tiles(self, key: int, names: Sequence[bytes]) -> dict[bytes, Facts]:
        """The facts of tiles, by name; they are all there."""
        rows = self.store.read([ReadRequest(TABLE, [key_bytes(key) + name for name in names])])[0]
        found = {}
        for name, row in zip(names, rows, strict=True):
            assert row is not None, "a tile is lost"
            assert is_tile(row)
            found[name] = tile_facts(self.spec.codec, row)
        return found

    def _check_tiles(self, key: int, timeline: Timeline) -> None:
        """What a timeline says of its tiles is what they hold; their times follow one another."""
        before = NEVER_US
        held = self.tiles(key, [tile.name for tile in timeline.tiles if tile.has_facts])
        for tile in timeline.tiles:
            assert before < tile.first_us <= tile.last_us
            before = tile.last_us
            if not tile.has_facts:
                assert tile is timeline.tiles[0]
                assert tile.last_us == timeline.coarse_us
                continue
            facts = held[tile.name]
            latest = max(int(facts.event.max()), int(facts.known.max()))
            assert (tile.first_us, tile.last_us) == (int(facts.event[0]), int(facts.event[-1]))
            assert (tile.count, tile.size_bytes, tile.latest_us) == (len(facts), len(facts.body()), latest)
            assert tile.states == self.spec.states(facts)
            if tile.first_us < tile.last_us:
                assert 2 * tile.count <= 3 * self.limits.tile
                assert 2 * tile.size_bytes <= 3 * self.limits.tile_bytes
        if len(timeline.facts):
            assert before < int(timeline.facts.event[0])

    def _check_values(self, key: int, row: bytes | None, timeline: Timeline, t: int) -> None:
        windows = [each.window for each in self.case.asked]
        tiles = self.tiles(key, tiles_to_read(timeline, windows, t))
        alone = TimelineReader(self.spec, timeline, tiles, t).values(WindowRequest.of(self.features))
        arrays = self._answer(key, row, t)
        coarse = [tile for tile in timeline.tiles if not tile.has_facts]
        together = alone if coarse else self._by_arrays(key, timeline, t)
        facts = list(self.expected[key].facts.values())
        for number, (asked, spec) in enumerate(zip(self.case.asked, self.case.specs, strict=True)):
            after, until = asked.window.bounds(t)
            if any(
                tile.first_us <= after < tile.last_us or until < tile.last_us or t < tile.latest_us for tile in coarse
            ):
                self.blurred += 1
                continue
            value = alone[number]
            assert repr(arrays[number]) == repr(value), (asked, key, t)
            assert repr(together[number]) == repr(value), (asked, key, t)
            expected = window_value(facts, (key,), t, "known", spec)
            assert is_equal(asked.function, value, expected), (asked, key, t, value, expected)
            self.cells += 1

    def _answer(self, key: int, row: bytes | None, t: int) -> list[Any]:
        """The values as an answer has them."""
        types, request = tuple(each.dtype for each in self.features), WindowRequest.of(self.features)
        view = TimelineRead("v", TABLE, 0, types, self.spec, request, all(each.is_same for each in self.features))
        found = FoundTimelines(view, [key_bytes(key)], [row], t)
        names = found.tiles()
        assert found.put_tiles(names, self.store.read([ReadRequest(TABLE, names)])[0])
        return [_plain(column)[0] for column in found.arrays()]

    def _by_arrays(self, key: int, timeline: Timeline, t: int) -> list[Any]:
        """The values from all facts at once, as those of many keys are computed."""
        names = [tile.name for tile in timeline.tiles]
        tiles = self.tiles(key, names)
        facts = Facts.joined(self.spec.codec, [*(tiles[name] for name in names), timeline.facts])
        found = values_of_many(self.spec, facts, [len(facts)], self.features, t)
        return [_plain(column)[0] for column in found]


def key_bytes(key: int) -> bytes:
    """The bytes of a key."""
    return b"key %d" % key


def identity(fact: Fact) -> tuple[int, int, bytes]:
    """What tells the facts of a key apart."""
    return fact.event_ts, fact.known_ts, fact.encoded


def _plain(column: pa.Array) -> list[Any]:
    """Values as aggregates have them; times within lists as microseconds too."""
    if pa.types.is_timestamp(column.type):
        return plain_values(column)
    if not pa.types.is_list(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    item = column.type.value_type
    if pa.types.is_struct(item) and pa.types.is_timestamp(item[0].type):
        column = column.cast(pa.list_(pa.struct([("value", pa.int64()), ("count", item[1].type)])))
    elif pa.types.is_timestamp(item):
        column = column.cast(pa.list_(pa.int64()))
    return column.to_pylist()  # type: ignore[no-any-return]
