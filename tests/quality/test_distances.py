"""Distances against scipy: equal from all numbers, and within the stated bound from intervals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.quality.buckets import Buckets
from tiffin.quality.distances import (
    binned,
    chi_square,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability,
    wasserstein,
)

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
finite = st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
samples = st.lists(st.one_of(finite, st.integers(-5, 5).map(float)), min_size=4, max_size=120).map(np.array)
counts = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12).filter(
    lambda pairs: sum(one for one, _ in pairs) and sum(two for _, two in pairs)
)


@patient
@given(samples, samples)
def test_kolmogorov_smirnov_from_all_numbers_is_scipys(one, two) -> None:
    found = kolmogorov_smirnov(Buckets.exact(one), Buckets.exact(two))
    assert found.value == pytest.approx(scipy.stats.ks_2samp(one, two, method="asymp").statistic, abs=1e-12)
    assert found.bound == 0


@patient
@given(samples, samples)
def test_wasserstein_from_all_numbers_is_scipys(one, two) -> None:
    found = wasserstein(Buckets.exact(one), Buckets.exact(two))
    assert found.value == pytest.approx(scipy.stats.wasserstein_distance(one, two), rel=1e-9, abs=1e-6)
    assert found.bound == 0


@patient
@given(samples, samples, st.integers(0, 60), st.integers(0, 60))
def test_distances_from_intervals_are_within_their_bounds(one, two, first_shift, second_shift) -> None:
    sides = Buckets.exact(one).coarser(first_shift), Buckets.exact(two).coarser(second_shift)
    smirnov, moved = kolmogorov_smirnov(*sides), wasserstein(*sides)
    true = scipy.stats.ks_2samp(one, two, method="asymp").statistic
    assert true - 1e-12 <= smirnov.value + smirnov.bound
    assert true + 1e-12 >= smirnov.value
    if np.isfinite(moved.value):
        true = scipy.stats.wasserstein_distance(one, two)
        assert abs(true - moved.value) <= moved.bound * (1 + 1e-9) + 1e-6


@patient
@given(counts)
def test_shares_of_bins_are_compared_as_scipy_compares_them(pairs) -> None:
    one, two = np.array(pairs, np.int64).T
    assert jensen_shannon(one, two) == pytest.approx(scipy.spatial.distance.jensenshannon(one, two, base=2), abs=1e-6)
    there = (one + two) > 0
    if there.sum() > 1:
        expected = scipy.stats.chi2_contingency(np.array([one[there], two[there]]), correction=False)
        statistic, p_value = chi_square(one, two)
        assert statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
        assert p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    filled = [np.maximum(part[there], 0.5) for part in (one, two)]
    expected = scipy.stats.entropy(*filled) + scipy.stats.entropy(*filled[::-1])
    assert population_stability(one, two) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 99, 1000])
@pytest.mark.parametrize("statistic", [0.01, 1.0, 30.0, 1000.0, 5000.0])
def test_p_value_is_scipys(statistic: float, freedom: int) -> None:
    from tiffin.quality.distances import _chi_square_beyond

    assert _chi_square_beyond(statistic, freedom) == pytest.approx(
        scipy.stats.chi2.sf(statistic, freedom), rel=1e-7, abs=1e-300
    )


@patient
@given(samples, samples)
def test_bins_hold_every_number_once_and_are_even_in_the_reference(one, two) -> None:
    reference, current = binned(Buckets.exact(one), Buckets.exact(two))
    assert reference.sum() == len(one)
    assert current.sum() == len(two)
    assert len(reference) <= 10
    ends = np.unique(np.quantile(one, np.arange(1, 10) / 10, method="inverted_cdf"))
    expected = np.bincount(np.searchsorted(ends, two), minlength=len(ends) + 1)
    assert current.tolist() == expected.tolist()


def test_the_same_numbers_are_no_distance_apart() -> None:
    sample = Buckets.of(np.random.default_rng(0).normal(size=10_000))
    assert kolmogorov_smirnov(sample, sample).value == 0
    assert wasserstein(sample, sample).value == 0
    assert population_stability(*binned(sample, sample)) == 0


def test_bounds_of_a_kept_profile_are_narrow() -> None:
    random = np.random.default_rng(0)
    one, two = random.normal(size=100_000), random.normal(0.3, 1.2, size=100_000)
    smirnov = kolmogorov_smirnov(Buckets.of(one), Buckets.of(two))
    moved = wasserstein(Buckets.of(one), Buckets.of(two))
    assert smirnov.bound < 0.01
    assert moved.bound < 0.05
    assert smirnov.value == pytest.approx(scipy.stats.ks_2samp(one, two).statistic, abs=0.002)
    assert moved.value == pytest.approx(scipy.stats.wasserstein_distance(one, two), abs=0.005)
