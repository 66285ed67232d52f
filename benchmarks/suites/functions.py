"""On-demand views, read online."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AheadOf, OverLimit

_TASK = "benchmarks.sides.functions:computed_features"


def suite(quick: bool) -> Suite:
    """One row, in plain Python and in pandas."""
    facts = "latest-1k-v0" if quick else "latest-20k-v0"
    repeats, feast = (200, 50) if quick else (3_000, 300)
    return Suite(
        "functions",
        "On-demand views",
        "One key, two features computed from two stored ones and one value of the request, from SQLite, warm. The raw"
        " limit reads the two stored features with tiffin and calls the same function on the answer by hand: no second"
        " names of the inputs, no check of what comes out, no types. What is judged is what tiffin adds to that.",
        (
            _cell("python", facts, repeats, feast, 30e-6),
            _cell("pandas", facts, repeats, feast, 1e-3),
        ),
    )


def _cell(mode: str, facts: str, repeats: int, feast_repeats: int, most: float) -> Cell:
    question: dict[str, Any] = {"facts": facts, "mode": mode}
    limits: dict[str, Any] = {"max_seconds": 900.0}
    cases = (
        Case("by hand", "limit", _TASK, {"api": "tiffin", **question, "by_hand": True}, repeats=repeats, **limits),
        Case("tiffin", "tiffin", _TASK, {"api": "tiffin", **question}, repeats=repeats, **limits),
        Case("Feast", "peer", _TASK, {"api": "feast", **question}, repeats=feast_repeats, **limits),
    )
    return Cell(f"mode {mode}, 1 row", cases, (OverLimit(most), AheadOf("Feast")), (facts,), order_by="key")
