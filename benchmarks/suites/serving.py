"""The HTTP server beside Feast's, and beside bare applications that do the same read."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AheadOf, AtMost, ShareOf, Target, WithinLimit

_SIDES, _APPS = "benchmarks.sides.servers", "benchmarks.sides.bare_"


def suite(quick: bool) -> Suite:
    """One entity with ten features and a hundred with fifty; all out, at half load, and while definitions change."""
    facts = "wide-1k-v0" if quick else "wide-20k-v0"
    return Suite(
        "server",
        "Features over HTTP, from Redis",
        "The time of one request under load: wrk with sixteen connections and one worker of each server on one"
        " machine, so it is one second by the requests a second. The raw limit is an ASGI application under the same"
        " uvicorn that decodes the request, reads by one MGET, unpacks rows that were packed by hand, and encodes"
        " values alone: no checks, nulls, ages, statuses, event times, deadlines, metrics or logs, all of which"
        " tiffin's answer has. The same application as a route of FastAPI's shows what the framework alone costs."
        " Feast's server runs without its access log. The lines with p99 tell what 99 % of the requests do not exceed"
        " at half of the requests a second that the same server can answer, and while its definitions are changed"
        " twenty times.",
        (
            _cell(facts, 1, 10, quick),
            _cell(facts, 100, 50, quick),
            _p99("at half load", facts, "half", quick),
            _p99("while definitions change", facts, "changes", quick),
        ),
        unit="us",
    )


def _cell(facts: str, keys: int, features: int, quick: bool) -> Cell:
    targets: list[Target] = [AtMost("resident_bytes", 100_000_000)]
    if keys == 1:
        targets = [WithinLimit(2.0), ShareOf("Feast", "cpu_seconds", 1 / 6), *targets, AtMost("ready_seconds", 1.5)]
    else:
        targets = [AheadOf("Feast", 15.0), *targets]
    words = "1 entity" if keys == 1 else f"{keys} entities"
    cases = _cases(facts, keys, features, "full", quick)
    return Cell(f"{words} x {features} features", cases, tuple(targets), (facts,))


def _p99(words: str, facts: str, load: str, quick: bool) -> Cell:
    cases = tuple(case for case in _cases(facts, 1, 10, load, quick) if load == "half" or case.role != "limit")
    return Cell(f"1 entity x 10 features {words}, p99", cases, (AtMost("p50", 0.005),), (facts,))


def _cases(facts: str, keys: int, features: int, load: str, quick: bool) -> tuple[Case, ...]:
    question: dict[str, Any] = {"facts": facts, "keys": keys, "features": features, "load": load}
    # Feast needs some seconds for the first answers about many entities.
    question["seconds"] = 2.0 if quick and keys == 1 else 5.0
    limits: dict[str, Any] = {"processes": 1 if quick else 3, "repeats": 3, "max_seconds": 300.0}
    store = f"{_SIDES}:store_server"
    return (
        Case("uvicorn", "limit", f"{_SIDES}:bare", {"app": f"{_APPS}server:asgi", **question}, **limits),
        Case("FastAPI", "limit", f"{_SIDES}:bare", {"app": f"{_APPS}framework:app", **question}, **limits),
        Case("tiffin", "tiffin", store, {"api": "tiffin", **question}, **limits),
        Case("Feast", "peer", store, {"api": "feast", **question}, **limits),
    )
