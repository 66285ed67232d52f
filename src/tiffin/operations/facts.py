"""Rows that were handed in, as facts: every one checked before any is used (WR-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import arrow_column, nullable_column, numpy_values, shown, single_chunk, valid_mask
from tiffin.definitions import FeatureView
from tiffin.errors import InputError, RequestError, TypeMismatchError, nearest
from tiffin.online.cells import check_cells
from tiffin.online.keys import cast_key_column
from tiffin.operations.entity_rows import time_us
from tiffin.operations.frames import view_columns
from tiffin.types import FeatureType, Float32, UnixTimestamp, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

#: The columns of facts that hold their times, int64 microseconds.
EVENT_COLUMN, KNOWN_COLUMN = "__event_us", "__known_us"


def checked_facts(view: FeatureView, table: pa.Table) -> pa.RecordBatch:
    """Rows as facts: join keys and features in their types, and the two times.

    A created time that is null is the event time.

    Raises:
        InputError: a column is missing, or a key or time is null; names row and column.
        TypeMismatchError: a value cannot be kept in its type; names row and column.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name, dtype in zip(view.join_keys, view.key_types, strict=True):
        column = _column(view, table, name, "a join key")
        if column.null_count:
            row = int(np.argmin(valid_mask(column)))
            raise InputError(f"row {row}: join key {name!r} is null", subject=name, hint="leave the row out")
        columns[name] = cast_key_column(column, _known(dtype, view), name)
    for field in view.features:
        column = cast_feature(_column(view, table, field.name, "a feature"), field.dtype, field.name)
        check_cells(column, field.dtype, field.name)
        columns[field.name] = column
    event, known = _times(view, table)
    columns[EVENT_COLUMN], columns[KNOWN_COLUMN] = arrow_column(event), arrow_column(known)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _times(view: FeatureView, table: pa.Table) -> tuple[Any, Any]:
    """The event and the known times of the rows."""
    sources = [source for source in (view.source, view.batch_source) if source is not None]
    time_column = next((s.timestamp_field for s in sources if s.timestamp_field), "") or "event_timestamp"
    created = next((s.created_timestamp_column for s in sources if s.created_timestamp_column), "")
    event = time_us(_column(view, table, time_column, "the time column"), time_column)
    if not created:
        return event, event
    column = _column(view, table, created, "the created column")
    if not column.null_count:
        return event, time_us(column, created)
    there = valid_mask(column)
    if not there.any():
        return event, event
    # Any time will do where there is none: it is not used, and the rows keep their numbers in messages.
    filled = column.fill_null("1970-01-01" if _is_text(column.type) else column.drop_null()[0])
    return event, np.where(there, time_us(filled, created), event)


def _known(dtype: FeatureType | None, view: FeatureView) -> FeatureType:
    if dtype is None:
        raise RequestError(
            f"the key types of {view.subject} are not known",
            subject=view.subject,
            location=view.location,
            hint="run `tiffin apply`",
        )
    return dtype


def _column(view: FeatureView, table: pa.Table, name: str, role: str) -> Any:
    """A column by the name that the source gives it, or by its own."""
    for candidate in view_columns(view, name):
        if candidate in table.column_names:
            return single_chunk(table[candidate])
    raise InputError(
        f"column {name!r} is missing, which is {role} of {view.subject}",
        subject=name,
        hint=nearest(name, table.column_names),
    )


def cast_feature(column: pa.Array, dtype: FeatureType, name: str) -> pa.Array:
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
    if dtype is UnixTimestamp and pa.types.is_timestamp(found) and found.unit == "ns":
        return nullable_column(numpy_values(column) // 1000, valid_mask(column), wanted)
    if dtype is UnixTimestamp and not (pa.types.is_temporal(found) or pa.types.is_null(found)):
        raise pa.ArrowInvalid("not a time")
    if pa.types.is_boolean(found) != (wanted == pa.bool_()) and not pa.types.is_null(found):
        raise pa.ArrowInvalid("a truth value is not a number")
    if _is_text(found) != _is_text(wanted) and not pa.types.is_null(found):
        raise pa.ArrowInvalid("text is not read as another type")
    if pa.types.is_floating(found) and pa.types.is_decimal(wanted):
        raise pa.ArrowInvalid("a float is not an exact decimal")
    cast = column.cast(wanted)
    if dtype is Float32 and not _same_infinities(column, cast):
        raise pa.ArrowInvalid("too large")
    return cast


def _is_text(arrow: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow))


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
