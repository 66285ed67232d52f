"""A small world that is served and logged: drivers, a history that a test writes, and a clock that it moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tiffin import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileLoggingDestination,
    FileSource,
    LoggingConfig,
    ManualClock,
    OnDemandFeatureView,
    PushSource,
    RepoConfig,
    RequestSource,
)
from tiffin.definitions import Definition
from tiffin.types import Array, Float64, Int64, String

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"])
FIELDS: Mapping[str, Any] = {
    "rate": Float64,
    "score": Float64,
    "trips": Int64,
    "place": String,
    "vector": Array(Float64),
}
KINDS = pa.schema(
    [
        ("driver_id", pa.int64()),
        ("rate", pa.float64()),
        ("score", pa.float64()),
        ("trips", pa.int64()),
        ("place", pa.string()),
        ("vector", pa.list_(pa.float64())),
        ("ts", pa.timestamp("us", "UTC")),
        ("created", pa.timestamp("us", "UTC")),
    ]
)
RIDES = FileSource(name="rides", path="rides.parquet", timestamp_field="ts", created_timestamp_column="created")
PUSHED = PushSource(name="pushed", batch_source=RIDES)
BOOST = 1.0


def stats(**arguments: Any) -> FeatureView:
    schema = [Field(name=name, dtype=dtype) for name, dtype in FIELDS.items()]
    return FeatureView(name="stats", entities=[DRIVER], schema=schema, source=PUSHED, **{"ttl": DAY, **arguments})


def windows() -> FeatureView:
    return FeatureView(
        name="recent",
        entities=[DRIVER],
        source=PUSHED,
        aggregations=[
            Aggregation(column="trips", function="sum", time_window=HOUR, name="trips_1h"),
            Aggregation(column="*", function="count", time_window=DAY, name="facts_1d"),
        ],
    )


def times_extra(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["rate"], inputs["extra"], strict=True)
    return {"product": [None if rate is None else rate * extra for rate, extra in pairs]}


def plus_extra(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["rate"], inputs["extra"], strict=True)
    return {"product": [None if rate is None else rate + extra for rate, extra in pairs]}


def boosted(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"product": [None if rate is None else boost() * rate for rate in inputs["rate"]]}


def boost() -> float:
    return BOOST


def product(function: Any = times_extra, view: FeatureView | None = None) -> OnDemandFeatureView:
    request = RequestSource(name="asked", schema=[Field(name="extra", dtype=Float64)])
    return OnDemandFeatureView(
        name="computed",
        sources=[view or stats(), request],
        schema=[Field(name="product", dtype=Float64)],
        udf=function,
        mode="python",
    )


def model(*features: Any, **logging: Any) -> FeatureService:
    config = LoggingConfig(FileLoggingDestination(path="served"), **logging)
    return FeatureService(name="model", features=list(features or (stats(),)), logging_config=config)


def fact(driver: int, at: datetime, created: datetime | None = None, **values: Any) -> dict[str, Any]:
    row = {"rate": driver + 0.123456789012, "score": driver + 0.5, "trips": driver * 10, "place": f"p{driver}"}
    row["vector"] = [driver + 1 / 3, 0.1, 0.2]
    return {"driver_id": driver, **row, "ts": at, "created": created or at, **values}


def table(facts: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(each) for each in facts], KINDS)


class World:
    """A repository with a history; what is served is logged at once."""

    def __init__(self, folder: Path, *definitions: Definition, mode: str = "known", cache_seconds: int = 600) -> None:
        registry = {"path": "registry.db", "cache_ttl_seconds": cache_seconds}
        self.config = RepoConfig(
            project="world",
            repo_path=folder,
            registry=registry,
            online_store={"type": "sqlite", "path": "online.db"},
            point_in_time=mode,
        )
        self.folder = folder
        self.clock = ManualClock(NOON)
        self.facts: list[dict[str, Any]] = []
        self.write(fact(9, NOON - 30 * DAY))
        self.store = FeatureStore(config=self.config, clock=self.clock)
        self.apply(*(definitions or (stats(), model())))

    def apply(self, *definitions: Definition) -> None:
        self.store.apply(list(definitions))

    def write(self, *facts: Mapping[str, Any]) -> None:
        """Add to the history."""
        self.facts += [dict(each) for each in facts]
        pq.write_table(table(self.facts), self.folder / "rides.parquet")

    def load(self) -> None:
        self.store.materialize_incremental(self.clock.now_us())

    def online(self, *facts: Mapping[str, Any], view: str = "stats") -> None:
        """Write to the online store alone."""
        self.store.write_to_online_store(view, table(facts))

    def serve(self, *drivers: int, store: FeatureStore | None = None, **request: Any) -> None:
        """Read and log."""
        store = store or self.store
        rows: dict[str, list[Any]] = {"driver_id": list(drivers)}
        rows |= {name: [value] * len(drivers) for name, value in request.items()}
        service = store.get_feature_service("model")
        assert store.write_logged_features(store.get_online_features(service, rows), service) == len(drivers)

    def logs(self) -> list[Path]:
        return sorted((self.folder / "served").rglob("*.parquet"))

    def rewrite_log(self, change: Any) -> None:
        for path in self.logs():
            pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def opened(folder: Path, *definitions: Definition, **arguments: Any) -> Iterator[World]:
    world = World(folder, *definitions, **arguments)
    try:
        yield world
    finally:
        world.store.close()
