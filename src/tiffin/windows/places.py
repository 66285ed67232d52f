"""Finding places among facts that are sorted by key and time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiffin.windows.exact import CACHED

Int64Array = NDArray[np.int64]

#: For fewer searches than this, a table of cells costs more than it saves.
_FEW = 1_000


class KeyTimes:
    """(key, time) as one number that sorts alike.

    Args:
        codes: keys as numbers from 0.
        times_us: times.
    """

    def __init__(self, codes: Int64Array, times_us: Int64Array) -> None:
        self._first_us = int(times_us.min()) if len(times_us) else 0
        self._last_us = int(times_us.max()) if len(times_us) else 0
        code_bits = int(codes.max(initial=0)).bit_length()
        self._shift = (self._last_us - self._first_us + 2).bit_length()
        #: Distinct times, only where (key, time) does not fit into one 63-bit number.
        self._times: Int64Array | None = None
        if code_bits + self._shift > 62:
            self._times = np.unique(times_us)
            self._shift = (len(self._times) + 1).bit_length()

    def pack(self, codes: Int64Array, times_us: Int64Array) -> Int64Array:
        """(n,) the numbers; a time between two that there are counts as the earlier one."""
        packed = np.empty(len(codes), np.int64)
        for start in range(0, len(codes), CACHED):
            part = slice(start, start + CACHED)
            if self._times is not None:
                packed[part] = np.searchsorted(self._times, times_us[part], side="right")
            else:
                np.clip(times_us[part], self._first_us - 1, self._last_us, out=packed[part])
                packed[part] -= self._first_us - 1
            packed[part] += codes[part] << self._shift
        return packed


class RisingNumbers:
    """Whole numbers that rise, for finding many places among them.

    A binary search takes as many steps as there are bits in the count, each of them a guess of the processor that is
    wrong half of the time. So the numbers are divided into about twice as many cells of equal width: where they are
    spread evenly, the place is that of the cell or next to it. Where they are not, it is searched for.

    Args:
        numbers: (n,) not negative, below 2**62.
    """

    def __init__(self, numbers: Int64Array) -> None:
        self._numbers = numbers
        self._cells: _Cells | None = None

    def after(self, wanted: Int64Array) -> Int64Array:
        """(m,) for each number, which need not be among them, the place of the first one that is greater."""
        if len(wanted) < max(_FEW, len(self._numbers) >> 3):
            return self._searched(wanted)
        if self._cells is None:
            self._cells = _Cells.of(self._numbers)
        places = self._cells.places(wanted)
        fenced = self._cells.fenced
        for _ in range(2):
            places += fenced.take(places) <= wanted
        rest = np.flatnonzero(fenced.take(places) <= wanted)
        places[rest] = self._searched(wanted[rest])
        return places

    def _searched(self, wanted: Int64Array) -> Int64Array:
        places: Int64Array = np.searchsorted(self._numbers, wanted, side="right")
        return places


@dataclass(frozen=True)
class _Cells:
    """Rising numbers in cells of equal width.

    Attributes:
        shift: a cell is as wide as this power of two.
        starts: (cells + 1,) the place of the first number that is in the cell or in a later one.
        fenced: (n + 1,) the numbers, and behind them one that is greater than all.
    """

    shift: int
    starts: Int64Array
    fenced: Int64Array

    @classmethod
    def of(cls, numbers: Int64Array) -> _Cells:
        greatest = int(numbers[-1]) if len(numbers) else 0
        shift = max(0, greatest.bit_length() - len(numbers).bit_length() - 1)
        counts = np.bincount(numbers >> shift)
        starts = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        return cls(shift, starts, np.append(numbers, np.iinfo(np.int64).max))

    def places(self, wanted: Int64Array) -> Int64Array:
        """(m,) the starts of the cells of some numbers."""
        cells = wanted >> self.shift
        np.minimum(cells, len(self.starts) - 1, out=cells)
        return self.starts.take(cells)
