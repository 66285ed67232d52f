"""Percentiles in bounded room, with a bounded relative error, from counts of rounded numbers.

Every number is rounded to ``precision + 1`` significant binary digits, and how often each rounded one occurs is
counted. Sums of counts have no order, so the state is a function of the multiset of numbers alone.

The percentile is the nearest-rank one: of n numbers in order that with the rank ceil(p * n), the first for p = 0. NaN
is the greatest, and zero has no sign. As rounding keeps the order, the rounded number of a rank is the number of that
rank, rounded: the relative error is at most 2**-(precision + 1), and numbers of few digits, such as whole ones below
2**(precision + 1), are exact. The smallest and the largest number are kept as they are: where their rank is wanted
they are the value, and no other value lies beyond them.

p is taken for the decimal number that it is written as: 0.07 of 100 numbers are 7, though the nearest double is a
little more than 0.07. Numbers nearer to zero than 2**-1022, where doubles have fewer digits, are rounded to multiples
of 2**-(1022 + precision).

Source: the buckets are those of G. Tene's HdrHistogram, for doubles, and the bound that of C. Masson and others,
"DDSketch", 2019; centred on the numbers of few digits, since these are what data has.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tiffin.types import FeatureType, Float64
from tiffin.windows.aggregate import (
    NUMBERS,
    Aggregate,
    Int64Array,
    Order,
    as_floats,
    canonical,
    canonical_floats,
    where_there,
)
from tiffin.windows.ranges import Ranges

if TYPE_CHECKING:
    import pyarrow as pa

FloatArray = NDArray[np.float64]

#: Of a double: the bits behind its first digit, and infinity as a whole number.
MANTISSA_BITS = 52
INF_BITS = 0x7FF << MANTISSA_BITS


@dataclass(frozen=True)
class Histogram:
    """How many numbers are rounded to what.

    Attributes:
        counts: for each rounded number, as the upper bits of its double, how often it occurs.
        low, high: the smallest and the largest number, not rounded; NaN where there is none.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    low: float = float("nan")
    high: float = float("nan")


class ApproxPercentile(Aggregate[Histogram]):
    """The number up to which the part ``p`` of all lies, with a relative error of at most 2**-(precision + 1)."""

    accepts = NUMBERS
    in_blocks: ClassVar[bool] = True
    result: ClassVar[FeatureType] = Float64

    def __init__(self, dtype: FeatureType, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(dtype, params)
        part = Fraction(repr(float(self.params["p"])))
        self._part, self._whole = part.numerator, part.denominator
        #: How many bits of a double are left out, and half of what these can hold.
        self._shift = MANTISSA_BITS - int(self.params["precision"])
        self._half = 1 << (self._shift - 1)
        self._largest = (INF_BITS >> self._shift) - 1
        self._nan = self._bucket(float("nan"))

    def initial(self) -> Histogram:
        """No numbers."""
        return Histogram()

    def updated(self, state: Histogram, value: Any, order: Order) -> Histogram:
        """With one number more."""
        number = canonical(float(value))
        return self.merged(state, Histogram({self._bucket(number): 1}, number, number))

    def merged(self, one: Histogram, other: Histogram) -> Histogram:
        """The counts of both."""
        low, high = _of_numbers(min, one.low, other.low), _of_numbers(max, one.high, other.high)
        return Histogram(Counter(one.counts) + Counter(other.counts), low, high)

    def finished(self, state: Histogram) -> float | None:
        """The percentile; null for no facts."""
        buckets = sorted(state.counts)
        totals = list(accumulate(state.counts[bucket] for bucket in buckets))
        if not totals:
            return None
        found = totals[-1] - state.counts.get(self._nan, 0)
        return self._value(totals[-1], found, state.low, state.high, lambda rank: buckets[bisect_left(totals, rank)])

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> Histogram:
        """The numbers counted."""
        if not values:
            return Histogram()
        numbers = canonical_floats(np.array(values, np.float64))
        buckets, counts = (found.tolist() for found in np.unique(self._buckets(numbers), return_counts=True))
        low, high = (canonical(float(extreme.reduce(numbers))) for extreme in (np.fmin, np.fmax))
        return Histogram(dict(zip(buckets, counts, strict=True)), low, high)

    def value_of(self, values: Sequence[Any]) -> float | None:
        """The percentile; null for no facts."""
        if not values:
            return None
        found = sorted([float(value) + 0.0 for value in values if value == value])
        if not found:
            return float("nan")
        return self._value(len(values), len(found), found[0], found[-1], lambda rank: self._bucket(found[rank - 1]))

    def plain(self, state: Histogram) -> Any:
        """The smallest, the largest, and then how far each bucket is from the one before it, and its count."""
        buckets = sorted(state.counts)
        steps = (bucket - before for before, bucket in pairwise([0, *buckets]))
        counts = (state.counts[bucket] for bucket in buckets)
        return [state.low, state.high, *chain.from_iterable(zip(steps, counts, strict=True))]

    def from_plain(self, data: Any) -> Histogram:
        """The state."""
        low, high, *rest = data
        return Histogram(dict(zip(accumulate(rest[::2]), rest[1::2], strict=True)), low, high)

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """Sorts the numbers of each window, and rounds the one that is wanted: that keeps its rank."""
        numbers = canonical_floats(as_floats(column))
        different, codes = np.unique(numbers, return_inverse=True)
        windows, places = ranges.spread()
        missing = np.bincount(windows[np.isnan(numbers)[places]], minlength=len(ranges))
        pairs = windows * len(different) + codes[places]
        pairs.sort()
        sizes = ranges.sizes
        there = np.flatnonzero(sizes)
        first = (np.cumsum(sizes) - sizes)[there]
        last = first + np.maximum(sizes - missing, 1)[there] - 1
        wanted = first + self._ranks(sizes[there]) - 1
        low, high, number = (different[pairs[place] % len(different)] for place in (first, last, wanted))
        # NaN stays what it is in these.
        between = np.minimum(np.maximum(self._rounded(number), low), high)
        found = np.full(len(ranges), np.nan)
        found[there] = np.where(wanted == first, low, np.where(wanted == last, high, between))
        return where_there(found, ranges)

    def _rank(self, count: int) -> int:
        """Which of so many numbers in order is wanted, from 1."""
        return max(1, -(-count * self._part // self._whole))

    def _ranks(self, counts: Int64Array) -> Int64Array:
        """(n,) the same of many; whole numbers of any length need Python, once for each different count."""
        different, places = np.unique(counts, return_inverse=True)
        return np.array([self._rank(count) for count in different.tolist()], np.int64)[places]

    def _value(self, count: int, found: int, low: float, high: float, bucket_of: Callable[[int], int]) -> float:
        """The percentile of so many values, of which some are numbers and the rest NaN; ``bucket_of`` a rank."""
        rank = self._rank(count)
        if rank > found:
            return float("nan")
        if rank in (1, found):
            return low if rank == 1 else high
        return min(max(self._number(bucket_of(rank)), low), high)

    def _bucket(self, number: float) -> int:
        """A number rounded, as the upper bits of its double; below zero, those of its counterpart, negated."""
        bits: int = struct.unpack("<q", struct.pack("<d", abs(number)))[0]
        bucket = (bits + self._half) >> self._shift
        # What is finite stays finite.
        bucket = min(bucket, self._largest) if bits < INF_BITS else bucket
        return -bucket if number < 0 else bucket

    def _number(self, bucket: int) -> float:
        """The rounded number of a bucket."""
        found: float = struct.unpack("<d", struct.pack("<q", abs(bucket) << self._shift))[0]
        return -found if bucket < 0 else found

    def _buckets(self, numbers: FloatArray) -> Int64Array:
        """(n,) the bucket of each number."""
        bits = np.abs(numbers).view(np.int64)
        buckets = (bits + self._half) >> self._shift
        buckets = np.where(bits < INF_BITS, np.minimum(buckets, self._largest), buckets)
        return np.where(numbers < 0, -buckets, buckets)

    def _rounded(self, numbers: FloatArray) -> FloatArray:
        """(n,) numbers, each as that of its bucket."""
        buckets = self._buckets(numbers)
        found = (np.abs(buckets) << self._shift).view(np.float64)
        return np.where(buckets < 0, -found, found)


def _of_numbers(extreme: Callable[[float, float], float], one: float, other: float) -> float:
    """The smaller or the larger of two; NaN is none of them."""
    if one != one:
        return other
    return one if other != other else extreme(one, other)
