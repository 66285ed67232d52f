"""The memory online store: dictionaries under a lock, gone when the process ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from tiffin.contracts.online import (
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
from tiffin.contracts.options import options_from


class _Data:
    """What all memory stores of one project and name share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tables: dict[str, dict[bytes, bytes]] = {}
        self.cursors: dict[str, bytes] = {}


_SHARED: dict[tuple[str, str], _Data] = {}
_SHARED_LOCK = threading.Lock()


@dataclass(frozen=True)
class MemoryOptions:
    """The ``online_store`` section for the type ``memory``.

    Attributes:
        name: stores of one project and name share their rows in this process; the repository's folder when left out.
    """

    name: str = ""


class MemoryOnlineStore(OnlineStore):
    """Rows in this process; real guarantees, gone when the process ends."""

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="memory",
        durable=False,
        multi_process=False,
        native_async=True,
        compared_by="a lock",
        read_by="a dictionary a table",
    )

    def __init__(self, data: _Data | None = None) -> None:
        data = data or _Data()
        self._lock = data.lock
        self._tables = data.tables
        self._cursors = data.cursors

    @classmethod
    def from_config(cls, options: Mapping[str, object], location: OnlineLocation) -> Self:
        """Build the store from the ``online_store`` section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        name = options_from(MemoryOptions, "online_store", options).name or os.path.abspath(location.base_path)
        with _SHARED_LOCK:
            return cls(_SHARED.setdefault((location.project, name), _Data()))

    def _table(self, table: str) -> dict[bytes, bytes]:
        if table not in self._tables:
            raise no_table("online store memory", table)
        return self._tables[table]

    def ensure(self, tables: Sequence[str]) -> None:
        """Create the tables that are not there."""
        with self._lock:
            for table in tables:
                self._tables.setdefault(table, {})

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with their rows and cursors."""
        with self._lock:
            for table in tables:
                self._tables.pop(table, None)
                self._cursors.pop(table, None)

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``."""
        with self._lock:
            return [
                TableInfo(name, len(rows), sum(len(key) + len(row) for key, row in rows.items()))
                for name, rows in sorted(self._tables.items())
                if name.startswith(prefix)
            ]

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write each row that is newer than what is there."""
        written = 0
        newest = batch.newest()
        with self._lock:
            rows = self._table(batch.table)
            for key, row in zip(newest.keys, newest.rows, strict=True):
                held = rows.get(key)
                if held is None or row > held:
                    rows[key] = row
                    written += 1
        return WriteResult(written, len(batch.rows) - written)

    def swap(self, batch: SwapBatch) -> list[bool]:
        """Put rows in the place of others that are as expected."""
        found = []
        with self._lock:
            rows = self._table(batch.table)
            for key, expected, row in zip(batch.keys, batch.expected, batch.rows, strict=True):
                found.append(Swapped.of(rows.get(key), expected, row))
                if found[-1] is Swapped.NOW:
                    rows[key] = row
        return [each is not Swapped.REFUSED for each in found]

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables."""
        with self._lock:
            return [[self._table(request.table).get(key) for key in request.keys] for request in requests]

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``; nothing waits."""
        return self.read(requests)

    async def write_async(self, batch: WriteBatch) -> WriteResult:
        """Like ``write``; nothing waits."""
        return self.write(batch)

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table by rising key, as they are when it begins."""
        with self._lock:
            pairs = sorted(self._table(table).items())
        for start in range(0, len(pairs), page_rows):
            yield pairs[start : start + page_rows]

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""
        with self._lock:
            rows = self._table(table)
            return sum(rows.pop(key, None) is not None for key in keys)

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""
        with self._lock:
            return self._cursors.get(table)

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor."""
        with self._lock:
            self._cursors[table] = cursor
