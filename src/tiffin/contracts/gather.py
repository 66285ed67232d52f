"""Reads that are asked for at one moment, put together: many requests of a busy server share one call of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tiffin.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from tiffin.contracts.online import ReadRequest

Rows = list[list[bytes | None]]

#: A call reads no more keys than this, unless one request alone asks for more: small ones must not wait for large ones.
_MOST_KEYS = 500


@dataclass(eq=False, slots=True)
class _Waiting:
    """One who waits for rows."""

    requests: Sequence[ReadRequest]
    keys: int
    answer: asyncio.Future[Rows]


class Gathered:
    """Puts the reads together that are asked for in one turn of an event loop.

    Nobody waits for others to come: what is there when the loop comes round is read. What a call costs, whatever it
    reads, is so paid once for all requests that a server is answering at the moment.

    Args:
        read: reads from the store; within the store's deadline, since nobody who waits for it cancels it.
    """

    def __init__(self, read: Callable[[Sequence[ReadRequest]], Coroutine[Any, Any, Rows]]) -> None:
        self._read = read
        self._waiting: list[_Waiting] = []
        self._calls: set[asyncio.Future[Rows]] = set()

    async def read(self, requests: Sequence[ReadRequest]) -> Rows:
        """The rows of one request, as ``OnlineStore.read_async`` gives them.

        Raises:
            StoreError: as the store's own read; what is wrong with one request is raised for that one alone.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start)
        keys = sum([len(request.keys) for request in requests])
        mine = _Waiting(requests, keys, loop.create_future())
        self._waiting.append(mine)
        return await mine.answer

    def _start(self) -> None:
        waiting, self._waiting = self._waiting, []
        together: list[_Waiting] = []
        keys = 0
        for each in waiting:
            if together and keys + each.keys > _MOST_KEYS:
                self._call(together)
                together, keys = [], 0
            together.append(each)
            keys += each.keys
        self._call(together)

    def _call(self, together: list[_Waiting]) -> None:
        call = asyncio.ensure_future(self._read([request for each in together for request in each.requests]))
        self._calls.add(call)
        call.add_done_callback(partial(self._answer, together))

    def _answer(self, together: list[_Waiting], call: asyncio.Future[Rows]) -> None:
        self._calls.discard(call)
        waiting = [each for each in together if not each.answer.done()]
        error = asyncio.CancelledError() if call.cancelled() else call.exception()
        if error is None:
            _share(together, call.result())
        elif isinstance(error, StoreError) and not isinstance(error, StoreUnavailableError) and len(together) > 1:
            # One of them asks for what is not there; the others have nothing to do with it.
            for each in waiting:
                self._call([each])
        else:
            for each in waiting:
                each.answer.set_exception(error)


def _share(together: Sequence[_Waiting], found: Rows) -> None:
    start = 0
    for each in together:
        end = start + len(each.requests)
        if not each.answer.done():
            each.answer.set_result(found[start:end])
        start = end
