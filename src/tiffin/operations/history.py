"""Rows on their way to the history of a view: the columns of its source, in its types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tiffin.columns import single_chunk, valid_mask
from tiffin.definitions import DataSource, FeatureView
from tiffin.errors import InputError, RequestError, TypeMismatchError, nearest

if TYPE_CHECKING:
    import pyarrow as pa


def appendable_history(view: FeatureView) -> DataSource:
    """Where facts are appended to the history of a view.

    Raises:
        RequestError: it has none.
    """
    if view.batch_source is None:
        raise RequestError(
            f"{view.subject} has no history to append to",
            subject=view.subject,
            location=view.location,
            hint="give its source a batch_source",
        )
    return view.batch_source


def source_rows(source: DataSource, table: pa.Table, schema: Mapping[str, pa.DataType]) -> pa.Table:
    """Rows with the columns of the source, in its types; a column that is not given is null.

    Raises:
        InputError: a column that the source does not have.
        TypeMismatchError: a value that its column cannot hold; names row and column.
    """
    import pyarrow as pa

    given = {column: column for column in table.column_names}
    given |= {column: name for column, name in source.mapping.items() if name in table.column_names}
    unknown = set(table.column_names) - set(schema) - set(source.mapping.values())
    if unknown:
        name = min(unknown)
        raise InputError(f"{source.subject} has no column {name!r}", subject=name, hint=nearest(name, schema))
    columns = {}
    for name, wanted in schema.items():
        if name not in given or given[name] not in table.column_names:
            columns[name] = pa.nulls(table.num_rows, wanted)
            continue
        columns[name] = _cast(single_chunk(table[given[name]]), wanted, name)
    return pa.table(columns)


def _cast(column: pa.Array, wanted: pa.DataType, name: str) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(column.type) and column.type.tz is None and wanted.tz:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    if pa.types.is_map(column.type) and pa.types.is_struct(wanted):
        column = _struct_of_map(column, wanted, name)
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        row = next((i for i, there in enumerate(valid_mask(column)) if there and not _fits(column[i], wanted)), 0)
        raise TypeMismatchError(
            f"row {row}: the value in column {name!r} ({column.type}) does not fit the source's type {wanted}",
            subject=name,
            hint="push values of the types that the source has",
        ) from error


def _struct_of_map(column: pa.Array, wanted: pa.DataType, name: str) -> pa.Array:
    """Maps as the structs of text that a source may hold them as."""
    import pyarrow as pa

    parts = [part.name for part in wanted]
    rows = [None if value is None else dict(value) for value in column.to_pylist()]
    for number, row in enumerate(rows):
        for key in row or ():
            if key not in parts:
                raise TypeMismatchError(
                    f"row {number}: the source's column {name!r} has no part {key!r}",
                    subject=name,
                    hint=nearest(key, parts),
                )
    return pa.array(rows, pa.struct([(part, pa.string()) for part in parts]))


def _fits(value: Any, wanted: pa.DataType) -> bool:
    import pyarrow as pa

    try:
        value.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return False
    return True
