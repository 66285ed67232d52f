"""Whatever comes in, no answer is a fault: random bodies, and right ones with random damage."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.apps import Served, drivers, rows, served
from tiffin.definitions import FeatureService
from tiffin.server.answers import Error, FeastError
from tiffin.server.routes import Route
from tiffin.server.routes_about import ROUTES

ELEVEN = "2024-06-01T11:00:00Z"
FACTS = {"driver_id": [7], "trips": [5], "rating": [1.5], "ts": [ELEVEN], "created": [ELEVEN]}
BODIES: dict[str, Any] = {
    "/v1/features": {"features": ["stats:trips", "stats"], "rows": rows(1, 2), "details": True, "explain": True},
    "/v1/push": {"source": "stats_push", "columns": FACTS, "to": "online"},
    "/v1/write": {"view": "stats", "rows": [{name: cells[0] for name, cells in FACTS.items()}]},
    "/v1/materialize": {"end": ELEVEN, "start": "2024-01-01", "views": []},
    "/get-online-features": {"feature_service": "model", "entities": {"driver_id": [1]}, "full_feature_names": True},
    "/push": {"push_source_name": "stats_push", "df": FACTS},
    "/write-to-online-store": {"feature_view_name": "stats", "df": FACTS},
    "/materialize": {"start_ts": "2024-01-01", "end_ts": ELEVEN, "feature_views": []},
    "/materialize-incremental": {"end_ts": ELEVEN, "feature_views": []},
    "/search": {},
    "/retrieve-online-documents": {},
}
ODD: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        2**63,
        -(2**63) - 1,
        1e308,
        0.5,
        "",
        "x",
        "\0",
        "NaN",
        "stats:trips",
        "stats@v1:trips",
        "::",
        "\ud7ff",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        [1, "x"],
        {"": None},
        {"a": {"b": []}},
        "x" * 5_000,
        list(range(300)),
        "9999-12-31",
        "0000-01-01",
    ),
]
KINDS = ("application/json", "application/msgpack", "application/vnd.apache.arrow.stream", "*/*;q=x", "")


BY_PATH = {route.path: route for route in ROUTES}


def damaged(value: Any, chance: random.Random) -> Any:
    """A value with something in it replaced, added or taken away."""
    if chance.random() < 0.15:
        return chance.choice(ODD)
    if isinstance(value, dict):
        changed = {name: damaged(item, chance) for name, item in value.items() if chance.random() > 0.05}
        return changed | ({str(chance.choice(ODD)): chance.choice(ODD)} if chance.random() < 0.1 else {})
    if isinstance(value, list):
        return [damaged(item, chance) for item in value] * (2 if chance.random() < 0.05 else 1)
    return value


#: Values that no encoder writes, put in the place of others as they stand: numbers beyond all types, too many levels,
#: what JSON or msgpack have no word for, and lengths that are promised and not kept.
RAW = {
    KINDS[0]: [
        *(b"1" * 400, b"-1e999", b"1e400", b"0." + b"0" * 400 + b"1", b"00", b"1.", b"NaN", b"Infinity", b"tru"),
        *(
            b"[" * 5_000 + b"]" * 5_000,
            b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
            b'{"a":1,"a":2}',
            b'{"rows":[],"rows":0}',
        ),
        *(b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"\n"', b"\xef\xbb\xbf1", b"'x'", b"1,", b"", b"\x00"),
    ],
    KINDS[1]: [
        *(
            b"\xcf" + b"\xff" * 8,
            b"\xd3\x80" + b"\x00" * 7,
            b"\xcb\x7f\xf8" + b"\x00" * 6,
            b"\xcb\xff\xf0" + b"\x00" * 6,
        ),
        *(b"\x91" * 5_000 + b"\x01", b"\x81\xa1a" * 3_000 + b"\x01", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"),
        *(
            b"\xc6\xff\xff\xff\xff",
            b"\xc1",
            b"\xc7\x03\x05abc",
            b"\xd6\xff\x00\x00\x00\x01",
            b"\xa2\xff\xfe",
            b"\x81\x01\x02",
        ),
    ],
}
_MARK = "in the place of this"


def marked(value: Any, chance: random.Random) -> Any:
    """A value with a mark somewhere in it."""
    if chance.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return _MARK
    if isinstance(value, dict):
        name = chance.choice(list(value))
        return value | {name: marked(value[name], chance)}
    place = chance.randrange(len(value))
    return [*value[:place], marked(value[place], chance), *value[place + 1 :]]


def body_of(path: str, chance: random.Random, kind: str) -> bytes:
    """Random bytes; or a body that is right with a raw value in it, or with odd ones; some cut off, some with a few
    bytes changed.
    """
    way = chance.random()
    encode: Any = msgspec.msgpack.encode if kind == KINDS[1] else msgspec.json.encode
    if way < 0.1:
        return chance.randbytes(chance.randrange(50))
    if way < 0.4:
        body = encode(marked(BODIES[path], chance)).replace(encode(_MARK), chance.choice(RAW[kind]))
    else:
        try:
            body = encode(damaged(BODIES[path], chance))
        except OverflowError:
            return b""
    if chance.random() < 0.1:
        return body[: chance.randrange(len(body) + 1)]
    if chance.random() < 0.2:
        place = chance.randrange(len(body) + 1)
        body = body[:place] + chance.randbytes(chance.randrange(3)) + body[place + chance.randrange(3) :]
    return body


async def ask(server: Served, seed: int) -> int:
    chance = random.Random(seed)
    path, kind = chance.choice(list(BODIES)), chance.choice(KINDS[:2])
    body = body_of(path, chance, kind)
    response = await server.post(path, body, content_type=kind, accept=chance.choice(KINDS))
    assert response.status_code in (200, 202, 404, 409, 413, 422, 501), (seed, path, body, response.text)
    if response.headers.get("content-type") == KINDS[0]:
        try:
            msgspec.json.decode(response.content, type=answer_of(BY_PATH[path], response.status_code))
        except msgspec.DecodeError as error:
            raise AssertionError(seed, path, body, response.text) from error
    return response.status_code


def answer_of(route: Route, status: int) -> Any:
    """The type of the body of an answer."""
    return route.gives.get(status, FeastError if route.has_feast_errors else Error)


async def ask_many(folder: Path, count: int) -> dict[int, int]:
    """Statuses and how often each came."""
    found: dict[int, int] = {}
    async with served(drivers(folder, FeatureService(name="model", features=["stats"]))) as server:
        for start in range(0, count, 20):
            for status in await asyncio.gather(*(ask(server, start + number) for number in range(20))):
                found[status] = found.get(status, 0) + 1
    return found


def test_every_route_with_a_body_is_tried() -> None:
    assert set(BODIES) == {route.path for route in ROUTES if route.method == "POST"}


async def test_no_body_is_a_fault(tmp_path: Path) -> None:
    found = await ask_many(tmp_path, 2_000)
    assert found[200] > 100
    assert found[422] > 500


@pytest.mark.deep
async def test_no_body_of_a_hundred_thousand_is_a_fault(tmp_path: Path) -> None:
    found = await ask_many(tmp_path, 100_000)
    assert sum(found.values()) == 100_000
