"""Stopping without losing a request: to say `not ready` first, and to stop listening a while later."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


def drain_on_stop(drain: Callable[[], None], seconds: float) -> None:
    """Put something before what a signal to stop does now; the second signal does it at once.

    Whatever server runs the application has its own handlers by then, and stops in its own way: no new connections,
    and an end when the last request is answered.

    Args:
        drain: says that no more requests should come.
        seconds: how long until the server stops.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        stop = signal.getsignal(number)
        if callable(stop):
            signal.signal(number, _later(drain, stop, loop, seconds))


def _later(
    drain: Callable[[], None],
    stop: Callable[[int, FrameType | None], Any],
    loop: asyncio.AbstractEventLoop,
    seconds: float,
) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        drain()
        signal.signal(number, stop)
        loop.call_soon_threadsafe(lambda: loop.call_later(seconds, stop, number, frame))

    return handle
