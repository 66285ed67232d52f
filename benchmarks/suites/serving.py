"""The HTTP server beside bare applications that do the same read."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AtMost, Target, WithinLimit

_SIDES, _APPS = "benchmarks.sides.servers", "benchmarks.sides.bare_"


def suite(quick: bool) -> Suite:
    """One entity with ten features and a hundred with fifty."""
    facts = "wide-1k-v0" if quick else "wide-20k-v0"
    return Suite(
        "server",
        "Features over HTTP, from Redis",
        "The time of one request under load: wrk with sixteen connections and one worker of each server on one"
        " machine, so it is one second by the requests a second. The raw limit is an ASGI application under the same"
        " uvicorn that decodes the request, reads by one MGET, unpacks rows that were packed by hand, and encodes"
        " values alone: no checks, nulls, ages, statuses, event times, deadlines, metrics or logs, all of which"
        " tiffin's answer has. The same application as a route of FastAPI's shows what the framework alone costs.",
        (_cell(facts, 1, 10, quick), _cell(facts, 100, 50, quick)),
        unit="us",
    )


def _cell(facts: str, keys: int, features: int, quick: bool) -> Cell:
    question: dict[str, Any] = {"facts": facts, "keys": keys, "features": features, "seconds": 2.0 if quick else 5.0}
    limits: dict[str, Any] = {"processes": 1 if quick else 3, "repeats": 3, "max_seconds": 300.0}
    cases = (
        Case("uvicorn", "limit", f"{_SIDES}:bare", {"app": f"{_APPS}server:asgi", **question}, **limits),
        Case("FastAPI", "limit", f"{_SIDES}:bare", {"app": f"{_APPS}framework:app", **question}, **limits),
        Case("tiffin", "tiffin", f"{_SIDES}:tiffin", question, **limits),
    )
    targets: list[Target] = [AtMost("resident_bytes", 100_000_000)]
    if keys == 1:
        targets = [WithinLimit(2.0), *targets, AtMost("ready_seconds", 1.5)]
    words = "1 entity" if keys == 1 else f"{keys} entities"
    return Cell(f"{words} x {features} features", cases, tuple(targets), (facts,))
