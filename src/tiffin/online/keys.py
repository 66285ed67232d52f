"""Entity keys: checked values (TYP-3) and bytes that cannot collide.

A part is one tag byte and its content: ``i`` and eight bytes, big-endian with the sign bit flipped, for integers, times
and booleans, so that keys sort as their numbers do; ``s`` or ``b``, four bytes of length and the content for text and
bytes. A key is its parts one after the other, so no two different keys have the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import nullable_column, numpy_values, valid_mask
from tiffin.errors import InputError, TypeMismatchError
from tiffin.online.blobs import cut, cut_evenly, fixed_blobs, join_blobs, lengths, text_blobs
from tiffin.time import MAX_US, MIN_US, from_us, to_us
from tiffin.types import Bool, Bytes, FeatureType, Int32, Int64, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

_FLIP = 1 << 63
_NUMBER = struct.Struct(">cQ")
_LENGTH = struct.Struct(">cI")
_NUMBER_PART = np.dtype([("tag", "S1"), ("number", ">u8")])
_LENGTH_PART = np.dtype([("tag", "S1"), ("length", ">u4")])
_MOST_DIGITS = 19
#: From so many keys on, it pays to check them all at once.
_MANY = 16
#: Integer keys and the number that is just too large for each.
_LIMIT: dict[FeatureType, int] = {Int32: 1 << 31, Int64: 1 << 63}
_NUMBER_KEYS = (Int32, Int64, UnixTimestamp, Bool)

#: The key of views without entities.
NO_ENTITY = b"\x00"


# --- One value -------------------------------------------------------------------------------------------------------


def key_value(value: Any, dtype: FeatureType, name: str) -> Any:
    """One value of a key in its type: int, bool, aware datetime, bytes or text.

    Raises:
        TypeMismatchError: it is not of the type, and does not parse to it exactly.

    >>> key_value("17", Int64, "driver_id")
    17
    """
    if isinstance(value, np.generic):
        value = _from_numpy(value)
    typed = _typed(value, dtype)
    if typed is None:
        found = f"{value!r} ({type(value).__name__})"
        raise TypeMismatchError(
            f"{found} is not a key of type {dtype!r} for {name!r}", subject=name, hint=_hint(value, dtype)
        )
    return typed


def _typed(value: Any, dtype: FeatureType) -> Any:
    """The value in its type, ``None`` where it has another."""
    if dtype in _LIMIT:
        if isinstance(value, str):
            value = _parse_int(value)
        return value if type(value) is int and -_LIMIT[dtype] <= value < _LIMIT[dtype] else None
    if dtype is Bool:
        return value if isinstance(value, bool) else None
    if dtype is UnixTimestamp:
        return _typed_time(value)
    if dtype is Bytes:
        return bytes(value) if isinstance(value, bytes | bytearray) else None
    if isinstance(value, UUID):
        return str(value)
    return value if _is_text(value) else None


def _typed_time(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, datetime | date | str | int):
        return None
    try:
        us = to_us(value)
    except InputError:
        return None
    return from_us(us) if MIN_US <= us <= MAX_US else None


def _is_text(value: Any) -> bool:
    """Whether it is text that has bytes; half of a surrogate pair has none."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from_numpy(value: np.generic) -> Any:
    """The Python value; a ``datetime64`` is UTC and loses its nanoseconds, as all times do."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else value.astype("datetime64[us]").item().replace(tzinfo=UTC)
    return value.item()


def _parse_int(text: str) -> Any:
    """The integer that a text is written of, in the one way that integers are written; else the text."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _MOST_DIGITS:
        return text
    return int(text) if str(int(text)) == text else text


def _hint(value: Any, dtype: FeatureType) -> str:
    if dtype in _LIMIT:
        if isinstance(value, float):
            return "pass whole numbers; a pandas column with gaps becomes floats: use astype('Int64')"
        return f"pass whole numbers below {_LIMIT[dtype]:,}; texts without sign, spaces or zeros in front"
    return f"pass values of type {dtype!r}"


# --- The keys of a request -------------------------------------------------------------------------------------------


def encode_keys(
    columns: Sequence[list[Any]], types: Sequence[FeatureType], names: Sequence[str], count: int
) -> list[bytes | None]:
    """The bytes of a request's keys; ``None`` where a part is null.

    Args:
        columns: one per part of the key, as they were handed in.
        types: their types.
        names: their names, for messages.
        count: how many keys.

    Raises:
        TypeMismatchError: a value is not of its type; names the row and the column.
    """
    if not columns:
        return [NO_ENTITY] * count
    if len(columns) == 1:
        return _encode_part(columns[0], types[0], names[0])
    parts = [_encode_part(*part) for part in zip(columns, types, names, strict=True)]
    return [None if None in part else b"".join(part) for part in zip(*parts, strict=True)]


def _encode_part(values: list[Any], dtype: FeatureType, name: str) -> list[bytes | None]:
    """One part of every key: first as if all values were what they should be, and only then one by one."""
    pack = _NUMBER.pack
    if dtype in _LIMIT:
        limit = _LIMIT[dtype]
        if len(values) >= _MANY and set(map(type, values)) == {int} and -limit <= min(values) and max(values) < limit:
            return [pack(b"i", value + _FLIP) for value in values]
        encoded = [pack(b"i", v + _FLIP) if type(v) is int and -limit <= v < limit else None for v in values]
        if None not in encoded:
            return encoded
    values = key_values(values, dtype, name)
    if dtype is UnixTimestamp:
        values = [None if value is None else to_us(value) for value in values]
    if dtype in _NUMBER_KEYS:
        return [None if value is None else pack(b"i", value + _FLIP) for value in values]
    if dtype is not Bytes:
        values = [None if value is None else value.encode() for value in values]
    tag, head = b"b" if dtype is Bytes else b"s", _LENGTH.pack
    return [None if content is None else head(tag, len(content)) + content for content in values]


def key_values(values: list[Any], dtype: FeatureType, name: str) -> list[Any]:
    """A column of a request's keys in their type; ``None`` stays.

    Raises:
        TypeMismatchError: a value is not of the type; names the row.
    """
    typed: list[Any] = []
    for row, value in enumerate(values):
        try:
            typed.append(None if _is_null(value) else key_value(value, dtype, name))
        except TypeMismatchError as error:
            raise TypeMismatchError(f"entity row {row}: {error.message}", subject=name, hint=error.hint) from None
    return typed


def _is_null(value: Any) -> bool:
    """``None``, and what pandas and numpy have for it; not NaN, which is a number."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, np.datetime64) and bool(np.isnat(value))


# --- The keys of many facts ------------------------------------------------------------------------------------------


def key_arrow_type(dtype: FeatureType) -> pa.DataType:
    """The Arrow type that keys of a logical type are compared in."""
    import pyarrow as pa

    if dtype is Bool:
        return pa.bool_()
    if dtype in _NUMBER_KEYS:
        return pa.int64()
    return pa.binary() if dtype is Bytes else pa.string()


def cast_key_column(column: pa.Array, dtype: FeatureType, name: str) -> pa.Array:
    """A column of keys in the type that keys are compared in (``key_arrow_type``); nulls stay.

    Raises:
        TypeMismatchError: the column has another type, or a value does not parse exactly; names the row.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found, wanted = column.type, key_arrow_type(dtype)
    if pa.types.is_null(found):
        return pa.nulls(len(column), wanted)
    if dtype in _LIMIT and pa.types.is_integer(found):
        return column.cast(wanted) if _all_fit(column, dtype) else _each(column, dtype, name)
    if found == wanted:
        return column
    if dtype is UnixTimestamp and pa.types.is_timestamp(found):
        return _microseconds(column)
    text = pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if text and dtype not in _NUMBER_KEYS and dtype is not Bytes:
        return column.cast(wanted)
    if dtype is Bytes and (pa.types.is_large_binary(found) or pa.types.is_fixed_size_binary(found)):
        return column.cast(wanted)
    if (text and dtype not in (Bool, Bytes)) or (pa.types.is_date(found) and dtype is UnixTimestamp):
        return _each(column, dtype, name)
    hint = _hint(0.5 if pa.types.is_floating(found) else None, dtype)
    raise TypeMismatchError(
        f"key column {name!r} has type {found}, where {dtype!r} is expected", subject=name, hint=hint
    )


def _all_fit(column: pa.Array, dtype: FeatureType) -> bool:
    """Whether all integers of a column fit the key's type; checked only where the column's type is wider."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wide = (pa.uint64(),) if dtype is Int64 else (pa.uint64(), pa.int64(), pa.uint32())
    if column.type not in wide or column.null_count == len(column):
        return True
    ends = pc.min_max(column).as_py()
    return bool(ends["min"] >= -_LIMIT[dtype] and ends["max"] < _LIMIT[dtype])


def _microseconds(column: pa.Array) -> pa.Array:
    """Times as int64 microseconds; nanoseconds are floored."""
    import pyarrow as pa

    if column.type.unit != "ns":
        return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    return nullable_column(numpy_values(column) // 1000, valid_mask(column), pa.int64())


def _each(column: pa.Array, dtype: FeatureType, name: str) -> pa.Array:
    """Each distinct value once through ``key_value``."""
    import pyarrow as pa

    encoded = column.dictionary_encode()
    values = []
    for value in encoded.dictionary.to_pylist():
        try:
            typed = key_value(value, dtype, name)
        except TypeMismatchError as error:
            row = column.to_pylist().index(value)
            raise TypeMismatchError(f"row {row}: {error.message}", subject=name, hint=error.hint) from None
        values.append(to_us(typed) if dtype is UnixTimestamp else typed)
    return pa.array(values, key_arrow_type(dtype)).take(encoded.indices)


def encode_key_columns(columns: Sequence[pa.Array], count: int) -> list[bytes]:
    """The bytes of many keys, from columns that ``cast_key_column`` gave; nulls are not allowed.

    Args:
        columns: one per part of the key, each of length ``count``.
        count: how many keys.
    """
    import pyarrow as pa

    if not columns:
        return [NO_ENTITY] * count
    numbers = [pa.types.is_integer(column.type) or pa.types.is_boolean(column.type) for column in columns]
    if all(numbers):
        return cut_evenly(_side_by_side([_number_part(column) for column in columns]))
    parts: list[Any] = []
    for column, number in zip(columns, numbers, strict=True):
        if number:
            parts.append(fixed_blobs(_number_part(column)))
            continue
        content = text_blobs(column)
        head = np.empty(count, _LENGTH_PART)
        head["tag"] = b"b" if pa.types.is_binary(column.type) else b"s"
        head["length"] = lengths(content)
        parts += [fixed_blobs(head), content]
    return cut(join_blobs(parts))


def _number_part(column: pa.Array) -> NDArray[Any]:
    import pyarrow as pa

    part = np.empty(len(column), _NUMBER_PART)
    part["tag"] = b"i"
    part["number"] = numpy_values(column.cast(pa.int64())).view(np.uint64) ^ np.uint64(_FLIP)
    return part


def _side_by_side(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0]
    block = np.empty(len(parts[0]), np.dtype([(f"p{i}", part.dtype) for i, part in enumerate(parts)]))
    for i, part in enumerate(parts):
        block[f"p{i}"] = part
    return block
