"""The routes of Feast's server: the same paths, the same JSON, the same statuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.apps import Served, drivers, served
from tiffin.definitions import FeatureService

EPOCH = "1970-01-01T00:00:00Z"
ELEVEN = "2024-06-01T11:00:00Z"
FACTS = {"driver_id": [7], "trips": [5], "rating": [1.5], "ts": [ELEVEN], "created": [ELEVEN]}
#: Of drivers: feature to its value and status, and the time of both.
STATS: dict[int, dict[str, Any]] = {
    1: {"trips": (10, "PRESENT"), "rating": (0.5, "PRESENT"), "ts": ELEVEN},
    2: {"trips": (None, "NULL_VALUE"), "rating": (4.5, "PRESENT"), "ts": ELEVEN},
    404: {"trips": (None, "NOT_FOUND"), "rating": (None, "NOT_FOUND"), "ts": EPOCH},
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(drivers(tmp_path, FeatureService(name="model", features=["stats"]))) as server:
        yield server


async def read(server: Served, *ids: int, **more: Any) -> dict[str, Any]:
    body = {"features": ["stats:trips", "stats:rating"], "entities": {"driver_id": list(ids)}, **more}
    response = await server.post("/get-online-features", body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_features_come_by_column_with_keys_first(server: Served) -> None:
    assert await read(server, 1, 2, 3, 404) == {
        "metadata": {"feature_names": ["driver_id", "trips", "rating"]},
        "results": [
            {"values": [1, 2, 3, 404], "statuses": ["PRESENT"] * 4, "event_timestamps": [EPOCH] * 4},
            {
                "values": [10, None, None, None],
                "statuses": ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
                "event_timestamps": [ELEVEN, ELEVEN, "2024-06-01T09:00:00Z", EPOCH],
            },
            {
                "values": [0.5, 4.5, None, None],
                "statuses": ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
                "event_timestamps": [ELEVEN, ELEVEN, "2024-06-01T09:00:00Z", EPOCH],
            },
        ],
    }


async def test_many_entities_are_answered_as_each_of_them_alone(server: Served) -> None:
    ids = list(range(1, 41))
    for driver in ids[3:30]:
        moment = f"2024-06-01T11:{driver:02}:{driver:02}.{driver * 1001:06}Z" if driver % 3 else ELEVEN
        fact = {"driver_id": [driver], "trips": [driver], "rating": ["NaN" if driver % 5 == 0 else 0.25 * driver]}
        body = {"feature_view_name": "stats", "df": fact | {"ts": [moment], "created": [moment]}}
        assert (await server.post("/write-to-online-store", body)).status_code == 200
    together = (await read(server, *ids))["results"]
    full = (await read(server, *ids[3:30]))["results"]
    for place, driver in enumerate(ids):
        alone = (await read(server, driver))["results"]
        assert [{part: [values[place]] for part, values in column.items()} for column in together] == alone
        if driver in ids[3:30]:
            assert [{part: [values[place - 3]] for part, values in column.items()} for column in full] == alone


@pytest.mark.parametrize("ids", [[1], [1] * 20, [1, 2, 404], []])
async def test_columns_of_several_views_in_any_order(server: Served, ids: list[int]) -> None:
    """Texts with every kind of line break, and with what stands between two columns."""
    texts = ["a\nb", "\r\n", "\x0b\x0c\x1c\x85\u2028\u2029", '"],"statuses":[', ""]
    for number, text in enumerate(texts):
        fact = {"city": [text], "sky": [text * 2], "ts": [f"2024-06-01T10:00:0{number}Z"], "created": [ELEVEN]}
        written = await server.post("/write-to-online-store", {"feature_view_name": "weather", "df": fact})
        assert written.status_code == 200, written.text
    cities = [texts[place % len(texts)] for place in range(len(ids))]
    body = {
        "features": ["stats:rating", "weather:sky", "stats:trips"],
        "entities": {"driver_id": ids, "city": cities, "note": [[text, None] for text in cities]},
    }
    answer = (await server.post("/get-online-features", body)).json()
    assert answer["metadata"]["feature_names"] == ["driver_id", "city", "note", "rating", "sky", "trips"]
    driver, city, note, rating, sky, trips = answer["results"]
    present, epochs = ["PRESENT"] * len(ids), [EPOCH] * len(ids)
    assert driver == {"values": ids, "statuses": present, "event_timestamps": epochs}
    assert city == {"values": cities, "statuses": present, "event_timestamps": epochs}
    assert note == {"values": [[text, None] for text in cities], "statuses": present, "event_timestamps": epochs}
    times = [f"2024-06-01T10:00:0{texts.index(text)}Z" for text in cities]
    assert sky == {"values": [text * 2 for text in cities], "statuses": present, "event_timestamps": times}
    for column, name in ((rating, "rating"), (trips, "trips")):
        assert list(zip(column["values"], column["statuses"], strict=True)) == [STATS[each][name] for each in ids]
        assert column["event_timestamps"] == [STATS[each]["ts"] for each in ids]


async def test_a_service_and_full_names(server: Served) -> None:
    answer = await read(server, 1, features=None, feature_service="model", full_feature_names=True)
    assert answer["metadata"]["feature_names"] == ["driver_id", "stats__trips", "stats__rating"]


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        ({"features": ["nope:trips"], "entities": {"driver_id": [1]}}, 404, "FeatureViewNotFoundException"),
        ({"feature_service": "nope", "entities": {"driver_id": [1]}}, 404, "FeatureServiceNotFoundException"),
        ({"features": ["stats:nope"], "entities": {"driver_id": [1]}}, 404, "FeatureViewNotFoundException"),
        ({"features": ["stats:trips"], "entities": {"driver_id": ["x"]}}, 422, "FeastError"),
        ({"features": ["stats:trips"], "entities": {"nobody": [1]}}, 422, "FeastError"),
        ({"features": [], "entities": {"driver_id": [1]}}, 422, "FeastError"),
        ({"entities": {"driver_id": [1]}}, 422, "FeastError"),
    ],
)
async def test_an_error_is_a_text_that_is_json(server: Served, body: Any, status: int, name: str) -> None:
    response = await server.post("/get-online-features", body)
    detail = json.loads(response.json())
    assert (response.status_code, detail["class"], detail["module"]) == (status, name, "feast.errors")
    assert detail["message"]


async def test_a_push_can_be_read_at_once(server: Served) -> None:
    response = await server.post("/push", {"push_source_name": "stats_push", "df": FACTS, "to": "online"})
    assert (response.status_code, response.content) == (200, b"")
    assert (await read(server, 7))["results"][1]["values"] == [5]


async def test_a_created_time_that_is_nowhere_is_the_event_time(server: Served) -> None:
    facts = FACTS | {"created": [None]}
    response = await server.post("/write-to-online-store", {"feature_view_name": "stats", "df": facts})
    assert response.status_code == 200, response.text
    assert (await read(server, 7))["results"][1]["values"] == [5]


async def test_a_write_of_one_view(server: Served) -> None:
    response = await server.post("/write-to-online-store", {"feature_view_name": "stats", "df": FACTS})
    assert (response.status_code, response.json()) == (200, None)
    assert (await read(server, 7))["results"][2]["values"] == [1.5]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/push", {"push_source_name": "nope", "df": FACTS}, 422),
        ("/push", {"push_source_name": "stats_push", "df": {}}, 422),
        ("/push", {"push_source_name": "stats_push", "df": FACTS | {"trips": ["many"]}}, 422),
        ("/push", {"push_source_name": "stats_push", "df": FACTS | {"trips": [1.5]}}, 422),
        ("/push", {"push_source_name": "stats_push", "df": FACTS | {"driver_id": [None]}}, 422),
        ("/push", {"push_source_name": "stats_push", "df": FACTS | {"ts": ["2024-06-01T13:00:00Z"]}}, 422),
        ("/push", {"push_source_name": "stats_push", "df": FACTS, "to": "everywhere"}, 422),
        ("/push", {"push_source_name": "stats_push", "df": FACTS, "to": "offline"}, 422),
        ("/write-to-online-store", {"feature_view_name": "nope", "df": FACTS}, 404),
        ("/write-to-online-store", {"feature_view_name": "stats", "df": FACTS | {"rating": [1, 2]}}, 422),
        ("/materialize", {"start_ts": "2024-01-01T00:00:00"}, 422),
        ("/materialize", {"start_ts": "yesterday", "end_ts": "2024-01-01"}, 422),
        ("/materialize", {"start_ts": "2024-01-01", "end_ts": "2024-01-02", "feature_views": ["nope"]}, 404),
        ("/materialize", {"start_ts": "2024-01-01", "end_ts": "2024-01-02", "feature_views": ["stats"]}, 501),
        ("/materialize-incremental", {"end_ts": "2024-01-02", "feature_views": ["stats"]}, 501),
        ("/materialize-incremental?async=maybe", {"end_ts": "2024-01-02"}, 422),
        ("/materialize-incremental?force=", {"end_ts": "2024-01-02"}, 422),
        ("/materialize-incremental", {"end_ts": "2024-01-02", "version": "v1"}, 501),
        ("/retrieve-online-documents", {"query": [0.1]}, 501),
        ("/search", {"query": [0.1]}, 501),
    ],
)
async def test_bad_requests_are_refused(server: Served, path: str, body: Any, status: int) -> None:
    response = await server.post(path, body)
    assert response.status_code == status, response.text


async def test_content_type_is_not_needed(server: Served) -> None:
    body = json.dumps({"features": ["stats:trips"], "entities": {"driver_id": [1]}}).encode()
    assert (await server.post("/get-online-features", body)).status_code == 200


async def test_health(server: Served) -> None:
    assert (await server.get("/health")).status_code == 200


async def test_nan_and_infinities_are_texts(server: Served) -> None:
    facts = FACTS | {"driver_id": [7, 8, 9], "trips": [1, 1, 1], "rating": ["NaN", "Infinity", "-Infinity"]}
    facts |= {"ts": [ELEVEN] * 3, "created": [ELEVEN] * 3}
    assert (await server.post("/write-to-online-store", {"feature_view_name": "stats", "df": facts})).status_code == 200
    assert (await read(server, 7, 8, 9))["results"][2]["values"] == ["NaN", "Infinity", "-Infinity"]
