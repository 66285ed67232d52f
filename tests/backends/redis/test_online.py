"""The Redis store on a real server of the test's own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("redis", reason="redis is not installed; pip install 'tiffin[redis]' provides it")

from servers import PATIENT, SLACK_SECONDS, Server, free_port, redis_server, wait_until
from tiffin.backends.redis import clients, layout
from tiffin.backends.redis.online import RedisOnlineStore
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import ConfigError, StoreError, StoreUnavailableError
from tiffin.testing.online import TABLE, OnlineStoreSuite, key, read, row

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("redis")]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with redis_server() as server:
        yield server


class TestRedis(OnlineStoreSuite):
    backend = RedisOnlineStore

    @pytest.fixture(autouse=True)
    def _empty_server(self, server: Server) -> None:
        self.where = f"127.0.0.1:{server.port}"
        flush(self.where)

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        return {"connection_string": self.where, **PATIENT}


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Server]]:
    with ExitStack() as stack:
        buses = [free_port() for _ in range(3)]
        options = [("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
        nodes = [stack.enter_context(redis_server(*words)) for words in options]
        join_cluster(nodes, buses[0])
        yield nodes


class TestRedisCluster(OnlineStoreSuite):
    backend = RedisOnlineStore

    @pytest.fixture(autouse=True)
    def _empty_nodes(self, nodes: list[Server]) -> None:
        self.where = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        for node in nodes:
            flush(f"127.0.0.1:{node.port}")

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        return {"connection_string": self.where, "redis_type": "redis_cluster", **PATIENT}


def join_cluster(nodes: list[Server], bus: int) -> None:
    import redis

    clients = [redis.Redis(port=node.port) for node in nodes]
    shares = [(0, 5460), (5461, 10922), (10923, 16383)]
    for client, (first, last) in zip(clients, shares, strict=True):
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus)
    wait_until(
        lambda: all(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for client in clients),
        "the cluster",
        pause_seconds=0.05,
    )
    for client in clients:
        client.close()


def flush(where: str) -> None:
    import redis

    host, port = where.split(":")
    client = redis.Redis(host=host, port=int(port))
    client.flushall()
    client.close()


def opened(where: str, **options: Any) -> RedisOnlineStore:
    return RedisOnlineStore.from_config({"connection_string": where, **PATIENT, **options}, OnlineLocation("p"))


@pytest.fixture
def store(server: Server) -> Iterator[RedisOnlineStore]:
    flush(f"127.0.0.1:{server.port}")
    store = opened(f"127.0.0.1:{server.port}")
    store.ensure([TABLE])
    yield store
    store.close()


@pytest.mark.parametrize(
    "text", ["127.0.0.1:{port}", "redis://127.0.0.1:{port}", "127.0.0.1:{port},db=3", "redis://127.0.0.1:{port}/3"]
)
def test_both_forms_of_a_connection_string_work(server: Server, text: str) -> None:
    flush(f"127.0.0.1:{server.port}")
    store = opened(text.format(port=server.port))
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert read(store, key(1)) == row(1)
    store.drop([TABLE])
    store.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connection_string": "http://x"}, "scheme"),
        ({"connection_string": "localhost:x"}, "port"),
        ({"connection_string": "localhost,pasword=y"}, "password"),
        ({"connection_string": "localhost,ssl=maybe"}, "ssl"),
        ({"connection_string": "localhost,db=one"}, "database"),
        ({"connection_string": ""}, "host"),
        ({"redis_type": "redis_clutser"}, "redis_cluster"),
        ({"deadline_seconds": 0.0}, "deadline_seconds"),
        ({"max_connections": 0}, "max_connections"),
        ({"conection_string": "x"}, "connection_string"),
    ],
)
def test_wrong_option_says_what_to_write(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RedisOnlineStore.from_config(options, OnlineLocation("p"))


def test_password_is_used_and_never_shown() -> None:
    with redis_server("--requirepass", "right") as server:
        good = opened(f"redis://:right@127.0.0.1:{server.port}")
        good.ensure([TABLE])
        good.write(WriteBatch(TABLE, [key(1)], [row(1)]))
        assert read(good, key(1)) == row(1)
        good.close()
        for where in (f"127.0.0.1:{server.port},password=wrong-secret", f"127.0.0.1:{server.port}"):
            bad = opened(where)
            with pytest.raises(StoreError, match="refuses") as caught:
                bad.read([ReadRequest(TABLE, [key(1)])])
            assert not isinstance(caught.value, StoreUnavailableError)
            assert "wrong-secret" not in str(caught.value) + repr(bad) + repr(bad._options)
            bad.close()


def test_hung_server_holds_a_read_no_longer_than_its_deadline() -> None:
    with redis_server() as server:
        store = opened(f"127.0.0.1:{server.port}", deadline_seconds=0.3)
        store.ensure([TABLE])
        store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
        assert read(store, key(1)) == row(1)
        server.pause()
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"within 0\.3 s"):
            read(store, key(1))
        assert time.monotonic() - began < 0.3 + SLACK_SECONDS
        server.resume()
        assert read(store, key(1)) == row(1)
        store.close()


async def test_hung_server_holds_an_async_read_no_longer_than_its_deadline() -> None:
    with redis_server() as server:
        store = opened(f"127.0.0.1:{server.port}", deadline_seconds=0.3)
        store.ensure([TABLE])
        assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[None]]
        server.pause()
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            await store.read_async([ReadRequest(TABLE, [key(1)])])
        assert time.monotonic() - began < 0.3 + SLACK_SECONDS
        server.resume()
        assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[None]]
        await store.close_async()
        store.close()


def test_socket_that_is_only_looked_at_does_not_wait() -> None:
    """redis-py up to 7 looks so at each connection that it takes from its pool."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        timed = clients._TimedSocket(ours)
        clients.set_deadline(time.monotonic() + 30)
        timed.settimeout(0)
        with pytest.raises(BlockingIOError):
            timed.recv_into(bytearray(1))
        timed.settimeout(5.0)
        theirs.send(b"x")
        assert timed.recv_into(bytearray(1)) == 1


def test_server_that_is_not_there_is_named() -> None:
    store = opened("127.0.0.1:1", deadline_seconds=0.2)
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1 did not answer"):
        store.read([ReadRequest(TABLE, [key(1)])])
    store.close()


def test_restarted_server_is_found_again_and_its_script_loaded_again() -> None:
    with redis_server() as server:
        store = opened(f"127.0.0.1:{server.port}")
        store.ensure([TABLE])
        store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
        server.stop()
        server.start()
        # It kept nothing, so the table is gone too, and no stale number of it is used.
        with pytest.raises(StoreError, match="tiffin apply"):
            store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
        store.ensure([TABLE])
        assert store.write(WriteBatch(TABLE, [key(1)], [row(1)])).written == 1
        store.close()


def test_table_dropped_by_another_process_is_not_read_from_memory(store: RedisOnlineStore, server: Server) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert read(store, key(1)) == row(1)
    other = opened(f"127.0.0.1:{server.port}")
    other.drop([TABLE])
    with pytest.raises(StoreError, match="tiffin apply"):
        read(store, key(1))
    other.ensure([TABLE])
    assert read(store, key(1)) is None
    other.write(WriteBatch(TABLE, [key(1)], [row(7)]))
    assert read(store, key(1)) == row(7)
    other.close()


def test_write_goes_to_the_table_that_another_process_made_anew(store: RedisOnlineStore, server: Server) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(9)]))
    other = opened(f"127.0.0.1:{server.port}")
    other.drop([TABLE])
    with pytest.raises(StoreError, match="tiffin apply"):
        store.write(WriteBatch(TABLE, [key(1)], [row(9)]))
    other.ensure([TABLE])
    # What was there before is gone, so an older row is new again.
    assert store.write(WriteBatch(TABLE, [key(1)], [row(2)])).written == 1
    assert read(other, key(1)) == row(2)
    other.close()


def test_database_that_was_emptied_mixes_no_tables(store: RedisOnlineStore, server: Server) -> None:
    store.ensure(["p.other.1"])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert store.read([ReadRequest("p.other.1", [key(1)]), ReadRequest(TABLE, [key(1)])]) == [[None], [row(1)]]
    flush(f"127.0.0.1:{server.port}")
    other = opened(f"127.0.0.1:{server.port}")
    other.ensure(["p.other.1"])
    other.ensure([TABLE])
    other.write(WriteBatch("p.other.1", [key(1)], [row(8)]))
    assert store.read([ReadRequest(TABLE, [key(1)]), ReadRequest("p.other.1", [key(1)])]) == [[None], [row(8)]]
    other.close()


def test_dropping_leaves_everything_else_in_the_database(store: RedisOnlineStore, server: Server) -> None:
    import redis

    client = redis.Redis(port=server.port)
    client.set("mine", "x")
    client.set(b"{k000001}", "y")
    store.ensure(["q.other.1"])
    store.write(WriteBatch("q.other.1", [key(1)], [row(5)]))
    store.write(WriteBatch(TABLE, [key(n) for n in range(3000)], [row(1)] * 3000))
    store.drop([TABLE])
    assert client.get("mine") == b"x"
    assert client.get(b"{k000001}") == b"y"
    assert store.read([ReadRequest("q.other.1", [key(1)])]) == [[row(5)]]
    assert client.dbsize() <= 7
    client.close()


@pytest.mark.parametrize("content", [b"}", b"{", b"}{", b"a}b", b"\x00", b"*?[", b"", b"}" * 5])
def test_any_entity_key_is_its_own(store: RedisOnlineStore, content: bytes) -> None:
    store.write(WriteBatch(TABLE, [content, b"other"], [row(1), row(2)]))
    assert read(store, content) == row(1)
    assert dict(store.scan_all(TABLE)) == {content: row(1), b"other": row(2)}


def test_row_leaves_when_it_is_told_to(server: Server) -> None:
    import redis

    flush(f"127.0.0.1:{server.port}")
    store = opened(f"127.0.0.1:{server.port}", expiry_margin_seconds=60.0)
    store.ensure([TABLE])
    now_us = int(time.time() * 1e6)
    young, old = ((us + (1 << 63)).to_bytes(8, "big") + b"x" for us in (now_us, now_us - 10**10))
    hour_us = 3_600_000_000
    store.write(WriteBatch(TABLE, [key(1), key(2)], [young, old], ttl_us=hour_us))
    store.write(WriteBatch(TABLE, [key(3)], [young]))
    client = redis.Redis(port=server.port)
    names = [b"{" + key(n) + layout.suffix(store._number_of(TABLE)) for n in (1, 2, 3)]
    left = [client.ttl(name) for name in names]
    assert 3600 < left[0] <= 3660
    assert left[1:] == [-2, -1]
    client.close()
    store.close()


def test_memory_of_a_table_is_told(store: RedisOnlineStore) -> None:
    store.write(WriteBatch(TABLE, [key(n) for n in range(200)], [row(1, bytes(400))] * 200))
    (info,) = store.tables(TABLE)
    assert info.rows == 200
    assert info.memory_bytes is not None
    assert 200 * 400 < info.memory_bytes < 200 * 800


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_uses_connections_of_its_own(store: RedisOnlineStore) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    child = os.fork()
    if child == 0:
        os._exit(0 if all(read(store, key(1)) == row(1) for _ in range(50)) else 1)
    assert all(read(store, key(1)) == row(1) for _ in range(50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
