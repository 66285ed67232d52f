"""Streams into features: poll a batch, check it, write it for every view, then say that it is done.

There is no transaction with the broker. Facts have a total order and writing one again changes nothing (WR-2), so a
crash, a rebalance or a replay only delivers again what was written before (STR-1). A position is committed when the
writes that it stands for are durable, never earlier.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values, valid_mask
from tiffin.contracts.stream import Letter, Messages, Start, StreamBroker, StreamReader, Until
from tiffin.definitions import AvroFormat, KafkaSource, KinesisSource
from tiffin.errors import InputError, StreamError, TiffinError
from tiffin.messages.table import MessageReader, Taken, isolated
from tiffin.operations.dead_letters import Send, dead_letters_to
from tiffin.operations.functions import find_row_functions
from tiffin.operations.history import appendable_history
from tiffin.operations.loader import open_broker, open_schema_registry
from tiffin.operations.online import CheckedWrite
from tiffin.operations.rows import CheckedFacts
from tiffin.operations.stream_counts import PartitionCount, SourceProgress, watermark_us
from tiffin.operations.stream_history import StreamHistory
from tiffin.planning.stream import StreamPlan, plan_stream, views_of_streams
from tiffin.time import duration_us, format_us, to_us

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.definitions import StreamSource
    from tiffin.definitions.streams import StreamFormat
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot

log = logging.getLogger("tiffin.stream")

T = TypeVar("T")
Progress = Callable[[Sequence[SourceProgress]], None]

#: A batch is at most so large; what waits meanwhile, waits at the broker.
_BATCH_MESSAGES, _BATCH_BYTES = 10_000, 32 << 20
_POLL_SECONDS, _PROGRESS_SECONDS = 0.25, 1.0
#: Between tries while a store or a broker cannot be reached.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
#: As many reasons of dead letters are told apart.
_REASONS = 20


class StoppedError(Exception):
    """The run is to end while something is waited for; what is not done is delivered again."""


def run_stream(
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
    """Feed views from their streams, as one worker of their groups.

    It goes on until ``stop`` is set or the end is reached. While a store cannot be reached it waits and tries again.

    Args:
        ctx: the opened project.
        feature_views: which; all that have a stream, are online and enabled when empty.
        start: where to begin; where the group is when left out, and at the earliest message in the first run.
        until: where to end; never when left out.
        history: append the messages to the history, the batch source of their source, as well, every
            ``streams.history_seconds``. Such workers have a position of their own.
        dead_letters: a folder or ``topic:NAME``, instead of that of the settings.
        max_dead_letters: more of them in this run are an error; the messages of the batch then stay undone.
        stop: ends the run when set, after the batch that is worked on.
        progress: called about every second, and at the end.

    Returns:
        What became of each source.

    Raises:
        NotFoundError: there is no such view.
        RequestError: a view has no stream that can be read, or no history to append to.
        UnsupportedError: its history cannot be appended to.
        FunctionError: the function of a view is not found, or it is another one than was applied.
        StreamError: a topic is not there, or its broker refuses; or there are too many dead letters.
        StoreError: a store refuses; what was not done is delivered again (WR-7).
    """
    stop = stop or threading.Event()
    plans = plans_of(ctx, ctx.snapshot(), feature_views, history=history)
    with ExitStack() as stack:
        works = [
            stack.enter_context(_opened(ctx, plan, start or Start(), until, dead_letters, max_dead_letters, stop))
            for plan in plans
        ]
        told_at = time.monotonic()
        try:
            _run(works, stop, teller(works, progress, told_at))
            for work in works:
                work.settle(is_last=True)
        except StoppedError:
            log.info("stopped while waiting; what was not done is delivered again")
        found = [work.progress() for work in works]
    if progress is not None:
        progress(found)
    return found


def work_off(
    ctx: Context, plan: StreamPlan, reader: StreamReader, dead_letters: str = "", stream: str = ""
) -> SourceProgress:
    """Work off everything that a reader has; arguments, result and errors as ``run_stream``'s.

    Args:
        ctx: the opened project.
        plan: what is fed.
        reader: has the messages.
        dead_letters: where those go.
        stream: what ``stream_identity`` gives, for a plan with a history.
    """
    work = _Work(ctx, plan, None, threading.Event())
    if plan.history is not None:
        work.history = StreamHistory(ctx, plan.history, stream)
    with closing(open_broker(ctx.config, plan.source, ctx.online)) as broker:
        work.send = dead_letters_to(ctx, plan.source.name, broker, dead_letters)
        work.reader = reader
        while work.step(0):
            pass
        work.settle(is_last=True)
        return work.progress()


def stream_identity(plan: StreamPlan, broker: StreamBroker) -> str:
    """What tells a stream from all others, in the history that its messages are appended to."""
    return f"{plan.source.name} {broker.identity()}"


def plans_of(ctx: Context, snapshot: Snapshot, names: Sequence[str], *, history: bool) -> list[StreamPlan]:
    """The plans of some views, with their history or without; raises as ``run_stream`` does."""
    if not history:
        return plan_stream(snapshot, names)
    histories = {}
    for view in views_of_streams(snapshot, names):
        source = appendable_history(view)
        ctx.offline.check_appends_messages(source)
        assert view.source is not None
        histories[view.source.name] = ctx.offline.schema(source)
    return plan_stream(snapshot, names, histories)


def start_of(place: datetime | str | None) -> Start:
    """Where to begin: ``earliest``, ``latest`` or a time; where the group is for ``None``.

    Raises:
        InputError: it is none of these.
    """
    if place is None or place in ("committed", "earliest", "latest"):
        return Start(str(place or "committed"))
    return Start("time", _moment(place, "earliest or latest"))


def until_of(time: datetime | str | None) -> Until | None:
    """Where to end: ``now`` or a time; nowhere for ``None``.

    Raises:
        InputError: it is neither.
    """
    if time is None:
        return None
    return Until() if time == "now" else Until(_moment(time, "now"))


def _moment(time: datetime | str, words: str) -> int:
    """A time, where words may be given as well."""
    try:
        return to_us(time)
    except InputError as error:
        raise InputError(f"{error.message}, nor is it {words}", hint=error.hint) from None


def _run(works: Sequence[_Work], stop: threading.Event, tell: Callable[[], None]) -> None:
    wait = _POLL_SECONDS / len(works)
    while not stop.is_set():
        # One source that has messages does not wait for another one that has none.
        took = [work.step(0 if len(works) > 1 else wait) for work in works]
        tell()
        if not any(took):
            if all(work.reader.is_finished() for work in works):
                return
            if len(works) > 1:
                stop.wait(wait)


class Told(Protocol):
    """A source that is worked off, as far as is told of it."""

    def measure(self) -> None:
        """Take the speed since the last time."""

    def progress(self) -> SourceProgress:
        """How far it is."""
        ...


def teller(works: Sequence[Told], progress: Progress | None, told_at: float) -> Callable[[], None]:
    """What tells how far some sources are, when the last time is long enough ago; it may be called all the time."""
    last = told_at

    def tell() -> None:
        nonlocal last
        if time.monotonic() >= last + _PROGRESS_SECONDS:
            last = time.monotonic()
            for work in works:
                work.measure()
            if progress is not None:
                progress([work.progress() for work in works])

    return tell


@contextmanager
def _opened(
    ctx: Context,
    plan: StreamPlan,
    start: Start,
    until: Until | None,
    dead_letters: str,
    max_dead_letters: int | None,
    stop: threading.Event,
) -> Iterator[_Work]:
    """A source, ready to be worked off; left as it should be when the run ends."""
    work = _Work(ctx, plan, max_dead_letters, stop)
    work.is_bounded = until is not None
    broker = open_broker(ctx.config, plan.source, ctx.online)
    try:
        work.send = dead_letters_to(ctx, plan.source.name, broker, dead_letters)
        work.reader = broker.read(plan.group, start, until)
        try:
            if plan.history is not None:
                work.history = StreamHistory(ctx, plan.history, stream_identity(plan, broker))
            yield work
        finally:
            work.reader.close()
    finally:
        broker.close()


@dataclass
class _Checked:
    """Rows of a batch that have been checked for every view, and of which none is written yet.

    Attributes:
        apart: (n,) which of them some view puts into its quarantine; they stay out of the history (as pushed ones do).
        writes: for the online store.
        unserved: facts of views that are not fed, but have the same history.
        kept: the rows of the history, where there is one.
    """

    apart: NDArray[np.bool_]
    writes: list[CheckedWrite] = field(default_factory=list)
    unserved: list[CheckedFacts] = field(default_factory=list)
    kept: pa.Table | None = None


class _Work:
    """One source that is worked off, batch by batch."""

    send: Send
    reader: StreamReader
    history: StreamHistory | None = None
    is_bounded = False

    def __init__(self, ctx: Context, plan: StreamPlan, max_dead: int | None, stop: threading.Event) -> None:
        self._ctx = ctx
        self._names = tuple(view.name for view in plan.views)
        self._max_dead = max_dead
        self._stop = stop
        self._counts: dict[int, PartitionCount] = {}
        self._reasons: Counter[str] = Counter()
        self._messages = self._written = self._stale = self._expired = self._capped = self._dead = self._late = 0
        self._rate = 0.0
        self._measured_at, self._measured = time.monotonic(), 0
        self._use(ctx.snapshot(), plan)

    def _use(self, snapshot: Snapshot, plan: StreamPlan) -> None:
        # One that is not found, or is another one than was applied, is no fault of a message.
        find_row_functions(self._ctx, plan.views)
        self._snapshot, self._plan = snapshot, plan
        self._delay_us = allowed_delay_us(plan.source)
        format_ = _format_of(plan.source)
        address = format_.schema_registry if isinstance(format_, AvroFormat) else ""
        schema_of = open_schema_registry(self._ctx.config, address) if address else None
        self._message_reader = MessageReader(format_, plan.columns, schema_of)

    def _follow(self) -> None:
        """Go by the newest definitions; views that are gone, or not fed any more, are an error."""
        snapshot = self._ctx.snapshot()
        if snapshot is not self._snapshot:
            (plan,) = plans_of(self._ctx, snapshot, self._names, history=self.history is not None)
            if self.history is not None and plan.history is not None and plan.history != self._plan.history:
                self._append_history(self.history)
                self.history.follow(plan.history)
            self._use(snapshot, plan)

    def step(self, wait_seconds: float) -> int:
        """Work off one batch; returns its messages, 0 when there were none in time."""
        messages = self.reader.poll(_BATCH_MESSAGES, _BATCH_BYTES, wait_seconds)
        if messages is None:
            self._ctx.newest.flush()
            # Whoever waits for the end waits for the positions of all.
            self.settle(is_last=self.is_bounded)
            return 0
        self._follow()
        now_us = self._ctx.now_us()
        taken = self._insist(lambda: self._message_reader.take(messages, now_us))
        taken = taken.without(self._unusable(taken.table, now_us))
        checked, wrong = isolated(taken.table.num_rows, lambda rows: self._checked(messages, taken, rows))
        taken = taken.without(wrong)
        self._bury(messages, taken.dead)
        for write in checked.writes:
            result = self._insist(lambda write=write: write.write(self._ctx))  # type: ignore[misc]
            self._written += result.written
            self._stale += result.stale
            self._expired += result.late
            self._capped += result.capped
        if self.history is not None and checked.kept is not None:
            self._keep(self.history, checked, messages, taken)
        self.reader.mark(self._count(messages, taken, now_us))
        self.settle()
        return len(messages)

    def settle(self, *, is_last: bool = False) -> None:
        """Say that everything polled is done, once the history has it, where there is one."""
        history = self.history
        if history is not None:
            if not is_last and not history.is_due():
                return
            self._append_history(history)
        self.reader.done()

    def _append_history(self, history: StreamHistory) -> None:
        names = {number: self.reader.name(number) for number in self.reader.notes()}
        self._insist(lambda: history.append(names))

    @staticmethod
    def _keep(history: StreamHistory, checked: _Checked, messages: Messages, taken: Taken) -> None:
        """Hold messages for the history, without those that are dead letters or put apart."""
        for facts in checked.unserved:
            facts.guard.settle()
        wanted = taken.numbers[~checked.apart]
        history.add(checked.kept, messages.partitions[wanted], [messages.offsets[number] for number in wanted.tolist()])
        for number in (*taken.dead, *taken.numbers[checked.apart].tolist()):
            history.leave_out(int(messages.partitions[number]), messages.offsets[number])

    def _unusable(self, table: pa.Table, now_us: int) -> dict[int, str]:
        """Rows that no view can use: too far ahead of now (WR-5), or without the key of any view."""
        times = numpy_values(table[self._plan.time])
        limit = now_us + self._ctx.max_future_skew_us
        found = {
            row: f"its time {format_us(int(times[row]))} is ahead of now by more than max_future_skew_seconds"
            for row in np.flatnonzero(times > limit).tolist()
        }
        has_key = np.zeros(table.num_rows, np.bool_)
        for keys in self._plan.keys:
            has_key |= _have(table, keys)
        wanted = " or ".join(dict.fromkeys("+".join(map(repr, keys)) for keys in self._plan.keys))
        for row in np.flatnonzero(~has_key).tolist():
            found.setdefault(row, f"it has the key of no view, which is {wanted}")
        return found

    def _checked(self, messages: Messages, taken: Taken, rows: Sequence[int]) -> _Checked:
        """Some of the rows, checked for every view and the history; a view leaves out rows that lack its own key."""
        import pyarrow as pa

        table, numbers = taken.table, taken.numbers
        if len(rows) != table.num_rows:
            table, numbers = table.take(pa.array(rows, pa.int64())), numbers[list(rows)]
        found = _Checked(np.zeros(len(numbers), np.bool_))
        plan = self._plan
        unserved = () if plan.history is None else plan.history.unserved
        for number, (view, keys) in enumerate((*zip(plan.views, plan.keys, strict=True), *unserved)):
            own = np.flatnonzero(_have(table, keys))
            if not len(own):
                continue
            part = table if len(own) == len(numbers) else table.take(pa.array(own))
            places = partial(self._places, messages, numbers[own])
            if number < len(plan.views):
                write = CheckedWrite.of(self._ctx, view, part, places)
                found.writes.append(write)
                facts = write.facts
            else:
                facts = CheckedFacts.of(self._ctx, view, part, places)
                found.unserved.append(facts)
            found.apart[own[facts.apart]] = True
        if self.history is not None:
            kept = table.filter(pa.array(~found.apart)) if found.apart.any() else table
            found.kept = self.history.rows(kept)
        return found

    def _places(
        self, messages: Messages, numbers: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> tuple[list[str], list[str]]:
        """Where the messages of some rows stand, which are numbers of messages."""
        places = numbers[rows].tolist()
        names = [self.reader.name(int(messages.partitions[place])) for place in places]
        return names, [str(messages.offsets[place]) for place in places]

    def _bury(self, messages: Messages, dead: Mapping[int, str]) -> None:
        """Send dead letters, and say each new reason once."""
        if not dead:
            return
        if self._max_dead is not None and self._dead + len(dead) > self._max_dead:
            raise too_many_dead(self._plan.source, self._max_dead, next(iter(dead.values())))
        keys, times = messages.keys, messages.times_us
        letters = [
            Letter(
                self.reader.name(int(messages.partitions[number])),
                messages.offsets[number],
                times[number],
                keys[number],
                messages.values[number],
                reason,
            )
            for number, reason in sorted(dead.items())
        ]
        self._insist(lambda: self.send(letters))
        self._dead += len(letters)
        for letter in letters:
            if letter.reason in self._reasons or len(self._reasons) < _REASONS:
                if letter.reason not in self._reasons:
                    place = f"partition {letter.partition}, offset {letter.offset}"
                    log.warning("%s: a dead letter (%s): %s", self._plan.source.name, place, letter.reason)
                self._reasons[letter.reason] += 1

    def _insist(self, call: Callable[[], T]) -> T:
        """Call, again and again while what is called cannot be reached, and stay in the group meanwhile."""
        return insist(call, self._stop, self.reader.keep_alive)

    # --- Counting ----------------------------------------------------------------------------------------------------

    def _count(self, messages: Messages, taken: Taken, now_us: int) -> dict[int, str]:
        """Count a batch; returns what is kept with the positions of its partitions."""
        self._messages += len(messages)
        kept = self.reader.notes()
        times = numpy_values(taken.table[self._plan.time])
        of_rows = messages.partitions[taken.numbers]
        notes = {}
        for partition in np.unique(messages.partitions).tolist():
            # Where another worker has had it meanwhile, its count goes on.
            count = PartitionCount.from_note(kept.get(partition, ""))
            here = int((messages.partitions == partition).sum())
            of_times = times[of_rows == partition]
            self._late += count.add(here, here - len(of_times), of_times, self._delay_us)
            count.at_us, count.rate = now_us, round(self._rate, 1)
            self._counts[partition] = count
            notes[partition] = count.note()
        return notes

    def measure(self) -> None:
        """Take the speed since the last time."""
        now = time.monotonic()
        self._rate = (self._messages - self._measured) / max(now - self._measured_at, 1e-9)
        self._measured_at, self._measured = now, self._messages

    def progress(self) -> SourceProgress:
        """How far it is."""
        held = self.reader.notes()
        return SourceProgress(
            self._plan.source.name,
            self._names,
            self._plan.group,
            self._messages,
            self._written,
            self._stale,
            self._expired,
            self._capped,
            self._dead,
            self._late,
            dict(self._reasons.most_common()),
            self.reader.lag(),
            watermark_us([count for number, count in self._counts.items() if number in held], self._delay_us),
            self._rate,
        )


@dataclass(frozen=True)
class PartitionProgress:
    """How far a group is in one partition.

    Attributes:
        partition: its name.
        committed: where reading goes on; ``None`` when nothing was committed.
        end: where the next message will stand.
        lag: messages between the two; ``None`` where the broker does not count them.
        count: what was counted up to the position.
    """

    partition: str
    committed: int | str | None
    end: int | str
    lag: int | None
    count: PartitionCount


@dataclass(frozen=True)
class StreamStatus:
    """How far the views of one source are.

    Attributes:
        source: its name.
        views: which it feeds.
        group: the group of consumers.
        partitions: each of them.
        watermark_us: how far event times have got in all partitions that had a message; ``None`` before the first one.
    """

    source: str
    views: tuple[str, ...]
    group: str
    partitions: tuple[PartitionProgress, ...]
    watermark_us: int | None


def stream_status(ctx: Context, feature_views: Sequence[str] = (), *, history: bool = False) -> list[StreamStatus]:
    """How far the streams are that feed some views, as their brokers tell; nothing is read or moved.

    Args:
        ctx: the opened project.
        feature_views: which; all that have a stream, are online and enabled when empty.
        history: of the workers that append to the history as well.

    Raises:
        NotFoundError, RequestError, StreamError: as ``run_stream`` does.
    """
    found = []
    for plan in plans_of(ctx, ctx.snapshot(), feature_views, history=history):
        broker = open_broker(ctx.config, plan.source, ctx.online)
        try:
            status = broker.status(plan.group)
        finally:
            broker.close()
        partitions = tuple(
            PartitionProgress(each.partition, each.committed, each.end, each.lag, PartitionCount.from_note(each.note))
            for each in status
        )
        watermark = watermark_us([each.count for each in partitions], allowed_delay_us(plan.source))
        names = tuple(view.name for view in plan.views)
        found.append(StreamStatus(plan.source.name, names, plan.group, partitions, watermark))
    return found


def insist(call: Callable[[], T], stop: threading.Event, meanwhile: Callable[[], object] = int) -> T:
    """Call, again and again while what is called cannot be reached.

    Args:
        call: what to do.
        stop: when it is set, nothing is waited for any more.
        meanwhile: called after each pause.

    Raises:
        StoppedError: ``stop`` was set.
    """
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return call()
        except TiffinError as error:
            if not error.retryable:
                raise
            log.warning("%s; trying again in %g s", error.message, pause)
        if stop.wait(pause):
            raise StoppedError
        meanwhile()
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def too_many_dead(source: StreamSource, limit: int, reason: str) -> StreamError:
    """The error of a run with more dead letters than it was given."""
    return StreamError(
        f"{source.subject} has more than {limit} dead letters; the last reason: {reason}",
        subject=source.subject,
        location=source.location,
        hint="mend the format or the producer; the messages are delivered again",
    )


def allowed_delay_us(source: StreamSource) -> int | None:
    """How late a message of a source may be; ``None`` for any time."""
    delay = source.watermark_delay_threshold if isinstance(source, KafkaSource) else None
    return None if delay is None else duration_us(delay)


def _format_of(source: Any) -> StreamFormat:
    given: Any = source.record_format if isinstance(source, KinesisSource) else source.message_format
    found: StreamFormat = given
    return found


def _have(table: pa.Table, columns: Sequence[str]) -> Any:
    """(n,) whether a row has all of some columns."""
    there = np.ones(table.num_rows, np.bool_)
    for name in columns:
        there &= valid_mask(table[name])
    return there
