"""Whether two values are the same (TYP-1): floats by their bits, NaN like NaN, null like null and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, numpy_values, valid_mask

if TYPE_CHECKING:
    import pyarrow as pa

BoolArray = NDArray[np.bool_]


def same_values(one: pa.Array, other: pa.Array) -> BoolArray:
    """(n,) whether two columns of one type have the same value in a row.

    Lists and maps are the same when they have the same values in the same order; nulls inside count as values do. Zero
    and minus zero are different, all NaN are the same.

    >>> import pyarrow as pa
    >>> same_values(pa.array([1.0, None, float("nan"), 0.0]), pa.array([1.0, None, float("nan"), -0.0])).tolist()
    [True, True, True, False]
    """
    here, there = valid_mask(one), valid_mask(other)
    return np.where(here & there, _equal(one, other), here == there)


def _equal(one: pa.Array, other: pa.Array) -> BoolArray:
    """(n,) the same where both are not null; undefined elsewhere."""
    import pyarrow as pa
    import pyarrow.compute as pc

    type_ = one.type
    if pa.types.is_floating(type_):
        floats, bits = np.dtype(f"f{type_.bit_width // 8}"), np.dtype(f"i{type_.bit_width // 8}")
        mine, yours = numpy_values(one, floats), numpy_values(other, floats)
        return np.asarray((mine.view(bits) == yours.view(bits)) | (np.isnan(mine) & np.isnan(yours)))
    if pa.types.is_struct(type_):
        found = np.ones(len(one), np.bool_)
        for mine, yours in zip(one.flatten(), other.flatten(), strict=True):
            found &= same_values(mine, yours)
        return found
    if pa.types.is_list(type_) or pa.types.is_map(type_):
        return _equal_lists(_as_lists(one), _as_lists(other))
    return numpy_values(pc.equal(one, other).fill_null(False).cast(pa.uint8()), np.uint8).astype(np.bool_)


def _as_lists(column: pa.Array) -> pa.Array:
    """Maps as lists of pairs; nulls come out as lists of any length."""
    import pyarrow as pa

    if not pa.types.is_map(column.type):
        return column
    pairs = pa.StructArray.from_arrays([column.keys, column.items], names=["key", "value"])
    return pa.ListArray.from_arrays(column.offsets, pairs)


def _equal_lists(one: pa.Array, other: pa.Array) -> BoolArray:
    here, there = list_lengths(one), list_lengths(other)
    found: BoolArray = (here == there) & (here >= 0)
    rows = arrow_column(np.flatnonzero(found).astype(np.int64))
    parts = same_values(*(each.take(rows).flatten() for each in (one, other)))
    found[found] = all_of_each(parts, here[found])
    return found


def list_lengths(column: pa.Array) -> NDArray[np.int64]:
    """(n,) how many values each list has; -1 for null."""
    import pyarrow.compute as pc

    return numpy_values(pc.list_value_length(column).fill_null(-1).cast("int64"))


def all_of_each(parts: BoolArray, lengths: NDArray[np.int64]) -> BoolArray:
    """(n,) whether all parts of a list are true, for lists that lie one behind the other."""
    false = np.concatenate([[0], np.cumsum(~parts)])
    ends = np.cumsum(lengths)
    return np.asarray(false[ends] == false[ends - lengths], np.bool_)
