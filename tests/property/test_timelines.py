"""Timelines are sets of facts, whatever happens to them, and windows over them have the values of the rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from property.online_values import tables
from property.test_online_codecs import shown
from property.timelines_cases import TABLE, TINY, Expected, Kept, key_bytes
from property.windows_cases import random_case
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.online import ReadRequest, SwapBatch, WriteBatch, WriteResult
from tiffin.errors import StoreUnavailableError
from tiffin.online.merging import Limits
from tiffin.online.timeline import (
    PLAIN,
    FactCodec,
    Facts,
    Timeline,
    all_tails,
    distinct,
    fact_codec,
    new_marks,
    tile_facts,
    tile_row,
)
from tiffin.online.windowed import Part, TimelineSpec
from tiffin.operations.timeline_tables import sweep_tiles
from tiffin.operations.timelines import TimelineWriter
from tiffin.types import Bool, String
from tiffin.windows.aggregate import plain_values

limits = st.sampled_from([TINY, Limits(8, 4, 4, 16), Limits(3, 1, 2, 4), Limits(8, 4, 4, 8, tile_bytes=400), Limits()])


def run(
    seed: int, limits: Limits, has_known: bool, *, facts: int, steps: int, spread: int = 1_000, asks: int = 6
) -> Kept:
    """Facts that come in random parts, late and twice, while time goes on and keys are deleted."""
    rng = np.random.default_rng(seed)
    moments = int(rng.choice([4, 12, 40]))
    case = random_case(seed, facts, 0, moments=moments, spread=spread, asks=asks, has_known=has_known, keys=2)
    if has_known:
        case.known[rng.random(facts) < 0.1] += moments * spread
    kept = Kept(case, limits)
    in_order = np.argsort(case.event, kind="stable")
    now = (int(rng.integers(0, 4)) - 3) * spread
    for step in range(steps):
        kept.now_us = max(kept.now_us, now + int(rng.integers(-1, 2)))
        if rng.random() < 0.7:
            # About in order, as facts come; the others from anywhere, again and again.
            first = len(in_order) * step // steps
            places = in_order[max(0, first - 5) : first + 1 + len(in_order) // steps]
        else:
            places = rng.integers(0, facts, int(rng.integers(0, 12)))
        kept.put(rng.permutation(places).tolist())
        if rng.random() < 0.1:
            kept.delete([int(rng.integers(2))] if rng.random() < 0.7 else [0, 1])
        later = kept.now_us + int(rng.integers(0, 6)) * spread + int(rng.integers(-1, 2))
        kept.check([kept.now_us, max(kept.now_us, later)])
        now += int(rng.integers(0, 3)) * spread * moments // 12
    return kept


@pytest.mark.parametrize("has_known", [False, True])
@given(seed=st.integers(0, 2**32 - 1), limits=limits, facts=st.integers(1, 150), spread=st.sampled_from([1, 1_000]))
@settings(max_examples=60, deadline=None)
def test_timelines_are_the_set_of_their_facts(
    has_known: bool, seed: int, limits: Limits, facts: int, spread: int
) -> None:
    run(seed, limits, has_known, facts=facts, steps=8, spread=spread)


@st.composite
def payloads(draw: st.DrawFn) -> tuple[FactCodec, pa.Table, np.ndarray, np.ndarray]:
    """A codec, a table of its columns, and the times of its rows."""
    layout, table = draw(tables(max_rows=6))
    count = table.num_rows
    event = np.array(draw(st.lists(st.integers(-2, 2), min_size=count, max_size=count)), np.int64)
    known = event + np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), np.int64)
    has_known = draw(st.booleans())
    return fact_codec(layout, has_known), table, event, known if has_known else event


@given(drawn=payloads(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_facts_of_all_types_come_out_of_a_row_as_they_went_in(drawn: Any, data: st.DataObject) -> None:
    codec, table, event, known = drawn
    facts = codec.encode(table, event, known)
    places = np.array(data.draw(st.permutations(range(len(facts)))), np.intp)
    cut = data.draw(st.integers(0, len(facts)))
    parts = [facts.take(places[:cut]), facts.take(places[cut:])]
    joined = Facts.joined(codec, parts)
    (mark,) = new_marks(1)
    timeline = Timeline.of(codec, Timeline(joined, deleted_us=(1, 2), coarse_us=3, latest_us=4).to_bytes(mark))
    assert (timeline.deleted_us, timeline.coarse_us, timeline.latest_us, timeline.mark) == ((1, 2), 3, 4, mark)
    tile = tile_facts(codec, tile_row(mark, joined))
    (together, counts) = all_tails(codec, [Timeline(part).to_bytes(mark) for part in parts])
    assert counts.tolist() == [cut, len(facts) - cut]
    for found in (timeline.facts, tile, together):
        assert (found.event.tolist(), found.known.tolist()) == (event[places].tolist(), known[places].tolist())
        assert [found.payload(place) for place in range(len(found))] == [facts.payload(p) for p in places.tolist()]
        for name in codec.types:
            assert shown(codec.array(found, name).to_pylist()) == shown(table[name].take(pa.array(places)).to_pylist())
            assert codec.valid(found, name).tolist() == table[name].take(pa.array(places)).is_valid().to_pylist()
            if codec.types[name] in PLAIN:
                taken = codec.array(found, name)
                there = taken.is_valid().to_pylist()
                plain = [v for v, is_there in zip(codec.plain(found, name), there, strict=True) if is_there]
                assert shown(plain) == shown(plain_values(taken.drop_null()))


@given(drawn=payloads(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_distinct_facts_are_a_sorted_set(drawn: Any, data: st.DataObject) -> None:
    """By key, times and content; whatever came how often and in whatever order."""
    codec, table, event, known = drawn
    facts = codec.encode(table, event, known)
    places = np.array(data.draw(st.lists(st.integers(0, len(facts) - 1), max_size=20)), np.intp)
    codes = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(places), max_size=len(places))), np.int64)

    def identity(found: Facts, place: int) -> tuple[int, int, bytes]:
        return int(found.event[place]), int(found.known[place]), found.payload(place)

    chosen = facts.take(places)
    wanted = {(key, identity(chosen, place)) for place, key in enumerate(codes.tolist())}
    found, keys = distinct(chosen, codes)
    assert keys is not None
    assert [(key, identity(found, place)) for place, key in enumerate(keys.tolist())] == sorted(wanted)
    alone, _ = distinct(chosen)
    assert [identity(alone, place) for place in range(len(alone))] == sorted({each for _, each in wanted})


@pytest.mark.parametrize("is_long", [False, True])
def test_rows_stay_small_however_long_the_texts(is_long: bool) -> None:
    """DynamoDB takes 400 KB; joining tiles and late facts go by bytes too, not only by numbers of facts."""
    layout = (("text", repr(String)),)
    spec = TimelineSpec(fact_codec(layout, has_known=False), (Part("count", (), "*", Bool, None),), (), None)
    limits = Limits(tail=64, kept=32, tiles=8, tile=512, tile_bytes=10_000)
    store = MemoryOnlineStore()
    store.ensure(["t"])
    writer = TimelineWriter(store, "t", spec, lambda: 10**6, limits)
    rng, longest = np.random.default_rng(3), 0
    for start in range(0, 2_000, 50):
        event = np.concatenate([np.arange(start, start + 40), rng.integers(max(0, start - 300), start + 40, 10)])
        texts = ["x" * int(rng.integers(200, 400) if is_long else rng.integers(3)) for _ in event]
        facts, _ = distinct(spec.codec.encode(pa.table({"text": texts}), event, event))
        writer.write([b"k"], facts, np.array([len(facts)]))
        longest = max(longest, *(len(row) for key, row in store.scan_all("t") if key != b"k"), 0)
        (row,) = store.read([ReadRequest("t", [b"k"])])[0]
        assert row is not None
        assert len(Timeline.of(spec.codec, row).facts.body()) <= 10_000
    assert longest <= 15_000 + 64


@given(seed=st.integers(0, 2**32 - 1), has_known=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_deleted_up_to_a_stamp_leaves_the_later_facts(seed: int, has_known: bool) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(seed, 60, 0, has_known=has_known, keys=1, spread=10)
    kept = Kept(case, Limits(8, 4, 50, 8))
    kept.now_us = 10 * 20
    kept.put(rng.permutation(60).tolist())
    stamp = int(rng.choice(case.event)), int(rng.choice(case.known))
    kept.writer.bury_until(key_bytes(0), stamp)
    held = kept.expected[0].facts
    kept.expected[0] = Expected({each: fact for each, fact in held.items() if each[:2] > stamp}, stamp)
    kept.check([kept.now_us])
    kept.put(rng.permutation(60).tolist())
    kept.check([kept.now_us])


# --- Tiles, and writers in one another's way --------------------------------------------------------------------------


def two_hundred(store: MemoryOnlineStore | None = None) -> Kept:
    """Two hundred facts of one key, none of them put in yet; a window reaches all of them."""
    case = random_case(6, 200, 0, keys=1, moments=100)
    kept = Kept(case, Limits(tail=8, kept=4, tiles=50, tile=8), store)
    kept.now_us = 10**9
    return kept


class Overtaken(MemoryOnlineStore):
    """A swap whose reply is lost; when it is made again, somebody else has put facts in."""

    between: Any = None

    def swap(self, batch: SwapBatch) -> list[bool]:
        found = super().swap(batch)
        if self.between is not None and found[0]:
            between, self.between = self.between, None
            between()
            return super().swap(batch)
        return found


def test_swap_that_was_made_and_then_said_to_be_refused_loses_no_tile() -> None:
    store = Overtaken()
    kept = two_hundred(store)
    case = kept.case
    in_order = np.argsort(case.event, kind="stable").tolist()
    kept.put(in_order[:100])
    other = two_hundred(store)
    other.expected = kept.expected
    store.between = lambda: other.put(in_order[150:])
    at = np.array(in_order[100:150], np.intp)
    kept.expect(in_order[100:150])
    facts, _ = distinct(kept.all.take(at))
    kept.writer.write([key_bytes(0)], facts, np.array([len(facts)]))
    assert store.between is None
    kept.check([kept.now_us])


class Dying(MemoryOnlineStore):
    """The process is killed before a swap."""

    dies = False

    def swap(self, batch: SwapBatch) -> list[bool]:
        if self.dies:
            raise StoreUnavailableError("killed")
        return super().swap(batch)


@pytest.mark.parametrize("first", [0, 100])
def test_tiles_that_nobody_names_are_swept(first: int) -> None:
    store = Dying()
    kept = two_hundred(store)
    if first:
        kept.put(range(first))
    store.dies = True
    with pytest.raises(StoreUnavailableError):
        kept.put(range(first, 200))
    store.dies = False
    assert sweep_tiles(store, TABLE) > 0
    assert sweep_tiles(store, TABLE) == 0
    again = two_hundred(store)
    again.expected[0] = Expected()
    again.expect(range(first))
    again.check([again.now_us])
    again.put(range(first, 200))
    again.check([again.now_us])


def test_sweep_between_a_tile_and_its_timeline_lets_the_writer_begin_anew() -> None:
    class Swept(MemoryOnlineStore):
        swept = 0

        def write(self, batch: WriteBatch) -> WriteResult:
            result = super().write(batch)
            if self.swept < 2:
                assert sweep_tiles(self, TABLE) == len(batch.keys)
                self.swept += 1
            return result

    store = Swept()
    kept = two_hundred(store)
    kept.put(range(100))
    kept.put(range(100, 200))
    assert store.swept == 2
    kept.check([kept.now_us])
