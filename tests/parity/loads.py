"""A source large enough to be loaded in many batches, and the means to load it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tiffin.backends.duckdb import load
from tiffin.contracts.online import OnlineStore
from tiffin.definitions import Entity, FeatureView, Field, FileSource
from tiffin.time import to_us
from tiffin.types import Float64, Int64, String, ValueType

NOW_US = to_us("2024-06-01T12:00:00Z")
#: The end of loads: now, so that nothing is cut off.
END_US = NOW_US
HOUR_US = 3_600_000_000
KEYS = 9_000
TABLE = "tests.big.1"


def big_view() -> FeatureView:
    """A view of `KEYS` drivers, with created times."""
    return FeatureView(
        name="big",
        source=FileSource(path="big.parquet", timestamp_field="ts", created_timestamp_column="created"),
        entities=[Entity(name="driver", value_type=ValueType.INT64)],
        schema=[Field(name="x", dtype=Int64), Field(name="y", dtype=Float64), Field(name="word", dtype=String)],
    )


def write_big(folder: Path, seed: int = 7) -> None:
    """Three facts per key, on few moments, so that facts tie in event time, in both times, and altogether."""
    rng = np.random.default_rng(seed)
    count = 3 * KEYS
    event = NOW_US - rng.integers(0, 5, count) * HOUR_US
    table = pa.table(
        {
            "driver": pa.array(rng.permutation(np.repeat(np.arange(KEYS), 3)), pa.int64()),
            "ts": pa.array(event, pa.timestamp("us", "UTC")),
            "created": pa.array(event + rng.integers(0, 2, count) * HOUR_US, pa.timestamp("us", "UTC")),
            "x": pa.array(rng.integers(0, 3, count), pa.int64(), mask=rng.random(count) < 0.1),
            "y": pa.array(rng.random(count)),
            "word": pa.array(rng.choice(["", "b", "bé"], count), pa.string()),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "big.parquet")


def small_batches(rows: int = 2_048) -> None:
    """Make loads go in small batches, in this process, from here on."""
    assert load.newest_facts.__kwdefaults__ is not None
    load.newest_facts.__kwdefaults__["batch_rows"] = rows


def content(store: OnlineStore, table: str = TABLE) -> dict[bytes, bytes]:
    """Every row of a table, to the byte."""
    return dict(store.scan_all(table))
