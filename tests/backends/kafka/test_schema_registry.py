"""The schema registry by HTTP: the schema of a number, passwords, and what it says when it cannot."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fastavro
import pytest

from brokers import Kafka
from faults.clicks import click_view, repository
from servers import free_port
from tiffin.backends.schema_registry.client import SchemaRegistry
from tiffin.contracts.stream import Until
from tiffin.definitions import AvroFormat
from tiffin.errors import ConfigError, RequestError, StreamError, StreamUnavailableError
from tiffin.operations.online import read_online
from tiffin.operations.stream import run_stream

SCHEMA = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "user", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "n", "type": "long"},
    ],
}
ALLOWED = "Basic " + base64.b64encode(b"tests:right").decode()


class Registry(BaseHTTPRequestHandler):
    """Knows schema 7; answers 500 for 500, and nothing of use for 8."""

    def do_GET(self) -> None:
        number = self.path.rpartition("/")[2]
        status = {"7": 200, "8": 200, "500": 500}.get(number, 404)
        if self.headers.get("Authorization") != ALLOWED:
            status = 401
        body = {"schema": json.dumps(SCHEMA)} if number == "7" else {"message": "nothing"}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def registry(address: str, password: str = "right") -> SchemaRegistry:
    return SchemaRegistry.from_config(address, {"username": "tests", "password": password})


def test_schema_is_found_by_its_number(address: str) -> None:
    assert json.loads(registry(address).schema(7)) == SCHEMA
    with pytest.raises(KeyError):
        registry(address).schema(9)


def test_what_a_registry_refuses_is_said_without_the_password(address: str) -> None:
    with pytest.raises(StreamError, match=r"answers 401\n.*username and password") as caught:
        registry(address, "wr0ng").schema(7)
    assert not isinstance(caught.value, StreamUnavailableError)
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(StreamError, match="without a schema"):
        registry(address).schema(8)


def test_a_registry_that_is_away_is_worth_another_try(address: str) -> None:
    for place, number in ((address, 500), (f"http://127.0.0.1:{free_port()}", 7)):
        with pytest.raises(StreamUnavailableError):
            registry(place).schema(number)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(RequestError, match="begins with http"):
        registry("registry:8081")
    with pytest.raises(ConfigError, match=r"streams\.schema_registry has no option 'user'"):
        SchemaRegistry.from_config("http://r", {"user": "x"})


@pytest.mark.service
@pytest.mark.xdist_group("kafka")
def test_messages_are_read_with_the_schemas_that_they_name(kafka: Kafka, address: str, tmp_path: Path) -> None:
    """STR-3: a number that the registry does not know is a dead letter."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, SCHEMA, {"user": 1, "at": 1_717_243_000_000, "n": 5})
    topic = kafka.topic()
    kafka.send(topic, [b"\x00\x00\x00\x00\x07" + stream.getvalue(), b"\x00\x00\x00\x00\x09" + stream.getvalue()])
    view = click_view(kafka.address, topic, message_format=AvroFormat(schema_registry=address))
    ctx = repository(tmp_path, view, registry={"username": "tests", "password": "right"})
    (found,) = run_stream(ctx, until=Until())
    assert found.reasons == {"the registry has no schema 9": 1}
    assert read_online(ctx, ["clicks:n"], {"user": [1]}).to_dict()["n"] == [5]
    ctx.close()
