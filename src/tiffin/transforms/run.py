"""Run the function of an on-demand view over some rows (ODF-1 to ODF-3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tiffin.definitions.on_demand import asks_for_now
from tiffin.errors import FunctionError, TiffinError, nearest
from tiffin.planning.casting import cast_exactly
from tiffin.time import from_us
from tiffin.transforms.column import Column, Misfit, held_to

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tiffin.definitions import BaseFeatureView, OnDemandFeatureView
    from tiffin.planning.references import ComputedView
    from tiffin.types import FeatureType

Function = Callable[..., Any]

#: The column of a frame that has no other, so that it has rows.
_FILLER = "_"


def compute(
    computed: ComputedView, function: Function, inputs: Sequence[Column], now_us: Sequence[int], count: int
) -> list[Column]:
    """The features of an on-demand view.

    Args:
        computed: the view and what it reads.
        function: its function.
        inputs: the values of ``computed.inputs``, each of length ``count``.
        now_us: the time of each row.
        count: how many rows.

    Returns:
        The view's features, in schema order. The function is not called for no rows.

    Raises:
        FunctionError: the function fails, reads what is not declared, or gives something else than it declares.
    """
    view = computed.view
    if count == 0:
        return [held_to([], field.dtype) for field in view.features]
    named = {name: inputs[number] for name, number in computed.columns}
    rows = _Rows(named, now_us, count)
    run = _row_by_row if view.singleton else _lists if view.mode == "python" else _frame
    try:
        return run(computed, function, rows)
    except TiffinError:
        raise
    except Exception as error:
        raise failed(view, error, [item.names[0] for item in computed.inputs], named) from error


@dataclass(frozen=True)
class _Rows:
    """What a function is run over.

    Attributes:
        inputs: its inputs, under each of their names.
        now_us: the time of each row.
        count: how many rows.
    """

    inputs: Mapping[str, Column]
    now_us: Sequence[int]
    count: int

    def moments(self) -> list[datetime]:
        """The time of each row, aware and in UTC."""
        return [from_us(us) for us in self.now_us]

    def moments_arrow(self) -> pa.Array:
        """The same as Arrow has it."""
        import pyarrow as pa

        return pa.array(self.now_us, pa.timestamp("us", "UTC"))


# --- Python ----------------------------------------------------------------------------------------------------------


def _row_by_row(computed: ComputedView, function: Function, rows: _Rows) -> list[Column]:
    """A dict of values in, a dict of values out, for each row."""
    columns = [column.python() for column in rows.inputs.values()]
    wants_now = asks_for_now(function)
    found = []
    for number, values in enumerate(zip(*columns, strict=True) if columns else [()] * rows.count):
        row = dict(zip(rows.inputs, values, strict=True))
        given = function(row, from_us(rows.now_us[number])) if wants_now else function(row)
        found.append(_checked_names(computed, given, rows.inputs))
    return [
        typed(computed.view, field.name, field.dtype, [row[field.name] for row in found]) for field in computed.features
    ]


def _lists(computed: ComputedView, function: Function, rows: _Rows) -> list[Column]:
    """A dict of lists in, a dict of lists out. The lists are copies: the function may change them."""
    given = {name: list(column.python()) for name, column in rows.inputs.items()}
    arguments = [given, rows.moments()] if asks_for_now(function) else [given]
    view = computed.view
    found = _checked_names(computed, function(*arguments), rows.inputs)
    columns = []
    for field in computed.features:
        values = listed(view, field.name, found[field.name])
        _check_count(view, field.name, len(values), rows.count)
        columns.append(typed(view, field.name, field.dtype, values))
    return columns


def listed(view: BaseFeatureView, name: str, values: Any) -> Sequence[Any]:
    """The values that a function gave for a column, which have to be a list."""
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, list | tuple):
        hint = "give a list with one value per row, or declare singleton=True"
        raise broken(view, f"gives {values!r} for {name!r}, where a list is expected", hint)
    return values


def _checked_names(computed: ComputedView, given: Any, inputs: Collection[str]) -> Mapping[str, Any]:
    """What a function gave, when it is what it declares: inputs that it hands on are left out."""
    if not isinstance(given, Mapping):
        what = f"gives a {type(given).__name__}, where a dict is expected"
        raise broken(computed.view, what, "return {feature: values}")
    if given.keys() != computed.declared:
        _check_names(computed, given.keys(), inputs)
    return given


def typed(view: BaseFeatureView, name: str, dtype: FeatureType, values: Sequence[Any]) -> Column:
    """The values of a column, held to its type."""
    try:
        return held_to(values, dtype)
    except Misfit as misfit:
        given = f"{misfit.value!r} ({type(misfit.value).__name__})"
        what = f"gives {given} for {name!r} in row {misfit.row}, which is no {dtype!r}"
        hint = "convert it in the function, or declare the field with its type"
        raise broken(view, what, hint) from None


# --- Frames ----------------------------------------------------------------------------------------------------------


def _frame(computed: ComputedView, function: Function, rows: _Rows) -> list[Column]:
    """A pandas or polars frame in, one of the same kind and length out."""
    view = computed.view
    found = (_polars if view.mode == "polars" else _pandas)(view, function, rows)
    _check_names(computed, found.keys(), [*rows.inputs, _FILLER])
    columns = []
    for field in computed.features:
        values = found[field.name]
        _check_count(view, field.name, len(values), rows.count)
        columns.append(Column(field.dtype, arrow=typed_arrow(view, field.name, field.dtype, values)))
    return columns


def typed_arrow(view: BaseFeatureView, name: str, dtype: FeatureType, values: pa.Array) -> pa.Array:
    """The values of a column of a frame, held to its type."""
    try:
        return cast_exactly(values, dtype, name)
    except TiffinError as error:
        hint = "convert it in the function, or declare the field with its type"
        raise broken(view, f"gives something else than it declares: {error.message}", hint) from None


def _pandas(view: OnDemandFeatureView, function: Function, rows: _Rows) -> dict[str, Any]:
    import pandas as pd

    frame = pandas_frame(rows.inputs, rows.count)
    index = frame.index
    given = function(frame, rows.moments_arrow().to_pandas()) if asks_for_now(function) else function(frame)
    if not isinstance(given, pd.DataFrame):
        raise broken(view, f"gives a {type(given).__name__}, where a DataFrame is expected", "return a DataFrame")
    _check_count(view, "its frame", len(given), len(index))
    if not given.index.equals(index):
        if not given.index.sort_values().equals(index):
            hint = "keep the index of the frame that comes in"
            raise broken(view, "gives rows with another index, so they cannot be told apart", hint)
        given = given.loc[index]
    wanted = {field.name for field in view.features}
    return {str(name): arrow_of(given[name]) if name in wanted else None for name in given.columns}


def pandas_frame(columns: Mapping[str, Column], count: int) -> pd.DataFrame:
    """Some columns as a frame, which has ``count`` rows even without any."""
    import pandas as pd

    made = {name: column.pandas() for name, column in columns.items()}
    # The arrays are nobody else's, so the frame may have them.
    return pd.DataFrame(made or {_FILLER: [None] * count}, copy=False)


def arrow_of(series: Any) -> pa.Array:
    """A series of pandas as Arrow; what is missing there is null here."""
    import pyarrow as pa

    array = series.array
    return pa.array(array) if hasattr(array, "__arrow_array__") else pa.Array.from_pandas(series)


def _polars(view: OnDemandFeatureView, function: Function, rows: _Rows) -> dict[str, Any]:
    import polars as pl
    import pyarrow as pa

    arrays = {name: column.arrow() for name, column in rows.inputs.items()}
    frame = pl.from_arrow(pa.table(arrays or {_FILLER: pa.nulls(rows.count)}))
    given = function(frame, pl.from_arrow(rows.moments_arrow())) if asks_for_now(function) else function(frame)
    return polars_columns(view, given)


def polars_columns(view: BaseFeatureView, given: Any) -> dict[str, pa.Array]:
    """The columns of what a function gave, which may be lazy."""
    import polars as pl

    if isinstance(given, pl.LazyFrame):
        given = given.collect()
    if not isinstance(given, pl.DataFrame):
        raise broken(view, f"gives a {type(given).__name__}, where a DataFrame is expected", "return a DataFrame")
    return {name: given[name].to_arrow() for name in given.columns}


# --- Promises --------------------------------------------------------------------------------------------------------


def _check_names(computed: ComputedView, given: Any, inputs: Collection[str]) -> None:
    view, declared = computed.view, computed.declared
    for name in declared:
        if name not in given:
            raise broken(view, f"does not give {name!r}, which its schema declares", nearest(name, map(str, given)))
    if len(given) > len(declared):
        unknown = [name for name in given if name not in declared and name not in inputs]
        if unknown:
            hint = f"declare Field(name={unknown[0]!r}, ...) in its schema, or do not return it"
            raise broken(view, f"gives {unknown[0]!r}, which its schema does not declare", hint)


def _check_count(view: OnDemandFeatureView, what: str, found: int, count: int) -> None:
    if found != count:
        raise broken(view, f"gives {found} values for {what!r}, where {count} are expected", "give one per row")


def broken(view: BaseFeatureView, what: str, hint: str) -> FunctionError:
    """The error for a function that does not keep a promise."""
    return FunctionError(
        f"the function of {view.subject} {what}", subject=view.subject, location=view.location, hint=hint
    )


def failed(
    view: BaseFeatureView,
    error: Exception,
    names: Sequence[str],
    there: Collection[str],
    remedy: str = "add the view or request source that has",
    at: str = "",
) -> FunctionError:
    """An error of the user's own; a missing column is told by the names that are there.

    Args:
        view: the view that has the function.
        error: what it raised.
        names: its inputs, as people know them.
        there: all names of its inputs.
        remedy: what to do about a missing one.
        at: the row at which it was raised, where that is known.
    """
    missing = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(missing, str) and missing not in there:
        near = nearest(missing, there)
        hint = f"{near + '; ' if near else ''}it gets {', '.join(names)}; {remedy} {missing!r}"
        return broken(view, f"reads {missing!r}, which none of its sources has", hint)
    return broken(view, f"fails{at}: {type(error).__name__}: {error}", "its own error is the cause of this one")
