"""The routes of Feast's server, with the same JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.definitions import AuthzedAction, PushMode
from tiffin.errors import AccessError, NotFoundError, RequestError, TiffinError, UnsupportedError
from tiffin.operations.materialize import materialize, materialize_incremental
from tiffin.server import answers, bodies
from tiffin.server.http import Call, Reply, decoded, json_reply
from tiffin.server.routes import Route
from tiffin.server.serving import LoadUnderWayError, Serving
from tiffin.server.wire import feast_json
from tiffin.time import MIN_US

if TYPE_CHECKING:
    from collections.abc import Callable

_read = msgspec.json.Decoder(bodies.FeastRead).decode
_push = msgspec.json.Decoder(bodies.FeastPush).decode
_write = msgspec.json.Decoder(bodies.FeastWrite).decode
_materialize = msgspec.json.Decoder(bodies.FeastMaterialize).decode
_incremental = msgspec.json.Decoder(bodies.FeastIncremental).decode

_NULL = Reply(b"null")
#: What Feast's client knows an error as, by what it is about.
_CLASSES = {
    "feature view": "FeatureViewNotFoundException",
    "feature service": "FeatureServiceNotFoundException",
    "entity": "EntityNotFoundException",
    "data source": "PushSourceNotFoundException",
}


async def get_online_features(serving: Serving, call: Call) -> Reply:
    """Features, by column."""
    body = decoded(_read, await call.body(serving.options.max_body_bytes))
    return Reply(
        await serving.read(
            call, body.features, body.feature_service, body.entities, body.full_feature_names, feast_json
        )
    )


async def push(serving: Serving, call: Call) -> Reply:
    """Push facts to every view of a push source."""
    body = decoded(_push, await call.body(serving.options.max_body_bytes))
    report = await serving.push(call, body.push_source_name, body.df, PushMode[body.to.upper()])
    _check_refused(report["refused"])
    return Reply()


async def write_to_online_store(serving: Serving, call: Call) -> Reply:
    """Write facts of one view."""
    body = decoded(_write, await call.body(serving.options.max_body_bytes))
    report = await serving.write(call, body.feature_view_name, body.df)
    _check_refused(report["refused"])
    return _NULL


async def load_range(serving: Serving, call: Call) -> Reply:
    """Load a range of event times."""
    body = decoded(_materialize, await call.body(serving.options.max_body_bytes))
    start: Any = body.start_ts
    end: Any = body.end_ts
    if body.disable_event_timestamp:
        start, end = MIN_US, serving.ctx.now_us()
    if start is None or end is None:
        raise RequestError("start_ts and end_ts are missing", hint="or set disable_event_timestamp")
    return await _load(
        serving,
        call,
        body.version,
        body.feature_views,
        lambda: materialize(serving.ctx, start, end, body.feature_views),
    )


async def load_increment(serving: Serving, call: Call) -> Reply:
    """Load what came since the last time."""
    body = decoded(_incremental, await call.body(serving.options.max_body_bytes))
    return await _load(
        serving,
        call,
        body.version,
        body.feature_views,
        lambda: materialize_incremental(serving.ctx, body.end_ts, body.feature_views),
    )


async def documents(serving: Serving, call: Call) -> Reply:
    """Search by similarity."""
    call.is_decided = True
    raise UnsupportedError(
        "documents are not searched by similarity yet", hint="read vectors with /get-online-features, and compare them"
    )


async def health(serving: Serving, call: Call) -> Reply:
    """Whether the registry can be read."""
    if serving.reloader.problem or serving.is_draining:
        return json_reply({"status": "unavailable"}, 503)
    return Reply(b"", 200)


def error_reply(error: TiffinError) -> Reply:
    """An error as Feast's server shows it: a text that is JSON itself."""
    status = error.http_status
    kind = next((kind for kind in _CLASSES if error.subject.startswith(kind)), "")
    name = "FeastError"
    if isinstance(error, NotFoundError):
        name = _CLASSES.get(kind, "FeatureViewNotFoundException")
        status = 422 if kind == "data source" else 404
    elif isinstance(error, AccessError):
        name = "FeastPermissionError"
    elif isinstance(error, LoadUnderWayError):
        return json_reply({"error": error.message, "feature_views": []}, 409)
    message = f"{error.message}; {error.hint}" if error.hint else error.message
    detail = json.dumps({"module": "feast.errors", "class": name, "message": message})
    return json_reply(detail, status)


async def _load(
    serving: Serving, call: Call, version: str | None, views: list[str] | None, load: Callable[[], Any]
) -> Reply:
    if version not in (None, "latest"):
        call.is_decided = True
        raise UnsupportedError(f"version {version!r} cannot be loaded", hint="the current version is loaded")
    is_async, _ = (call.flag(name) for name, _ in _FLAGS)
    task = serving.begin_load(call, views, load)
    if is_async:
        return json_reply({"status": "accepted", "feature_views": views or []}, 202)
    await task
    return _NULL


def _check_refused(refused: list[int]) -> None:
    """Feast's answer has no place for rows that were refused, so that they are an error."""
    if refused:
        raise RequestError(
            f"rows {refused[:10]} are too far ahead of now and were not written; the others were",
            hint="look at the clocks; max_future_skew_seconds says how far ahead a fact may be",
        )


#: The type of null, as msgspec names it.
_Null = type(None)
_LOADS = {200: _Null, 202: answers.FeastAccepted, 409: answers.FeastUnderWay}
_FLAGS = (("async", "answer at once, and load in the background"), ("force", "accepted for compatibility"))
ROUTES = (
    Route(
        "POST",
        "/get-online-features",
        AuthzedAction.READ_ONLINE,
        get_online_features,
        "Features by column, as Feast's server gives them.",
        bodies.FeastRead,
        {200: answers.FeastFeatures},
        has_feast_errors=True,
        example='{"features": ["driver_stats:conv_rate"], "entities": {"driver_id": [1001]}}',
    ),
    Route(
        "POST",
        "/push",
        AuthzedAction.WRITE_ONLINE,
        push,
        "Push facts to every view of a push source.",
        bodies.FeastPush,
        {200: None},
        deadline="write",
        has_feast_errors=True,
        example='{"push_source_name": "driver_stats_push", "df": {"driver_id": [1001]}, "to": "online"}',
    ),
    Route(
        "POST",
        "/write-to-online-store",
        AuthzedAction.WRITE_ONLINE,
        write_to_online_store,
        "Write facts of one view.",
        bodies.FeastWrite,
        {200: _Null},
        deadline="write",
        has_feast_errors=True,
        example='{"feature_view_name": "driver_stats", "df": {"driver_id": [1001]}}',
    ),
    Route(
        "POST",
        "/materialize",
        AuthzedAction.WRITE_ONLINE,
        load_range,
        "Load a range of event times from the sources.",
        bodies.FeastMaterialize,
        _LOADS,
        deadline=None,
        has_feast_errors=True,
        query=_FLAGS,
        example='{"start_ts": "2024-01-01T00:00:00", "end_ts": "2024-01-02T00:00:00"}',
    ),
    Route(
        "POST",
        "/materialize-incremental",
        AuthzedAction.WRITE_ONLINE,
        load_increment,
        "Load what came since the last time.",
        bodies.FeastIncremental,
        _LOADS,
        deadline=None,
        has_feast_errors=True,
        query=_FLAGS,
        example='{"end_ts": "2024-01-02T00:00:00"}',
    ),
    *(
        Route("POST", path, "identity", documents, "Not supported.", has_feast_errors=True)
        for path in ("/retrieve-online-documents", "/search")
    ),
    Route(
        "GET", "/health", "nothing", health, "Whether the registry can be read.", gives={200: None, 503: answers.Health}
    ),
)
