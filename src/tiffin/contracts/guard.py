"""Calls to a store over a network: a deadline, retries with jitter inside it, and a circuit breaker.

One ``Guard`` stands before each store object. Vendor errors are already wrapped when they arrive here: only a
``StoreUnavailableError`` is tried again, everything else goes through at once. A call that may be tried again must be
idempotent, which every write of the contract is (WR-2).
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from tiffin.errors import ConfigError, StoreError, StoreUnavailableError

T = TypeVar("T")


@dataclass(frozen=True)
class CallOptions:
    """Options that every store over a network has; the base of its own options.

    Attributes:
        deadline_seconds: how long a read may take, retries included.
        write_deadline_seconds: how long a call that writes may take, retries included; a large batch is several calls.
        breaker_failures: after so many calls in a row that found no store, calls fail at once; 0 for never.
        breaker_seconds: how long they do, before one call is let through to look again.
    """

    #: Feast's stores take null for an option that is left out.
    null_is_default: ClassVar[bool] = True

    deadline_seconds: float = 1.0
    write_deadline_seconds: float = 30.0
    breaker_failures: int = 5
    breaker_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in ("deadline_seconds", "write_deadline_seconds", "breaker_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"online_store.{name} is {getattr(self, name)!r}", hint="give seconds above 0")
        if self.breaker_failures < 0:
            raise ConfigError(f"online_store.breaker_failures is {self.breaker_failures}", hint="0 turns it off")


class Guard:
    """Deadline, retries and circuit breaker of one store; used by many threads and event loops at once.

    Args:
        subject: the store as errors name it, without secrets.
        options: how long, how often.
        monotonic: tells seconds.
        sleep: waits between tries.
        first_wait_seconds: about how long before the second try; doubled for each further one.
    """

    def __init__(
        self,
        subject: str,
        options: CallOptions,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        first_wait_seconds: float = 0.01,
    ) -> None:
        self._subject = subject
        self._options = options
        self._monotonic = monotonic
        self._sleep = sleep
        self._first_wait = first_wait_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_at = 0.0
        self._is_looking = False

    def read(self, call: Callable[[float], T]) -> T:
        """Run a read. ``call`` gets the moment, by ``monotonic``, at which it must be done."""
        return self._run(call, self._options.deadline_seconds)

    def write(self, call: Callable[[float], T]) -> T:
        """Run a call that writes; otherwise like ``read``."""
        return self._run(call, self._options.write_deadline_seconds)

    async def read_async(self, call: Callable[[float], Awaitable[T]]) -> T:
        """Like ``read``; a call that does not end in time is cancelled."""
        return await self._run_async(call, self._options.deadline_seconds)

    async def write_async(self, call: Callable[[float], Awaitable[T]]) -> T:
        """Like ``write``; a call that does not end in time is cancelled."""
        return await self._run_async(call, self._options.write_deadline_seconds)

    def _run(self, call: Callable[[float], T], seconds: float) -> T:
        is_trial = self._enter()
        until = self._monotonic() + seconds
        wait = self._first_wait
        try:
            while True:
                try:
                    found = call(until)
                except StoreUnavailableError as error:
                    pause = self._pause(wait, until, error, seconds)
                else:
                    self._answered()
                    return found
                self._sleep(pause)
                wait *= 2
        except StoreError as error:
            self._judge(error)
            raise
        finally:
            if is_trial:
                self._is_looking = False

    async def _run_async(self, call: Callable[[float], Awaitable[T]], seconds: float) -> T:
        is_trial = self._enter()
        until = self._monotonic() + seconds
        wait = self._first_wait
        try:
            while True:
                try:
                    async with asyncio.timeout(max(until - self._monotonic(), 0)):
                        found = await call(until)
                except (StoreUnavailableError, TimeoutError) as error:
                    pause = self._pause(wait, until, error, seconds)
                else:
                    self._answered()
                    return found
                await asyncio.sleep(pause)
                wait *= 2
        except StoreError as error:
            self._judge(error)
            raise
        finally:
            if is_trial:
                self._is_looking = False

    def _enter(self) -> bool:
        """Fail at once while the breaker is open; after ``breaker_seconds`` one call looks again, which is told so."""
        if not self._options.breaker_failures or self._failures < self._options.breaker_failures:
            return False
        with self._lock:
            if self._failures < self._options.breaker_failures:
                return False
            if not self._is_looking and self._monotonic() >= self._closed_at:
                self._is_looking = True
                return True
        raise StoreUnavailableError(
            f"{self._subject} did not answer {self._failures} times in a row and is left alone for a moment",
            subject=self._subject,
            hint=f"it is tried again every {self._options.breaker_seconds:g} s; check that it runs and can be reached",
        )

    def _pause(self, wait: float, until: float, error: Exception, seconds: float) -> float:
        """How long to wait before the next try.

        Raises:
            StoreUnavailableError: there is no time for one.
        """
        pause = wait * random.uniform(0.5, 1.5)
        if self._monotonic() + pause >= until:
            raise self._late(error, seconds) from error
        return pause

    def _judge(self, error: StoreError) -> None:
        """Count a call that found no store; one that got an error for an answer has found it."""
        if not isinstance(error, StoreUnavailableError):
            self._answered()
            return
        with self._lock:
            self._failures += 1
            self._closed_at = self._monotonic() + self._options.breaker_seconds

    def _answered(self) -> None:
        if self._failures:
            with self._lock:
                self._failures = 0

    def _late(self, error: Exception, seconds: float) -> StoreUnavailableError:
        said = f": {error.message}" if isinstance(error, StoreUnavailableError) else ""
        return StoreUnavailableError(
            f"{self._subject} did not answer within {seconds:g} s{said}",
            subject=self._subject,
            hint="check that it runs and can be reached; writing again converges",
        )
