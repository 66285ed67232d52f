"""What the tests of freshness and of the monitor share: a small project around noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tiffin.config import RepoConfig
from tiffin.definitions import Entity, FeatureView, Field, FileSource, PushSource
from tiffin.store import FeatureStore
from tiffin.time import ManualClock
from tiffin.types import Int64, ValueType

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DRIVER = Entity(name="driver", value_type=ValueType.INT64)


def write_source(folder: Path, minutes_ago: list[float], name: str = "stats", **options: Any) -> None:
    times = [NOON - ago * MINUTE for ago in minutes_ago]
    columns = {"driver": pa.array(range(len(times)), pa.int64()), "ts": pa.array(times, pa.timestamp("us", "UTC"))}
    pq.write_table(
        pa.table({**columns, "x": pa.array(range(len(times)), pa.int64())}), folder / f"{name}.parquet", **options
    )


def source(name: str = "stats") -> FileSource:
    return FileSource(name=name, path=f"{name}.parquet", timestamp_field="ts")


def view(name: str = "stats", **arguments: Any) -> FeatureView:
    defaults = {"source": source(), "entities": [DRIVER], "schema": [Field(name="x", dtype=Int64)]}
    return FeatureView(name=name, **{**defaults, **arguments})


PUSHED = view(source=PushSource(name="push", batch_source=source()))


def open_store(folder: Path, *views: FeatureView, **settings: Any) -> FeatureStore:
    config = RepoConfig(project="shop", repo_path=folder, registry="registry.db", **settings)
    store = FeatureStore(config=config, clock=ManualClock(NOON))
    store.apply([DRIVER, *views])
    return store
