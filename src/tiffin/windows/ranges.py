"""Windows as ranges of facts that stand in order, and what can be asked of many ranges at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Ranges are looked at one by one where they are so much fewer than the facts, and together have at most so many times
#: the facts.
_FEW_RANGES, _FEW_TIMES = 16, 4


@dataclass(frozen=True)
class Ranges:
    """For each window the facts ``first <= place < last`` of a column of facts.

    Attributes:
        first, last: (windows,) int64.
        hole_windows, hole_places: facts within a range that do not belong to its window, sorted by window and place;
            ``None`` where every fact does. Such are facts that were known only after the window's moment.
    """

    first: Int64Array
    last: Int64Array
    hole_windows: Int64Array | None = None
    hole_places: Int64Array | None = None

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def sizes(self) -> Int64Array:
        """(windows,) how many facts each window has."""
        sizes = self.last - self.first
        if self.hole_windows is None:
            return sizes
        found: Int64Array = sizes - np.bincount(self.hole_windows, minlength=len(self))
        return found

    @cached_property
    def longest(self) -> int:
        """Facts between the ends of the longest range, holes included."""
        return int((self.last - self.first).max(initial=0))

    def sums(self, values: Int64Array) -> Int64Array:
        """(windows,) the sum of one int64 per fact. It may wrap round on the way, not in its result."""
        prefix = np.empty(len(values) + 1, np.int64)
        prefix[0] = 0
        np.cumsum(values, out=prefix[1:])
        # Here and elsewhere on this path ``take``: a quarter faster than brackets.
        found: Int64Array = prefix.take(self.last)
        found -= prefix.take(self.first)
        if self.hole_windows is not None:
            np.subtract.at(found, self.hole_windows, values[self.hole_places])
        return found

    def smallest(self, values: Int64Array) -> Int64Array:
        """(windows,) the smallest of one int64 per fact, undefined for windows without facts; there are no holes.

        A range of ``n`` facts is covered by two of the largest power of two that fits; the smallest values over such
        powers are made one power after the other, so that two arrays are enough. A few ranges need none.
        """
        assert self.hole_windows is None
        sizes = self.last - self.first
        found = np.zeros(len(self), np.int64)
        most = _FEW_TIMES * len(values)
        if _FEW_RANGES * len(self) <= len(values) and int(sizes.sum()) <= most:
            there = np.flatnonzero(sizes > 0)
            ends = np.stack([self.first[there], self.last[there]], axis=1).ravel()
            # From each end to the next one where that is greater, so between ranges, too: much, where they jump about.
            if int(np.maximum(np.diff(ends), 0).sum()) <= most:
                found[there] = np.minimum.reduceat(np.append(values, 0), ends)[::2]
                return found
        powers = np.frexp(np.maximum(sizes, 1).astype(np.float64))[1] - 1
        table = np.asarray(values)
        for power in range(int(powers.max(initial=0)) + 1):
            if power:
                half = 1 << (power - 1)
                table = np.minimum(table[:-half], table[half:])
            here = np.flatnonzero((powers == power) & (sizes > 0))
            if len(here):
                found[here] = np.minimum(table[self.first[here]], table[self.last[here] - (1 << power)])
        return found

    def spread(self) -> tuple[Int64Array, Int64Array]:
        """(facts,) the number of a window, and (facts,) the place of a fact of it; by window, then by place."""
        sizes = self.last - self.first
        windows = np.repeat(np.arange(len(self)), sizes)
        starts = np.cumsum(sizes) - sizes
        places = np.arange(len(windows)) + np.repeat(self.first - starts, sizes)
        if self.hole_windows is not None:
            assert self.hole_places is not None
            keep = np.ones(len(windows), np.bool_)
            keep[starts[self.hole_windows] + self.hole_places - self.first[self.hole_windows]] = False
            windows, places = windows[keep], places[keep]
        return windows, places

    def distinct(self, values: NDArray[Any]) -> tuple[Int64Array, Int64Array]:
        """(n,) windows and (n,) places like ``spread``, of the facts whose value none before them in the window has.

        Args:
            values: (facts,) of any type that can be sorted; there are no holes.
        """
        assert self.hole_windows is None
        by_value = np.argsort(values, kind="stable")
        before = np.full(len(values), -1, np.int64)
        same = values[by_value[1:]] == values[by_value[:-1]]
        before[by_value[1:][same]] = by_value[:-1][same]
        windows, places = self.spread()
        new = before[places] < self.first[windows]
        return windows[new], places[new]

    def dense(self) -> tuple[Int64Array, Ranges]:
        """The facts of all windows, each window's by itself: (facts,) places, and ranges of these without holes."""
        _, places = self.spread()
        ends = np.cumsum(self.sizes)
        return places, Ranges(ends - self.sizes, ends)

    @cached_property
    def certain(self) -> Int64Array:
        """(windows,) the place of the first hole of each window, its end where it has none."""
        found = self.last.copy()
        if self.hole_windows is not None:
            assert self.hole_places is not None
            windows, at = np.unique(self.hole_windows, return_index=True)
            found[windows] = self.hole_places[at]
        return found

    def within(self, first: Int64Array, last: Int64Array) -> Ranges:
        """The same windows over shorter ranges."""
        if self.hole_windows is None:
            return Ranges(first, last)
        assert self.hole_places is not None
        inside = (self.hole_places >= first[self.hole_windows]) & (self.hole_places < last[self.hole_windows])
        return Ranges(first, last, self.hole_windows[inside], self.hole_places[inside])

    def only(self, chosen: BoolArray) -> Ranges:
        """The same windows over the chosen facts alone: ``chosen`` is (facts,), and so is the new column."""
        before = np.concatenate([[0], np.cumsum(chosen)])
        if self.hole_windows is None:
            return Ranges(before[self.first], before[self.last])
        assert self.hole_places is not None
        kept = chosen[self.hole_places]
        places = before[self.hole_places[kept]]
        return Ranges(before[self.first], before[self.last], self.hole_windows[kept], places)

    def touched(self) -> tuple[int, int, Ranges]:
        """From where to where the facts of all windows stand, and the same windows over these facts alone."""
        start, stop = int(self.first.min()), int(self.last.max())
        places = None if self.hole_places is None else self.hole_places - start
        return start, stop, Ranges(self.first - start, self.last - start, self.hole_windows, places)

    def take(self, windows: Int64Array) -> Ranges:
        """Some of the windows; their numbers rise."""
        first, last = self.first[windows], self.last[windows]
        if self.hole_windows is None:
            return Ranges(first, last)
        assert self.hole_places is not None
        renumbered = np.full(len(self), -1, np.int64)
        renumbered[windows] = np.arange(len(windows))
        numbers = renumbered[self.hole_windows]
        kept = numbers >= 0
        if not kept.any():
            return Ranges(first, last)
        return Ranges(first, last, numbers[kept], self.hole_places[kept])

    def blocks(self, most_facts: int) -> Iterator[Ranges]:
        """The windows in pieces of at most so many facts, or of one window that has more."""
        ends = np.cumsum(self.last - self.first)
        start, done = 0, 0
        while start < len(self):
            stop = max(start + 1, int(np.searchsorted(ends, done + most_facts, side="right")))
            yield self if stop - start == len(self) else self.take(np.arange(start, stop))
            start, done = stop, int(ends[stop - 1])


def known_ranges(
    first: Int64Array, last: Int64Array, certain: Int64Array, known_us: Int64Array, moments_us: Int64Array
) -> Ranges:
    """Ranges without the facts that were not known yet at the moment of their window.

    Args:
        first: (windows,) where each range begins.
        last: (windows,) where it ends.
        certain: (windows,) facts before this place were known in time.
        known_us: (facts,) when each fact became known.
        moments_us: (windows,) the moment of each window.
    """
    windows, places = Ranges(np.minimum(np.maximum(first, certain), last), last).spread()
    late = known_us[places] > moments_us[windows]
    return Ranges(first, last, windows[late], places[late]) if late.any() else Ranges(first, last)
