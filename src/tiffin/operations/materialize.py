"""Load the online store from the offline sources, view by view."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tiffin.contracts.registry import MaterializationRun
from tiffin.definitions import FeatureView
from tiffin.errors import MaterializationError, RequestError, TiffinError
from tiffin.operations.expectations import Guard, Unmet
from tiffin.operations.online import OnlineWrite, prepare_write, timelines_of
from tiffin.operations.replaced import drop_replaced
from tiffin.operations.rows import prepare_rows
from tiffin.planning.materialization import Cursor, LoadPlan, plan_incremental_load, plan_load
from tiffin.planning.retrieval import history_of
from tiffin.registry.snapshot import Snapshot, ViewStorage
from tiffin.time import to_us

if TYPE_CHECKING:
    from datetime import datetime

    from tiffin.operations.context import Context

#: Called with the view's name and the rows written so far, after each batch.
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class MaterializationReport:
    """What a run did, view by view.

    Attributes:
        runs: one for each view.
        unmet: the expectations that facts did not meet.
        quarantined: how many facts were put apart.
        capped: keys of views with aggregations that came to have more facts than are kept one by one, counted in each
            batch anew.
    """

    runs: tuple[MaterializationRun, ...]
    unmet: tuple[Unmet, ...] = ()
    quarantined: int = 0
    capped: int = 0

    @classmethod
    def of(cls, loads: Sequence[ViewLoad]) -> MaterializationReport:
        """The report of some loads."""
        unmet = tuple(each for load in loads for each in load.unmet)
        quarantined, capped = sum(load.quarantined for load in loads), sum(load.capped for load in loads)
        return cls(tuple(load.run for load in loads), unmet, quarantined, capped)

    @property
    def rows(self) -> int:
        """Rows read from the sources, after taking the newest per key."""
        return sum(run.rows for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "runs": [asdict(run) for run in self.runs],
            "unmet": [each.to_dict() for each in self.unmet],
            "quarantined": self.quarantined,
            "capped": self.capped,
        }


@dataclass(frozen=True)
class ViewLoad:
    """The load of one view.

    Attributes:
        run: what is kept of it.
        unmet: the expectations that its facts did not meet.
        quarantined: how many of them were put apart.
        capped: as the report has it.
    """

    run: MaterializationRun
    unmet: tuple[Unmet, ...]
    quarantined: int
    capped: int


def materialize(
    ctx: Context,
    start_date: datetime | str | int,
    end_date: datetime | str | int,
    feature_views: Sequence[str] | None = None,
    *,
    progress: Progress | None = None,
) -> MaterializationReport:
    """Load the facts with ``start_date <= event time <= end_date`` (MAT-1).

    The interval ends at ``now`` at the latest. Running it again, or over other intervals in any order, converges to the
    same store. Rows are durable batch by batch; a run that was killed is simply run again (MAT-4).

    Raises:
        NotFoundError: a view does not exist.
        RequestError: the interval is turned round, or a view is not online.
        UnsupportedError: a view that is named has no history.
        MaterializationError: a view failed; says which views are loaded and which are not.
    """
    start_us, end_us, now_us = to_us(start_date), to_us(end_date), ctx.now_us()

    def plan(view: FeatureView, storage: ViewStorage) -> tuple[LoadPlan, Cursor | None]:
        load = plan_load(view, start_us=start_us, end_us=end_us, now_us=now_us)
        return load, None

    return _run(ctx, feature_views, plan, progress)


def materialize_incremental(
    ctx: Context,
    end_date: datetime | str | int,
    feature_views: Sequence[str] | None = None,
    *,
    progress: Progress | None = None,
) -> MaterializationReport:
    """Load what came since the last incremental run, late facts included (MAT-2, MAT-3).

    The cursor of a view moves only after its rows are durable.

    Raises:
        NotFoundError: a view does not exist.
        RequestError: a view is not online.
        UnsupportedError: a view that is named has no history.
        MaterializationError: a view failed; says which views are loaded and which are not.
    """
    end_us, now_us = to_us(end_date), ctx.now_us()

    def plan(view: FeatureView, storage: ViewStorage) -> tuple[LoadPlan, Cursor | None]:
        parts = ctx.offline.fingerprint(history_of(view))
        last = Cursor.from_bytes(ctx.online.get_cursor(storage.table))
        load = plan_incremental_load(view, storage, last, end_us=end_us, now_us=now_us, parts=parts)
        return load, Cursor(storage.version, load.end_us, load.known_until_us or now_us, parts)

    return _run(ctx, feature_views, plan, progress)


Planner = Callable[[FeatureView, ViewStorage], "tuple[LoadPlan, Cursor | None]"]


def _run(
    ctx: Context, names: Sequence[str] | None, planner: Planner, progress: Progress | None
) -> MaterializationReport:
    snapshot = ctx.snapshot()
    views = chosen_views(snapshot, names)
    prepare_rows(ctx, views)
    planned = [(view, snapshot.storage(view.name), *planner(view, snapshot.storage(view.name))) for view in views]
    ctx.online.ensure([storage.table for _, storage, _, _ in planned])
    for view, storage, _, _ in planned:
        drop_replaced(ctx, view, storage)
    loads: list[ViewLoad] = []
    for position, (view, storage, load, cursor) in enumerate(planned):
        try:
            loads.append(load_view(ctx, view, storage, load, progress))
        except TiffinError as error:
            raise failed_run(error, views, position) from error
        if cursor is not None:
            ctx.online.put_cursor(storage.table, cursor.to_bytes())
    return MaterializationReport.of(loads)


def failed_run(error: TiffinError, views: Sequence[FeatureView], position: int) -> MaterializationError:
    """What to tell when one of several views could not be loaded."""
    view = views[position]
    done = ", ".join(each.name for each in views[:position]) or "none"
    left = ", ".join(each.name for each in views[position + 1 :]) or "none"
    return MaterializationError(
        f"{view.subject} could not be loaded: {error.message}; loaded before: {done}; not begun: {left}",
        subject=view.subject,
        location=view.location,
        hint=f"{error.hint + '; ' if error.hint else ''}what was written stays, running it again converges",
    )


def load_view(
    ctx: Context, view: FeatureView, storage: ViewStorage, load: LoadPlan, progress: Progress | None
) -> ViewLoad:
    """Load one view and keep the run in the history, failed or not.

    Raises:
        ExpectationError: an expectation is not met that keeps everything from being written.
    """
    guard = Guard(ctx, view, load.end_us)
    run = MaterializationRun(
        view=view.name,
        view_version=storage.version,
        start_us=load.start_us,
        end_us=load.end_us,
        rows=0,
        written=0,
        stale=0,
        seconds=0.0,
        started_us=ctx.now_us(),
    )
    began, capped = time.perf_counter(), 0
    error = "stopped"
    try:
        for rows, result in _written(ctx, view, storage, load, guard):
            run = replace(
                run,
                rows=run.rows + rows,
                written=run.written + result.written,
                stale=run.stale + result.stale + result.late,
            )
            capped += result.capped
            if progress is not None:
                progress(view.name, run.rows)
        error = ""
    except TiffinError as failure:
        error = failure.message
        raise
    finally:
        ctx.newest.flush()
        run = replace(run, seconds=time.perf_counter() - began, error=error)
        ctx.registry.record_run(ctx.project, run)
    return ViewLoad(run, guard.unmet, guard.quarantined, capped)


def _written(
    ctx: Context, view: FeatureView, storage: ViewStorage, load: LoadPlan, guard: Guard
) -> Iterator[tuple[int, OnlineWrite]]:
    """Read, encode and write batch after batch; how many rows each had, and what became of them.

    The store writes while the next batch is read and encoded. So many batches are in memory as it takes writers, and
    one more (MAT-4).
    """
    # Two batches may have facts of one key; writers of timelines would only wait for each other.
    writers = 1 if view.aggregations else ctx.online.capabilities.writers
    gone_us = timelines_of(ctx, view).gone_us(ctx.now_us()) if view.aggregations else None
    if gone_us is not None:
        load = replace(load, start_us=max(load.start_us, gone_us + 1))
    with ThreadPoolExecutor(writers, thread_name_prefix="tiffin-write") as pool:
        writing: deque[tuple[int, Future[OnlineWrite]]] = deque()
        facts: Iterator[Any] = ctx.offline.facts(load) if view.aggregations else ctx.offline.newest(load)
        for batch in guard.guarded(facts):
            if len(writing) == writers:
                rows, result = writing.popleft()
                yield rows, result.result()
            writing.append((batch.num_rows, pool.submit(prepare_write(ctx, view, storage, batch))))
        for rows, result in writing:
            yield rows, result.result()


def chosen_views(snapshot: Snapshot, names: Sequence[str] | None) -> list[FeatureView]:
    """The views to load: the named ones, else every online view that has a history."""
    if isinstance(names, str):
        raise RequestError(f"feature_views is the text {names!r}", hint=f"pass a list: [{names!r}]")
    if names is None:
        views = [v for v in snapshot.views.values() if v.online and v.enabled and v.batch_source is not None]
    else:
        views = [snapshot.view(name) for name in names]
    for view in views:
        if not view.online:
            raise RequestError(
                f"{view.subject} is not online",
                subject=view.subject,
                location=view.location,
                hint="declare online=True",
            )
    return views
