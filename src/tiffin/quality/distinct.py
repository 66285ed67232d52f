"""How many different values a column has, estimated from the least of their hashes.

The estimate of ``approx_count_distinct`` fills registers value by value, which is right for many small windows. Of one
long column nearly every value is ruled out by one comparison here, which is several times faster.

Source: Z. Bar-Yossef and others, "Counting distinct elements in a data stream", 2002, their first algorithm; the
unbiased form is that of K. Beyer and others, "On synopses for distinct-value estimation", 2007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tiffin.columns import arrow_column, numpy_values
from tiffin.quality.buckets import FloatArray
from tiffin.windows.hashing import UInt64Array, hashes_of, mixed

if TYPE_CHECKING:
    import pyarrow as pa

#: Hashes that are kept: the standard error of the estimate is one by the square root of it, 1.6 %.
_KEPT = 4096
#: Hashes that wait to be looked through together.
_MOST_PENDING = 1 << 16


class DistinctValues:
    """Counts different values, exactly while they are few; the same whatever their order."""

    def __init__(self) -> None:
        self._least: UInt64Array = np.empty(0, np.uint64)
        self._pending: list[UInt64Array] = []

    def add(self, column: pa.Array) -> None:
        """Add (n,) values without nulls, of a type that can be hashed."""
        self._add(hashes_of(column))

    def add_numbers(self, numbers: FloatArray) -> None:
        """Add (n,) numbers without NaN; zero and minus zero are one. Best in blocks that fit into the cache."""
        self._add(mixed((numbers + 0.0).view(np.uint64)))

    def count(self) -> int:
        """How many there are."""
        self._settle()
        if len(self._least) < _KEPT:
            return len(self._least)
        return round((_KEPT - 1) / ((float(self._least[-1]) + 1) / 2.0**64))

    def _add(self, hashes: UInt64Array) -> None:
        if len(self._least) == _KEPT:
            hashes = hashes[hashes < self._least[-1]]
        self._pending.append(hashes)
        if sum(map(len, self._pending)) > _MOST_PENDING:
            self._settle()

    def _settle(self) -> None:
        """Keep the least of all hashes, each once."""
        found = np.concatenate([self._least, *self._pending])
        self._pending.clear()
        # Few different ones among many are found faster by a table than by sorting.
        different = numpy_values(arrow_column(found.view(np.int64)).unique()).view(np.uint64)
        self._least = np.sort(different)[:_KEPT]
