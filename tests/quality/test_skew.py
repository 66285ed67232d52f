"""The parts of the skew meter by themselves: distances, losses, and what the history says, against plain oracles."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.world import HOUR, NOON, World, fact
from tiffin.operations.feature_log import LOGGED_AT
from tiffin.planning.references import resolve_features
from tiffin.planning.retrieval import plan_retrieval
from tiffin.quality.page import Bars, Figures, Page, Section, Table, Text
from tiffin.quality.plots import Curves
from tiffin.quality.skew import FeatureSkew, Spread, add_to_spread, edit_distance, find_differences, in_type
from tiffin.quality.skew_facts import NO_TIME, ServedTimes, gather_evidence
from tiffin.quality.skew_lossy import is_lossy
from tiffin.time import to_us

VALUES = st.lists(st.sampled_from([None, 0.0, -0.0, 1.5, math.nan]), max_size=7)


def plain_distance(one: list[str], other: list[str]) -> int:
    """Levenshtein's distance as it is defined."""
    if not one or not other:
        return len(one) + len(other)
    exchanged = plain_distance(one[1:], other[1:]) + (one[0] != other[0])
    return min(exchanged, plain_distance(one[1:], other) + 1, plain_distance(one, other[1:]) + 1)


@settings(deadline=None, max_examples=60)
@given(one=VALUES, other=VALUES)
def test_edit_distance_is_that_of_the_definition(one: list[Any], other: list[Any]) -> None:
    assert edit_distance(one, other) == plain_distance(list(map(repr, one)), list(map(repr, other)))


def test_edit_distance_of_long_lists() -> None:
    long = list(range(3_000))
    assert edit_distance(long, [-1, *long[:1_000], *long[1_001:]]) == 2


TIMES = pa.timestamp("us", "UTC")
MOMENT = datetime(2024, 6, 1, 12, 34, 56, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("exact", "served", "kind"),
    [
        (0.1, float(np.float32(0.1)), pa.float64()),
        (1.23456, 1.235, pa.float64()),
        (2.7, 2.0, pa.float64()),
        (0.1, float(np.float16(0.1)), pa.float32()),
        (2**53 + 1, 2**53, pa.int64()),
        (2**32 + 7, 7, pa.int64()),
        (300, 44, pa.int32()),
        (MOMENT, MOMENT.replace(microsecond=0), TIMES),
        (MOMENT, MOMENT.replace(hour=0, minute=0, second=0, microsecond=0), TIMES),
        (Decimal("1.23456"), Decimal("1.23"), pa.decimal128(38, 18)),
        ("a long text", "a long", pa.string()),
        (b"bytes", b"byt", pa.binary()),
        ([0.123456, None, 2.0], [0.12, None, 2.0], pa.list_(pa.float64())),
        ([[0.123456], [1.0]], [[0.12], [1.0]], pa.list_(pa.list_(pa.float64()))),
    ],
)
def test_a_loss_is_told(exact: Any, served: Any, kind: pa.DataType) -> None:
    assert is_lossy(pa.array([served], kind), pa.array([exact], kind)).tolist() == [True]
    assert is_lossy(pa.array([exact], kind), pa.array([exact], kind)).tolist() == [False]
    assert is_lossy(pa.array([None], kind), pa.array([exact], kind)).tolist() == [False]


@pytest.mark.parametrize(
    ("exact", "served", "kind"),
    [
        (0.1, 0.2, pa.float64()),
        (1.0, math.nan, pa.float64()),
        (0.0, -0.0, pa.float64()),
        (7, 8, pa.int64()),
        (MOMENT, MOMENT + timedelta(seconds=1), TIMES),
        ("text", "", pa.string()),
        ("text", "other", pa.string()),
        ([0.123456], [0.12, 0.0], pa.list_(pa.float64())),
        ([1.0, 2.0], [2.0, 1.0], pa.list_(pa.float64())),
        (True, False, pa.bool_()),
        ({"a": 0.123}, {"a": 0.12}, pa.struct([("a", pa.float64())])),
    ],
)
def test_another_value_is_no_loss(exact: Any, served: Any, kind: pa.DataType) -> None:
    found = is_lossy(pa.array([served], kind), pa.array([exact], kind)).tolist()
    # Zero and minus zero are different values, and rounding gives the one for the other.
    assert found == [kind == pa.float64() and exact == served]


def test_a_cast_to_another_type_is_a_loss() -> None:
    served, exact = pa.array([1, 2, 5], pa.int64()), pa.array([1.5, 2.25, 9.0])
    assert in_type(served, pa.string()).type == pa.string()
    assert is_lossy(served, exact).tolist() == [True, True, False]
    assert is_lossy(pa.array(["a"]), pa.array([1.5])).tolist() == [False]


def test_kinds_of_differences() -> None:
    served = pa.array([1.0, None, 3.0, None, math.nan])
    expected = pa.array([1.5, 2.0, None, None, math.nan])
    found = find_differences("f", served, expected)
    assert (found.rows.tolist(), found.kinds.tolist()) == ([0, 1, 2], [1, 2, 3])
    other = find_differences("f", pa.array(["x", None]), pa.array([1.0, None]))
    assert (other.rows.tolist(), other.is_typed) == ([0], False)


@pytest.mark.parametrize(
    ("served", "expected", "kind", "unit", "largest"),
    [
        (2**62 + 1, 2**62, pa.int64(), "difference", 1.0),
        (-(2**63), 2**63 - 1, pa.int64(), "difference", 2.0**64),
        (MOMENT, MOMENT + HOUR, TIMES, "seconds", 3600.0),
        (Decimal("1.5"), Decimal(1), pa.decimal128(38, 18), "difference", 0.5),
        ([1, 2], [2], pa.list_(pa.int64()), "edits", 1.0),
    ],
)
def test_differences_are_measured(served: Any, expected: Any, kind: pa.DataType, unit: str, largest: float) -> None:
    skew = FeatureSkew("view:feature", "")
    add_to_spread(skew, find_differences("f", pa.array([served], kind), pa.array([expected], kind)))
    assert skew.spread is not None
    assert (skew.spread.unit, skew.spread.count, skew.spread.largest) == (unit, 1, largest)


def test_what_has_no_distance_is_not_measured() -> None:
    skew = FeatureSkew("view:feature", "")
    add_to_spread(skew, find_differences("f", pa.array(["a"]), pa.array(["b"])))
    assert skew.spread is None
    add_to_spread(skew, find_differences("f", pa.array([math.inf, 2.0]), pa.array([1.0, 1.0])))
    assert skew.spread is not None
    assert (skew.spread.count, skew.spread.unmeasured, skew.spread.mean) == (1, 1, 1.0)
    assert Spread("difference").to_dict()["largest"] is None


@pytest.mark.parametrize("only_known", [True, False])
def test_evidence_is_that_of_a_look_at_every_fact(tmp_path: Path, only_known: bool) -> None:
    random = np.random.default_rng(5)
    world = World(tmp_path, mode="known" if only_known else "event")
    facts = []
    for _ in range(400):
        at = NOON + timedelta(minutes=int(random.integers(0, 60)))
        facts.append(fact(int(random.integers(0, 12)), at, at + timedelta(minutes=int(random.integers(0, 90)))))
    world.write(*facts)
    snapshot = world.store.context.snapshot()
    selection = resolve_features(snapshot, snapshot.service("model"), full_feature_names=True)
    view = plan_retrieval(snapshot, selection, only_known=only_known).views[0]
    count = 300
    drivers = [int(each) for each in random.integers(0, 15, count)]
    logged = [to_us(NOON + timedelta(minutes=int(each))) for each in random.integers(-10, 180, count)]
    served = [NO_TIME if each < 0 else to_us(NOON) + int(each) * 60_000_000 for each in random.integers(-9, 60, count)]
    part = pa.table({"driver_id": pa.array(drivers, pa.int64()), LOGGED_AT: pa.array(logged, TIMES)})
    rows = np.flatnonzero(random.random(count) < 0.7)
    times = ServedTimes(np.array(logged), np.array(served))
    seen = gather_evidence(world.store.context.offline, view, part, rows, times, (), [], only_known=only_known)
    for place, row in enumerate(rows.tolist()):
        mine = sorted((to_us(f["ts"]), to_us(f["created"])) for f in world.facts if f["driver_id"] == drivers[row])
        valid = [each for each in mine if each[0] <= logged[row] and (not only_known or each[1] <= logged[row])]
        newest = valid[-1] if valid else (NO_TIME, NO_TIME)
        assert (seen.fact_us[place], seen.known_us[place]) == newest
        alike = [known for event, known in mine if event == served[row]]
        assert bool(seen.in_history[place]) == bool(alike)
        if alike:
            assert seen.served_known_us[place] == min(alike)
        same = [each for each, driver in zip(served, drivers, strict=True) if driver == drivers[row]]
        assert bool(seen.arrived[place]) == (newest[0] != NO_TIME and newest[0] in same)


def test_a_page_of_everything() -> None:
    parts = [
        Text("words & more", "soft"),
        Figures([("rows", 1234), ("share", 0.5)]),
        Table(["name", "cells"], [["a", 1], ["b", None]]),
        Bars(["one", "two"], [1, 2.5]),
        Bars([], []),
        Curves("age", {"age": [(0, 1.0), (1, 2.0)]}),
        Curves("age", {}),
    ]
    page = Page("Title", [Section("Section", parts)], "below").html()
    for text in ("words &amp; more", "1,234", "<polyline", "<rect", "<h2>Section</h2>", '<td class="number">1</td>'):
        assert text in page
