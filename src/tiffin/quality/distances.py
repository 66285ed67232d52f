"""How far two distributions are apart, from counts alone. Pure functions; where counts are exact, so are these."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiffin.quality.buckets import Buckets, FloatArray, Int64Array, aligned

#: What an empty bin is taken to have, of two whose shares are divided by one another.
_OF_EMPTY = 0.5
#: Bins that numbers are put into by their place in the reference.
BINS = 10


@dataclass(frozen=True)
class Distance:
    """A distance.

    Attributes:
        value: as far as is known.
        bound: the true one is at most so far from it; 0 where it is exact.
    """

    value: float
    bound: float = 0.0


def binned(reference: Buckets, current: Buckets, bins: int = BINS) -> tuple[Int64Array, Int64Array]:
    """Numbers in bins that have about equally many of the reference each; how many of each of the two.

    The bins end where intervals end, so that every count is right. There are fewer bins where one number is frequent.
    """
    one, two = aligned(reference, current)
    reached = np.cumsum(one.counts)
    wanted = np.arange(1, bins) * reached[-1] / bins
    ends = np.unique(one.places[np.searchsorted(reached, wanted)])
    counts = [
        np.bincount(np.searchsorted(ends, part.places), part.counts, len(ends) + 1).astype(np.int64)
        for part in (one, two)
    ]
    return counts[0], counts[1]


def population_stability(reference: Int64Array, current: Int64Array) -> float:
    """The population stability index of (n,) counts in bins: the sum of (q - p) ln(q / p).

    0 for equal shares. A bin that one of the two lacks is taken for half a value. By custom, 0.1 is a slight shift
    and 0.25 a large one.

    Source: N. Siddiqi, "Credit Risk Scorecards", 2006, chapter 8; it is the symmetric divergence of H. Jeffreys, 1946.
    """
    there = (reference > 0) | (current > 0)
    one, two = (np.maximum(part[there].astype(np.float64), _OF_EMPTY) for part in (reference, current))
    p, q = one / one.sum(), two / two.sum()
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: Int64Array, current: Int64Array) -> float:
    """The Jensen-Shannon distance of (n,) counts in bins: a metric, 0 for equal shares, 1 where no bin is shared.

    Source: D. Endres, J. Schindelin, "A new metric for probability distributions", 2003; logarithms to the base of 2.
    """
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    found = sum(float((part[part > 0] * np.log2(part[part > 0] / middle[part > 0])).sum()) for part in (p, q))
    return math.sqrt(max(0.0, found / 2))


def chi_square(reference: Int64Array, current: Int64Array) -> tuple[float, float]:
    """Pearson's test that (n,) counts of two samples have the same shares: the statistic, and its p-value.

    Of many rows the p-value is small for shifts that nobody cares about: judge by the other distances then.

    Source: K. Pearson, 1900, for a table of two rows, without Yates' correction.
    """
    there = (reference + current) > 0
    table = np.array([reference[there], current[there]], np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, _chi_square_beyond(statistic, table.shape[1] - 1)


def kolmogorov_smirnov(reference: Buckets, current: Buckets) -> Distance:
    """The greatest difference between the shares of numbers up to any number.

    At the ends of intervals the shares are exact; within one, they differ by no more than its own numbers.

    Source: N. Smirnov, 1939, the statistic for two samples.
    """
    _, one, two = _side_by_side(reference, current)
    apart = np.cumsum(one - two)
    found = float(np.abs(apart).max())
    if max(reference.shift, current.shift) == 0:
        return Distance(found)
    before = np.concatenate([[0.0], apart[:-1]])
    at_most = float(np.maximum(np.abs(before + one), np.abs(before - two)).max())
    return Distance(found, max(0.0, at_most - found))


def wasserstein(reference: Buckets, current: Buckets) -> Distance:
    """How far numbers have to be moved on average to make one distribution of the other, in the column's own unit.

    Each number is taken for one end of its interval, so that it is off by the interval's width at most. NaN where a
    number is infinite.

    Source: L. Vaserstein, 1969, the distance of order 1; in one dimension it is the area between the two distribution
    functions.
    """
    buckets, one, two = _side_by_side(reference, current)
    numbers = buckets.numbers
    if not np.isfinite(numbers).all():
        return Distance(float("nan"), float("nan"))
    area = float((np.abs(np.cumsum(one - two))[:-1] * np.diff(numbers)).sum())
    return Distance(area, float(((one + two) * (buckets.high - buckets.low)).sum()) if buckets.shift else 0.0)


def _side_by_side(reference: Buckets, current: Buckets) -> tuple[Buckets, FloatArray, FloatArray]:
    """The intervals of both, ascending, and which share of the numbers of each (n,) they have."""
    one, two = aligned(reference, current)
    places = np.union1d(one.places, two.places)
    shares: list[NDArray[np.float64]] = []
    for part in (one, two):
        share = np.zeros(len(places))
        share[np.searchsorted(places, part.places)] = part.counts / part.total
        shares.append(share)
    return Buckets(one.shift, places, np.zeros(len(places), np.int64)), shares[0], shares[1]


def _chi_square_beyond(statistic: float, freedom: int) -> float:
    """The chance of a larger value of chi-square: a finite sum for whole degrees of freedom.

    Source: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions", 26.4.4 and 26.4.5.
    """
    if freedom < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    if freedom % 2:
        start, powers = math.erfc(math.sqrt(half)), np.arange(0.5, freedom / 2, 1.0)
    else:
        start, powers = 0.0, np.arange(0.0, freedom / 2, 1.0)
    terms = [math.exp(-half + power * math.log(half) - math.lgamma(power + 1)) for power in powers.tolist()]
    return min(1.0, start + math.fsum(terms))
