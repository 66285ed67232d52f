"""Traces: which spans there are, what they say, that they never say more, and that they cost nothing where unwanted."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from parity.windowed import LIMITS
from server.apps import drivers, rows, served
from server.test_fallback import FEATURES, Store, repository
from server.test_security import API_KEYS, READER, READS, bearer
from tiffin.definitions import FeatureService
from tiffin.errors import BackendNotFoundError, ConfigError
from tiffin.operations import timelines
from tiffin.server.traces import Traces, open_traces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
READ = {"features": FEATURES, "rows": rows(1, 2)}


class Spans:
    """The spans of a server, as they end."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = Traces(provider)

    def take(self) -> dict[str, list[ReadableSpan]]:
        """The spans by name; they are forgotten."""
        found: dict[str, list[ReadableSpan]] = {}
        for span in self._exporter.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        self._exporter.clear()
        return found


@pytest.fixture
def spans() -> Spans:
    return Spans()


def said(span: ReadableSpan) -> dict[str, Any]:
    """The attributes, without the id of the request."""
    return {name: value for name, value in (span.attributes or {}).items() if name != "tiffin.request_id"}


@pytest.mark.parametrize("is_native", [True, False], ids=["async", "threads"])
async def test_a_request_has_a_span_with_its_reads_and_functions_in_it(
    tmp_path: Path, spans: Spans, is_native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timelines, "Limits", lambda: LIMITS)
    async with served(repository(tmp_path, Store(is_native)), spans.traces) as server:
        answer = await server.post("/v1/features", READ, traceparent=PARENT)
        assert answer.status_code == 200, answer.text
        found = spans.take()
        (line,) = (line for line in server.lines() if line["event"] == "request")
    (request,) = found["POST /v1/features"]
    assert said(request) == {
        "http.request.method": "POST",
        "http.route": "/v1/features",
        "http.response.status_code": 200,
        "tiffin.features": 5,
        "tiffin.views": ("stats", "rides", "labels", "made"),
        "tiffin.entities": 2,
        "tiffin.values.present": 9,
        "tiffin.values.not_found": 1,
    }
    assert (request.attributes or {})["tiffin.request_id"] == answer.headers["x-request-id"]
    assert request.kind is SpanKind.SERVER
    assert request.parent is not None
    assert f"00-{line['trace_id']}-{request.parent.span_id:016x}-01" == PARENT
    reads, functions = found["store read"], found["functions"]
    assert [said(read)["tiffin.store"] for read in reads] == ["memory", "memory"]
    assert [len(said(read)["tiffin.tables"]) for read in reads] == [3, 1], "rows of all views, then tiles"
    assert [said(function) for function in functions] == [{"tiffin.views": ("made",)}]
    for child in (*reads, *functions):
        assert child.parent is not None
        assert child.parent.span_id == request.context.span_id
        assert child.context.trace_id == request.context.trace_id


async def test_services_fallbacks_and_errors_are_told(tmp_path: Path, spans: Spans) -> None:
    store = Store(is_native=True)
    async with served(repository(tmp_path, store), spans.traces, fallback="default") as server:
        store.fails = [True]
        await server.post("/v1/features", READ)
        found = spans.take()
        assert said(found["POST /v1/features"][0])["tiffin.fallback"] == "default"
        (read,) = found["store read"]
        assert (read.status.status_code, said(read)["error.type"]) == (StatusCode.ERROR, "store_unavailable")
        await server.post("/v1/features", {"features": ["nope:x"], "rows": rows(1)})
        (request,) = spans.take()["POST /v1/features"]
        assert said(request)["error.type"] == "not_found"
        assert request.status.status_code is StatusCode.UNSET, "what is the client's own fault is none of the server's"
        await server.get("/no/such/path")
        assert said(spans.take()["_OTHER unknown"][0])["http.response.status_code"] == 404
    store = Store(is_native=True)
    (tmp_path / "other").mkdir()
    async with served(repository(tmp_path / "other", store), spans.traces) as server:
        store.fails = [True]
        await server.post("/v1/features", READ)
        (request,) = spans.take()["POST /v1/features"]
        assert (request.status.status_code, said(request)["error.type"]) == (StatusCode.ERROR, "store_unavailable")


async def test_a_service_and_a_push_are_named(tmp_path: Path, spans: Spans) -> None:
    async with served(drivers(tmp_path, FeatureService(name="model", features=["stats"])), spans.traces) as server:
        await server.post("/get-online-features", {"feature_service": "model", "entities": {"driver_id": [1]}})
        assert said(spans.take()["POST /get-online-features"][0])["tiffin.service"] == "model"
        await server.post("/v1/push", {"source": "stats_push", "rows": [{"driver_id": 1}]})
        (push,) = spans.take()["POST /v1/push"]
        assert (said(push)["tiffin.views"], said(push)["http.response.status_code"]) == (("stats",), 422)


async def test_spans_have_no_values_no_keys_and_no_secrets(tmp_path: Path, spans: Spans) -> None:
    async with served(drivers(tmp_path, READS, auth=API_KEYS), spans.traces) as server:
        secret = {"features": ["stats:trips"], "rows": [{"driver_id": "Rumpelstiltskin"}]}
        bodies: list[Any] = [secret, {"features": ["stats:trips"], "rows": rows(1)}, secret | {"columns": {}}]
        for body in bodies:
            for headers in (bearer(READER[0]), bearer("tiffin_reader_Rumpelstiltskin"), {}):
                await server.client.post("/v1/features?name=Rumpelstiltskin", json=body, headers=headers)
        await server.client.post("/Rumpelstiltskin", json=secret)
        every = [span.to_json() for each in spans.take().values() for span in each]
    assert len(every) == 10 + 1, "a span for each request, and one for the read of the one that was answered"
    assert not [text for text in every if "Rumpelstiltskin" in text or READER[0] in text]


def test_without_a_word_of_it_nothing_is_imported() -> None:
    code = "import sys, tiffin.server.app as app; print(app.open_traces(), 'opentelemetry' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert found.split() == ["None", "False"]


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}],
)
def test_the_environment_turns_them_off(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert open_traces() is None


def test_an_exporter_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(ConfigError, match=r"pigeon.*\n.*console"):
        open_traces()
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(BackendNotFoundError, match=r"tiffin\[otel\]"):
        open_traces()


async def test_spans_arrive_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=collector.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        async with served(drivers(tmp_path), open_traces()) as server:
            await server.post("/v1/features", {"features": ["stats:trips"], "rows": rows(1)})
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
    assert [path for path, _ in came] == ["/v1/traces"], "all of them, at a normal stop"
    assert b"POST /v1/features" in came[0][1]
    assert b"tiffin" in came[0][1]
