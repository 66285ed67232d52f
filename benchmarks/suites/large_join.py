"""A join that does not fit: 50 million facts under a memory limit of 2 GB."""

from __future__ import annotations

from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Suite
from benchmarks.targets import AtMost

_LIMIT_BYTES = 2 * GIGABYTE


def suite(quick: bool) -> Suite:
    """One cell; every side is ended when its resident memory passes 2 GB."""
    spine, facts = ("100k", "2M") if quick else ("1M", "50M")
    question: dict[str, Any] = {"spine": f"spine-{spine}", "facts": [f"facts-{facts}-v0"]}
    limits: dict[str, Any] = {"repeats": 1, "min_repeats": 1, "max_bytes": _LIMIT_BYTES, "max_seconds": 900.0}
    return Suite(
        "large-join",
        "A join larger than memory",
        "One view; a process that holds more than 2 GB is ended. tiffin runs with `offline_store: {memory_limit:"
        " 1GB}`, DuckDB by hand with limits of 1 and 1.5 GB of its own, which is less than the process because"
        " buffers and the result come on top. All may spill to disk.",
        (
            Cell(
                f"{spine} x {facts} x 1 view, 2 GB",
                (
                    *(
                        Case(
                            f"DuckDB ASOF, limit {limit}",
                            "limit",
                            "benchmarks.sides.raw_join:duckdb_asof",
                            {**question, "memory_limit": limit},
                            **limits,
                        )
                        for limit in ("1GB", "1.5GB")
                    ),
                    Case("Polars join_asof", "limit", "benchmarks.sides.raw_join:polars_asof", question, **limits),
                    Case(
                        "tiffin",
                        "tiffin",
                        "benchmarks.sides.store:historical_features",
                        {"api": "tiffin", **question, "offline": {"type": "duckdb", "memory_limit": "1GB"}},
                        **limits,
                    ),
                    Case(
                        "Feast, duckdb store",
                        "peer",
                        "benchmarks.sides.store:historical_features",
                        {"api": "feast", **question, "offline": {"type": "duckdb"}},
                        **limits,
                    ),
                ),
                (AtMost("peak_bytes", _LIMIT_BYTES),),
                (f"spine-{spine}", f"facts-{facts}-v0"),
            ),
        ),
    )
