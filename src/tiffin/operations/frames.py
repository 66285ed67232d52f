"""Frames that hold Python objects, as Arrow columns of the types that a view declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tiffin.columns import python_column
from tiffin.definitions import FeatureView, TransformedFeatureView
from tiffin.errors import InputError, TypeMismatchError
from tiffin.online.defaults import NOT_STORABLE, storable
from tiffin.operations.entity_rows import to_table
from tiffin.types import Array, FeatureType, Json, Map, Set, Struct, TimeUuid, Uuid, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa


def facts_table(view: FeatureView, frame: Any) -> pa.Table:
    """A frame of facts as an Arrow table; the frame is not changed.

    Arrow guesses the type of a column of Python objects, and guesses a dict to be a struct and a set to be nothing. So
    the types of the view's columns decide here.

    Args:
        view: the view whose facts, or whose function's inputs, are expected.
        frame: a pandas or polars frame, an Arrow table, a list of dicts with the same keys, or columns.

    Raises:
        InputError: it is no frame, or rows have different columns, or columns different lengths.
        TypeMismatchError: a value does not fit its column; names row and column.
    """
    import pyarrow as pa

    given = view.input_schema if isinstance(view, TransformedFeatureView) and view.transforms_rows else None
    fields = view.payload if given is None else given
    types = {name: field.dtype for field in fields for name in view_columns(view, field.name)}
    if isinstance(frame, list) and all(isinstance(row, dict) for row in frame):
        columns = _columns_of(frame)
    elif isinstance(frame, Mapping):
        columns = {name: values if hasattr(values, "dtype") else list(values) for name, values in frame.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {count}" for name, count in lengths.items())
            raise InputError(f"the columns have different lengths: {found}", hint="give one value per row")
    elif type(frame).__module__.split(".")[0] == "pandas":
        objects = [name for name in frame.columns if name in types and frame[name].dtype == object]
        table = to_table(frame.drop(columns=objects)) if objects else to_table(frame)
        for name in objects:
            table = table.append_column(name, _array(frame[name].tolist(), types[name], name))
        return table
    else:
        return to_table(frame)
    return pa.table({name: _array(values, types.get(name), name) for name, values in columns.items()})


def view_columns(view: FeatureView, name: str) -> tuple[str, ...]:
    """The names under which a feature or key may come: those that the sources give it, and its own."""
    sources = [source for source in (view.source, view.batch_source) if source is not None]
    return tuple(dict.fromkeys([*(source.source_column(name) for source in sources), name]))


def _columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise InputError(
                f"row {number} has the columns {', '.join(row)}; row 0 has {', '.join(rows[0])}",
                hint="all rows need the same columns; use None for a missing value",
            )
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _array(values: Any, dtype: FeatureType | None, name: str) -> pa.Array:
    """Python values as a column."""
    import pyarrow as pa

    try:
        return _convert(values, dtype)
    except (pa.ArrowException, *NOT_STORABLE) as error:
        row, value = _first_misfit(values, dtype)
        kind = "one type with those before it" if dtype is None else repr(dtype)
        raise TypeMismatchError(f"row {row}: {value!r} in column {name!r} is not of {kind}", subject=name) from error


def _convert(values: Any, dtype: FeatureType | None) -> pa.Array:
    import pyarrow as pa

    if dtype is None or not _needs_python(dtype):
        return python_column(values) if isinstance(values, list) else pa.array(values, from_pandas=False)
    return pa.array([None if _is_gap(value) else storable(value, dtype) for value in values], arrow_type(dtype))


def _first_misfit(values: Any, dtype: FeatureType | None) -> tuple[int, Any]:
    """The first value that does not go together with those before it; there is one."""
    import pyarrow as pa

    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _convert(values[:middle], dtype)
            low = middle
        except (pa.ArrowException, *NOT_STORABLE):
            high = middle
    return low, values[low]


def _needs_python(dtype: FeatureType) -> bool:
    if isinstance(dtype, Array):
        return _needs_python(dtype.base_type)
    if isinstance(dtype, Set | Struct):
        return True
    return dtype in (Map, Json, Uuid, TimeUuid)


def _is_gap(value: Any) -> bool:
    """What pandas puts where a column of objects has no value."""
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"
