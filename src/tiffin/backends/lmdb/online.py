"""The LMDB online store: rows in a memory map, read without a copy of a page and without a lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import lmdb

from tiffin.backends.lmdb import layout
from tiffin.backends.lmdb.config import LmdbOptions
from tiffin.contracts.online import (
    ExtendBatch,
    OnlineCapabilities,
    OnlineLocation,
    OnlineStore,
    ReadRequest,
    SwapBatch,
    Swapped,
    TableInfo,
    WriteBatch,
    WriteResult,
    no_table,
)
from tiffin.errors import StoreError, StoreFullError

_DROPPED_PER_TRANSACTION = 50_000


@dataclass
class _Shared:
    """A folder's environment, which a process may open only once, and how many stores use it."""

    environment: Any
    pid: int
    options: LmdbOptions
    users: int = 0


_OPEN: dict[str, _Shared] = {}
_OPEN_LOCK = threading.Lock()


class LmdbOnlineStore(OnlineStore):
    """Rows in an LMDB folder.

    A batch is one transaction; LMDB has one writer at a time, among all processes, and readers that never wait. All
    tables of a read are read at one moment.
    """

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="lmdb",
        durable=True,
        multi_process=True,
        native_async=True,
        compared_by="one write transaction",
        read_by="one read transaction over all views",
        max_row_bytes=(1 << 32) - 1,
        link="http://www.lmdb.tech/doc/",
    )

    options_type: ClassVar[type] = LmdbOptions

    def __init__(self, options: LmdbOptions, location: OnlineLocation) -> None:
        path = os.path.expanduser(options.path)
        path = path if os.path.isabs(path) else os.path.join(location.base_path, path)
        self._path = os.path.realpath(path)
        self._options = options
        self._subject = f"online store lmdb {self._path}"
        self._lock = threading.Lock()
        self._mine: _Shared | None = None

    # --- The environment and errors ----------------------------------------------------------------------------------

    @property
    def _environment(self) -> Any:
        """The environment of this process; a forked child opens its own."""
        mine = self._mine
        if mine is None or mine.pid != os.getpid():
            with self._lock:
                if self._mine is None or self._mine.pid != os.getpid():
                    self._mine = self._join()
                mine = self._mine
        return mine.environment

    def _join(self) -> _Shared:
        with _OPEN_LOCK:
            shared = _OPEN.get(self._path)
            if shared is not None and shared.pid != os.getpid():
                # What a fork has inherited cannot be used, and is in the way of a new one.
                shared.environment.close()
            if shared is None or shared.pid != os.getpid():
                shared = _OPEN[self._path] = _Shared(self._open(), os.getpid(), self._options)
            if replace(shared.options, path="") != replace(self._options, path=""):
                hint = "give every store of the folder the same map_size_gb, sync and max_readers"
                message = f"{self._subject} is open in this process with other options"
                raise StoreError(message, subject=self._subject, hint=hint)
            shared.users += 1
            return shared

    def _open(self) -> Any:
        options = self._options
        with self._failures("opened"):
            os.makedirs(self._path, exist_ok=True)
            environment = lmdb.open(
                self._path,
                map_size=int(options.map_size_gb * (1 << 30)),
                sync=options.sync,
                metasync=options.sync,
                max_readers=options.max_readers,
                max_spare_txns=8,
                readahead=False,
            )
            # A reader that was killed keeps its place, and with it every page that it could still have read.
            environment.reader_check()
            return environment

    @contextmanager
    def _failures(self, done: str) -> Iterator[None]:
        """Wrap LMDB's errors once."""
        try:
            yield
        except (lmdb.Error, OSError) as error:
            raise self._wrapped(error, done) from error

    def _wrapped(self, error: Exception, done: str) -> StoreError:
        message = f"{self._subject} could not be {done}: {error}"
        if isinstance(error, lmdb.MapFullError | lmdb.DiskError) or "No space left" in str(error):
            hint = "make room, or raise map_size_gb; rows written before stay, and running again converges"
            return StoreFullError(message, subject=self._subject, hint=hint)
        if isinstance(error, lmdb.InvalidError | lmdb.CorruptedError | lmdb.VersionMismatchError):
            hint = "this is no LMDB folder, or damaged: move it away, then run `tiffin apply` and `tiffin materialize`"
            return StoreError(message, subject=self._subject, hint=hint)
        if isinstance(error, lmdb.MapResizedError):
            hint = (
                "another process has let it grow further: give every process the same map_size_gb, and start this again"
            )
            return StoreError(message, subject=self._subject, hint=hint)
        if isinstance(error, lmdb.ReadersFullError):
            hint = "raise max_readers"
            return StoreError(message, subject=self._subject, hint=hint)
        return StoreError(message, subject=self._subject, hint="check the folder and its permissions")

    def _number(self, transaction: Any, table: str) -> bytes:
        """The number of a table.

        Raises:
            StoreError: the table was never ensured.
        """
        found: bytes | None = transaction.get(layout.table_key(table))
        if found is None:
            raise no_table(self._subject, table)
        return found[: layout.NUMBER_BYTES]

    # --- Tables ------------------------------------------------------------------------------------------------------

    def ensure(self, tables: Sequence[str]) -> None:
        """Give the tables numbers that have none."""
        with self._failures("written"), self._environment.begin(write=True) as transaction:
            next_number = int.from_bytes(transaction.get(layout.NEXT, b"\x01"), "big")
            for table in tables:
                if transaction.get(layout.table_key(table)) is None:
                    number = next_number.to_bytes(layout.NUMBER_BYTES, "big")
                    transaction.put(layout.table_key(table), number + table.encode())
                    next_number += 1
            transaction.put(layout.NEXT, next_number.to_bytes(layout.NUMBER_BYTES, "big"))

    def drop(self, tables: Sequence[str]) -> None:
        """Take the tables' names away and remove their rows, in transactions of a bounded size."""
        for table in tables:
            with self._failures("written"):
                with self._environment.begin() as transaction:
                    found = transaction.get(layout.table_key(table))
                if found is not None:
                    while self._drop_some(found[: layout.NUMBER_BYTES]):
                        pass
                with self._environment.begin(write=True) as transaction:
                    # What was written meanwhile goes with the name. A table of the same name that was made meanwhile
                    # has another number, and stays.
                    if found is not None:
                        self._drop_rows(transaction, found[: layout.NUMBER_BYTES], None)
                    if transaction.get(layout.table_key(table)) == found:
                        transaction.delete(layout.table_key(table))
                        transaction.delete(layout.cursor_key(table))

    def _drop_some(self, number: bytes) -> bool:
        with self._environment.begin(write=True) as transaction:
            return self._drop_rows(transaction, number, _DROPPED_PER_TRANSACTION) == _DROPPED_PER_TRANSACTION

    @staticmethod
    def _drop_rows(transaction: Any, number: bytes, most: int | None) -> int:
        count = 0
        with transaction.cursor() as cursor:
            if cursor.set_range(number):
                while count != most and cursor.key()[: layout.NUMBER_BYTES] == number:
                    count += 1
                    if not cursor.delete() or not cursor.key():
                        break
        return count

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``."""
        with self._failures("read"), self._environment.begin() as transaction:
            found = {}
            for place, value in _from(transaction, layout.table_range()):
                if not place.startswith(layout.table_range()):
                    break
                found[value[layout.NUMBER_BYTES :].decode()] = value[: layout.NUMBER_BYTES]
            names = sorted(name for name in found if name.startswith(prefix))
            return [self._info(transaction, name, found[name]) for name in names]

    @staticmethod
    def _info(transaction: Any, table: str, number: bytes) -> TableInfo:
        rows = size = 0
        for place, value in _from(transaction, number):
            if not place.startswith(number):
                break
            rows += 1
            size += sum(map(len, layout.pair(place, value)))
        return TableInfo(table, rows, size)

    # --- Rows --------------------------------------------------------------------------------------------------------

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows in one transaction, in the order of their keys."""
        newest = batch.newest()
        with self._failures("written"), self._environment.begin(write=True) as transaction:
            number = self._number(transaction, batch.table)
            newer = self._newer(transaction, number, newest)
            with transaction.cursor() as cursor:
                cursor.putmulti(newer)
        return WriteResult(len(newer), len(batch.rows) - len(newer))

    @staticmethod
    def _newer(transaction: Any, number: bytes, batch: WriteBatch) -> list[tuple[bytes, bytes]]:
        """The pairs that are newer than what is there, by rising key."""
        get, newer = transaction.get, []
        if max(map(len, batch.keys), default=0) <= layout.MOST_BYTES:
            head = number + layout.SHORT
            # Keys come once, so that rows are never compared here.
            for key, row in sorted(zip(batch.keys, batch.rows, strict=True)):
                place = head + key
                held = get(place)
                if held is None or row > held:
                    newer.append((place, row))
            return newer
        places = [layout.row_key(number, key) for key in batch.keys]
        for place, key, row in sorted(zip(places, batch.keys, batch.rows, strict=True)):
            held = get(place)
            if layout.is_long(place):
                if held is None or row > layout.without_key(held):
                    newer.append((place, layout.with_key(key, row)))
            elif held is None or row > held:
                newer.append((place, row))
        return newer

    def swap(self, batch: SwapBatch) -> list[bool]:
        """Put rows in the place of others that are as expected, in one transaction."""
        with self._failures("written"), self._environment.begin(write=True) as transaction:
            number = self._number(transaction, batch.table)
            held = self._read_table(transaction, ReadRequest(batch.table, batch.keys))
            found = list(map(Swapped.of, held, batch.expected, batch.rows))
            for key, row, each in zip(batch.keys, batch.rows, found, strict=True):
                if each is Swapped.NOW:
                    _put(transaction, number, key, row)
        return [each is not Swapped.REFUSED for each in found]

    def extend(self, batch: ExtendBatch) -> list[bool]:
        """Put facts behind those that rows have, in one transaction."""
        with self._failures("written"), self._environment.begin(write=True) as transaction:
            number = self._number(transaction, batch.table)
            held = self._read_table(transaction, ReadRequest(batch.table, batch.keys))
            rows = batch.extended(held)
            for key, row, old in zip(batch.keys, rows, held, strict=True):
                if row is not None and row is not old:
                    _put(transaction, number, key, row)
        return [row is not None for row in rows]

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, in one transaction."""
        try:
            with self._environment.begin() as transaction:
                return [self._read_table(transaction, request) for request in requests]
        except lmdb.Error as error:
            raise self._wrapped(error, "read") from error

    def _read_table(self, transaction: Any, request: ReadRequest) -> list[bytes | None]:
        number, get = self._number(transaction, request.table), transaction.get
        if max(map(len, request.keys), default=0) <= layout.MOST_BYTES:
            head = number + layout.SHORT
            return [get(head + key) for key in request.keys]
        places = [layout.row_key(number, key) for key in request.keys]
        return [
            layout.without_key(value) if value is not None and layout.is_long(place) else value
            for place, value in zip(places, map(get, places), strict=True)
        ]

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``: a few microseconds in a memory map, for which a thread would cost more than it saves."""
        return self.read(requests)

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table, short keys by rising key, then the long ones."""
        with self._failures("read"), self._environment.begin() as transaction:
            number = self._number(transaction, table)
        start: bytes | None = number
        while start is not None:
            page: list[tuple[bytes, bytes]] = []
            with self._failures("read"), self._environment.begin() as transaction:
                found = _from(transaction, start)
                start = None
                for place, value in found:
                    if not place.startswith(number):
                        break
                    if len(page) == page_rows:
                        start = place
                        break
                    page.append(layout.pair(place, value))
            if page:
                yield page

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""
        with self._failures("written"), self._environment.begin(write=True) as transaction:
            number = self._number(transaction, table)
            return sum(transaction.delete(layout.row_key(number, key)) for key in keys)

    # --- Cursors -----------------------------------------------------------------------------------------------------

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""
        with self._failures("read"), self._environment.begin() as transaction:
            found: bytes | None = transaction.get(layout.cursor_key(table))
        return found

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor."""
        with self._failures("written"), self._environment.begin(write=True) as transaction:
            transaction.put(layout.cursor_key(table), cursor)

    def close(self) -> None:
        """Close the environment, when no other store of this process uses the folder."""
        with self._lock, _OPEN_LOCK:
            mine, self._mine = self._mine, None
            if mine is None or mine.pid != os.getpid():
                return
            mine.users -= 1
            if mine.users == 0:
                _OPEN.pop(self._path, None)
                mine.environment.close()


def _from(transaction: Any, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs from a key on."""
    with transaction.cursor() as cursor:
        if cursor.set_range(start):
            yield from cursor.iternext()


def _put(transaction: Any, number: bytes, key: bytes, row: bytes) -> None:
    """Put a row in, whatever is there."""
    place = layout.row_key(number, key)
    transaction.put(place, layout.with_key(key, row) if layout.is_long(place) else row)
