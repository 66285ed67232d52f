"""Clients of event loops: one for each loop that asks, and a loop of the store's own for calls that wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from tiffin.contracts.loops import PerLoop

T = TypeVar("T")
#: Gives a client as an asynchronous context.
Opener = Callable[[], Any]


class _Opened:
    """The client of one loop, once it is open."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.stack = AsyncExitStack()
        self.client: Any = None


class Loops:
    """The clients of a store, and the thread whose loop serves the calls that wait.

    Args:
        open_client: opens a client, in the loop that will use it.
    """

    def __init__(self, open_client: Opener) -> None:
        self._open_client = open_client
        self._lock = threading.Lock()
        self._own: tuple[int, asyncio.AbstractEventLoop, threading.Thread] | None = None
        self._clients: PerLoop[_Opened] = PerLoop(_Opened)

    async def client(self) -> Any:
        """The client of the running loop."""
        opened = self._clients.get()
        if opened.client is None:
            async with opened.lock:
                if opened.client is None:
                    opened.client = await opened.stack.enter_async_context(self._open_client())
        return opened.client

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call on the store's own loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(call, self._loop()).result()

    def _loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked child has the loop, but not its thread.
            if self._own is None or self._own[0] != os.getpid():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="tiffin-dynamodb", daemon=True)
                thread.start()
                self._own = os.getpid(), loop, thread
            return self._own[1]

    async def close_client(self) -> None:
        """Close the client of the running loop."""
        opened = self._clients.pop()
        if opened is not None:
            await opened.stack.aclose()

    def close(self) -> None:
        """Close the store's own loop with its client."""
        with self._lock:
            own, self._own = self._own, None
        if own is None or own[0] != os.getpid():
            return
        _, loop, thread = own
        asyncio.run_coroutine_threadsafe(self.close_client(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
