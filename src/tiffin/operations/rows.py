"""Rows that are handed in, as facts: through the function of their view where it has one, checked, none too far ahead.

A function gets the same columns in the same types as from the source (``input_schema``), so that a row that is pushed
and a row that is read from the history become the same facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, nullable_column, numpy_values, single_chunk
from tiffin.definitions import BaseFeatureView, FeatureView, TransformedFeatureView
from tiffin.errors import InputError, UnsupportedError, nearest
from tiffin.online.keys import cast_key_column
from tiffin.operations.entity_rows import time_us
from tiffin.operations.expectations import Guard
from tiffin.operations.facts import EVENT_COLUMN, checked_facts, created_us
from tiffin.operations.frames import facts_table, view_columns
from tiffin.operations.functions import find_row_functions
from tiffin.planning.casting import cast_exactly
from tiffin.transforms.rows import transformed
from tiffin.types import KEY_TYPES, UnixTimestamp, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.definitions import Field
    from tiffin.operations.context import Context
    from tiffin.operations.quarantine import Places


def prepare_rows(ctx: Context, views: Iterable[BaseFeatureView]) -> None:
    """Get ready to read the rows of some views from their sources, with the functions that they go through.

    Raises:
        FunctionError: a function is not found, or it is another one than was applied.
        UnsupportedError: the offline engine runs no functions.
    """
    views = [view for view in views if isinstance(view, FeatureView) and view.transforms_rows]
    engine = ctx.offline.capabilities if views else None
    if engine is not None and not engine.row_functions:
        raise UnsupportedError(
            f"{views[0].subject}: its rows go through a function, which the {engine.name} engine does not run",
            subject=views[0].subject,
            location=views[0].location,
            hint="use offline_store: duckdb, or compute the columns in the source",
        )
    find_row_functions(ctx, views)


def checked_rows(ctx: Context, view: FeatureView, df: Any) -> tuple[pa.RecordBatch, NDArray[np.bool_]]:
    """Rows that are handed in for a view, every one checked (WR-6).

    Returns:
        The facts, without those that are too far ahead of now; and (rows,) which of the rows are (WR-5).

    Raises:
        InputError: a column is missing, a key or time is null; names row and column.
        TypeMismatchError: a value cannot be kept in its type; names row and column.
        FunctionError: the function of the view is not found, fails, or breaks a promise.
    """
    import pyarrow as pa

    table = facts_table(view, df)
    if not isinstance(view, TransformedFeatureView) or not view.transforms_rows:
        facts = checked_facts(view, table)
        ahead = _far_ahead(ctx, numpy_values(facts.column(EVENT_COLUMN)))
        return facts.filter(pa.array(~ahead)) if ahead.any() else facts, ahead
    find_row_functions(ctx, [view])
    given = {field.name: _input(view, table, field) for field in view.input_schema or ()}
    facts = checked_facts(view, transformed(view, pa.table(given)))
    # A function drops rows, and never changes a time: which facts are ahead can be seen from each itself.
    kept = ~_far_ahead(ctx, numpy_values(facts.column(EVENT_COLUMN)))
    return facts.filter(pa.array(kept)), _far_ahead(ctx, numpy_values(given[view.time_columns[0]]))


@dataclass(frozen=True)
class CheckedFacts:
    """Rows of a view as facts that are held to what is expected of them; none is written yet (WR-6).

    Attributes:
        view: the view.
        batch: the facts that go on.
        ahead: (rows,) which of the rows are too far ahead of now (WR-5).
        apart: the numbers of the rows that are put apart; none where a function makes facts of rows, since it cannot be
            told then which row is wrong.
        guard: what has checked them, and has those that are put apart.
    """

    view: FeatureView
    batch: pa.RecordBatch
    ahead: NDArray[np.bool_]
    apart: NDArray[np.int64]
    guard: Guard

    @classmethod
    def of(cls, ctx: Context, view: FeatureView, df: Any, places: Places | None = None) -> CheckedFacts:
        """Check rows.

        Args:
            ctx: the opened project.
            view: the view.
            df: the rows.
            places: of messages of a stream, where they stand. They come in batches that mean nothing, and some of them
                twice, so that nothing is expected of them as a whole.

        Raises:
            InputError: a column is missing, a key or time is null, or a value does not fit its type.
            ExpectationError: a fact is not as expected, and keeps all from being written.
            FunctionError: as ``checked_rows`` says.
        """
        facts, ahead = checked_rows(ctx, view, df)
        guard = Guard(ctx, view, places=places)
        numbers = None if view.transforms_rows else np.flatnonzero(~ahead)
        batch, good = guard.take(facts, numbers)
        if places is None:
            guard.judge()
        apart = np.empty(0, np.int64) if numbers is None else numbers[~good]
        return cls(view, batch, ahead, apart, guard)


def _far_ahead(ctx: Context, times_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether each event time is too far ahead of now (WR-5)."""
    ahead: NDArray[np.bool_] = times_us > ctx.now_us() + ctx.max_future_skew_us
    return ahead


def _input(view: TransformedFeatureView, table: pa.Table, field: Field) -> pa.Array:
    """One column of what the function gets, by the name that the source gives it or by its own."""
    name = next((each for each in view_columns(view, field.name) if each in table.column_names), None)
    if name is None:
        raise InputError(
            f"column {field.name!r} is missing, which the function of {view.subject} gets",
            subject=field.name,
            hint=nearest(field.name, table.column_names)
            or "hand it in, or declare input_schema= with the columns that the function needs",
        )
    column = single_chunk(table[name])
    event, created = view.time_columns
    if field.name == event:
        return arrow_column(time_us(column, name), arrow_type(UnixTimestamp))
    if field.name == created:
        return nullable_column(*created_us(column, name), arrow_type(UnixTimestamp))
    if field.name in view.join_keys and field.dtype in KEY_TYPES:
        return cast_key_column(column, field.dtype, field.name)
    return cast_exactly(column, field.dtype, field.name)
