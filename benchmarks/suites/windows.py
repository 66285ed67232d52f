"""Aggregates over windows for training sets, exact at the time of every row."""

from __future__ import annotations

from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Suite
from benchmarks.targets import AheadOf, AtMost

_FRAMES = "DuckDB RANGE frames"
_DAYS = [1, 7, 30]
_TURNS: dict[str, Any] = {"processes": 2, "repeats": 3, "min_repeats": 2, "budget_seconds": 20.0}


def suite(quick: bool) -> Suite:
    """Sums and counts, then the other functions that both sides have."""
    spine, facts = ("100k", "1M") if quick else ("1M", "5M")
    return Suite(
        "windows",
        "Aggregates over windows",
        "Entity rows x facts, windows of 1, 7 and 30 days of one column, from files to one Arrow table. The other side"
        " is the union of entity rows and facts with one `RANGE BETWEEN` frame a window, written by hand. tiffin's sums"
        " are exact and rounded once; DuckDB's depend on the order in which they are made, so that answers are compared"
        " to eight decimals.",
        (
            _cell(spine, facts, ["sum", "count"], "v0_f0", 8),
            _cell(spine, facts, ["min", "max"], "v0_f0", 1),
            _cell(spine, facts, ["stddev_samp"], "v0_f0", 1),
            _cell(spine, facts, ["mean"], "v0_f0", 1),
            _cell(spine, facts, ["first", "last"], "v0_f0", 1),
            _cell(spine, facts, ["count_distinct"], "v0_f1", 1),
        ),
    )


def _cell(spine: str, facts: str, functions: list[str], column: str, factor: float) -> Cell:
    arguments = {
        "spine": f"spine-{spine}",
        "facts": f"facts-{facts}-v0",
        "days": _DAYS,
        "functions": functions,
        "column": column,
    }
    cases = (
        Case(_FRAMES, "limit", "benchmarks.sides.windows:range_frames", arguments, **_TURNS),
        Case("tiffin", "tiffin", "benchmarks.sides.windows:windows", arguments, **_TURNS),
    )
    name = f"{spine} x {facts}, {' and '.join(functions)} over 3 windows"
    targets = (AheadOf(_FRAMES, factor), AtMost("peak_bytes", 2 * GIGABYTE))
    return Cell(name, cases, targets, (f"spine-{spine}", f"facts-{facts}-v0"))
