"""The contract of an engine that reads streams on other machines and lets them do there what a worker does here.

The engine reads and spreads the messages. What they become is not its business: it carries a task to where they are and
small results back. How far a group is stays at the broker, as with workers, so that either can go on where the other
one has stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from tiffin.contracts.stream import Messages, Start, Until

#: Works off messages of one or more whole partitions, those of a partition in their order; the result says what became
#: of them. It can be pickled, runs in any process that has the same packages, and may run twice, even at once.
Task = Callable[[Iterator[Messages]], bytes]


@dataclass(frozen=True)
class StreamAddress:
    """A stream, for a program that reads it by itself.

    Attributes:
        broker: the short name of the kind of broker.
        stream: the name of the topic or stream.
        settings: of the client that Java programs have for the broker; secrets are among them.
    """

    broker: str
    stream: str
    settings: Mapping[str, str] = field(repr=False)


class GroupPositions(ABC):
    """How far a group is that reads nothing itself. Used by one thread at a time."""

    @abstractmethod
    def begin(self, start: Start) -> Mapping[int, int]:
        """Where reading begins: for each partition the offset of the first message.

        Raises:
            StreamError: messages after the position of the group are not in the stream any more.
        """

    @abstractmethod
    def ends(self, until: Until) -> Mapping[int, int]:
        """Where reading ends: for each partition the offset behind the last message. Raises as ``commit`` does."""

    @abstractmethod
    def notes(self) -> Mapping[int, str]:
        """What is kept with the positions, by partition."""

    @abstractmethod
    def commit(self, ends: Mapping[int, int], notes: Mapping[int, str]) -> None:
        """Say that everything before some offsets is durable; that is durable too when it returns.

        Args:
            ends: by partition, where reading would go on.
            notes: by partition, what is kept with the position, at most 2 kB.

        Raises:
            StreamError: workers are in the group, and share its partitions among themselves.
            StreamUnavailableError: the broker cannot be reached.
        """

    @abstractmethod
    def lag(self) -> int:
        """How many messages wait after the positions; raises as ``commit`` does."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class StreamJob:
    """A stream that is to be worked off.

    Attributes:
        name: the group, which names the job.
        address: where the messages are.
        begin: by partition, the first message; a partition that comes later is read from its beginning.
        ends: by partition, the offset that reading ends before; nothing from there on is handed to a task. ``None`` for
            never. An engine may read further, without an end: it is stopped when this is reached.
        task: gives, before each batch, what is done with its messages.
        done: takes the results of a batch; an error that it raises ends the query.
        seconds_between: after one batch has begun, the next one had better wait about so long.
    """

    name: str
    address: StreamAddress
    begin: Mapping[int, int]
    ends: Mapping[int, int] | None
    task: Callable[[], Task]
    done: Callable[[Sequence[bytes]], None]
    seconds_between: float = 0.0


class StreamQuery(ABC):
    """A job that runs.

    Guarantees:
        Batches follow one another: ``done`` is called with the results of all tasks of a batch, each once, when the
        last one has ended, and before the ``task`` of the next batch. Messages that no ``done`` has been called for may
        have been worked off too, and are read again by a later job.
    """

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, at most so long; returns whether it has.

        Raises:
            TiffinError: it has failed: with what ``task`` or ``done`` have raised.
            StreamError: or with what the engine tells.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it after the batch that is worked on; returns when it has ended."""


@dataclass(frozen=True)
class StreamEngineCapabilities:
    """What an engine can do, as data.

    Attributes:
        name: the short name of the backend.
        brokers: whose streams it reads.
        link: where the vendor documents what it relies on.
    """

    name: str
    brokers: frozenset[str]
    link: str = ""


class StreamEngine(ABC):
    """Runs jobs. Every vendor error is wrapped once, here, and names no secret."""

    capabilities: ClassVar[StreamEngineCapabilities]
    #: A dataclass of the options of the section ``stream_engine``, with their defaults.
    options_type: ClassVar[type]

    @classmethod
    @abstractmethod
    def from_config(cls, options: Mapping[str, object], project: str) -> Self:
        """Build it from the options of its section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """

    @abstractmethod
    def start(self, job: StreamJob) -> StreamQuery:
        """Start a job.

        Raises:
            StreamError: the engine cannot be had, or refuses.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the engine; jobs that still run end at once."""
