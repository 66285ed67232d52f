"""The light client and the remote mode of the library give what the library gives where the server is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings

from parity.repository import Repository
from property.online_values import tables
from server.apps import drivers, rows
from servers import PATIENT, free_port, wait_until
from tiffin import FeatureStore, RepoConfig
from tiffin.client import Client
from tiffin.definitions import Entity, FeatureService, FeatureView, Field, PushMode, PushSource
from tiffin.errors import (
    AccessError,
    AuthenticationError,
    ConfigError,
    InputError,
    NotFoundError,
    StoreUnavailableError,
    UnsupportedError,
)
from tiffin.operations.online import read_online, write_online
from tiffin.server.app import FeatureServer
from tiffin.server.options import ServerOptions
from tiffin.server.serving import Serving
from tiffin.types import ValueType, parse_type
from unit.online.drivers import STATS, opened

WANTED = ["stats:trips", "stats:rating", "weather:sky"]
ASKED: dict[str, list[Any]] = {"driver_id": [1, 2, 3, 404, None], "city": ["Oslo", None, "Rome", "Oslo", "Oslo"]}
FACTS = {
    "driver_id": [7, 8],
    "trips": [5, None],
    "rating": [float("nan"), 1.5],
    "ts": [datetime(2024, 6, 1, 11, tzinfo=UTC), datetime(2024, 6, 1, 13, tzinfo=UTC)],
    "created": [datetime(2024, 6, 1, 11, tzinfo=UTC)] * 2,
}


class Running:
    """A server of a repository on the loopback, in a thread."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        app = FeatureServer(Serving(repository, ServerOptions(**PATIENT), None))
        config = uvicorn.Config(app, port=self.port, log_level="warning", ws="none", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))

    def __enter__(self) -> Running:
        self.thread.start()
        wait_until(lambda: self.server.started, "the server")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


def remote(url: str) -> dict[str, Any]:
    """The section of a program that reads through a server, however long that takes."""
    return {"type": "remote", "path": url, "timeout_seconds": 60}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    repository = drivers(tmp_path_factory.mktemp("server"), FeatureService(name="model", features=["stats"]))
    with Running(repository) as running:
        yield running


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    client = Client(running.url, timeout_seconds=60)
    yield client
    client.close()


@pytest.fixture
def store(running: Running, tmp_path: Path) -> Iterator[FeatureStore]:
    config = RepoConfig(project="tests", repo_path=tmp_path, online_store=remote(running.url))
    with FeatureStore(config=config) as store:
        yield store


def test_the_client_gives_what_the_library_gives(running: Running, client: Client) -> None:
    plain, answer = read_online(running.repository, WANTED, ASKED), client.get_online_features(WANTED, ASKED)
    assert answer.to_dict() == plain.to_dict()
    assert answer.statuses() == plain.statuses()
    assert answer.event_timestamps() == plain.event_timestamps()
    assert list(answer.to_dict()) == list(plain.to_dict())
    assert answer.types == plain.types
    assert (answer.definitions_version, answer.fallback) == (2, "")


def test_the_store_gives_what_the_library_gives(running: Running, store: FeatureStore) -> None:
    plain, answer = read_online(running.repository, WANTED, ASKED), store.get_online_features(WANTED, ASKED)
    assert answer.to_arrow().equals(plain.to_arrow())
    for ask in (
        lambda response: response.to_dict(include_event_timestamps=True),
        lambda response: response.statuses(),
        lambda response: response.event_timestamps(),
        lambda response: response.to_df(include_event_timestamps=True).dtypes.to_dict(),
    ):
        assert ask(answer) == ask(plain)


async def test_services_and_full_names(running: Running, client: Client, store: FeatureStore) -> None:
    service = running.repository.snapshot().service("model")
    plain = read_online(running.repository, service, rows(1, 2), full_feature_names=True).to_dict()
    assert client.get_online_features("model", rows(1, 2), full_feature_names=True).to_dict() == plain
    answer = await store.get_online_features_async(service, rows(1, 2), full_feature_names=True)
    assert answer.to_dict() == plain


def written(value: Any) -> str:
    """A value as text that tells every type apart, NaN included, whatever order a set has."""
    if isinstance(value, set):
        return f"set {sorted(map(written, value))}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {written(item)}' for key, item in value.items())}}}"
    return repr(value)


@given(case=tables())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_of_every_type_arrive_as_they_are(case: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    from tiffin.client import _column
    from tiffin.operations.remote import RemoteResponse
    from tiffin.server.wire import arrow_body, msgpack_body

    layout, table = case
    folder = tmp_path_factory.mktemp("types")
    source = PushSource(name="facts", timestamp_field="ts")
    entity = Entity(name="row", value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=parse_type(text)) for name, text in layout if name != "row"]
    if not schema:
        return
    view = FeatureView(name="v", entities=[entity], schema=schema, source=source)
    repository = opened(folder, view)
    times = pa.array([repository.now_us()] * table.num_rows, pa.timestamp("us", "UTC"))
    write_online(repository, "v", table.append_column("ts", times))
    asked = {"row": [*range(table.num_rows), 404]}
    plain = read_online(repository, ["v"], asked)
    reader = pa.ipc.open_stream(arrow_body(plain, {}, details=True))
    remote = RemoteResponse(asked, reader.read_all())
    # Arrow holds two NaN for different; their text is the same.
    assert remote.to_arrow().schema == plain.to_arrow().schema
    assert written(remote.to_arrow().to_pydict()) == written(plain.to_arrow().to_pydict())
    assert written(remote.to_dict()) == written(plain.to_dict())
    import msgspec

    told = msgspec.msgpack.decode(msgpack_body(plain, {}, "columns", details=True))
    types = {name: parse_type(text) for name, text in told["types"].items()}
    light = {name: _column(cells, types.get(name)) for name, cells in told["columns"].items()}
    assert written(light) == written(plain.to_dict())
    repository.close()


def test_pushes_and_writes(running: Running, client: Client, store: FeatureStore) -> None:
    report = client.push("stats_push", FACTS)
    assert report == {
        "views": {"stats": {"written": 1, "stale": 0, "late": 0, "capped": 0, "quarantined": 0}},
        "appended": 0,
        "refused": [1],
    }
    counts = {"written": 0, "stale": 1, "late": 0, "capped": 0, "quarantined": 0}
    assert client.write("stats", FACTS) == {**counts, "refused": [1]}
    pushed = store.push("stats_push", pa.table(FACTS), to=PushMode.ONLINE)
    assert (pushed.views["stats"].stale, pushed.refused) == (1, (1,))
    assert store.write_to_online_store("stats", pa.table(FACTS)).stale == 1
    assert client.get_online_features(["stats:trips"], rows(7)).to_dict()["trips"] == [5]


def test_errors_are_those_of_the_library(client: Client, store: FeatureStore) -> None:
    for ask in (client.get_online_features, store.get_online_features):
        with pytest.raises(NotFoundError, match="nope"):
            ask(["nope:x"], rows(1))
        with pytest.raises(InputError, match="driver_id"):
            ask(["stats:trips"], [{"driver_id": "x"}])
    with pytest.raises(InputError, match="trips"):
        client.write("stats", FACTS | {"trips": ["x", "y"]})
    with pytest.raises(UnsupportedError, match="feature server"):
        store.apply([STATS])
    assert store.history() == []


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    client = Client(f"http://127.0.0.1:{free_port()}", timeout_seconds=1.0)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        client.get_online_features(["stats:trips"], rows(1))
    for url in ("features:6566", "ftp://x", "http://"):
        with pytest.raises(ConfigError, match="no address"):
            Client(url)
    config = RepoConfig(project="tests", repo_path=tmp_path, online_store={"type": "remote"})
    with FeatureStore(config=config) as store, pytest.raises(ConfigError, match="path is missing"):
        store.get_online_features(["stats:trips"], rows(1))


def test_a_server_that_was_started_again_is_found_again(tmp_path: Path) -> None:
    with Running(drivers(tmp_path, online={"type": "sqlite", "path": "online.db"})) as first:
        client = Client(first.url, timeout_seconds=60)
        assert client.get_online_features(["stats:trips"], rows(1)).to_dict()["trips"] == [10]
    second = Running(first.repository)
    second.server.config.port = first.port
    with second:
        assert client.get_online_features(["stats:trips"], rows(1)).to_dict()["trips"] == [10]
        client.close()


def test_keys_are_sent(tmp_path: Path) -> None:
    from server.test_security import API_KEYS, READER, READS, WRITER, WRITES

    with Running(drivers(tmp_path, READS, WRITES, auth=API_KEYS)) as running:
        reader, writer = (Client(running.url, token=key[0], timeout_seconds=60) for key in (READER, WRITER))
        assert reader.get_online_features(["stats:trips"], rows(1)).to_dict()["trips"] == [10]
        with pytest.raises(AccessError, match="may not read_online"):
            writer.get_online_features(["stats:trips"], rows(1))
        nobody = Client(running.url, timeout_seconds=60)
        with pytest.raises(AuthenticationError):
            nobody.get_online_features(["stats:trips"], rows(1))
        nobody.close()
        online = remote(running.url)
        config = RepoConfig(project="tests", online_store=online, auth={"type": "api_key", "token": READER[0]})
        with FeatureStore(config=config) as store:
            assert store.get_online_features(["stats:trips"], rows(1)).to_dict()["trips"] == [10]
        for each in (reader, writer):
            each.close()
        assert READER[0] not in repr(config)
        assert READER[0] not in repr(reader)


async def test_a_program_that_reads_through_the_server_may_do_no_more_than_its_key(tmp_path: Path) -> None:
    from server.test_security import API_KEYS, READER, READS, WRITER, WRITES

    def program(url: str, key: str) -> FeatureStore:
        auth = {"type": "api_key", "token": key}
        return FeatureStore(config=RepoConfig(project="tests", online_store=remote(url), auth=auth))

    with (
        Running(drivers(tmp_path, READS, WRITES, auth=API_KEYS)) as running,
        program(running.url, READER[0]) as reader,
        program(running.url, WRITER[0]) as writer,
        program(running.url, "tiffin_reader_guessed") as nobody,
    ):
        facts = pa.table(FACTS)
        assert reader.get_online_features(["stats:trips"], rows(1)).to_dict()["trips"] == [10]
        assert writer.write_to_online_store("stats", facts).written == 1
        refused = [
            lambda: reader.get_online_features(["stats:trips", "weather:sky"], [{"driver_id": 1, "city": "Oslo"}]),
            lambda: reader.write_to_online_store("stats", facts),
            lambda: reader.push("stats_push", facts),
            lambda: writer.get_online_features(["stats:trips"], rows(1)),
            lambda: writer.push("stats_push", facts, to=PushMode.ONLINE_AND_OFFLINE),
        ]
        for ask in refused:
            with pytest.raises(AccessError, match="may not"):
                ask()
        with pytest.raises(AccessError, match="may not"):
            await writer.get_online_features_async(["stats:trips"], rows(1))
        with pytest.raises(AuthenticationError):
            nobody.get_online_features(["stats:trips"], rows(1))


def test_the_client_needs_no_data_library() -> None:
    heavy = ("pandas", "polars", "pyarrow", "numpy", "duckdb", "sqlalchemy", "sqlglot", "pydantic", "httpx", "uvicorn")
    code = f"import sys, tiffin.client; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
