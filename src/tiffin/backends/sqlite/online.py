"""The SQLite online store: one file, one table per view, readers that never wait for the writer."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from tiffin.backends.sqlite.config import SqliteOptions
from tiffin.backends.sqlite.tables import (
    BLOBS,
    CREATE_CURSORS,
    CURSORS,
    LAYOUT,
    NUMBERS,
    PARTS,
    Part,
    key_of,
    places_by_part,
    quote,
    split,
    table_name,
)
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
from tiffin.errors import StoreError, StoreFullError, StoreUnavailableError

#: Keys per statement and tables per statement; far below SQLite's limits of variables and of compound terms.
_KEYS_PER_READ = 512
_TABLES_PER_READ = 40
#: Statements take 1 key or a multiple of this, so that few of them serve every request.
_WIDTH_STEP = 16
#: Read without copying, and a cache that holds the changed pages of one batch.
_MMAP_BYTES, _CACHE_KIB = 1 << 30, 32_768
#: A stream changes a few hundred rows at a time, each in another page, and each page is written as a whole; keys in
#: bytes are found in fewer steps in larger ones. This is between SQLite's 4 kB and what bulk loads are fastest with.
_PAGE_BYTES = 8_192
#: So much of the log is copied into the file at once, by a write that waits for it.
_LOG_BYTES = 32 << 20
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

    options_type: ClassVar[type] = SqliteOptions

    def __init__(self, options: SqliteOptions, location: OnlineLocation) -> None:
        path = os.path.expanduser(options.path)
        self._path = path if os.path.isabs(path) else os.path.join(location.base_path, path)
        self._timeout = options.busy_timeout_seconds
        self._local = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._statements: dict[object, str] = {}

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
                # Before anything is set: a file that is refused stays as it is.
                self._check_layout(connection)
                # Only a new file takes a page size, and only before its first write.
                connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                self._use_wal(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_BYTES // _PAGE_BYTES}")
            except BaseException:
                connection.close()
                raise
        handle = _Handle(connection)
        with self._lock:
            self._handles.add(handle)
        return handle

    def _check_layout(self, connection: sqlite3.Connection) -> None:
        """Refuse a file whose tables of tiffin lie in another way than ``sqlite.tables`` says.

        A file without them may hold what it wants, such as a registry or the tables of Feast: names do not meet. Only
        one whose ``user_version`` is somebody else's is not to be shared.
        """
        # In one statement, so of one moment: another process may be making the first table.
        sql = "SELECT user_version, EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?) FROM pragma_user_version"
        found, is_ours = connection.execute(sql, (CURSORS,)).fetchone()
        if found == LAYOUT or (found == 0 and not is_ours):
            return
        subject = f"online store sqlite {self._path}"
        if found > LAYOUT:
            hint = "a newer tiffin wrote it, or another program: install that, or give `online_store` another path"
        else:
            hint = (
                "an older tiffin wrote it: move it away or give `online_store` another path, "
                "then run `tiffin apply` and `tiffin materialize`"
            )
        raise StoreError(f"{subject} is of layout {found}, this tiffin reads {LAYOUT}", subject=subject, hint=hint)

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
            return no_table(subject, table)
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
            self._prepare(connection)
            for table in tables:
                for part in PARTS:
                    connection.execute(f"CREATE TABLE IF NOT EXISTS {quote(table, part)} {part.columns}")

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with their rows and cursors."""
        with self._transaction() as connection:
            self._prepare(connection)
            for table in tables:
                for part in PARTS:
                    connection.execute(f"DROP TABLE IF EXISTS {quote(table, part)}")
                connection.execute(f"DELETE FROM {CURSORS} WHERE name = ?", (table,))

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> None:
        """What every file has, in the transaction that makes its first table."""
        connection.execute(f"PRAGMA user_version = {LAYOUT}")
        connection.execute(CREATE_CURSORS)

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``."""
        with self._failures("read"):
            # Tables of others may be in the file too; none of them has our prefix.
            sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, ?) = ?"
            listed = self._connection.execute(sql, (len(BLOBS.prefix), BLOBS.prefix))
            found = sorted(table_name(name) for (name,) in listed)
            return [self._info(table) for table in found if table.startswith(prefix)]

    def _info(self, table: str) -> TableInfo:
        count = "SELECT count(*), coalesce(sum({} + length(row)), 0) FROM {}"
        queries = [count.format(part.key_bytes, quote(table, part)) for part in PARTS]
        (rows, size), (more_rows, more_bytes) = (self._connection.execute(query).fetchone() for query in queries)
        return TableInfo(table, rows + more_rows, size + more_bytes)

    # --- Rows --------------------------------------------------------------------------------------------------------

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows in one transaction, in the order of their keys, which keeps SQLite's pages warm."""
        newest = batch.newest()
        whole = split(newest.keys) if newest.keys else (NUMBERS, ())
        with self._transaction(batch.table) as connection:
            before = connection.total_changes
            if whole is not None:
                self._write_part(connection, batch.table, *whole, newest.rows)
            else:
                for part, keys, places in places_by_part(newest.keys):
                    rows = [newest.rows[place] for place in places]
                    self._write_part(connection, batch.table, part, keys, rows)
            written = connection.total_changes - before
        return WriteResult(written, len(batch.rows) - written)

    @staticmethod
    def _write_part(
        connection: sqlite3.Connection, table: str, part: Part, keys: Sequence[Any], rows: Sequence[bytes]
    ) -> None:
        sql = (
            f"INSERT INTO {quote(table, part)} (key, row) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET row = excluded.row WHERE excluded.row > row"
        )
        order = sorted(range(len(keys)), key=keys.__getitem__)
        connection.executemany(sql, zip(map(keys.__getitem__, order), map(rows.__getitem__, order), strict=True))

    def swap(self, batch: SwapBatch) -> list[bool]:
        """Put rows in the place of others that are as expected: no other writer is let in between look and put."""
        with self._transaction(batch.table) as connection:
            connection.execute(f"SELECT 1 FROM {quote(batch.table)} LIMIT 0")  # no keys ask for no table
            held = self._read_table(connection, ReadRequest(batch.table, batch.keys))
            found = list(map(Swapped.of, held, batch.expected, batch.rows))
            places = [place for place, each in enumerate(found) if each is Swapped.NOW]
            self._replace(connection, batch.table, [batch.keys[n] for n in places], [batch.rows[n] for n in places])
        return [each is not Swapped.REFUSED for each in found]

    def extend(self, batch: ExtendBatch) -> list[bool]:
        """Put facts behind those that rows have: no other writer is let in between look and put."""
        with self._transaction(batch.table) as connection:
            connection.execute(f"SELECT 1 FROM {quote(batch.table)} LIMIT 0")  # no keys ask for no table
            held = self._read_table(connection, ReadRequest(batch.table, batch.keys))
            rows = batch.extended(held)
            new = [(key, row) for key, row, old in zip(batch.keys, rows, held, strict=True) if row and row is not old]
            self._replace(connection, batch.table, [key for key, _ in new], [row for _, row in new])
        return [row is not None for row in rows]

    @staticmethod
    def _replace(connection: sqlite3.Connection, table: str, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """Put rows in, whatever is there."""
        for part, names, places in places_by_part(keys):
            sql = f"INSERT OR REPLACE INTO {quote(table, part)} (key, row) VALUES (?, ?)"
            order = sorted(range(len(names)), key=names.__getitem__)
            connection.executemany(sql, [(names[n], rows[places[n]]) for n in order])

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, in one statement where their number allows it."""
        try:
            connection = self._connection
            if len(requests) == 1:
                return [self._read_table(connection, requests[0])]
            most = max([len(request.keys) for request in requests], default=0)
            if len(requests) > _TABLES_PER_READ or most > _KEYS_PER_READ:
                return [self._read_table(connection, request) for request in requests]
            return self._read_tables(connection, requests)
        except sqlite3.Error as error:
            missing = table_name(str(error).partition("no such table: ")[2])
            raise self._wrapped(error, "read", missing) from error

    def _read_table(self, connection: sqlite3.Connection, request: ReadRequest) -> list[bytes | None]:
        whole = split(request.keys) if request.keys else (NUMBERS, ())
        if whole is not None:
            return self._read_part(connection, request.table, *whole)
        found: list[bytes | None] = [None] * len(request.keys)
        for part, keys, places in places_by_part(request.keys):
            for place, row in zip(places, self._read_part(connection, request.table, part, keys), strict=True):
                found[place] = row
        return found

    def _read_part(
        self, connection: sqlite3.Connection, table: str, part: Part, keys: Sequence[Any]
    ) -> list[bytes | None]:
        if len(keys) == 1:
            found = connection.execute(self._statement(table, part, 1), keys).fetchone()
            return [None if found is None else found[0]]
        rows: dict[Any, bytes] = {}
        for start in range(0, len(keys), _KEYS_PER_READ):
            some = keys[start : start + _KEYS_PER_READ]
            width = max(_width(len(some)), _WIDTH_STEP)
            rows.update(connection.execute(self._statement(table, part, width), _padded(some, width)))
        return list(map(rows.get, keys))

    def _read_tables(self, connection: sqlite3.Connection, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        wanted = []
        # Views that share their keys, as most do, are asked for with the same list.
        last: Sequence[bytes] | None = None
        whole: tuple[Part, Sequence[Any]] | None = None
        for request in requests:
            if request.keys is not last:
                last, whole = request.keys, split(request.keys) if request.keys else (NUMBERS, ())
            if whole is None:
                return [self._read_table(connection, each) for each in requests]
            wanted.append((request.table, *whole))
        shape = tuple([(table, part.prefix, _width(len(keys))) for table, part, keys in wanted])
        sql = self._statements.get(shape)
        if sql is None:
            sql = self._statements[shape] = " UNION ALL ".join(
                _select(table, part, _width(len(keys)), f"{number}, key, ")
                for number, (table, part, keys) in enumerate(wanted)
            )
        bound: list[Any] = []
        for _, _, keys in wanted:
            bound += _padded(keys, _width(len(keys)))
        found: list[dict[Any, bytes]] = [{} for _ in requests]
        for number, key, row in connection.execute(sql, bound):
            found[number][key] = row
        return [list(map(rows.get, keys)) for rows, (_, _, keys) in zip(found, wanted, strict=True)]

    def _statement(self, table: str, part: Part, width: int) -> str:
        """The statement that reads so many keys: rows with their keys, the row alone for one key."""
        sql = self._statements.get((table, part.prefix, width))
        if sql is None:
            sql = self._statements[table, part.prefix, width] = _select(
                table, part, width, "" if width == 1 else "key, "
            )
        return sql

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table by rising key, numbers first."""
        for part in PARTS:
            sql = f"SELECT key, row FROM {quote(table, part)} WHERE key > ? ORDER BY key LIMIT ?"
            # The first page has no lower bound: the smallest number is a key like any other.
            first = sql.replace("WHERE key > ? ", "")
            after: tuple[Any, ...] = ()
            while True:
                with self._failures("read", table):
                    page = self._connection.execute(sql if after else first, (*after, page_rows)).fetchall()
                if not page:
                    break
                yield [(key_of(part, key), row) for key, row in page]
                after = (page[-1][0],)

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""
        with self._transaction(table) as connection:
            before = connection.total_changes
            for part, names, _ in places_by_part(keys):
                connection.executemany(f"DELETE FROM {quote(table, part)} WHERE key = ?", [(name,) for name in names])
            return connection.total_changes - before

    # --- Cursors -----------------------------------------------------------------------------------------------------

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""
        try:
            found = self._connection.execute(f"SELECT cursor FROM {CURSORS} WHERE name = ?", (table,)).fetchone()
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return None
            raise self._wrapped(error, "read", table) from error
        return None if found is None else found[0]

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor, synced to disk."""
        with self._transaction() as connection:
            self._prepare(connection)
            connection.execute(f"INSERT OR REPLACE INTO {CURSORS} (name, cursor) VALUES (?, ?)", (table, cursor))

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for handle in list(self._handles):
                handle.close()
            self._handles.clear()
            self._local = threading.local()


def _code(error: Exception) -> str:
    """SQLite's own name of an error, such as ``SQLITE_BUSY``."""
    return getattr(error, "sqlite_errorname", None) or ""


def _width(keys: int) -> int:
    """How many keys the statement for so many takes."""
    return keys if keys <= 1 else -(-keys // _WIDTH_STEP) * _WIDTH_STEP


def _padded(keys: Sequence[Any], width: int) -> Sequence[Any]:
    """Keys, some of them twice, to fill a statement."""
    return keys if len(keys) == width else [*keys, *[keys[0]] * (width - len(keys))]


def _select(table: str, part: Part, width: int, columns: str) -> str:
    condition = "= ?" if width == 1 else f"IN ({', '.join('?' * width)})"
    return f"SELECT {columns}row FROM {quote(table, part)} WHERE key {condition}"
