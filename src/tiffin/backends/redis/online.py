"""The Redis online store: one MGET a request, whatever the number of views; writes compared inside the server."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

from redis import asyncio, exceptions, sentinel

from tiffin.backends.redis import layout
from tiffin.backends.redis.clients import connect, connect_async, set_deadline, with_sentinels
from tiffin.backends.redis.config import RedisOptions
from tiffin.contracts.gather import Gathered
from tiffin.contracts.guard import Guard
from tiffin.contracts.loops import PerLoop
from tiffin.contracts.online import (
    ExtendBatch,
    OnlineCapabilities,
    OnlineLocation,
    OnlineStore,
    ReadRequest,
    SwapBatch,
    TableInfo,
    WriteBatch,
    WriteResult,
    no_table,
)
from tiffin.errors import StoreError, StoreFullError, StoreUnavailableError
from tiffin.online.tails import NOTHING_BESIDE

T = TypeVar("T")
Command = tuple[Any, ...]
#: Commands that are yielded, and replies that are sent in; a script that Redis does not have is thrown in.
Exchange = Generator[Command, Any, T]

#: Rows per script: about 0.1 MB and a few milliseconds, in which the server answers nobody else.
_ROWS_PER_SCRIPT = 500
_KEYS_PER_PAGE = 1_000
_KEYS_SAMPLED = 50
_FLIP = 1 << 63
_LAST_MS = (1 << 62) // 1000
_UNAVAILABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.RedisClusterException,
    exceptions.TryAgainError,
    exceptions.ReadOnlyError,
    OSError,
)
_NO_MASTER = (sentinel.MasterNotFoundError, asyncio.sentinel.MasterNotFoundError)
_NOT_NOW = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS")


@dataclass(frozen=True)
class _Numbers:
    """What is known of the tables' numbers.

    Attributes:
        mark: the mark that they belong to.
        endings: table to what ends the keys of its rows.
    """

    mark: bytes | None
    endings: dict[str, bytes]


class RedisOnlineStore(OnlineStore):
    """Rows in Redis, in a cluster of them, or behind sentinels.

    A row is a string, its key ends with the number of its table (``layout``). The numbers are kept in this object; each
    read brings along the mark that tells when they are to be asked for again.
    """

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="redis",
        durable=True,
        multi_process=True,
        native_async=True,
        compared_by="a Lua script",
        read_by="one MGET over all views",
        expires=True,
        max_row_bytes=512 << 20,
        writers=2,
        link="https://redis.io/docs/latest/develop/programmability/eval-intro/",
    )

    options_type: ClassVar[type] = RedisOptions

    def __init__(self, options: RedisOptions, location: OnlineLocation) -> None:
        self._options = options
        self._subject = f"online store redis {options.address}"
        self._guard = Guard(self._subject, options)
        self._is_cluster = options.redis_type == "redis_cluster"
        self._seconds_per_try = options.seconds_per_try
        self._lock = threading.Lock()
        self._opened: tuple[int, Any] | None = None
        self._loops: PerLoop[Any] = PerLoop(lambda: connect_async(options))
        self._gathered = PerLoop(lambda: Gathered(self._read_now))
        self._known = _Numbers(None, {})

    # --- Clients and errors ------------------------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        """The client of this process; a forked child opens its own."""
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            with self._lock:
                opened = self._opened
                if opened is None or opened[0] != os.getpid():
                    opened = self._opened = (os.getpid(), connect(self._options))
        return opened[1]

    @contextmanager
    def _failures(self, until: float) -> Iterator[None]:
        """Set the deadline of this thread, and wrap Redis's errors once."""
        set_deadline(min(until, time.monotonic() + self._seconds_per_try))
        try:
            yield
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
            raise self._wrapped(error) from error

    def _call(self, exchange: Exchange[T], until: float) -> T:
        """Run an exchange in this thread."""
        with self._failures(until):
            try:
                command = next(exchange)
                while True:
                    try:
                        reply = self._execute(command)
                    except exceptions.NoScriptError as error:
                        command = exchange.throw(error)
                    else:
                        command = exchange.send(reply)
            except StopIteration as done:
                value: T = done.value
                return value

    async def _call_async(self, exchange: Exchange[T]) -> T:
        """Run an exchange in the running event loop."""
        client = self._loops.get()
        with self._failures(0):
            try:
                command = next(exchange)
                while True:
                    try:
                        reply = await self._execute_async(client, command)
                    except exceptions.NoScriptError as error:
                        command = exchange.throw(error)
                    else:
                        command = exchange.send(reply)
            except StopIteration as done:
                value: T = done.value
                return value

    def _execute(self, command: Command) -> Any:
        if not self._is_cluster or command[0] != "MGET":
            return self._client.execute_command(*command)
        pipeline = self._client.pipeline()
        for key in command[1:]:
            pipeline.get(key)
        return pipeline.execute()

    async def _execute_async(self, client: Any, command: Command) -> Any:
        if not self._is_cluster or command[0] != "MGET":
            return await client.execute_command(*command)
        pipeline = client.pipeline()
        for key in command[1:]:
            pipeline.get(key)
        return await pipeline.execute()

    def _wrapped(self, error: Exception) -> StoreError:
        text = str(error)
        if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or "WRONGPASS" in text:
            hint = "check username and password in online_store.connection_string"
            return StoreError(f"{self._subject} refuses this user", subject=self._subject, hint=hint)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            reason = text.rpartition("certificate verify failed: ")[2].partition(" (")[0]
            hint = "check the host, and ssl_ca_certs of online_store, the authorities to trust"
            message = f"{self._subject} has a certificate that is not trusted: {reason}"
            return StoreError(message, subject=self._subject, hint=hint)
        if isinstance(error, _NO_MASTER):
            # The library's own words name its clients, with all that they were given.
            hint = "check sentinel_master, sentinel_password, and that the sentinels can be reached"
            message = f"{self._subject}: no sentinel knows a master {self._options.sentinel_master!r} that is up"
            return StoreUnavailableError(message, subject=self._subject, hint=hint)
        if isinstance(error, exceptions.OutOfMemoryError) or text.startswith("OOM"):
            hint = "raise its maxmemory, or set expiry_margin_seconds; running again converges"
            return StoreFullError(f"{self._subject} is out of memory", subject=self._subject, hint=hint)
        if isinstance(error, _UNAVAILABLE) or text.startswith(_NOT_NOW):
            hint = "check that it runs and can be reached"
            return StoreUnavailableError(f"{self._subject}: {text}", subject=self._subject, hint=hint)
        return StoreError(f"{self._subject}: {text}", subject=self._subject, hint="check the server's log")

    # --- Tables ------------------------------------------------------------------------------------------------------

    def ensure(self, tables: Sequence[str]) -> None:
        """Give the tables numbers that have none."""

        def call(until: float) -> None:
            with self._failures(until):
                for start in range(0, len(tables), _KEYS_PER_PAGE):
                    names = tables[start : start + _KEYS_PER_PAGE]
                    keys = (layout.TABLES, layout.NEXT, layout.EPOCH)
                    self._client.eval(layout.ENSURE, len(keys), *keys, uuid4().bytes, *names)

        self._guard.write(call)

    def drop(self, tables: Sequence[str]) -> None:
        """Take the tables' numbers away, so that nobody finds their rows, then remove these."""

        def forget(until: float) -> list[int]:
            with self._failures(until):
                keys = (layout.TABLES, layout.EPOCH, layout.CURSORS, layout.GONE)
                numbers: list[int] = self._client.eval(layout.DROP, len(keys), *keys, uuid4().bytes, *tables)
                return numbers

        if not tables:
            return
        for number in self._guard.write(forget):
            for page in self._key_pages(number):
                self._remove(page)
            self._guard.write(lambda until, number=number: self._forget_gone(until, number))  # type: ignore[misc]

    def _forget_gone(self, until: float, number: int) -> None:
        with self._failures(until):
            self._client.hdel(layout.GONE, number)

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``. Their rows are counted by going through all keys."""

        def call(until: float) -> dict[str, int]:
            with self._failures(until):
                found = self._client.hgetall(layout.TABLES)
            return {name.decode(): int(number) for name, number in found.items()}

        wanted = {name: number for name, number in self._guard.read(call).items() if name.startswith(prefix)}
        return [self._info(name, wanted[name]) for name in sorted(wanted)]

    def _info(self, table: str, number: int) -> TableInfo:
        count = sampled = size = 0
        for page in self._key_pages(number):
            count += len(page)
            some = page[: max(_KEYS_SAMPLED - sampled, 0)]
            sampled += len(some)
            size += self._guard.read(lambda until, some=some: self._usage(until, some))  # type: ignore[misc]
        return TableInfo(table, count, memory_bytes=size * count // sampled if sampled else 0)

    def _usage(self, until: float, keys: Sequence[bytes]) -> int:
        with self._failures(until):
            return sum(self._client.memory_usage(key) or 0 for key in keys)

    def _numbers(self, tables: Sequence[str]) -> Exchange[_Numbers]:
        """The endings of the keys of some tables, asked for where they are not known.

        Raises:
            StoreError: a table was never ensured.
        """
        known = self._known
        if all(map(known.endings.__contains__, tables)):
            return known
        return (yield from self._look_up(tables))

    def _look_up(self, tables: Sequence[str]) -> Exchange[_Numbers]:
        # The mark first: a table that is dropped in between is then asked for again.
        mark = yield "GET", layout.EPOCH
        numbers = yield "HMGET", layout.TABLES, *tables
        with self._lock:
            known = self._known if self._known.mark == mark else _Numbers(mark, {})
            for table, number in zip(tables, numbers, strict=True):
                if number is None:
                    raise no_table(self._subject, table)
                known.endings[table] = layout.suffix(int(number))
            self._known = known
        return known

    # --- Rows --------------------------------------------------------------------------------------------------------

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, by one MGET."""
        return self._guard.read(lambda until: self._call(self._read(requests), until))

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``, without holding up the event loop; the reads of one moment are one MGET together."""
        if self._is_cluster:
            # A node that hangs must hold up nobody who asks others.
            return await self._read_now(requests)
        return await self._gathered.get().read(requests)

    async def _read_now(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        return await self._guard.read_async(lambda until: self._call_async(self._read(requests)))

    def _read(self, requests: Sequence[ReadRequest]) -> Exchange[list[list[bytes | None]]]:
        tables = [request.table for request in requests]
        known = yield from self._numbers(tables)
        while True:
            # The mark comes with the rows: when it is another one, the endings may be those of other tables by now.
            keys = [layout.EPOCH]
            for request in requests:
                ending = known.endings[request.table]
                keys += [b"{" + key + ending for key in request.keys]
            if len(keys) == 1:
                return [[] for _ in requests]
            found = yield "MGET", *keys
            if found[0] == known.mark:
                return _by_request(requests, found)
            known = yield from self._look_up(tables)

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows by a script, part by part; each part is compared and written at one moment."""
        written = 0
        for part in self._parts(batch.newest()):
            written += self._guard.write(lambda until, part=part: self._call(self._write(part), until))  # type: ignore[misc]
        return WriteResult(written, len(batch.rows) - written)

    async def write_async(self, batch: WriteBatch) -> WriteResult:
        """Like ``write``, without holding up the event loop."""
        written = 0
        for part in self._parts(batch.newest()):
            written += await self._guard.write_async(lambda until, part=part: self._call_async(self._write(part)))  # type: ignore[misc]
        return WriteResult(written, len(batch.rows) - written)

    def _parts(self, batch: WriteBatch) -> Iterator[WriteBatch]:
        """Parts of a batch, for one script each: all keys of a script have to be in one slot of a cluster."""
        size = 1 if self._is_cluster else _ROWS_PER_SCRIPT
        for start in range(0, max(len(batch.keys), 1), size):
            part = slice(start, start + size)
            yield WriteBatch(batch.table, batch.keys[part], batch.rows[part], batch.ttl_us)

    def _write(self, part: WriteBatch) -> Exchange[int]:
        """Write a part; how many of its rows were newer."""
        leaves = self._leaving(part.rows, part.ttl_us)
        written = yield from self._run_on(part.table, part.keys, layout.WRITE, (*part.rows, *leaves))
        return written or 0

    def swap(self, batch: SwapBatch) -> list[bool]:
        """Put rows in the place of others by a script, part by part; each part is compared and put at one moment."""
        return self._all_done(batch, layout.SWAP, lambda part: (*batch.expected[part], *batch.rows[part]))

    def extend(self, batch: ExtendBatch) -> list[bool]:
        """Put facts behind those that rows have by a script, part by part."""
        room = batch.room
        limits = (room.width, room.most_facts, room.most_bytes, struct.pack("<q", room.gone_us), NOTHING_BESIDE)
        return self._all_done(batch, layout.EXTEND, lambda part: (*limits, *batch.rows[part]))

    def _all_done(
        self, batch: SwapBatch | ExtendBatch, script: layout.Script, given_of: Callable[[slice], Command]
    ) -> list[bool]:
        """Run a script that tells for each key whether it was done, part by part."""
        done: list[bool] = []
        size = 1 if self._is_cluster else _ROWS_PER_SCRIPT
        for start in range(0, max(len(batch.keys), 1), size):
            part = slice(start, start + size)
            keys, given = batch.keys[part], given_of(part)

            def call(until: float, keys: Sequence[bytes] = keys, given: Command = given) -> list[int]:
                return self._call(self._run_on(batch.table, keys, script, given), until) or []

            done += map(bool, self._guard.write(call))
        return done

    def _run_on(self, table: str, keys: Sequence[bytes], script: layout.Script, arguments: Command) -> Exchange[Any]:
        """Run a script on some rows of a table; nothing for no rows, but the table is asked for."""
        known = yield from self._numbers([table])
        while True:
            places = [layout.row_key(key, known.endings[table]) for key in keys]
            if self._is_cluster or not places:
                # The mark is in another slot than the rows, so that it is looked at before.
                if (yield "GET", layout.EPOCH) == known.mark:
                    return (yield from self._run_script(script, places, b"", arguments)) if places else None
            else:
                reply = yield from self._run_script(script, [layout.EPOCH, *places], known.mark or b"", arguments)
                if reply != layout.ANOTHER_MARK:
                    return reply
            known = yield from self._look_up([table])

    @staticmethod
    def _run_script(script: layout.Script, keys: Sequence[bytes], mark: bytes, arguments: Command) -> Exchange[Any]:
        given = (len(keys), *keys, mark, *arguments)
        try:
            return (yield "EVALSHA", script.sha, *given)
        except exceptions.NoScriptError:
            return (yield "EVAL", script.text, *given)

    def _leaving(self, rows: Sequence[bytes], ttl_us: int | None) -> list[int]:
        """When rows leave Redis, in ms since 1970, negative for ms from now; nothing where they stay."""
        options = self._options
        if options.key_ttl_seconds:
            return [-1000 * options.key_ttl_seconds] * len(rows)
        if ttl_us is None or options.expiry_margin_seconds < 0:
            return []
        after_ms = int(ttl_us / 1000 + options.expiry_margin_seconds * 1000) + 1
        events = ((int.from_bytes(row[:8], "big") - _FLIP) // 1000 for row in rows)
        return [min(max(event + after_ms, 1), _LAST_MS) for event in events]

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table in Redis's own order. The keys that came are remembered, since SCAN may repeat them."""
        for keys in self._key_pages(self._number_of(table), page_rows):
            rows = self._guard.read(lambda until, keys=keys: self._mget(until, keys))  # type: ignore[misc]
            pairs = zip(keys, rows, strict=True)
            page = [(layout.entity_key(key), row) for key, row in pairs if row is not None]
            if page:
                yield page

    def _mget(self, until: float, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._failures(until):
            return list(self._execute(("MGET", *keys)))

    def _number_of(self, table: str) -> int:
        """The number that a table has now."""
        known = self._guard.read(lambda until: self._call(self._look_up([table]), until))
        return layout.number_of(known.endings[table])

    def _key_pages(self, number: int, most: int = _KEYS_PER_PAGE) -> Iterator[list[bytes]]:
        """The keys of a table, each once."""
        ending, seen = layout.suffix(number), set[bytes]()
        for node in self._guard.read(self._nodes):
            cursor = 0
            while True:
                # A call by its cursor can be made again, which a generator that has failed cannot.
                cursor, keys = self._guard.read(
                    lambda until, node=node, cursor=cursor: self._scan_page(until, node, cursor, number)  # type: ignore[misc]
                )
                fresh = [key for key in dict.fromkeys(keys) if key not in seen and key.endswith(ending)]
                seen.update(fresh)
                for start in range(0, len(fresh), most):
                    yield fresh[start : start + most]
                if cursor == 0:
                    break

    def _nodes(self, until: float) -> list[Any]:
        """The servers that hold keys."""
        with self._failures(until):
            client = self._client
            return [node.redis_connection for node in client.get_primaries()] if self._is_cluster else [client]

    def _scan_page(self, until: float, node: Any, cursor: int, number: int) -> tuple[int, list[bytes]]:
        with self._failures(until):
            found: tuple[int, list[bytes]] = node.scan(cursor, layout.pattern(number), _KEYS_PER_PAGE)
            return found

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""
        ending = layout.suffix(self._number_of(table))
        wanted = [layout.row_key(key, ending) for key in dict.fromkeys(keys)]
        pages = (wanted[start : start + _KEYS_PER_PAGE] for start in range(0, len(wanted), _KEYS_PER_PAGE))
        return sum(map(self._remove, pages))

    def _remove(self, keys: Sequence[bytes]) -> int:
        def call(until: float) -> int:
            with self._failures(until):
                if not self._is_cluster:
                    return int(self._client.unlink(*keys))
                return sum(self._client.unlink(key) for key in keys)

        return self._guard.write(call)

    # --- Cursors -----------------------------------------------------------------------------------------------------

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""

        def call(until: float) -> bytes | None:
            with self._failures(until):
                found: bytes | None = self._client.hget(layout.CURSORS, table)
                return found

        return self._guard.read(call)

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor."""

        def call(until: float) -> None:
            with self._failures(until):
                self._client.hset(layout.CURSORS, table, cursor)

        self._guard.write(call)

    def close(self) -> None:
        """Close the connections of all threads. An event loop closes its own, by ``close_async``."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            set_deadline(time.monotonic() + self._options.deadline_seconds)
            for each in with_sentinels(opened[1]):
                each.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop."""
        self._gathered.pop()
        client = self._loops.pop()
        if client is not None:
            for each in with_sentinels(client):
                await each.aclose()


def _by_request(requests: Sequence[ReadRequest], found: list[bytes | None]) -> list[list[bytes | None]]:
    if len(requests) == 1:
        return [found[1:]]
    parts, start = [], 1
    for request in requests:
        end = start + len(request.keys)
        parts.append(found[start:end])
        start = end
    return parts
