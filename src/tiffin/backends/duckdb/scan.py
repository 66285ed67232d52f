"""Facts as they are, streamed: those of some keys, with the columns that windows are computed from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.backends.duckdb.asof import Facts, cast_feature
from tiffin.columns import arrow_column, numpy_values, single_chunk
from tiffin.planning.retrieval import KeyColumn, ScanPlan
from tiffin.sql.conditions import condition_sql
from tiffin.types import Int32, Int64, UnixTimestamp
from tiffin.windows.conditions import Condition, Kind, values_of

if TYPE_CHECKING:
    import pyarrow as pa

#: Facts per batch: few enough that whoever sorts them does it in the processor's cache.
_BATCH_ROWS = 1 << 17
#: Wanted keys are dense when at least one in so many whole numbers is one: few facts are read in vain then.
_LEAST_DENSE = 2

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

    dense = DenseKeys.of(plan.keys, wanted)
    bounds = [scan_bounds(facts, plan)]
    if dense is None:
        facts.connection.register("tiffin_scanned", wanted)
        code, joined = "k.code", f"JOIN tiffin_scanned k ON {facts.key_match(plan.keys, 'k')}"
    else:
        code, joined = facts.key(plan.keys[0]), ""
        bounds.append(f"{code} BETWEEN {dense.first} AND {dense.last}")
    selected = [f"{code} AS __code", f"{facts.event.us} AS __event_us"]
    if facts.known is not None:
        selected.append(f"{facts.known_us} AS __known_us")
    selected += [f"{facts.feature(column)} AS f{number}" for number, column in enumerate(plan.facts.payload)]
    selected += [f"{fact_condition(facts, each)} AS __if{number}" for number, each in enumerate(plan.conditions)]
    sql = f"SELECT {', '.join(selected)} FROM {facts.relation.sql} f {joined} WHERE {' AND '.join(bounds)}"
    for batch in facts.stream(sql, _BATCH_ROWS):
        batch = batch if dense is None else dense.numbered(batch)
        columns = {name: batch.column(name) for name in batch.schema.names if name.startswith("__")}
        for number, column in enumerate(plan.facts.payload):
            columns[column.name] = single_chunk(cast_feature(batch.column(f"f{number}"), column, facts))
        yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


@dataclass(frozen=True)
class DenseKeys:
    """Wanted keys that are nearly all of the whole numbers between two: a table is faster than joining them.

    Attributes:
        first, last: the least and the greatest.
        codes: (last - first + 1,) the number of each key; negative for one that is not wanted.
    """

    first: int
    last: int
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, keys: Sequence[KeyColumn], wanted: pa.Table) -> DenseKeys | None:
        """``None`` where they are of another kind, or lie too far apart."""
        import pyarrow as pa

        if len(keys) != 1 or keys[0].dtype not in (Int32, Int64) or not wanted.num_rows:
            return None
        values = numpy_values(wanted["k0"].cast(pa.int64()))
        first, last = int(values.min()), int(values.max())
        if last - first >= _LEAST_DENSE * len(values):
            return None
        codes = np.full(last - first + 1, -1, np.int64)
        codes[values - first] = numpy_values(wanted["code"])
        return cls(first, last, codes)

    def numbered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Facts with the numbers of their keys in the place of the keys; without those that are not wanted."""
        import pyarrow as pa

        codes = self.codes[numpy_values(batch.column("__code")) - self.first]
        batch = batch.set_column(0, "__code", arrow_column(codes))
        found = codes >= 0
        return batch if found.all() else batch.filter(pa.array(found))


def scan_bounds(facts: Facts, plan: ScanPlan) -> str:
    """Which facts are wanted, whatever their key."""
    bounds = [facts.event.bound("<=", plan.last_us)]
    if plan.first_us is not None:
        bounds.append(facts.event.bound(">=", plan.first_us))
    if plan.known_until_us is not None and facts.known is not None:
        bounds.append(facts.known_bound("<=", plan.known_until_us))
    return " AND ".join(bounds)


def fact_condition(facts: Facts, condition: Condition) -> str:
    """A condition on a fact as SQL; false where it is unknown."""
    columns = {column.name: column for column in facts.columns.payload}
    names = {}
    for value in values_of(condition):
        column = columns[value.name]
        if column.dtype is UnixTimestamp:
            why = f"read by a filter of view {facts.columns.view}"
            names[value.name] = facts.relation.time(column.source_column, why=why).us
        else:
            names[value.name] = f"CAST({facts.feature(column)} AS {_SQL_TYPES[value.kind]})"
    return f"coalesce({condition_sql(condition, names)}, false)"
