"""The SQLite online store: one file, one table per view, readers that never wait for the writer."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Self

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
_CREATE_CURSORS = f"CREATE TABLE IF NOT EXISTS {_CURSORS} (name TEXT PRIMARY KEY, cursor BLOB NOT NULL) WITHOUT ROWID"
#: Keys per statement and tables per statement; far below SQLite's limits of variables and of compound terms.
_KEYS_PER_READ = 512
_TABLES_PER_READ = 40
#: Statements take 1 key or a multiple of this, so that few of them serve every request.
_WIDTH_STEP = 16
#: Read without copying, large pages for bulk writes, and a cache that holds the changed pages of one batch.
_MMAP_BYTES, _PAGE_BYTES, _CACHE_KIB = 1 << 30, 16_384, 32_768
_CAPITAL = re.compile("[A-Z^]")
_ESCAPED = re.compile(r"\^(.)", re.DOTALL)
_RESERVED = ("sqlite_", _CURSORS)
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_FSYNC")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ")


class _Handle:
    """A thread's connection; closed when the thread is gone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.pid = os.getpid()
        self.close = weakref.finalize(self, connection.close)


class SqliteOnlineStore(OnlineStore):
    """Rows in a SQLite file.

    Each thread has a connection of its own. A batch is one transaction, synced to disk before ``write`` returns. The
    order of rows is compared by SQLite itself: blobs compare as unsigned bytes. All tables of a read are read in one
    statement, so at one moment.
    """

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="sqlite",
        durable=True,
        multi_process=True,
        native_async=False,
        compared_by="ON CONFLICT DO UPDATE ... WHERE, in one transaction",
        read_by="one SELECT over all tables",
        link="https://www.sqlite.org/lang_upsert.html",
    )

    def __init__(self, options: SqliteOptions, location: OnlineLocation) -> None:
        path = os.path.expanduser(options.path)
        self._path = path if os.path.isabs(path) else os.path.join(location.base_path, path)
        self._timeout = options.busy_timeout_seconds
        self._local = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._statements: dict[object, str] = {}

    @classmethod
    def from_config(cls, options: Mapping[str, object], location: OnlineLocation) -> Self:
        """Build the store from the ``online_store`` section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        return cls(options_from(SqliteOptions, "online_store", options), location)

    # --- Connections and errors --------------------------------------------------------------------------------------

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread; a forked child opens its own."""
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None or handle.pid != os.getpid():
            handle = self._local.handle = self._connect()
        return handle.connection

    def _connect(self) -> _Handle:
        with self._failures("opened"):
            os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            try:
                # Only a new file takes a page size, and only before anything else.
                connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                self._use_wal(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            except BaseException:
                connection.close()
                raise
        handle = _Handle(connection)
        with self._lock:
            self._handles.add(handle)
        return handle

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to a write-ahead log. SQLite does not wait for others while it switches, so this does."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if not _code(error).startswith(_BUSY) or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    @contextmanager
    def _failures(self, done: str, table: str = "") -> Iterator[None]:
        """Wrap SQLite's errors once."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._wrapped(error, done, table) from error

    def _wrapped(self, error: Exception, done: str, table: str) -> StoreError:
        text, code = str(error), _code(error)
        subject = f"online store sqlite {self._path}"
        if "no such table" in text:
            hint = "run `tiffin apply` to create it"
            return StoreError(f"{subject} has no table {table!r}", subject=subject, hint=hint)
        if code.startswith(_BUSY):
            hint = "another process is writing; try again, or raise busy_timeout_seconds"
            return StoreUnavailableError(f"{subject} is locked", subject=subject, hint=hint)
        message = f"{subject} could not be {done}: {text}"
        if code.startswith(_FULL):
            hint = "make room; rows written before stay, and running again converges"
            return StoreFullError(message, subject=subject, hint=hint)
        if code.startswith(_DAMAGED):
            hint = "the file is damaged: move it away, then run `tiffin apply` and `tiffin materialize`"
            return StoreError(message, subject=subject, hint=hint)
        return StoreError(message, subject=subject, hint="check the file, its folder and their permissions")

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

    # --- Tables ------------------------------------------------------------------------------------------------------

    def ensure(self, tables: Sequence[str]) -> None:
        """Create the tables that are not there."""
        with self._transaction() as connection:
            connection.execute(_CREATE_CURSORS)
            for table in tables:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {_quote(table)} "
                    "(key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID"
                )

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with their rows and cursors."""
        with self._transaction() as connection:
            connection.execute(_CREATE_CURSORS)
            for table in tables:
                connection.execute(f"DROP TABLE IF EXISTS {_quote(table)}")
                connection.execute(f"DELETE FROM {_CURSORS} WHERE name = ?", (table,))

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``."""
        with self._failures("read"):
            listed = self._connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> ?", (_CURSORS,)
            ).fetchall()
            found = sorted(table for (name,) in listed if (table := _table_name(name)).startswith(prefix))
            count = "SELECT count(*), coalesce(sum(length(key) + length(row)), 0) FROM "
            return [TableInfo(table, *self._connection.execute(count + _quote(table)).fetchone()) for table in found]

    # --- Rows --------------------------------------------------------------------------------------------------------

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows in one transaction, in the order of their keys, which keeps SQLite's pages warm."""
        newest = batch.newest()
        keys, rows = newest.keys, newest.rows
        order = sorted(range(len(keys)), key=keys.__getitem__)
        with self._transaction(batch.table) as connection:
            before = connection.total_changes
            connection.executemany(
                f"INSERT INTO {_quote(batch.table)} (key, row) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET row = excluded.row WHERE excluded.row > row",
                zip(map(keys.__getitem__, order), map(rows.__getitem__, order), strict=True),
            )
            written = connection.total_changes - before
        return WriteResult(written, len(batch.rows) - written)

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, in one statement where their number allows it."""
        try:
            connection = self._connection
            most = max([len(request.keys) for request in requests], default=0)
            if len(requests) == 1 or len(requests) > _TABLES_PER_READ or most > _KEYS_PER_READ:
                return [self._read_table(connection, request.table, request.keys) for request in requests]
            return self._read_tables(connection, requests)
        except sqlite3.Error as error:
            missing = _table_name(str(error).partition("no such table: ")[2])
            raise self._wrapped(error, "read", missing) from error

    def _read_table(self, connection: sqlite3.Connection, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        if len(keys) == 1:
            found = connection.execute(self._statement(table, 1), keys).fetchone()
            return [None if found is None else found[0]]
        rows: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_PER_READ):
            part = keys[start : start + _KEYS_PER_READ]
            width = max(_width(len(part)), _WIDTH_STEP)
            rows.update(connection.execute(self._statement(table, width), _padded(part, width)))
        return list(map(rows.get, keys))

    def _read_tables(self, connection: sqlite3.Connection, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        shape = tuple([(request.table, _width(len(request.keys))) for request in requests])
        sql = self._statements.get(shape)
        if sql is None:
            sql = self._statements[shape] = " UNION ALL ".join(
                _select(table, width, f"{number}, key, ") for number, (table, width) in enumerate(shape)
            )
        keys: list[bytes] = []
        for request, (_, width) in zip(requests, shape, strict=True):
            keys += _padded(request.keys, width)
        found: list[dict[bytes, bytes]] = [{} for _ in requests]
        for number, key, row in connection.execute(sql, keys):
            found[number][key] = row
        return [list(map(rows.get, request.keys)) for rows, request in zip(found, requests, strict=True)]

    def _statement(self, table: str, width: int) -> str:
        """The statement that reads so many keys: rows with their keys, the row alone for one key."""
        sql = self._statements.get((table, width))
        if sql is None:
            sql = self._statements[table, width] = _select(table, width, "" if width == 1 else "key, ")
        return sql

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table by rising key."""
        sql = f"SELECT key, row FROM {_quote(table)} WHERE key > ? ORDER BY key LIMIT ?"
        after = b""
        while True:
            with self._failures("read", table):
                page = self._connection.execute(sql, (after, page_rows)).fetchall()
            if not page:
                return
            yield page
            after = page[-1][0]

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""
        with self._transaction(table) as connection:
            before = connection.total_changes
            connection.executemany(f"DELETE FROM {_quote(table)} WHERE key = ?", [(key,) for key in keys])
            return connection.total_changes - before

    # --- Cursors -----------------------------------------------------------------------------------------------------

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""
        try:
            found = self._connection.execute(f"SELECT cursor FROM {_CURSORS} WHERE name = ?", (table,)).fetchone()
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return None
            raise self._wrapped(error, "read", table) from error
        return None if found is None else found[0]

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor, synced to disk."""
        with self._transaction() as connection:
            connection.execute(_CREATE_CURSORS)
            connection.execute(f"INSERT OR REPLACE INTO {_CURSORS} (name, cursor) VALUES (?, ?)", (table, cursor))

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for handle in list(self._handles):
                handle.close()
            self._handles.clear()
            self._local = threading.local()


def _quote(table: str) -> str:
    return '"' + _sql_name(table).replace('"', '""') + '"'


def _sql_name(table: str) -> str:
    """The name of a table in SQLite, which does not tell capitals apart and keeps some names for itself.

    A capital is written as ``^`` and the small letter, ``^`` as ``^^``; a reserved name gets ``^_`` in front.
    """
    name = _CAPITAL.sub(lambda found: "^" + found[0].lower(), table)
    return f"^_{name}" if name.startswith(_RESERVED) else name


def _table_name(sql_name: str) -> str:
    """The table that has a name in SQLite."""
    return _ESCAPED.sub(lambda found: found[1].upper(), sql_name.removeprefix("^_"))


def _code(error: Exception) -> str:
    """SQLite's own name of an error, such as ``SQLITE_BUSY``."""
    return getattr(error, "sqlite_errorname", None) or ""


def _width(keys: int) -> int:
    """How many keys the statement for so many takes."""
    return keys if keys <= 1 else -(-keys // _WIDTH_STEP) * _WIDTH_STEP


def _padded(keys: Sequence[bytes], width: int) -> Sequence[bytes]:
    """Keys, some of them twice, to fill a statement."""
    return keys if len(keys) == width else [*keys, *[keys[0]] * (width - len(keys))]


def _select(table: str, width: int, columns: str) -> str:
    condition = "= ?" if width == 1 else f"IN ({', '.join('?' * width)})"
    return f"SELECT {columns}row FROM {_quote(table)} WHERE key {condition}"
