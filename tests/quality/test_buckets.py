"""Counts of intervals: the same from every split and order, and never wrong about what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.quality import buckets as module
from tiffin.quality.buckets import Buckets, merged

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
numbers = st.lists(
    st.one_of(
        st.floats(allow_nan=False),
        st.sampled_from([0.0, -0.0, 1.0, float("inf"), float("-inf")]),
        st.integers(-1000, 1000).map(float),
        st.floats(1e9, 1e9 + 1),
    ),
    max_size=200,
)


@pytest.fixture(autouse=True)
def _few_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few intervals, so that small examples are merged and made coarser, too."""
    monkeypatch.setattr(module, "_MOST_BUCKETS", 16)
    monkeypatch.setattr(module, "_MOST_SPREAD", 1 << 12)


@patient
@given(numbers)
def test_every_number_is_counted_in_an_interval_that_holds_it(values: list[float]) -> None:
    found = Buckets.of(np.array(values, np.float64))
    assert found.total == len(values)
    assert len(found.places) <= 16
    for low, high, count in zip(found.low, found.high, found.counts, strict=True):
        # Zero has no sign: it is in no interval of numbers below it.
        assert sum(low <= value <= high and not (value == 0 and low < 0) for value in values) == count


@patient
@given(numbers, st.integers(1, 6), st.randoms())
def test_any_split_and_order_gives_the_same_counts(values: list[float], parts: int, random) -> None:
    whole = Buckets.of(np.array(values, np.float64))
    shuffled = random.sample(values, len(values))
    found = merged([Buckets.of(part) for part in np.array_split(np.array(shuffled, np.float64), parts)])
    assert found.shift == whole.shift
    assert found.places.tolist() == whole.places.tolist()
    assert found.counts.tolist() == whole.counts.tolist()


@patient
@given(numbers.filter(bool), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_quantile_lies_in_the_interval_of_the_nearest_rank(values: list[float], parts: list[float]) -> None:
    ordered = sorted(values)
    found = Buckets.of(np.array(values, np.float64))
    for part, quantile in zip(parts, found.quantiles(parts), strict=True):
        true = ordered[max(1, int(np.ceil(part * len(values)))) - 1]
        place = int(np.flatnonzero((found.low <= true) & (true <= found.high))[-1])
        assert quantile == found.numbers[place]


@patient
@given(numbers.filter(bool), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_exact_counts_give_exact_quantiles(values: list[float], parts: list[float]) -> None:
    found = Buckets.exact(np.array(values, np.float64)).quantiles(parts)
    ordered = sorted(values)
    assert found.tolist() == [ordered[max(1, int(np.ceil(part * len(values)))) - 1] for part in parts]
