"""Rows that were handed in, as facts: every one checked before any is used (WR-6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, single_chunk, valid_mask
from tiffin.definitions import FeatureView
from tiffin.errors import InputError, nearest
from tiffin.online.cells import check_cells
from tiffin.online.keys import cast_key_column
from tiffin.operations.entity_rows import time_us
from tiffin.operations.frames import view_columns
from tiffin.planning.casting import cast_exactly, is_text

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns of facts that hold their times, int64 microseconds.
EVENT_COLUMN, KNOWN_COLUMN = "__event_us", "__known_us"


def checked_facts(view: FeatureView, table: pa.Table) -> pa.RecordBatch:
    """Rows as facts: join keys and the other columns in their types, and the two times.

    A created time that is null is the event time.

    Raises:
        InputError: a column is missing, or a key or time is null; names row and column.
        TypeMismatchError: a value cannot be kept in its type; names row and column.
    """
    import pyarrow as pa

    # A table makes its list of names anew each time it is asked.
    given = dict(zip(table.column_names, table.columns, strict=True))
    columns: dict[str, Any] = {}
    for name, dtype in zip(view.join_keys, view.known_key_types(), strict=True):
        column = _column(view, given, name, "a join key")
        if column.null_count:
            row = int(np.argmin(valid_mask(column)))
            raise InputError(f"row {row}: join key {name!r} is null", subject=name, hint="leave the row out")
        columns[name] = cast_key_column(column, dtype, name)
    role = "read by an aggregation" if view.aggregations else "a feature"
    for field in view.payload:
        column = cast_exactly(_column(view, given, field.name, role), field.dtype, field.name)
        check_cells(column, field.dtype, field.name)
        columns[field.name] = column
    event, known = _times(view, given)
    columns[EVENT_COLUMN], columns[KNOWN_COLUMN] = arrow_column(event), arrow_column(known)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _times(view: FeatureView, given: Mapping[str, Any]) -> tuple[Any, Any]:
    """The event and the known times of the rows."""
    time_column, created = view.time_columns
    event = time_us(_column(view, given, time_column, "the time column"), time_column)
    if not created:
        return event, event
    known, there = created_us(_column(view, given, created, "the created column"), created)
    return event, np.where(there, known, event)


def created_us(column: pa.Array, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A column of created times as int64 microseconds, and where it has one."""
    there = valid_mask(column)
    if not there.any():
        return np.zeros(len(column), np.int64), there
    if column.null_count:
        # Any time will do where there is none: it is not used, and the rows keep their numbers in messages.
        column = column.fill_null("1970-01-01" if is_text(column.type) else column.drop_null()[0])
    return time_us(column, name), there


def _column(view: FeatureView, given: Mapping[str, Any], name: str, role: str) -> Any:
    """A column by the name that the source gives it, or by its own."""
    for candidate in view_columns(view, name):
        if candidate in given:
            return single_chunk(given[candidate])
    raise InputError(
        f"column {name!r} is missing, which is {role} of {view.subject}",
        subject=name,
        hint=nearest(name, given),
    )
