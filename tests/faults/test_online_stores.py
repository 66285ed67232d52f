"""Stores over a network, behind a proxy that spoils the connection: calls end in time, and no answer is another's."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from faults.proxy import Faults, Proxy, proxy_of
from faults.stores import DYNAMODB, POSTGRES, REDIS, ROWS, TABLE, Kind, fill, read, server_of
from servers import SLACK_SECONDS
from tiffin.contracts.online import OnlineStore, ReadRequest, WriteBatch
from tiffin.errors import StoreUnavailableError

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("network faults")]


@pytest.fixture(scope="module", params=[REDIS, POSTGRES, DYNAMODB], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def server(kind: Kind) -> Iterator[int]:
    """The port of a filled server."""
    with server_of(kind) as port:
        fill(kind, port)
        yield port


@pytest.fixture
def proxy(server: int) -> Iterator[Proxy]:
    with proxy_of(server) as proxy:
        yield proxy


@pytest.fixture
def store(kind: Kind, proxy: Proxy) -> Iterator[OnlineStore]:
    """A store whose calls go through the proxy, over a connection that is open."""
    opened = kind.open(proxy.port)
    assert read(opened, *ROWS) == list(ROWS.values())
    yield opened
    proxy.faults = Faults()
    opened.close()


def fails_in_time(kind: Kind, store: OnlineStore) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="did not answer within"):
        read(store, *ROWS)
    assert time.monotonic() - began < kind.deadline_seconds + SLACK_SECONDS


def test_refused_connection(kind: Kind, store: OnlineStore, proxy: Proxy) -> None:
    proxy.refuse()
    fails_in_time(kind, store)
    proxy.listen()
    assert read(store, *ROWS) == list(ROWS.values())


def test_store_that_hangs(kind: Kind, store: OnlineStore, proxy: Proxy) -> None:
    proxy.faults = Faults(hangs=True)
    fails_in_time(kind, store)
    proxy.faults = Faults()
    assert read(store, *ROWS) == list(ROWS.values())


def test_reply_that_drips_for_ever(kind: Kind, store: OnlineStore, proxy: Proxy) -> None:
    """Each byte comes well within the deadline, the whole reply never does."""
    proxy.faults = Faults(delay_seconds=0.05, drip_bytes=1)
    fails_in_time(kind, store)
    proxy.faults = Faults()
    assert read(store, *ROWS) == list(ROWS.values())


def test_slow_store_within_the_deadline_is_waited_for(store: OnlineStore, proxy: Proxy) -> None:
    proxy.faults = Faults(delay_seconds=0.02)
    assert read(store, b"key0007") == [ROWS[b"key0007"]]


def test_reply_that_is_reset_in_its_middle_is_asked_for_again_or_fails(
    kind: Kind, store: OnlineStore, proxy: Proxy
) -> None:
    proxy.faults = Faults(reset_after_bytes=2_000)
    fails_in_time(kind, store)
    proxy.faults = Faults()
    assert read(store, *ROWS) == list(ROWS.values())


@pytest.mark.parametrize("seed", range(3))
def test_scan_that_is_cut_goes_on_where_it_was(kind: Kind, proxy: Proxy, seed: int) -> None:
    store = kind.open(proxy.port, deadline_seconds=30.0, write_deadline_seconds=30.0)
    chance = random.Random(seed)
    for _ in range(kind.tries // 3):
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
def test_no_answer_is_taken_for_another_ones(kind: Kind, proxy: Proxy, seed: int) -> None:
    """Replies are cut at random places; whatever is answered afterwards is what was asked for."""
    store = kind.open(proxy.port, deadline_seconds=kind.short_seconds)
    chance = random.Random(seed)
    answered = 0
    for _ in range(kind.tries):
        proxy.faults = Faults(reset_after_bytes=chance.choice([None, None, chance.randrange(20_000)]))
        keys = chance.sample(sorted(ROWS), chance.randrange(1, 100))
        try:
            found = read(store, *keys)
        except StoreUnavailableError:
            continue
        assert found == [ROWS[key] for key in keys]
        answered += 1
    assert answered > kind.tries // 6
    proxy.faults = Faults()
    store.close()


async def test_async_reads_end_in_time_and_recover(kind: Kind, store: OnlineStore, proxy: Proxy) -> None:
    requests = [ReadRequest(TABLE, list(ROWS))]
    for faults in (Faults(hangs=True), Faults(delay_seconds=0.05, drip_bytes=1), Faults(reset_after_bytes=2_000)):
        assert await store.read_async(requests) == [list(ROWS.values())]
        proxy.faults = faults
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await store.read_async(requests)
        assert time.monotonic() - began < kind.deadline_seconds + SLACK_SECONDS
        proxy.faults = Faults()
    assert await store.read_async(requests) == [list(ROWS.values())]
    await store.close_async()


def test_write_that_is_cut_is_written_again_and_converges(kind: Kind, proxy: Proxy) -> None:
    store = kind.open(proxy.port)
    store.ensure(["faults.w.1"])
    proxy.faults = Faults(reset_after_bytes=1)
    rows = dict(list(ROWS.items())[:40])
    batch = WriteBatch("faults.w.1", list(rows), list(rows.values()))
    with pytest.raises(StoreUnavailableError):
        store.write(batch)
    proxy.faults = Faults()
    result = store.write(batch)
    assert result.written + result.stale == len(rows)
    assert dict(store.scan_all("faults.w.1")) == rows
    store.close()


def test_proxy_passes_everything_when_nothing_is_wrong(store: OnlineStore) -> None:
    large = (10**6).to_bytes(8, "big") + bytes(250_000)
    store.ensure(["faults.large.1"])
    store.write(WriteBatch("faults.large.1", [b"large"], [large]))
    assert store.read([ReadRequest("faults.large.1", [b"large", b"none"])]) == [[large, None]]
