"""Reads of one moment are one call of the store; what befalls one of those who asked is not the others' affair."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from tiffin.contracts.gather import Gathered
from tiffin.contracts.online import ReadRequest
from tiffin.errors import StoreError, StoreUnavailableError

Rows = list[list[bytes | None]]


class Store:
    """Answers a key with itself, and remembers which tables each call was for."""

    def __init__(self, check: Callable[[Sequence[ReadRequest]], None] = lambda requests: None) -> None:
        self.calls: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._check = check

    async def read(self, requests: Sequence[ReadRequest]) -> Rows:
        self.calls.append([request.table for request in requests])
        await self.may_answer.wait()
        self._check(requests)
        return [[b"row of " + key for key in request.keys] for request in requests]


def asked(*tables: str, keys: int = 1) -> list[ReadRequest]:
    return [ReadRequest(table, [b"%s-%d" % (table.encode(), key) for key in range(keys)]) for table in tables]


def rows(*tables: str, keys: int = 1) -> Rows:
    return [[b"row of %s-%d" % (table.encode(), key) for key in range(keys)] for table in tables]


async def test_reads_of_one_moment_are_one_call_and_each_gets_its_own_rows() -> None:
    store = Store()
    gathered = Gathered(store.read)
    found = await asyncio.gather(*(gathered.read(asked(*tables)) for tables in ("ab", "b", "", "c")))
    assert found == [rows("a", "b"), rows("b"), [], rows("c")]
    assert store.calls == [["a", "b", "b", "c"]]


async def test_a_later_read_does_not_wait_for_an_earlier_one() -> None:
    store = Store()
    gathered = Gathered(store.read)
    store.may_answer.clear()
    first = asyncio.ensure_future(gathered.read(asked("a")))
    while not store.calls:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(gathered.read(asked("b")))
    while len(store.calls) < 2:
        await asyncio.sleep(0)
    store.may_answer.set()
    assert await asyncio.gather(first, second) == [rows("a"), rows("b")]


async def test_reads_of_many_keys_are_calls_of_their_own() -> None:
    store = Store()
    gathered = Gathered(store.read)
    wanted = [("a", 1), ("b", 400), ("c", 400), ("d", 2000), ("e", 1)]
    found = await asyncio.gather(*(gathered.read(asked(table, keys=keys)) for table, keys in wanted))
    assert found == [rows(table, keys=keys) for table, keys in wanted]
    assert store.calls == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_what_is_wrong_with_one_read_is_raised_for_that_one_alone() -> None:
    def check(requests: Sequence[ReadRequest]) -> None:
        if any(request.table == "gone" for request in requests):
            raise StoreError("there is no table 'gone'")

    gathered = Gathered(Store(check).read)
    found = await asyncio.gather(*(gathered.read(asked(t)) for t in ("a", "gone", "b")), return_exceptions=True)
    assert found[0] == rows("a")
    assert isinstance(found[1], StoreError)
    assert found[2] == rows("b")


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ZeroDivisionError()])
async def test_a_store_that_is_away_is_asked_once_for_all(error: Exception) -> None:
    def check(requests: Sequence[ReadRequest]) -> None:
        raise error

    store = Store(check)
    gathered = Gathered(store.read)
    found = await asyncio.gather(*(gathered.read(asked(table)) for table in "ab"), return_exceptions=True)
    assert found == [error, error]
    assert len(store.calls) == 1


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    store = Store()
    gathered = Gathered(store.read)
    store.may_answer.clear()
    reads = [asyncio.ensure_future(gathered.read(asked(table))) for table in "abc"]
    while not store.calls:
        await asyncio.sleep(0)
    reads[1].cancel()
    await asyncio.sleep(0)
    store.may_answer.set()
    found = await asyncio.gather(*reads, return_exceptions=True)
    assert found[0] == rows("a")
    assert isinstance(found[1], asyncio.CancelledError)
    assert found[2] == rows("c")
