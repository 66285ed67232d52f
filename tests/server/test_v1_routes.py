"""The routes below /v1: rows and columns, JSON, msgpack and Arrow, and what they say about themselves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from server.apps import Served, drivers, rows, served
from tiffin.definitions import FeatureService
from tiffin.operations.online import read_online

WANTED = ["stats:trips", "stats:rating"]
ELEVEN = "2024-06-01T11:00:00Z"
FACT = {"driver_id": 7, "trips": 5, "rating": 1.5, "ts": ELEVEN, "created": ELEVEN}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(drivers(tmp_path, FeatureService(name="model", features=["stats"]))) as server:
        yield server


async def features(server: Served, **body: Any) -> Any:
    response = await server.post("/v1/features", {"features": WANTED, "rows": rows(1, 2), **body})
    assert response.status_code == 200, response.text
    return response.json()


async def test_rows(server: Served) -> None:
    assert await features(server) == {
        "rows": [{"driver_id": 1, "trips": 10, "rating": 0.5}, {"driver_id": 2, "trips": None, "rating": 4.5}],
        "definitions_version": server.app.serving.ctx.snapshot().version,
    }


async def test_columns_with_details(server: Served) -> None:
    answer = await features(server, layout="columns", details=True, rows=None, columns={"driver_id": [1, 404]})
    assert answer["columns"] == {"driver_id": [1, 404], "trips": [10, None], "rating": [0.5, None]}
    assert answer["statuses"]["trips"] == ["PRESENT", "NOT_FOUND"]
    assert answer["event_timestamps"]["rating"] == [ELEVEN, None]


async def test_a_service(server: Served) -> None:
    answer = await features(server, features=None, service="model", full_feature_names=True)
    assert list(answer["rows"][0]) == ["driver_id", "stats__trips", "stats__rating"]


async def test_explain_says_how_it_is_read(server: Served) -> None:
    explained = (await features(server, explain=True))["explain"]
    assert explained["store"] == "memory"
    assert [view["view"] for view in explained["views"]] == ["stats"]
    assert explained["features"] == {"trips": "Int64", "rating": "Float64"}


async def test_msgpack_in_and_out(server: Served) -> None:
    body = msgspec.msgpack.encode({"features": WANTED, "rows": rows(1), "layout": "columns", "details": True})
    kind = "application/msgpack"
    response = await server.post("/v1/features", body, content_type=kind, accept=kind)
    answer = msgspec.msgpack.decode(response.content)
    assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert answer["columns"] == {"driver_id": [1], "trips": [10], "rating": [0.5]}
    assert answer["types"] == {"trips": "Int64", "rating": "Float64"}
    assert answer["event_timestamps"]["trips"][0].isoformat() == "2024-06-01T11:00:00+00:00"


async def test_arrow_out_is_what_the_library_gives(server: Served) -> None:
    body = {"features": WANTED, "rows": rows(1, 2, 404)}
    response = await server.post("/v1/features", body, accept="application/vnd.apache.arrow.stream")
    table = pa.ipc.open_stream(response.content).read_all()
    expected = read_online(server.app.serving.ctx, WANTED, rows(1, 2, 404)).to_arrow()
    assert table.replace_schema_metadata(None).equals(expected)
    assert msgspec.json.decode(table.schema.metadata[b"tiffin"])["definitions_version"] == 2


async def test_arrow_with_details(server: Served) -> None:
    body = {"features": ["stats:trips"], "rows": rows(1, 404), "details": True}
    response = await server.post("/v1/features", body, accept="application/vnd.apache.arrow.stream")
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.column_names == ["driver_id", "trips", "trips__status", "trips__event_timestamp"]
    assert table["trips__status"].to_pylist() == ["PRESENT", "NOT_FOUND"]


async def test_push_write_and_what_became_of_them(server: Served) -> None:
    late = FACT | {"driver_id": 8, "ts": "2024-06-01T13:00:00Z"}
    pushed = await server.post("/v1/push", {"source": "stats_push", "rows": [FACT, late]})
    assert pushed.json() == {
        "views": {"stats": {"written": 1, "stale": 0, "late": 0, "capped": 0, "quarantined": 0}},
        "appended": 0,
        "refused": [1],
    }
    written = await server.post("/v1/write", {"view": "stats", "columns": {name: [v] for name, v in FACT.items()}})
    assert written.json() == {"written": 0, "stale": 1, "late": 0, "capped": 0, "quarantined": 0, "refused": []}


async def test_definitions_are_listed(server: Served) -> None:
    answer = (await server.get("/v1/definitions")).json()
    stats = next(view for view in answer["feature_views"] if view["name"] == "stats")
    assert stats["features"] == {"trips": "Int64", "rating": "Float64"}
    assert stats["join_keys"] == ["driver_id"]
    assert [each["name"] for each in answer["feature_services"]] == ["model"]
    assert {each["name"] for each in answer["entities"]} == {"driver", "city"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"features": WANTED}, 422, "rows and columns"),
        ({"features": WANTED, "rows": rows(1), "columns": {"driver_id": [1]}}, 422, "rows and columns"),
        ({"rows": rows(1)}, 422, "features and a feature service"),
        ({"features": WANTED, "service": "model", "rows": rows(1)}, 422, "features and a feature service"),
        ({"features": WANTED, "rows": rows(1), "layot": "rows"}, 422, "layot"),
        ({"features": WANTED, "rows": rows(1), "layout": "wide"}, 422, "layout"),
        ({"features": WANTED, "rows": [{"driver_id": 1}, {"driver": 1}]}, 422, "entity row 1"),
        ({"features": WANTED, "rows": [{"driver_id": True}]}, 422, "driver_id"),
        ({"features": WANTED, "rows": [{"driver_id": {"a": 1}}]}, 422, "driver_id"),
        ({"features": WANTED, "rows": [{"driver_id": 1, "trips": 2}]}, 422, "trips"),
        ({"features": "stats:trips", "rows": rows(1)}, 422, "features"),
        ({"features": ["a:b:c"], "rows": rows(1)}, 422, "a:b:c"),
        ({"features": ["nope:x"], "rows": rows(1)}, 404, "nope"),
        ([], 422, "object"),
        (None, 422, "body"),
    ],
)
async def test_bad_requests_say_what_is_wrong(server: Served, body: Any, status: int, words: str) -> None:
    response = await server.post("/v1/features", body)
    answer = response.json()
    assert response.status_code == status, answer
    assert words in answer["message"]
    assert answer["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"features": ["stats:trips"], "rows": [{"driver_id": NaN}]}',
        b"1" * 5000,
    ],
)
@pytest.mark.parametrize("path", ["/v1/features", "/v1/push", "/v1/write", "/v1/materialize", "/get-online-features"])
async def test_bodies_that_cannot_be_read(server: Served, path: str, body: bytes) -> None:
    assert (await server.post(path, body)).status_code == 422


async def test_msgpack_that_cannot_be_read(server: Served) -> None:
    extension = msgspec.msgpack.encode({"features": WANTED, "rows": [{"driver_id": msgspec.msgpack.Ext(5, b"x")}]})
    for body in (b"\xc1", b"", extension):
        response = await server.post("/v1/features", body, content_type="application/msgpack")
        assert response.status_code == 422, response.text


@pytest.mark.parametrize("value", [2**70, "\ud800", {"a": {"b": float("1e308")}}, [[[]]], "x" * 1000])
async def test_odd_columns_of_the_request_are_answered_or_refused(server: Served, value: Any) -> None:
    """Columns that no feature needs are passed through, whatever is in them."""
    for accept in ("application/json", "application/msgpack", "application/vnd.apache.arrow.stream"):
        body = json.dumps({"features": WANTED, "rows": [{"driver_id": 1, "odd": value}]}).encode()
        response = await server.post("/v1/features", body, accept=accept)
        assert response.status_code in (200, 422), response.text
