"""Entity rows, prepared for the search: keys as numbers, rows without a key set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tiffin.backends.duckdb.slots import BoolArray, IndexArray, Int64Array, SlotIndex
from tiffin.columns import arrow_column, numpy_values, single_chunk, valid_mask

if TYPE_CHECKING:
    import pyarrow as pa


class KeyedSpine:
    """The entity rows of one set of key columns.

    Attributes:
        rows: (m,) the rows whose keys are all there.
        index: the slots; slot ``i`` is row ``rows[index.order[i]]``.
        keys: a table of the distinct keys: ``k0``, ``k1``, ... and ``code``.
    """

    def __init__(self, spine: pa.Table, time_column: str, key_columns: Sequence[str]) -> None:
        self.row_count = spine.num_rows
        times_us = numpy_values(spine[time_column])
        codes, valid, self.keys = _key_codes(spine, key_columns)
        self.rows: IndexArray = np.flatnonzero(valid)
        if len(self.rows) < len(valid):
            codes, times_us = codes[self.rows], times_us[self.rows]
        self.index = SlotIndex(codes, times_us)

    def per_row(self, per_slot: IndexArray) -> IndexArray:
        """Spread a value per slot over all entity rows; -1 for the rows without a key."""
        spread = np.full(self.row_count, -1, np.intp)
        spread[self.rows[self.index.order]] = per_slot
        return spread


def _key_codes(spine: pa.Table, key_columns: Sequence[str]) -> tuple[Int64Array, BoolArray, pa.Table]:
    """(n,) key numbers, (n,) whether all keys are there, and the distinct keys."""
    import pyarrow as pa

    n = spine.num_rows
    codes, valid = np.zeros(n, np.int64), np.ones(n, np.bool_)
    if not key_columns:
        return codes, valid, pa.table({"code": pa.array([0], pa.int64())})
    encoded = [single_chunk(spine[column]).dictionary_encode() for column in key_columns]
    for column in encoded:
        indices = numpy_values(column.indices, np.int32)
        valid &= valid_mask(column.indices)
        codes *= max(1, len(column.dictionary))
        codes += indices
    if len(encoded) == 1:
        distinct = np.arange(len(encoded[0].dictionary), dtype=np.int64)
    else:
        codes[~valid] = 0
        distinct, inverse = np.unique(codes[valid], return_inverse=True)
        codes[valid] = inverse
    columns: dict[str, pa.Array] = {}
    left = distinct
    for number in reversed(range(len(encoded))):
        dictionary = encoded[number].dictionary
        size = max(1, len(dictionary))
        columns[f"k{number}"] = dictionary.take(arrow_column(left % size))
        left = left // size
    columns["code"] = arrow_column(np.arange(len(distinct), dtype=np.int64))
    return codes, valid, pa.table(columns)
