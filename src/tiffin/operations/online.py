"""Read and write the online store: thin drivers around the pipeline, and the checks that writes go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import arrow_column, numpy_values, single_chunk, valid_mask
from tiffin.contracts.online import OnlineStore, WriteBatch, WriteResult
from tiffin.definitions import FeatureService, FeatureView
from tiffin.errors import InputError, RequestError, TypeMismatchError, nearest
from tiffin.online.keys import cast_key_column, encode_key_columns
from tiffin.online.pipeline import OnlineRead
from tiffin.online.response import OnlineResponse
from tiffin.operations.entity_rows import time_us, to_table
from tiffin.planning.online import OnlinePlan, codecs_of, plan_online
from tiffin.planning.references import check_entity_collisions, resolve_features
from tiffin.registry.snapshot import ViewStorage
from tiffin.time import format_us
from tiffin.types import FeatureType, UnixTimestamp, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

EntityRowsInput = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]


def read_online(
    ctx: Context,
    features: Sequence[str] | FeatureService,
    entity_rows: EntityRowsInput,
    full_feature_names: bool = False,
) -> OnlineResponse:
    """Read features at ``now``, in one call of the store.

    Raises:
        NotFoundError: a view or feature does not exist.
        RequestError: the request contradicts itself, or a view is not served.
        InputError: an entity row is wrong; names the row.
        StoreError: the store fails.
    """
    read = OnlineRead(_plan(ctx, features, full_feature_names), entity_rows)
    return read.answer(ctx.online.read(read.requests), ctx.now_us())


async def read_online_async(
    ctx: Context,
    features: Sequence[str] | FeatureService,
    entity_rows: EntityRowsInput,
    full_feature_names: bool = False,
) -> OnlineResponse:
    """Like ``read_online``, without holding up the event loop."""
    read = OnlineRead(_plan(ctx, features, full_feature_names), entity_rows)
    return read.answer(await ctx.online.read_async(read.requests), ctx.now_us())


def _plan(ctx: Context, features: Sequence[str] | FeatureService, full_feature_names: bool) -> OnlinePlan:
    """The plan of a request shape; made once per version of the definitions."""
    snapshot = ctx.snapshot()
    try:
        shape = (snapshot.version, features if isinstance(features, FeatureService) else tuple(features))
        key = (*shape, full_feature_names, features.uses if isinstance(features, FeatureService) else None)
        plan: OnlinePlan | None = ctx.online_plans.get(key)
    except TypeError:
        raise RequestError(f"features is {features!r}", hint='pass a list such as ["view:feature"]') from None
    if plan is None:
        selection = resolve_features(snapshot, features, full_feature_names=full_feature_names)
        check_entity_collisions(selection, selection.entity_columns)
        plan = ctx.online_plans[key] = plan_online(snapshot, selection)
    return plan


def write_facts(store: OnlineStore, view: FeatureView, storage: ViewStorage, batch: pa.RecordBatch) -> WriteResult:
    """Encode facts in bulk and write them.

    Args:
        store: where to.
        view: the view that they are facts of.
        storage: its table and layouts.
        batch: the join keys (no nulls), the features in their types, ``__event_us`` and ``__known_us`` (int64).
    """
    codec = codecs_of(storage)[-1]
    types = [dtype for dtype in view.key_types if dtype is not None]
    parts = [cast_key_column(single_chunk(batch.column(k)), t, k) for k, t in zip(view.join_keys, types, strict=True)]
    keys = encode_key_columns(parts, batch.num_rows)
    event, known = (numpy_values(single_chunk(batch.column(name))) for name in ("__event_us", "__known_us"))
    return store.write(WriteBatch(storage.table, keys, codec.encode(batch, event, known)))


@dataclass(frozen=True)
class OnlineWrite:
    """What became of rows that were written directly.

    Attributes:
        written: rows that were newer than what was there.
        stale: rows that were not.
        refused: rows whose event time is too far ahead of now (WR-5).
    """

    written: int
    stale: int
    refused: int = 0


def write_online(ctx: Context, feature_view_name: str, df: Any) -> OnlineWrite:
    """Write rows of a view straight to the online store.

    Args:
        ctx: the opened project.
        feature_view_name: the view.
        df: a pandas or polars frame, an Arrow table or a list of dicts, with the join keys, all features, the time
            column of the view's source, and its created column where it has one.

    Raises:
        NotFoundError: the view does not exist.
        InputError: a column is missing, a key or time is null, or a value does not fit its type; names row and column,
            and nothing is written (WR-6). Rows too far ahead of now are refused together, before any is written.
    """
    snapshot = ctx.snapshot()
    view, storage = snapshot.view(feature_view_name), snapshot.storage(feature_view_name)
    batch = checked_facts(view, to_table(df))
    event = numpy_values(batch.column("__event_us"))
    limit = ctx.now_us() + ctx.max_future_skew_us
    ahead = np.flatnonzero(event > limit)
    if len(ahead):
        row = int(ahead[0])
        raise InputError(
            f"row {row}: event time {format_us(int(event[row]))} is ahead of now by more than the allowed skew; "
            f"{len(ahead)} of {len(event)} rows are, nothing was written",
            subject=view.subject,
            hint="correct the times, or raise max_future_skew_seconds",
        )
    result = write_facts(ctx.online, view, storage, batch)
    return OnlineWrite(result.written, result.stale)


def checked_facts(view: FeatureView, table: pa.Table) -> pa.RecordBatch:
    """Rows as facts in the form of ``write_facts``, every row checked (WR-6).

    Raises:
        InputError: names row and column.
    """
    import pyarrow as pa

    source = view.batch_source or view.source
    time_column = (source.timestamp_field if source else "") or "event_timestamp"
    created = source.created_timestamp_column if source else ""
    columns: dict[str, Any] = {}
    for name, dtype in zip(view.join_keys, view.key_types, strict=True):
        column = single_chunk(_column(view, table, name, "a join key"))
        if column.null_count:
            row = int(np.argmin(valid_mask(column)))
            raise InputError(f"row {row}: join key {name!r} is null", subject=view.subject)
        columns[name] = cast_key_column(column, _typed(dtype, view), name)
    for field in view.features:
        columns[field.name] = _cast(
            single_chunk(_column(view, table, field.name, "a feature")), field.dtype, field.name
        )
    event = time_us(_column(view, table, time_column, "the time column"), time_column)
    known = event
    if created and created in table.column_names:
        known = time_us(table[created], created)
    columns["__event_us"], columns["__known_us"] = arrow_column(event), arrow_column(known)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _typed(dtype: FeatureType | None, view: FeatureView) -> FeatureType:
    if dtype is None:
        raise InputError(f"the key types of {view.subject} are not known", hint="run `tiffin apply`")
    return dtype


def _column(view: FeatureView, table: pa.Table, name: str, role: str) -> Any:
    if name not in table.column_names:
        hint = nearest(name, table.column_names)
        raise InputError(f"column {name!r} is missing, which is {role} of {view.subject}", subject=name, hint=hint)
    return table[name]


def _cast(column: pa.Array, dtype: FeatureType, name: str) -> pa.Array:
    """A column in a feature's type, without loss.

    Raises:
        TypeMismatchError: names the first row that does not fit.
    """
    import pyarrow as pa

    wanted = arrow_type(dtype)
    if column.type == wanted:
        return column
    if dtype is UnixTimestamp and (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        return column.cast(pa.timestamp("us", "UTC"), safe=False)
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row = _first_misfit(column, wanted)
        raise TypeMismatchError(
            f"row {row}: {column[row].as_py()!r} in column {name!r} cannot be kept as {dtype!r}", subject=name
        ) from error


def _first_misfit(column: pa.Array, wanted: pa.DataType) -> int:
    import pyarrow as pa

    for row in range(len(column)):
        try:
            column.slice(row, 1).cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return row
    return 0
