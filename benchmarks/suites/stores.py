"""Redis, LMDB and PostgreSQL as online stores: reads and writes."""

from __future__ import annotations

from typing import Any

from benchmarks.case import GIGABYTE, Case, Cell, Suite
from benchmarks.data import parse_rows
from benchmarks.targets import AheadOf, AtLeast, AtMost, ShareOf, Target, WithinLimit

_RAW = "benchmarks.sides.raw_stores"
_STORE = "benchmarks.sides.store"
_NAMES = {"redis": "Redis", "lmdb": "LMDB", "postgres": "PostgreSQL"}
#: How many times its raw limit one key and a hundred keys may take, and rows per second that a load must write.
_GOALS = {"redis": (2.0, 1.5, 120_000), "lmdb": (3.0, 1.5, 400_000), "postgres": (2.0, 1.5, 80_000)}


def read_suite(quick: bool) -> Suite:
    """One key and a hundred keys of fifty features; in Redis also five views of fifty."""
    rows = "1k" if quick else "20k"
    one = [f"wide-{rows}-v0"]
    cells = []
    for kind in _NAMES:
        alone, many, _ = _GOALS[kind]
        cells += [_read(kind, one, 1, alone, quick), _read(kind, one, 100, many, quick)]
        if kind == "redis":
            cells.append(_read(kind, [f"wide-{rows}-v{view}" for view in range(5)], 100, many, quick))
    return Suite(
        "stores",
        "Online read from Redis, LMDB and PostgreSQL",
        f"Views of fifty features; {rows.replace('k', ',000')} keys, other keys in every request, one process that is"
        " warm, the server on the same machine. The raw limit is the store's own client over blobs packed by hand (one"
        " MGET; gets in one read transaction; a prepared binary `= ANY`), decoded into the same dict of lists. The"
        " stores answer `get_online_features(...).to_dict()`.",
        (*cells, _space(quick)),
    )


def push_suite(quick: bool) -> Suite:
    """One row, pushed again and again."""
    return Suite(
        "pushes",
        "Push of one row",
        "Ten features of one key, newer each time; when the call has returned the row can be read, which is done once"
        " at the end and compared. tiffin takes a list with one dict, Feast a pandas frame.",
        tuple(_push(kind, quick) for kind in ("redis", "sqlite")),
        unit="us",
    )


def write_suite(quick: bool) -> Suite:
    """A row a key, ten features."""
    facts = "latest-20k-v0" if quick else "latest-1M-v0"
    return Suite(
        "loads",
        "Materialize into Redis, LMDB and PostgreSQL",
        "Source rows per second, ten features a row, from a parquet file into an empty store; tiffin compares every"
        " row with what is there, inside the store. The raw limit writes blobs that were packed beforehand, in the"
        " order of their keys, and compares nothing: MSET, `putmulti` in one transaction, binary COPY. Afterwards a"
        " thousand keys are read back and compared.",
        tuple(_write(kind, facts, quick) for kind in _NAMES),
        unit="rows/s",
    )


def _read(kind: str, facts: list[str], keys: int, factor: float, quick: bool) -> Cell:
    repeats, feast_repeats = ((200, 50) if keys == 1 else (100, 20)) if quick else ((5_000, 500), (2_000, 50))[keys > 1]
    question: dict[str, Any] = {"facts": facts, "keys": keys}
    limits: dict[str, Any] = {"max_seconds": 1_800.0}
    cases = [
        Case("client", "limit", f"{_RAW}:reads", {"kind": kind, **question}, repeats=repeats, **limits),
        Case(
            "tiffin",
            "tiffin",
            f"{_STORE}:online_features",
            {"api": "tiffin", **question, "online": kind},
            repeats=repeats,
            **limits,
        ),
    ]
    targets: list[Target] = [WithinLimit(factor)]
    if kind != "lmdb":
        arguments = {"api": "feast", **question, "online": kind, "offline": {"type": "duckdb"}}
        cases.append(Case("Feast", "peer", f"{_STORE}:online_features", arguments, repeats=feast_repeats, **limits))
        targets.append(AheadOf("Feast"))
    words = f"{keys} {'key' if keys == 1 else 'keys'} x {50 * len(facts)} features"
    return Cell(f"{_NAMES[kind]}, {words}", tuple(cases), tuple(targets), tuple(facts), order_by="key")


def _space(quick: bool) -> Cell:
    """Memory of Redis."""
    facts = "wide-1k-v0" if quick else "wide-20k-v0"
    once: dict[str, Any] = {"repeats": 1, "min_repeats": 1, "max_seconds": 900.0}
    feast = {"api": "feast", "facts": facts, "offline": {"type": "duckdb"}}
    cases = (
        Case("tiffin", "tiffin", f"{_STORE}:redis_space", {"api": "tiffin", "facts": facts}, **once),
        Case("Feast", "peer", f"{_STORE}:redis_space", feast, **once),
    )
    return Cell("Redis, memory of 50 features", cases, (ShareOf("Feast", "entity_bytes", 0.5),), (facts,))


def _push(kind: str, quick: bool) -> Cell:
    facts, repeats = "latest-20k-v0", 200 if quick else 2_000
    arguments = {"facts": facts, "online": kind}
    feast = {"api": "feast", **arguments, "offline": {"type": "duckdb"}}
    cases = (
        Case("tiffin", "tiffin", f"{_STORE}:push", {"api": "tiffin", **arguments}, repeats=repeats),
        Case("Feast", "peer", f"{_STORE}:push", feast, repeats=repeats),
    )
    targets: list[Target] = [AtMost("p50", 0.001)] if kind == "redis" else []
    name = {**_NAMES, "sqlite": "SQLite"}[kind]
    return Cell(f"{name}, one row", cases, (*targets, AheadOf("Feast")), (facts,), order_by="key")


def _write(kind: str, facts: str, quick: bool) -> Cell:
    once: dict[str, Any] = {"repeats": 1, "min_repeats": 1, "max_seconds": 600.0}
    cases = [
        Case("ready blobs", "limit", f"{_RAW}:writes", {"kind": kind, "facts": facts}, processes=3, **once),
        Case(
            "tiffin",
            "tiffin",
            f"{_STORE}:materialize",
            {"api": "tiffin", "facts": facts, "online": kind},
            processes=3,
            **once,
        ),
    ]
    targets: list[Target] = [AtMost("peak_bytes", GIGABYTE)]
    if not quick:
        targets.append(AtLeast("rows_per_second", _GOALS[kind][2]))
    if kind != "lmdb":
        arguments = {"api": "feast", "facts": facts, "online": kind, "offline": {"type": "duckdb"}}
        cases.append(Case("Feast", "peer", f"{_STORE}:materialize", arguments, **once))
        targets.append(AheadOf("Feast"))
    rows = facts.split("-")[1]
    return Cell(
        f"{_NAMES[kind]}, {rows} rows", tuple(cases), tuple(targets), (facts,), order_by="key", rows=parse_rows(rows)
    )
