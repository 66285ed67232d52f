"""Profiles, and what expectations cost a load."""

from __future__ import annotations

from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Suite
from benchmarks.data import parse_rows
from benchmarks.targets import AtMost, Target, WithinLimit

_PROFILE = "benchmarks.sides.quality:profile"
_SUMMARIZE = "benchmarks.sides.quality:summarize"
_EXPECTING = "benchmarks.sides.quality:materialize"
_PLAIN = "benchmarks.sides.store:materialize"


def suite(quick: bool) -> Suite:
    """A profile of twenty columns, and loads with two expectations for each of ten features."""
    profiled, loaded = ("mixed-200k-v0", "latest-20k-v0") if quick else ("mixed-10M-v0", "latest-1M-v0")
    # A start-up cost of a few hundred milliseconds is most of a small run, so only the full one is judged.
    targets: tuple[Target, ...] = () if quick else (AtMost("p50", 10.0), AtMost("peak_bytes", GIGABYTE))
    return Suite(
        "quality",
        "Profiles and expectations",
        "A profile of all columns of a view, floats, whole numbers, times and texts, from a parquet file; the raw limit"
        " is DuckDB's SUMMARIZE, which gives less: quartiles, no distribution and no frequent texts. And loads into"
        " SQLite with two expectations for each feature, which are met; their raw limit is the same load without"
        " expectations.",
        (
            Cell(
                f"profile of {profiled.split('-')[1]} rows, twenty columns",
                (
                    Case("SUMMARIZE", "limit", _SUMMARIZE, {"facts": profiled}, repeats=3, min_repeats=1),
                    Case("tiffin", "tiffin", _PROFILE, {"facts": profiled}, repeats=3, min_repeats=1),
                ),
                targets,
                (profiled,),
                rows=parse_rows(profiled.split("-")[1]),
            ),
            *(_load(loaded, on_failure, quick) for on_failure in ("quarantine", "fail")),
        ),
    )


def _load(facts: str, on_failure: str, quick: bool) -> Cell:
    rows = facts.split("-")[1]
    # A store can be filled from nothing only once, so each run is a process.
    once: dict[str, Any] = {"processes": 3, "repeats": 1, "min_repeats": 1, "max_seconds": 600.0}
    cases = (
        Case("without", "limit", _PLAIN, {"api": "tiffin", "facts": facts}, **once),
        Case("tiffin", "tiffin", _EXPECTING, {"facts": facts, "on_failure": on_failure}, **once),
    )
    targets = () if quick else (WithinLimit(1.1),)
    return Cell(f"load of {rows} rows, else {on_failure}", cases, targets, (facts,), "key", parse_rows(rows))
