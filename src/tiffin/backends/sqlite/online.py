"""The SQLite online store: one file, one table per view, readers that never wait for the writer."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from tiffin.backends.sqlite.config import SqliteOptions
from tiffin.contracts.online import (
    OnlineCapabilities,
    OnlineLocation,
    OnlineStore,
    ReadRequest,
    TableInfo,
    WriteBatch,
    WriteResult,
)
from tiffin.contracts.options import options_from
from tiffin.errors import StoreError, StoreFullError, StoreUnavailableError

_CURSORS = "tiffin_cursors"
#: Keys per statement; far below SQLite's limit of variables.
_KEYS_PER_READ = 512
_SCHEMA = f"CREATE TABLE IF NOT EXISTS {_CURSORS} (name TEXT PRIMARY KEY, cursor BLOB NOT NULL) WITHOUT ROWID"


class SqliteOnlineStore(OnlineStore):
    """Rows in a SQLite file.

    Each thread has a connection of its own. A batch is one transaction, synced to disk before ``write`` returns. The
    order of rows is compared by SQLite itself: blobs compare as unsigned bytes.
    """

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="sqlite",
        durable=True,
        multi_process=True,
        native_async=False,
        link="https://www.sqlite.org/lang_upsert.html",
    )

    def __init__(self, options: SqliteOptions, location: OnlineLocation) -> None:
        path = os.path.expanduser(options.path)
        self._path = path if os.path.isabs(path) else os.path.join(location.base_path, path)
        self._timeout = options.busy_timeout_seconds
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] = []
        self._reads: dict[tuple[str, int], str] = {}

    @classmethod
    def from_config(cls, options: Mapping[str, object], location: OnlineLocation) -> SqliteOnlineStore:
        """Build the store from the ``online_store`` section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        return cls(options_from(SqliteOptions, "online_store", options), location)

    @property
    def _connection(self) -> sqlite3.Connection:
        local = self._local
        if getattr(local, "pid", None) != os.getpid():
            local.connection = self._connect()
            local.pid = os.getpid()
        connection: sqlite3.Connection = local.connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        with self._failures("opened"):
            os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA mmap_size = 1073741824")
            connection.execute(_SCHEMA)
        with self._lock:
            self._open.append(connection)
        return connection

    @contextmanager
    def _failures(self, done: str, table: str = "") -> Iterator[None]:
        """Wrap SQLite's errors once."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._wrapped(error, done, table) from error

    def _wrapped(self, error: Exception, done: str, table: str) -> StoreError:
        text = str(error)
        subject = f"online store sqlite {self._path}"
        if "no such table" in text:
            hint = "run `tiffin apply` to create it"
            return StoreError(f"{subject} has no table {table!r}", subject=subject, hint=hint)
        if "locked" in text or "busy" in text:
            hint = "another process is writing; try again, or raise busy_timeout_seconds"
            return StoreUnavailableError(f"{subject} is locked", subject=subject, hint=hint)
        if "full" in text or "No space" in text or "File too large" in text or "disk I/O" in text:
            hint = "make room; rows written before stay, and running again converges"
            return StoreFullError(f"{subject} could not be {done}: {text}", subject=subject, hint=hint)
        return StoreError(
            f"{subject} could not be {done}: {text}", subject=subject, hint="check the file and its folder"
        )

    @contextmanager
    def _transaction(self, table: str = "") -> Iterator[sqlite3.Connection]:
        connection = self._connection
        with self._failures("written", table):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def ensure(self, tables: Sequence[str]) -> None:
        """Create the tables that are not there."""
        with self._transaction() as connection:
            for table in tables:
                name = _quote(table)
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {name} (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID"
                )

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with their rows and cursors."""
        with self._transaction() as connection:
            for table in tables:
                connection.execute(f"DROP TABLE IF EXISTS {_quote(table)}")
                connection.execute(f"DELETE FROM {_CURSORS} WHERE name = ?", (table,))

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``."""
        with self._failures("read"):
            found = self._connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, ?) = ? ORDER BY name",
                (len(prefix), prefix),
            ).fetchall()
            count = "SELECT count(*), coalesce(sum(length(key) + length(row)), 0) FROM "
            return [
                TableInfo(name, *self._connection.execute(count + _quote(name)).fetchone())
                for (name,) in found
                if name != _CURSORS
            ]

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows in one transaction, in the order of their keys, which keeps SQLite's pages warm."""
        name = _quote(batch.table)
        pairs = sorted(zip(batch.keys, batch.rows, strict=True))
        with self._transaction(batch.table) as connection:
            before = connection.total_changes
            connection.executemany(
                f"INSERT INTO {name} (key, row) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET row = excluded.row WHERE excluded.row > row",
                pairs,
            )
            written = connection.total_changes - before
        return WriteResult(written, len(pairs) - written)

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys; SQLite is in this process, so a request per table costs no round trip."""
        try:
            connection = self._connection
            return [self._read(connection, request.table, request.keys) for request in requests]
        except sqlite3.Error as error:
            raise self._wrapped(error, "read", requests[0].table if requests else "") from error

    def _read(self, connection: sqlite3.Connection, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        if len(keys) == 1:
            found = connection.execute(self._read_sql(table, 1), keys).fetchone()
            return [None if found is None else found[1]]
        rows: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_PER_READ):
            part = list(keys[start : start + _KEYS_PER_READ])
            width = 1 << (len(part) - 1).bit_length()
            part += part[:1] * (width - len(part))
            rows.update(connection.execute(self._read_sql(table, width), part).fetchall())
        return [rows.get(key) for key in keys]

    def _read_sql(self, table: str, width: int) -> str:
        """The statement for ``width`` keys; few widths, so that SQLite's statement cache holds them."""
        sql = self._reads.get((table, width))
        if sql is None:
            condition = "= ?" if width == 1 else f"IN ({', '.join('?' * width)})"
            sql = self._reads[table, width] = f"SELECT key, row FROM {_quote(table)} WHERE key {condition}"
        return sql

    def scan(self, table: str, *, after: bytes | None = None, limit: int = 10_000) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` pairs by rising key."""
        with self._failures("read", table):
            sql = f"SELECT key, row FROM {_quote(table)} WHERE key > ? ORDER BY key LIMIT ?"
            return self._connection.execute(sql, (after or b"", limit)).fetchall()

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""
        with self._transaction(table) as connection:
            before = connection.total_changes
            connection.executemany(f"DELETE FROM {_quote(table)} WHERE key = ?", [(key,) for key in keys])
            return connection.total_changes - before

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""
        with self._failures("read"):
            found = self._connection.execute(f"SELECT cursor FROM {_CURSORS} WHERE name = ?", (table,)).fetchone()
        return None if found is None else found[0]

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor, synced to disk."""
        with self._transaction() as connection:
            connection.execute(f"INSERT OR REPLACE INTO {_CURSORS} (name, cursor) VALUES (?, ?)", (table, cursor))

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
