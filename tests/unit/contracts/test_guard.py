"""A guarded call keeps its deadline, tries again inside it, and leaves a store alone that does not answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import pytest

from tiffin.contracts.guard import CallOptions, Guard
from tiffin.errors import ConfigError, StoreError, StoreUnavailableError


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def guard(time: Time, **options: Any) -> Guard:
    return Guard("store x", CallOptions(**options), monotonic=time.monotonic, sleep=time.sleep)


def failing(times: int, error: Callable[[], BaseException] = lambda: StoreUnavailableError("gone")) -> Any:
    """A call that fails so many times, and then tells how often it was made."""
    made = 0

    def call(until: float) -> int:
        nonlocal made
        made += 1
        if made <= times:
            raise error()
        return made

    return call


def test_call_gets_the_moment_at_which_it_must_be_done(time: Time) -> None:
    assert guard(time, deadline_seconds=0.5).read(lambda until: until) == 100.5
    assert guard(time, write_deadline_seconds=7.0).write(lambda until: until) == 107.0


def test_store_that_is_back_in_time_is_read_after_growing_waits(time: Time) -> None:
    assert guard(time).read(failing(4)) == 5
    assert len(time.slept) == 4
    for number, seconds in enumerate(time.slept):
        assert 0.5 <= seconds / (0.01 * 2**number) <= 1.5


def test_store_that_stays_away_is_named_with_the_cause_inside_the_deadline(time: Time) -> None:
    with pytest.raises(StoreUnavailableError, match=r"store x did not answer within 0\.5 s: gone") as caught:
        guard(time, deadline_seconds=0.5).read(failing(1000))
    assert time.now <= 100.5
    assert isinstance(caught.value.__cause__, StoreUnavailableError)


def test_other_error_goes_through_at_once(time: Time) -> None:
    with pytest.raises(StoreError, match="no table"):
        guard(time).read(failing(1, lambda: StoreError("no table")))
    assert not time.slept


def test_breaker_leaves_the_store_alone_and_looks_again_once_in_a_while(time: Time) -> None:
    guarded = guard(time, deadline_seconds=0.1, breaker_failures=2, breaker_seconds=5.0)
    made = 0

    def call(until: float) -> int:
        nonlocal made
        made += 1
        raise StoreUnavailableError("gone")

    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="within"):
            guarded.read(call)
    tried = made
    with pytest.raises(StoreUnavailableError, match="left alone"):
        guarded.read(call)
    assert made == tried
    time.now += 5.0
    with pytest.raises(StoreUnavailableError, match="within"):
        guarded.read(call)
    assert made > tried
    with pytest.raises(StoreUnavailableError, match="left alone"):
        guarded.read(call)


def test_breaker_closes_when_the_store_is_back(time: Time) -> None:
    guarded = guard(time, deadline_seconds=0.1, breaker_failures=1, breaker_seconds=5.0)
    with pytest.raises(StoreUnavailableError):
        guarded.read(failing(1000))
    time.now += 5.0
    assert guarded.read(lambda until: "there") == "there"
    assert guarded.read(lambda until: "there") == "there"


def test_error_for_an_answer_is_an_answer(time: Time) -> None:
    guarded = guard(time, deadline_seconds=0.1, breaker_failures=2, breaker_seconds=5.0)
    for _ in range(5):
        with pytest.raises(StoreUnavailableError, match="within"):
            guarded.read(failing(1000))
        with pytest.raises(StoreError, match="no table"):
            guarded.read(failing(1, lambda: StoreError("no table")))


def test_trial_that_gets_an_error_for_an_answer_closes_the_breaker(time: Time) -> None:
    guarded = guard(time, deadline_seconds=0.1, breaker_failures=1, breaker_seconds=5.0)
    with pytest.raises(StoreUnavailableError, match="within"):
        guarded.read(failing(1000))
    time.now += 5.0
    with pytest.raises(StoreError, match="no table"):
        guarded.read(failing(1, lambda: StoreError("no table")))
    assert guarded.read(lambda until: "there") == "there"


def test_slow_trial_lets_nobody_else_in(time: Time) -> None:
    guarded = guard(time, deadline_seconds=0.1, breaker_failures=1, breaker_seconds=5.0)
    with pytest.raises(StoreUnavailableError, match="within"):
        guarded.read(failing(1000))
    time.now += 5.0

    def slow(until: float) -> str:
        time.now += 50.0
        for _ in range(3):
            with pytest.raises(StoreUnavailableError, match="left alone"):
                guarded.read(lambda until: "let in")
        return "there"

    assert guarded.read(slow) == "there"
    assert guarded.read(lambda until: "let in") == "let in"


def test_trial_that_raises_something_else_lets_the_next_one_try(time: Time) -> None:
    guarded = guard(time, deadline_seconds=0.1, breaker_failures=1, breaker_seconds=5.0)
    with pytest.raises(StoreUnavailableError, match="within"):
        guarded.read(failing(1000))
    time.now += 5.0
    with pytest.raises(KeyboardInterrupt):
        guarded.read(failing(1, KeyboardInterrupt))
    assert guarded.read(lambda until: "there") == "there"


def test_many_threads_send_one_trial() -> None:
    guarded = Guard("store x", CallOptions(deadline_seconds=0.001, breaker_failures=1, breaker_seconds=0.05))
    with pytest.raises(StoreUnavailableError, match="within"):
        guarded.read(failing(1000))
    sleep(0.06)
    started, ended, tried = threading.Barrier(8), threading.Event(), list[int]()

    def trial(until: float) -> str:
        tried.append(threading.get_ident())
        ended.wait(100)
        return "there"

    def ask() -> str:
        started.wait(100)
        try:
            return guarded.read(trial)
        except StoreUnavailableError:
            left_alone.append(threading.get_ident())
            if len(left_alone) == 7:
                ended.set()
            return "left alone"

    left_alone: list[int] = []
    with ThreadPoolExecutor(8) as threads:
        answers = [each.result() for each in [threads.submit(ask) for _ in range(8)]]
    assert sorted(answers) == ["left alone"] * 7 + ["there"]
    assert len(tried) == 1


def test_breaker_can_be_turned_off(time: Time) -> None:
    guarded = guard(time, deadline_seconds=0.1, breaker_failures=0)
    for _ in range(20):
        with pytest.raises(StoreUnavailableError, match="within"):
            guarded.read(failing(1000))


@pytest.mark.parametrize("name", ["deadline_seconds", "write_deadline_seconds", "breaker_seconds"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_time_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        CallOptions(**{name: value})


async def test_async_call_that_hangs_is_cancelled_at_the_deadline() -> None:
    cancelled = False

    async def call(until: float) -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    with pytest.raises(StoreUnavailableError, match=r"within 0\.05 s"):
        await Guard("store x", CallOptions(deadline_seconds=0.05)).read_async(call)
    assert cancelled


async def test_async_call_is_tried_again_and_breaks_like_the_other() -> None:
    call = failing(2)

    async def read(until: float) -> int:
        return int(call(until))

    async def gone(until: float) -> int:
        raise StoreUnavailableError("gone")

    options = CallOptions(deadline_seconds=0.2, write_deadline_seconds=60.0, breaker_failures=1, breaker_seconds=60.0)
    guarded = Guard("store x", options)
    assert await guarded.write_async(read) == 3
    with pytest.raises(StoreUnavailableError, match="within"):
        await guarded.read_async(gone)
    with pytest.raises(StoreUnavailableError, match="left alone"):
        await guarded.read_async(read)


async def test_caller_that_is_cancelled_is_not_taken_for_a_store_that_is_away() -> None:
    guarded = Guard("store x", CallOptions(breaker_failures=1))

    async def hang(until: float) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(guarded.read_async(hang))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def there(until: float) -> str:
        return "there"

    assert await guarded.read_async(there) == "there"
