"""Point-in-time retrieval: from a request to a lazy job that runs its plan when the result is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tiffin.columns import arrow_column, numpy_values, pandas_type, single_chunk
from tiffin.compat.gaps import RETRIEVAL_JOB, WithGaps
from tiffin.contracts.offline import OfflineEngine, ViewReport
from tiffin.definitions import FeatureService, TableProfiler, ValidationReference
from tiffin.errors import InputError, RequestError, StoreError, ValidationError, nearest
from tiffin.online.defaults import default_column, fill_nulls
from tiffin.online.keys import cast_key_column, key_arrow_type
from tiffin.operations.entity_rows import EntityRows, to_table
from tiffin.operations.functions import find_function
from tiffin.operations.labels import join_labels
from tiffin.operations.rows import prepare_rows
from tiffin.operations.versions import load_versions
from tiffin.operations.windows import join_windows
from tiffin.planning.references import Selection, check_entity_collisions, resolve_features
from tiffin.planning.retrieval import TIME_COLUMN, RangePlan, RetrievalPlan, plan_retrieval
from tiffin.time import DAY_US, duration_us, from_us, to_us
from tiffin.transforms.column import Column
from tiffin.transforms.profile import ValidationReport, deviations
from tiffin.transforms.run import Function, compute

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot
    from tiffin.types import FeatureType

log = logging.getLogger("tiffin.retrieval")

#: Entity rows that are joined at once when the answer is read in batches.
_BATCH_ROWS = 1_000_000
#: How far back a range without a start goes when no view has a ttl.
_DEFAULT_RANGE_US = 30 * DAY_US


@dataclass(frozen=True)
class RetrievalReport:
    """What became of the cells of a retrieval, view by view."""

    views: tuple[ViewReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"views": [asdict(view) for view in self.views]}

    def __str__(self) -> str:
        lines = [
            f"{'view':30} {'rows':>10} {'matched':>10} {'expired':>10} {'missing':>10} {'ties':>8} {'known later':>12}"
        ]
        for v in self.views:
            outcomes = f"{v.rows:>10,} {v.matched:>10,} {v.expired:>10,} {v.missing:>10,}"
            lines.append(f"{v.view:30} {outcomes} {v.ties:>8,} {v.known_later:>12,}")
        return "\n".join(lines)


@dataclass(frozen=True)
class RetrievalMetadata:
    """What a retrieval is about.

    Attributes:
        features: the features as references.
        keys: the key columns of its rows.
        min_event_timestamp, max_event_timestamp: the first and the last time of its rows; ``None`` without rows.
    """

    features: list[str]
    keys: list[str]
    min_event_timestamp: datetime | None
    max_event_timestamp: datetime | None


class RetrievalJob(WithGaps):
    """A point-in-time retrieval that has been checked and planned, and runs when its result is asked for.

    The result is kept, so that ``to_df`` after ``to_arrow`` does not run it again. The entity rows that were handed in
    are never changed.

    Guarantees:
        PIT-1 to PIT-12: N entity rows in, N rows out, in the same order, with the features behind their columns.
    """

    _gaps = RETRIEVAL_JOB

    def __init__(
        self,
        engine: OfflineEngine,
        plan: RetrievalPlan,
        functions: Sequence[Function],
        rows: EntityRows,
        full_feature_names: bool,
        asked: Sequence[str] | FeatureService,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._asked = asked
        self._functions = functions
        self._rows = rows
        self.full_feature_names = full_feature_names

    @cached_property
    def _spine(self) -> pa.Table:
        return self._rows.spine(self._plan.keys)

    @cached_property
    def _joined(self) -> tuple[pa.Table, RetrievalReport]:
        found = _join(self._engine, self._plan, self._functions, self._rows, self._spine)
        log.info("what became of the cells of a retrieval:\n%s", found[1])
        return found

    @property
    def report(self) -> RetrievalReport:
        """Per view: rows matched, expired and missing, ties, and facts known only later. Runs the job if need be."""
        return self._joined[1]

    @property
    def plan(self) -> RetrievalPlan:
        """What is joined, and what comes out."""
        return self._plan

    @property
    def times(self) -> pa.ChunkedArray:
        """The time of each entity row, int64 microseconds."""
        return self._spine[TIME_COLUMN]

    @property
    def features(self) -> list[str]:
        """The features of the answer as references, in order."""
        plan = self._plan
        found = []
        for column in plan.columns:
            view: Any = (plan.computed if column.computed else plan.views)[column.view]
            found.append(f"{view.name}:{view.features[column.feature].name}")
        return found

    @property
    def time_range_us(self) -> tuple[int, int] | None:
        """The first and the last time of the entity rows; ``None`` without rows."""
        times = numpy_values(self.times)
        return (int(times.min()), int(times.max())) if len(times) else None

    @property
    def metadata(self) -> RetrievalMetadata:
        """Features, keys, and the times that the rows span; nothing is joined for it."""
        span = self.time_range_us
        first, last = (None, None) if span is None else map(from_us, span)
        return RetrievalMetadata(self.features, list(self._plan.keys), first, last)

    @property
    def feature_service_name(self) -> str:
        """The service that was asked for; empty for a list of features."""
        return self._asked.name if isinstance(self._asked, FeatureService) else ""

    @property
    def feature_names(self) -> list[str]:
        """The feature columns of the answer, in order."""
        return [column.name for column in self._plan.columns]

    def earlier(self, by: timedelta) -> RetrievalJob:
        """The same entity rows, each as of some time before its own."""
        import pyarrow as pa

        times = numpy_values(self.times) - duration_us(by)
        rows = self._rows
        place = rows.table.column_names.index(rows.time_column)
        moved = arrow_column(times, pa.timestamp("us", "UTC"))
        table = rows.table.set_column(place, rows.time_column, moved)
        shifted = EntityRows(table, table, rows.time_column)
        return RetrievalJob(self._engine, self._plan, self._functions, shifted, self.full_feature_names, self._asked)

    def to_arrow(self, validation_reference: ValidationReference | None = None) -> pa.Table:
        """Entity columns and features as an Arrow table.

        Args:
            validation_reference: what the answer has to be like.

        Raises:
            ValidationError: it is not; says in what.
        """
        table = self._table()
        if validation_reference is not None:
            check_like(table, validation_reference)
        return table

    def _table(self) -> pa.Table:
        features = self._joined[0]
        table = self._rows.table
        for name, column in zip(features.column_names, features.columns, strict=True):
            table = table.append_column(name, column)
        return table

    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pd.DataFrame:
        """Entity columns as they came in, and features, as a pandas frame.

        Integers and booleans get pandas' nullable types, so that a missing value does not turn them into floats
        (TYP-2); pandas cannot tell a null float from NaN, ``to_arrow`` can.

        Args:
            validation_reference: what the answer has to be like.
            timeout: accepted for compatibility.

        Raises:
            ValidationError: it is not like the reference; says in what.
        """
        import pandas as pd

        if validation_reference is not None:
            check_like(self._table(), validation_reference)
        features: pd.DataFrame = self._joined[0].to_pandas(types_mapper=pandas_type)
        original = self._rows.original
        if isinstance(original, pd.DataFrame):
            features.index = original.index
        else:
            original = self._rows.table.to_pandas(types_mapper=pandas_type)
        frame: pd.DataFrame = pd.concat([original, features], axis=1)
        return frame

    def to_polars(self) -> pl.DataFrame:
        """Entity columns and features as a polars frame."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def to_arrow_batches(self, batch_rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The answer in pieces, one in memory at a time; the pieces do not depend on one another (PIT-5)."""
        for start in range(0, max(1, self._rows.table.num_rows), batch_rows):
            rows, spine = self._rows.slice(start, batch_rows), self._spine.slice(start, batch_rows)
            features, _ = _join(self._engine, self._plan, self._functions, rows, spine)
            table = rows.table
            for name, column in zip(features.column_names, features.columns, strict=True):
                table = table.append_column(name, column)
            yield from table.to_batches()

    def to_sql(self) -> str:
        """The same retrieval as one SQL query of the engine, over a table ``entity_df``."""
        return self._engine.to_sql(self._plan, self._rows.time_column)

    def explain(self) -> str:
        """What will be read and how; nothing is run."""
        return self._engine.explain(self._plan, self._rows.time_column)

    def supports_remote_storage_export(self) -> bool:
        """Whether the engine can write the answer to a store of its own: it cannot, ``persist`` writes a file."""
        return False

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> str:
        """Write the answer to a Parquet file.

        Args:
            storage: a path, a ``FileSource``, or an object with a ``path``.
            allow_overwrite: replace a file that is there.
            timeout: accepted for compatibility.

        Returns:
            The path written.

        Raises:
            InputError: the storage names no path.
            StoreError: a file is there and may not be replaced, or it cannot be written; nothing is left half written.
        """
        path = storage if isinstance(storage, str | os.PathLike) else getattr(storage, "path", None)
        if path is None:
            raise InputError(f"{storage!r} names no file", hint="pass a path, or FileSource(path=...)")
        return _write_parquet(self.to_arrow(), os.fspath(path), allow_overwrite)


def check_like(table: pa.Table, reference: ValidationReference) -> None:
    """Check that a table is like the dataset of a reference.

    Raises:
        ValidationError: it is not; says in what.
        RequestError: the reference does not have its dataset, or its function, with it.
        FunctionError: its function fails.
        BackendNotFoundError: it needs great_expectations, which is not installed.
    """
    hint = f"get it by store.get_validation_reference({reference.name!r})"
    if reference.dataset is None:
        raise RequestError(f"{reference.subject} does not have its dataset with it", hint=hint)
    dataset, profiler = reference.dataset.to_arrow(), reference.profiler
    if isinstance(profiler, TableProfiler):
        report = ValidationReport(deviations(table, dataset, profiler))
        remedy = "look at the sources, or give the reference a TableProfiler that allows more"
    else:
        from tiffin.transforms.suites import unmet_expectations

        if profiler.udf is None:
            raise RequestError(f"{reference.subject} does not have its function with it", hint=hint)
        report = ValidationReport(unmet_expectations(table.to_pandas(), dataset.to_pandas(), reference, profiler.udf))
        remedy = f"look at the sources, or at {profiler.function.name}, which says what to expect"
    if not report.is_success:
        what = f"the training set is not like {reference.dataset.subject}: {report}"
        error = ValidationError(what, subject=reference.subject, hint=remedy)
        error.validation_report = report
        raise error


def retrieve(
    ctx: Context,
    entity_df: Any = None,
    features: Sequence[str] | FeatureService = (),
    full_feature_names: bool = False,
    start_date: datetime | str | None = None,
    end_date: datetime | str | None = None,
    keys: Any = None,
    only_known: bool | None = None,
    snapshot: Snapshot | None = None,
    with_inputs: bool = False,
) -> RetrievalJob:
    """Check and plan a retrieval; nothing is read from the sources yet.

    Args:
        ctx: the opened project.
        entity_df: a pandas or polars frame, an Arrow table, a list of dicts, or SQL of the engine; ``None`` to take
            every fact between the dates as an entity row (PIT-12).
        features: references or a service.
        full_feature_names: name columns ``view__feature``.
        start_date: with ``entity_df=None``, from when.
        end_date: with ``entity_df=None``, until when; now when left out.
        keys: with ``entity_df=None``, only facts of these keys: columns such as ``{"driver_id": [1001, 1002]}`` or a
            frame. Several columns are compared together; a view that lacks one of them gives no rows.
        only_known: whether a fact counts only from the moment at which it was known; as configured when left out.
        snapshot: the definitions, which may be older ones; the current ones when left out.
        with_inputs: whether what functions compute from comes out as well, under its references.

    Raises:
        RequestError: the request contradicts itself.
        NotFoundError: a view or feature does not exist.
        InputError: the entity rows are wrong.
        FunctionError: the function of an on-demand view is not found, or another one than was applied.
    """
    snapshot = snapshot or ctx.snapshot()
    load_versions(ctx, snapshot, features)
    selection = resolve_features(snapshot, features, full_feature_names=full_feature_names)
    selection = selection.with_inputs if with_inputs else selection
    known = ctx.only_known if only_known is None else only_known
    plan = plan_retrieval(snapshot, selection, only_known=known)
    prepare_rows(ctx, [selected.view for selected in selection.views])
    if entity_df is None:
        rows = EntityRows.from_any(_range_rows(ctx, plan, start_date, end_date, keys))
    elif start_date is not None or end_date is not None or keys is not None:
        hint = "leave out entity_df, or the dates and keys"
        raise RequestError("start_date, end_date and keys go without entity rows", hint=hint)
    elif isinstance(entity_df, str):
        rows = EntityRows.from_any(ctx.offline.query(entity_df))
    else:
        rows = EntityRows.from_any(entity_df)
    _check_rows(selection, plan, rows)
    functions = [find_function(ctx, computed.view) for computed in plan.computed]
    return RetrievalJob(ctx.offline, plan, functions, rows, full_feature_names, features)


def _check_rows(selection: Selection, plan: RetrievalPlan, rows: EntityRows) -> None:
    """What can be refused before anything runs: collisions and missing keys (PIT-9)."""
    check_entity_collisions(selection, rows.table.column_names)
    rows.check_keys(plan.keys)
    for view in plan.computed:
        rows.check_request(view)


def _range_rows(
    ctx: Context, plan: RetrievalPlan, start: datetime | str | None, end: datetime | str | None, keys: Any
) -> pa.Table:
    """Entity rows from the facts of the views themselves (PIT-12).

    Raises:
        RequestError: the range is turned round, or keys are given that no view has.
        InputError: the keys are no columns, or of another type.
    """
    import pyarrow as pa

    end_us = ctx.now_us() if end is None else to_us(end)
    ttls = [view.ttl_us for view in plan.views if view.ttl_us is not None]
    start_us = end_us - (max(ttls) if ttls else _DEFAULT_RANGE_US) if start is None else to_us(start)
    if start_us > end_us:
        raise RequestError(f"start_date {start} is after end_date {end}", hint="swap the two dates")
    views, wanted = plan.views, None
    if keys is not None:
        wanted = _wanted_keys(plan, to_table(keys))
        views = tuple(
            view for view in views if {key.entity_column for key in view.keys}.issuperset(wanted.column_names)
        )
        if not views:
            raise RequestError(f"no view has all of the keys {', '.join(wanted.column_names)}", hint="leave some out")
    spines = [ctx.offline.spine(RangePlan(view, start_us, end_us), wanted) for view in views]
    merged = pa.concat_tables(spines, promote_options="default")
    for name in plan.keys.keys() - set(merged.column_names):
        merged = merged.append_column(name, pa.nulls(merged.num_rows, key_arrow_type(plan.keys[name])))
    merged = merged.select([*plan.keys, "event_timestamp"])
    merged = merged.group_by(merged.column_names).aggregate([]) if len(spines) > 1 else merged
    order = [(name, "ascending") for name in ("event_timestamp", *plan.keys)]
    return merged.sort_by(order)


def _wanted_keys(plan: RetrievalPlan, keys: pa.Table) -> pa.Table:
    """Keys that were handed in, in their types."""
    import pyarrow as pa

    for name in keys.column_names:
        if name not in plan.keys:
            raise InputError(f"{name!r} is no join key of the views", subject=name, hint=nearest(name, plan.keys))
    if not keys.column_names:
        raise InputError("keys has no columns", hint='pass columns such as {"driver_id": [1001, 1002]}')
    return pa.table({n: cast_key_column(single_chunk(keys[n]), plan.keys[n], n) for n in keys.column_names})


def _join(
    engine: OfflineEngine, plan: RetrievalPlan, functions: Sequence[Function], rows: EntityRows, spine: pa.Table
) -> tuple[pa.Table, RetrievalReport]:
    """Run the plan; the features of all views in request order, nulls replaced by defaults (ONL-5)."""
    import pyarrow as pa

    views: list[list[Any]] = []
    reports = []
    plain = tuple(view for view in plan.views if view.conflict is None and not view.aggregates)
    newest = engine.join(replace(plan, views=plain), spine)
    for view in plan.views:
        if view.aggregates:
            joined = join_windows(engine, view, spine, only_known=plan.only_known)
        elif view.conflict is not None:
            joined = join_labels(engine, view, spine, only_known=plan.only_known)
        else:
            joined = next(newest)
        reports.append(joined.report)
        if joined.features.num_rows != spine.num_rows:
            raise StoreError(
                f"view {joined.report.view}: {joined.features.num_rows} rows came back for {spine.num_rows} entity "
                "rows; this breaks PIT-1 and nothing is returned"
            )
        views.append([_with_default(joined.features[f.name], f.dtype, f.default, f.name) for f in view.features])
    computed: list[list[Any]] = []
    if plan.computed:
        computed = _compute(plan, functions, views, rows, spine)
    table = {c.name: (computed if c.computed else views)[c.view][c.feature] for c in plan.columns}
    return pa.table(table), RetrievalReport(tuple(reports))


def _compute(
    plan: RetrievalPlan,
    functions: Sequence[Function],
    views: Sequence[Sequence[Any]],
    rows: EntityRows,
    spine: pa.Table,
) -> list[list[Any]]:
    """The features of the on-demand views, for the time of each row (ODF-3)."""
    count = spine.num_rows
    now_us = numpy_values(spine[TIME_COLUMN]).tolist()
    request = {name: rows.request_column(name, dtype) for name, dtype in plan.request_columns.items()}
    found: list[list[Any]] = []
    for view, function in zip(plan.computed, functions, strict=True):
        inputs = []
        for item in view.inputs:
            if item.place is None:
                arrow = spine[item.column] if item.is_key else request[item.column]
            else:
                arrow = (found if item.computed else views)[item.place[0]][item.place[1]]
            inputs.append(Column(item.dtype, arrow=arrow))
        columns = compute(view, function, inputs, now_us, count)
        found.append(
            [
                _with_default(column.arrow(), field.dtype, field.default_value, field.name)
                for column, field in zip(columns, view.features, strict=True)
            ]
        )
    return found


def _with_default(column: Any, dtype: FeatureType, default: Any, name: str) -> Any:
    return column if default is None else fill_nulls(single_chunk(column), default_column(default, dtype, name))


def _write_parquet(table: pa.Table, path: str, allow_overwrite: bool) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if os.path.exists(path) and not allow_overwrite:
        raise StoreError(f"{path} is there already", hint="pass allow_overwrite=True, or another path")
    partial = f"{path}.partial"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        pq.write_table(table, partial)
        os.replace(partial, path)
    except (OSError, pa.ArrowException) as error:
        if os.path.exists(partial):
            os.remove(partial)
        raise StoreError(f"{path} cannot be written: {error}", hint="check the folder and the free space") from error
    return path
