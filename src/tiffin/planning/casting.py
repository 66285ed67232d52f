"""Which columns can be kept in which types, as far as the types alone tell (TYP-1).

A column that may hold a value that does not fit (int64 declared as Int32) is accepted here and checked value by value
when it is read. A wider float may be declared as a narrower one: then rounding is what was asked for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tiffin.definitions import FeatureView, Field
from tiffin.errors import DefinitionTypeError
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

    return bool(pat.is_timestamp(found) or pat.is_date(found) or (text and _is_text(found)))


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
    if dtype is Map:
        return bool(pat.is_map(found) and _is_text(found.key_type) and _is_text(found.item_type))
    return any(check(found) for check in _primitive_checks(dtype))


def _primitive_checks(dtype: FeatureType) -> tuple[Any, ...]:
    import pyarrow.types as pat

    text: tuple[Any, ...] = (_is_text,)
    integer: tuple[Any, ...] = (pat.is_integer,)
    number = (pat.is_integer, pat.is_floating, pat.is_decimal)
    checks: dict[FeatureType, tuple[Any, ...]] = {
        Bool: (pat.is_boolean,),
        Int32: integer,
        Int64: integer,
        Float32: number,
        Float64: number,
        String: (_is_text, pat.is_integer),
        Json: text,
        Uuid: text,
        TimeUuid: text,
        Bytes: (_is_binary,),
        PdfBytes: (_is_binary,),
        ImageBytes: (_is_binary,),
        UnixTimestamp: (pat.is_timestamp, pat.is_date, _is_text),
    }
    return checks.get(dtype, ())


def check_default(field: Field, view: FeatureView) -> None:
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


def _is_text(found: pa.DataType) -> bool:
    import pyarrow.types as pat

    return bool(pat.is_string(found) or pat.is_large_string(found) or pat.is_string_view(found))


def _is_binary(found: pa.DataType) -> bool:
    import pyarrow.types as pat

    return bool(pat.is_binary(found) or pat.is_large_binary(found) or pat.is_fixed_size_binary(found))


def _is_list(found: pa.DataType) -> bool:
    import pyarrow.types as pat

    return bool(pat.is_list(found) or pat.is_large_list(found) or pat.is_fixed_size_list(found))
