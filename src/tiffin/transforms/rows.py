"""Run the function of a view over rows of its source, before they are facts: for training, loading and pushing alike.

A row in gives one row out or none, whatever stands beside it (ODF-2). A query is computed row by row anyway. Of other
functions it is checked what shows in the result: no more rows than came in, none with times that no row had, and a row
in the middle gives alone what it gives among the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values, single_chunk, valid_mask
from tiffin.errors import FunctionError, TiffinError, nearest
from tiffin.planning.rows import outputs_of
from tiffin.transforms.column import Column
from tiffin.transforms.run import (
    arrow_of,
    broken,
    failed,
    listed,
    pandas_frame,
    polars_columns,
    typed,
    typed_arrow,
)
from tiffin.transforms.sql import run_query
from tiffin.types import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.definitions import TransformedFeatureView

Function = Callable[[Any], Any]

#: What to do about an input that is missing.
_REMEDY = "the source, and input_schema where it is declared, need to have"

#: Where an event time is null; no time is this.
_NULL = np.iinfo(np.int64).min


def transformed(view: TransformedFeatureView, table: pa.Table) -> pa.Table:
    """Rows of a source as the function of a view makes them.

    Args:
        view: the view, as it was applied; its function is one that this process knows by now.
        table: the columns of ``view.input_schema``, in their types.

    Returns:
        The join keys, the time columns, and what the view's features or aggregations read, in their types; no more
        rows than came in. The function is not called for no rows.

    Raises:
        FunctionError: the function fails, reads what is not declared, gives something else than it declares, or puts
            rows together.
    """
    if table.num_rows == 0:
        return _nothing(view)
    function = None if view.function is None else view.function.known
    if function is None and not view.sql:
        raise broken(view, "has not been looked for", "find it by find_row_functions() before its rows are read")
    made = _made(view, function, table)
    _check_times(view, table, made)
    if made.num_rows and table.num_rows > 1 and not (view.sql or view.singleton):
        _check_alone(view, made, _made(view, function, table.slice(table.num_rows // 2, 1)))
    return made


def _nothing(view: TransformedFeatureView) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: pa.array([], arrow_type(dtype)) for name, dtype in outputs_of(view).items()})


def _made(view: TransformedFeatureView, function: Function | None, table: pa.Table) -> pa.Table:
    """What the function gives, held to the declared columns and types."""
    import pyarrow as pa

    inputs = {item.name: Column(item.dtype, arrow=table[item.name]) for item in view.input_schema or ()}
    outputs = outputs_of(view)
    run = _RUNS["singleton" if view.singleton else str(view.mode)]
    try:
        given = run(view, function, inputs, table)
    except TiffinError as error:
        if isinstance(error, FunctionError) and not error.subject:
            raise broken(view, f"fails: {error.message}", "correct the query") from error
        raise
    except Exception as error:
        raise failed(view, error, list(inputs), inputs, _REMEDY) from error
    _check_names(view, given, outputs, inputs)
    columns: dict[str, Any] = {}
    for name, dtype in outputs.items():
        values = given[name]
        if isinstance(values, list | tuple):
            columns[name] = typed(view, name, dtype, values).arrow()
        else:
            columns[name] = typed_arrow(view, name, dtype, single_chunk(values))
    lengths = {name: len(column) for name, column in columns.items()}
    first, count = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != count:
            what = f"gives {length} values for {name!r} and {count} for {first!r}"
            raise broken(view, what, "give as many of each: one per row that is kept")
    if count > table.num_rows:
        hint = "a row gives one row or none; rows that belong together are combined by aggregations"
        raise broken(view, f"gives {count} rows for {table.num_rows}", hint)
    return pa.table(columns)


# --- Languages -------------------------------------------------------------------------------------------------------


def _singleton(
    view: TransformedFeatureView, function: Function | None, inputs: Mapping[str, Column], table: pa.Table
) -> Mapping[str, Any]:
    """A dict of values in, a dict of values or nothing out, for each row."""
    assert function is not None
    outputs = outputs_of(view)
    found: dict[str, list[Any]] = {name: [] for name in outputs}
    columns = [column.python() for column in inputs.values()]
    kept = [(values.append, name) for name, values in found.items()]
    checked: Any = None
    for number, values in enumerate(zip(*columns, strict=True)):
        try:
            given = function(dict(zip(inputs, values, strict=True)))
        except TiffinError:
            raise
        except Exception as error:
            shown = (*view.join_keys, view.time_columns[0])
            at = ", ".join(f"{name}={value}" for name, value in zip(inputs, values, strict=True) if name in shown)
            raise failed(view, error, list(inputs), inputs, _REMEDY, f" in row {number} ({at})") from error
        if given is None:
            continue
        if not isinstance(given, Mapping):
            what = f"gives a {type(given).__name__}, where a dict or None is expected"
            raise broken(view, what, "return {column: value}, or None to leave the row out")
        if given.keys() != checked:
            _check_names(view, given, outputs, inputs)
            checked = set(given)
        for keep, name in kept:
            keep(given[name])
    return found


def _python(
    view: TransformedFeatureView, function: Function | None, inputs: Mapping[str, Column], table: pa.Table
) -> Mapping[str, Any]:
    """A dict of lists in, a dict of lists out. The lists are copies: the function may change them."""
    assert function is not None
    given = function({name: list(column.python()) for name, column in inputs.items()})
    if not isinstance(given, Mapping):
        what = f"gives a {type(given).__name__}, where a dict is expected"
        raise broken(view, what, "return {column: values}, or declare singleton=True")
    outputs = outputs_of(view)
    return {name: listed(view, name, values) if name in outputs else () for name, values in given.items()}


def _pandas(
    view: TransformedFeatureView, function: Function | None, inputs: Mapping[str, Column], table: pa.Table
) -> Mapping[str, Any]:
    import pandas as pd

    assert function is not None
    given = function(pandas_frame(inputs, table.num_rows))
    if not isinstance(given, pd.DataFrame):
        raise broken(view, f"gives a {type(given).__name__}, where a DataFrame is expected", "return a DataFrame")
    if not given.columns.is_unique:
        twice = given.columns[given.columns.duplicated()][0]
        raise broken(view, f"gives two columns called {twice!r}", "give each column a name of its own")
    outputs = outputs_of(view)
    return {str(name): arrow_of(given[name]) if name in outputs else () for name in given.columns}


def _polars(
    view: TransformedFeatureView, function: Function | None, inputs: Mapping[str, Column], table: pa.Table
) -> Mapping[str, Any]:
    import polars as pl
    import pyarrow as pa

    assert function is not None
    frame = pl.from_arrow(pa.table({name: column.arrow() for name, column in inputs.items()}))
    return polars_columns(view, function(frame))


def _sql(
    view: TransformedFeatureView, function: Function | None, inputs: Mapping[str, Column], table: pa.Table
) -> Mapping[str, Any]:
    import pyarrow as pa

    rows = pa.table({name: column.arrow() for name, column in inputs.items()})
    given = run_query(view.sql, rows)
    return dict(zip(given.column_names, given.columns, strict=True))


_RUNS = {"singleton": _singleton, "python": _python, "pandas": _pandas, "polars": _polars, "sql": _sql}


# --- Promises --------------------------------------------------------------------------------------------------------


def _check_names(
    view: TransformedFeatureView, given: Mapping[str, Any], outputs: Mapping[str, Any], inputs: Mapping[str, Any]
) -> None:
    """Everything that is needed, and nothing that is unknown; inputs that are handed on are left out (ODF-1)."""
    for name in outputs:
        if name not in given:
            raise broken(view, f"does not give {name!r}, which is {_role(view, name)}", nearest(name, map(str, given)))
    unknown = [name for name in given if name not in outputs and name not in inputs]
    if unknown:
        where = "inputs" if view.aggregations else "schema"
        if view.aggregations and any(field.name == unknown[0] for field in view.features):
            hint = "aggregations are computed from what it gives"
        else:
            hint = f"do not return it, or declare it in {where} and use it"
        raise broken(view, f"gives {unknown[0]!r}, which nothing reads", hint)


def _role(view: TransformedFeatureView, name: str) -> str:
    if name in view.join_keys:
        return "a join key"
    if name in view.time_columns:
        return "a time column"
    return "read by aggregations" if view.aggregations else "a feature of its schema"


def _check_times(view: TransformedFeatureView, table: pa.Table, made: pa.Table) -> None:
    """No row with a time that no row had: windows, loads and late facts are decided by the times of the source."""
    for name in view.time_columns:
        if not name:
            continue
        before, after = (_times(rows[name]) for rows in (table, made))
        if len(before) == len(after) and np.array_equal(before, after):
            continue
        there, counts = np.unique(before, return_counts=True)
        found, wanted = np.unique(after, return_counts=True)
        places = np.minimum(np.searchsorted(there, found), len(there) - 1)
        strange = (there[places] != found) | (counts[places] < wanted)
        if strange.any():
            row = int(np.flatnonzero(after == found[np.argmax(strange)])[0])
            what = f"gives {made[name][row].as_py()} for {name!r}, which is not the time of the row that came in"
            raise broken(view, what, "hand the time columns on as they are")


def _times(column: Any) -> NDArray[np.int64]:
    column = single_chunk(column)
    return np.where(valid_mask(column), numpy_values(column), _NULL)


def _check_alone(view: TransformedFeatureView, made: pa.Table, alone: pa.Table) -> None:
    """A row that the function was given alone has to be among those that it gave for all rows."""
    if alone.num_rows == 0:
        return
    event = view.time_columns[0]
    same_time = np.flatnonzero(_times(made[event]) == _times(alone[event])[0])
    (wanted,) = alone.to_pylist()
    rivals = made.take(same_time).to_pylist()
    if repr(wanted) not in map(repr, rivals):
        other = next((name for name in wanted if rivals and repr(rivals[0][name]) != repr(wanted[name])), event)
        what = f"gives another {other!r} for a row among other rows than for the row alone: {wanted[other]!r} alone"
        raise broken(view, what, "compute each row from its own values; aggregations combine several rows")
