"""Newer definitions, without a request that waits for them: they are loaded and planned for in a thread, then used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tiffin.errors import TiffinError
from tiffin.operations.online import plan_again

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.server.logs import JsonLog
    from tiffin.server.metrics import NoMetrics


class Reloader:
    """Looks for newer definitions now and then.

    Args:
        ctx: whose definitions are exchanged.
        seconds: how often it looks.
        logs, metrics: where it says what it found.
    """

    def __init__(self, ctx: Context, seconds: float, logs: JsonLog, metrics: NoMetrics) -> None:
        self._ctx = ctx
        self._seconds = seconds
        self._logs = logs
        self._metrics = metrics
        self._is_looking = asyncio.Lock()
        #: Why the registry could not be asked the last time; empty when it could.
        self.problem = ""

    async def run(self) -> None:
        """Look, wait, and so on; ends by being cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.look()

    async def look(self) -> bool:
        """Look now, and say whether there were newer definitions. The registry may fail: what is there goes on."""
        async with self._is_looking:
            try:
                is_newer = await asyncio.to_thread(self._exchange)
            except TiffinError as error:
                if not self.problem:
                    self._logs.write("registry_failed", {"message": error.message})
                self.problem = error.message
                return False
            self.problem = ""
        if is_newer:
            version = self._ctx.snapshot().version
            self._logs.write("definitions_reloaded", {"version": version})
            self._metrics.definitions(version)
        return is_newer

    def _exchange(self) -> bool:
        old = self._ctx.snapshot()
        if self._ctx.registry.version(self._ctx.project) == old.version:
            return False
        new = self._ctx.registry.load(self._ctx.project)
        new.index()
        plan_again(self._ctx, old, new)
        self._ctx.adopt(new)
        return True
