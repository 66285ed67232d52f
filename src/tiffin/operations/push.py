"""Push facts: into the online store, to the history, or both; and straight to the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import single_chunk, valid_mask
from tiffin.definitions import DataSource, FeatureView, PushMode, StreamSource
from tiffin.errors import InputError, NotFoundError, RequestError, TypeMismatchError, nearest
from tiffin.operations.expectations import Guard
from tiffin.operations.frames import facts_table
from tiffin.operations.online import CheckedWrite, OnlineWrite
from tiffin.operations.rows import checked_rows, row_numbers

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot


@dataclass(frozen=True)
class PushReport:
    """What became of pushed rows.

    Attributes:
        views: what each view wrote online.
        appended: rows appended to the history.
        refused: the numbers of the rows whose event time is too far ahead of now; they are in neither (WR-5).
    """

    views: Mapping[str, OnlineWrite] = field(default_factory=dict)
    appended: int = 0
    refused: tuple[int, ...] = ()


def push(ctx: Context, push_source_name: str, df: Any, to: PushMode) -> PushReport:
    """Push rows to every view that has the push source as its source.

    Every row is checked for every view, and for the history, before any is written (WR-6). Rows too far ahead of now
    are refused by both and reported (WR-5).

    Args:
        ctx: the opened project.
        push_source_name: the source.
        df: a pandas or polars frame, an Arrow table or a list of dicts, with the columns of the source.
        to: where to.

    Raises:
        NotFoundError: there is no such push source, or no view has it.
        RequestError: the history is asked for, and the source has no batch source.
        InputError: a row is wrong; names row and column.
        ExpectationError: a fact is not as expected, and keeps all from being written.
        StoreError: a store fails; pushing again converges.
    """
    views = pushed_views(ctx.snapshot(), push_source_name)
    online = to in (PushMode.ONLINE, PushMode.ONLINE_AND_OFFLINE)
    writes = [CheckedWrite.of(ctx, view, df) for view in views if view.online] if online else []
    refused = writes[0].refused if writes else ()
    appended = 0
    if to is not PushMode.ONLINE:
        _, ahead = checked_rows(ctx, views[0], df)
        appended = _append(ctx, views, df, ~ahead, settled=[write.view.name for write in writes])
        refused = tuple(np.flatnonzero(ahead).tolist())
    return PushReport({write.view.name: write.write(ctx) for write in writes}, appended, refused)


def pushed_views(snapshot: Snapshot, push_source_name: str) -> list[FeatureView]:
    """The views that a push to a source reaches.

    Raises:
        NotFoundError: there is no such push source, or no view has it.
    """
    sources = [name for name, source in snapshot.sources.items() if isinstance(source, StreamSource)]
    views = [
        view for view in snapshot.views.values() if view.stream_source and view.stream_source.name == push_source_name
    ]
    if push_source_name not in sources or not views:
        what = "no view has" if push_source_name in sources else "there is no"
        raise NotFoundError(
            f"{what} push source {push_source_name!r}",
            subject=f"data source {push_source_name}",
            hint=nearest(push_source_name, sources),
        )
    return views


def write_to_offline_store(ctx: Context, feature_view_name: str, df: Any) -> int:
    """Append rows to the history of a view.

    Returns:
        How many rows.

    Raises:
        NotFoundError: there is no such view.
        RequestError: it has no history.
        InputError: a row is wrong; names row and column.
    """
    return _append(ctx, [ctx.snapshot().view(feature_view_name)], df)


def _append(
    ctx: Context,
    views: list[FeatureView],
    df: Any,
    wanted: NDArray[np.bool_] | None = None,
    settled: Sequence[str] = (),
) -> int:
    """Append rows, or those that are wanted, to the one history that some views share.

    Rows that are not as expected of a fact stay out. Where a function makes facts of rows, these are checked when they
    are loaded: which row is wrong cannot be told.

    Args:
        ctx: the opened project.
        views: the views.
        df: the rows.
        wanted: (n,) which of them.
        settled: views whose facts go online as well, where they are put into the quarantine.
    """
    import pyarrow as pa

    source = views[0].batch_source
    if source is None:
        raise RequestError(
            f"{views[0].subject} has no history to append to",
            subject=views[0].subject,
            location=views[0].location,
            hint="give its source a batch_source",
        )
    table = facts_table(views[0], df)
    wanted = np.ones(table.num_rows, np.bool_) if wanted is None else wanted.copy()
    guards = []
    for view in views:
        facts, ahead = checked_rows(ctx, view, df)
        numbers = row_numbers(view, ahead)
        if numbers is not None:
            guard = Guard(ctx, view)
            _, good = guard.take(facts, numbers)
            guard.judge()
            wanted[numbers[~good]] = False
            guards += [guard] if view.name not in settled else []
    rows = source_rows(source, table, ctx.offline.schema(source))
    if not wanted.all():
        rows = rows.filter(pa.array(wanted))
    ctx.offline.append(source, rows)
    for guard in guards:
        guard.settle()
    return int(rows.num_rows)


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
