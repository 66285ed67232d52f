"""The contract of a message broker: batches of messages, and how far they have been worked off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tiffin.errors import UnsupportedError

if TYPE_CHECKING:
    from tiffin.contracts.stream_engine import GroupPositions, StreamAddress
    from tiffin.definitions import StreamSource


@dataclass(frozen=True)
class StreamCapabilities:
    """What a broker can do, as data.

    Attributes:
        name: the short name of the backend.
        shares: several workers share the partitions of a stream, and a lost worker's move on.
        publishes: dead letters can go to a topic of its own.
        link: where the vendor documents the limits that it relies on.
    """

    name: str
    shares: bool
    publishes: bool
    link: str = ""


class Cursors(Protocol):
    """Keeps bytes under names, durably; where a broker does not keep positions itself."""

    def get_cursor(self, table: str, /) -> bytes | None:
        """What was kept last."""
        ...

    def put_cursor(self, table: str, cursor: bytes, /) -> None:
        """Keep it."""
        ...


@dataclass(frozen=True)
class Messages:
    """A batch of n messages. Those of one partition stand in their order.

    Attributes:
        values: their bytes; ``None`` for a message without a value.
        partitions: (n,) the number of each one's partition.
        offsets: where each stands in its partition.
        read_keys, read_times_us, read_headers: give the rest when it is asked for, which is seldom.
    """

    values: Sequence[bytes | None]
    partitions: NDArray[np.int32]
    offsets: Sequence[int | str]
    read_keys: Callable[[], Sequence[bytes | None]]
    read_times_us: Callable[[], Sequence[int]]
    read_headers: Callable[[], Sequence[Sequence[tuple[str, bytes | None]]]]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def keys(self) -> Sequence[bytes | None]:
        """(n,) the keys that they were sent with."""
        return self.read_keys()

    @property
    def times_us(self) -> Sequence[int]:
        """(n,) when the broker got them, or the producer sent them."""
        return self.read_times_us()

    def header(self, name: str) -> Sequence[bytes | None]:
        """(n,) a header; of several with one name the last."""
        return [dict(headers or ()).get(name) for headers in self.read_headers()]


@dataclass(frozen=True)
class Start:
    """Where reading begins.

    Attributes:
        place: ``committed`` (else ``earliest``), ``earliest``, ``latest`` or ``time``.
        time_us: for ``time``: the first message that the broker got at that moment or later.
    """

    place: str = "committed"
    time_us: int = 0


@dataclass(frozen=True)
class Until:
    """Where reading ends.

    Attributes:
        time_us: before the first message that the broker got at that moment or later; ``None`` for what is there when
            reading begins.
    """

    time_us: int | None = None


@dataclass(frozen=True)
class Letter:
    """A message that could not be used.

    Attributes:
        partition, offset: where it is.
        time_us: when the broker got it.
        key, value: its bytes.
        reason: why, in words.
    """

    partition: str
    offset: int | str
    time_us: int
    key: bytes | None
    value: bytes | None
    reason: str


@dataclass(frozen=True)
class PartitionStatus:
    """How far a partition has been worked off.

    Attributes:
        partition: its name.
        committed: where reading would go on; ``None`` when nothing was committed.
        end: where the next message will stand; empty where the broker does not tell.
        lag: messages between the two; ``None`` where the broker does not count them.
        note: what was kept together with the position.
    """

    partition: str
    committed: int | str | None
    end: int | str
    lag: int | None
    note: str = ""


class StreamReader(ABC):
    """Reads one stream as a member of a group. Used by one thread.

    Guarantees:
        STR-1: a message is delivered again, to this worker or another one, until ``done`` was called after the ``poll``
        that gave it. So it may be delivered several times, and later than its successors were.
        What ``mark`` notes is kept with exactly the messages that were polled before it.
    """

    @abstractmethod
    def poll(self, max_messages: int, max_bytes: int, wait_seconds: float) -> Messages | None:
        """The next messages, at most about so many; ``None`` when there are none within the time.

        Partitions may come and go in here, and nowhere else but in ``keep_alive``.

        Raises:
            StreamError: the broker refuses.
        """

    @abstractmethod
    def mark(self, notes: Mapping[int, str]) -> None:
        """Note something about the messages polled so far, to be kept with their position once they are done.

        Args:
            notes: for partitions, by their number; at most 2 kB each.
        """

    @abstractmethod
    def done(self, *, flush: bool = False) -> None:
        """Say that everything polled so far is durable.

        Args:
            flush: return only when the position is durable; without it that may take a moment.
        """

    @abstractmethod
    def notes(self) -> Mapping[int, str]:
        """The notes of the partitions that are read now: as marked last, else as kept where this reader began."""

    @abstractmethod
    def keep_alive(self) -> None:
        """Stay a member of the group without polling, while a batch takes long; called every few seconds."""

    @abstractmethod
    def name(self, partition: int) -> str:
        """The name of a partition by its number."""

    @abstractmethod
    def is_finished(self) -> bool:
        """Whether the end is reached, where there is one."""

    @abstractmethod
    def lag(self) -> int | None:
        """About how many messages wait in the partitions that are read now; ``None`` where it is not known."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group; what was said to be done is durable then."""


class StreamBroker(ABC):
    """A stream at its broker.

    Every vendor error is wrapped once, here, in a ``StreamError`` that names the stream and no secret.
    """

    capabilities: ClassVar[StreamCapabilities]
    #: A dataclass of the options that it has in the section ``streams``, with their defaults.
    options_type: ClassVar[type]

    @classmethod
    @abstractmethod
    def from_config(cls, source: StreamSource, options: Mapping[str, object], cursors: Cursors) -> Self:
        """Build it from a source and the options of its section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """

    @abstractmethod
    def read(self, group: str, start: Start, until: Until | None) -> StreamReader:
        """Become a member of a group.

        Args:
            group: its members share the messages, and it remembers how far they are.
            start: where to begin in each partition, the first time that this reader gets it.
            until: where to end; ``None`` for never.

        Raises:
            StreamError: the stream is not there, or the broker refuses; names what is there.
            StreamUnavailableError: the broker cannot be reached.
        """

    def identity(self) -> str:
        """What tells this stream from another one that had its name before; empty where the broker does not tell.

        Raises as ``read`` does.
        """
        return ""

    @abstractmethod
    def status(self, group: str) -> list[PartitionStatus]:
        """How far a group is, without becoming a member. Raises as ``read`` does."""

    @abstractmethod
    def publish(self, topic: str, letters: Sequence[Letter]) -> None:
        """Send dead letters to a topic; they are durable when it returns.

        Raises:
            UnsupportedError: the broker has no topics to send to.
            StreamError: they cannot be sent.
        """

    def address(self) -> StreamAddress:
        """Where the stream is, for an engine that reads it by itself.

        Raises:
            UnsupportedError: engines cannot read it.
            ConfigError: an option has no counterpart there.
        """
        raise self._not_for_engines()

    def positions(self, group: str) -> GroupPositions:
        """The positions of a group that does not read by this broker. Raises as ``read`` does, and as ``address``."""
        raise self._not_for_engines()

    def _not_for_engines(self) -> UnsupportedError:
        name = self.capabilities.name
        hint = "leave out stream_engine, and start workers by `tiffin stream run`"
        return UnsupportedError(f"streams of {name} are read by workers, not by a stream engine", hint=hint)

    def close(self) -> None:  # noqa: B027 - a broker may have nothing to let go of
        """Let go of connections."""
