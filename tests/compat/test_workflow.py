"""A repository and a script in the shape of those that Feast's users have, with `feast` as their import name."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SETTINGS = """
project: rides
registry: data/registry.db
provider: local
online_store:
    type: sqlite
    path: data/online_store.db
entity_key_serialization_version: 3
auth:
    type: no_auth
"""

DEFINITIONS = """
from datetime import timedelta

import pandas as pd

from feast import (
    ConflictPolicy, Entity, FeatureService, FeatureView, Field, FileSource, LabelView, Project, PushSource,
    RequestSource,
)
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Float64, Int64, Json, Map, String, Struct

project = Project(name="rides", description="Riders and their ratings")
rider = Entity(name="rider", join_keys=["rider_id"])
history = FileSource(
    name="history", path="data/history.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"
)
schema = [
    Field(name="rating", dtype=Float32),
    Field(name="rides", dtype=Int64, description="Rides in a day"),
    Field(name="bike", dtype=Map),
    Field(name="settings", dtype=Json),
    Field(name="profile", dtype=Struct({"name": String, "age": String})),
]
stats = FeatureView(
    name="stats", entities=[rider], ttl=timedelta(days=1), schema=schema, online=True, source=history,
    tags={"team": "riders"}, enable_validation=True, version="latest",
)
order = RequestSource(name="order", schema=[Field(name="tip", dtype=Int64)])


@on_demand_feature_view(sources=[stats, order], schema=[Field(name="rating_and_tip", dtype=Float64)])
def with_tip(inputs: pd.DataFrame) -> pd.DataFrame:
    df = pd.DataFrame()
    df["rating_and_tip"] = inputs["rating"] + inputs["tip"]
    return df


pushed = PushSource(name="pushed", batch_source=history)
fresh = FeatureView(name="fresh", entities=[rider], ttl=timedelta(days=1), schema=schema, source=pushed)
labels = LabelView(
    name="labels",
    entities=[rider],
    schema=[Field(name="honest", dtype=Int64), Field(name="labeler", dtype=String)],
    source=PushSource(
        name="labels_push",
        batch_source=FileSource(name="labels_batch", path="data/labels.parquet", timestamp_field="event_timestamp"),
    ),
    labeler_field="labeler",
    conflict_policy=ConflictPolicy.LAST_WRITE_WINS,
    tags={"feast.io/labeling-method": "table"},
)
logged = LoggingConfig(destination=FileLoggingDestination(path="data"))
model_v1 = FeatureService(name="model_v1", features=[stats[["rating"]], with_tip], logging_config=logged)
model_v2 = FeatureService(name="model_v2", features=[fresh])
"""

WORKFLOW = """
import json
import subprocess
from datetime import datetime

import pandas as pd

from feast import FeatureStore
from feast.data_source import PushMode


def show(values):
    print(json.dumps(values, default=str))


store = FeatureStore(repo_path=".")
subprocess.run(["feast", "apply"], check=True, stdout=subprocess.DEVNULL)
entity_df = pd.DataFrame.from_dict(
    {"rider_id": [1, 2, 3], "event_timestamp": pd.to_datetime("now", utc=True), "label": [1, 0, 1], "tip": [1, 2, 3]}
)
features = ["stats:rating", "stats:rides", "with_tip:rating_and_tip"]
training = store.get_historical_features(entity_df=entity_df, features=features).to_df()
show([list(training.columns), training["rides"].tolist()[:2], training["rating_and_tip"].round(3).tolist()[:2]])
store.materialize_incremental(end_date=datetime.now())
rows = [{"rider_id": 1, "tip": 10}, {"rider_id": 3, "tip": 20}]
nested = ["stats:bike", "stats:settings", "stats:profile"]
show(store.get_online_features(features=nested, entity_rows=rows[:1]).to_dict())
show(store.get_online_features(features=store.get_feature_service("model_v1"), entity_rows=rows).to_dict())
now = datetime.now()
event_df = pd.DataFrame.from_dict(
    {
        "rider_id": [1], "event_timestamp": [now], "created": [now], "rating": [1.0], "rides": [1000],
        "bike": [{"kind": "cargo", "gears": "3"}], "settings": [json.dumps({"zones": ["north"]})],
        "profile": [{"name": "Ann", "age": "31"}],
    }
)
store.push("pushed", event_df, to=PushMode.ONLINE_AND_OFFLINE)
answer = store.get_online_features(features=store.get_feature_service("model_v2"), entity_rows=rows[:1]).to_dict()
show(answer)
later = pd.DataFrame({"rider_id": [1], "event_timestamp": pd.to_datetime("now", utc=True)})
show(store.get_historical_features(later, ["fresh:rides"]).to_df()["rides"].tolist())
label = pd.DataFrame({"rider_id": [1], "event_timestamp": [now], "honest": [1], "labeler": ["bob"]})
store.push("labels_push", label, to=PushMode.ONLINE_AND_OFFLINE)
show(store.get_online_features(["labels:honest"], rows[:1]).to_dict())
for verb in ("teardown", "apply", "teardown"):
    subprocess.run(["feast", verb], check=True, stdin=subprocess.DEVNULL)
"""


#: As in Feast's tutorial on training sets that are validated.
VALIDATION = """
import subprocess

import pandas as pd

from feast import FeatureStore
from feast.dqm.errors import ValidationFailed
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from profiles import ride_profile

store = FeatureStore(repo_path=".")
subprocess.run(["feast", "apply"], check=True, stdout=subprocess.DEVNULL)
riders = pd.DataFrame({"rider_id": [1, 2], "event_timestamp": pd.to_datetime("now", utc=True)})
job = store.get_historical_features(entity_df=riders, features=["stats:rides", "stats:rating"])
dataset = store.create_saved_dataset(
    from_=job, name="first_rides", storage=SavedDatasetFileStorage(path="data/first_rides.parquet")
)
store.apply(dataset.as_reference(name="like_first", profiler=ride_profile))
reference = FeatureStore(repo_path=".").get_validation_reference("like_first")
print("same:", job.to_df(validation_reference=reference)["rides"].tolist())
fewer = store.get_historical_features(entity_df=riders[:1], features=["stats:rides", "stats:rating"])
try:
    fewer.to_df(validation_reference=reference)
except ValidationFailed as failed:
    print("failed:", [error.check_name for error in failed.validation_report.errors])
"""

PROFILES = """
from great_expectations.core.expectation_suite import ExpectationSuite
from great_expectations.dataset import PandasDataset

from feast.dqm.profilers.ge_profiler import ge_profiler


@ge_profiler
def ride_profile(ds: PandasDataset) -> ExpectationSuite:
    observed_mean = ds.rides.mean()
    ds.expect_column_values_to_be_between("rating", min_value=0, max_value=1, mostly=0.99)
    ds.expect_column_mean_to_be_between(
        "rides", min_value=observed_mean * 0.99, max_value=observed_mean * 1.01
    )
    ds.expect_column_quantile_values_to_be_between(
        "rides", quantile_ranges={"quantiles": [0.5], "value_ranges": [[1, 10]]}
    )
    return ds.get_expectation_suite()
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "rides" / "feature_repo"
    (folder / "data").mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(SETTINGS)
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "workflow.py").write_text(WORKFLOW)
    (folder / ".feastignore").write_text("workflow.py\n")
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    text = pa.string()
    table = pa.table(
        {
            "event_timestamp": pa.array([hour_ago, hour_ago], pa.timestamp("ns", "UTC")),
            "rider_id": [1, 2],
            "rating": pa.array([0.5, 0.25], pa.float32()),
            "rides": [7, 8],
            "created": pa.array([hour_ago, hour_ago], pa.timestamp("us")),
            "bike": pa.array([{"kind": "race", "gears": "12"}] * 2, pa.struct([("kind", text), ("gears", text)])),
            "settings": ['{"zones": ["west"]}'] * 2,
            "profile": pa.array([{"name": "Ann", "age": "30"}] * 2, pa.struct([("name", text), ("age", text)])),
        }
    )
    pq.write_table(table, folder / "data" / "history.parquet")
    types = {
        "rider_id": pa.int64(),
        "event_timestamp": pa.timestamp("us", "UTC"),
        "honest": pa.int64(),
        "labeler": text,
    }
    pq.write_table(pa.schema(types.items()).empty_table(), folder / "data" / "labels.parquet")
    return folder


def test_an_unchanged_repository_and_script_go_through(repository: Path) -> None:
    command = [sys.executable, "-m", "tiffin.cli", "run", "workflow.py"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"})
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", "{"))]
    columns, rides, tipped = shown[0]
    assert columns == ["rider_id", "event_timestamp", "label", "tip", "rating", "rides", "rating_and_tip"]
    assert (rides, tipped) == ([7, 8], [1.5, 2.25])
    assert shown[1] == {
        "rider_id": [1],
        "tip": [10],
        "bike": [{"kind": "race", "gears": "12"}],
        "settings": [{"zones": ["west"]}],
        "profile": [{"name": "Ann", "age": "30"}],
    }
    assert shown[2] == {"rider_id": [1, 3], "tip": [10, 20], "rating": [0.5, None], "rating_and_tip": [10.5, None]}
    assert shown[3]["rides"] == [1000]
    assert shown[3]["bike"] == [{"kind": "cargo", "gears": "3"}]
    assert shown[4] == [1000]
    assert shown[5] == {"rider_id": [1], "tip": [10], "honest": [1]}
    assert "Deleted project rides" in done.stdout
    assert "Created on-demand feature view with_tip" in done.stdout


@pytest.mark.skipif(
    importlib.util.find_spec("great_expectations") is None,
    reason="great_expectations is not installed: pip install 'tiffin[ge]'",
)
def test_a_training_set_is_validated_as_in_the_tutorial(repository: Path) -> None:
    """The module that great_expectations has no longer can be imported still."""
    (repository / "profiles.py").write_text(PROFILES)
    (repository / "validation.py").write_text(VALIDATION)
    (repository / ".feastignore").write_text("workflow.py\nvalidation.py\n")
    command = [sys.executable, "-m", "tiffin.cli", "run", "validation.py"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "same: [7, 8]" in done.stdout
    assert "failed: ['expect_column_mean_to_be_between']" in done.stdout
