"""The routes of our own, below ``/v1``."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from tiffin.definitions import AuthzedAction, PushMode
from tiffin.errors import AccessError, InputError
from tiffin.governance.access import check_access, resources_of
from tiffin.online.response import OnlineResponse
from tiffin.operations.materialize import materialize, materialize_incremental
from tiffin.server import answers, bodies
from tiffin.server.facts import columns_of
from tiffin.server.http import ARROW, JSON, MSGPACK, Call, Reply, decoded, json_reply, refuse_ext
from tiffin.server.routes import Route
from tiffin.server.serving import Serving
from tiffin.server.wire import arrow_body, json_body, msgpack_body

_DECODERS: dict[type, tuple[Any, Any]] = {
    takes: (msgspec.json.Decoder(takes).decode, msgspec.msgpack.Decoder(takes, ext_hook=refuse_ext).decode)
    for takes in (bodies.Read, bodies.Push, bodies.Write, bodies.Materialize)
}


async def features(serving: Serving, call: Call) -> Reply:
    """Features of entities."""
    body: bodies.Read = await _body(serving, call, bodies.Read)
    if (body.rows is None) == (body.columns is None):
        raise InputError("give one of rows and columns", hint='{"rows": [{"driver_id": 1001}]}')
    extra: dict[str, Any] = {"definitions_version": serving.ctx.snapshot().version}
    if body.explain:
        wanted = serving.wanted(body.features, body.service)
        serving.allow_read(call, wanted)
        extra["explain"] = serving.explain(wanted, body.full_feature_names)
    write = partial(_write, call.wants, extra, body.layout, body.details)
    rows: Any = body.columns if body.rows is None else body.rows
    answer = await serving.read(call, body.features, body.service, rows, body.full_feature_names, write)
    label = call.notes.get("fallback")
    headers = ((b"tiffin-fallback", label.encode()),) if label else ()
    return Reply(answer, 200, call.wants, headers)


async def push(serving: Serving, call: Call) -> Reply:
    """Push facts to every view of a push source."""
    body: bodies.Push = await _body(serving, call, bodies.Push)
    columns = columns_of(body.rows, body.columns)
    return json_reply(await serving.push(call, body.source, columns, PushMode[body.to.upper()]))


async def write(serving: Serving, call: Call) -> Reply:
    """Write facts of one view."""
    body: bodies.Write = await _body(serving, call, bodies.Write)
    return json_reply(await serving.write(call, body.view, columns_of(body.rows, body.columns)))


async def load(serving: Serving, call: Call) -> Reply:
    """Load the online store from the sources."""
    body: bodies.Materialize = await _body(serving, call, bodies.Materialize)
    ctx, start = serving.ctx, body.start
    if start is None:
        report = await serving.begin_load(call, body.views, lambda: materialize_incremental(ctx, body.end, body.views))
    else:
        report = await serving.begin_load(call, body.views, lambda: materialize(ctx, start, body.end, body.views))
    return json_reply(report.to_dict())


async def definitions(serving: Serving, call: Call) -> Reply:
    """The definitions that who asks may see."""
    snapshot = serving.ctx.snapshot()
    call.is_decided = True
    seen: dict[str, list[dict[str, Any]]] = {}
    for each in resources_of(snapshot):
        try:
            check_access(snapshot, call.principal, AuthzedAction.DESCRIBE, [each])
        except AccessError:
            continue
        shown: dict[str, Any] = {"name": each.name, "description": each.description, "tags": dict(each.tags)}
        fields = getattr(each, "features", None)
        if each.kind.endswith("view") and fields:
            shown["features"] = {field.name: repr(field.dtype) for field in fields}
        keys = getattr(each, "join_keys", None)
        if each.kind == "feature view" and keys:
            shown["join_keys"] = list(keys)
        seen.setdefault(_plural(each.kind), []).append(shown)
    return json_reply({"project": snapshot.project, "definitions_version": snapshot.version, **seen})


def _plural(kind: str) -> str:
    return "entities" if kind == "entity" else kind.replace(" ", "_").replace("-", "_") + "s"


def _write(kind: str, extra: dict[str, Any], layout: str, details: bool, response: OnlineResponse, label: str) -> bytes:
    if label:
        extra = {**extra, "fallback": label}
    if kind == MSGPACK:
        return msgpack_body(response, extra, layout, details)
    if kind == ARROW:
        return arrow_body(response, extra, details)
    return json_body(response, extra, layout, details)


async def _body(serving: Serving, call: Call, takes: type) -> Any:
    from_json, from_msgpack = _DECODERS[takes]
    body = await call.body(serving.options.max_body_bytes)
    return decoded(from_msgpack if call.sends_msgpack else from_json, body)


ROUTES = (
    Route(
        "POST",
        "/v1/features",
        AuthzedAction.READ_ONLINE,
        features,
        "Features of entities, as rows or columns; JSON, msgpack or Arrow by the Accept header.",
        bodies.Read,
        {200: answers.Features},
        (JSON, MSGPACK, ARROW),
        example='{"features": ["driver_stats:conv_rate"], "rows": [{"driver_id": 1001}], "details": true}',
    ),
    Route(
        "POST",
        "/v1/push",
        AuthzedAction.WRITE_ONLINE,
        push,
        "Push facts to every view of a push source.",
        bodies.Push,
        {200: answers.Pushed},
        deadline="write",
        example='{"source": "driver_stats_push", "rows": [{"driver_id": 1001}]}',
    ),
    Route(
        "POST",
        "/v1/write",
        AuthzedAction.WRITE_ONLINE,
        write,
        "Write facts of one view into the online store.",
        bodies.Write,
        {200: answers.Written},
        deadline="write",
        example='{"view": "driver_stats", "rows": [{"driver_id": 1001}]}',
    ),
    Route(
        "POST",
        "/v1/materialize",
        AuthzedAction.WRITE_ONLINE,
        load,
        "Load the online store from the sources: a range, or what came since the last time.",
        bodies.Materialize,
        {200: answers.Loaded},
        deadline=None,
        example='{"end": "2024-01-02T00:00:00Z"}',
    ),
    Route(
        "GET",
        "/v1/definitions",
        AuthzedAction.DESCRIBE,
        definitions,
        "The project's entities, views and services, as far as you may see them.",
        gives={200: answers.Definitions},
    ),
)
