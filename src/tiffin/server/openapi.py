"""The description of the routes in OpenAPI 3.1, made of the table of routes and the structs that decode bodies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from tiffin import __version__
from tiffin.server.http import ARROW, JSON, MSGPACK
from tiffin.server.routes import Route

_TEXT = {"type": "string"}
_ERROR = {
    "type": "object",
    "properties": {
        "code": _TEXT,
        "message": _TEXT,
        "subject": _TEXT,
        "hint": _TEXT,
        "retryable": {"type": "boolean"},
        "request_id": _TEXT,
    },
    "required": ["code", "message", "retryable", "request_id"],
}
_FEAST_ERROR = {"type": "string", "description": "JSON with module, class and message"}
_STATUSES = {
    401: "it is not said who asks",
    403: "who asks may not do that",
    404: "a name does not exist",
    408: "the body did not come in time",
    409: "another load is under way, or somebody else was first",
    413: "the request is too large",
    422: "the request is wrong",
    501: "not supported",
    503: "the store does not answer, or too many requests wait",
    504: "the deadline has passed",
}


def openapi(routes: Iterable[Route], is_secured: bool) -> dict[str, Any]:
    """The description.

    Args:
        routes: all routes.
        is_secured: whether requests must say who asks.
    """
    routes = list(routes)
    takes = [route.takes for route in routes if route.takes is not None]
    schemas, components = msgspec.json.schema_components(takes, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(takes, schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type, is_secured)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "tiffin", "version": __version__, "description": "Features for models, over HTTP."},
        "paths": paths,
        "components": {"schemas": {**components, "Error": _ERROR}},
    }
    if is_secured:
        schemes = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["components"]["securitySchemes"] = schemes
    return document


def _operation(route: Route, by_type: dict[type, Any], is_secured: bool) -> dict[str, Any]:
    kinds = [JSON, MSGPACK, ARROW] if route.path == "/v1/features" else [JSON]
    needs = route.needs if isinstance(route.needs, str) else f"the action {route.needs.value}"
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": f"Needs {needs}.",
        "operationId": route.path.strip("/").replace("/", "_").replace("-", "_") + "_" + route.method.lower(),
        "tags": ["v1" if route.path.startswith("/v1") else "Feast" if route.method == "POST" else "operation"],
        "responses": {"200": {"description": "the answer", "content": {kind: {"schema": {}} for kind in kinds}}},
    }
    schema = _FEAST_ERROR if route.has_feast_errors else {"$ref": "#/components/schemas/Error"}
    for status, words in _STATUSES.items() if route.needs != "nothing" else ():
        operation["responses"][str(status)] = {"description": words, "content": {JSON: {"schema": schema}}}
    if any(name == "async" for name, _ in route.query):
        operation["responses"]["202"] = {"description": "accepted", "content": {JSON: {"schema": {}}}}
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
