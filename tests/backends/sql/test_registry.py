"""The registry in SQL: an append-only log per project, all or nothing, nothing executed."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from tiffin.backends.sql.connection import registry_url
from tiffin.backends.sql.registry import SqlRegistryStore
from tiffin.backends.sql.tables import FORMAT_VERSION
from tiffin.config import RegistryConfig
from tiffin.contracts.registry import MaterializationRun
from tiffin.definitions import (
    AvroFormat,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileLoggingDestination,
    FileSource,
    KafkaSource,
    KinesisSource,
    LabelView,
    LoggingConfig,
    OnDemandFeatureView,
    Project,
    PushSource,
    RequestSource,
)
from tiffin.errors import (
    BackendNotFoundError,
    ConfigError,
    NotFoundError,
    RegistryConflictError,
    RegistryError,
    RegistryVersionError,
)
from tiffin.registry.snapshot import Snapshot, ViewStorage, entry_of
from tiffin.types import Array, Float64, String, Struct, ValueType


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "registry.db"


@pytest.fixture
def store(path: Path) -> SqlRegistryStore:
    return open_store(path)


def open_store(path: Path) -> SqlRegistryStore:
    return SqlRegistryStore.from_config(RegistryConfig(path=str(path)), ".")


def snapshot_of(*definitions: Definition, project: str = "p") -> Snapshot:
    return Snapshot(project, 0, tuple(entry_of(definition) for definition in definitions))


def commit(store: SqlRegistryStore, base: int, *names: str, project: str = "p") -> int:
    snapshot = snapshot_of(*(Entity(name=name) for name in names), project=project)
    return store.commit(snapshot, base, created_us=base, author="me", message="").version


def test_reading_creates_nothing(store: SqlRegistryStore, path: Path) -> None:
    assert store.load("p") == Snapshot("p")
    assert store.version("p") == 0
    assert store.history("p") == []
    assert store.projects() == []
    assert store.runs("p") == []
    assert not path.parent.exists()


def test_every_kind_of_definition_comes_back(store: SqlRegistryStore, path: Path) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, tags={"team": "ü"})
    source = FileSource(path="a.parquet", timestamp_field="ts", field_mapping={"a": "b"})
    push = PushSource(name="push", batch_source=source)
    view = FeatureView(
        name="stats",
        source=push,
        entities=[driver],
        schema=[
            Field(name="b", dtype=Float64, default_value=0.5),
            Field(name="s", dtype=Struct({"x": Array(Float64)})),
        ],
    )
    logged = LoggingConfig(FileLoggingDestination(path="logs", partition_by=["day"]), 0.5)
    service = FeatureService(name="model", features=[view.with_name("other")[["b"]], "stats:s"], logging_config=logged)
    kafka = KafkaSource(
        name="kafka",
        topic="t",
        kafka_bootstrap_servers="a:1",
        message_format={"json": {}},
        batch_source=source,
        watermark_delay_threshold=timedelta(minutes=5),
    )
    kinesis = KinesisSource(name="kinesis", region="r", stream_name="s", record_format=AvroFormat(schema_json="{}"))
    order = RequestSource(name="order", schema=[Field(name="amount", dtype=Float64)])
    computed = OnDemandFeatureView(
        name="computed",
        sources=[view[["b"]], order],
        schema=[Field(name="sum", dtype=Float64)],
        mode="python",
        udf=lambda inputs: inputs,
    )
    labels = LabelView(name="labels", source=kafka, entities=[driver], schema=[Field(name="labeler", dtype=String)])
    project = Project(name="p", description="words")
    storage = ViewStorage(2, "p.stats.1", ((("b", "Float64"),), (("b", "Float64"), ("s", "Struct"))))
    plain = snapshot_of(project, driver, push, source, service, kafka, kinesis, order, computed, labels)
    entries = (*plain.entries, entry_of(view, storage))
    store.commit(Snapshot("p", 1, entries), 0, created_us=5, author="me", message="first")

    found = open_store(path).load("p")
    assert found.version == 1
    assert found.entities["driver"] == driver
    assert found.sources["push"] == push
    assert [found.sources[name] for name in ("kafka", "kinesis", "order")] == [kafka, kinesis, order]
    assert found.on_demand_view("computed") == computed
    assert found.view("labels") == labels
    assert found.view("stats") == view
    assert found.service("model") == service
    assert found.project_definition == project
    assert found.storage("stats") == storage
    assert [(c.version, c.created_us, c.author, c.message) for c in store.history("p")] == [(1, 5, "me", "first")]


def test_every_version_stays_readable(store: SqlRegistryStore) -> None:
    commit(store, 0, "a")
    commit(store, 1, "a", "b")
    commit(store, 2, "b")
    assert [store.load("p", at=v).names("entity") for v in (1, 2, 3)] == [["a"], ["a", "b"], ["b"]]
    assert store.load("p").version == store.version("p") == 3
    assert [c.version for c in store.history("p")] == [3, 2, 1]
    with pytest.raises(NotFoundError, match="has no version 4"):
        store.load("p", at=4)


def test_an_unchanged_document_is_kept_once(store: SqlRegistryStore, path: Path) -> None:
    commit(store, 0, "a", "b")
    commit(store, 1, "a", "b")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM tiffin_documents").fetchone() == (2,)
    connection.close()


def test_a_commit_on_an_older_version_is_a_conflict_and_writes_nothing(store: SqlRegistryStore, path: Path) -> None:
    commit(store, 0, "a")
    for base in (0, 2):
        with pytest.raises(RegistryConflictError, match="is at version 1, but the plan was made against version"):
            commit(open_store(path), base, "b")
    assert store.load("p").names("entity") == ["a"]


def test_projects_do_not_touch_one_another(store: SqlRegistryStore) -> None:
    commit(store, 0, "a", project="p")
    commit(store, 0, "a", project="q")
    commit(store, 1, "a", "b", project="q")
    run = MaterializationRun("v", 1, 0, 1, 2, 2, 0, 0.5, 3)
    store.record_run("q", run)
    store.forget("p")
    assert store.projects() == ["q"]
    assert store.load("q").names("entity") == ["a", "b"]
    assert store.load("q", at=1).names("entity") == ["a"]
    assert store.runs("q") == [run]
    assert store.load("p").entries == ()


def test_a_forgotten_project_goes_on_counting(store: SqlRegistryStore) -> None:
    commit(store, 0, "a")
    commit(store, 1, "b")
    store.forget("p")
    with pytest.raises(RegistryConflictError):
        commit(store, 2, "made before it was forgotten")
    assert store.history("p") == []
    base = store.load("p").version
    assert base == store.version("p") > 2
    assert commit(store, base, "c") == base + 1
    assert store.load("p").names("entity") == ["c"]
    with pytest.raises(NotFoundError):
        store.load("p", at=2)


def test_forgetting_what_is_not_there_is_no_error(store: SqlRegistryStore) -> None:
    store.forget("p")
    assert store.version("p") == 0


def test_runs_come_newest_first(store: SqlRegistryStore) -> None:
    runs = [MaterializationRun(f"v{i % 2}", 1, i, i + 1, i, i, 0, 0.25, i, error="" if i else "full") for i in range(5)]
    for run in runs:
        store.record_run("p", run)
    assert store.runs("p") == runs[::-1]
    assert store.runs("p", limit=2) == runs[:2:-1]
    assert store.runs("p", view="v1") == [runs[3], runs[1]]


def test_a_registry_of_a_newer_version_is_refused_and_untouched(store: SqlRegistryStore, path: Path) -> None:
    commit(store, 0, "a")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE tiffin_meta SET value = ?", (str(FORMAT_VERSION + 1),))
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RegistryVersionError, match=r"has format 2; .* understands format 1\n.*pip install --upgrade"):
        store.load("p")
    with pytest.raises(RegistryVersionError):
        commit(store, 1, "b")
    with pytest.raises(RegistryVersionError):
        store.forget("p")
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [10, 5000])
def test_a_file_that_is_no_database_is_refused_and_untouched(store: SqlRegistryStore, path: Path, size: int) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, and too long for an empty one "[:size] * (size // 10))
    before = path.read_bytes()
    for use in (lambda: store.load("p"), lambda: commit(store, 0, "a"), lambda: store.version("p")):
        with pytest.raises(
            RegistryError, match=r"cannot be read: .*not a database\n.*if Feast wrote it, .*run `tiffin apply`"
        ):
            use()
    assert path.read_bytes() == before


def test_a_damaged_page_is_found(store: SqlRegistryStore, path: Path) -> None:
    commit(store, 0, *(f"entity_{i:04}" for i in range(500)))
    content = bytearray(path.read_bytes())
    for start in range(4096, len(content), 4096):
        content[start : start + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=r"cannot be read: .*malformed"):
        open_store(path).load("p")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tiffin_documents SET document = replace(document, 'driver', 'rider')",
        "DELETE FROM tiffin_documents",
        "UPDATE tiffin_snapshots SET documents = ''",
        "UPDATE tiffin_meta SET value = 'x'",
    ],
)
def test_content_that_was_changed_behind_its_back_is_found(store: SqlRegistryStore, path: Path, damage: str) -> None:
    commit(store, 0, "driver")
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(RegistryError, match="is damaged"):
        open_store(path).load("p")


def test_a_folder_where_the_file_should_be_is_refused(store: SqlRegistryStore, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(RegistryError, match="unable to open"):
        store.load("p")


def test_a_file_where_the_folder_should_be_is_refused(store: SqlRegistryStore, path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(RegistryError, match=r"folder .* cannot be created"):
        commit(store, 0, "a")


@pytest.mark.parametrize("given", ["sqlite:///data/registry.db", "data/registry.db", "./data/registry.db"])
def test_paths_are_below_the_repository(tmp_path: Path, given: str) -> None:
    store = SqlRegistryStore.from_config(RegistryConfig(path=given), str(tmp_path))
    commit(store, 0, "a")
    assert (tmp_path / "data" / "registry.db").is_file()


@pytest.mark.parametrize("given", ["sqlite://", "sqlite:///:memory:", "s3://bucket/registry.db", "://"])
def test_a_place_that_cannot_hold_a_registry_is_refused(given: str) -> None:
    with pytest.raises(ConfigError):
        SqlRegistryStore.from_config(RegistryConfig(path=given), ".")


def test_a_missing_driver_is_named() -> None:
    config = RegistryConfig(path="oracle+oracledb://user:secret@host/db")
    with pytest.raises(BackendNotFoundError, match="driver") as caught:
        SqlRegistryStore.from_config(config, ".")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_without_a_driver_means_psycopg(scheme: str) -> None:
    assert registry_url(f"{scheme}://host/db", ".").drivername == "postgresql+psycopg"
