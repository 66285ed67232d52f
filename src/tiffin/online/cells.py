"""The content of single values in a row, for each logical type (TYP-1).

Numbers, booleans, times and decimals have a fixed width. Everything else has its own bytes: text and bytes as they
are; a list of numbers without nulls packed, after a byte 0; any other nested value in msgpack, with times as
microseconds, decimals as text, maps as pairs and structs as lists in the order of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Context
from decimal import Decimal as PyDecimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiffin.columns import nullable_column, numpy_values, shown, valid_mask
from tiffin.errors import TypeMismatchError
from tiffin.online.blobs import blobs_at, join_blobs, text_blobs
from tiffin.time import EPOCH, MAX_US, MIN_US
from tiffin.types import (
    DECIMAL_PRECISION,
    DECIMAL_SCALE,
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    arrow_type,
)

if TYPE_CHECKING:
    import pyarrow as pa

#: Fixed-width types: the code in ``struct``, and the type in numpy; both little-endian.
FIXED: dict[FeatureType, tuple[str, str]] = {
    Int32: ("i", "<i4"),
    Int64: ("q", "<i8"),
    Float32: ("f", "<f4"),
    Float64: ("d", "<f8"),
    Bool: ("?", "?"),
    UnixTimestamp: ("q", "<i8"),
    Decimal: ("16s", "V16"),
}
_PLAIN = (String, Bytes, PdfBytes, ImageBytes, Json, Uuid, TimeUuid)
_UNCHANGED = (Int32, Int64, Float32, Float64, Bool, Bytes, PdfBytes, ImageBytes)
_UUID = "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"
_PACKED, _MSGPACK = b"\x00", b"\x01"
_MICROSECOND = timedelta(microseconds=1)
_EXACT = Context(prec=DECIMAL_PRECISION + 1)

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


# --- Writing ---------------------------------------------------------------------------------------------------------


def fixed_values(column: pa.Array, dtype: FeatureType) -> NDArray[Any]:
    """(n,) the values of a fixed-width column; 0 where null, so that equal facts have equal bytes."""
    import pyarrow as pa

    if dtype is Bool:
        values = numpy_values(column.cast(pa.uint8()), np.uint8).view(np.bool_)
    else:
        values = numpy_values(column, np.dtype(FIXED[dtype][1]))
    if column.null_count:
        values = values.copy()
        values[~valid_mask(column)] = np.zeros((), values.dtype)
    return values


def cell_blobs(column: pa.Array, dtype: FeatureType) -> pa.LargeBinaryArray:
    """The content of each value of a variable-width column; empty where null."""
    import pyarrow as pa

    if dtype in _PLAIN:
        return text_blobs(column)
    if _is_packed(dtype):
        return _packed_lists(column, dtype)
    write = _writer(dtype)
    content = [b"" if value is None else _pack(write(value)) for value in column.to_pylist()]
    return pa.array(content, pa.large_binary())


def _is_packed(dtype: FeatureType) -> bool:
    return isinstance(dtype, Array | Set) and dtype.base_type in FIXED and dtype.base_type is not Decimal


def _packed_lists(column: pa.Array, dtype: FeatureType) -> pa.LargeBinaryArray:
    """Lists of numbers in bulk; the lists that hold nulls are few and go one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    assert isinstance(dtype, Array | Set)
    counts = numpy_values(pc.list_value_length(column).fill_null(0).cast(pa.int64()))
    items = column.flatten()
    values = fixed_values(items, dtype.base_type)
    flags = np.concatenate([[0], np.cumsum(valid_mask(column))]).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(counts)])
    content = blobs_at(values, ends * values.dtype.itemsize)
    packed = join_blobs([blobs_at(np.zeros(flags[-1], np.uint8), flags), content])
    if not items.null_count:
        return packed
    write = _writer(dtype)
    with_nulls = np.unique(np.searchsorted(ends[1:], np.flatnonzero(~valid_mask(items)), side="right"))
    replaced = packed.to_pylist()
    for row in with_nulls.tolist():
        replaced[row] = _MSGPACK + _pack(write(column[row].as_py()))
    return pa.array(replaced, pa.large_binary())


def _writer(dtype: FeatureType) -> Callable[[Any], Any]:
    """From a value as Arrow gives it to what msgpack holds."""
    if isinstance(dtype, Array | Set):
        inner = _writer(dtype.base_type)
        return lambda value: [None if item is None else inner(item) for item in value]
    if isinstance(dtype, Struct):
        parts = {name: _writer(part) for name, part in dtype.fields.items()}
        return lambda value: [None if value[name] is None else write(value[name]) for name, write in parts.items()]
    if dtype is Map:
        return lambda value: [list(pair) for pair in value]
    if dtype is Decimal:
        return str
    if dtype is UnixTimestamp:
        return lambda value: (value - EPOCH) // _MICROSECOND
    return lambda value: value


def check_cells(column: pa.Array, dtype: FeatureType, name: str) -> None:
    """Refuse values that could be written but not be read again in their type (TYP-1).

    Raises:
        TypeMismatchError: a time outside the years 1 to 9999, a text that is no UUID or no JSON; names row and column.
    """
    if not _needs_check(dtype) or _all_fit(column, dtype):
        return
    row = next(i for i in range(len(column)) if not _all_fit(column.slice(i, 1), dtype))
    raise TypeMismatchError(
        f"row {row}: {shown(column, row)} in column {name!r} is not a value of type {dtype!r}", subject=name
    )


def _needs_check(dtype: FeatureType) -> bool:
    if isinstance(dtype, Array | Set):
        return _needs_check(dtype.base_type)
    if isinstance(dtype, Struct):
        return any(_needs_check(part) for part in dtype.fields.values())
    return dtype in (UnixTimestamp, Uuid, TimeUuid, Json)


def _all_fit(column: pa.Array, dtype: FeatureType) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(dtype, Array | Set):
        return _all_fit(column.flatten(), dtype.base_type)
    if isinstance(dtype, Struct):
        return all(_all_fit(c, part) for c, part in zip(column.flatten(), dtype.fields.values(), strict=True))
    if dtype is UnixTimestamp:
        ends = pc.min_max(column.cast(pa.int64())).as_py()
        return ends["min"] is None or (ends["min"] >= MIN_US and ends["max"] <= MAX_US)
    if dtype in (Uuid, TimeUuid):
        return pc.all(pc.match_substring_regex(column, _UUID)).as_py() is not False
    return dtype is not Json or all(_is_json(text) for text in column.drop_null().to_pylist())


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return False
    return True


# --- Reading ---------------------------------------------------------------------------------------------------------

Reader = Callable[[Any], Any]


def python_reader(dtype: FeatureType) -> Reader | None:
    """From the number or the bytes of a value to its Python object; ``None`` when it is that already.

    Times become aware datetimes, decimals ``Decimal``, UUIDs ``uuid.UUID``, JSON what it says, maps and structs
    ``dict``. A set becomes a ``set`` where its values can be in one, else a list.
    """
    if dtype in _UNCHANGED:
        return None
    if dtype is UnixTimestamp:
        return _moment
    if dtype is Decimal:
        return _decimal
    if dtype is String:
        return bytes.decode
    if dtype in (Uuid, TimeUuid):
        return lambda content: UUID(content.decode())
    if dtype is Json:
        return msgspec.json.decode
    return _nested(dtype, _python_part(dtype))


def cells_to_arrow(contents: Sequence[bytes], valid: NDArray[np.bool_], dtype: FeatureType) -> pa.Array:
    """A column from the contents of its values.

    Args:
        contents: what ``cell_blobs`` gave, one per value.
        valid: (n,) where the value is not null.
        dtype: the type, of variable width.
    """
    import pyarrow as pa

    if dtype in _PLAIN:
        return pa.array(contents, pa.binary(), mask=~valid).cast(arrow_type(dtype))
    read = _nested(dtype, _arrow_part(dtype))
    values = [read(content) if there else None for content, there in zip(contents, valid.tolist(), strict=True)]
    return pa.array(values, arrow_type(dtype))


def fixed_to_arrow(values: NDArray[Any], valid: NDArray[np.bool_], dtype: FeatureType) -> pa.Array:
    """A column from fixed-width values."""
    import pyarrow as pa

    if dtype is Bool:
        return pa.array(np.ascontiguousarray(values), pa.bool_(), mask=~valid)
    if dtype is Decimal:
        values = np.ascontiguousarray(values)
        bits = np.packbits(valid, bitorder="little")
        buffers = [pa.py_buffer(bits), pa.py_buffer(values.view(np.uint8))]
        return pa.Array.from_buffers(arrow_type(dtype), len(values), buffers)
    return nullable_column(values, valid, arrow_type(dtype))


def _moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def _decimal(content: bytes) -> PyDecimal:
    return PyDecimal(int.from_bytes(content, "little", signed=True)).scaleb(-DECIMAL_SCALE, _EXACT)


def _nested(dtype: FeatureType, part: Reader | None) -> Reader:
    """From the content of a nested value: unpack, then turn what msgpack holds into the value."""
    if not _is_packed(dtype):
        return (lambda content: part(_unpack(content))) if part is not None else _unpack
    assert isinstance(dtype, Array | Set)
    numbers = np.dtype(FIXED[dtype.base_type][1])

    def read(content: bytes) -> Any:
        if content[:1] == _PACKED:
            items = np.frombuffer(content, numbers, offset=1).tolist()
        else:
            items = _unpack(content[1:])
        return items if part is None else part(items)

    return read


def _python_part(dtype: FeatureType) -> Reader | None:
    """From what msgpack held to the Python object; ``None`` when it is that already."""
    if isinstance(dtype, Array):
        return _list_part(_python_part(dtype.base_type))
    if isinstance(dtype, Set):
        items = _list_part(_python_part(dtype.base_type))
        if dtype.base_type in (Map, Json) or isinstance(dtype.base_type, Array | Set | Struct):
            return items
        return set if items is None else (lambda value: set(items(value)))
    if isinstance(dtype, Struct):
        return _struct_part(dtype, _python_part)
    leaves: dict[FeatureType, Reader] = {
        Map: dict,
        Decimal: PyDecimal,
        UnixTimestamp: _moment,
        Uuid: UUID,
        TimeUuid: UUID,
        Json: msgspec.json.decode,
    }
    return leaves.get(dtype)


def _arrow_part(dtype: FeatureType) -> Reader | None:
    """From what msgpack held to what Arrow builds the value from; ``None`` when it is that already."""
    if isinstance(dtype, Array | Set):
        return _list_part(_arrow_part(dtype.base_type))
    if isinstance(dtype, Struct):
        return _struct_part(dtype, _arrow_part)
    leaves: dict[FeatureType, Reader] = {Map: lambda pairs: [tuple(pair) for pair in pairs], Decimal: PyDecimal}
    return leaves.get(dtype)


def _list_part(inner: Reader | None) -> Reader | None:
    if inner is None:
        return None
    return lambda value: [None if item is None else inner(item) for item in value]


def _struct_part(dtype: Struct, part_of: Callable[[FeatureType], Reader | None]) -> Reader:
    parts = [(name, part_of(part)) for name, part in dtype.fields.items()]
    return lambda value: {
        name: item if item is None or read is None else read(item)
        for (name, read), item in zip(parts, value, strict=True)
    }
