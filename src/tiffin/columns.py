"""Arrow columns as numpy arrays, without a copy where Arrow has none of its own, and without pandas.

``pyarrow.Array.to_numpy`` imports pandas, which costs a second or two in a fresh process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def numpy_values(column: pa.Array | pa.ChunkedArray, dtype: Any = np.int64) -> NDArray[Any]:
    """The values of a fixed-width column; what stands under a null is undefined.

    Args:
        column: integers, floats or times, not booleans.
        dtype: the numpy type of the buffer; it must have the column's width.

    Returns:
        (n,) read-only view of the column's memory; a copy only when the column has several chunks.
    """
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks != 1:
            parts = [numpy_values(chunk, dtype) for chunk in column.chunks]
            return np.concatenate(parts) if parts else np.empty(0, dtype)
        column = column.chunk(0)
    buffer = column.buffers()[1]
    if buffer is None or len(column) == 0:
        return np.zeros(len(column), dtype)
    return np.frombuffer(buffer, dtype)[column.offset : column.offset + len(column)]


def are_zones_ignored() -> bool:
    """Whether Arrow takes 5:30 in Mumbai for 5:30 in Greenwich, as an import of pandas-on-Spark makes it do."""
    return bool(os.environ.get("PYARROW_IGNORE_TIMEZONE"))


def python_column(values: Iterable[Any]) -> pa.Array:
    """Python objects as a column of the type that Arrow finds; times with a zone are instants in every process."""
    import pyarrow as pa

    if are_zones_ignored():
        values = [v.astimezone(UTC) if isinstance(v, datetime) and v.tzinfo is not None else v for v in values]
    return pa.array(list(values), from_pandas=False)


def valid_mask(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """(n,) whether each value is there, not null."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        parts = [valid_mask(chunk) for chunk in column.chunks]
        return np.concatenate(parts) if parts else np.empty(0, np.bool_)
    buffer = column.buffers()[0]
    if buffer is None or column.null_count == 0:
        # A column of the null type has no buffer, and no value.
        return np.full(len(column), column.null_count == 0, np.bool_)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return bits[column.offset : column.offset + len(column)].astype(np.bool_)


def single_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array."""
    import pyarrow as pa

    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def arrow_column(values: NDArray[Any], type_: pa.DataType | None = None) -> pa.Array:
    """The memory of an int64, int32 or float64 array as an Arrow column without nulls.

    Args:
        values: (n,) contiguous or not; copied only when not.
        type_: the Arrow type of the same width; found from the dtype when left out.
    """
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    found = type_ if type_ is not None else pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(found, len(values), [None, pa.py_buffer(values)])


def nullable_column(values: NDArray[Any], valid: NDArray[np.bool_], type_: pa.DataType | None = None) -> pa.Array:
    """Like ``arrow_column``, null where ``valid`` is false."""
    import pyarrow as pa

    if valid.all():
        return arrow_column(values, type_)
    values = np.ascontiguousarray(values)
    found = type_ if type_ is not None else pa.from_numpy_dtype(values.dtype)
    bits = np.packbits(valid, bitorder="little")
    return pa.Array.from_buffers(found, len(values), [pa.py_buffer(bits), pa.py_buffer(values)])


def taken(column: pa.Array | pa.ChunkedArray, places: NDArray[np.intp]) -> pa.Array:
    """(n,) the values at some places; of numbers and times by numpy, which is faster.

    Args:
        column: values of any type.
        places: where they are, from 0.
    """
    import pyarrow as pa

    type_ = column.type
    if not (pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_timestamp(type_)):
        return single_chunk(column).take(arrow_column(places.astype(np.int64, copy=False)))
    kind = "f" if pa.types.is_floating(type_) else "i"
    values = numpy_values(column, np.dtype(f"{kind}{type_.bit_width // 8}")).take(places)
    return (
        nullable_column(values, valid_mask(column)[places], type_) if column.null_count else arrow_column(values, type_)
    )


def ranked(column: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """(n,) the rank of each value among the different ones; and these in order.

    Args:
        column: (n,) values of a type that Arrow sorts, without nulls; text and bytes are in the order of their bytes.
    """
    import pyarrow.compute as pc

    encoded = column.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[numpy_values(order, np.uint64).astype(np.int64)] = np.arange(len(order))
    return rank[numpy_values(encoded.indices, np.int32)], encoded.dictionary.take(order)


def map_of_struct(column: pa.Array) -> pa.Array:
    """A column of structs as maps from the names of their parts to text."""
    import pyarrow as pa

    names, valid = [part.name for part in column.type], valid_mask(column)
    there = column.filter(pa.array(valid)) if column.null_count else column
    rows = len(there)
    row_by_row = np.arange(len(names) * rows).reshape(len(names), rows).T.ravel()
    items = pa.concat_arrays([part.cast(pa.string()) for part in there.flatten()]).take(arrow_column(row_by_row))
    keys = pa.array(names, pa.string()).take(arrow_column(np.tile(np.arange(len(names)), rows)))
    starts = np.concatenate([[0], np.cumsum(valid)]).astype(np.int32) * np.int32(len(names))
    return pa.MapArray.from_arrays(nullable_column(starts, np.append(valid, True)), keys, items)


def key_codes(table: pa.Table, key_columns: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_], pa.Table]:
    """Keys as numbers.

    Args:
        table: n rows.
        key_columns: which of its columns make up a key; none for one key that all rows have.

    Returns:
        (n,) key numbers from 0; (n,) whether no part of the key is null, without which the number means nothing; and
        the distinct keys as ``k0``, ``k1``, ... and ``code``.
    """
    import pyarrow as pa

    n = table.num_rows
    codes, valid = np.zeros(n, np.int64), np.ones(n, np.bool_)
    if not key_columns:
        return codes, valid, pa.table({"code": pa.array([0], pa.int64())})
    parts = [single_chunk(table[column]) for column in key_columns]
    encoded = [_encoded(column) for column in parts]
    for column, (indices, dictionary) in zip(parts, encoded, strict=True):
        valid &= valid_mask(column)
        codes *= max(1, len(dictionary))
        codes += indices
    if len(encoded) == 1:
        distinct = np.arange(len(encoded[0][1]), dtype=np.int64)
    else:
        codes[~valid] = 0
        distinct, inverse = np.unique(codes[valid], return_inverse=True)
        codes[valid] = inverse
    columns: dict[str, pa.Array] = {}
    left = distinct
    for number in reversed(range(len(encoded))):
        dictionary = encoded[number][1]
        size = max(1, len(dictionary))
        columns[f"k{number}"] = dictionary.take(arrow_column(left % size))
        left = left // size
    columns["code"] = arrow_column(np.arange(len(distinct), dtype=np.int64))
    return codes, valid, pa.table(columns)


def _encoded(column: pa.Array) -> tuple[NDArray[Any], pa.Array]:
    """(n,) numbers from 0, equal for equal values and undefined for nulls; and the values that they stand for."""
    import pyarrow as pa

    if pa.types.is_int64(column.type) and len(column) and not column.null_count:
        values = numpy_values(column)
        first, last = int(values.min()), int(values.max())
        if last - first < 2 * len(values):
            # They lie side by side: a table of them is several times faster than one by their hashes.
            offsets = values - first
            there = np.zeros(last - first + 1, np.bool_)
            there[offsets] = True
            return (np.cumsum(there) - 1)[offsets], arrow_column(np.flatnonzero(there) + first)
    encoded = column.dictionary_encode()
    return numpy_values(encoded.indices, np.int32), encoded.dictionary


def pandas_type(arrow: pa.DataType) -> Any:
    """Pandas' type with nulls for integers and booleans, for ``types_mapper``; it does not depend on values (TYP-2)."""
    import pandas as pd
    import pyarrow as pa

    found = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return found.get(arrow)


def shown(column: pa.Array, row: int) -> str:
    """One value as text for a message; also a time that Python has no datetime for."""
    import pyarrow as pa

    if pa.types.is_temporal(column.type):
        return str(column.slice(row, 1).cast(pa.string())[0])
    try:
        return repr(column[row].as_py())
    except (OverflowError, ValueError):
        return "a time outside the years 1 to 9999"
