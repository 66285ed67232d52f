"""The newest facts per key, for loading an online store."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tiffin.backends.duckdb.asof import Facts, cast_feature
from tiffin.backends.duckdb.relation import ONE_PART
from tiffin.columns import numpy_values
from tiffin.planning.materialization import LoadPlan
from tiffin.types import Bool, Bytes, Int32, Int64, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows per batch: with some tens of features about 100 MB in all forms that a row takes on its way.
_BATCH_ROWS = 100_000
#: Facts of some keys that are kept together: a few hundred MB in all forms. Sorting is faster than so many passes.
_PART_ROWS, _MANY_PARTS = 2_000_000, 16


def newest_facts(facts: Facts, plan: LoadPlan, *, batch_rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The newest facts of each key that a plan asks for.

    A narrow pass finds the greatest event time per key inside the engine, which spills when there are many keys; the
    second pass fetches the facts with that key and time. Facts that tie in event time all come, with their known
    times: the store's order decides between them, as it does between batches.

    Yields:
        Batches with the join keys, the features, ``__event_us`` and ``__known_us``.
    """
    keys = [facts.key(key) for key in plan.keys]
    condition = load_bounds(facts, plan)
    stamps = f"{facts.event.us} AS e, {facts.known_us} AS c"
    names = [f"k{i}" for i in range(len(keys))]
    key_columns = "".join(f"{sql} AS {name}, " for sql, name in zip(keys, names, strict=True))
    not_null = "".join(f" AND {sql} IS NOT NULL" for sql in keys)
    features = "".join(f", {facts.feature(column)} AS f{i}" for i, column in enumerate(plan.facts.payload))
    grouped = f"GROUP BY {', '.join(names)}" if names else "HAVING count(*) > 0"
    newest = (
        f"SELECT {key_columns}max({facts.event.us}) AS e FROM {facts.relation.sql} f "
        f"WHERE {condition}{not_null} {grouped}"
    )
    same_key = "".join(f"{sql} = n.{name} AND " for sql, name in zip(keys, names, strict=True))
    selected = "".join(f"n.{name}, " for name in names)
    sql = (
        f"SELECT {selected}{stamps}{features} FROM {facts.relation.sql} f "
        f"JOIN ({newest}) n ON {same_key}{facts.event.us} = n.e WHERE {condition}{_in_key_order(plan)}"
    )
    for batch in facts.stream(sql, batch_rows):
        yield _named(batch, plan, facts)


def every_fact(facts: Facts, plan: LoadPlan, *, part_rows: int = _PART_ROWS) -> Iterator[pa.Table]:
    """Every fact that a plan asks for, with the columns of ``newest_facts``; all facts of a key come together.

    The keys are divided by their hash, and each part is read by itself. That is faster than sorting while the parts are
    few; where they are many, the engine sorts by part, for which it may need room on disk.

    Yields:
        Tables of about ``part_rows`` facts, or of one part that has more.
    """
    import pyarrow as pa

    keys = [facts.key(key) for key in plan.keys]
    condition = load_bounds(facts, plan) + "".join(f" AND {key} IS NOT NULL" for key in keys)
    selected = [f"{key} AS k{i}" for i, key in enumerate(keys)]
    selected += [f"{facts.event.us} AS e", f"{facts.known_us} AS c"]
    selected += [f"{facts.feature(column)} AS f{i}" for i, column in enumerate(plan.facts.payload)]
    source = f"FROM {facts.relation.sql} f WHERE {condition}"
    with facts.reading():
        (counted,) = facts.connection.sql(f"SELECT count(*) {source}").fetchall()[0]
    parts = max(1, -(-counted // part_rows)) if keys else 1
    part = f"hash({', '.join(keys)}) % {parts}" if parts > 1 else "0"
    sql = f"SELECT {', '.join(selected)} {source}"
    if parts <= _MANY_PARTS:
        for number in range(parts):
            batches = [_named(batch, plan, facts) for batch in facts.stream(f"{sql} AND {part} = {number}", part_rows)]
            if batches:
                yield pa.Table.from_batches(batches)
        return
    sql = f"SELECT CAST({part} AS BIGINT) AS p, {', '.join(selected)} {source} ORDER BY p"
    yield from _part_by_part(facts.stream(sql, part_rows), plan, facts)


def _part_by_part(batches: Iterator[pa.RecordBatch], plan: LoadPlan, facts: Facts) -> Iterator[pa.Table]:
    """Batches that are sorted by part, as one table a part."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    number = None
    for batch in batches:
        parts = numpy_values(batch.column("p"))
        cuts = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), batch.num_rows]
        for start, stop in pairwise(cuts):
            if held and parts[start] != number:
                yield pa.Table.from_batches(held)
                held = []
            number = parts[start]
            held.append(_named(batch.slice(start, stop - start), plan, facts))
    if held:
        yield pa.Table.from_batches(held)


def _in_key_order(plan: LoadPlan) -> str:
    """Rows in the order of their encoded keys: a store that keeps its keys sorted then writes each page once."""
    parts = []
    for number, key in enumerate(plan.keys):
        fixed_width = key.dtype in (Int32, Int64, UnixTimestamp, Bool)
        content = f"n.k{number}" if key.dtype in (Bytes, Bool) else f"encode(n.k{number})"
        parts += [f"n.k{number}"] if fixed_width else [f"octet_length({content})", f"n.k{number}"]
    return f" ORDER BY {', '.join(parts)}" if parts else ""


def load_bounds(facts: Facts, plan: LoadPlan) -> str:
    """Which facts are loaded: the interval, and what came late (MAT-3)."""
    until = facts.event.bound("<=", plan.end_us)
    chosen = [facts.event.bound(">=", plan.start_us)]
    if plan.known_from_us is not None:
        chosen.append(facts.known_bound(">", plan.known_from_us))
    changed = [str(i) for i, file in enumerate(facts.relation.files) if file in plan.changed_parts]
    if changed and (facts.relation.part == ONE_PART or len(changed) == len(facts.relation.files)):
        chosen = ["true"]
    elif changed:
        chosen.append(f"{facts.relation.part} IN ({', '.join(changed)})")
    condition = f"{until} AND ({' OR '.join(chosen)})"
    if plan.known_until_us is not None:
        condition += f" AND {facts.known_bound('<=', plan.known_until_us)}"
    return condition


def _named(batch: pa.RecordBatch, plan: LoadPlan, facts: Facts) -> pa.RecordBatch:
    import pyarrow as pa

    columns = {key.entity_column: batch.column(f"k{i}") for i, key in enumerate(plan.keys)}
    for i, column in enumerate(plan.facts.payload):
        columns[column.name] = cast_feature(batch.column(f"f{i}"), column, facts)
    columns["__event_us"] = batch.column("e")
    columns["__known_us"] = batch.column("c")
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
