"""The Redis store behind a sentinel: calls find the master, and the new one when it fails."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("redis", reason="redis is not installed; pip install 'tiffin[redis]' provides it")

from servers import SLACK_SECONDS, Server, Watched, wait_until, watched_redis
from tiffin.backends.redis.online import RedisOnlineStore
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import StoreError, StoreUnavailableError
from tiffin.testing.online import TABLE, key, read, row

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("redis sentinel")]
DEADLINE_SECONDS = 0.4


@pytest.fixture
def watched() -> Iterator[Watched]:
    with watched_redis() as watched:
        yield watched


def opened(*sentinels: int, words: str = "", **options: Any) -> RedisOnlineStore:
    where = ",".join(f"127.0.0.1:{port}" for port in sentinels) + words
    calls = {"deadline_seconds": DEADLINE_SECONDS, "breaker_failures": 0}
    options = {"connection_string": where, "redis_type": "redis_sentinel", **calls, **options}
    return RedisOnlineStore.from_config(options, OnlineLocation("p"))


@pytest.fixture
def store(watched: Watched) -> Iterator[RedisOnlineStore]:
    """A store with one row, which the replica has too."""
    store = opened(watched.sentinel.port, write_deadline_seconds=12.0)
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    # A connection waits for its own writes, and so for those before them.
    assert ask(watched.master, ["SET", "last", "x"], ["WAIT", 1, 10_000]) == 1
    yield store
    store.close()


def ask(server: Server, *commands: list[object]) -> Any:
    """The answer to the last of some commands on one connection."""
    import redis

    with redis.Redis(port=server.port) as client:
        return [client.execute_command(*command) for command in commands][-1]


def write_goes_on(store: RedisOnlineStore, watched: Watched) -> None:
    """One write, long enough for a failover, ends at the new master; reads find what was there, and the new row."""
    assert store.write(WriteBatch(TABLE, [key(2)], [row(2)])).written == 1
    assert ask(watched.replica, ["ROLE"])[0] == b"master"
    wait_until(lambda: reads(store), "reading")
    assert store.read([ReadRequest(TABLE, [key(1), key(2)])]) == [[row(1), row(2)]]


def reads(store: RedisOnlineStore) -> bool:
    """Whether a read is answered. Until it is, it fails in words and in time."""
    began, found = time.monotonic(), None
    with suppress(StoreUnavailableError):
        found = read(store, key(1))
    assert time.monotonic() - began < DEADLINE_SECONDS + SLACK_SECONDS
    assert found in (None, row(1))
    return found is not None


def test_calls_go_on_at_the_new_master_when_the_first_one_is_killed(store: RedisOnlineStore, watched: Watched) -> None:
    watched.master.stop()
    assert not reads(store), "nobody else is the master so soon"
    write_goes_on(store, watched)


def test_calls_go_on_at_the_new_master_when_the_first_one_hangs(store: RedisOnlineStore, watched: Watched) -> None:
    watched.master.pause()
    assert not reads(store), "nobody else is the master so soon"
    write_goes_on(store, watched)


async def test_async_calls_go_on_at_the_new_master(store: RedisOnlineStore, watched: Watched) -> None:
    assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[row(1)]]
    watched.master.stop()
    with pytest.raises(StoreUnavailableError):
        await store.read_async([ReadRequest(TABLE, [key(1)])])
    assert (await store.write_async(WriteBatch(TABLE, [key(2)], [row(2)]))).written == 1
    assert await store.read_async([ReadRequest(TABLE, [key(1), key(2)])]) == [[row(1), row(2)]]
    await store.close_async()


async def test_sentinel_that_hangs_leaves_time_for_the_next_one(watched: Watched) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = opened(silent.getsockname()[1], watched.sentinel.port, deadline_seconds=3.0)
        store.ensure([TABLE])
        assert read(store, key(1)) is None
        assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[None]]
        await store.close_async()
        store.close()


def test_master_that_no_sentinel_knows_is_named(watched: Watched) -> None:
    store = opened(watched.sentinel.port, words=",password=my-secret", sentinel_master="mymastr")
    with pytest.raises(StoreUnavailableError, match="no sentinel knows a master 'mymastr'") as caught:
        store.read([ReadRequest(TABLE, [key(1)])])
    assert "sentinel_master" in str(caught.value.__cause__)
    assert "my-secret" not in str(caught.value) + repr(store._options)
    store.close()


async def test_master_and_sentinel_have_passwords_of_their_own() -> None:
    words = ("--requirepass", "masters-secret", "--masterauth", "masters-secret")
    auth = ["sentinel auth-pass mymaster masters-secret"]
    with watched_redis(*words, auth=auth) as watched:
        store = opened(watched.sentinel.port, words=",password=masters-secret")
        store.ensure([TABLE])
        assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[None]]
        await store.close_async()
        store.close()
    with watched_redis(*words, auth=auth, watcher=["requirepass sentinels-secret"]) as watched:
        store = opened(watched.sentinel.port, words=",password=masters-secret", sentinel_password="sentinels-secret")
        store.ensure([TABLE])
        assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[None]]
        await store.close_async()
        store.close()
        store = opened(watched.sentinel.port, words=",password=masters-secret", sentinel_password="wrong-secret")
        with pytest.raises(StoreError, match="sentinel") as caught:
            read(store, key(1))
        assert "secret" not in str(caught.value) + repr(store._options)
        store.close()
