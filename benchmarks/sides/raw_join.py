"""The raw limit of a point-in-time join: DuckDB and Polars, written by hand for these very files.

All of it knows more than a feature store may: the columns are named in the code, nothing is checked, nothing is
counted, and the rows may come back in any order. `pruned` drops the facts of keys that the entity rows do not have
and those after the last entity row before it joins; `one_at_a_time` joins view after view instead of all in one
query.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmarks.data import data_path, feature_names, work_folder
from benchmarks.work import Work

if TYPE_CHECKING:
    import polars as pl


class DuckdbAsof(Work):
    """`ASOF LEFT JOIN`, with a tie-break on the created time where `created`, and an age limit where `ttl_days`."""

    def __init__(
        self,
        spine: str,
        facts: list[str],
        *,
        pruned: bool = False,
        one_at_a_time: bool = False,
        created: bool = False,
        ttl_days: int | None = None,
        memory_limit: str | None = None,
    ) -> None:
        import duckdb

        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        if memory_limit:
            self._connection.execute(f"SET memory_limit = '{memory_limit}'")
            self._connection.execute(f"SET temp_directory = '{work_folder()}'")
            self._connection.execute("SET preserve_insertion_order = false")
        self._spine = f"'{data_path(spine)}'"
        self._facts = [f"'{data_path(name)}'" for name in facts]
        self._pruned, self._one_at_a_time = pruned, one_at_a_time
        self._created, self._ttl_days = created, ttl_days

    def run(self, index: int) -> pa.Table:
        """Joins every view and returns an Arrow table."""
        views = range(len(self._facts))
        if not self._one_at_a_time:
            return self._connection.sql(self._query(self._spine, views)).to_arrow_table()
        joined = self._connection.sql(f"SELECT * FROM {self._spine}").to_arrow_table()
        for view in views:
            self._connection.register("joined", joined)
            joined = self._connection.sql(self._query("joined", [view])).to_arrow_table()
        return joined

    def answer(self, last: pa.Table) -> pa.Table:
        """The joined table."""
        return last

    def _query(self, spine: str, views: range | list[int]) -> str:
        selected = ", ".join(["s.*", *(self._feature(view, name) for view in views for name in feature_names(view))])
        joins = " ".join(f"ASOF LEFT JOIN {self._source(view)} v{view} ON {self._condition(view)}" for view in views)
        return f"SELECT {selected} FROM {spine} s {joins}"

    def _source(self, view: int) -> str:
        if not self._pruned:
            return self._facts[view]
        columns = ", ".join(["key", "event_timestamp", *(["created"] if self._created else []), *feature_names(view)])
        return (
            f"(SELECT {columns} FROM {self._facts[view]} WHERE key IN (SELECT key FROM {self._spine})"
            f" AND event_timestamp <= (SELECT max(event_timestamp) FROM {self._spine}))"
        )

    def _condition(self, view: int) -> str:
        if not self._created:
            return f"s.key = v{view}.key AND s.event_timestamp >= v{view}.event_timestamp"
        latest = "ROW(s.event_timestamp, 'infinity'::TIMESTAMPTZ)"
        return f"s.key = v{view}.key AND {latest} >= ROW(v{view}.event_timestamp, v{view}.created)"

    def _feature(self, view: int, name: str) -> str:
        if self._ttl_days is None:
            return f"v{view}.{name}"
        is_alive = f"v{view}.event_timestamp >= s.event_timestamp - INTERVAL {self._ttl_days} DAY"
        return f"CASE WHEN {is_alive} THEN v{view}.{name} END AS {name}"


class DuckdbKnown(Work):
    """The newest fact that was known at the entity time: an inequality on two times, which ASOF cannot express."""

    def __init__(self, spine: str, facts: list[str], *, ttl_days: int) -> None:
        import duckdb

        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        (source,) = (data_path(name) for name in facts)
        features = ", ".join(feature_names(0))
        self._query = f"""
            WITH spine AS (SELECT * FROM '{data_path(spine)}'),
            facts AS (SELECT key, event_timestamp, created, file_row_number AS position
                      FROM read_parquet('{source}', file_row_number = true)),
            newest AS (
                SELECT s.row_id, arg_max(f.position, ROW(f.event_timestamp, f.created)) AS position
                FROM spine s JOIN facts f ON s.key = f.key AND f.event_timestamp <= s.event_timestamp
                    AND f.created <= s.event_timestamp
                    AND f.event_timestamp >= s.event_timestamp - INTERVAL {ttl_days} DAY
                GROUP BY s.row_id)
            SELECT s.*, {features} FROM spine s LEFT JOIN newest USING (row_id)
            LEFT JOIN (SELECT file_row_number AS position, {features}
                       FROM read_parquet('{source}', file_row_number = true)) USING (position)"""

    def run(self, index: int) -> pa.Table:
        """Joins the view and returns an Arrow table."""
        return self._connection.sql(self._query).to_arrow_table()

    def answer(self, last: pa.Table) -> pa.Table:
        """The joined table."""
        return last


class PolarsAsof(Work):
    """`join_asof` over scanned files, sorted by time as it demands."""

    def __init__(
        self,
        spine: str,
        facts: list[str],
        *,
        pruned: bool = False,
        one_at_a_time: bool = False,
        created: bool = False,
        ttl_days: int | None = None,
    ) -> None:
        import polars  # noqa: F401  # importing it is set-up, as it is for every side

        self._spine, self._facts = data_path(spine), [data_path(name) for name in facts]
        self._pruned, self._one_at_a_time, self._created = pruned, one_at_a_time, created
        self._tolerance = timedelta(days=ttl_days) if ttl_days is not None else None

    def run(self, index: int) -> pa.Table:
        """Joins every view and returns an Arrow table."""
        import polars as pl

        joined = pl.scan_parquet(self._spine).sort("event_timestamp")
        for view in range(len(self._facts)):
            joined = joined.join_asof(
                self._scan(view), on="event_timestamp", by="key", tolerance=self._tolerance, check_sortedness=False
            )
            if self._created:
                joined = joined.drop("created")
            if self._one_at_a_time:
                joined = joined.collect().lazy()
        return joined.collect().to_arrow()

    def answer(self, last: pa.Table) -> pa.Table:
        """The joined table."""
        return last

    def _scan(self, view: int) -> pl.LazyFrame:
        import polars as pl

        times = ["event_timestamp", *(["created"] if self._created else [])]
        facts = pl.scan_parquet(self._facts[view]).select(["key", *times, *feature_names(view)])
        if self._pruned:
            spine = pl.scan_parquet(self._spine).select("key", "event_timestamp").collect()
            facts = facts.filter(pl.col("event_timestamp") <= spine["event_timestamp"].max())
            facts = facts.join(spine.lazy().select("key").unique(), on="key", how="semi")
        return facts.sort(times)


def duckdb_asof(**arguments: Any) -> Work:
    """DuckDB, ready to run."""
    return DuckdbAsof(**arguments)


def duckdb_known(**arguments: Any) -> Work:
    """DuckDB, for facts that have to be known as well."""
    return DuckdbKnown(**arguments)


def polars_asof(**arguments: Any) -> Work:
    """Polars, ready to run."""
    return PolarsAsof(**arguments)
