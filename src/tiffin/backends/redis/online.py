"""The Redis online store: one MGET a request, whatever the number of views; writes compared inside the server."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self
from uuid import uuid4
from weakref import WeakKeyDictionary

from redis import exceptions

from tiffin.backends.redis import layout
from tiffin.backends.redis.clients import connect, connect_async, set_deadline
from tiffin.backends.redis.config import RedisOptions
from tiffin.contracts.guard import Guard
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

    def __init__(self, options: RedisOptions, location: OnlineLocation) -> None:
        self._options = options
        self._subject = f"online store redis {options.address}"
        self._guard = Guard(self._subject, options)
        self._is_cluster = options.redis_type == "redis_cluster"
        self._lock = threading.Lock()
        self._opened: tuple[int, Any] | None = None
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        self._endings: dict[str, bytes] = {}
        self._epoch: bytes | None = b"?"
        self._script = ""

    @classmethod
    def from_config(cls, options: Mapping[str, object], location: OnlineLocation) -> Self:
        """Build the store from the ``online_store`` section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        given = {name: 0 if name == "key_ttl_seconds" and value is None else value for name, value in options.items()}
        return cls(options_from(RedisOptions, "online_store", given), location)

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

    def _async_client(self) -> Any:
        loop = asyncio.get_running_loop()
        client = self._loops.get(loop)
        if client is None:
            client = self._loops[loop] = connect_async(self._options)
        return client

    @contextmanager
    def _failures(self, until: float) -> Iterator[None]:
        """Set the deadline of this thread, and wrap Redis's errors once."""
        set_deadline(until)
        try:
            yield
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
            raise self._wrapped(error) from error

    def _wrapped(self, error: Exception) -> StoreError:
        text = str(error)
        if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError) or "WRONGPASS" in text:
            hint = "check username and password in online_store.connection_string"
            return StoreError(f"{self._subject} refuses this user", subject=self._subject, hint=hint)
        if isinstance(error, exceptions.OutOfMemoryError) or text.startswith("OOM"):
            hint = "raise its maxmemory, or set expiry_margin_seconds; running again converges"
            return StoreFullError(f"{self._subject} is out of memory", subject=self._subject, hint=hint)
        if isinstance(error, _UNAVAILABLE) or text.startswith(("LOADING", "MASTERDOWN", "CLUSTERDOWN")):
            hint = "check that it runs and can be reached"
            return StoreUnavailableError(f"{self._subject}: {text}", subject=self._subject, hint=hint)
        return StoreError(f"{self._subject}: {text}", subject=self._subject, hint="check the server's log")

    def _no_table(self, table: str) -> StoreError:
        hint = "run `tiffin apply` to create it"
        return StoreError(f"{self._subject} has no table {table!r}", subject=self._subject, hint=hint)

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
        for table in tables:
            self._endings.pop(table, None)

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

    def _ending(self, table: str) -> bytes:
        return self._endings_of([table])[0]

    def _endings_of(self, tables: Sequence[str]) -> list[bytes]:
        """What ends the keys of some tables.

        Raises:
            StoreError: a table was never ensured.
        """
        known = self._endings
        missing = [table for table in tables if table not in known]
        if missing:
            self._guard.read(lambda until: self._look_up(until, missing))
        return self._found_endings(tables)

    def _found_endings(self, tables: Sequence[str]) -> list[bytes]:
        try:
            return [self._endings[table] for table in tables]
        except KeyError as error:
            raise self._no_table(error.args[0]) from None

    def _look_up(self, until: float, tables: Sequence[str]) -> None:
        """Ask for the numbers of tables, and for the mark that they belong to."""
        with self._failures(until):
            # The mark first: a table that is dropped in between is then asked for again.
            epoch = self._client.get(layout.EPOCH)
            numbers = self._client.hmget(layout.TABLES, tables)
        self._adopt(epoch, tables, numbers)

    def _adopt(self, epoch: bytes | None, tables: Sequence[str], numbers: Sequence[bytes | None]) -> None:
        with self._lock:
            if epoch != self._epoch:
                self._endings, self._epoch = {}, epoch
            for table, number in zip(tables, numbers, strict=True):
                if number is None:
                    self._endings.pop(table, None)
                else:
                    self._endings[table] = layout.suffix(int(number))

    # --- Rows --------------------------------------------------------------------------------------------------------

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, by one MGET."""
        tables = [request.table for request in requests]
        while True:
            keys = _row_keys(requests, self._endings_of(tables))
            if len(keys) == 1:
                return [[] for _ in requests]
            found = self._guard.read(lambda until, keys=keys: self._fetch(until, keys))  # type: ignore[misc]
            if found[0] == self._epoch:
                return _by_request(requests, found)
            self._guard.read(lambda until: self._look_up(until, tables))

    def _fetch(self, until: float, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._failures(until):
            if not self._is_cluster:
                return list(self._client.execute_command("MGET", *keys))
            pipeline = self._client.pipeline()
            for key in keys:
                pipeline.get(key)
            return list(pipeline.execute())

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``, without holding up the event loop."""
        tables = [request.table for request in requests]
        if any(table not in self._endings for table in tables):
            await self._guard.read_async(lambda until: self._look_up_async(tables))
        while True:
            keys = _row_keys(requests, self._found_endings(tables))
            if len(keys) == 1:
                return [[] for _ in requests]
            found = await self._guard.read_async(lambda until, keys=keys: self._fetch_async(keys))  # type: ignore[misc]
            if found[0] == self._epoch:
                return _by_request(requests, found)
            await self._guard.read_async(lambda until: self._look_up_async(tables))

    async def _fetch_async(self, keys: Sequence[bytes]) -> list[bytes | None]:
        client = self._async_client()
        with self._failures(0):
            if not self._is_cluster:
                return list(await client.execute_command("MGET", *keys))
            pipeline = client.pipeline()
            for key in keys:
                pipeline.get(key)
            return list(await pipeline.execute())

    async def _look_up_async(self, tables: Sequence[str]) -> None:
        client = self._async_client()
        with self._failures(0):
            epoch = await client.get(layout.EPOCH)
            numbers = await client.hmget(layout.TABLES, tables)
        self._adopt(epoch, tables, numbers)

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows by a script, part by part; each part is compared and written at one moment."""
        newest = batch.newest()
        ending = self._current_ending(batch.table)
        written = 0
        for keys, rows, leaves in self._parts(newest, ending):
            written += self._guard.write(
                lambda until, part=(keys, rows, leaves): self._write_part(until, *part)  # type: ignore[misc]
            )
        return WriteResult(written, len(batch.rows) - written)

    async def write_async(self, batch: WriteBatch) -> WriteResult:
        """Like ``write``, without holding up the event loop."""
        if self._is_cluster:
            return await super().write_async(batch)
        newest = batch.newest()
        await self._guard.read_async(lambda until: self._look_up_async([batch.table]))
        (ending,) = self._found_endings([batch.table])
        written = 0
        for keys, rows, leaves in self._parts(newest, ending):
            written += await self._guard.write_async(
                lambda until, part=(keys, rows, leaves): self._write_part_async(*part)  # type: ignore[misc]
            )
        return WriteResult(written, len(batch.rows) - written)

    def _current_ending(self, table: str) -> bytes:
        """The ending of a table that is there now: a write must not go to one that was dropped."""
        self._guard.read(lambda until: self._look_up(until, [table]))
        return self._found_endings([table])[0]

    def _parts(self, batch: WriteBatch, ending: bytes) -> Iterator[tuple[list[bytes], Sequence[bytes], list[int]]]:
        """Keys, rows and when they leave, in parts for one script each."""
        size = 1 if self._is_cluster else _ROWS_PER_SCRIPT
        for start in range(0, len(batch.keys), size):
            rows = batch.rows[start : start + size]
            keys = [layout.row_key(key, ending) for key in batch.keys[start : start + size]]
            yield keys, rows, self._leaving(rows, batch.ttl_us)

    def _leaving(self, rows: Sequence[bytes], ttl_us: int | None) -> list[int]:
        """When rows leave Redis, in ms since 1970, negative for ms from now; nothing where they stay."""
        options = self._options
        if options.key_ttl_seconds:
            return [-1000 * options.key_ttl_seconds] * len(rows)
        if ttl_us is None or options.expiry_margin_seconds < 0:
            return []
        after_ms = int(ttl_us / 1000 + options.expiry_margin_seconds * 1000)
        events = ((int.from_bytes(row[:8], "big") - _FLIP) // 1000 for row in rows)
        return [min(max(event + after_ms, 1), _LAST_MS) for event in events]

    def _write_part(self, until: float, keys: list[bytes], rows: Sequence[bytes], leaves: list[int]) -> int:
        with self._failures(until):
            client = self._client
            try:
                return int(client.evalsha(self._loaded(client), len(keys), *keys, *rows, *leaves))
            except exceptions.NoScriptError:
                self._script = ""
                return int(client.evalsha(self._loaded(client), len(keys), *keys, *rows, *leaves))

    def _loaded(self, client: Any) -> str:
        if not self._script:
            self._script = client.script_load(layout.WRITE)
        return self._script

    async def _write_part_async(self, keys: list[bytes], rows: Sequence[bytes], leaves: list[int]) -> int:
        client = self._async_client()
        with self._failures(0):
            try:
                script = self._script or await client.script_load(layout.WRITE)
                written = int(await client.evalsha(script, len(keys), *keys, *rows, *leaves))
            except exceptions.NoScriptError:
                script = await client.script_load(layout.WRITE)
                written = int(await client.evalsha(script, len(keys), *keys, *rows, *leaves))
            self._script = script
            return written

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table in Redis's own order. The keys that came are remembered, since SCAN may repeat them."""
        number = int.from_bytes(self._current_ending(table)[1:], "big")
        for keys in self._key_pages(number, min(page_rows, _KEYS_PER_PAGE)):
            rows = self._guard.read(lambda until, keys=keys: self._fetch(until, keys))  # type: ignore[misc]
            pairs = zip(keys, rows, strict=True)
            page = [(layout.entity_key(key), row) for key, row in pairs if row is not None]
            if page:
                yield page

    def _key_pages(self, number: int, count: int = _KEYS_PER_PAGE) -> Iterator[list[bytes]]:
        """The keys of a table, each once."""
        ending, seen = layout.suffix(number), set[bytes]()
        page: list[bytes] = []
        keys = self._client.scan_iter(match=layout.pattern(number), count=_KEYS_PER_PAGE)
        while True:
            key = self._guard.read(lambda until: self._next(until, keys))
            if key is None:
                break
            if key not in seen and key.startswith(b"{") and key.endswith(ending):
                seen.add(key)
                page.append(key)
            if len(page) == count:
                yield page
                page = []
        if page:
            yield page

    def _next(self, until: float, keys: Iterator[bytes]) -> bytes | None:
        with self._failures(until):
            return next(keys, None)

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright."""
        ending = self._current_ending(table)
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
            opened[1].close()

    async def close_async(self) -> None:
        """Close the connections of this event loop."""
        client = self._loops.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()


def _row_keys(requests: Sequence[ReadRequest], endings: Sequence[bytes]) -> list[bytes]:
    """The keys of one MGET: the mark, then all rows."""
    keys = [layout.EPOCH]
    for request, ending in zip(requests, endings, strict=True):
        keys += [b"{" + key + ending for key in request.keys]
    return keys


def _by_request(requests: Sequence[ReadRequest], found: list[bytes | None]) -> list[list[bytes | None]]:
    if len(requests) == 1:
        return [found[1:]]
    parts, start = [], 1
    for request in requests:
        end = start + len(request.keys)
        parts.append(found[start:end])
        start = end
    return parts
