"""A column of values in the forms that functions work on: Python objects, Arrow, and what pandas has in a frame."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import pandas_type, single_chunk
from tiffin.errors import TypeMismatchError
from tiffin.online.cells import check_cells
from tiffin.online.defaults import NOT_STORABLE, storable
from tiffin.online.rows import RowReader, row_codec
from tiffin.types import Array, Bool, FeatureType, Float32, Float64, Int32, Int64, Set, String, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

#: Types whose values are the same Python objects in Arrow as everywhere.
_EXACT: dict[FeatureType, type] = {Int32: int, Int64: int, Float32: float, Float64: float, Bool: bool, String: str}
_LIMITS: dict[FeatureType, int] = {Int32: 1 << 31, Int64: 1 << 63}
_NOT_KEPT = (*NOT_STORABLE, TypeMismatchError)
_FLOAT32 = struct.Struct("<f")


class Column:
    """Values of one type; each form is made from the other when it is first asked for.

    Args:
        dtype: the type.
        python: the values as an online answer gives them, ``None`` for null.
        arrow: the values in the type of ``arrow_type``.
    """

    __slots__ = ("_arrow", "_python", "dtype")

    def __init__(
        self,
        dtype: FeatureType,
        *,
        python: Sequence[Any] | None = None,
        arrow: pa.Array | pa.ChunkedArray | None = None,
    ) -> None:
        self.dtype = dtype
        self._python = python
        self._arrow = arrow

    def python(self) -> Sequence[Any]:
        """The values as Python objects."""
        if self._python is None:
            self._python = _python_values(single_chunk(self._arrow), self.dtype)
        return self._python

    def arrow(self) -> pa.Array:
        """The values as an Arrow array."""
        if self._arrow is None:
            self._arrow = _arrow_values(self._python or (), self.dtype)
        return single_chunk(self._arrow)

    def pandas(self) -> Any:
        """The values as a frame made by Arrow would have them: an array of its own each time, or a series.

        A few Python objects are not worth the way through Arrow, which costs a millisecond for a frame.
        """
        make = _PANDAS.get(self.dtype)
        if make is not None and self._arrow is None and self._python is not None:
            return make(self._python)
        return _as_in_a_frame(self.arrow())


def _as_in_a_frame(column: pa.Array) -> Any:
    """Arrow's ``to_pandas``; of a table, since that of an array finds no type for texts that are all null."""
    import pyarrow as pa

    return pa.table([column], ["_"]).to_pandas(types_mapper=pandas_type)["_"]


def _masked(name: str, numpy_type: Any) -> Callable[[Sequence[Any]], Any]:
    """Makes one of pandas' arrays that keep nulls apart from the values."""

    def make(values: Sequence[Any]) -> Any:
        import pandas as pd

        null = np.array([value is None for value in values], np.bool_)
        there = np.array([0 if value is None else value for value in values] if null.any() else values, numpy_type)
        return getattr(pd.arrays, name)(there, null)

    return make


def _floats(numpy_type: Any) -> Callable[[Sequence[Any]], Any]:
    """Makes an array of numpy, with NaN for null, as pandas has it."""
    return lambda values: np.array([np.nan if value is None else value for value in values], numpy_type)


def _texts(values: Sequence[Any]) -> Any:
    import pandas as pd

    dtype = _text_type()
    return np.array(values, object) if dtype.name == "object" else pd.array(values, dtype=dtype)


@cache
def _text_type() -> Any:
    """What this pandas makes of Arrow's texts: objects up to version 2, a type of its own from 3 on."""
    import pyarrow as pa

    return _as_in_a_frame(pa.array(["text"])).dtype


_PANDAS: dict[FeatureType, Callable[[Sequence[Any]], Any]] = {
    Int32: _masked("IntegerArray", np.int32),
    Int64: _masked("IntegerArray", np.int64),
    Bool: _masked("BooleanArray", np.bool_),
    Float32: _floats(np.float32),
    Float64: _floats(np.float64),
    String: _texts,
}


class Misfit(ValueError):
    """A value is not of the type that it is held to."""

    def __init__(self, row: int, value: object) -> None:
        super().__init__(row, value)
        self.row = row
        self.value = value


def held_to(values: Sequence[Any], dtype: FeatureType) -> Column:
    """Python objects as a column of a type; the common case is decided without Arrow.

    An integer may stand for a float, and a number of numpy for a number; nothing else is converted.

    Raises:
        Misfit: a value is not of the type.
    """
    exact = _EXACT.get(dtype)
    if exact is None:
        return Column(dtype, arrow=_arrow_values(values, dtype))
    if not {type(value) for value in values} <= {exact, type(None)}:
        values = [_plain(row, value, exact) for row, value in enumerate(values)]
    if dtype in _LIMITS:
        limit = _LIMITS[dtype]
        numbers = [value for value in values if value is not None]
        if numbers and not -limit <= min(numbers) <= max(numbers) < limit:
            raise Misfit(*next((row, v) for row, v in enumerate(values) if v is not None and not -limit <= v < limit))
    if dtype is Float32:
        values = [None if value is None else _rounded(value) for value in values]
    return Column(dtype, python=values)


def _plain(row: int, value: Any, exact: type) -> Any:
    """A value as the plain Python type, where it is the same one."""
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ == "NAType":
        return None
    if exact is float and type(value) is int:
        return float(value)
    if type(value) is not exact:
        raise Misfit(row, value)
    return value


def _rounded(value: float) -> float:
    """The value as 32 bits hold it; too large becomes infinite, as in a column of such numbers."""
    try:
        rounded: float = _FLOAT32.unpack(_FLOAT32.pack(value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return rounded


def _arrow_values(values: Sequence[Any], dtype: FeatureType) -> pa.Array:
    try:
        return _kept(values, dtype)
    except _NOT_KEPT as error:
        for row, value in enumerate(values):
            try:
                _kept([value], dtype)
            except _NOT_KEPT:
                raise Misfit(row, value) from error
        raise


def _kept(values: Sequence[Any], dtype: FeatureType) -> pa.Array:
    """Python objects as the store would keep them."""
    import pyarrow as pa

    try:
        given = values if dtype in _EXACT else [storable(value, dtype) for value in values]
        column = pa.array(given, arrow_type(dtype))
    except pa.ArrowException as error:
        raise TypeError(str(error)) from error
    check_cells(column, dtype, "value")
    return column


def _python_values(column: pa.Array, dtype: FeatureType) -> list[Any]:
    """The objects that an online answer would give for these values: they go through the same bytes."""
    import pyarrow as pa

    part = dtype.base_type if isinstance(dtype, Array) else dtype
    if not isinstance(part, Array | Set) and part in _EXACT:
        values: list[Any] = column.to_pylist()
        return values
    codec = row_codec((("value", repr(dtype)),))
    zeros = np.zeros(len(column), np.int64)
    return RowReader(codec, [0]).columns(codec.encode(pa.table({"value": column}), zeros, zeros))[0]
