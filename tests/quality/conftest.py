"""A repository with the temperatures of two machines, opened, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tiffin import Entity, FeatureStore, FeatureView, Field, FileSource, ManualClock, PushSource, RepoConfig
from tiffin.types import Float64, Int64, String

NOW = datetime(2024, 3, 1, tzinfo=UTC)
ROWS = 2_000

machine = Entity(name="machine", join_keys=["machine_id"])
readings = FileSource(name="readings", path="readings.parquet", timestamp_field="ts")
pushed = PushSource(name="pushed", batch_source=readings)
SCHEMA = {"heat": Float64, "state": String, "errors": Int64}


def view_of(expectations: Any = (), **of_fields: Any) -> FeatureView:
    """The view of the readings; ``heat=[...]`` are the expectations of that field."""
    schema = [Field(name=name, dtype=dtype, expectations=of_fields.get(name, ())) for name, dtype in SCHEMA.items()]
    return FeatureView(
        name="machines",
        entities=[machine],
        source=pushed,
        schema=schema,
        ttl=timedelta(days=365),
        expectations=expectations,
    )


def readings_table(rows: int = ROWS, first: datetime = datetime(2024, 1, 1, tzinfo=UTC)) -> pa.Table:
    """``rows`` readings, one a minute, each of a machine of its own; a tenth of the states is null."""
    random = np.random.default_rng(7)
    states = [None if number % 10 == 0 else ("on", "off")[number % 2] for number in range(rows)]
    times = [first + timedelta(minutes=number) for number in range(rows)]
    return pa.table(
        {
            "machine_id": pa.array(range(rows), pa.int64()),
            "ts": pa.array(times, pa.timestamp("us", "UTC")),
            "heat": random.normal(20, 2, rows),
            "state": pa.array(states, pa.string()),
            "errors": pa.array((np.arange(rows) % 7).tolist(), pa.int64()),
        }
    )


def hotter(rows: int = ROWS) -> pa.Table:
    """The readings of a month later: hotter, fewer of them with a state."""
    table = readings_table(rows)
    states = [None if number % 2 else "on" for number in range(rows)]
    moved = {
        "ts": pc.add(table["ts"], pa.scalar(timedelta(days=31))),
        "heat": pc.add(table["heat"], 3.0),
        "state": pa.array(states, pa.string()),
    }
    for name, column in moved.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., FeatureStore]]:
    """Opens the repository with the readings of a table and applies a view."""
    stores = []

    def open_(view: FeatureView | None = None, table: pa.Table | None = None, **quality: Any) -> FeatureStore:
        pq.write_table(readings_table() if table is None else table, tmp_path / "readings.parquet")
        config = RepoConfig(
            project="plant", repo_path=tmp_path, online_store={"type": "sqlite", "path": "online.db"}, quality=quality
        )
        store = FeatureStore(config=config, clock=ManualClock(NOW))
        stores.append(store)
        store.apply([view or view_of()])
        return store

    yield open_
    for store in stores:
        store.close()
