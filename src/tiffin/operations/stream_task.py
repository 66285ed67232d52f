"""What a stream engine carries to the messages: the work of a worker on some of them, in a process on any machine.

A task takes along the settings and the definitions that it needs, so that it asks no registry. It writes what it makes
of the messages into the online store itself; what it gives back are counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from tiffin.contracts.stream import Messages, StreamReader
from tiffin.errors import TiffinError
from tiffin.operations.context import Context
from tiffin.operations.stream import work_off
from tiffin.planning.stream import Histories, plan_stream
from tiffin.registry.snapshot import Entry, Snapshot

if TYPE_CHECKING:
    from tiffin.config import RepoConfig
    from tiffin.time import Clock


class TaskResult(msgspec.Struct):
    """What became of the messages of a task.

    Attributes:
        ends: by partition, the offset after the last message.
        notes: by partition, what is kept with that position.
        messages, written, stale, expired, capped, dead, late: as ``SourceProgress`` has them.
        reasons: why messages were dead letters, and how often.
        error: as data, the error that it has failed with; nothing else counts then.
    """

    ends: dict[int, int] = {}
    notes: dict[int, str] = {}
    messages: int = 0
    written: int = 0
    stale: int = 0
    expired: int = 0
    capped: int = 0
    dead: int = 0
    late: int = 0
    reasons: dict[str, int] = {}
    error: dict[str, str] | None = None


@dataclass(frozen=True)
class Definitions:
    """A snapshot as text, for another process: objects that were built from it stay here."""

    project: str
    version: int
    documents: tuple[str, ...]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Definitions:
        """Those of a snapshot."""
        return cls(snapshot.project, snapshot.version, tuple(entry.document for entry in snapshot.entries))

    def snapshot(self) -> Snapshot:
        """The snapshot again."""
        return Snapshot(self.project, self.version, tuple(map(Entry.from_document, self.documents)))


@dataclass(frozen=True)
class TaskHistory:
    """The history that the messages of a task are appended to.

    Attributes:
        stream: tells the stream from all others.
        columns: those of the history, as they were read once for all tasks.
    """

    stream: str
    columns: Histories = field(repr=False)


@dataclass(frozen=True)
class StreamTask:
    """Works off messages of whole partitions; called by an engine, anywhere.

    Attributes:
        config: the settings.
        clock: tells ``now``.
        definitions: of the project.
        views: which are fed; they have one source.
        notes: by partition, what was counted before.
        dead_letters: where those go; where the settings say, when empty.
        history: what the messages are appended to as well, if they are.
    """

    config: RepoConfig = field(repr=False)
    clock: Clock
    definitions: Definitions = field(repr=False)
    views: tuple[str, ...]
    notes: Mapping[int, str]
    dead_letters: str
    history: TaskHistory | None = None

    def __call__(self, messages: Iterator[Messages]) -> bytes:
        """Work them off; returns a ``TaskResult`` as JSON."""
        reader = HandedReader(messages, self.notes)
        try:
            ctx = _context(self)
            history = self.history
            (plan,) = plan_stream(ctx.snapshot(), self.views, None if history is None else history.columns)
            done = work_off(ctx, plan, reader, self.dead_letters, "" if history is None else history.stream)
        except TiffinError as error:
            # An engine would only hand on its text, and try again what is wrong for good.
            return msgspec.json.encode(TaskResult(error=error.to_dict()))
        notes = {partition: reader.notes()[partition] for partition in reader.ends}
        counts = (done.messages, done.written, done.stale, done.expired, done.capped, done.dead, done.late)
        return msgspec.json.encode(TaskResult(reader.ends, notes, *counts, dict(done.reasons)))


class HandedReader(StreamReader):
    """Reads batches that are handed to it, up to the last one.

    Args:
        batches: they; of each partition that is among them, all messages, in their order.
        notes: by partition, what was kept with the position before.

    Attributes:
        ends: by partition, the offset after the last message that is done.
    """

    def __init__(self, batches: Iterator[Messages], notes: Mapping[int, str]) -> None:
        self.ends: dict[int, int] = {}
        self._batches = batches
        self._notes = dict(notes)
        self._polled: dict[int, int] = {}
        self._is_finished = False

    def poll(self, max_messages: int, max_bytes: int, wait_seconds: float) -> Messages | None:
        """The next batch, as large as it was handed in."""
        for batch in self._batches:
            if len(batch):
                ends = (int(offset) + 1 for offset in batch.offsets)
                self._polled |= zip(batch.partitions.tolist(), ends, strict=True)
                return batch
        self._is_finished = True
        return None

    def mark(self, notes: Mapping[int, str]) -> None:
        """Note something about the messages polled so far."""
        self._notes |= notes

    def done(self, *, flush: bool = False) -> None:
        """Say that everything polled so far is durable."""
        self.ends |= self._polled

    def notes(self) -> Mapping[int, str]:
        """What is kept with the positions."""
        return self._notes

    def keep_alive(self) -> None:
        """Nobody else waits for these messages."""

    def name(self, partition: int) -> str:
        """The number."""
        return str(partition)

    def is_finished(self) -> bool:
        """Whether the last batch has been polled."""
        return self._is_finished

    def lag(self) -> int | None:
        """The engine knows, not this."""
        return None

    def close(self) -> None:
        """There is nothing to let go of."""


@dataclass
class _Held:
    """The repository that this process has open; engines keep processes for many tasks."""

    ctx: Context
    definitions: Definitions | None = None


_held: _Held | None = None


def _context(task: StreamTask) -> Context:
    """The repository as a task wants it; a store is opened once per process, not once per task."""
    global _held
    if _held is None or _held.ctx.config != task.config:
        if _held is not None:
            _held.ctx.close()
        _held = _Held(Context(task.config))
        _held.ctx.stop_looking()
    _held.ctx.clock = task.clock
    if _held.definitions != task.definitions:
        _held.ctx.adopt(task.definitions.snapshot())
        _held.definitions = task.definitions
    return _held.ctx
