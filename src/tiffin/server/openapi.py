"""The description of the routes in OpenAPI 3.1, made of the table of routes and the structs of their bodies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from tiffin import __version__
from tiffin.server.answers import Error, FeastError
from tiffin.server.http import JSON, MSGPACK
from tiffin.server.routes import Route

_STATUSES = {
    200: "the answer",
    202: "accepted; it goes on in the background",
    401: "it is not said who asks",
    403: "who asks may not do that",
    404: "a name does not exist",
    409: "another load is under way, or somebody else was first",
    413: "the request is too large",
    422: "the request is wrong",
    500: "the server has a fault, or a store has one",
    501: "not supported",
    503: "the store does not answer, or too many requests wait",
    504: "the deadline has passed",
    507: "the store has no room left",
}


def openapi(routes: Iterable[Route], is_secured: bool) -> dict[str, Any]:
    """The description.

    Args:
        routes: all routes.
        is_secured: whether requests must say who asks.
    """
    routes = list(routes)
    types = dict.fromkeys((Error, FeastError))
    for route in routes:
        types |= dict.fromkeys(each for each in (route.takes, *route.gives.values()) if each is not None)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type, is_secured)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "tiffin", "version": __version__, "description": "Features for models, over HTTP."},
        "paths": paths,
        "components": {"schemas": components},
    }
    if is_secured:
        schemes = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["components"]["securitySchemes"] = schemes
    return document


def _operation(route: Route, by_type: dict[Any, Any], is_secured: bool) -> dict[str, Any]:
    needs = route.needs if isinstance(route.needs, str) else f"the action {route.needs.value}"
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": f"Needs {needs}.",
        "operationId": route.path.strip("/").replace("/", "_").replace("-", "_") + "_" + route.method.lower(),
        "tags": ["v1" if route.path.startswith("/v1") else "Feast" if route.method == "POST" else "operation"],
        "responses": _responses(route, by_type),
    }
    if route.query:
        operation["parameters"] = [
            {"name": name, "in": "query", "description": words, "schema": {"type": "boolean"}}
            for name, words in route.query
        ]
    if route.takes is not None:
        content: dict[str, Any] = {JSON: {"schema": by_type[route.takes]}}
        if route.example:
            content[JSON]["example"] = json.loads(route.example)
        if route.path.startswith("/v1"):
            content[MSGPACK] = {"schema": by_type[route.takes]}
        operation["requestBody"] = {"required": True, "content": content}
    if is_secured and route.needs != "nothing":
        operation["security"] = [{"bearer": []}]
    return operation


def _responses(route: Route, by_type: dict[Any, Any]) -> dict[str, Any]:
    """What may be answered, by status; only JSON is described further."""
    answers: dict[int, dict[str, Any]] = {}
    if route.needs != "nothing":
        error = by_type[FeastError if route.has_feast_errors else Error]
        answers = {status: {JSON: error} for status in _STATUSES if status >= 400}
    for status, gives in route.gives.items():
        kinds = route.kinds if status == 200 else (JSON,)
        answers[status] = {} if gives is None else {kind: by_type[gives] if kind == JSON else {} for kind in kinds}
    return {
        str(status): {"description": _STATUSES[status]}
        | ({"content": {kind: {"schema": schema} for kind, schema in content.items()}} if content else {})
        for status, content in sorted(answers.items())
    }
