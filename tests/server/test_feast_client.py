"""Feast's own client reads from this server and writes to it: its remote online store, in an environment of its own."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.repository import open_repository
from server.apps import add
from server.test_clients import Running
from tiffin.definitions import FeatureService, FeatureView, Field, FileSource, PushSource
from tiffin.operations.online import read_online, write_online
from tiffin.types import Bool, Float64, Int64, String
from unit.online.drivers import DRIVER, NOON_US

ROOT = Path(__file__).parents[2]
#: What Feast's client calls the times of the facts that it writes, whatever the source calls them.
TIMES = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created"}
SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig
from feast.value_type import ValueType
from feast.types import Bool, Float64, Int64, String

url, folder = sys.argv[1:]
config = RepoConfig(
    project="tests", registry=folder + "/feast.db", provider="local", entity_key_serialization_version=3,
    online_store={"type": "remote", "path": url}, offline_store={"type": "file"},
)
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
history = FileSource(
    name="facts", path=folder + "/facts.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"
)
schema = [Field(name=n, dtype=t) for n, t in (("trips", Int64), ("rating", Float64), ("city", String), ("on", Bool))]
stats = FeatureView(
    name="stats", entities=[driver], schema=schema, source=PushSource(name="stats_push", batch_source=history)
)
model = FeatureService(name="model", features=[stats])
store = FeatureStore(config=config)
store.apply([driver, history, stats, model])

rows = [{"driver_id": each} for each in (1, 2, 404)]
features = ["stats:trips", "stats:rating", "stats:city", "stats:on"]
found = {"by name": store.get_online_features(features, rows).to_dict()}
found["by service"] = store.get_online_features(store.get_feature_service("model"), rows, True).to_dict()
answer = store.get_online_features(features, rows).proto
found["statuses"] = [[int(status) for status in column.statuses] for column in answer.results]
when = pd.Timestamp("2024-06-01T11:30:00Z")
fact = {"driver_id": 7, "trips": 2**53 + 1, "rating": 0.1, "city": "Bergen", "on": False}
frame = pd.DataFrame([fact | {"event_timestamp": when, "created": when}])
store.write_to_online_store("stats", frame)
store.push("stats_push", frame.assign(driver_id=8, trips=3))
found["written"] = store.get_online_features(features, [{"driver_id": 7}, {"driver_id": 8}]).to_dict()
errors = {}
for name, ask in {
    "no view": lambda: store.get_online_features(["nope:x"], rows),
    "no key": lambda: store.get_online_features(["stats:trips"], [{"nobody": 1}]),
}.items():
    try:
        ask()
    except Exception as error:
        errors[name] = type(error).__name__
print(json.dumps(found | {"errors": errors}))
"""


@pytest.fixture(scope="module")
def feast_python() -> Path:
    """An interpreter that has Feast; it cannot share one with tiffin."""
    python = runpy.run_path(str(ROOT / "benchmarks" / "peers.py"))["find_peer_python"]()
    if python is None:
        pytest.skip("Feast is not installed: make bench-peers")
    return python


@pytest.mark.service
@pytest.mark.timeout(300)
def test_feasts_client_reads_and_writes_here(tmp_path: Path, feast_python: Path) -> None:
    moments = pa.array([NOON_US - 1_000_000] * 2, pa.timestamp("us", "UTC"))
    facts: dict[str, Any] = {"driver_id": [1, 2], "trips": [2**60, None], "rating": [0.5, 1.5], "city": ["Oslo", None]}
    facts |= {"on": [True, None], "event_timestamp": moments, "created": moments}
    pq.write_table(pa.table(facts), tmp_path / "facts.parquet")
    types = {"trips": Int64, "rating": Float64, "city": String, "on": Bool}
    stats = FeatureView(
        name="stats",
        entities=[DRIVER],
        schema=[Field(name=name, dtype=dtype) for name, dtype in types.items()],
        source=PushSource(name="stats_push", batch_source=FileSource(path="facts.parquet", name="facts", **TIMES)),
    )
    repository = open_repository(tmp_path)
    add(repository, DRIVER, stats, FeatureService(name="model", features=["stats"]))
    write_online(repository, "stats", pa.table(facts))
    with Running(repository) as running:
        command = [str(feast_python), "-c", SCRIPT, running.url, str(tmp_path)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=280)
        assert told.returncode == 0, told.stderr[-3000:]
        found = json.loads(told.stdout.splitlines()[-1])
        columns = {"driver_id": [1, 2, 404]}
        features = [f"stats:{name}" for name in types]
        assert found["by name"] == read_online(repository, features, columns).to_dict()
        service = repository.snapshot().service("model")
        assert found["by service"] == read_online(repository, service, columns, full_feature_names=True).to_dict()
        assert found["statuses"] == [[1, 1, 1], [1, 2, 3], [1, 1, 3], [1, 2, 3], [1, 2, 3]], "null is 2, missing is 3"
        assert found["written"] == read_online(repository, features, {"driver_id": [7, 8]}).to_dict()
        assert found["written"]["trips"] == [2**53 + 1, 3]
        assert found["errors"] == {"no view": "FeatureViewNotFoundException", "no key": "FeastError"}
