"""The newest facts per key, for loading an online store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tiffin.backends.duckdb.asof import Facts, cast_feature
from tiffin.backends.duckdb.relation import ONE_PART
from tiffin.planning.materialization import LoadPlan
from tiffin.types import Bool, Bytes, Int32, Int64, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows per batch: with some tens of features about 100 MB in all forms that a row takes on its way.
_BATCH_ROWS = 100_000
#: Of facts that are kept together by key, more: the fewer batches have facts of one key, the less is read back.
_MANY_ROWS = 1_000_000


def newest_facts(facts: Facts, plan: LoadPlan, *, batch_rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The newest facts of each key that a plan asks for.

    A narrow pass finds the greatest event time per key inside the engine, which spills when there are many keys; the
    second pass fetches the facts with that key and time. Facts that tie in event time all come, with their known
    times: the store's order decides between them, as it does between batches.

    Yields:
        Batches with the join keys, the features, ``__event_us`` and ``__known_us``.
    """
    keys = [facts.key(key) for key in plan.keys]
    condition = _condition(facts, plan)
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


def every_fact(facts: Facts, plan: LoadPlan, *, batch_rows: int = _MANY_ROWS) -> Iterator[pa.RecordBatch]:
    """Every fact that a plan asks for, in any order, with the columns of ``newest_facts``."""
    selected = [f"{facts.key(key)} AS k{i}" for i, key in enumerate(plan.keys)]
    selected += [f"{facts.event.us} AS e", f"{facts.known_us} AS c"]
    selected += [f"{facts.feature(column)} AS f{i}" for i, column in enumerate(plan.facts.payload)]
    not_null = "".join(f" AND {facts.key(key)} IS NOT NULL" for key in plan.keys)
    sql = f"SELECT {', '.join(selected)} FROM {facts.relation.sql} f WHERE {_condition(facts, plan)}{not_null}"
    for batch in facts.stream(sql, batch_rows):
        yield _named(batch, plan, facts)


def _in_key_order(plan: LoadPlan) -> str:
    """Rows in the order of their encoded keys: a store that keeps its keys sorted then writes each page once."""
    parts = []
    for number, key in enumerate(plan.keys):
        fixed_width = key.dtype in (Int32, Int64, UnixTimestamp, Bool)
        content = f"n.k{number}" if key.dtype in (Bytes, Bool) else f"encode(n.k{number})"
        parts += [f"n.k{number}"] if fixed_width else [f"octet_length({content})", f"n.k{number}"]
    return f" ORDER BY {', '.join(parts)}" if parts else ""


def _condition(facts: Facts, plan: LoadPlan) -> str:
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
