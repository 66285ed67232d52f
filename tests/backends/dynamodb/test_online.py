"""The DynamoDB store on moto's server, which enforces conditional writes."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiobotocore", reason="aiobotocore is not installed; pip install 'tiffin[dynamodb]' provides it")

from servers import PATIENT, SLACK_SECONDS, Server, moto_server
from tiffin.backends.dynamodb import layout
from tiffin.backends.dynamodb.online import DynamoDBOnlineStore
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import ConfigError, StoreError, StoreUnavailableError
from tiffin.testing.online import TABLE, OnlineStoreSuite, key, read, row

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("dynamodb")]


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-tests")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.delenv("AWS_PROFILE", raising=False)
        yield


@pytest.fixture(scope="module")
def server(credentials: None) -> Iterator[Server]:
    with moto_server() as server:
        yield server


@pytest.fixture
def where(server: Server) -> dict[str, object]:
    """An emptied server."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/moto-api/reset", method="POST")
    urllib.request.urlopen(request).close()
    return {"region": "eu-west-1", "endpoint_url": f"http://127.0.0.1:{server.port}", **PATIENT}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
class TestDynamoDB(OnlineStoreSuite):
    """moto answers some hundred calls a second, so that fewer writers and keys are tried here.

    It also takes an item's size to be that of its Base64, so that rows are smaller than DynamoDB would take them.
    """

    backend = DynamoDBOnlineStore
    writers = 3
    most_keys = 600
    raced_rows = 500
    deep_raced_rows = 10_000
    raced_additions = 20
    deep_raced_additions = 200
    most_row_bytes = 290_000

    @pytest.fixture(autouse=True)
    def _emptied(self, where: dict[str, object]) -> None:
        self.where = where

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        return self.where


def opened(where: Mapping[str, object], project: str = "suite", **options: Any) -> DynamoDBOnlineStore:
    return DynamoDBOnlineStore.from_config({**where, **options}, OnlineLocation(project))


@pytest.fixture
def store(where: dict[str, object]) -> Iterator[DynamoDBOnlineStore]:
    store = opened(where)
    store.ensure([TABLE])
    yield store
    store.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table_name_template": "{table_name}"}, "table_name_template"),
        ({"table_name_template": "{project}.{tabel}"}, "table_name_template"),
        ({"table_name_template": "{project}{table_name}"}, "table_name_template"),
        ({"table_name_template": "{project}-{table_name}"}, "table_name_template"),
        ({"table_name_template": "{project}/{table_name}"}, "table_name_template"),
        ({"endpoint_url": "http://user:hunter2@127.0.0.1:1"}, "endpoint_url"),
        ({"regoin": "x"}, "region"),
        ({"tags": "x"}, "tags"),
        ({"max_pool_connections": 0}, "max_pool_connections"),
        ({"deadline_seconds": 0.0}, "deadline_seconds"),
    ],
)
def test_wrong_option_says_what_to_write(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        DynamoDBOnlineStore.from_config(options, OnlineLocation("p"))
    assert "hunter2" not in str(caught.value)


def test_names_of_tables_are_allowed_and_apart() -> None:
    tables = ["p.a.1", "a.1", "p.a-1", "p.a_1", "p.ä", "p.-e4-", "p.p.a.1", "p.A.1", "p." + "x" * 300, "p." + "x" * 301]
    names = [layout.table_name("{project}.{table_name}", "p", table) for table in tables]
    names.append(layout.meta_name("{project}.{table_name}", "p"))
    assert len(set(names)) == len(names)
    assert all(3 <= len(name) <= 255 and name.replace("-", "_").replace(".", "_").isidentifier() for name in names)


TEMPLATES = [
    "{project}.{table_name}",
    "{project}_{table_name}",
    "x_{table_name}_{project}",
    "f.{project}._{table_name}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_names_of_two_projects_are_apart_by_every_template(template: str) -> None:
    pairs = [("a_b", "c.1"), ("a", "b_c.1"), ("a", "b.c.1"), ("a-5f-b", "c.1"), ("ab", "c.1"), ("a_b_c", "1")]
    pairs.append(("a", "x" * 300))
    pairs += [("p" * 150 + end, "x" * 300) for end in "qr"]
    names = [layout.table_name(template, project, f"{project}.{table}") for project, table in pairs]
    assert len(set(names)) == len(pairs)
    assert all(len(name) <= 255 for name in names)


def test_tags_are_put_on_tables(where: dict[str, object]) -> None:
    store = opened(where, tags={"team": "ml"}, retry_mode=None)
    store.ensure([TABLE])
    arn = store._write(lambda: store._call("describe_table", TableName=store._name(TABLE)))["Table"]["TableArn"]
    tags = store._write(lambda: store._call("list_tags_of_resource", ResourceArn=arn))["Tags"]
    assert tags == [{"Key": "team", "Value": "ml"}]
    store.close()


def test_drop_that_was_stopped_half_way_is_listed_no_more_and_can_be_ended(store: DynamoDBOnlineStore) -> None:
    store._write(lambda: store._call("delete_table", TableName=store._name(TABLE)))
    assert store.tables() == []
    store.drop([TABLE])
    store.ensure([TABLE])
    assert [info.table for info in store.tables()] == [TABLE]


async def test_clients_of_closed_loops_are_forgotten(where: dict[str, object]) -> None:
    store = opened(where)

    async def read_once() -> None:
        await store._loops.client()
        await store.close_async()
        store._loops._clients.get()

    for _ in range(3):
        await asyncio.to_thread(asyncio.run, read_once())
    store._loops._clients.get()
    assert len(store._loops._clients.values()) == 1
    store.close()


def test_projects_are_apart(where: dict[str, object], store: DynamoDBOnlineStore) -> None:
    other = opened(where, "other")
    other.ensure(["other.driver_stats.1"])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert [info.table for info in other.tables()] == ["other.driver_stats.1"]
    other.drop(["other.driver_stats.1"])
    assert read(store, key(1)) == row(1)
    other.close()


def test_keys_of_any_length_are_their_own(store: DynamoDBOnlineStore) -> None:
    keys = [bytes([65 + n]) * length for n, length in enumerate([1, 1999, 2000, 2001, 5000])] + [b""]
    store.write(WriteBatch(TABLE, keys, [row(n) for n in range(len(keys))]))
    assert store.read([ReadRequest(TABLE, keys)]) == [[row(n) for n in range(len(keys))]]
    assert dict(store.scan_all(TABLE)) == {k: row(n) for n, k in enumerate(keys)}


def test_row_that_is_too_large_is_refused_with_its_size(store: DynamoDBOnlineStore) -> None:
    with pytest.raises(StoreError, match=r"500,008 bytes"):
        store.write(WriteBatch(TABLE, [key(1)], [row(1, bytes(500_000))]))
    assert read(store, key(1)) is None


def test_row_is_told_when_to_leave(where: dict[str, object]) -> None:
    store = opened(where, expiry_margin_seconds=60.0)
    store.ensure([TABLE])
    event_us = 1_700_000_000_000_000
    young = (event_us + 1 + (1 << 63)).to_bytes(8, "big") + b"x"
    store.write(WriteBatch(TABLE, [key(1)], [young], ttl_us=3_600_000_000))
    item = store._write(lambda: store._call("scan", TableName=store._name(TABLE)))["Items"][0]
    assert item["x"]["N"] == str(1_700_000_000 + 3600 + 60 + 1)
    store.close()


def test_server_that_is_not_there_is_unavailable_within_the_deadline() -> None:
    where = {"region": "eu-west-1", "endpoint_url": "http://127.0.0.1:1", "deadline_seconds": 0.3}
    store = opened(where)
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=r"within 0\.3 s") as caught:
        store.read([ReadRequest(TABLE, [key(1)])])
    assert time.monotonic() - began < 0.3 + SLACK_SECONDS
    assert "a-secret" not in str(caught.value)
    store.close()


def test_hung_server_holds_a_read_no_longer_than_its_deadline() -> None:
    with moto_server() as server:
        where = {"region": "eu-west-1", "endpoint_url": f"http://127.0.0.1:{server.port}", "deadline_seconds": 0.5}
        store = opened(where)
        store.ensure([TABLE])
        assert read(store, key(1)) is None
        server.pause()
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"within 0\.5 s"):
            read(store, key(1))
        assert time.monotonic() - began < 0.5 + SLACK_SECONDS
        server.resume()
        store.close()


def test_missing_credentials_say_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, where: dict[str, object], tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    store = opened(where)
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID"):
        store.read([ReadRequest(TABLE, [key(1)])])
    store.close()
