"""Threads for what would hold up the event loop, and no more work than they can do in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from tiffin.errors import BusyError

T = TypeVar("T")


class Pool:
    """A few threads, and a few calls that may wait for one; others are turned away at once.

    Args:
        threads: how many.
        waiting: how many calls may wait.
        name: what the threads are called.
    """

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._most = threads + waiting
        self._under_way = 0

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call in a thread, with the context of who asks.

        A call that nobody waits for any more, because its deadline has passed, still takes its place until it ends.

        Raises:
            BusyError: too many are waiting.
        """
        if self._under_way >= self._most:
            raise BusyError("too many requests are waiting", hint="ask again in a moment, or start more workers")
        loop = asyncio.get_running_loop()
        self._under_way += 1
        try:
            future = self._executor.submit(copy_context().run, call)
        except RuntimeError as error:
            self._under_way -= 1
            raise BusyError("the server is about to stop", hint="ask another one") from error
        future.add_done_callback(lambda _: self._leave(loop))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for what is running; what was waiting is not begun."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._under_way -= 1
