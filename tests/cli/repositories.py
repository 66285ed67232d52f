"""What the tests of the command line share: an answer, and a small repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Answer:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> dict[str, str]:
        return json.loads(self.err)


Tiffin = Callable[..., Answer]


NOW = datetime.now(UTC).replace(microsecond=0)

DEFINITIONS = """
from datetime import timedelta
from tiffin import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from tiffin.types import Float64, Int64, String

shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING, tags={"team": "retail"})
sales_source = FileSource(
    name="sales_source", path="sales.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"
)
sales = FeatureView(
    name="sales",
    entities=[shop],
    ttl=timedelta(days=1),
    schema=[Field(name="revenue", dtype=Float64), Field(name="orders", dtype=Int64, description="per day")],
    source=sales_source,
    tags={"team": "retail", "tier": "1"},
)
model = FeatureService(name="model", features=[sales])
"""


def write_sales(path: Path) -> None:
    facts = [
        ("007", timedelta(hours=1), 10.5, 3),
        ("007", timedelta(hours=5), 9.5, 2),
        ("b", timedelta(days=3), 1.25, 1),
        ("c", timedelta(hours=2), None, None),
    ]
    times = [NOW - age for _, age, _, _ in facts]
    columns = {
        "shop_id": [fact[0] for fact in facts],
        "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "created": pa.array([time + timedelta(minutes=5) for time in times], pa.timestamp("us", "UTC")),
        "revenue": pa.array([fact[2] for fact in facts], pa.float64()),
        "orders": pa.array([fact[3] for fact in facts], pa.int64()),
    }
    pq.write_table(pa.table(columns), path)


def edit(repository: Path, old: str, new: str) -> None:
    """Change the definitions of the small repository."""
    text = (repository / "definitions.py").read_text()
    assert old in text
    (repository / "definitions.py").write_text(text.replace(old, new))
