"""``apply`` against real files and stores: all or nothing, idempotent, and it says what is wrong with a source."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.config import RepoConfig
from tiffin.definitions import Entity, FeatureService, FeatureView, Field, FileSource, Project
from tiffin.errors import (
    BackendNotFoundError,
    ConfigError,
    DefinitionError,
    NotFoundError,
    RegistryConflictError,
    RequestError,
    SourceError,
    StoreFullError,
)
from tiffin.store import FeatureStore
from tiffin.time import ManualClock
from tiffin.types import Float64, Int64

NOON = "2024-06-01T12:00:00Z"


def write_rides(folder: Path, **columns: Any) -> None:
    times = pa.array([datetime(2024, 6, 1, 10, tzinfo=UTC), datetime(2024, 6, 1, 11, tzinfo=UTC)])
    table = pa.table({"driver_id": [1, 2], "ts": times, "rate": [0.5, 0.25], "trips": [3, 4], **columns})
    pq.write_table(table, folder / "rides.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rides(tmp_path)
    return tmp_path


def open_store(folder: Path, **settings: Any) -> FeatureStore:
    config = RepoConfig(**{"project": "p", "repo_path": folder, "registry": "registry.db", **settings})
    return FeatureStore(config=config, clock=ManualClock(NOON))


@pytest.fixture
def store(folder: Path) -> Iterator[FeatureStore]:
    with open_store(folder) as opened:
        yield opened


def view(name: str = "stats", **arguments: Any) -> FeatureView:
    defaults = {
        "source": FileSource(path="rides.parquet"),
        "entities": [Entity(name="driver", join_keys=["driver_id"])],
    }
    return FeatureView(name=name, **{**defaults, **arguments})


def test_what_was_left_open_is_read_from_the_file(store: FeatureStore) -> None:
    made = store.apply([view(), Project(name="p", description="rides")])
    assert made.version == 1
    assert [(f.name, f.dtype) for f in store.get_feature_view("stats").features] == [
        ("rate", Float64),
        ("trips", Int64),
    ]
    assert store.get_entity("driver").key_type == Int64
    assert store.get_data_source("rides.parquet").timestamp_field == "ts"
    assert store.get_project().description == "rides"


def test_a_plan_changes_nothing(store: FeatureStore, folder: Path) -> None:
    made = store.plan([view()])
    assert not made.is_empty
    assert store.history() == []
    assert sorted(path.name for path in folder.iterdir()) == ["rides.parquet"]


def test_applying_twice_makes_one_version(store: FeatureStore) -> None:
    store.apply([view()])
    assert store.apply([view()]).is_empty
    assert store.apply([view()], partial=False).is_empty
    assert [commit.version for commit in store.history()] == [1]


def test_a_plan_is_carried_out_as_it_was_shown(store: FeatureStore) -> None:
    made = store.plan([view()])
    assert store.apply(made) is made
    assert [commit.digest for commit in store.history()] == [made.snapshot.digest]


def test_a_stale_plan_is_refused_and_changes_nothing(store: FeatureStore, folder: Path) -> None:
    made = store.plan([view()], partial=False)
    with open_store(folder) as other:
        other.apply([view("theirs")])
    with pytest.raises(RegistryConflictError, match="is at version 1, but the plan was made against version 0"):
        store.apply(made)
    store.refresh_registry()
    assert [each.name for each in store.list_feature_views()] == ["theirs"]


def test_a_plan_of_another_project_is_refused(store: FeatureStore, folder: Path) -> None:
    with open_store(folder, project="q") as other, pytest.raises(RequestError, match="this plan is of project q"):
        store.apply(other.plan([view()]))


def test_the_online_tables_are_there_after_apply(store: FeatureStore) -> None:
    store.apply([view(), view("cold", online=False)])
    assert [info.table for info in store.context.online.tables("p.")] == ["p.stats.1"]
    store.apply([view("cold")])
    assert [info.table for info in store.context.online.tables("p.")] == ["p.cold.1", "p.stats.1"]


def test_tables_of_older_versions_stay(store: FeatureStore) -> None:
    store.apply([view(schema=[Field(name="rate", dtype=Float64)])])
    store.materialize(0, NOON)
    schema = [Field(name="rate", dtype=Float64), Field(name="trips", dtype=Float64)]
    store.apply([view(schema=schema)])
    store.apply([view(schema=[Field(name="trips", dtype=Int64)])])
    assert [info.table for info in store.context.online.tables("p.")] == ["p.stats.1", "p.stats.3"]


def test_a_failing_store_leaves_the_definitions_as_they_were(store: FeatureStore) -> None:
    class FullStore(MemoryOnlineStore):
        def ensure(self, tables: Any) -> None:
            raise StoreFullError("the disk is full")

    store.apply([view()])
    working, store.context._online = store.context.online, FullStore()
    with pytest.raises(StoreFullError):
        store.apply([view("more")])
    store.context._online = working
    store.refresh_registry()
    assert [each.name for each in store.list_feature_views()] == ["stats"]
    store.apply([view("more")])
    assert len(store.list_feature_views()) == 2


def test_a_repository_without_an_online_store_can_be_applied(folder: Path) -> None:
    with open_store(folder, online_store=None) as store:
        store.apply([view()])
        store.teardown()
        with pytest.raises(ConfigError, match="no online store"):
            _ = store.context.online


def test_rollback_serves_the_old_rows_again(store: FeatureStore) -> None:
    store.apply([view(schema=[Field(name="rate", dtype=Float64)])])
    store.materialize(0, NOON)
    store.apply([view(schema=[Field(name="rate", dtype=Float64), Field(name="trips", dtype=Int64)])])
    store.materialize(0, NOON)
    made = store.rollback(1)
    assert made.version == 3
    assert store.history()[0].message == "rollback to version 1"
    assert store.get_feature_view("stats").feature_names == ("rate",)
    assert store.get_online_features(["stats:rate"], [{"driver_id": 1}]).to_dict()["rate"] == [0.5]
    store.materialize(0, NOON)
    assert store.get_online_features(["stats:rate"], [{"driver_id": 2}]).to_dict()["rate"] == [0.25]


def test_rollback_to_an_unknown_version_says_the_newest(store: FeatureStore) -> None:
    store.apply([view()])
    with pytest.raises(NotFoundError, match="has no version 7"):
        store.rollback(7)
    assert store.rollback(1).is_empty


def test_teardown_forgets_one_project_and_apply_works_again(store: FeatureStore, folder: Path) -> None:
    with open_store(folder, project="p2") as other:
        other.apply([view()])
        store.apply([view()])
        store.materialize(0, NOON)
        store.teardown()
        assert store.history() == []
        assert store.list_feature_views() == []
        assert store.materialization_runs() == []
        assert store.context.online.tables("p.") == []
        assert [each.name for each in other.list_feature_views()] == ["stats"]
        assert len(store.context.online.tables("p2.")) == 1
    store.apply([view()])
    assert store.get_online_features(["stats:rate"], [{"driver_id": 1}]).to_dict()["rate"] == [None]
    assert store.get_project("p2").name == "p2"


def test_delete_removes_a_view_and_a_service(store: FeatureStore) -> None:
    store.apply([view(), FeatureService(name="model", features=[view()])])
    with pytest.raises(DefinitionError, match="feature service model uses it"):
        store.delete_feature_view("stats")
    store.delete_feature_service("model")
    store.delete_feature_view("stats")
    assert store.list_feature_views() == store.list_feature_services() == []
    with pytest.raises(NotFoundError):
        store.delete_feature_view("stats")


def test_lists_filter_by_tags(store: FeatureStore) -> None:
    store.apply([view("a", tags={"team": "x"}), view("b", tags={"team": "x", "tier": "1"}), view("c")])
    assert [v.name for v in store.list_feature_views(tags={"team": "x"})] == ["a", "b"]
    assert [v.name for v in store.list_feature_views(tags={"team": "x", "tier": "1"})] == ["b"]
    assert [v.name for v in store.list_feature_views()] == ["a", "b", "c"]
    assert [e.name for e in store.list_entities()] == ["driver"]
    assert [s.name for s in store.list_data_sources()] == ["rides.parquet"]


def test_an_unknown_name_lists_the_nearest(store: FeatureStore) -> None:
    with pytest.raises(NotFoundError, match="nothing has been applied"):
        store.get_feature_view("stats")
    store.apply([view(), FeatureService(name="model", features=["stats"])])
    for get in (store.get_feature_view, store.get_entity, store.get_feature_service, store.get_data_source):
        with pytest.raises(NotFoundError, match=r"known|did you mean"):
            get("nothing like it")  # type: ignore[operator]
    with pytest.raises(NotFoundError, match="did you mean stats"):
        store.get_feature_view("stat")


@pytest.mark.parametrize("content", [None, b"", b"PAR1 this is no parquet file PAR1"])
def test_a_source_that_cannot_be_read_is_named_and_nothing_is_applied(
    store: FeatureStore, folder: Path, content: bytes | None
) -> None:
    file = folder / "rides.parquet"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(SourceError, match=r"data source rides\.parquet") as caught:
        store.apply([view()])
    assert "test_apply.py:" in caught.value.location
    assert caught.value.hint
    assert store.history() == []


def test_another_process_is_seen_when_the_time_is_up(folder: Path) -> None:
    clock = ManualClock(NOON)
    config = RepoConfig(project="p", repo_path=folder, registry={"path": "r.db", "cache_ttl_seconds": 60})
    with FeatureStore(config=config, clock=clock) as store, FeatureStore(config=config, clock=clock) as other:
        store.apply([view()])
        other.apply([view("theirs")])
        assert len(store.list_feature_views()) == 1
        clock.advance(timedelta(seconds=59))
        assert len(store.list_feature_views()) == 1
        clock.advance(timedelta(seconds=1))
        assert len(store.list_feature_views()) == 2


def test_without_a_time_limit_definitions_stay_until_asked(folder: Path) -> None:
    clock = ManualClock(NOON)
    config = RepoConfig(project="p", repo_path=folder, registry={"path": "r.db", "cache_ttl_seconds": 0})
    with FeatureStore(config=config, clock=clock) as store, FeatureStore(config=config, clock=clock) as other:
        store.apply([view()])
        other.apply([view("theirs")])
        clock.advance(timedelta(days=999))
        assert len(store.list_feature_views()) == 1
        store.refresh_registry()
        assert len(store.list_feature_views()) == 2


def test_a_forgotten_project_is_noticed_by_those_who_had_it(folder: Path) -> None:
    clock = ManualClock(NOON)
    config = RepoConfig(project="p", repo_path=folder, registry={"path": "r.db", "cache_ttl_seconds": 60})
    with FeatureStore(config=config, clock=clock) as store, FeatureStore(config=config, clock=clock) as other:
        store.apply([view()])
        other.teardown()
        other.apply([view("theirs")])
        clock.advance(timedelta(seconds=60))
        assert [each.name for each in store.list_feature_views()] == ["theirs"]


def test_threads_that_apply_at_once_lose_nothing(store: FeatureStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.apply([view(f"v{number}")]), range(8)))
    store.refresh_registry()
    assert [each.name for each in store.list_feature_views()] == [f"v{i}" for i in range(8)]
    assert [commit.version for commit in store.history()] == list(range(8, 0, -1))


def test_a_store_is_opened_from_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "feature_store.yaml").write_text("project: from_file\n")
    assert FeatureStore(folder).project == "from_file"
    monkeypatch.chdir(folder)
    assert FeatureStore().config.repo_path == folder
    with pytest.raises(ConfigError, match="both config and fs_yaml_file"):
        FeatureStore(config=RepoConfig(project="p"), fs_yaml_file=folder / "feature_store.yaml")
    assert repr(FeatureStore(folder)) == f"FeatureStore(project='from_file', repo_path='{folder}')"


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"online_store": {"type": "sqlit"}}, BackendNotFoundError, "no online backend 'sqlit'"),
        ({"online_store": {"type": "sqlite", "patth": "x"}}, ConfigError, "online_store has no option 'patth'"),
        ({"online_store": {"type": "redis", "redis_type": "x"}}, ConfigError, r"online_store\.redis_type"),
        ({"offline_store": {"type": "duckbd"}}, BackendNotFoundError, "no offline backend 'duckbd'"),
        ({"offline_store": {"type": "duckdb", "threads": "four"}}, ConfigError, r"offline_store\.threads"),
        ({"offline_store": {"type": "duckdb", "threads": -1}}, ConfigError, "DuckDB refuses the options"),
        ({"offline_store": {"type": "duckdb", "memory_limit": "much"}}, ConfigError, "DuckDB refuses the options"),
        ({"registry": "s3://bucket/registry.pb"}, ConfigError, "a registry cannot be kept at s3://"),
    ],
)
def test_wrong_settings_of_a_store_are_found_by_a_plan(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    (tmp_path / "rides.csv").write_text("driver_id,ts,rate\n1,2024-06-01T10:00:00Z,0.5\n")
    with open_store(tmp_path, **settings) as opened, pytest.raises(error, match=words):
        opened.plan([view(source=FileSource(path="rides.csv", timestamp_field="ts"))])
    assert [file.name for file in tmp_path.iterdir()] == ["rides.csv"], "nothing was made"


def test_a_plan_connects_to_no_online_store(folder: Path) -> None:
    away = {"type": "redis", "connection_string": "no-such-host.invalid:6379"}
    with open_store(folder, online_store=away) as opened:
        assert opened.plan([view()]).count("added") == 3
