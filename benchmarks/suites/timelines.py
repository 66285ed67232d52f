"""Windows in an online store: load, push and read."""

from __future__ import annotations

from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Suite
from benchmarks.targets import AtLeast, AtMost, OverLimit, Target

_SIDES = "benchmarks.sides.timelines"
_NAMES = {"sqlite": "SQLite", "redis": "Redis"}


def load_suite(quick: bool) -> Suite:
    """Every fact of a file into timelines, and facts pushed in batches."""
    facts = "facts-100k-v0" if quick else "facts-5M-v0"
    return Suite(
        "window-loads",
        "Windows online: loads and pushes",
        "Facts per second into an online store that then serves twelve windows (sum, count and max over 1 hour, 1, 7"
        " and 92 days). A load has 5M facts of 100,000 keys; it is compared with reading and sorting the same facts in"
        " DuckDB, which keeps nothing; a thousand keys are read back and equal what SQL makes of the facts. A push has"
        " 1,000 new facts of 10,000 keys, put into timelines of about a hundred facts.",
        (_load(facts, "sqlite"), *(_push("few-20k-v0" if quick else "few-1M-v0", online, quick) for online in _NAMES)),
        unit="rows/s",
    )


def read_suite(quick: bool) -> Suite:
    """Twelve windows of one key, of a hundred, and of one with a million facts."""
    facts = "few-20k-v0" if quick else "few-1M-v0"
    return Suite(
        "window-reads",
        "Windows online: reads",
        "Twelve windows (sum, count and max over 1 hour, 1, 7 and 92 days), computed exactly at the moment of the read"
        " from about a hundred facts a key; beside it ten stored features of a plain view over the same keys in the"
        " same store. Then a key that has a million facts, and one fact pushed until it can be read.",
        (
            _read(facts, "sqlite", 1, quick),
            _read(facts, "redis", 1, quick),
            _read(facts, "sqlite", 100, quick),
            _read(facts, "redis", 100, quick),
            _hot("sqlite", quick),
            _one(facts, "redis", quick),
        ),
        unit="us",
    )


def _load(facts: str, online: str) -> Cell:
    turns: dict[str, Any] = {"processes": 3, "repeats": 1, "min_repeats": 1}
    cases = (
        Case("DuckDB sorts", "limit", f"{_SIDES}:grouped", {"facts": facts}, **turns),
        Case("tiffin", "tiffin", f"{_SIDES}:load", {"facts": facts, "online": online}, **turns),
    )
    rows = 100_000 if facts == "facts-100k-v0" else 5_000_000
    targets = (AtLeast("rows_per_second", 1_000_000), AtMost("peak_bytes", GIGABYTE))
    return Cell(f"{_NAMES[online]}, load", cases, targets, (facts,), order_by="key", rows=rows)


def _push(facts: str, online: str, quick: bool) -> Cell:
    batches = 10 if quick else 100
    arguments = {"facts": facts, "online": online, "rows": 1_000, "batches": batches}
    case = Case("tiffin", "tiffin", f"{_SIDES}:push", arguments, repeats=batches)
    return Cell(f"{_NAMES[online]}, push", (case,), (AtLeast("rows_per_second", 100_000),), (facts,), rows=1_000)


def _read(facts: str, online: str, keys: int, quick: bool) -> Cell:
    repeats = 100 if quick else (3_000 if keys == 1 else 500)
    arguments = {"facts": facts, "online": online, "keys": keys}
    cases = (
        Case("ten plain features", "limit", f"{_SIDES}:read", {**arguments, "plain": True}, repeats=repeats),
        Case("tiffin", "tiffin", f"{_SIDES}:read", arguments, repeats=repeats),
    )
    target: Target = OverLimit(60e-6) if keys == 1 else AtMost("p50", 3e-3)
    return Cell(f"{_NAMES[online]}, {keys} key{'s' if keys > 1 else ''}", cases, (target,), (facts,))


def _hot(online: str, quick: bool) -> Cell:
    arguments = {"count": 50_000 if quick else 1_000_000, "online": online}
    case = Case("tiffin", "tiffin", f"{_SIDES}:hot_key", arguments, repeats=20 if quick else 100)
    return Cell(f"{_NAMES[online]}, a key with {arguments['count']:,} facts", (case,), (AtMost("p50", 0.02),))


def _one(facts: str, online: str, quick: bool) -> Cell:
    batches = 50 if quick else 1_000
    arguments = {"facts": facts, "online": online, "rows": 1, "batches": batches}
    case = Case("tiffin", "tiffin", f"{_SIDES}:push", arguments, repeats=batches)
    return Cell(f"{_NAMES[online]}, push of one fact", (case,), (AtMost("p50", 1e-3),), (facts,))
