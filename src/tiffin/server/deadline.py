"""How long requests may take: as ``asyncio.timeout`` does it, but with one timer for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Running:
    """One that is under way: until when it may be, by the clock of the loop. It has no task once it is done."""

    task: asyncio.Task[Any] | None
    until: float
    is_late: bool = False


class Deadline:
    """The time that each of many pieces of work may take, in one event loop.

    All may take equally long, so that they are late in the order in which they began: one timer that looks at the
    oldest is enough. A timer for each costs three times as much.

    Args:
        seconds: how long each may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: deque[_Running] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def keep(self, work: Awaitable[T]) -> T:
        """Wait for work, which is cancelled at its deadline.

        Raises:
            TimeoutError: it was.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        mine = _Running(task, loop.time() + self._seconds)
        self._running.append(mine)
        if self._timer is None:
            self._timer = loop.call_at(mine.until, self._look, loop)
        try:
            return await work
        except asyncio.CancelledError as error:
            # Who else has cancelled the task is to see that it was.
            if mine.is_late and task.cancelling() == before + 1:
                raise TimeoutError from error
            raise
        finally:
            mine.task = None
            if mine.is_late:
                task.uncancel()
            self._forget_done()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is late, and look again when the next one would be."""
        now = loop.time()
        while self._running and self._running[0].until <= now:
            late = self._running.popleft()
            if late.task is not None:
                late.is_late = True
                late.task.cancel()
        self._forget_done()
        self._timer = loop.call_at(self._running[0].until, self._look, loop) if self._running else None

    def _forget_done(self) -> None:
        while self._running and self._running[0].task is None:
            self._running.popleft()
