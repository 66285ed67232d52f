"""Point-in-time joins: the grid, and variants at single points of it."""

from __future__ import annotations

from itertools import product
from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Role, Suite
from benchmarks.targets import AheadOf, AtMost, Target, WithinLimit

_RAW = "benchmarks.sides.raw_join"
_STORE = "benchmarks.sides.store:historical_features"
FEAST_DUCKDB = "Feast, duckdb store"
FEAST_DEFAULT = "Feast, default store"
_TTL_DAYS = 7
# Two processes each, in turns, so that a slow minute of the machine does not fall on one side only.
_TURNS: dict[str, Any] = {"processes": 2, "repeats": 4, "min_repeats": 2, "budget_seconds": 10.0}


def suite(quick: bool) -> Suite:
    """The grid (entity rows by facts by views), and the variants at one point of it."""
    entity_rows = ("10k", "100k") if quick else ("10k", "100k", "1M")
    fact_rows = ("1M",) if quick else ("1M", "10M")
    cells = [_cell(spine, facts, views) for facts, views, spine in product(fact_rows, (1, 5), entity_rows)]
    variant_rows = ("100k", "1M") if quick else ("1M", "10M")
    return Suite(
        "join",
        "Point-in-time join",
        "Entity rows x facts x views. Ten features a view (float64 and int64 by turns), 100,000 keys, 90 days, one"
        " parquet file a view in the order in which the facts arrived. From files to one Arrow table; imports,"
        " connections and `apply` are done before the clock starts. The first group has no created times and no ttl."
        " Then, one view each: created times, every fifth fact a correction of an earlier one, and a ttl of"
        f" {_TTL_DAYS} days; a file in no order; every second feature a string; and `point_in_time: known`, which"
        " Feast does not have and for which ASOF joins are not enough, so that its raw limit is a join over all"
        " pairs and there is no target for the time.",
        (*cells, *_variants(*variant_rows)),
    )


def _cell(spine: str, facts: str, views: int) -> Cell:
    names = [f"facts-{facts}-v{view}" for view in range(views)]
    cases = [*_raw_sides(f"spine-{spine}", names), *_stores(f"spine-{spine}", names)]
    noun = "view" if views == 1 else "views"
    return Cell(f"{spine} x {facts} x {views} {noun}", tuple(cases), _targets(), (f"spine-{spine}", *names))


def _variants(spine: str, facts: str) -> list[Cell]:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "created and ttl": (f"corrected-{facts}-v0", {"created": True, "ttl_days": _TTL_DAYS}),
        "no order": (f"shuffled-{facts}-v0", {}),
        "strings": (f"strings-{facts}-v0", {}),
    }
    cells = []
    for words, (name, options) in kinds.items():
        cases = (*_raw_sides(f"spine-{spine}", [name], **options), *_stores(f"spine-{spine}", [name], **options))
        cells.append(Cell(f"{spine} x {facts}, {words}", cases, _targets(), (f"spine-{spine}", name)))
    return [*cells, _known_cell(spine, facts)]


def _known_cell(spine: str, facts: str) -> Cell:
    name = f"corrected-{facts}-v0"
    question: dict[str, Any] = {"spine": f"spine-{spine}", "facts": [name], "ttl_days": _TTL_DAYS}
    cases = (
        Case("DuckDB, all pairs", "limit", f"{_RAW}:duckdb_known", question, **_TURNS),
        Case("tiffin", "tiffin", _STORE, {"api": "tiffin", **question, "created": True, "mode": "known"}, **_TURNS),
    )
    targets = (AtMost("peak_bytes", 1.5 * GIGABYTE),)
    return Cell(f"{spine} x {facts}, created, ttl, known", cases, targets, (f"spine-{spine}", name))


def _raw_sides(spine: str, facts: list[str], **options: Any) -> list[Case]:
    """Both engines, with and without pruning, and with several views both ways of joining them; the best one counts."""
    cases = []
    for pruned, one_at_a_time in product((False, True), (False, True) if len(facts) > 1 else (False,)):
        words = "".join([", pruned" if pruned else "", ", one view at a time" if one_at_a_time else ""])
        arguments = {"spine": spine, "facts": facts, "pruned": pruned, "one_at_a_time": one_at_a_time, **options}
        cases.append(Case(f"DuckDB ASOF{words}", "limit", f"{_RAW}:duckdb_asof", arguments, **_TURNS))
        cases.append(Case(f"Polars join_asof{words}", "limit", f"{_RAW}:polars_asof", arguments, **_TURNS))
    return cases


def _stores(spine: str, facts: list[str], **options: Any) -> list[Case]:
    def store(side: str, role: Role, api: str, offline: dict[str, Any] | None, **limits: Any) -> Case:
        arguments = {"api": api, "spine": spine, "facts": facts, "offline": offline, **options}
        return Case(side, role, _STORE, arguments, **limits)

    return [
        store("tiffin", "tiffin", "tiffin", None, **_TURNS),
        store(FEAST_DUCKDB, "peer", "feast", {"type": "duckdb"}, repeats=3, min_repeats=2),
        # What Feast does when nothing is configured; written out, as tiffin's own default is DuckDB.
        store(FEAST_DEFAULT, "peer", "feast", {"type": "dask"}, repeats=2, min_repeats=1, budget_seconds=10.0),
    ]


def _targets() -> tuple[Target, ...]:
    return (
        WithinLimit(1.3),
        AtMost("peak_bytes", 1.5 * GIGABYTE),
        AheadOf(FEAST_DUCKDB),
        AheadOf(FEAST_DEFAULT, 10),
    )
