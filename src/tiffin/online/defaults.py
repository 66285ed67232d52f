"""Defaults of features: what takes the place of null, offline and online alike (ONL-5)."""

from __future__ import annotations

from decimal import Decimal as PyDecimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import numpy as np

from tiffin.columns import arrow_column, valid_mask
from tiffin.errors import TypeMismatchError
from tiffin.online.rows import RowReader, row_codec
from tiffin.time import from_us, to_us
from tiffin.types import (
    Array,
    Decimal,
    FeatureType,
    Json,
    Map,
    Set,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    arrow_type,
)

if TYPE_CHECKING:
    import pyarrow as pa

#: What ``storable`` raises for a value of another type.
NOT_STORABLE = (ArithmeticError, AttributeError, TypeError, ValueError, KeyError)


def default_column(default: Any, dtype: FeatureType, name: str) -> pa.Array:
    """A default as a column of one value in the feature's type.

    Raises:
        TypeMismatchError: the default cannot be kept in the type.
    """
    import pyarrow as pa

    try:
        return pa.array([storable(default, dtype)], arrow_type(dtype))
    except (pa.ArrowException, *NOT_STORABLE) as error:
        raise TypeMismatchError(
            f"default_value {default!r} of feature {name!r} cannot be kept as {dtype!r}",
            subject=name,
            hint="give a default of the feature's type",
        ) from error


def python_default(column: pa.Array, dtype: FeatureType) -> Any:
    """The Python object of a default, as a stored value of the type would come out."""
    import pyarrow as pa

    codec = row_codec((("default", repr(dtype)),))
    zero = np.zeros(1, np.int64)
    (row,) = codec.encode(pa.table({"default": column}), zero, zero)
    return RowReader(codec, [0]).values(row)[0]


def fill_nulls(column: pa.Array, default: pa.Array) -> pa.Array:
    """The column with a default in place of null; of any type, nested ones included."""
    import pyarrow as pa

    if not column.null_count:
        return column
    take = np.arange(len(column))
    take[~valid_mask(column)] = len(column)
    return pa.concat_arrays([column, default]).take(arrow_column(take))


def storable(value: Any, dtype: FeatureType) -> Any:
    """A Python value of a type in the form that Arrow takes: JSON as text, sets as lists, maps as pairs."""
    if value is None:
        return None
    if isinstance(dtype, Array | Set):
        return [storable(item, dtype.base_type) for item in value]
    if isinstance(dtype, Struct):
        if value.keys() - dtype.fields.keys():
            raise KeyError(f"{dtype!r} has no {', '.join(value.keys() - dtype.fields.keys())}")
        return {name: storable(value.get(name), part) for name, part in dtype.fields.items()}
    if dtype is Map:
        return list(value.items())
    if dtype is UnixTimestamp:
        return from_us(to_us(value))
    if dtype is Decimal:
        return PyDecimal(str(value))
    if dtype in (Uuid, TimeUuid):
        return str(UUID(str(value)))
    if dtype is Json:
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return value
