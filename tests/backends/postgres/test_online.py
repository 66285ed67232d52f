"""The PostgreSQL store on a real server of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed; pip install 'tiffin[postgres]' provides it")

from servers import PATIENT, SLACK_SECONDS, Postgres, postgres_server
from tiffin.backends.postgres.online import PostgresOnlineStore
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import ConfigError, StoreError, StoreUnavailableError
from tiffin.testing.online import TABLE, OnlineStoreSuite, key, read, row

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("postgres")]
NUMBERS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


class TestPostgres(OnlineStoreSuite):
    backend = PostgresOnlineStore

    @pytest.fixture(autouse=True)
    def _own_schema(self, server: Postgres) -> None:
        self.where = {"connection_string": server.url, "db_schema": f"suite {next(NUMBERS)}", **PATIENT}

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        return self.where


def opened(server: Postgres, **options: Any) -> PostgresOnlineStore:
    where = {"connection_string": server.url, **PATIENT, **options}
    return PostgresOnlineStore.from_config(where, OnlineLocation("p"))


@pytest.fixture
def schema() -> str:
    return f"s{next(NUMBERS)}"


@pytest.fixture
def store(server: Postgres, schema: str) -> Iterator[PostgresOnlineStore]:
    store = opened(server, db_schema=schema)
    store.ensure([TABLE])
    yield store
    store.close()


def test_parts_of_an_address_do_the_same(server: Postgres, schema: str) -> None:
    parts = {"host": "127.0.0.1", "port": server.port, "database": "postgres", "user": "tests", "password": "none"}
    store = PostgresOnlineStore.from_config({**parts, "db_schema": schema, "sslmode": None}, OnlineLocation("p"))
    store.ensure([TABLE])
    assert read(store, key(1)) is None
    store.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connection_string": "postgresql://a:secret@[bad"}, "connection_string"),
        ({"connection_string": "postgresql://h/d", "user": "u"}, "one of them"),
        ({"max_conn": 0}, "max_conn"),
        ({"conn_type": "pol"}, "pool"),
        ({"db_schema": ""}, "db_schema"),
        ({"hots": "x"}, "host"),
        ({"deadline_seconds": -1.0}, "deadline_seconds"),
    ],
)
def test_wrong_option_says_what_to_write(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        PostgresOnlineStore.from_config(options, OnlineLocation("p"))
    assert "secret" not in str(caught.value)


def test_user_that_is_refused_is_named_without_the_password(server: Postgres) -> None:
    url = f"postgresql://nobody:my-secret@127.0.0.1:{server.port}/postgres"
    store = PostgresOnlineStore.from_config({"connection_string": url}, OnlineLocation("p"))
    with pytest.raises(StoreError, match=r"nobody@127\.0\.0\.1") as caught:
        store.read([ReadRequest(TABLE, [key(1)])])
    assert not isinstance(caught.value, StoreUnavailableError)
    assert "my-secret" not in str(caught.value) + repr(store._options)
    store.close()


def test_server_that_is_not_there_is_unavailable_within_the_deadline() -> None:
    url = "postgresql://u@127.0.0.1:1/d"
    options = {"connection_string": url, "deadline_seconds": 0.2}
    store = PostgresOnlineStore.from_config(options, OnlineLocation("p"))
    with pytest.raises(StoreUnavailableError, match=r"within 0\.2 s"):
        store.read([ReadRequest(TABLE, [key(1)])])
    store.close()


def test_hung_server_holds_a_read_no_longer_than_its_deadline(server: Postgres, schema: str) -> None:
    store = opened(server, db_schema=schema, deadline_seconds=1.0)
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    processes = subprocess.run(["pgrep", "-P", str(server.postmaster())], capture_output=True, text=True, check=True)
    stopped = [server.postmaster(), *map(int, processes.stdout.split())]
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"within 1 s"):
            read(store, key(1))
        assert time.monotonic() - began < 1 + SLACK_SECONDS
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
    assert read(store, key(1)) == row(1)
    store.close()


async def test_async_read_that_hangs_is_cut_off_and_the_next_one_gets_its_own_answer(
    server: Postgres, schema: str
) -> None:
    import psycopg

    store = opened(server, db_schema=schema, deadline_seconds=1.0)
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1), key(2)], [row(1), row(2)]))
    assert await store.read_async([ReadRequest(TABLE, [key(1)])]) == [[row(1)]]
    with psycopg.connect(server.url) as blocker:
        blocker.execute(f"LOCK TABLE {store._names[TABLE]} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailableError):
            await store.read_async([ReadRequest(TABLE, [key(1)])])
    assert await store.read_async([ReadRequest(TABLE, [key(2)])]) == [[row(2)]]
    store.close()


def test_restarted_server_is_found_again(server: Postgres, schema: str) -> None:
    store = opened(server, db_schema=schema, deadline_seconds=20.0)
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    server.call("pg_ctl", "-D", server.home / "data", "-m", "fast", "-w", "stop")
    server.start()
    assert read(store, key(1)) == row(1)
    store.close()


def test_table_dropped_by_another_process_is_not_taken_for_another(
    store: PostgresOnlineStore, server: Postgres, schema: str
) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    other = opened(server, db_schema=schema)
    other.drop([TABLE])
    with pytest.raises(StoreError, match="tiffin apply"):
        read(store, key(1))
    other.ensure(["q.1", TABLE])
    other.write(WriteBatch("q.1", [key(1)], [row(5)]))
    assert read(store, key(1)) is None
    assert store.read([ReadRequest("q.1", [key(1)]), ReadRequest(TABLE, [key(1)])]) == [[row(5)], [None]]
    other.close()


def test_writers_in_opposite_order_do_not_lock_each_other_out(store: PostgresOnlineStore) -> None:
    keys = [key(n) for n in range(4000)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for stamp in range(4):
                order = keys if number % 2 else keys[::-1]
                store.write(WriteBatch(TABLE, order, [row(stamp * 10 + number)] * len(order)))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert set(dict(store.scan_all(TABLE)).values()) == {row(33)}


def test_more_callers_than_connections_wait_for_each_other(server: Postgres, schema: str) -> None:
    store = opened(server, db_schema=schema, max_conn=2, deadline_seconds=10.0)
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(n) for n in range(50)], [row(n) for n in range(50)]))
    wrong: list[int] = []

    def work(number: int) -> None:
        for n in range(50):
            if read(store, key((n + number) % 50)) != row((n + number) % 50):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(store._idle) <= 2
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_uses_connections_of_its_own(store: PostgresOnlineStore) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    child = os.fork()
    if child == 0:
        os._exit(0 if all(read(store, key(1)) == row(1) for _ in range(50)) else 1)
    assert all(read(store, key(1)) == row(1) for _ in range(50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(store, key(1)) == row(1)
