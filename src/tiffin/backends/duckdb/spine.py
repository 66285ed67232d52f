"""Entity rows, prepared for the search: keys as numbers, rows without a key set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tiffin.backends.duckdb.slots import IndexArray, SlotIndex
from tiffin.columns import key_codes, numpy_values

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
        codes, valid, self.keys = key_codes(spine, key_columns)
        self.rows: IndexArray = np.flatnonzero(valid)
        if len(self.rows) < len(valid):
            codes, times_us = codes[self.rows], times_us[self.rows]
        self.index = SlotIndex(codes, times_us)

    def per_row(self, per_slot: IndexArray) -> IndexArray:
        """Spread a value per slot over all entity rows; -1 for the rows without a key."""
        spread = np.full(self.row_count, -1, np.intp)
        spread[self.rows[self.index.order]] = per_slot
        return spread
