"""Online reads from SQLite."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AheadOf, AtMost, Target, WithinLimit

_RAW = "benchmarks.sides.raw_online:reads"
_STORE = "benchmarks.sides.store:online_features"


def suite(quick: bool) -> Suite:
    """One key and a hundred keys; fifty features from one view, and from five."""
    rows = "1k" if quick else "100k"
    wide = [f"wide-{rows}-v0"]
    five = [f"latest-{rows}-v{view}" for view in range(5)]
    one, many = ((200, 50), (100, 20)) if quick else ((5_000, 500), (2_000, 100))
    targets_of_one = (AtMost("p50", 40e-6), WithinLimit(2.0), AheadOf("Feast"))
    targets_of_many = (WithinLimit(1.5), AheadOf("Feast", 50))
    return Suite(
        "online",
        "Online read from SQLite",
        f"One view of fifty features, or five of ten; {rows.replace('k', ',000')} keys each, other keys in every"
        " request, in one process that is warm. The raw limit selects blobs packed by hand with prepared statements,"
        " from one table for all views and from one table a view, and decodes them into the same dict of lists with"
        " `struct` (one key) or numpy (many); it knows no nulls, statuses, ages or schema versions. The stores answer"
        " `get_online_features(...).to_dict()`.",
        (
            _cell(wide, 1, one, targets_of_one),
            _cell(wide, 100, many, targets_of_many),
            _cell(five, 1, one, targets_of_one),
            _cell(five, 100, many, targets_of_many),
        ),
    )


def _cell(facts: list[str], keys: int, repeats_here_and_feast: tuple[int, int], targets: tuple[Target, ...]) -> Cell:
    repeats, feast_repeats = repeats_here_and_feast
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
    key, view = "key" if keys == 1 else "keys", "view" if len(facts) == 1 else "views"
    return Cell(f"{keys} {key} x 50 features, {len(facts)} {view}", cases, targets, tuple(facts), order_by="key")
