"""Materialization into SQLite."""

from __future__ import annotations

from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Suite
from benchmarks.data import parse_rows
from benchmarks.targets import AheadOf, AtLeast, AtMost, Target

_RAW = "benchmarks.sides.raw_online:inserts"
_STORE = "benchmarks.sides.store:materialize"
_MEMORY = 1 * GIGABYTE


def suite(quick: bool) -> Suite:
    """One row a key, and many rows a key; ten features."""
    # A start-up cost of a few hundred milliseconds is most of a small run, so only the full one is judged.
    rate: tuple[Target, ...] = () if quick else (AtLeast("rows_per_second", 200_000),)
    latest, facts = ("latest-20k-v0", "few-200k-v0") if quick else ("latest-1M-v0", "facts-10M-v0")
    return Suite(
        "materialize",
        "Materialize into SQLite",
        "Source rows per second, ten features a row, from a parquet file into an empty store on disk. The raw"
        " limits are an insert of blobs that were packed beforehand, in the order of their keys, in one transaction;"
        " and the whole way by hand: the newest fact of every key with DuckDB, packing with numpy, the same insert."
        " Neither asks whether a newer row is there already. Afterwards a thousand keys are read back and compared.",
        (
            _cell(
                "a row a key",
                latest,
                (*rate, AtMost("peak_bytes", _MEMORY), AheadOf("Feast")),
            ),
            _cell("many rows a key", facts, (*rate, AtMost("peak_bytes", _MEMORY))),
        ),
        unit="rows/s",
    )


def _cell(words: str, facts: str, targets: tuple[Target, ...]) -> Cell:
    rows = facts.split("-")[1]
    # A store can be filled from nothing only once, so each run is a process.
    once: dict[str, Any] = {"repeats": 1, "min_repeats": 1, "max_seconds": 600.0}
    stores = {"facts": facts}
    cases = (
        Case("ready blobs", "limit", _RAW, {**stores, "ready": True}, processes=3, **once),
        Case("file to SQLite", "limit", _RAW, {**stores, "ready": False}, processes=3, **once),
        Case("tiffin", "tiffin", _STORE, {"api": "tiffin", **stores}, processes=3, **once),
        Case("Feast", "peer", _STORE, {"api": "feast", **stores, "offline": {"type": "duckdb"}}, **once),
    )
    return Cell(f"{rows} rows, {words}", cases, targets, (facts,), order_by="key", rows=parse_rows(rows))
