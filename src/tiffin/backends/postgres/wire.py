"""PostgreSQL's protocol by libpq, without waiting in the middle: exchanges are generators that say what they wait for.

One driver waits in a thread, with a deadline that holds whatever the server does; the other one waits in an event loop.
psycopg's own cursors wait without a deadline, and a read by them takes about twice as long.
"""

from __future__ import annotations

import asyncio
import select
import struct
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from psycopg import OperationalError, pq

READ, WRITE = 1, 2
T = TypeVar("T")
#: A piece of the protocol: yields what it waits for, is sent what is ready, and returns a result.
Exchange = Generator[int, int, T]

_FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)
_ARRAY = struct.Struct(">iiIii")
_BYTEA, _TEXT = 17, 25


IDLE = pq.TransactionStatus.IDLE


class ExchangeError(Exception):
    """An exchange did not come to its end."""


class DeadlineError(ExchangeError):
    """The server did not answer in time."""


class LostError(ExchangeError):
    """The connection cannot be opened, or is gone."""


class QueryError(ExchangeError):
    """The server refuses a statement.

    Attributes:
        state: the SQLSTATE, five characters.
    """

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass
class Link:
    """An open connection.

    Attributes:
        raw: libpq's.
        statements: what is prepared on it, by its text, with its name.
    """

    raw: Any
    statements: dict[str, bytes] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether it may be used again."""
        return bool(self.raw.status == pq.ConnStatus.OK and self.raw.transaction_status == IDLE)

    def close(self) -> None:
        """Close it; the server notices by itself."""
        self.raw.finish()


def opening(conninfo: str) -> tuple[Link, Exchange[None]]:
    """A connection that begins, and the exchange that opens it."""
    raw = pq.PGconn.connect_start(conninfo.encode())
    return Link(raw), _opening(raw)


def _opening(raw: Any) -> Exchange[None]:
    while True:
        status = raw.connect_poll() if raw.status != pq.ConnStatus.BAD else pq.PollingStatus.FAILED
        if status == pq.PollingStatus.OK:
            raw.nonblocking = 1
            return
        if status == pq.PollingStatus.FAILED:
            raise LostError(" ".join(raw.error_message.decode(errors="replace").split()))
        yield READ if status == pq.PollingStatus.READING else WRITE


def query(link: Link, sql: str, parameters: Sequence[bytes | None] = (), types: Sequence[int] = ()) -> Exchange[Any]:
    """Run one statement with binary parameters, or several without; the last result, binary where there are parameters.

    Raises:
        QueryError: the server refuses it.
        LostError: the connection is gone.
    """
    if not parameters:
        return (yield from _results(link, lambda: link.raw.send_query(sql.encode())))
    formats = [pq.Format.BINARY] * len(parameters)
    send = link.raw.send_query_params
    return (
        yield from _results(
            link, lambda: send(sql.encode(), parameters, types or None, formats, result_format=pq.Format.BINARY)
        )
    )


def prepared(link: Link, sql: str, parameters: Sequence[bytes], types: Sequence[int], most: int = 256) -> Exchange[Any]:
    """Run a statement that is prepared when the connection sees it first; otherwise like ``query``."""
    name = link.statements.get(sql)
    if name is None:
        if len(link.statements) >= most:
            yield from _results(link, lambda: link.raw.send_query(b"DEALLOCATE ALL"))
            link.statements.clear()
        name = f"t{len(link.statements)}".encode()
        yield from _results(link, lambda: link.raw.send_prepare(name, sql.encode(), types))
        link.statements[sql] = name
    formats = [pq.Format.BINARY] * len(parameters)
    return (
        yield from _results(
            link, lambda: link.raw.send_query_prepared(name, parameters, formats, result_format=pq.Format.BINARY)
        )
    )


def _results(link: Link, send: Callable[[], None]) -> Exchange[Any]:
    raw = link.raw
    last = failed = None
    try:
        send()
        while raw.flush():
            if (yield READ | WRITE) & READ:
                raw.consume_input()
        while True:
            while raw.is_busy():
                yield READ
                raw.consume_input()
            result = raw.get_result()
            if result is None:
                break
            last = result
            failed = failed or (result if result.status in _FAILED else None)
    except OperationalError as error:
        raise LostError(str(error).strip()) from error
    if failed is not None:
        state = failed.error_field(pq.DiagnosticField.SQLSTATE)
        message = failed.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or failed.error_message
        if state is None or raw.status == pq.ConnStatus.BAD:
            raise LostError((message or b"the connection is gone").decode(errors="replace").strip())
        raise QueryError(message.decode(errors="replace").strip(), state.decode())
    return last


# --- Drivers ---------------------------------------------------------------------------------------------------------


def drive(raw: Any, exchange: Exchange[T], until: float) -> T:
    """Run an exchange in this thread.

    Raises:
        DeadlineError: it is not done at ``until``, by ``time.monotonic``.
    """
    try:
        wanted = next(exchange)
        while True:
            poller = select.poll()
            poller.register(raw.socket, _events(wanted))
            left = until - time.monotonic()
            found = poller.poll(left * 1000) if left > 0 else []
            if not found:
                raise DeadlineError("no answer in time")
            wanted = exchange.send(_ready(found[0][1]))
    except StopIteration as done:
        value: T = done.value
        return value


async def drive_async(raw: Any, exchange: Exchange[T]) -> T:
    """Run an exchange in the running event loop; it is given up when the task is cancelled."""
    loop = asyncio.get_running_loop()
    try:
        wanted = next(exchange)
        while True:
            wanted = exchange.send(await _wait(loop, raw.socket, wanted))
    except StopIteration as done:
        value: T = done.value
        return value


async def _wait(loop: asyncio.AbstractEventLoop, descriptor: int, wanted: int) -> int:
    ready: asyncio.Future[int] = loop.create_future()

    def tell(what: int) -> None:
        if not ready.done():
            ready.set_result(what)

    try:
        if wanted & READ:
            loop.add_reader(descriptor, tell, READ)
        if wanted & WRITE:
            loop.add_writer(descriptor, tell, WRITE)
        return await ready
    finally:
        loop.remove_reader(descriptor)
        loop.remove_writer(descriptor)


def _events(wanted: int) -> int:
    return (select.POLLIN if wanted & READ else 0) | (select.POLLOUT if wanted & WRITE else 0)


def _ready(events: int) -> int:
    """What is ready; an error shows when it is read."""
    readable = events & (select.POLLIN | select.POLLHUP | select.POLLERR)
    return (READ if readable else 0) | (WRITE if events & select.POLLOUT else 0)


# --- Values ----------------------------------------------------------------------------------------------------------


def text_array(values: Sequence[str]) -> bytes:
    """Texts as a binary ``text[]``."""
    return _array([value.encode() for value in values], _TEXT)


def bytea_array(values: Sequence[bytes]) -> bytes:
    """Byte strings as a binary ``bytea[]``."""
    return _array(values, _BYTEA)


def _array(values: Sequence[bytes], kind: int) -> bytes:
    if not values:
        return struct.pack(">iiI", 0, 0, kind)
    parts: list[bytes] = [_ARRAY.pack(1, 0, kind, len(values), 1)]
    for value in values:
        parts += (len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


def rows(result: Any) -> list[tuple[bytes, ...]]:
    """The rows of a result, as they came."""
    get, columns = result.get_value, range(result.nfields)
    return [tuple([get(row, column) for column in columns]) for row in range(result.ntuples)]
