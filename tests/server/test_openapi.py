"""What `/openapi.json` says is so: requests made from it, right ones and wrong ones, are answered as it describes."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from server.apps import drivers, served
from server.test_fallback import LABELS, RIDES, made, write_rides
from tiffin.definitions import FeatureService
from tiffin.server.openapi import openapi
from tiffin.server.routes import Route
from tiffin.server.routes_about import ROUTES
from tiffin.server.routes_feast import documents

#: Names that exist, for the places where any text is right: texts by chance would find nothing.
NAMES: dict[str, list[Any]] = {
    "features": ["stats:trips", "stats:rating", "weather:sky", "rides:n", "made:both", "labels:is_fraud"],
    "service": ["model"],
    "feature_service": ["model"],
    "source": ["stats_push"],
    "push_source_name": ["stats_push"],
    "view": ["stats", "weather"],
    "feature_view_name": ["stats", "weather"],
    "views": ["rides"],
    "feature_views": ["rides"],
    "end": ["2024-06-01T12:00:00Z"],
    "start": ["2024-01-01"],
    "end_ts": ["2024-06-01T12:00:00"],
    "start_ts": ["2024-01-01T00:00:00"],
}
#: Members of which a body has one.
EITHER = [("rows", "columns"), ("features", "service"), ("features", "feature_service")]
MOMENT = {"enum": ["2024-06-01T11:00:00Z"]}
KEYS = {"driver_id": {"enum": [1, 2, 3, 404, None, "1"]}, "city": {"enum": ["Oslo", "Rome", None]}}
FACTS = {
    "driver_id": {"enum": [7, 8]},
    "trips": {"enum": [1, 2**62, -1, None]},
    "rating": {"enum": [0.5, 1e308, "NaN", "-Infinity", None]},
    "ts": MOMENT,
    "created": MOMENT,
}


def described(route: Route, chosen: Collection[str] | None = None) -> dict[str, Any]:
    """The description of one route, with names that exist in it, besides others.

    Args:
        route: the route.
        chosen: of members of which a body has one, those that it is to have; then it has nothing but what exists.
    """
    document = openapi([route], is_secured=False)
    cells = KEYS if "features" in route.path else FACTS
    two = {name: {"type": "array", "items": cell, "minItems": 2, "maxItems": 2} for name, cell in cells.items()}
    rows, columns = (
        {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
        for parts in (cells, two)
    )
    known = {name: {"enum": values} for name, values in NAMES.items()}
    known |= {"rows": rows, "columns": columns, "df": columns, "entities": columns}
    taken = document["components"]["schemas"][route.takes.__name__] if route.takes is not None else {}
    properties = taken.get("properties", {})
    for name, part in properties.items():
        if name in known:
            _offer(part, known[name], is_only=chosen is not None)
    if chosen is not None:
        for name in chosen:
            properties[name]["anyOf"] = [part for part in properties[name]["anyOf"] if part.get("type") != "null"]
        taken["required"] = [*taken.get("required", []), *chosen]
        taken["properties"] = {n: part for n, part in properties.items() if n in chosen or n not in sum(EITHER, ())}
    return document


def _offer(schema: dict[str, Any], known: dict[str, Any], is_only: bool) -> None:
    """Let a schema have what is known, where it has such as these, besides other values or instead of them."""
    for part in schema.get("anyOf", [schema]):
        if part.get("type") == "array":
            part["items"] = (
                copy.deepcopy(known) if is_only else {"anyOf": [copy.deepcopy(known), part.get("items", {})]}
            )
            part |= {"minItems": 1, "maxItems": 3} if is_only else {}
        elif part.get("type") in ("string", "object"):
            was = [] if is_only else [copy.deepcopy(part)]
            part.clear()
            part["anyOf"] = [copy.deepcopy(known), *was]


def cases(route: Route) -> st.SearchStrategy[Case]:
    """Requests for a route: as a client means them, right ones by the description, and wrong ones."""
    members = {field.name for field in fields(route.takes)} if route.takes is not None else set()
    pairs = [pair for pair in EITHER if members >= set(pair)]
    meant = [_cases(described(route, chosen), GenerationMode.POSITIVE) for chosen in product(*pairs)]
    if route.takes is None:
        return meant[0]
    any_, wrong = (_cases(described(route), mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))
    return st.one_of(st.one_of(meant), any_, wrong)


def _cases(document: dict[str, Any], mode: GenerationMode) -> st.SearchStrategy[Case]:
    (operation,) = (result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations())
    return operation.as_strategy(generation_mode=mode)


class Server:
    """A server in this process, asked from code that is not async."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        write_rides(folder, [1, 1, 2])
        repository = drivers(folder, RIDES, LABELS, made, FeatureService(name="model", features=["stats", "rides"]))
        self.opened = served(repository, access_log=False)
        self.client = self.runner.run(self.opened.__aenter__()).client

    def ask(self, case: Case) -> httpx.Response:
        prepared = requests.Request(**case.as_transport_kwargs(base_url="http://server")).prepare()
        assert prepared.method
        assert prepared.url
        request = httpx.Request(
            prepared.method, prepared.url, headers=dict(prepared.headers), content=prepared.body or b""
        )
        return self.runner.run(self.client.send(request))

    def close(self) -> None:
        self.runner.run(self.opened.__aexit__(None, None, None))
        self.runner.close()


def hold(folder: Path, route: Route, count: int) -> Counter[int]:
    """Ask a route so many times, and count the statuses."""
    server, found = Server(folder), Counter[int]()
    checks = [
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
        negative_data_rejection,
    ]

    @given(case=cases(route))
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case) -> None:
        response = server.ask(case)
        assert response.status_code != 500, response.text
        case.validate_response(response, checks=[*checks])
        found[response.status_code] += 1

    try:
        ask()
    finally:
        server.close()
    return found


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_answers_are_as_described(tmp_path: Path, route: Route) -> None:
    right = 501 if route.handler is documents else 200
    # Of few requests made by chance, none may be a right one.
    assert hold(tmp_path, route, 40)[right] or hold(tmp_path, route, 1_000)[right]


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("route", [route for route in ROUTES if route.takes is not None], ids=name_of)
def test_answers_to_twenty_thousand_requests_are_as_described(tmp_path: Path, route: Route) -> None:
    found = hold(tmp_path, route, 2_250)
    print(route.path, dict(found))
    assert found.total() == 2_250
