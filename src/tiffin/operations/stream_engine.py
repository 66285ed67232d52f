"""Streams on an engine: it spreads the messages over its machines, where tasks work them off as a worker would here.

This process hands out the tasks, adds up what they count, and moves the positions of the groups. It sees no messages.
A position is moved when all tasks of a batch have written what they had, never earlier (STR-1).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import msgspec

from tiffin.config import WORKER
from tiffin.contracts.stream import Start, Until
from tiffin.contracts.stream_engine import StreamEngine, StreamJob, StreamQuery, Task
from tiffin.errors import TiffinError, UnsupportedError, error_from
from tiffin.operations.loader import open_broker, open_stream_engine
from tiffin.operations.stream import (
    Progress,
    StoppedError,
    allowed_delay_us,
    insist,
    log,
    plans_of,
    run_stream,
    stream_identity,
    teller,
    too_many_dead,
)
from tiffin.operations.stream_counts import PartitionCount, SourceProgress, watermark_us
from tiffin.operations.stream_task import Definitions, StreamTask, TaskHistory, TaskResult
from tiffin.planning.stream import StreamPlan

if TYPE_CHECKING:
    from tiffin.operations.context import Context

_LOOK_SECONDS = 0.25


def feed(
    ctx: Context,
    feature_views: Sequence[str] = (),
    *,
    start: Start | None = None,
    until: Until | None = None,
    history: bool = False,
    dead_letters: str = "",
    max_dead_letters: int | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> list[SourceProgress]:
    """Feed views from their streams, in this process or on the engine that the settings name.

    Arguments, result and errors are those of ``run_stream``.

    Raises:
        UnsupportedError: the engine does not read streams of such a broker.
    """
    if ctx.config.stream_engine.type == WORKER:
        return run_stream(
            ctx,
            feature_views,
            start=start,
            until=until,
            history=history,
            dead_letters=dead_letters,
            max_dead_letters=max_dead_letters,
            stop=stop,
            progress=progress,
        )
    stop = stop or threading.Event()
    engine = open_stream_engine(ctx.config)
    with ExitStack() as stack:
        runs = [
            stack.enter_context(closing(_Run(ctx, plan, engine, dead_letters, max_dead_letters, stop)))
            for plan in plans_of(ctx, ctx.snapshot(), feature_views, history=history)
        ]
        # The first one to be closed, so that nothing runs any more when the positions are let go of.
        stack.enter_context(closing(engine))
        try:
            for run in runs:
                run.start(start or Start(), until)
            _wait(runs, stop, progress)
        except StoppedError:
            log.info("stopped while waiting; what was not done is delivered again")
        found = [run.progress() for run in runs]
    if progress is not None:
        progress(found)
    return found


def _wait(runs: Sequence[_Run], stop: threading.Event, progress: Progress | None) -> None:
    """Wait until all have ended, or until it is time to stop them."""
    tell = teller(runs, progress, time.monotonic())
    while not stop.is_set():
        have_ended = [run.wait(_LOOK_SECONDS / len(runs)) for run in runs]
        if all(have_ended):
            return
        tell()
    for run in runs:
        run.query.stop()


class _Run:
    """One source that the engine works off. It is called by the engine's threads and by the one that waits."""

    query: StreamQuery

    def __init__(
        self,
        ctx: Context,
        plan: StreamPlan,
        engine: StreamEngine,
        dead_letters: str,
        max_dead: int | None,
        stop: threading.Event,
    ) -> None:
        self._ctx = ctx
        self._plan = plan
        self._engine = engine
        self._views = tuple(view.name for view in plan.views)
        self._dead_letters = dead_letters
        self._max_dead = max_dead
        self._stop = stop
        self._lock = threading.Lock()
        self._total = TaskResult()
        self._reasons: Counter[str] = Counter()
        self._rate = 0.0
        self._measured_at, self._measured = time.monotonic(), 0
        self._reached: dict[int, int] = {}
        self._ends: Mapping[int, int] | None = None
        self._check()
        self._broker = open_broker(ctx.config, plan.source, ctx.online)
        self._address = self._broker.address()
        self._positions = self._broker.positions(plan.group)
        self._snapshot = ctx.snapshot()
        self._identity = "" if plan.history is None else stream_identity(plan, self._broker)

    def _check(self) -> None:
        source, able = self._plan.source, self._engine.capabilities
        if source.broker not in able.brokers:
            brokers = " and ".join(sorted(able.brokers))
            raise UnsupportedError(
                f"{source.subject} cannot be read by the stream engine {able.name!r}, which reads {brokers}",
                subject=source.subject,
                location=source.location,
                hint="leave out stream_engine, and start workers by `tiffin stream run`",
            )

    def start(self, start: Start, until: Until | None) -> None:
        """Begin; ``query`` is there when it returns."""
        begin = insist(lambda: self._positions.begin(start), self._stop)
        if until is not None:
            self._ends = insist(lambda: self._positions.ends(until), self._stop)
        self._reached = dict(begin)
        # Executors cannot hold rows for the next batch: each batch makes a file of its own.
        pause = 0.0 if self._plan.history is None else self._ctx.config.streams.history_seconds
        job = StreamJob(self._plan.group, self._address, begin, self._ends, self._task, self._done, pause)
        self.query = self._engine.start(job)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most so long; an engine that would read on behind the end is stopped there."""
        if self._ends is not None and all(self._reached.get(place, 0) >= end for place, end in self._ends.items()):
            self.query.stop()
            return True
        return self.query.wait(seconds)

    def _task(self) -> Task:
        """What is done with the next batch, by the newest definitions."""
        ctx, plan, snapshot = self._ctx, self._plan, self._ctx.snapshot()
        if plan.history is not None and snapshot is not self._snapshot:
            (plan,) = plans_of(ctx, snapshot, self._views, history=True)
            self._plan, self._snapshot = plan, snapshot
        history = None
        if plan.history is not None:
            history = TaskHistory(self._identity, {plan.source.name: plan.history.types})
        notes = self._positions.notes()
        return StreamTask(
            ctx.config, ctx.clock, Definitions.of(snapshot), self._views, notes, self._dead_letters, history
        )

    def _done(self, results: Sequence[bytes]) -> None:
        """Count a batch and move the positions past it."""
        found = [msgspec.json.decode(result, type=TaskResult) for result in results]
        for each in found:
            if each.error is not None:
                raise error_from(each.error)
        dead = self._total.dead + sum(each.dead for each in found)
        if self._max_dead is not None and dead > self._max_dead:
            reasons = [reason for each in found for reason in each.reasons]
            raise too_many_dead(self._plan.source, self._max_dead, reasons[0])
        ends = {partition: end for each in found for partition, end in each.ends.items()}
        notes = {partition: self._with_rate(note) for each in found for partition, note in each.notes.items()}
        with self._lock:
            insist(lambda: self._positions.commit(ends, notes), self._stop)
            self._reached |= ends
            for each in found:
                self._add(each)

    def _add(self, result: TaskResult) -> None:
        total = self._total
        for name in ("messages", "written", "stale", "expired", "capped", "dead", "late"):
            setattr(total, name, getattr(total, name) + getattr(result, name))
        self._reasons.update(result.reasons)

    def _with_rate(self, note: str) -> str:
        count = PartitionCount.from_note(note)
        count.rate = round(self._rate, 1)
        return count.note()

    def measure(self) -> None:
        """Take the speed since the last time."""
        now = time.monotonic()
        self._rate = (self._total.messages - self._measured) / max(now - self._measured_at, 1e-9)
        self._measured_at, self._measured = now, self._total.messages

    def progress(self) -> SourceProgress:
        """How far it is."""
        with self._lock:
            counts = list(map(PartitionCount.from_note, self._positions.notes().values()))
            try:
                lag = self._positions.lag()
            except TiffinError as error:
                log.info("%s: it is not known how many messages wait: %s", self._plan.source.name, error.message)
                lag = None
        total = self._total
        return SourceProgress(
            self._plan.source.name,
            self._views,
            self._plan.group,
            total.messages,
            total.written,
            total.stale,
            total.expired,
            total.capped,
            total.dead,
            total.late,
            dict(self._reasons.most_common()),
            lag,
            watermark_us(counts, allowed_delay_us(self._plan.source)),
            self._rate,
        )

    def close(self) -> None:
        """Let go of the broker."""
        self._positions.close()
        self._broker.close()
