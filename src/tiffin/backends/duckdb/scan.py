"""Facts as they are, streamed: those of some keys, with the columns that windows are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tiffin.backends.duckdb.asof import Facts, cast_feature
from tiffin.columns import single_chunk
from tiffin.planning.retrieval import ScanPlan
from tiffin.sql.conditions import condition_sql
from tiffin.types import UnixTimestamp
from tiffin.windows.conditions import Condition, Kind, values_of

if TYPE_CHECKING:
    import pyarrow as pa

#: What a condition takes a column for, as DuckDB calls it.
_SQL_TYPES: dict[Kind, str] = {"int": "BIGINT", "float": "DOUBLE", "text": "VARCHAR", "bool": "BOOLEAN"}


def scan_facts(facts: Facts, plan: ScanPlan, wanted: pa.Table) -> Iterator[pa.RecordBatch]:
    """The facts of some keys, in batches and in no order.

    Args:
        facts: the facts.
        plan: what is read.
        wanted: the keys as ``k0``, ``k1``, ... with their ``code``.

    Yields:
        Batches with ``__code``, ``__event_us``, ``__known_us`` where facts have a known time, the columns of the
        payload in their types, and a truth value for each condition: ``__if0``, ``__if1``, ...
    """
    import pyarrow as pa

    facts.connection.register("tiffin_scanned", wanted)
    selected = ["k.code AS __code", f"{facts.event.us} AS __event_us"]
    if facts.known is not None:
        selected.append(f"{facts.known_us} AS __known_us")
    selected += [f"{facts.feature(column)} AS f{number}" for number, column in enumerate(plan.facts.payload)]
    selected += [f"{_condition(facts, plan, each)} AS __if{number}" for number, each in enumerate(plan.conditions)]
    sql = (
        f"SELECT {', '.join(selected)} FROM {facts.relation.sql} f "
        f"JOIN tiffin_scanned k ON {facts.key_match(plan.keys, 'k')} WHERE {scan_bounds(facts, plan)}"
    )
    for batch in facts.stream(sql):
        columns = {name: batch.column(name) for name in batch.schema.names if name.startswith("__")}
        for number, column in enumerate(plan.facts.payload):
            columns[column.name] = single_chunk(cast_feature(batch.column(f"f{number}"), column, facts))
        yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def scan_bounds(facts: Facts, plan: ScanPlan) -> str:
    """Which facts are wanted, whatever their key."""
    bounds = [facts.event.bound("<=", plan.last_us)]
    if plan.first_us is not None:
        bounds.append(facts.event.bound(">=", plan.first_us))
    if plan.known_until_us is not None and facts.known is not None:
        bounds.append(facts.known_bound("<=", plan.known_until_us))
    return " AND ".join(bounds)


def _condition(facts: Facts, plan: ScanPlan, condition: Condition) -> str:
    columns = {column.name: column for column in plan.facts.payload}
    names = {}
    for value in values_of(condition):
        column = columns[value.name]
        if column.dtype is UnixTimestamp:
            why = f"read by a filter of view {facts.columns.view}"
            names[value.name] = facts.relation.time(column.source_column, why=why).us
        else:
            names[value.name] = f"CAST({facts.feature(column)} AS {_SQL_TYPES[value.kind]})"
    return f"coalesce({condition_sql(condition, names)}, false)"
