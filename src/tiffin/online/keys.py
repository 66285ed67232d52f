"""Entity keys: checked values (TYP-3) and bytes that cannot collide.

A part is one tag byte and its content: ``i`` and eight bytes, big-endian with the sign bit flipped, for integers, times
and booleans, so that keys sort as their numbers do; ``s`` or ``b``, four bytes of length and the content for text and
bytes. A key is its parts one after the other, so no two different keys have the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from tiffin.columns import numpy_values, valid_mask
from tiffin.errors import InputError, TypeMismatchError
from tiffin.time import to_us
from tiffin.types import Bool, Bytes, FeatureType, Int32, Int64, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

_FLIP = 1 << 63
_INT = struct.Struct(">cQ")
_TEXT = struct.Struct(">cI")
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1
_INTEGER_KEYS = (Int32, Int64, UnixTimestamp, Bool)

#: The key of views without entities.
NO_ENTITY = b"\x00"


def key_encoder(types: Sequence[FeatureType], names: Sequence[str]) -> Callable[[Sequence[Any]], bytes | None]:
    """A function from the values of one key to its bytes, ``None`` when a value is null.

    Raises (from the function):
        TypeMismatchError: a value is not of the key's type.
    """
    parts = [_part_encoder(dtype, name) for dtype, name in zip(types, names, strict=True)]
    if not parts:
        return lambda values: NO_ENTITY
    if len(parts) == 1:
        (only,) = parts
        return lambda values: None if values[0] is None else only(values[0])

    def encode(values: Sequence[Any]) -> bytes | None:
        if any(value is None for value in values):
            return None
        return b"".join(part(value) for part, value in zip(parts, values, strict=True))

    return encode


def _part_encoder(dtype: FeatureType, name: str) -> Callable[[Any], bytes]:
    pack = _INT.pack

    def encode_int(value: Any) -> bytes:
        if type(value) is int and _INT_MIN <= value <= _INT_MAX:
            return pack(b"i", value + _FLIP)
        return pack(b"i", key_value(value, dtype, name) + _FLIP)

    def encode_text(value: Any) -> bytes:
        content = key_value(value, dtype, name).encode()
        return _TEXT.pack(b"s", len(content)) + content

    def encode_bytes(value: Any) -> bytes:
        content = bytes(key_value(value, dtype, name))
        return _TEXT.pack(b"b", len(content)) + content

    if dtype is Int64:
        return encode_int
    if dtype in _INTEGER_KEYS:
        return lambda value: pack(b"i", int(key_value(value, dtype, name)) + _FLIP)
    return encode_bytes if dtype is Bytes else encode_text


def key_value(value: Any, dtype: FeatureType, name: str) -> Any:
    """One value of a key in its type.

    Raises:
        TypeMismatchError: it is not of the type, and does not parse to it exactly.

    >>> key_value("17", Int64, "driver_id")
    17
    """
    if isinstance(value, np.generic):
        value = value.item()
    if dtype in (Int32, Int64):
        if isinstance(value, str):
            value = _parse_int(value)
        if type(value) is int and _INT_MIN <= value <= _INT_MAX:
            return value
    elif dtype is Bool:
        if isinstance(value, bool):
            return value
    elif dtype is UnixTimestamp:
        if isinstance(value, datetime | date | str):
            return to_us(value)
        if type(value) is int:
            return value
    elif dtype is Bytes:
        if isinstance(value, bytes | bytearray):
            return bytes(value)
    elif isinstance(value, str):
        return value
    elif isinstance(value, UUID):
        return str(value)
    raise TypeMismatchError(
        f"{value!r} ({type(value).__name__}) is not a key of type {dtype!r} for {name!r}",
        subject=name,
        hint=_hint(dtype),
    )


def _parse_int(text: str) -> Any:
    """The number whose one decimal form the text is; otherwise the text itself."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and str(int(text)) == text else text


def _hint(dtype: FeatureType) -> str:
    if dtype in (Int32, Int64):
        return "pass whole numbers; a pandas column with gaps becomes floats: use astype('Int64')"
    return f"pass values of type {dtype!r}"


def cast_key_column(column: pa.Array, dtype: FeatureType, name: str) -> pa.Array:
    """A column of keys in the type that keys are compared in; nulls stay.

    Integers become int64, times int64 microseconds, everything else text, bytes or booleans.

    Raises:
        TypeMismatchError: the column has another type, or a value does not parse exactly; names the row.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found = column.type
    if pa.types.is_null(found):
        return pa.nulls(len(column), key_arrow_type(dtype))
    if dtype in (Int32, Int64) and pa.types.is_integer(found):
        return _exact(column, pa.int64(), dtype, name)
    if dtype is UnixTimestamp and pa.types.is_timestamp(found):
        scale = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[found.unit]
        values = numpy_values(column) * scale
        micros = values // 1000 if found.unit == "ns" else values
        return pa.Array.from_buffers(pa.int64(), len(column), [_bitmap(column), pa.py_buffer(micros)])
    text = pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if text and dtype not in _INTEGER_KEYS and dtype is not Bytes:
        return column.cast(pa.string())
    if dtype is Bytes and (pa.types.is_binary(found) or pa.types.is_large_binary(found)):
        return column.cast(pa.binary())
    if dtype is Bool and pa.types.is_boolean(found):
        return column
    if text or pa.types.is_date(found):
        return _by_value(column, dtype, name)
    raise TypeMismatchError(
        f"key column {name!r} has type {found}, where {dtype!r} is expected", subject=name, hint=_hint(dtype)
    )


def key_arrow_type(dtype: FeatureType) -> pa.DataType:
    """The Arrow type that keys of a logical type are compared in."""
    import pyarrow as pa

    if dtype is Bool:
        return pa.bool_()
    if dtype in _INTEGER_KEYS:
        return pa.int64()
    return pa.binary() if dtype is Bytes else pa.string()


def _bitmap(column: pa.Array) -> Any:
    """The null bitmap of a column as one that starts at its first value."""
    import pyarrow as pa

    return pa.py_buffer(np.packbits(valid_mask(column), bitorder="little")) if column.null_count else None


def _exact(column: pa.Array, wanted: pa.DataType, dtype: FeatureType, name: str) -> pa.Array:
    import pyarrow as pa

    try:
        return column.cast(wanted)
    except pa.ArrowInvalid as error:
        raise TypeMismatchError(f"key column {name!r} does not fit {dtype!r}: {error}", subject=name) from error


def _by_value(column: pa.Array, dtype: FeatureType, name: str) -> pa.Array:
    """Each distinct value once through ``key_value``."""
    import pyarrow as pa

    encoded = column.dictionary_encode()
    values = []
    for value in encoded.dictionary.to_pylist():
        try:
            values.append(key_value(value, dtype, name))
        except InputError as error:
            row = column.to_pylist().index(value)
            raise TypeMismatchError(f"row {row}: {error.message}", subject=name, hint=error.hint) from None
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
    parts: list[list[bytes]] = []
    for column in columns:
        if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            values = numpy_values(column.cast(pa.int64()))
            block = np.empty((count, 9), np.uint8)
            block[:, 0] = ord("i")
            block[:, 1:] = (values.view(np.uint64) + np.uint64(_FLIP)).astype(">u8").view(np.uint8).reshape(count, 8)
            content = block.tobytes()
            parts.append([content[i : i + 9] for i in range(0, 9 * count, 9)])
        else:
            tag = b"b" if pa.types.is_binary(column.type) else b"s"
            texts = column.cast(pa.binary()).to_pylist()
            pack = _TEXT.pack
            parts.append([pack(tag, len(text)) + text for text in texts])
    if len(parts) == 1:
        return parts[0]
    return [b"".join(part) for part in zip(*parts, strict=True)]
