"""What a store keeps for each event loop, such as a client whose connections belong to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One value for each event loop that asks, made when it first does.

    A client holds its loop, so that neither would ever be collected; a loop that has been closed is therefore forgotten
    when the next one asks.

    Args:
        make: makes the value of the running loop; nothing is opened yet.
        discard: lets go of the value of a loop that has been closed, in which nothing can be awaited any more.
    """

    def __init__(self, make: Callable[[], T], discard: Callable[[T], None] = lambda value: None) -> None:
        self._make = make
        self._discard = discard
        self._lock = threading.Lock()
        self._held: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The value of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._held.get(loop)
        if found is None:
            with self._lock:
                for closed in [each for each in self._held if each.is_closed()]:
                    self._discard(self._held.pop(closed))
                found = self._held[loop] = self._make()
        return found

    def pop(self) -> T | None:
        """The value of the running loop, which is forgotten; ``None`` where there is none."""
        with self._lock:
            return self._held.pop(asyncio.get_running_loop(), None)

    def values(self) -> list[T]:
        """Those of all loops."""
        with self._lock:
            return list(self._held.values())
