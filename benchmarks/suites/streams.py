"""Messages per second from Kafka into an online store."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AtLeast, Target, WithinLimit

_SIDES = "benchmarks.sides.streams"


def suite(quick: bool) -> Suite:
    """JSON into rows of SQLite and Redis, and into windows."""
    messages = 50_000 if quick else 1_000_000
    return Suite(
        "streams",
        "Stream from Kafka",
        "JSON messages of 150 bytes from four partitions of a real broker on the same machine, which has the other"
        " core to itself, written by one worker; 100,000 keys. Joining the group is in the time. The raw limit is the"
        " consumer alone, as a member of a group, with the same parse of every message, and keeps nothing.",
        (
            _cell("rows into SQLite", messages, [AtLeast("rows_per_second", 80_000), WithinLimit(4.0)]),
            _cell("rows into Redis", messages, [AtLeast("rows_per_second", 80_000), WithinLimit(4.0)], online="redis"),
            _cell("windows in SQLite", messages, [AtLeast("rows_per_second", 80_000), WithinLimit(4.0)], windows=True),
        ),
        unit="rows/s",
    )


def _cell(name: str, messages: int, targets: list[Target], **how: Any) -> Cell:
    once: dict[str, Any] = {"processes": 3, "repeats": 1, "min_repeats": 1, "max_seconds": 600.0}
    cases = (
        Case("consumer and parse", "limit", f"{_SIDES}:consumer", {"messages": messages}, **once),
        Case("tiffin", "tiffin", f"{_SIDES}:feeding", {"messages": messages, **how}, **once),
    )
    return Cell(name, cases, tuple(targets), rows=messages)
