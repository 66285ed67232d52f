"""Every code block of the guide runs, taken from its text. Only what a block leaves out is supplied: data, a model.

A block that contradicts itself fails with an error that says what to change; `docs/coming-from-feast.md` has it
corrected.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pandas as pd
import pytest

from tiffin import FeatureStore, ManualClock
from tiffin.compat.finder import feast_means_tiffin
from tiffin.config import load_config
from tiffin.errors import DefinitionError, FunctionError, RepositoryError
from tiffin.operations.repository import load_repository

GUIDE = Path(__file__).parents[1] / "GUIDE.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
FEATURES = ["total_orders", "avg_order_value", "lifetime_value"]


def block(language: str, start: str) -> str:
    """The one block of a language in which a text stands."""
    (found,) = [text for kind, text in BLOCKS if kind == language and start in text]
    USED.add((language, found))
    return found


USED: set[tuple[str, str]] = set()
ORDERS = """
CREATE TABLE orders AS SELECT * FROM (VALUES
    (1001, 10.0, current_date - 3), (1001, 30.0, current_date - 1), (1002, 5.0, current_date - 400),
    (1003, 7.5, current_date)
) AS o(user_id, order_value, order_date)
"""


class Model:
    """A model that says what it is asked."""

    def fit(self, features: pd.DataFrame, target: pd.Series) -> None:
        assert len(features) == len(target)

    def predict(self, rows: list[Any]) -> list[Any]:
        return [row[0] if isinstance(row, list) else row for row in rows]


def write_users(folder: Path) -> None:
    """The history of the guide's user features: what each user was like on New Year's Eve, and half an hour ago."""
    moments = [datetime(2024, 12, 31, 12, tzinfo=UTC), datetime.now(UTC) - timedelta(minutes=30)]
    rows = [
        {
            "user_id": user,
            "event_timestamp": moment,
            "total_orders": 10 * (number + 1) + user % 10,
            "avg_order_value": 2.5,
            "lifetime_value": 100.0,
            "purchase_frequency": 0.5,
        }
        for number, moment in enumerate(moments)
        for user in (1001, 1002, 1003)
    ]
    (folder / "data").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "data" / "user_features.parquet")


def shell(script: str, folder: Path) -> str:
    """Run lines of shell in which `feast` is our command line."""
    lines = f'feast() {{ "{sys.executable}" -m tiffin.cli "$@"; }}\nset -e\n{script}'
    done = subprocess.run(["bash", "-c", lines], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick start, up to a filled online store: the folder in which the guide goes on."""
    folder = tmp_path_factory.mktemp("guide")
    shell(block("bash", "feast init"), folder)
    outer = folder / "feature_repo"
    repository = outer / "feature_repo"
    for written in block("python", "user_source = FileSource"), block("python", 'description="User entity"'):
        name = written.splitlines()[0].removeprefix("# ")
        (outer / name).write_text(written)
    write_users(repository)
    with pytest.raises(RepositoryError, match=r"(?s)user_source.*features\.py:.*from data_sources import user_source"):
        load_repository(repository)
    features = repository / "features.py"
    features.write_text(f"from data_sources import user_source\n{features.read_text()}")
    shell(f"cd feature_repo\n{block('bash', 'feast apply')}\n{block('bash', 'materialize-incremental')}", outer)
    return outer


@pytest.fixture
def here(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that folder, as the working directory; in it, Feast's name means tiffin."""
    folder = tmp_path / "here"
    shutil.copytree(start, folder)
    monkeypatch.chdir(folder)
    with feast_means_tiffin():
        yield folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An empty folder beside the guide's."""
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def run(text: str, **names: Any) -> dict[str, Any]:
    """Run a block with some names that it leaves out."""
    space = {"__name__": "guide", **names}
    exec(compile(text, "guide", "exec", dont_inherit=True), space)
    return space


def store_of(folder: Path) -> FeatureStore:
    return FeatureStore(repo_path=folder / "feature_repo")


# --- The problem -----------------------------------------------------------------------------------------------------


def test_the_two_codes_that_differ() -> None:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE users AS SELECT 1 AS user_id, 2 AS order_count, 10.0 AS total_spent, TIMESTAMP '2025-01-01' AS "
        "last_order_date, 1 AS id"
    )
    trained: list[Any] = []
    notebook = block("python", "# Jupyter notebook")
    names: dict[str, Any] = {"connection": connection, "datetime": datetime, "train": trained.append}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(AttributeError, match="days"):
            run(notebook, **names)
        run(notebook.replace(".days", ".dt.days"), **names)
    assert list(trained[0].columns) == ["total_orders", "avg_order_value", "days_since_last_order"]
    user = SimpleNamespace(order_count=2, total_spent=10.0, last_order=datetime(2025, 1, 1))
    names |= {"db": SimpleNamespace(query=lambda *_: user), "now": lambda: datetime(2025, 1, 3)}
    assert run(block("python", "def get_user_features"), **names)["get_user_features"](1) == [2, 5.0, 2]
    skipped = run(block("python", "def get_features(user_id: int)"), db=names["db"])["get_features"](1)
    assert skipped == {"total_orders": 2, "avg_order_value": 5.0}


def test_install() -> None:
    assert block("bash", "pip install") == "pip install feast\n"


def test_one_definition_for_both(here: Path) -> None:
    source = run(block("python", "user_source = FileSource"))["user_source"]
    view = run(block("python", "# Define features ONCE"), user_source=source)["user_features"]
    assert view.feature_names == ("total_orders", "avg_order_value", "days_since_last_order")
    rows = pd.DataFrame({"user_id": [1001], "event_timestamp": [datetime.now(UTC)]})
    trained = run(block("python", "features = store.get_historical_features("), store=store_of(here), entity_df=rows)
    served = run(
        block("python", 'features=["user_features:total_orders", "user_features:avg_order_value"],\n    entity_rows'),
        store=store_of(here),
    )
    assert trained["features"].to_df()["total_orders"].tolist() == served["features"].to_dict()["total_orders"] == [21]


# --- Quick start -----------------------------------------------------------------------------------------------------


def test_online_then_offline_serving(here: Path) -> None:
    space = run(block("python", "# Get features for a single user"), model=Model())
    assert space["features"] == {
        "user_id": [1001],
        "total_orders": [21],
        "avg_order_value": [2.5],
        "lifetime_value": [100.0],
    }
    assert space["prediction"] == [21, 2.5, 100.0]
    offline = block("python", "# Entity dataframe (users and timestamps)")
    with pytest.raises(KeyError, match="target"):
        exec(compile(offline, "guide", "exec", dont_inherit=True), space)
    assert space["training_data"]["total_orders"].tolist() == [11, 12, 13]
    labelled = offline.replace("entity_df = pd.DataFrame({", 'entity_df = pd.DataFrame({\n    "target": [0, 1, 0],')
    exec(compile(labelled, "guide", "exec", dont_inherit=True), space)


def test_backends_can_be_configured(tmp_path: Path) -> None:
    found = []
    for start in ("type: postgres", "type: redis", "type: dynamodb"):
        (tmp_path / "feature_store.yaml").write_text(block("yaml", start))
        config = load_config(tmp_path)
        assert config.online_store is not None
        found.append((config.online_store.type, config.offline_type, config.registry.path))
    assert found == [
        ("postgres", "duckdb", "data/registry.db"),
        ("redis", "bigquery", "data/registry.db"),
        ("dynamodb", "duckdb", "s3://my-bucket/registry.db"),
    ]


def test_a_function_that_reads_what_no_source_has_says_so(here: Path, own: Path) -> None:
    written = block("python", "def user_derived_features")
    (own / "derived.py").write_text(written)
    with pytest.raises(RepositoryError, match=r"name '(user_features|pd)' is not defined"):
        load_repository(own)
    repository = here / "feature_repo"
    (own / "derived.py").write_text(
        f"import sys\nsys.path.append({str(repository)!r})\nimport pandas as pd\nfrom features import user_features\n"
        + written
    )
    store = store_of(here)
    store.apply(load_repository(own).objects)
    with pytest.raises(FunctionError, match=r"(?s)reads 'days_active', which none of its sources has.*total_orders"):
        store.get_online_features(["user_derived_features:orders_per_day"], [{"user_id": 1001}]).to_dict()


def test_a_second_version_of_a_view(here: Path) -> None:
    space = run((here / "feature_repo" / "data_sources.py").read_text())
    exec((here / "feature_repo" / "features.py").read_text().replace("from data_sources import user_source", ""), space)
    exec(compile(block("python", "# feature_repo/features_v2.py"), "guide", "exec", dont_inherit=True), space)
    store = store_of(here)
    store.apply([space["user_features_v2"]])
    store.materialize_incremental(datetime.now(), ["user_features_v2"])
    answer = store.get_online_features(["user_features_v2:purchase_frequency"], [{"user_id": 1002}]).to_dict()
    assert answer["purchase_frequency"] == [0.5]


# --- Patterns --------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared_data(here: Path) -> Path:
    """The pipeline writes below the folder that it runs in, the source reads below the repository: one folder."""
    (here / "data").symlink_to(here / "feature_repo" / "data")
    return here


@pytest.mark.filterwarnings("ignore")
def test_batch_features(shared_data: Path) -> None:
    connection = duckdb.connect()
    connection.execute(ORDERS)
    run(block("python", "# feature_pipeline.py"), db_connection=connection)
    answer = store_of(shared_data).get_online_features(
        [f"user_features:{name}" for name in FEATURES], [{"user_id": 1001}, {"user_id": 1003}]
    )
    assert answer.to_dict() == {
        "user_id": [1001, 1003],
        "total_orders": [2, 1],
        "avg_order_value": [20.0, 7.5],
        "lifetime_value": [40.0, 7.5],
    }


def test_a_function_that_reads_the_clock_is_refused(here: Path, own: Path) -> None:
    written = block("python", "def real_time_features")
    head = "from feast import Entity, FeatureView, FileSource\nfrom feast.types import UnixTimestamp\n"
    view = (
        "user_static_features = FeatureView(name='static', entities=[Entity(name='user', join_keys=['user_id'])],\n"
        "    source=FileSource(path='static.parquet', timestamp_field='event_timestamp'),\n"
        "    schema=[Field(name='last_order_date', dtype=UnixTimestamp)])\n"
    )
    imports, _, rest = written.partition("\n\n")
    (own / "real_time.py").write_text(f"{head}{imports}\n{view}\n{rest}")
    users = {"user_id": [1], "event_timestamp": [datetime(2025, 1, 5, tzinfo=UTC)]}
    pd.DataFrame({**users, "last_order_date": [datetime(2025, 1, 1, tzinfo=UTC)]}).to_parquet(own / "static.parquet")
    (own / "feature_store.yaml").write_text("project: guide\n")
    store = FeatureStore(repo_path=own, clock=ManualClock("2025-01-06T00:00:00Z"))
    with pytest.raises(DefinitionError, match=r"(?s)reads the clock: datetime\.now\(\).*'now'"):
        store.apply(load_repository(own).objects)
    corrected = (
        (own / "real_time.py")
        .read_text()
        .replace("(features_df: pd.DataFrame)", "(features_df: pd.DataFrame, now: pd.Series)")
    )
    corrected = re.sub(r"    from datetime import datetime\n\n    now = datetime\.now\(\)\n", "", corrected)
    corrected = corrected.replace('["last_order_date"]).days', '["last_order_date"]).dt.days')
    (own / "real_time.py").write_text(corrected)
    store.apply(load_repository(own).objects)
    rows = pd.DataFrame({"user_id": [1, 1], "event_timestamp": [datetime(2025, 1, day, tzinfo=UTC) for day in (5, 8)]})
    found = store.get_historical_features(rows, ["real_time_features:recency_score"]).to_df()["recency_score"]
    assert found.tolist() == pytest.approx([1 / 5, 1 / 8])


def test_streaming_features(here: Path) -> None:
    space = run((here / "feature_repo" / "data_sources.py").read_text())
    exec((here / "feature_repo" / "features.py").read_text().replace("from data_sources import user_source", ""), space)
    exec(compile(block("python", "kafka_source = KafkaSource("), "guide", "exec", dont_inherit=True), space)
    store = store_of(here)
    store.apply([space["streaming_features"]])
    event = {"user_id": [7], "event_timestamp": [datetime.now(UTC)], "clicks_last_hour": [3], "sessions_last_day": [1]}
    store.push("user_events", pd.DataFrame(event))
    answer = store.get_online_features(["streaming_user_features:clicks_last_hour"], [{"user_id": 7}]).to_dict()
    assert answer["clicks_last_hour"] == [3]


# --- Production ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_the_dagster_pipeline(shared_data: Path) -> None:
    dagster = pytest.importorskip("dagster", reason="dagster is not installed; pip install dagster provides it")
    connection = duckdb.connect()
    connection.execute(ORDERS)
    space = run(block("python", "from dagster import asset"), db_connection=connection, datetime=datetime)
    assets = [space[name] for name in ("raw_user_data", "user_features", "materialized_features")]
    assert dagster.materialize(assets).success
    answer = store_of(shared_data).get_online_features(["user_features:total_orders"], [{"user_id": 1001}])
    assert answer.to_dict()["total_orders"] == [2]


def test_serving_over_http(here: Path) -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed; pip install fastapi provides it")
    space = run(block("python", "from fastapi import FastAPI"), model=Model())
    request = space["PredictionRequest"](user_id=1001)
    answer = asyncio.run(space["predict"](request))
    assert answer["user_id"] == 1001
    assert answer["features_used"]["total_orders"] == [21]
    assert {route.path for route in space["app"].routes} >= {"/predict"}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_monitoring_freshness(zone: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setitem(os.environ, "TZ", zone)
    time.tzset()
    try:
        alerts: list[str] = []
        space = run(block("python", "# feature_monitoring.py"), alert=alerts.append)
        assert space["monitor_feature_freshness"]() == {"age_days": 0, "status": "healthy"}
        assert alerts == []
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_block_is_left_out() -> None:
    """Runs after the others of this file only when they ran in this process; else it says nothing."""
    code = {found for found in BLOCKS if found[0] in ("python", "yaml", "bash")}
    named = Path(__file__).read_text()
    texts = re.findall(r'block\(\s*["\'](\w+)["\'], (?:"([^"]*)"|\'([^\']*)\')', named)
    starts = {(kind, (one or other).replace("\\n", "\n")) for kind, one, other in texts}
    starts |= {("yaml", f"type: {kind}") for kind in ("postgres", "redis", "dynamodb")}
    assert [text for kind, text in code if not any(kind == k and start in text for k, start in starts)] == []
