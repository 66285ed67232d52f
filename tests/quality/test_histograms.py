"""Two distributions side by side: every row is counted once, where it belongs."""

from __future__ import annotations

import math
from datetime import UTC
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.quality.histograms import Distribution, distribution
from tiffin.quality.plots import ThenAndNow
from tiffin.quality.profiles import ColumnProfile, profile_columns
from tiffin.quality.scales import nice_step, nice_time_step, ticks

patient = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

floats = st.lists(st.one_of(st.none(), st.floats(width=64), st.integers(-3, 3).map(float)), max_size=40)
wholes = st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3)), max_size=40)
texts = st.lists(st.one_of(st.none(), st.sampled_from("abcdefghijklmnop"), st.text(max_size=3)), max_size=40)
moments = st.lists(st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))), max_size=40)
KINDS = [
    (floats, pa.float64()),
    (wholes, pa.int64()),
    (texts, pa.string()),
    (moments, pa.timestamp("us", "UTC")),
]
sides = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(kind[0], kind[0], st.just(kind[1])))


def profiled(values: list[Any], dtype: pa.DataType) -> ColumnProfile:
    table = pa.table({"c": pa.array(values, dtype)})
    return profile_columns([table], table.schema)[0]


def shown(then: list[Any], now: list[Any], dtype: pa.DataType | None = None) -> Distribution:
    return distribution(*(profiled(side, dtype or pa.float64()) for side in (then, now)))


@patient
@given(sides)
def test_what_is_shown_sums_to_the_rows(both: tuple[list[Any], list[Any], pa.DataType]) -> None:
    then, now, dtype = both
    found = shown(then, now, dtype)
    for side, values in ((found.reference, then), (found.current, now)):
        assert side.rows == len(values)
        assert side.beside.get("null", 0) == sum(value is None for value in values)
        assert len(side.counts) == max(0, len(found.edges) - 1) + len(found.texts)
        assert min([*side.counts, *side.beside.values()], default=0) >= 0
    assert list(found.edges) == sorted(set(found.edges))
    assert len(found.edges) < 40
    assert found.to_dict()["kind"] == found.kind
    drawn = ThenAndNow("c", found).html()
    assert "nan" not in drawn.replace("NaN", "")
    assert "inf" not in drawn


@patient
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.lists(st.integers(-50, 50), min_size=1, max_size=60))
def test_bins_count_what_numpy_counts(then: list[int], now: list[int]) -> None:
    found = shown(then, now, pa.int64())
    for side, values in ((found.reference, then), (found.current, now)):
        # numpy's last bin has its end; here no number lies on it.
        assert list(side.counts) == np.histogram(values, found.edges)[0].tolist()
        assert side.beside.get("less", 0) == sum(value < found.edges[0] for value in values)


def test_few_numbers_far_away_do_not_flatten_the_others() -> None:
    found = shown([*range(1000), 1e9], [*range(1000), -1e9, math.inf])
    assert (found.edges[0], found.edges[-1]) == (0, 1000)
    assert dict(found.reference.beside) == {"less": 0, "more": 1}
    assert dict(found.current.beside) == {"less": 1, "more": 1}


def test_whole_numbers_have_a_bin_each() -> None:
    found = shown([1, 2, 2, 3], [4, 4], pa.int64())
    assert found.edges == (0.5, 1.5, 2.5, 3.5, 4.5)
    assert (found.reference.counts, found.current.counts) == ((1, 2, 1, 0), (0, 0, 0, 2))


def test_frequent_texts_of_both_sides_are_shown() -> None:
    found = shown(["a"] * 50 + [f"x{number}" for number in range(30)], ["b"] * 9 + [None], pa.string())
    assert found.texts[:2] == ("b", "a")
    assert (found.reference.counts[:2], found.current.counts[:2]) == ((0, 50), (9, 0))
    assert dict(found.reference.beside) == {"others": 22, "null": 0}


@pytest.mark.parametrize(
    ("then", "now"),
    [((["a"], pa.string()), ([1.0], pa.float64())), (([[1]], pa.list_(pa.int64())), ([[2]], pa.list_(pa.int64())))],
)
def test_of_other_kinds_only_nulls_are_told_apart(then: tuple[Any, Any], now: tuple[Any, Any]) -> None:
    found = distribution(profiled(*then), profiled(*now))
    assert (found.kind, found.edges, dict(found.reference.beside)) == ("other", (), {"values": 1})


@pytest.mark.parametrize(
    "column", [[], [None], [math.nan], [math.inf, -math.inf], [5e-324], [1e308, -1e308], [2.0**60]]
)
def test_odd_columns_are_drawn(column: list[float | None]) -> None:
    found = shown(column, [])
    assert found.reference.rows == len(column)
    assert ThenAndNow("c", found).html().count("<svg") == 1
    assert found.to_dict()["kind"] == "number"


def test_plot_says_what_it_shows_and_escapes_it() -> None:
    found = shown(["<b>", "&"], ["<b>"], pa.string())
    drawn = ThenAndNow("<i>", found, ["psi 3"]).html()
    assert 'role="img" aria-label="&lt;i&gt;: share of rows by value, in the reference and now; psi 3"' in drawn
    assert "<b>&lt;i&gt;</b>" in drawn
    assert "now: 1 of 1 rows" in drawn
    assert ">&lt;b&gt;</text>" in drawn


@given(st.floats(1e-300, 1e300))
def test_steps_are_one_two_or_five(least: float) -> None:
    step = nice_step(least)
    assert least * (1 - 1e-8) <= step <= least * 2.6
    assert round(step / 10.0 ** math.floor(math.log10(step * 1.0000001)), 6) in (1, 2, 5)


@given(st.integers(1, 10**17), st.integers(0, 10**15), st.integers(2, 9))
def test_moments_are_few_and_within(width: int, start: int, most: int) -> None:
    found = ticks(start, start + width, most, nice_time_step)
    assert len(found) <= most + 1
    # A mark may be beside an end by less than anybody can see.
    unseen = 1e-6 * max(width, 10**6)
    assert all(start - unseen <= mark <= start + width + unseen for mark in found)
