"""Training equals serving: at every moment, what was materialized until then is what a training set says of it.

Random repositories live through rising moments. Before each, files arrive, with facts that are late, that have not
happened yet, that are not known yet, and that tie; sometimes definitions change too: another ttl, more features. Then
an incremental run, then both answers for every key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semantics.comparing import exactly
from tiffin.config import RepoConfig
from tiffin.definitions import Entity, FeatureView, Field, FileSource
from tiffin.semantics.oracle import Fact, known_facts, newest, outcome_at
from tiffin.store import FeatureStore
from tiffin.time import ManualClock, to_us
from tiffin.types import Array, Bool, Float64, Int64, String, UnixTimestamp, ValueType, arrow_type

FEATURES = {
    "x": Int64,
    "y": Float64,
    "word": String,
    "flag": Bool,
    "at": UnixTimestamp,
    "items": Array(Int64),
}
START_US = to_us("2024-06-01T00:00:00Z")
UTC_US = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Shape:
    """What a random repository looks like; the content follows from the seed."""

    seed: int
    views: int
    keys: int
    steps: int
    text_keys: bool
    created: bool
    one_file: bool
    inferred: bool
    grows: bool
    ttls: tuple[int | None, ...]
    unit: int


shapes = st.builds(
    Shape,
    seed=st.integers(0, 2**32 - 1),
    views=st.integers(1, 2),
    keys=st.integers(1, 5),
    steps=st.integers(1, 4),
    text_keys=st.booleans(),
    created=st.booleans(),
    one_file=st.booleans(),
    inferred=st.booleans(),
    grows=st.booleans(),
    ttls=st.lists(st.sampled_from([None, 1, 3]), min_size=1, max_size=2).map(tuple),
    unit=st.sampled_from([1, 1_000_003, 3_600_000_000]),
)


class World:
    """A repository, the facts that were delivered to it so far, and the random numbers behind both."""

    def __init__(self, shape: Shape, folder: Path, online: str) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(shape.seed)
        self.folder = folder
        self.clock = ManualClock(START_US)
        self.names = [f"v{number}" for number in range(shape.views)]
        self.features = list(FEATURES)[: 3 if shape.grows else None]
        self.ttl = shape.ttls[0]
        self.delivered: dict[str, pa.Table | None] = dict.fromkeys(self.names)
        for name in self.names:
            (folder / name).mkdir(parents=True)
            self.deliver(name, 0)
        config = RepoConfig(
            project="world",
            repo_path=folder,
            registry="registry.db",
            online_store={"type": online},
            offline_store={"type": "duckdb", "threads": 1},
            point_in_time="known",
        )
        self.store = FeatureStore(config=config, clock=self.clock)
        self.apply()

    @property
    def key_type(self) -> pa.DataType:
        return pa.string() if self.shape.text_keys else pa.int64()

    @property
    def ttl_us(self) -> int | None:
        return None if self.ttl is None else self.ttl * self.shape.unit

    def apply(self) -> None:
        """Apply the views as they are now."""
        self.store.apply([self._view(name) for name in self.names])

    def change_definitions(self) -> None:
        """Another ttl, and all features where there were some."""
        self.ttl = self.shape.ttls[-1]
        self.features = list(FEATURES)
        self.apply()

    def _view(self, name: str) -> FeatureView:
        value_type = None if self.shape.inferred else ValueType.STRING if self.shape.text_keys else ValueType.INT64
        schema = [Field(name=f"{name}_{feature}", dtype=FEATURES[feature]) for feature in self.features]
        source = FileSource(
            path=name,
            name=f"{name}_files",
            timestamp_field="ts",
            created_timestamp_column="created" if self.shape.created else "",
        )
        return FeatureView(
            name=name,
            source=source,
            entities=[Entity(name="key", value_type=value_type)],
            schema=None if self.shape.inferred and len(schema) == len(FEATURES) else schema,
            ttl=timedelta(microseconds=self.ttl_us or 0),
        )

    def all_keys(self) -> list[object]:
        """Every key that facts may have, one that none has, and null."""
        texts = ["", "a", "a|b", "é", "1", "never"]
        drawn = texts if self.shape.text_keys else list(range(6))
        return [*drawn[: self.shape.keys], drawn[5], None]

    def deliver(self, name: str, count: int) -> None:
        """Add facts of a view: a file more, or the one file written anew."""
        rng, now_us, unit = self.rng, self.clock.now_us(), self.shape.unit
        event = now_us + rng.integers(-5, 3, count) * unit + rng.integers(0, 2, count)
        known = event + rng.integers(-1, 4, count) * unit
        keys = [self.all_keys()[i] for i in rng.integers(0, self.shape.keys, count)]
        keys = [None if rng.random() < 0.1 else key for key in keys]
        columns = {"key": pa.array(keys, self.key_type), "ts": pa.array(event, UTC_US)}
        if self.shape.created:
            columns["created"] = pa.array(known, UTC_US, mask=rng.random(count) < 0.1)
        for feature, dtype in FEATURES.items():
            values = [None if rng.random() < 0.2 else self._value(feature) for _ in range(count)]
            columns[f"{name}_{feature}"] = pa.array(values, arrow_type(dtype), from_pandas=False)
        table = pa.table(columns)
        before = self.delivered[name]
        everything = table if before is None else pa.concat_tables([before, table])
        self.delivered[name] = everything
        number = 0 if self.shape.one_file else len(list((self.folder / name).iterdir()))
        written = everything if self.shape.one_file else table
        partial = self.folder / f"{name}.partial"
        pq.write_table(written, partial, row_group_size=8)
        os.replace(partial, self.folder / name / f"part-{number}.parquet")

    def _value(self, feature: str) -> object:
        rng = self.rng
        choices: dict[str, list[object]] = {
            "x": [0, 1, 9_007_199_254_740_993, -1],
            "y": [0.0, -0.0, 1.5, float("nan")],
            "word": ["", "b", "bé"],
            "flag": [True, False],
            "at": [datetime(2024, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)],
            "items": [[], [1, None], [2, 3]],
        }
        return choices[feature][rng.integers(len(choices[feature]))]

    def outcome(self, name: str, key: object) -> str:
        """What the rules say of a key now; payloads do not matter for that."""
        table = self.delivered[name]
        assert table is not None
        events = table["ts"].cast(pa.int64()).to_pylist()
        created = table["created"].cast(pa.int64()).to_pylist() if self.shape.created else [None] * len(events)
        facts = [
            Fact((k,), event, event if known is None else known, {})
            for k, event, known in zip(table["key"].to_pylist(), events, created, strict=True)
        ]
        now_us = self.clock.now_us()
        return outcome_at(newest(known_facts(facts, (key,), now_us, now_us)), now_us, self.ttl_us)


def live(shape: Shape, folder: Path, online: str) -> None:
    """Live through the moments of a shape and compare both answers at each."""
    world = World(shape, folder, online)
    try:
        for step in range(shape.steps):
            for name in world.names:
                if world.rng.random() < 0.7:
                    world.deliver(name, int(world.rng.integers(1, 25)))
            if step == shape.steps - 1:
                world.change_definitions()
            if world.rng.random() < 0.3:
                world.store.materialize_incremental(world.clock.now_us() - shape.unit)
            world.store.materialize_incremental(world.clock.now_us() + int(world.rng.integers(0, 2)))
            compare(world)
            world.clock.advance(timedelta(microseconds=int(world.rng.integers(1, 4)) * shape.unit))
    finally:
        world.store.close()


def compare(world: World) -> None:
    keys, now_us = world.all_keys(), world.clock.now_us()
    features = [f"{name}:{name}_{feature}" for name in world.names for feature in world.features]
    frame = pa.table({"key": pa.array(keys, world.key_type), "event_timestamp": pa.array([now_us] * len(keys), UTC_US)})
    job = world.store.get_historical_features(frame, features)
    offline = job.to_arrow().drop_columns(["event_timestamp"])
    response = world.store.get_online_features(features, {"key": keys})
    online = response.to_arrow()
    assert online.schema.equals(offline.schema)
    assert exactly(row.values() for row in online.to_pylist()) == exactly(row.values() for row in offline.to_pylist())
    statuses = response.statuses()
    for view in job.report.views:
        outcomes = [world.outcome(view.view, key) for key in keys]
        assert (view.matched, view.expired, view.missing) == tuple(
            outcomes.count(outcome) for outcome in ("matched", "expired", "missing")
        )
        for feature in world.features:
            column = f"{view.view}_{feature}"
            values = offline[column].to_pylist()
            assert statuses[column] == [status(o, value) for o, value in zip(outcomes, values, strict=True)]


def status(outcome: str, value: object) -> str:
    if outcome != "matched":
        return {"expired": "OUTSIDE_MAX_AGE", "missing": "NOT_FOUND"}[outcome]
    return "NULL_VALUE" if value is None else "PRESENT"


@given(shape=shapes)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_online_equals_offline_at_every_moment(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> None:
    live(shape, tmp_path_factory.mktemp("world"), "memory")


@given(shape=shapes)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_online_equals_offline_in_sqlite(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> None:
    live(shape, tmp_path_factory.mktemp("world"), "sqlite")
