"""Applying many views."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AheadOf, AtMost

_STORE = "benchmarks.sides.store:apply_views"


def suite(quick: bool) -> Suite:
    """A thousand views into an empty registry, and the same again."""
    count = 50 if quick else 1_000
    schemas = f"schemas-{count}"
    once: dict[str, Any] = {"repeats": 1, "min_repeats": 1, "max_seconds": 300.0}
    raw = Case(
        "schemas to SQLite",
        "limit",
        "benchmarks.sides.raw_apply:apply_views",
        {"schemas": schemas},
        processes=3,
        **once,
    )
    stores = {
        again: (
            Case(
                "tiffin", "tiffin", _STORE, {"api": "tiffin", "schemas": schemas, "again": again}, processes=3, **once
            ),
            Case("Feast", "peer", _STORE, {"api": "feast", "schemas": schemas, "again": again}, **once),
        )
        for again in (False, True)
    }
    targets = () if quick else (AtMost("p50", 2.0), AheadOf("Feast"))
    return Suite(
        "apply",
        "Apply many views",
        "Each view has ten fields and a small parquet file of its own. The registry is SQLite for tiffin and a"
        " file, its default, for Feast. The raw limit reads the columns of every file and writes one JSON text into"
        " SQLite. Applying the same again has to find that nothing changed.",
        (
            Cell(f"{count:,} views, new", (raw, *stores[False]), targets, (schemas,), order_by="name"),
            Cell(f"{count:,} views, again", (raw, *stores[True]), targets, (schemas,), order_by="name"),
        ),
    )
