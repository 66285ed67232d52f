"""Verifying a log of served features against training."""

from __future__ import annotations

from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Suite
from benchmarks.data import parse_rows
from benchmarks.targets import AtLeast, AtMost, WithinLimit

_TASK = "benchmarks.sides.verifying:verification"
#: Two hundred thousand vectors a minute.
_ROWS_PER_SECOND = 200_000 / 60
_TURNS: dict[str, Any] = {"processes": 2, "repeats": 3, "min_repeats": 2, "budget_seconds": 20.0}


def suite(quick: bool) -> Suite:
    """A log in which nothing differs, and one in which a hundredth does."""
    spine, facts = ("50k", "1M") if quick else ("1M", "1M")
    names = [f"corrected-{facts}-v{view}" for view in range(2)]
    return Suite(
        "verify",
        "Verify what was served",
        "Vectors of twenty features of two views, with created times, corrections and a ttl, in a log over ninety days;"
        " each is computed again as of its moment and compared. In the second log one value in a hundred is that of"
        " another row, and causes are looked for. The raw limit reads the log, retrieves with tiffin and compares the"
        " bits in numpy, all at once in memory, without looking for causes. The rows per second are vectors.",
        tuple(_cell(f"spine-{spine}", names, spoilt) for spoilt in (False, True)),
        unit="rows/s",
    )


def _cell(spine: str, facts: list[str], spoilt: bool) -> Cell:
    question: dict[str, Any] = {"spine": spine, "facts": facts, "spoilt": spoilt}
    size = spine.removeprefix("spine-")
    cases = (
        Case("retrieval and numpy", "limit", _TASK, {**question, "by_hand": True}, **_TURNS),
        Case("tiffin", "tiffin", _TASK, question, **_TURNS),
    )
    targets = (AtLeast("rows_per_second", _ROWS_PER_SECOND), AtMost("peak_bytes", 1.5 * GIGABYTE))
    name = f"{size} vectors, {'1% differ' if spoilt else 'none differs'}"
    limit = () if spoilt else (WithinLimit(2.0),)
    return Cell(name, cases, (*targets, *limit), (spine, *facts), order_by="feature", rows=parse_rows(size))
