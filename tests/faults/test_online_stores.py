"""Stores over a network, behind a proxy that spoils the connection: calls end in time, and no answer is another's."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from faults.proxy import Faults, Proxy, proxy_of
from servers import postgres_server, redis_server
from tiffin.contracts.online import OnlineLocation, OnlineStore, ReadRequest, WriteBatch
from tiffin.errors import StoreUnavailableError

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("network faults")]
TABLE = "faults.t.1"
DEADLINE_SECONDS = 0.4
#: What a machine that runs other tests at the same time may add.
SLACK_SECONDS = 1.5
ROWS = {b"key%04d" % n: n.to_bytes(8, "big") + bytes([n % 256]) * (100 + n) for n in range(400)}


@pytest.fixture(scope="module", params=["redis", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    with redis_server() if request.param == "redis" else postgres_server() as server:
        yield request.param, server.port


@pytest.fixture
def proxy(server: tuple[str, int]) -> Iterator[Proxy]:
    with proxy_of(server[1]) as proxy:
        yield proxy


@pytest.fixture
def store(server: tuple[str, int], proxy: Proxy) -> Iterator[OnlineStore]:
    """A filled store, whose calls go through the proxy."""
    opened = open_store(server[0], proxy.port)
    opened.ensure([TABLE])
    opened.write(WriteBatch(TABLE, list(ROWS), list(ROWS.values())))
    assert read(opened, *ROWS) == list(ROWS.values())
    yield opened
    proxy.faults = Faults()
    opened.close()


def open_store(kind: str, port: int, **options: Any) -> OnlineStore:
    where: dict[str, Any]
    if kind == "redis":
        from tiffin.backends.redis.online import RedisOnlineStore as Store

        where = {"connection_string": f"127.0.0.1:{port}"}
    else:
        from tiffin.backends.postgres.online import PostgresOnlineStore as Store  # type: ignore[assignment]

        where = {"connection_string": f"postgresql://tests@127.0.0.1:{port}/postgres?sslmode=disable"}
    calls = {"deadline_seconds": DEADLINE_SECONDS, "breaker_failures": 0}
    return Store.from_config({**where, **calls, **options}, OnlineLocation("faults"))


def read(store: OnlineStore, *keys: bytes) -> list[bytes | None]:
    return store.read([ReadRequest(TABLE, keys)])[0]


def fails_in_time(store: OnlineStore) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="did not answer within"):
        read(store, *ROWS)
    assert time.monotonic() - began < DEADLINE_SECONDS + SLACK_SECONDS


def test_refused_connection(store: OnlineStore, proxy: Proxy) -> None:
    proxy.refuse()
    fails_in_time(store)
    proxy.listen()
    assert read(store, *ROWS) == list(ROWS.values())


def test_store_that_hangs(store: OnlineStore, proxy: Proxy) -> None:
    proxy.faults = Faults(hangs=True)
    fails_in_time(store)
    proxy.faults = Faults()
    assert read(store, *ROWS) == list(ROWS.values())


def test_reply_that_drips_for_ever(store: OnlineStore, proxy: Proxy) -> None:
    """Each byte comes well within the deadline, the whole reply never does."""
    proxy.faults = Faults(delay_seconds=0.05, drip_bytes=1)
    fails_in_time(store)
    proxy.faults = Faults()
    assert read(store, *ROWS) == list(ROWS.values())


def test_slow_store_within_the_deadline_is_waited_for(store: OnlineStore, proxy: Proxy) -> None:
    proxy.faults = Faults(delay_seconds=0.02)
    assert read(store, b"key0007") == [ROWS[b"key0007"]]


def test_reply_that_is_reset_in_its_middle_is_asked_for_again_or_fails(store: OnlineStore, proxy: Proxy) -> None:
    proxy.faults = Faults(reset_after_bytes=2_000)
    fails_in_time(store)
    proxy.faults = Faults()
    assert read(store, *ROWS) == list(ROWS.values())


@pytest.mark.parametrize("seed", range(3))
def test_scan_that_is_cut_goes_on_where_it_was(server: tuple[str, int], proxy: Proxy, seed: int) -> None:
    store = open_store(server[0], proxy.port, deadline_seconds=30.0)
    store.drop([TABLE])
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, list(ROWS), list(ROWS.values())))
    chance = random.Random(seed)
    for _ in range(20):
        pages = store.scan(TABLE, page_rows=50)
        found = dict(next(pages))
        proxy.faults = Faults(reset_after_bytes=chance.randrange(1, 60_000), once=True)
        for page in pages:
            found |= dict(page)
        assert found == ROWS
    store.close()


def test_scan_that_is_cut_for_good_fails_and_does_not_end_early(store: OnlineStore, proxy: Proxy) -> None:
    pages = store.scan(TABLE, page_rows=50)
    next(pages)
    proxy.faults = Faults(reset_after_bytes=1)
    with pytest.raises(StoreUnavailableError):
        list(pages)


@pytest.mark.parametrize("seed", range(3))
def test_no_answer_is_taken_for_another_ones(store: OnlineStore, proxy: Proxy, seed: int) -> None:
    """Replies are cut at random places; whatever is answered afterwards is what was asked for."""
    chance = random.Random(seed)
    answered = 0
    for _ in range(60):
        proxy.faults = Faults(reset_after_bytes=chance.choice([None, None, chance.randrange(20_000)]))
        keys = chance.sample(sorted(ROWS), chance.randrange(1, 100))
        try:
            found = read(store, *keys)
        except StoreUnavailableError:
            continue
        assert found == [ROWS[key] for key in keys]
        answered += 1
    assert answered > 10


async def test_async_reads_end_in_time_and_recover(server: tuple[str, int], store: OnlineStore, proxy: Proxy) -> None:
    requests = [ReadRequest(TABLE, list(ROWS))]
    for faults in (Faults(hangs=True), Faults(delay_seconds=0.05, drip_bytes=1), Faults(reset_after_bytes=2_000)):
        assert await store.read_async(requests) == [list(ROWS.values())]
        proxy.faults = faults
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await store.read_async(requests)
        assert time.monotonic() - began < DEADLINE_SECONDS + SLACK_SECONDS
        proxy.faults = Faults()
    assert await store.read_async(requests) == [list(ROWS.values())]
    await store.close_async()


def test_write_that_is_cut_is_written_again_and_converges(server: tuple[str, int], proxy: Proxy) -> None:
    store = open_store(server[0], proxy.port, write_deadline_seconds=5.0)
    store.ensure(["faults.w.1"])
    proxy.faults = Faults(reset_after_bytes=1)
    batch = WriteBatch("faults.w.1", list(ROWS), list(ROWS.values()))
    with pytest.raises(StoreUnavailableError):
        store.write(batch)
    proxy.faults = Faults()
    result = store.write(batch)
    assert result.written + result.stale == len(ROWS)
    assert dict(store.scan_all("faults.w.1")) == ROWS
    store.close()


def test_proxy_passes_everything_when_nothing_is_wrong(store: OnlineStore) -> None:
    large = (10**6).to_bytes(8, "big") + bytes(300_000)
    store.write(WriteBatch(TABLE, [b"large"], [large]))
    assert store.read([ReadRequest(TABLE, [b"large", b"none"])]) == [[large, None]]
