"""The routes about the server itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec

from tiffin import __version__
from tiffin.errors import StoreError, TiffinError, UnsupportedError
from tiffin.operations.newest import online_newest
from tiffin.server.answers import Health, Readiness
from tiffin.server.fallback import FallbackStore
from tiffin.server.http import Call, Reply, json_reply
from tiffin.server.openapi import openapi
from tiffin.server.routes import Route
from tiffin.server.routes_feast import ROUTES as FEAST_ROUTES
from tiffin.server.routes_v1 import ROUTES as V1_ROUTES
from tiffin.server.serving import Serving
from tiffin.time import duration_us

#: How long the numbers wait for the store.
_NEWEST_SECONDS = 1.0


async def live(serving: Serving, call: Call) -> Reply:
    """Whether the process answers."""
    return json_reply({"status": "alive"})


async def ready(serving: Serving, call: Call) -> Reply:
    """Whether requests should come here."""
    problems = ["the server is about to stop"] if serving.is_draining else []
    if not problems:
        try:
            await serving.pool.run(partial(_look_at_store, serving))
        except TiffinError as error:
            # With a fallback that is allowed requests are answered all the same. What the error says is for the log:
            # everybody may ask for readiness.
            if serving.options.fallback == "none" or not isinstance(error, StoreError):
                problems.append("the online store does not answer")
                serving.logs.write("not_ready", {"message": error.message})
    answer = {
        "status": "unavailable" if problems else "ready",
        "problems": problems,
        "version": __version__,
        "definitions_version": serving.ctx.snapshot().version,
    }
    if serving.reloader.problem:
        answer["registry"] = "definitions may be old: the registry cannot be read"
    return json_reply(answer, 503 if problems else 200)


def _look_at_store(serving: Serving) -> None:
    """One small read of the store, past any fallback."""
    snapshot = serving.ctx.snapshot()
    names = snapshot.names("feature view")
    online = serving.ctx.online
    if names:
        (online.inner if isinstance(online, FallbackStore) else online).get_cursor(snapshot.storage(names[0]).table)


def _look_at_newest(serving: Serving) -> None:
    """How new the facts of all views are, by one read of the store."""
    snapshot = serving.ctx.snapshot()
    views = list(snapshot.views.values())
    targets = {view.name: duration_us(view.freshness) for view in views if view.freshness is not None}
    serving.metrics.newest(online_newest(serving.ctx, snapshot, views), targets)


async def metrics(serving: Serving, call: Call) -> Reply:
    """What Prometheus reads."""
    call.is_decided = True
    # A store that is down or hangs is told by the other numbers, which are wanted most then.
    with contextlib.suppress(TiffinError, TimeoutError):
        async with asyncio.timeout(_NEWEST_SECONDS):
            await serving.pool.run(partial(_look_at_newest, serving))
    found = serving.metrics.text()
    if found is None:
        hint = "install what it needs: pip install 'tiffin[server]'"
        raise UnsupportedError("there are no metrics: prometheus-client is not installed", hint=hint)
    return Reply(found[0], 200, found[1])


async def description(serving: Serving, call: Call) -> Reply:
    """The routes, for programs."""
    return Reply(msgspec.json.encode(openapi(ROUTES, serving.authentication.is_on)))


async def page(serving: Serving, call: Call) -> Reply:
    """The routes, for people."""
    nonce = secrets.token_urlsafe(16)
    policy = f"default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
    headers = (
        (b"content-security-policy", f"{policy}; frame-ancestors 'none'".encode()),
        (b"x-content-type-options", b"nosniff"),
    )
    return Reply(_page().replace("{nonce}", nonce).encode(), 200, "text/html; charset=utf-8", headers)


@cache
def _page() -> str:
    return (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


_READINESS = {200: Readiness, 503: Readiness}
#: Every route of the server.
ROUTES: tuple[Route, ...] = (
    *V1_ROUTES,
    *FEAST_ROUTES,
    Route("GET", "/health/live", "nothing", live, "Whether the process answers.", gives={200: Health}),
    Route("GET", "/health/ready", "nothing", ready, "Whether requests should come here.", gives=_READINESS),
    Route("GET", "/metrics", "identity", metrics, "Numbers for Prometheus.", gives={200: str}, kinds=("text/plain",)),
    Route("GET", "/openapi.json", "nothing", description, "This description.", gives={200: dict[str, Any]}),
    Route("GET", "/docs", "nothing", page, "A page to try the routes.", gives={200: str}, kinds=("text/html",)),
)
