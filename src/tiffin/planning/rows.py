"""Views whose rows go through a function: what it gets, and what is known of what it gives.

A function is never run to find that out (ODF-3). Its inputs are the columns of the source; its outputs are declared, or
are called like a column of the source and have its type; only a query says by itself which types it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tiffin.definitions import DataSource, Entity, FeatureView, Field, TransformedFeatureView
from tiffin.errors import DefinitionError, FunctionError, SourceError, UnsupportedError, nearest
from tiffin.planning.casting import can_keep
from tiffin.types import FeatureType, Int32, Int64, UnixTimestamp, arrow_type, from_arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    Columns = Mapping[str, pa.DataType]


def outputs_of(view: FeatureView) -> dict[str, FeatureType]:
    """What the function of a view that has been applied has to give: join keys, times, and what is read of the rest."""
    event, created = view.time_columns
    keys = {key: dtype for key, dtype in zip(view.join_keys, view.key_types, strict=True) if dtype is not None}
    times = {name: UnixTimestamp for name in (event, created) if name}
    return keys | times | {field.name: field.dtype for field in view.payload}


def given_columns(view: TransformedFeatureView, rows: Columns) -> Columns:
    """The columns that the function of a view gives, as far as they are known.

    Args:
        view: the view as declared.
        rows: the columns of its source.

    Raises:
        DefinitionError: its query is none over single rows, or does not fit the source.
    """
    declared = view.entity_columns if view.aggregations else view.schema or ()
    keys = {entity.join_key: entity.key_type for entity in view.entity_list}
    types = {field.name: field.dtype for field in (*declared, *(view.inputs or ()))}
    types = {name: dtype for name, dtype in keys.items() if dtype is not None} | types
    if not view.sql:
        return {**rows, **{name: type_ for name, dtype in types.items() if (type_ := _arrow(dtype)) is not None}}
    from tiffin.transforms.sql import query_columns

    try:
        return query_columns(view.sql, {field.name: arrow_type(field.dtype) for field in _inputs(view, rows)})
    except (DefinitionError, FunctionError) as error:
        raise view.error(f"{view.subject}: {error.message}", hint=error.hint) from error


def resolve_rows(
    view: TransformedFeatureView,
    source: DataSource | None,
    rows: Columns,
    given: Columns,
    entities: Mapping[str, Entity],
) -> TransformedFeatureView:
    """The view with the columns that its function gets.

    Args:
        view: the view.
        source: where its history is read from; ``None`` when facts are only pushed.
        rows: the columns of the source, under the names that features have.
        given: what is known of the columns that the function gives.
        entities: its entities by join key, with the types of their keys.

    Raises:
        DefinitionError: the columns are not known, the features not declared, or the function reads the clock.
        SourceError: a declared column is not there.
    """
    clock = view.function.clock_call if view.function is not None else ""
    if clock:
        hint = "compute from the times of the row; the same row has to give the same whenever it is read"
        raise view.error(f"the function of {view.subject} reads the clock: {clock}", hint=hint)
    if source is None and view.input_schema is None:
        hint = "pass input_schema=[Field(...)], what the function gets; or give the source a batch_source"
        raise view.error(f"{view.subject} has a function, and its source has no columns to read", hint=hint)
    if view.schema is None and not view.aggregations and not view.sql:
        hint = "pass schema=[Field(...)], the features that the function computes"
        raise view.error(f"{view.subject} has a function and no schema", hint=hint)
    if view.sql:
        given = given if source is not None else given_columns(view, rows)
        for name in view.time_columns:
            if name and name not in given:
                hint = "every row keeps its times: select the column as it is"
                raise view.error(f"{view.subject}: its query does not give the time column {name!r}", hint=hint)
    keys = {key: entity.key_type for key, entity in entities.items()}
    inputs = []
    for item in _inputs(view, rows):
        dtype = keys.get(item.name)
        if dtype is not None and can_keep(rows.get(item.name, arrow_type(item.dtype)), dtype):
            item = replace(item, dtype=dtype)
        inputs.append(item)
        if source is None:
            continue
        if item.name not in rows:
            raise SourceError(
                f"{view.subject}: {source.subject} has no column {source.source_column(item.name)!r}, which its "
                "function reads",
                subject=view.subject,
                location=view.location,
                hint=nearest(item.name, rows),
            )
        if item.dtype is not UnixTimestamp and not can_keep(rows[item.name], item.dtype):
            raise view.error(
                f"{view.subject}: input {item.name!r} is declared as {item.dtype!r}, but the column of "
                f"{source.subject} has type {rows[item.name]}, which cannot be kept in it",
                hint="declare the type that the column has",
            )
    return replace(view, input_schema=inputs, entities=list(entities.values()))


def unknown_output(view: FeatureView, name: str, role: str) -> DefinitionError:
    """The error for a column of which it is not known what the function gives."""
    if view.aggregations and role == "aggregated":
        hint = f"pass inputs=[Field(name={name!r}, dtype=...)], the columns that the function makes for aggregations"
    elif name in view.join_keys:
        hint = "pass value_type= to the entity"
    else:
        hint = f"declare Field(name={name!r}, dtype=...), or correct the query"
    return view.error(
        f"{view.subject}: the type of column {name!r}, which is {role}, is not known: its source has no such "
        "column, and its function does not tell",
        hint=hint,
    )


def _inputs(view: TransformedFeatureView, rows: Columns) -> list[Field]:
    """What the function gets: the declared columns, with keys and times before them; or all whose types are known."""
    event, created = view.time_columns
    times = [name for name in (event, created) if name]
    partition = view.batch_source.date_partition_column if view.batch_source is not None else ""
    if view.input_schema is None:
        names = [name for name in rows if name != partition]
        types = {name: dtype for name in names if (dtype := _known_type(rows[name])) is not None}
        types |= dict.fromkeys(times, UnixTimestamp)
    else:
        declared = {field.name: field.dtype for field in view.input_schema}
        keys = {key: _known_type(rows[key]) for key in view.join_keys if key in rows}
        if not rows:
            keys = dict(zip(view.join_keys, view.key_types, strict=True))
        types = {key: dtype for key, dtype in keys.items() if dtype is not None}
        types |= declared | dict.fromkeys(times, UnixTimestamp)
    return [Field(name=name, dtype=_widest(name, dtype, view), location=view.location) for name, dtype in types.items()]


def _widest(name: str, dtype: FeatureType, view: FeatureView) -> FeatureType:
    """int32 and int64 are one for keys (TYP-3)."""
    return Int64 if dtype is Int32 and name in view.join_keys else dtype


def _known_type(found: pa.DataType) -> FeatureType | None:
    try:
        return from_arrow_type(found)
    except UnsupportedError:
        return None


def _arrow(dtype: FeatureType) -> pa.DataType | None:
    """The Arrow type of a declared column; a type that cannot be kept is refused where it is checked."""
    try:
        return arrow_type(dtype)
    except UnsupportedError:
        return None
