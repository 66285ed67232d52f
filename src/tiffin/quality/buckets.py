"""Where numbers lie, as counts of intervals: what profiles keep of a column, and what drift is computed from.

A double is taken for the whole number that its bits are in order (``_places``), and numbers whose places agree but for
the last ``shift`` bits share an interval. Intervals are narrow near zero and wide far from it, each by the same part of
its numbers. One shift's intervals are made of whole intervals of every smaller shift, so that counts can be merged and
made coarser without an error. The shift is the smallest one at which all numbers together need few intervals: it is a
function of the multiset of numbers, whatever the order in which they came and were merged. With shift 0 every interval
is one number, and all that is computed from it is exact.

Source: the intervals are those of G. Tene's HdrHistogram, for doubles, with a width that follows the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]

#: Intervals that are kept of a column: of a bell curve, none has more than about half a percent of the numbers.
_MOST_BUCKETS = 2048
#: Intervals that are counted side by side, empty ones included, so that the counts stay in the processor's cache.
_MOST_SPREAD = 1 << 18
#: Numbers that are worked on at once, so that the steps in between stay in the processor's cache.
BLOCK = 1 << 14
_SIGN_BIT = 63
_BUT_SIGN = (1 << _SIGN_BIT) - 1


@dataclass(frozen=True, eq=False)
class Buckets:
    """How many numbers lie in which interval.

    Attributes:
        shift: how many of the lower bits of a place an interval leaves open.
        places: (n,) the upper bits of the places of intervals that have numbers, ascending.
        counts: (n,) how many numbers each has.
    """

    shift: int
    places: Int64Array
    counts: Int64Array

    @classmethod
    def of(cls, numbers: FloatArray) -> Buckets:
        """The counts of (n,) numbers without NaN, in bounded room."""
        if not len(numbers):
            return cls(0, np.empty(0, np.int64), np.empty(0, np.int64))
        first, last = _places(np.array([numbers.min(), numbers.max()])).tolist()
        shift = _shift_within(first, last)
        first >>= shift
        codes = np.empty(len(numbers), np.int64)
        for start in range(0, len(numbers), BLOCK):
            codes[start : start + BLOCK] = (_places(numbers[start : start + BLOCK]) >> shift) - first
        counts = np.bincount(codes)
        there = np.flatnonzero(counts)
        return cls(shift, there + first, counts[there]).bounded()

    @classmethod
    def exact(cls, numbers: FloatArray) -> Buckets:
        """The counts of (n,) numbers without NaN, each different one by itself."""
        return cls(0, *np.unique(_places(numbers), return_counts=True))

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return int(self.counts.sum())

    @property
    def low(self) -> FloatArray:
        """(n,) the least number that falls into each interval."""
        return _numbers(self.places << self.shift)

    @property
    def high(self) -> FloatArray:
        """(n,) the greatest number that falls into each interval."""
        return _numbers((self.places << self.shift) + ((1 << self.shift) - 1))

    @property
    def numbers(self) -> FloatArray:
        """(n,) what each interval is taken for: its end nearest to zero, which is the one with the fewest digits."""
        return np.where(self.places < 0, self.high, self.low)

    def merged(self, other: Buckets) -> Buckets:
        """The counts of both together."""
        one, two = aligned(self, other)
        places, codes = np.unique(np.concatenate([one.places, two.places]), return_inverse=True)
        counts = np.zeros(len(places), np.int64)
        np.add.at(counts, codes, np.concatenate([one.counts, two.counts]))
        return Buckets(one.shift, places, counts).bounded()

    def coarser(self, shift: int) -> Buckets:
        """The same numbers in the wider intervals of a larger shift."""
        if shift == self.shift or not len(self.places):
            return Buckets(shift, self.places, self.counts)
        wide = self.places >> (shift - self.shift)
        starts = np.flatnonzero(np.diff(wide, prepend=wide[0] - 1))
        return Buckets(shift, wide[starts], np.add.reduceat(self.counts, starts))

    def bounded(self) -> Buckets:
        """The same numbers in intervals that are few."""
        if not len(self.places):
            return self
        first, last = int(self.places[0]), int(self.places[-1])
        found = self.coarser(self.shift + _shift_within(first, last))
        while len(found.places) > _MOST_BUCKETS:
            found = found.coarser(found.shift + 1)
        return found

    def quantiles(self, parts: Sequence[float]) -> FloatArray:
        """(m,) the numbers up to which (m,) parts of all lie, each within its interval; NaN without numbers.

        >>> Buckets.exact(np.arange(1.0, 101.0)).quantiles([0.0, 0.5, 1.0]).tolist()
        [1.0, 50.0, 100.0]
        """
        if not len(self.places):
            return np.full(len(parts), np.nan)
        ranks = np.maximum(np.ceil(np.asarray(parts) * self.total), 1)
        found: FloatArray = self.numbers[np.searchsorted(np.cumsum(self.counts), ranks)]
        return found


def aligned(one: Buckets, other: Buckets) -> tuple[Buckets, Buckets]:
    """Both in intervals of one shift, the larger of the two."""
    shift = max(one.shift, other.shift)
    return one.coarser(shift), other.coarser(shift)


def merged(parts: Sequence[Buckets]) -> Buckets:
    """The counts of several together; there is at least one."""
    return reduce(Buckets.merged, parts)


def _shift_within(first: int, last: int) -> int:
    """The smallest shift at which not too many intervals lie between two places."""
    shift = max(0, (last - first).bit_length() - _MOST_SPREAD.bit_length())
    while (last >> shift) - (first >> shift) >= _MOST_SPREAD:
        shift += 1
    return shift


def _places(numbers: FloatArray) -> Int64Array:
    """(n,) whole numbers in the order of (n,) numbers without NaN; zero and minus zero are one."""
    bits = (numbers + 0.0).view(np.int64)
    return bits ^ ((bits >> _SIGN_BIT) & _BUT_SIGN)


_LEAST, _GREATEST = (int(place) for place in _places(np.array([-np.inf, np.inf])))


def _numbers(places: Int64Array) -> FloatArray:
    """(n,) the numbers at (n,) places; those beyond infinity are infinite."""
    within = np.clip(places, _LEAST, _GREATEST)
    found: FloatArray = (within ^ ((within >> _SIGN_BIT) & _BUT_SIGN)).view(np.float64)
    return found
