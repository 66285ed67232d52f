"""Facts that come in no order, laid side by side by ranges of their keys.

A block of keys is then worked on by itself: what is held of it fits into the processor's cache, where sorting and
picking are several times faster, and blocks can be shared among threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, numpy_values

if TYPE_CHECKING:
    import pyarrow as pa

Int64Array = NDArray[np.int64]

#: Ranges are numbered in one byte: numpy sorts such numbers without comparing them.
_RANGE_BITS = 8


@dataclass(frozen=True)
class Block:
    """The facts of some keys.

    Attributes:
        first, end: the numbers of the keys, ``first <= number < end``.
        facts: in no order.
        rows: which of the entity rows have these keys; they are sorted by key.
    """

    first: int
    end: int
    facts: pa.Table
    rows: slice


class KeyRanges:
    """Facts by ranges of the numbers of their keys.

    Args:
        first: the lowest number.
        count: how many numbers follow each other from there.
    """

    def __init__(self, first: int, count: int) -> None:
        self._shift = max(0, (count - 1).bit_length() - _RANGE_BITS)
        ranges = ((count - 1) >> self._shift) + 1
        self._bounds = first + np.minimum(np.arange(ranges + 1) << self._shift, count)
        self._batches: list[pa.RecordBatch] = []
        #: For each batch, (ranges + 1,) where the facts of each range begin, and where the last ones end.
        self._starts: list[Int64Array] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take facts, whose keys are numbered in ``__code``."""
        import pyarrow.compute as pc

        ranges = len(self._bounds) - 1
        if ranges > 1:
            numbers = ((numpy_values(batch.column("__code")) - self._bounds[0]) >> self._shift).astype(np.uint8)
            starts = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=ranges))])
            order = np.argsort(numbers, kind="stable").astype(np.int64, copy=False)
            batch = pc.take(batch, arrow_column(order), boundscheck=False)
        else:
            starts = np.array([0, batch.num_rows])
        self._batches.append(batch)
        self._starts.append(starts)

    def blocks(self, codes: Int64Array, size: int) -> list[Block]:
        """The facts in blocks, in the order of the keys.

        Args:
            codes: (rows,) the keys of entity rows, rising.
            size: how many facts and rows a block has, about; more when one range has more.
        """
        rows = np.searchsorted(codes, self._bounds)
        facts = np.sum(self._starts, axis=0) if self._starts else np.zeros(len(self._bounds), np.int64)
        cuts = np.flatnonzero(np.diff((facts + rows)[1:] // size)) + 1
        ends = [0, *cuts.tolist(), len(self._bounds) - 1]
        return [self._block(first, end, rows) for first, end in pairwise(ends)]

    def _block(self, first: int, end: int, rows: NDArray[np.intp]) -> Block:
        import pyarrow as pa

        held = zip(self._batches, self._starts, strict=True)
        parts = [batch.slice(starts[first], starts[end] - starts[first]) for batch, starts in held]
        facts = pa.Table.from_batches(parts) if parts else pa.table({})
        return Block(int(self._bounds[first]), int(self._bounds[end]), facts, slice(int(rows[first]), int(rows[end])))
