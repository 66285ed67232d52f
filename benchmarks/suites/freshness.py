"""Asking how fresh many views are."""

from __future__ import annotations

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AtMost

_SIDES = "benchmarks.sides.freshness"


def suite(quick: bool) -> Suite:
    """Five hundred views, each with a file and an online table of its own."""
    count = 50 if quick else 500
    schemas = f"schemas-{count}"
    cases = tuple(
        Case(side, role, f"{_SIDES}:{task}", {"schemas": schemas}, processes=3)
        for side, role, task in (("footers and SQLite", "limit", "raw_freshness"), ("tiffin", "tiffin", "freshness"))
    )
    return Suite(
        "freshness",
        "Ask how fresh views are",
        "Each view has a small parquet file and a stamp in the online store, which is SQLite. The store is opened anew"
        " for each question, as a scheduler does. The raw limit reads one text, the footer of every file and the newest"
        " times, and knows no definitions.",
        (Cell(f"{count} views", cases, () if quick else (AtMost("p50", 2.0),), (schemas,), order_by="newest"),),
    )
