"""Online reads from SQLite."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AheadOf, AtMost, Target, WithinLimit

_RAW = "benchmarks.sides.raw_online:reads"
_STORE = "benchmarks.sides.store:online_features"


def suite(quick: bool) -> Suite:
    """One key and a hundred keys, fifty features from five views."""
    rows = "1k" if quick else "100k"
    return Suite(
        "online",
        "Online read from SQLite",
        f"Five views of ten features, {rows.replace('k', ',000')} keys each, other keys in every request, in one"
        " process that is warm. The raw limit selects blobs packed by hand with prepared statements, from one table"
        " for all views and from one table a view, and decodes them into the same dict of lists with `struct` (one"
        " key) or numpy (many); it knows no nulls, statuses, ages or schema versions. The stores answer"
        " `get_online_features(...).to_dict()`.",
        (
            _cell(rows, 1, 200 if quick else 5_000, 50 if quick else 500, (AtMost("p50", 40e-6), AheadOf("Feast"))),
            _cell(rows, 100, 100 if quick else 2_000, 20 if quick else 100, (WithinLimit(2.0), AheadOf("Feast", 50))),
        ),
    )


def _cell(rows: str, keys: int, repeats: int, feast_repeats: int, targets: tuple[Target, ...]) -> Cell:
    facts = [f"latest-{rows}-v{view}" for view in range(5)]
    question: dict[str, Any] = {"facts": facts, "keys": keys}
    # Filling a store with Feast takes minutes the first time, and memory.
    limits: dict[str, Any] = {"max_seconds": 1_800.0}
    cases = (
        Case("SELECT from one table", "limit", _RAW, {**question, "one_table": True}, repeats=repeats, **limits),
        Case("SELECT from a table a view", "limit", _RAW, {**question, "one_table": False}, repeats=repeats, **limits),
        Case("tiffin", "tiffin", _STORE, {"api": "tiffin", **question}, repeats=repeats, **limits),
        Case(
            "Feast",
            "peer",
            _STORE,
            {"api": "feast", **question, "offline": {"type": "duckdb"}},
            repeats=feast_repeats,
            **limits,
        ),
    )
    noun = "key" if keys == 1 else "keys"
    return Cell(f"{keys} {noun} x 50 features", cases, targets, tuple(facts), order_by="key")
