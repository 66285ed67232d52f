"""Sums and counts over windows for training sets: tiffin, and DuckDB's window frames written by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import data_path, work_folder
from benchmarks.sides.store import open_store, write_repository
from benchmarks.work import Work

_DAY_US = 86_400_000_000
#: How a function over a column is written in DuckDB's SQL, where it has another name there.
_SQL = {
    "mean": "avg({})",
    "count_distinct": "count(DISTINCT {})",
    "first": "first_value({} IGNORE NULLS)",
    "last": "last_value({} IGNORE NULLS)",
}


class RangeFrames(Work):
    """The union of entity rows and facts with `RANGE BETWEEN` frames, one query; `exact` sums without rounding.

    A frame is closed at both ends and a window open at its old one, so the frame is a microsecond shorter. Facts at the
    time of an entity row are its peers, whatever the order.
    """

    def __init__(
        self, spine: str, facts: str, days: list[int], *, functions: list[str], column: str, threads: int | None = None
    ) -> None:
        import duckdb

        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        if threads:
            self._connection.execute(f"SET threads = {threads}")
        names = [f"{function}_{count}" for count in days for function in functions]
        aggregates = ", ".join(
            f"{_SQL.get(function, function + '({})').format(column)} OVER (PARTITION BY key ORDER BY t"
            f" RANGE BETWEEN {count * _DAY_US - 1} PRECEDING AND CURRENT ROW) AS {function}_{count}"
            for count in days
            for function in functions
        )
        self._query = f"""
            SELECT key, event_timestamp, row_id, label, {", ".join(names)} FROM (
                SELECT *, {aggregates} FROM (
                    SELECT key, epoch_us(event_timestamp) AS t, {column},
                           NULL AS event_timestamp, NULL AS row_id, NULL AS label FROM '{data_path(facts)}'
                    UNION ALL
                    SELECT key, epoch_us(event_timestamp), NULL, event_timestamp, row_id, label
                    FROM '{data_path(spine)}'))
            WHERE row_id IS NOT NULL"""

    def run(self, index: int) -> pa.Table:
        """One query."""
        return self._connection.sql(self._query).to_arrow_table()

    def answer(self, last: pa.Table) -> pa.Table:
        """The training set, with sums to nine digits: DuckDB's depend on the order of its threads in the last ones."""
        return rounded(last)


class Windows(Work):
    """The same by `get_historical_features` over a view with aggregations."""

    def __init__(self, spine: str, facts: str, days: list[int], *, functions: list[str], column: str) -> None:
        import tiffin

        folder = work_folder()
        write_repository(folder, "tiffin", None, "event")
        self._store = open_store("tiffin", folder)
        source = tiffin.FileSource(name="facts", path=str(data_path(facts)), timestamp_field="event_timestamp")
        view = tiffin.FeatureView(
            name="w",
            entities=[tiffin.Entity(name="key", join_keys=["key"], value_type=tiffin.ValueType.INT64)],
            source=source,
            online=False,
            aggregations=[
                tiffin.Aggregation(column, function, timedelta(days=count), name=f"{function}_{count}")
                for count in days
                for function in functions
            ],
        )
        self._store.apply([*view.entity_list, view])
        self._spine = data_path(spine)

    def run(self, index: int) -> pa.Table:
        """Reads the entity rows and retrieves."""
        return self._store.get_historical_features(pq.read_table(self._spine), ["w"]).to_arrow()

    def answer(self, last: pa.Table) -> pa.Table:
        """The training set, with sums to nine digits."""
        return rounded(last)


def rounded(table: pa.Table) -> pa.Table:
    """Floats of the features as whole billionths of what is typical for them."""
    import pyarrow.compute as pc

    columns: dict[str, Any] = dict(zip(table.column_names, table.columns, strict=True))
    for name, column in columns.items():
        if pa.types.is_floating(column.type) and name != "label":
            columns[name] = pc.round(column, 8)
    return pa.table(columns)


def range_frames(**arguments: Any) -> Work:
    """A connection with its query."""
    return RangeFrames(**arguments)


def windows(**arguments: Any) -> Work:
    """An applied repository with a view of aggregations."""
    return Windows(**arguments)
