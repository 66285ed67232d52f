"""The server as an ASGI application: the frame around every request. Any ASGI server can run it, any other mount it.

There is no web framework below: a table of routes, one dictionary look-up, and bytes (docs/design/0010). What holds for
all requests is in one place: who asks, how long it may take, how errors look, what is logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tiffin.errors import (
    AccessError,
    AuthenticationError,
    DeadlineError,
    NotFoundError,
    ServerError,
    TiffinError,
    UnsupportedError,
)
from tiffin.governance.access import ANYBODY
from tiffin.server.deadline import Deadline
from tiffin.server.drain import drain_on_stop
from tiffin.server.http import Call, ClientGone, Receive, Reply, Scope, Send, error_fields, json_reply
from tiffin.server.options import ServerOptions
from tiffin.server.routes import Route
from tiffin.server.routes_about import ROUTES
from tiffin.server.routes_feast import error_reply
from tiffin.server.serving import Serving
from tiffin.server.settle import settle_process
from tiffin.server.traces import open_traces

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from tiffin.store import FeatureStore

log = logging.getLogger("tiffin.server")

_BY_PATH = {(route.method, route.path): route for route in ROUTES}
_PATHS = {route.path for route in ROUTES}
_CHALLENGE = (b"www-authenticate", b"Bearer")
_MOST_ID_BYTES = 128
#: The status, for logs, of a request whose client went away.
_GONE = 499


class FeatureServer:
    """Answers requests. Started by the lifespan of the server that runs it, else by the first request.

    Args:
        serving: what the routes work with.
        owns_process: whether the process does nothing else, so that it may be made fit for serving.

    Attributes:
        serving: as above.
    """

    def __init__(self, serving: Serving, *, owns_process: bool = False) -> None:
        self.serving = serving
        self._owns_process = owns_process
        self._deadlines: dict[str | None, Deadline | None] = {}
        self._start_id = uuid.uuid4().hex[:16]
        self._numbers = count(1)
        self._opening: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def open(self) -> None:
        """Get ready; once, however often it is called.

        Raises:
            TiffinError: the registry or a store cannot be opened.
        """
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        try:
            await asyncio.shield(self._opening)
        except TiffinError:
            self._opening = None
            raise

    async def close(self) -> None:
        """Let go of everything; what waits to be written is written."""
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.gather(self._reloading, return_exceptions=True)
        await self.serving.ctx.online.close_async()
        await asyncio.to_thread(self.serving.close)
        self._opening = self._reloading = None

    def drain(self) -> None:
        """Say from now on that no more requests should come here; those that come are answered."""
        self.serving.is_draining = True

    async def _open(self) -> None:
        await asyncio.to_thread(self.serving.open)
        options = self.serving.options
        read, write = Deadline(options.deadline_seconds), Deadline(options.write_deadline_seconds)
        self._deadlines = {"read": read, "write": write, None: None}
        if self._owns_process:
            settle_process()
        self._reloading = asyncio.ensure_future(self.serving.reloader.run())

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.open()
                except TiffinError as error:
                    log.error("%s", error)
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                if self.serving.options.drain_seconds:
                    drain_on_stop(self.drain, self.serving.options.drain_seconds)
                await send({"type": "lifespan.startup.complete"})
            else:
                self.drain()
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        headers = dict(scope["headers"])
        # Mounted below a path, some servers say the whole path and some the rest of it.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        call = Call(
            scope["method"],
            path,
            scope["query_string"].decode("latin-1"),
            headers,
            self._request_id(headers),
            receive,
            ANYBODY,
        )
        route = _BY_PATH.get((call.method, path))
        traces = self.serving.traces
        if traces is None:
            status = await self._reply(route, call, send)
        else:
            with traces.request(call, route) as span:
                status = await self._reply(route, call, send)
                traces.answered(span, call, status)
        if status != _GONE:
            seconds = time.perf_counter() - began
            self.serving.metrics.request(route.path if route else "unknown", status, seconds)
        self._log(call, status, began)

    async def _reply(self, route: Route | None, call: Call, send: Send) -> int:
        """Answer, and say with which status."""
        try:
            reply = await self._guarded(route, call)
            await reply.send(send, call.request_id)
        except ClientGone:
            return _GONE
        return reply.status

    async def _guarded(self, route: Route | None, call: Call) -> Reply:
        """The reply of a route, whatever happens in it."""
        try:
            return await self._routed(route, call)
        except TiffinError as error:
            reply = await self._refused(route, call, error)
        except TimeoutError:
            reply = self._error(route, call, DeadlineError("the request took too long", hint="ask for less at once"))
        except ClientGone:
            raise
        except Exception:  # the boundary: logged with its traceback, and the client is told nothing about it
            log.exception("request %s failed", call.request_id)
            reply = self._error(route, call, ServerError("the server has a fault", hint="its log says more"))
        return reply

    async def _routed(self, route: Route | None, call: Call) -> Reply:
        if route is None:
            if call.path in _PATHS:
                methods = ", ".join(sorted(method for method, path in _BY_PATH if path == call.path))
                return json_reply({"code": "method", "message": f"use {methods}"}, 405)
            raise NotFoundError(f"there is no route {call.method} {call.path}", hint="see /docs")
        if self._reloading is None:
            await self.open()
        serving = self.serving
        if route.needs != "nothing" and serving.authentication.is_on:
            call.principal = await serving.authentication.principal(call.headers, serving.pool)
        deadline = self._deadlines[route.deadline]
        work = route.handler(serving, call)
        reply = await (work if deadline is None else deadline.keep(work))
        if not call.is_decided and not isinstance(route.needs, str):
            raise AssertionError(f"nobody decided whether {call.path} may be answered")
        return reply

    async def _refused(self, route: Route | None, call: Call, error: TiffinError) -> Reply:
        call.notes["error"] = error.code
        if isinstance(error, AccessError | AuthenticationError):
            try:
                await self.serving.record(call, "denied", reason=error.code, subject=error.subject)
            except TiffinError as failed:
                log.error("%s", failed)
        if error.http_status >= 500 and not isinstance(error, UnsupportedError):
            log.warning("request %s: %s", call.request_id, error)
        return self._error(route, call, error)

    def _error(self, route: Route | None, call: Call, error: TiffinError) -> Reply:
        has_feast_errors = route is not None and route.has_feast_errors
        reply = (
            error_reply(error)
            if has_feast_errors
            else json_reply(error_fields(error, call.request_id), error.http_status)
        )
        if reply.status == 401:
            reply.headers = (_CHALLENGE,)
        return reply

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        """The client's own, if it is short and plain, else a new one."""
        given = headers.get(b"x-request-id", b"")
        if 0 < len(given) <= _MOST_ID_BYTES and given.replace(b"-", b"").replace(b"_", b"").isalnum():
            return given.decode("latin-1")
        return f"{self._start_id}-{next(self._numbers):x}"

    def _log(self, call: Call, status: int, began: float) -> None:
        if self.serving.options.access_log:
            fields: dict[str, Any] = {
                "request_id": call.request_id,
                "method": call.method,
                "path": call.path,
                "status": status,
                "milliseconds": int((time.perf_counter() - began) * 1_000_000) / 1000,
                "user": call.principal.user.username,
                **call.notes,
            }
            self.serving.logs.write("request", fields)


def create_app(
    store: FeatureStore,
    options: ServerOptions | None = None,
    log_stream: IO[bytes] | None = None,
    tracer_provider: TracerProvider | None = None,
    load_file: Path | None = None,
    *,
    owns_process: bool = False,
) -> FeatureServer:
    """An ASGI application that serves a feature store; the store belongs to it from now on.

    Args:
        store: the store.
        options: limits and manners; those of ``feature_store.yaml`` when left out.
        log_stream: where logs go, binary; nowhere when left out.
        tracer_provider: where traces go (OpenTelemetry); as the environment says when left out.
        load_file: a file, the same for all processes that serve the store, by which they load one at a time.
        owns_process: whether the process does nothing else: its garbage collection and its threads are then set so
            that requests wait less for them.

    Raises:
        ConfigError: the settings are wrong.
        BackendNotFoundError: the environment asks for traces, and OpenTelemetry is not installed.
    """
    if options is None:
        options = ServerOptions.from_section(store.config.feature_server)
    serving = Serving(store.context, options, log_stream, open_traces(tracer_provider), load_file)
    return FeatureServer(serving, owns_process=owns_process)
