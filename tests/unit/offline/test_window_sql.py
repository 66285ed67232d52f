"""Windows as one query, by hand: what random cases do not have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import Aggregation, Entity, FeatureStore, FeatureView, Field, FileSource, ManualClock
from tiffin.config import RepoConfig
from tiffin.time import to_us
from tiffin.types import Float64, Int32, Int64, ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
UTC_US = pa.timestamp("us", "UTC")
HOUR = timedelta(hours=1)
CARD = Entity(name="card", join_keys=["card no"], value_type=ValueType.INT64)


def opened(folder: Path, columns: dict[str, Any], views: list[FeatureView]) -> FeatureStore:
    pq.write_table(pa.table(columns), folder / "facts.parquet")
    config = RepoConfig(project="tests", repo_path=folder)
    store = FeatureStore(config=config, clock=ManualClock(NOON_US))
    store.apply([CARD, *views])
    return store


def view(*aggregations: Aggregation, **arguments: Any) -> FeatureView:
    source = FileSource(path="facts.parquet", timestamp_field="ts")
    given = {"name": "v", "entities": [CARD], "source": source, "aggregations": list(aggregations), "online": False}
    return FeatureView(**given | arguments)


def both(store: FeatureStore, rows: pa.Table, features: list[str]) -> tuple[pa.Table, pa.Table]:
    """The training set, and what its query gives."""
    job = store.get_historical_features(rows, features)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("entity_df", rows)
        return job.to_arrow(), connection.sql(job.to_sql()).to_arrow_table()


def entity_rows(cards: list[int | None], minutes: list[int], **more: Any) -> pa.Table:
    times = pa.array([NOON_US + minute * 60_000_000 for minute in minutes], UTC_US)
    return pa.table({"card no": pa.array(cards, pa.int64()), "event_timestamp": times, **more})


FACTS: dict[str, Any] = {
    "card no": pa.array([1, 1, 1, 2], pa.int64()),
    "ts": pa.array([NOON_US, NOON_US + 1, NOON_US + 60_000_000, NOON_US], UTC_US),
    'the "x"': [1.0, 2.0, 3.0, -0.0],
    "n": pa.array([1, 2, 3, 2**62], pa.int64()),
    "tags": [["a"], ["b", None], [], None],
}


def test_odd_names_lists_defaults_types_and_a_plain_view_beside(tmp_path: Path) -> None:
    """ONL-1, ONL-5, TYP-2: columns of the entity rows may have the names that the query uses within."""
    windows = view(
        Aggregation('the "x"', "sum", HOUR, name="total"),
        Aggregation('the "x"', "min", HOUR, name="smallest"),
        Aggregation("n", "max", HOUR, name="größte", filter="n < 3"),
        Aggregation("tags", "last", name="tags"),
        Aggregation("tags", "last_n", n=2, name="two"),
        Aggregation("n", "approx_percentile", p=0.5, name="median"),
        Aggregation("n", "top_k", n=1, name="most"),
        schema=[Field(name="größte", dtype=Int32, default_value=-1), Field(name="total", dtype=Float64)],
    )
    plain = view(name="plain", aggregations=None, schema=[Field(name="n", dtype=Int64)])
    store = opened(tmp_path, FACTS, [windows, plain])
    names = ["rank", "value", "e", "k0", "f", "s", "place", "entry", "numbers", "spine"]
    rows = entity_rows([1, 2, 3, None, 1], [1, 1, 1, 1, -1], **dict.fromkeys(names, pa.array(range(5))))
    fast, slow = both(store, rows, ["plain:n", "v"])
    assert slow.to_pylist() == fast.to_pylist()
    assert slow.schema.types == fast.schema.types
    assert fast["größte"].to_pylist() == [2, -1, -1, -1, -1]
    assert slow.schema.field("tags").type == pa.list_(pa.string())


def test_equal_facts_count_once_and_a_fact_id_tells_them_apart(tmp_path: Path) -> None:
    twice = {"card no": [1, 1, 1], "ts": pa.array([NOON_US] * 3, UTC_US), "n": [5, 5, 5], "id": [1, 1, 2]}
    count = [Aggregation("n", "count", name="count")]
    store = opened(tmp_path, twice, [view(*count), view(*count, name="told", fact_id="id")])
    for name, expected in (("v", 1), ("told", 2)):
        fast, slow = both(store, entity_rows([1], [0]), [name])
        assert slow["count"].to_pylist() == fast["count"].to_pylist() == [expected]


def test_zeros_of_both_signs_are_two_facts_with_an_order(tmp_path: Path) -> None:
    zeros = {"card no": [1, 1], "ts": pa.array([NOON_US] * 2, UTC_US), "x": [0.0, -0.0]}
    functions = ("count", "min", "max", "count_distinct")
    store = opened(tmp_path, zeros, [view(*(Aggregation("x", name, name=name) for name in functions))])
    _, slow = both(store, entity_rows([1], [0]), ["v"])
    assert repr([slow[name][0].as_py() for name in functions]) == "[2, -0.0, 0.0, 1]"


def test_a_sum_beyond_64_bits_is_an_error_of_the_engine(tmp_path: Path) -> None:
    large = {"card no": [1, 1], "ts": pa.array([NOON_US] * 2, UTC_US), "n": [2**62, 2**62 + 1]}
    store = opened(tmp_path, large, [view(Aggregation("n", "sum", name="sum"), Aggregation("n", "mean", name="mean"))])
    sql = store.get_historical_features(entity_rows([1], [0]), ["v:sum"]).to_sql()
    with duckdb.connect() as connection:
        connection.register("entity_df", entity_rows([1], [0]))
        with pytest.raises(duckdb.ConversionException):
            connection.sql(sql).to_arrow_table()


def test_no_entity_rows_give_typed_columns(tmp_path: Path) -> None:
    """PIT-10"""
    store = opened(tmp_path, FACTS, [view(Aggregation("n", "sum", HOUR, name="s"), Aggregation("n", "count", HOUR))])
    fast, slow = both(store, entity_rows([], []), ["v"])
    assert slow.num_rows == 0
    assert slow.schema.types == fast.schema.types
