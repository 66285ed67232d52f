"""Facts from the bodies of requests: the forms that JSON has for values, as the values."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from decimal import Decimal as PyDecimal
from typing import Any

from tiffin.definitions import FeatureView
from tiffin.errors import InputError, TypeMismatchError
from tiffin.online.defaults import NOT_STORABLE
from tiffin.operations.frames import view_columns
from tiffin.server.bodies import Columns, Rows
from tiffin.time import from_us, to_us
from tiffin.types import Array, Bytes, Decimal, FeatureType, Float32, Float64, Set, UnixTimestamp

_FLOATS = ("NaN", "Infinity", "-Infinity")


def columns_of(rows: Rows | None, columns: Columns | None) -> Columns:
    """Rows or columns as columns.

    Raises:
        InputError: both are given, or none; or rows have different columns.
    """
    if (rows is None) == (columns is None):
        raise InputError("give one of rows and columns", hint='{"rows": [{"driver_id": 1001, ...}]}')
    if rows is None:
        assert columns is not None
        return columns
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise InputError(
                f"row {number} has the columns {', '.join(row)}; row 0 has {', '.join(rows[0])}",
                hint="all rows need the same columns; use null for a missing value",
            )
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def typed_columns(views: Iterable[FeatureView], columns: Columns) -> Columns:
    """Columns with values in place of the texts that JSON has for them.

    Raises:
        TypeMismatchError: a text does not stand for a value of its type; names row and column.
    """
    types: dict[str, FeatureType] = {}
    for view in views:
        keys = zip(view.join_keys, view.key_types, strict=True)
        named = [*((f.name, f.dtype) for f in view.features), *((n, t) for n, t in keys if t is not None)]
        types |= {column: dtype for name, dtype in named for column in view_columns(view, name)}
    return {
        name: _typed(cells, types[name], name) if name in types and _has_texts(types[name]) else cells
        for name, cells in columns.items()
    }


def _has_texts(dtype: FeatureType) -> bool:
    if isinstance(dtype, Array | Set):
        return _has_texts(dtype.base_type)
    return dtype in (Bytes, Decimal, Float32, Float64, UnixTimestamp)


def _typed(cells: list[Any], dtype: FeatureType, name: str) -> list[Any]:
    found = []
    for number, cell in enumerate(cells):
        try:
            found.append(_value(cell, dtype))
        except NOT_STORABLE as error:
            raise TypeMismatchError(
                f"row {number}: {cell!r} in column {name!r} is not of {dtype!r}", subject=name
            ) from error
    return found


def _value(cell: Any, dtype: FeatureType) -> Any:
    if isinstance(cell, list) and isinstance(dtype, Array | Set):
        return [_value(item, dtype.base_type) for item in cell]
    if not isinstance(cell, str):
        return cell
    if dtype is Bytes:
        return base64.b64decode(cell, validate=True)
    if dtype is Decimal:
        return PyDecimal(cell)
    if dtype is UnixTimestamp:
        return from_us(to_us(cell))
    return float(cell) if cell in _FLOATS else cell
