"""A small project in a folder: trips of two drivers in a file, and on-demand views over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tiffin import Entity, FeatureStore, FeatureView, Field, FileSource, ManualClock, OnDemandFeatureView, RequestSource
from tiffin.config import RepoConfig
from tiffin.time import to_us
from tiffin.types import Float64, Int64, String, ValueType

NOON = "2024-06-01T12:00:00Z"
NOON_US = to_us(NOON)
HOUR_US = 3_600_000_000
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
SOURCE = FileSource(path="stats.parquet", timestamp_field="ts")
STATS = FeatureView(
    name="stats",
    entities=[DRIVER],
    source=SOURCE,
    schema=[Field(name="trips", dtype=Int64), Field(name="rating", dtype=Float64), Field(name="city", dtype=String)],
)
REQUEST = RequestSource(name="order", schema=[Field(name="amount", dtype=Int64)])


def on_demand(udf: Any, mode: str = "python", **arguments: Any) -> OnDemandFeatureView:
    """A view called ``made`` with one integer feature ``out``, unless told otherwise."""
    given = {"name": "made", "sources": [STATS, REQUEST], "schema": [Field(name="out", dtype=Int64)], **arguments}
    return OnDemandFeatureView(udf=udf, mode=mode, **given)


def opened(folder: Path, *objects: Any) -> FeatureStore:
    """The project, applied and materialized; the clock stands at noon, an hour after the facts."""
    table = pa.table(
        {
            "driver_id": [1, 2],
            "ts": pa.array([NOON_US - HOUR_US] * 2, pa.timestamp("us", "UTC")),
            "trips": pa.array([3, None], pa.int64()),
            "rating": pa.array([4.5, 2.0]),
            "city": ["Oslo", "Bergen"],
        }
    )
    pq.write_table(table, folder / "stats.parquet")
    store = FeatureStore(config=RepoConfig(project="tests", repo_path=folder), clock=ManualClock(NOON))
    store.apply([STATS, *objects])
    store.materialize(NOON_US - 24 * HOUR_US, NOON_US)
    return store


def rows(amount: int = 10, drivers: tuple[int | None, ...] = (1, 2, 3)) -> list[dict[str, Any]]:
    """Entity rows of an online request."""
    return [{"driver_id": driver, "amount": amount * (number + 1)} for number, driver in enumerate(drivers)]


def frame(amount: int = 10, drivers: tuple[int | None, ...] = (1, 2, 3)) -> pa.Table:
    """The same rows for a training set, at noon."""
    given = rows(amount, drivers)
    return pa.table(
        {
            "driver_id": pa.array([row["driver_id"] for row in given], pa.int64()),
            "amount": pa.array([row["amount"] for row in given], pa.int64()),
            "event_timestamp": pa.array([NOON_US] * len(given), pa.timestamp("us", "UTC")),
        }
    )


def both(store: FeatureStore, features: list[str], **options: Any) -> list[list[Any]]:
    """The feature columns of a training set and of an online answer, which must be the same; one list a feature."""
    offline = store.get_historical_features(frame(), features, **options).to_arrow()
    answer = store.get_online_features(features, rows(), **options)
    names = offline.column_names[3:]
    found = [offline[name].to_pylist() for name in names]
    assert [answer.to_dict()[name] for name in names] == found
    assert [answer.to_arrow()[name].to_pylist() for name in names] == found
    assert [answer.to_arrow().schema.field(name).type for name in names] == [
        offline.schema.field(n).type for n in names
    ]
    one_by_one = [store.get_online_features(features, [row], **options).to_dict() for row in rows()]
    assert [[each[name][0] for each in one_by_one] for name in names] == found
    return found
