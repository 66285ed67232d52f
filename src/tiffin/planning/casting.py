"""Which columns can be kept in which types, as far as the types alone tell, and keeping them exactly (TYP-1).

A column that may hold a value that does not fit (int64 declared as Int32) is accepted here and checked value by value
when it is read. A wider float may be declared as a narrower one: then rounding is what was asked for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import map_of_struct, nullable_column, numpy_values, shown, valid_mask
from tiffin.definitions import BaseFeatureView, Field
from tiffin.errors import DefinitionTypeError, TypeMismatchError
from tiffin.types import (
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


def is_time(found: pa.DataType, *, text: bool = False) -> bool:
    """Whether a column of this type holds times; ``text`` also lets text in ISO 8601 pass."""
    import pyarrow.types as pat

    return bool(pat.is_timestamp(found) or pat.is_date(found) or (text and is_text(found)))


@lru_cache(maxsize=4096)
def can_keep(found: pa.DataType, dtype: FeatureType) -> bool:
    """Whether values of a column can be kept in a declared type without a loss that lies in the types."""
    import pyarrow.types as pat

    if pat.is_dictionary(found):
        return can_keep(found.value_type, dtype)
    if pat.is_null(found):
        return True
    if isinstance(dtype, Array | Set):
        return _is_list(found) and can_keep(found.value_type, dtype.base_type)
    if isinstance(dtype, Struct):
        same = pat.is_struct(found) and [field.name for field in found] == list(dtype.fields)
        return same and all(can_keep(field.type, dtype.fields[field.name]) for field in found)
    if dtype is Decimal:
        return bool(pat.is_integer(found) or (pat.is_decimal(found) and found.scale <= DECIMAL_SCALE))
    if dtype is Map and pat.is_struct(found):
        return all(is_text(part.type) or pat.is_integer(part.type) for part in found)
    if dtype is Map:
        return bool(pat.is_map(found) and is_text(found.key_type) and is_text(found.item_type))
    return any(check(found) for check in _primitive_checks(dtype))


def _primitive_checks(dtype: FeatureType) -> tuple[Any, ...]:
    import pyarrow.types as pat

    text: tuple[Any, ...] = (is_text,)
    integer: tuple[Any, ...] = (pat.is_integer,)
    number = (pat.is_integer, pat.is_floating, pat.is_decimal)
    checks: dict[FeatureType, tuple[Any, ...]] = {
        Bool: (pat.is_boolean,),
        Int32: integer,
        Int64: integer,
        Float32: number,
        Float64: number,
        String: (is_text, pat.is_integer),
        Json: text,
        Uuid: text,
        TimeUuid: text,
        Bytes: (_is_binary,),
        PdfBytes: (_is_binary,),
        ImageBytes: (_is_binary,),
        UnixTimestamp: (pat.is_timestamp, pat.is_date, is_text),
    }
    return checks.get(dtype, ())


def cast_exactly(column: pa.Array, dtype: FeatureType, name: str) -> pa.Array:
    """A column in a feature's type, without loss; a wider float may be given for ``Float32`` and is rounded.

    Raises:
        TypeMismatchError: names the first row that does not fit.
    """
    import pyarrow as pa

    wanted = arrow_type(dtype)
    if column.type == wanted:
        return column
    if column.null_count == len(column):
        return pa.nulls(len(column), wanted)
    try:
        return _cast(column, dtype, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
        row = _first_misfit(column, dtype, wanted)
        raise TypeMismatchError(
            f"row {row}: {shown(column, row)} in column {name!r} ({column.type}) cannot be kept as {dtype!r}",
            subject=name,
            hint="cast the column, or declare the field with its type",
        ) from error


def _cast(column: pa.Array, dtype: FeatureType, wanted: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found = column.type
    if dtype is Map and pa.types.is_struct(found):
        return map_of_struct(column)
    if dtype is UnixTimestamp and pa.types.is_timestamp(found) and found.unit == "ns":
        return nullable_column(numpy_values(column) // 1000, valid_mask(column), wanted)
    if dtype is UnixTimestamp and not (pa.types.is_temporal(found) or pa.types.is_null(found)):
        raise pa.ArrowInvalid("not a time")
    if pa.types.is_boolean(found) != (wanted == pa.bool_()) and not pa.types.is_null(found):
        raise pa.ArrowInvalid("a truth value is not a number")
    if is_text(found) != is_text(wanted) and not pa.types.is_null(found):
        raise pa.ArrowInvalid("text is not read as another type")
    if pa.types.is_floating(found) and pa.types.is_decimal(wanted):
        raise pa.ArrowInvalid("a float is not an exact decimal")
    cast = column.cast(wanted)
    if dtype is Float32 and not _same_infinities(column, cast):
        raise pa.ArrowInvalid("too large")
    return cast


def _same_infinities(before: pa.Array, after: pa.Array) -> bool:
    import pyarrow.compute as pc

    if not str(before.type).startswith(("float", "double", "halffloat")):
        return True
    return bool(pc.all(pc.equal(pc.is_inf(before), pc.is_inf(after))).as_py() is not False)


def _first_misfit(column: pa.Array, dtype: FeatureType, wanted: pa.DataType) -> int:
    """The first row that cannot be cast on its own; null fits everywhere."""
    import pyarrow as pa

    for row in np.flatnonzero(valid_mask(column)).tolist():
        try:
            _cast(column.slice(row, 1), dtype, wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
            return row
    return 0


def check_default(field: Field, view: BaseFeatureView) -> None:
    """Check that a field's default is a value of its type (ONL-5).

    Raises:
        DefinitionTypeError: it is not.
    """
    if field.default_value is None:
        return
    import pyarrow as pa

    wanted, default = arrow_type(field.dtype), field.default_value
    try:
        kept = pa.scalar(default, wanted)
        # Arrow takes True for 1, 1.5 for 1 and large integers for the nearest float.
        fits = isinstance(default, bool) == pa.types.is_boolean(wanted)
        if isinstance(default, int) or pa.types.is_integer(wanted):
            fits = fits and kept.as_py() == default
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise DefinitionTypeError(
            f"{view.subject}: the default_value {default!r} of field {field.name!r} is no {field.dtype!r}",
            subject=view.subject,
            location=field.location or view.location,
            hint="pass a value of the field's type",
        )


def is_text(found: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    import pyarrow.types as pat

    return bool(pat.is_string(found) or pat.is_large_string(found) or pat.is_string_view(found))


def _is_binary(found: pa.DataType) -> bool:
    import pyarrow.types as pat

    return bool(pat.is_binary(found) or pat.is_large_binary(found) or pat.is_fixed_size_binary(found))


def _is_list(found: pa.DataType) -> bool:
    import pyarrow.types as pat

    return bool(pat.is_list(found) or pat.is_large_list(found) or pat.is_fixed_size_list(found))
