"""The contract of an online store: keys, order stamps and bytes, never feature types."""

from __future__ import annotations

import asyncio
import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from tiffin.contracts.options import options_from
from tiffin.errors import StoreError
from tiffin.online.tails import MARK_BYTES, Room, extended


@dataclass(frozen=True)
class OnlineCapabilities:
    """What a store can do, as data; the docs' table is made from it.

    Attributes:
        name: the short name in ``feature_store.yaml``.
        durable: written rows survive the end of the process.
        multi_process: several processes may use it at once.
        native_async: ``read_async`` does not occupy a thread.
        compared_by: what compares the rows of a key inside the store (WR-1), in a few words.
        read_by: what one read request is for the store, in a few words.
        expires: rows can leave the store by themselves some time after they expired.
        writers: how many batches at once a load writes fastest with.
        max_row_bytes: the largest row that it takes, ``None`` where nothing but memory limits it.
        link: where the vendor documents the limits that it relies on.
    """

    name: str
    durable: bool
    multi_process: bool
    native_async: bool
    compared_by: str
    read_by: str
    expires: bool = False
    writers: int = 1
    max_row_bytes: int | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """The keys that are wanted from one table; repeated keys are allowed."""

    table: str
    keys: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """Rows for one table; ``keys[i]`` belongs to ``rows[i]``.

    A row's bytes order it among the rows of its key: the greater bytes are the newer fact (``tiffin.online.rows``). The
    first 8 bytes are its event time: big-endian microseconds since 1970, the sign bit flipped.

    Attributes:
        ttl_us: how long after its event time a row is served; ``None`` for ever. A store that lets rows expire by
            itself may use it, and must keep a row for at least that long.
    """

    table: str
    keys: Sequence[bytes]
    rows: Sequence[bytes]
    ttl_us: int | None = None

    def newest(self) -> WriteBatch:
        """The batch with one row per key, the greatest; itself when no key comes twice."""
        if len(set(self.keys)) == len(self.keys):
            return self
        newest: dict[bytes, bytes] = {}
        for key, row in zip(self.keys, self.rows, strict=True):
            held = newest.get(key)
            if held is None or row > held:
                newest[key] = row
        return WriteBatch(self.table, list(newest), list(newest.values()), self.ttl_us)


@dataclass(frozen=True, slots=True)
class SwapBatch:
    """Rows that take the place of other rows; for state that is read, merged into and put back.

    No row may be the beginning of another one, and no two writers may make the same row: a row begins with a mark of
    its own.

    Attributes:
        table: the table.
        keys: the keys, each once.
        expected: for each key what the row begins with that is there; empty where none is.
        rows: for each key its new row.
    """

    table: str
    keys: Sequence[bytes]
    expected: Sequence[bytes]
    rows: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ExtendBatch:
    """Facts to put behind those that rows have; for state that is mostly added to.

    Attributes:
        table: the table.
        keys: the keys, each once.
        rows: for each key the facts, as a row that has nothing else (``tiffin.online.tails``).
        room: when they may be put behind what is there.
    """

    table: str
    keys: Sequence[bytes]
    rows: Sequence[bytes]
    room: Room

    def extended(self, held: Sequence[bytes | None]) -> list[bytes | None]:
        """For each key its new row, from the one that is there; the rule of every store that decides in Python."""
        return [extended(old, row, self.room) for old, row in zip(held, self.rows, strict=True)]


class Swapped(enum.Enum):
    """What a swap makes of the row that is there."""

    NOW = "now"
    BEFORE = "before"
    REFUSED = "refused"

    @classmethod
    def of(cls, held: bytes | None, expected: bytes, row: bytes) -> Swapped:
        """By the row that is held for a key; the rule of every store, for those that decide in Python."""
        if held == row:
            return cls.BEFORE
        is_expected = held is None if not expected else held is not None and held.startswith(expected)
        return cls.NOW if is_expected else cls.REFUSED


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of a batch: ``written`` keys have a new row now, and ``written + stale == len(batch.rows)``."""

    written: int
    stale: int


@dataclass(frozen=True)
class TableInfo:
    """A table of the store, for audits.

    Attributes:
        table: its name.
        rows: how many rows it holds: one a key, tombstones included, and the tiles of keys with many facts.
        size_bytes: keys and rows together, ``None`` when the store cannot tell.
        memory_bytes: about how much memory the store uses for it, overhead included; ``None`` when it cannot tell.
    """

    table: str
    rows: int
    size_bytes: int | None = None
    memory_bytes: int | None = None


class OnlineStore(ABC):
    """Keeps the newest row of every key of every table.

    One object is used by many threads at once. A table's name is any text without NUL; the store quotes it. Every
    vendor error is wrapped once, here, in a ``StoreError`` that names the store and not its secrets.

    Guarantees:
        WR-1: of two rows of a key the one with the greater bytes stays, compared inside the store.
        WR-2: writing a row again, in any order or split, leaves the same bytes.
        WR-3: a reader sees a whole row, never parts of two.
        WR-7: ``write`` returns only when the batch is durable; when it raises, running it again converges.
        ``swap`` is durable when it returns, too, and each of its keys is compared and put at one moment.
    """

    capabilities: ClassVar[OnlineCapabilities]
    #: A dataclass of the options that the store has, with their defaults.
    options_type: ClassVar[type]

    def __init__(self, options: Any, location: OnlineLocation) -> None:  # noqa: B027 - not every store has options
        """Keep the options, of ``options_type``; nothing is opened yet."""

    @classmethod
    def from_config(cls, options: Mapping[str, object], location: OnlineLocation) -> Self:
        """Build the store from the ``online_store`` section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        return cls(options_from(cls.options_type, "online_store", options), location)

    @abstractmethod
    def ensure(self, tables: Sequence[str]) -> None:
        """Create the tables that are not there; called by ``apply`` and before the first write."""

    @abstractmethod
    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with their rows and cursors; a table that is not there is no error."""

    @abstractmethod
    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``, sorted by name."""

    @abstractmethod
    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows, each only when it is newer than what is there. A key may come several times in a batch.

        Raises:
            StoreError: the table was never ensured.
            StoreUnavailableError: the store cannot be reached in time.
            StoreFullError: there is no room; rows written before stay.
        """

    @abstractmethod
    def swap(self, batch: SwapBatch) -> list[bool]:
        """Put rows in the place of others, each only when what is there begins as expected, compared inside the store.

        Returns:
            For each key whether its new row is there now; so a swap that is made again because its reply was lost says
            the same. A row that was refused has changed nothing: read, merge and swap again.

        Raises:
            StoreError: the table was never ensured.
            StoreUnavailableError: the store cannot be reached in time.
            StoreFullError: there is no room; rows swapped before stay.
        """

    def extend(self, batch: ExtendBatch) -> list[bool]:
        """Put facts behind those that rows have, each only when ``tails.extended`` allows it; where none is, as it is.

        Each key is looked at and put at one moment. A store does it in one round trip if it can; here it is a read and
        a swap.

        Returns:
            For each key whether its facts are there now; the same for a batch that is made again because its reply was
            lost. Facts that were refused have changed nothing: merge them.

        Raises:
            StoreError: as ``swap``.
        """
        held = self.read([ReadRequest(batch.table, batch.keys)])[0]
        rows = batch.extended(held)
        found = [row is not None for row in rows]
        places = [place for place, row in enumerate(rows) if row is not None and row is not held[place]]
        if places:
            expected = [(held[place] or b"")[:MARK_BYTES] for place in places]
            new: list[bytes] = [rows[place] for place in places]  # type: ignore[misc]
            swapped = self.swap(SwapBatch(batch.table, [batch.keys[place] for place in places], expected, new))
            for place, done in zip(places, swapped, strict=True):
                found[place] = done
        return found

    @abstractmethod
    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, in one round trip where the store allows it.

        Returns:
            For each request a list as long as its keys; ``None`` where there is no row. Tombstones come back as rows.

        Raises:
            StoreError: a table was never ensured.
        """

    @property
    def stands_in(self) -> bool:
        """Whether the last read here was answered by something that stands in for the store.

        What belongs together, a row and the rows that it names, may then not all be there, and reading again does not
        help. Asked by who just read, in the same thread or task. Never true of a store itself.
        """
        return False

    def read_latest(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``, and every write that returned before is seen; for what is made from rows and kept.

        The same as ``read``, but in a store whose reads may come from a replica that is behind.
        """
        return self.read(requests)

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``; a store without native async uses a thread."""
        return await asyncio.to_thread(self.read, requests)

    async def write_async(self, batch: WriteBatch) -> WriteResult:
        """Like ``write``; a store without native async uses a thread."""
        return await asyncio.to_thread(self.write, batch)

    @abstractmethod
    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of key and row of a table, page by page, in the store's own order; for audits and sweeps.

        A page has at most about ``page_rows`` pairs. A key that is there all the time comes exactly once; one that is
        written or removed meanwhile may come or not.

        Raises:
            StoreError: the table was never ensured.
        """

    @abstractmethod
    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright and return how many there were. Deletes that must outlast replays are tombstones."""

    @abstractmethod
    def get_cursor(self, table: str) -> bytes | None:
        """What ``put_cursor`` kept last for a table."""

    @abstractmethod
    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a table's materialization cursor, durably (MAT-2)."""

    def close(self) -> None:  # noqa: B027 - a store may have nothing to let go of
        """Let go of connections; the object is not used afterwards."""

    async def close_async(self) -> None:  # noqa: B027 - as above
        """Let go of the connections of the running event loop; ``close`` cannot."""

    def scan_all(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """Every pair of key and row of a table, one by one."""
        for page in self.scan(table):
            yield from page


@dataclass(frozen=True)
class OnlineLocation:
    """What a store is built with, besides its own options.

    Attributes:
        project: the project; a store that is shared must keep projects apart by the table names that it is given.
        base_path: the folder that relative paths are relative to.
    """

    project: str
    base_path: str = field(default=".")


def no_table(subject: str, table: str) -> StoreError:
    """What a store raises that is asked for a table which was never ensured."""
    return StoreError(f"{subject} has no table {table!r}", subject=subject, hint="run `tiffin apply` to create it")
