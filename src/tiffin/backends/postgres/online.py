"""The PostgreSQL online store: a table a view, one prepared statement a request, rows compared by ``ON CONFLICT``."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, TypeVar

from tiffin.backends.postgres import wire
from tiffin.backends.postgres.config import PostgresOptions
from tiffin.contracts.guard import Guard
from tiffin.contracts.loops import PerLoop
from tiffin.contracts.online import (
    OnlineCapabilities,
    OnlineLocation,
    OnlineStore,
    ReadRequest,
    SwapBatch,
    TableInfo,
    WriteBatch,
    WriteResult,
)
from tiffin.errors import StoreError, StoreFullError, StoreUnavailableError

T = TypeVar("T")
#: What is done on a connection.
_Work = Callable[[wire.Link], wire.Exchange[T]]

_TEXT, _BYTEA, _BYTEA_ARRAY, _TEXT_ARRAY = 25, 17, 1001, 1009
_ROWS_PER_STATEMENT = 5_000
_TABLES_PER_READ = 50
#: One process at a time makes tables; the number is tiffin's own.
_LOCK = 7_438_211_905
_NO_TABLE = ("42P01", "3F000")
_UNAVAILABLE = ("08", "40", "53300", "55P03", "57P", "57014")
_FULL = ("53100", "53200", "54")
#: Keys whose row is the new one afterwards. Rows are locked in the order of their keys, so that nobody waits in a ring;
#: a condition is looked at again once a lock is had. The new row that is there already is put once more: its writer may
#: have lost the reply.
_SWAP = """
WITH given AS (SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) AS given (key, expected, row)),
locked AS MATERIALIZED (SELECT key FROM {0} WHERE key = ANY($1) ORDER BY key FOR UPDATE),
swapped AS (
  UPDATE {0} AS held SET row = given.row FROM given JOIN locked ON locked.key = given.key
  WHERE held.key = given.key AND octet_length(given.expected) > 0
  AND (held.row = given.row OR substring(held.row FROM 1 FOR octet_length(given.expected)) = given.expected)
  RETURNING held.key
),
made AS (
  INSERT INTO {0} AS held (key, row) SELECT key, row FROM given WHERE octet_length(expected) = 0 ORDER BY key
  ON CONFLICT (key) DO UPDATE SET row = excluded.row WHERE held.row = excluded.row RETURNING held.key
)
SELECT key FROM swapped UNION ALL SELECT key FROM made
"""
#: What libpq says when client and server do not agree on TLS, whenever they try.
_DISTRUSTED = ("certificate", "private key file", "SSL was required")
#: What the server says when it will not let this user in, whenever he asks.
_REFUSED = ("authentication failed", "does not exist", "pg_hba.conf", "permission denied", "no password supplied")


class PostgresOnlineStore(OnlineStore):
    """Rows in PostgreSQL.

    A table of the contract is a table called ``tiffin_`` and a number; numbers are given by a sequence, never twice,
    and kept in this object. A table that is not found by its number is looked up again by its name.
    """

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="postgres",
        durable=True,
        multi_process=True,
        native_async=True,
        compared_by="ON CONFLICT DO UPDATE ... WHERE",
        read_by="one prepared SELECT over all views",
        max_row_bytes=(1 << 30) - 1,
        writers=2,
        link="https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT",
    )

    options_type: ClassVar[type] = PostgresOptions

    def __init__(self, options: PostgresOptions, location: OnlineLocation) -> None:
        self._options = options
        self._conninfo = options.conninfo
        self._subject = f"online store postgres {options.words}"
        self._guard = Guard(self._subject, options)
        self._schema = '"' + options.db_schema.replace('"', '""') + '"'
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._idle: list[wire.Link] = []
        self._slots = threading.BoundedSemaphore(options.max_conn)
        self._loops: PerLoop[_LoopPool] = PerLoop(lambda: _LoopPool(options.max_conn), _LoopPool.close)
        self._names: dict[str, str] = {}
        self._statements: dict[tuple[str, ...], str] = {}

    # --- Connections and errors --------------------------------------------------------------------------------------

    def _call(self, exchange: _Work[T], until: float) -> T:
        """Run an exchange on a connection of the pool; one that fails half way is thrown away."""
        if self._pid != os.getpid():
            self._start_anew()
        if not self._slots.acquire(timeout=max(until - time.monotonic(), 0)):
            raise self._unavailable(f"all {self._options.max_conn} connections are in use", "raise max_conn")
        link: wire.Link | None = None
        try:
            with self._lock:
                link = self._idle.pop() if self._idle else None
            if link is None:
                link, opening = wire.opening(self._conninfo)
                wire.drive(link.raw, opening, until)
            return wire.drive(link.raw, exchange(link), until)
        except wire.ExchangeError as error:
            raise self._wrapped(error) from error
        finally:
            if link is not None and link.is_good:
                with self._lock:
                    self._idle.append(link)
            elif link is not None:
                link.close()
            self._slots.release()

    async def _call_async(self, exchange: _Work[T]) -> T:
        """The same in the running event loop, on a connection of its own pool."""
        pool = self._loops.get()
        async with pool.slots:
            link = pool.idle.pop() if pool.idle else None
            try:
                if link is None:
                    link, opening = wire.opening(self._conninfo)
                    await wire.drive_async(link.raw, opening)
                return await wire.drive_async(link.raw, exchange(link))
            except wire.ExchangeError as error:
                raise self._wrapped(error) from error
            finally:
                if link is not None and link.is_good:
                    pool.idle.append(link)
                elif link is not None:
                    link.close()

    def _start_anew(self) -> None:
        """A forked child leaves the connections to its parent; closing them would end the parent's."""
        with self._lock:
            if self._pid != os.getpid():
                _INHERITED.extend(self._idle)
                self._pid, self._idle = os.getpid(), []
                self._slots = threading.BoundedSemaphore(self._options.max_conn)

    def _wrapped(self, error: wire.ExchangeError) -> StoreError:
        text = str(error)
        if isinstance(error, wire.LostError) and any(words in text for words in _DISTRUSTED):
            hint = "check host, sslmode, and the files of certificates and keys in online_store"
            return StoreError(f"{self._subject}: {text}", subject=self._subject, hint=hint)
        if isinstance(error, wire.LostError) and any(words in text for words in _REFUSED):
            message = f"{self._subject} refuses this user or has no such database"
            hint = "check user, password, database and sslmode of online_store"
            return StoreError(message, subject=self._subject, hint=hint)
        if not isinstance(error, wire.QueryError) or error.state.startswith(_UNAVAILABLE):
            return self._unavailable(text, "check that it runs and can be reached")
        if error.state in _NO_TABLE:
            hint = "run `tiffin apply` to create it"
            return StoreError(f"{self._subject} has no table {text}", subject=self._subject, hint=hint)
        if error.state.startswith(_FULL):
            hint = "make room; rows written before stay, and running again converges"
            return StoreFullError(f"{self._subject}: {text}", subject=self._subject, hint=hint)
        message = f"{self._subject}: {text} ({error.state})"
        return StoreError(message, subject=self._subject, hint="check the server's log")

    def _unavailable(self, what: str, hint: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._subject}: {what}", subject=self._subject, hint=hint)

    # --- Tables ------------------------------------------------------------------------------------------------------

    def ensure(self, tables: Sequence[str]) -> None:
        """Create the tables that are not there, one process at a time."""

        def exchange(link: wire.Link) -> wire.Exchange[None]:
            own = self._schema
            yield from wire.query(link, f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK})")
            yield from wire.query(
                link,
                f"SET LOCAL client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS {own}; "
                f"CREATE TABLE IF NOT EXISTS {own}.tiffin_tables "
                "(name text PRIMARY KEY, number bigint GENERATED ALWAYS AS IDENTITY); "
                f"CREATE TABLE IF NOT EXISTS {own}.tiffin_cursors (name text PRIMARY KEY, cursor bytea NOT NULL)",
            )
            insert = f"INSERT INTO {own}.tiffin_tables (name) SELECT unnest($1::text[])"
            sql = f"{insert} ON CONFLICT DO NOTHING RETURNING number"
            made = yield from wire.query(link, sql, [wire.text_array(list(dict.fromkeys(tables)))], [_TEXT_ARRAY])
            numbers = [int.from_bytes(number, "big") for (number,) in wire.rows(made)]
            create = "; ".join(
                f"CREATE TABLE {own}.tiffin_{n} (key bytea PRIMARY KEY, row bytea NOT NULL)" for n in numbers
            )
            yield from wire.query(link, f"{create}; COMMIT" if create else "COMMIT")

        self._guard.write(lambda until: self._call(exchange, until))

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with their rows and cursors."""

        def exchange(link: wire.Link) -> wire.Exchange[None]:
            own, names = self._schema, [wire.text_array(list(tables))]
            yield from wire.query(link, f"BEGIN; SELECT pg_advisory_xact_lock({_LOCK})")
            sql = f"DELETE FROM {own}.tiffin_tables WHERE name = ANY($1) RETURNING number"
            gone = yield from wire.query(link, sql, names, [_TEXT_ARRAY])
            yield from wire.query(link, f"DELETE FROM {own}.tiffin_cursors WHERE name = ANY($1)", names, [_TEXT_ARRAY])
            numbers = [int.from_bytes(number, "big") for (number,) in wire.rows(gone)]
            drop = "; ".join(f"DROP TABLE IF EXISTS {own}.tiffin_{number}" for number in numbers)
            yield from wire.query(link, f"{drop}; COMMIT" if drop else "COMMIT")

        self._guard.write(lambda until: self._call(self._or_else(exchange, None), until))

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``."""

        def exchange(link: wire.Link) -> wire.Exchange[list[TableInfo]]:
            listed = yield from wire.query(
                link,
                f"SELECT name, number FROM {self._schema}.tiffin_tables WHERE starts_with(name, $1)",
                [prefix.encode()],
                [_TEXT],
            )
            found = []
            for name, number in sorted(wire.rows(listed)):
                table = f"{self._schema}.tiffin_{int.from_bytes(number, 'big')}"
                sql = (
                    "SELECT count(*), coalesce(sum(octet_length(key) + octet_length(row)), 0)::bigint, "
                    f"pg_total_relation_size($1::text::regclass) FROM {table}"
                )
                counted = yield from wire.query(link, sql, [table.encode()], [_TEXT])
                (numbers,) = wire.rows(counted)
                found.append(TableInfo(name.decode(), *[int.from_bytes(each, "big") for each in numbers]))
            return found

        return self._guard.read(lambda until: self._call(self._or_else(exchange, []), until))

    def _look_up(self, link: wire.Link, tables: Sequence[str]) -> wire.Exchange[None]:
        """Ask for the numbers of tables.

        Raises:
            QueryError: a table was never ensured; its message is the table's name.
        """
        sql = f"SELECT name, number FROM {self._schema}.tiffin_tables WHERE name = ANY($1)"
        found = yield from self._or_else(
            lambda link: wire.query(link, sql, [wire.text_array(tables)], [_TEXT_ARRAY]), None
        )(link)
        known = {} if found is None else {name.decode(): number for name, number in wire.rows(found)}
        for table in tables:
            if table not in known:
                raise wire.QueryError(repr(table), _NO_TABLE[0])
            self._names[table] = f"{self._schema}.tiffin_{int.from_bytes(known[table], 'big')}"

    def _on(self, tables: Sequence[str], work: _Work[T]) -> _Work[T]:
        """Work on tables by their numbers, which are looked up where they are not known, or not there any more."""

        def exchange(link: wire.Link) -> wire.Exchange[T]:
            if not all(map(self._names.__contains__, tables)):
                yield from self._look_up(link, tables)
            try:
                return (yield from work(link))
            except wire.QueryError as error:
                if error.state not in _NO_TABLE:
                    raise
            yield from self._look_up(link, tables)
            return (yield from work(link))

        return exchange

    @staticmethod
    def _or_else(work: _Work[T], value: T) -> _Work[T]:
        """Work, or a value where nothing was ever ensured in this schema."""

        def exchange(link: wire.Link) -> wire.Exchange[T]:
            try:
                return (yield from work(link))
            except wire.QueryError as error:
                if error.state not in _NO_TABLE:
                    raise
                if link.raw.transaction_status != wire.IDLE:
                    yield from wire.query(link, "ROLLBACK")
                return value

        return exchange

    # --- Rows --------------------------------------------------------------------------------------------------------

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows in the order of their keys, so that writers do not wait for each other in a ring."""
        written = 0
        for part in self._writes(batch):
            written += self._guard.write(lambda until, part=part: self._call(part, until))  # type: ignore[misc]
        return WriteResult(written, len(batch.rows) - written)

    async def write_async(self, batch: WriteBatch) -> WriteResult:
        """Like ``write``, without holding up the event loop."""
        written = 0
        for part in self._writes(batch):
            written += await self._guard.write_async(lambda until, part=part: self._call_async(part))  # type: ignore[misc]
        return WriteResult(written, len(batch.rows) - written)

    def _writes(self, batch: WriteBatch) -> Iterator[_Work[int]]:
        """An exchange for each part of a batch; one for an empty batch too, which finds out about its table."""
        newest = batch.newest()
        order = sorted(range(len(newest.keys)), key=newest.keys.__getitem__)
        for start in range(0, max(len(order), 1), _ROWS_PER_STATEMENT):
            places = order[start : start + _ROWS_PER_STATEMENT]
            arrays = [wire.bytea_array([each[place] for place in places]) for each in (newest.keys, newest.rows)]

            def work(link: wire.Link, arrays: list[bytes] = arrays) -> wire.Exchange[int]:
                sql = (
                    f"INSERT INTO {self._names[batch.table]} AS held SELECT * FROM unnest($1::bytea[], $2::bytea[]) "
                    "ON CONFLICT (key) DO UPDATE SET row = excluded.row WHERE excluded.row > held.row"
                )
                result = yield from wire.prepared(link, sql, arrays, [_BYTEA_ARRAY] * 2)
                return result.command_tuples or 0

            yield self._on([batch.table], work)

    def swap(self, batch: SwapBatch) -> list[bool]:
        """Put rows in the place of others that are as expected, part by part, in the order of their keys."""
        done: set[bytes] = set()
        order = sorted(range(len(batch.keys)), key=batch.keys.__getitem__)
        for start in range(0, max(len(order), 1), _ROWS_PER_STATEMENT):
            places = order[start : start + _ROWS_PER_STATEMENT]
            given = (batch.keys, batch.expected, batch.rows)
            arrays = [wire.bytea_array([each[place] for place in places]) for each in given]

            def work(link: wire.Link, arrays: list[bytes] = arrays) -> wire.Exchange[list[tuple[bytes, ...]]]:
                sql = _SWAP.format(self._names[batch.table])
                return wire.rows((yield from wire.prepared(link, sql, arrays, [_BYTEA_ARRAY] * 3)))

            exchange = self._on([batch.table], work)
            done.update(key for (key,) in self._guard.write(lambda until, part=exchange: self._call(part, until)))  # type: ignore[misc]
        return [key in done for key in batch.keys]

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, by one prepared statement where their number allows it."""
        found: list[list[bytes | None]] = []
        for part in self._reads(requests):
            found += self._guard.read(lambda until, part=part: self._call(part, until))  # type: ignore[misc]
        return found

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``, without holding up the event loop."""
        found: list[list[bytes | None]] = []
        for part in self._reads(requests):
            found += await self._guard.read_async(lambda until, part=part: self._call_async(part))  # type: ignore[misc]
        return found

    def _reads(self, requests: Sequence[ReadRequest]) -> Iterator[_Work[list[list[bytes | None]]]]:
        """An exchange for each part of a request."""
        for start in range(0, len(requests), _TABLES_PER_READ):
            some = requests[start : start + _TABLES_PER_READ]
            tables = [request.table for request in some]
            yield self._on(tables, lambda link, some=some: self._read(link, some))  # type: ignore[misc]

    def _read(self, link: wire.Link, requests: Sequence[ReadRequest]) -> wire.Exchange[list[list[bytes | None]]]:
        names = tuple([self._names[request.table] for request in requests])
        sql = self._statements.get(names)
        if sql is None:
            sql = self._statements[names] = " UNION ALL ".join(
                f"SELECT {'' if len(names) == 1 else f'{n}::int2, '}key, row FROM {name} WHERE key = ANY(${n + 1})"
                for n, name in enumerate(names)
            )
        arrays = [wire.bytea_array(request.keys) for request in requests]
        result = yield from wire.prepared(link, sql, arrays, [_BYTEA_ARRAY] * len(arrays))
        get, count = result.get_value, result.ntuples
        if len(requests) == 1:
            rows = {get(i, 0): get(i, 1) for i in range(count)}
            return [list(map(rows.get, requests[0].keys))]
        found: list[dict[bytes, bytes]] = [{} for _ in requests]
        for i in range(count):
            found[int.from_bytes(get(i, 0), "big")][get(i, 1)] = get(i, 2)
        return [list(map(each.get, request.keys)) for each, request in zip(found, requests, strict=True)]

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table by rising key."""
        after: bytes | None = None
        while True:

            def work(link: wire.Link, after: bytes | None = after) -> wire.Exchange[list[tuple[bytes, ...]]]:
                sql = f"SELECT key, row FROM {self._names[table]} {{}} ORDER BY key LIMIT {page_rows}"
                if after is None:
                    return wire.rows((yield from wire.prepared(link, sql.format(""), [], [])))
                return wire.rows((yield from wire.prepared(link, sql.format("WHERE key > $1"), [after], [_BYTEA])))

            exchange = self._on([table], work)
            page = self._guard.read(lambda until, part=exchange: self._call(part, until))  # type: ignore[misc]
            if not page:
                return
            yield page
            after = page[-1][0]

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""

        def work(link: wire.Link) -> wire.Exchange[int]:
            sql = f"DELETE FROM {self._names[table]} WHERE key = ANY($1)"
            result = yield from wire.prepared(link, sql, [wire.bytea_array(keys)], [_BYTEA_ARRAY])
            return result.command_tuples or 0

        return self._guard.write(lambda until: self._call(self._on([table], work), until))

    # --- Cursors -----------------------------------------------------------------------------------------------------

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""

        def exchange(link: wire.Link) -> wire.Exchange[bytes | None]:
            sql = f"SELECT cursor FROM {self._schema}.tiffin_cursors WHERE name = $1"
            found = wire.rows((yield from wire.query(link, sql, [table.encode()], [_TEXT])))
            return found[0][0] if found else None

        return self._guard.read(lambda until: self._call(self._or_else(exchange, None), until))

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor."""

        def exchange(link: wire.Link) -> wire.Exchange[None]:
            sql = (
                f"INSERT INTO {self._schema}.tiffin_cursors VALUES ($1, $2) "
                "ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor"
            )
            yield from wire.query(link, sql, [table.encode(), cursor], [_TEXT, _BYTEA])

        self._guard.write(lambda until: self._call(exchange, until))

    def close(self) -> None:
        """Close all connections that nobody uses just now."""
        with self._lock:
            idle, self._idle = (self._idle, []) if self._pid == os.getpid() else ([], self._idle)
        for link in idle:
            link.close()
        for pool in self._loops.values():
            pool.close()


#: Connections of a parent process, kept from being closed by its child.
_INHERITED: list[wire.Link] = []


class _LoopPool:
    """The connections of one event loop."""

    def __init__(self, most: int) -> None:
        self.idle: list[wire.Link] = []
        self.slots = asyncio.Semaphore(most)

    def close(self) -> None:
        """Close those that nobody uses just now; nothing has to be awaited for that."""
        idle, self.idle = self.idle, []
        for link in idle:
            link.close()
