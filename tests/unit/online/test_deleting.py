"""WR-4 and MAT-5: entities that are deleted stay deleted, and a full refresh takes the place of a table at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.repository import Repository, open_repository
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.backends.sqlite.online import SqliteOnlineStore
from tiffin.contracts.online import OnlineLocation, OnlineStore, WriteBatch, WriteResult
from tiffin.definitions import Entity, FeatureView, Field, FileSource, PushSource
from tiffin.errors import (
    InputError,
    MaterializationError,
    RegistryError,
    RequestError,
    StoreUnavailableError,
    TypeMismatchError,
)
from tiffin.operations.delete import delete_entities
from tiffin.operations.materialize import materialize, materialize_incremental
from tiffin.operations.online import read_online, write_online
from tiffin.operations.refresh import refresh_fully
from tiffin.store import FeatureStore
from tiffin.time import MIN_US, ManualClock, to_us
from tiffin.types import Int64, ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
MINUTE_US = 60_000_000
DRIVER = Entity(name="driver", value_type=ValueType.INT64)
CAR = Entity(name="car", value_type=ValueType.INT64)


def write_source(folder: Path, facts: list[tuple[int, int, int]], name: str = "stats") -> None:
    """Facts as (driver, minutes before noon, x)."""
    table = pa.table(
        {
            "driver": pa.array([driver for driver, _, _ in facts], pa.int64()),
            "car": pa.array([driver + 100 for driver, _, _ in facts], pa.int64()),
            "ts": pa.array([NOON_US - ago * MINUTE_US for _, ago, _ in facts], pa.timestamp("us", "UTC")),
            "x": pa.array([x for _, _, x in facts], pa.int64()),
        }
    )
    pq.write_table(table, folder / f"{name}.parquet")


def view(name: str = "stats", entities: tuple[Entity, ...] = (DRIVER,), **arguments: Any) -> FeatureView:
    return FeatureView(
        name=name,
        source=FileSource(path=f"{name}.parquet", timestamp_field="ts"),
        entities=list(entities),
        schema=[Field(name="x", dtype=Int64)],
        **arguments,
    )


@pytest.fixture(params=["memory", "sqlite"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    write_source(tmp_path, [(1, 5, 10), (2, 5, 20), (3, 5, 30)])
    opened = open_repository(tmp_path, [view()], online=request.param)
    materialize(opened, MIN_US, NOON_US)
    yield opened
    opened.close()


def fact(driver: int, us: int, x: int) -> pa.Table:
    return pa.table({"driver": [driver], "ts": pa.array([us], pa.timestamp("us", "UTC")), "x": [x]})


def read(repository: Repository, *drivers: int) -> list[Any]:
    values: list[Any] = read_online(repository, ["stats:x"], {"driver": list(drivers)}).to_dict()["x"]
    return values


# --- Deleting --------------------------------------------------------------------------------------------------------


def test_deleted_entity_is_not_found_and_others_stay(repository: Repository) -> None:
    deletion = delete_entities(repository, [{"driver": 2}, {"driver": 9}])
    assert deletion.views == {"stats": 1}
    response = read_online(repository, ["stats:x"], {"driver": [1, 2, 3, 9]})
    assert response.to_dict()["x"] == [10, None, 30, None]
    assert response.statuses()["x"] == ["PRESENT", "NOT_FOUND", "PRESENT", "NOT_FOUND"]


def test_loading_and_pushing_older_facts_does_not_bring_it_back(repository: Repository) -> None:
    delete_entities(repository, {"driver": [2]})
    materialize(repository, MIN_US, NOON_US)
    write_online(repository, "stats", fact(2, NOON_US - 1, 21))
    assert read(repository, 2) == [None]


def test_fact_of_a_later_time_brings_it_back(repository: Repository) -> None:
    delete_entities(repository, {"driver": [2]})
    repository.clock.advance(timedelta(microseconds=1))  # type: ignore[attr-defined]
    write_online(repository, "stats", fact(2, repository.now_us(), 22))
    assert read(repository, 2) == [22]


def test_fact_ahead_of_now_is_deleted_too(repository: Repository) -> None:
    write_online(repository, "stats", fact(2, NOON_US + 3 * MINUTE_US, 23))
    delete_entities(repository, {"driver": [2]})
    repository.clock.advance(timedelta(minutes=4))  # type: ignore[attr-defined]
    assert read(repository, 2) == [None]


def test_deleting_again_covers_what_could_have_come_between(repository: Repository) -> None:
    delete_entities(repository, {"driver": [2]})
    repository.clock.advance(timedelta(minutes=10))  # type: ignore[attr-defined]
    delete_entities(repository, {"driver": [2]})
    write_online(repository, "stats", fact(2, NOON_US + 5 * MINUTE_US, 24))
    assert read(repository, 2) == [None]


def test_every_view_with_the_key_is_reached_and_others_are_not(tmp_path: Path) -> None:
    for name in ("stats", "more", "pairs"):
        write_source(tmp_path, [(1, 5, 1)], name)
    views = [view(), view("more"), view("pairs", (DRIVER, CAR))]
    repository = open_repository(tmp_path, views)
    materialize(repository, MIN_US, NOON_US)
    assert delete_entities(repository, {"driver": [1]}).views == {"stats": 1, "more": 1}
    assert read_online(repository, ["pairs:x"], {"driver": [1], "car": [101]}).to_dict()["x"] == [1]
    assert delete_entities(repository, {"driver": [1], "car": [101]}).views["pairs"] == 1
    assert read_online(repository, ["pairs:x"], {"driver": [1], "car": [101]}).to_dict()["x"] == [None]
    repository.close()


def test_older_version_of_a_view_forgets_the_entity_too(tmp_path: Path) -> None:
    write_source(tmp_path, [(1, 5, 1)])
    write_source(tmp_path, [(1, 5, 2)], "other")
    (tmp_path / "feature_store.yaml").write_text("project: tests\nonline_store: {type: sqlite, path: online.db}\n")
    with FeatureStore(repo_path=tmp_path) as store:
        store.apply([DRIVER, view()])
        store.materialize(None, None, disable_event_timestamp=True)
        source = FileSource(path="other.parquet", timestamp_field="ts")
        changed = FeatureView(name="stats", source=source, entities=[DRIVER], schema=[Field(name="x", dtype=Int64)])
        store.apply([DRIVER, changed])
        assert store.get_online_features(["stats@v1:x"], [{"driver": 1}]).to_dict()["x"] == [1]
        assert len(store.delete_entities([{"driver": 1}]).older_tables) == 1
        assert store.get_online_features(["stats@v1:x"], [{"driver": 1}]).to_dict()["x"] == [None]


@pytest.mark.parametrize(
    ("rows", "views", "error", "words"),
    [
        ([{"rider": 1}], None, RequestError, "join keys of this project: driver"),
        ([{"rider": 1}], ["stats"], RequestError, "needs the join key 'driver'"),
        ([{"driver": None}], None, InputError, "row 0, column 'driver'"),
        ([{"driver": 1}, {"driver": "x"}], None, TypeMismatchError, "driver"),
        (7, None, InputError, "entity_rows"),
        ([{"driver": 1}], "stats", RequestError, "pass a list"),
    ],
)
def test_wrong_request_deletes_nothing(
    repository: Repository, rows: Any, views: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        delete_entities(repository, rows, views)
    assert read(repository, 1) == [10]


# --- Full refresh ----------------------------------------------------------------------------------------------------


def test_rows_gone_from_the_source_are_gone_and_new_ones_there(repository: Repository, tmp_path: Path) -> None:
    write_source(tmp_path, [(1, 5, 11), (4, 1, 40)])
    report = refresh_fully(repository)
    assert report.rows == 2
    assert read(repository, 1, 2, 3, 4) == [11, None, None, 40]


def test_incremental_load_goes_on_where_the_refresh_ended(repository: Repository, tmp_path: Path) -> None:
    refresh_fully(repository)
    assert materialize_incremental(repository, NOON_US).rows == 0
    write_source(tmp_path, [(1, 5, 10), (2, 0, 99)])
    materialize_incremental(repository, NOON_US)
    assert read(repository, 1, 2, 3) == [10, 99, 30]


def test_deleted_entity_stays_deleted(repository: Repository) -> None:
    delete_entities(repository, {"driver": [2]})
    refresh_fully(repository)
    assert read(repository, 1, 2) == [10, None]


class Pushed(MemoryOnlineStore):
    """Somebody else's push arrives while the refresh writes."""

    during: Any = None

    def write(self, batch: WriteBatch) -> WriteResult:
        result = super().write(batch)
        if self.during is not None:
            during, self.during = self.during, None
            during()
        return result


def test_what_is_pushed_while_it_runs_stays_however_old_its_times(tmp_path: Path) -> None:
    write_source(tmp_path, [(1, 5, 10), (2, 5, 20)])
    store = Pushed()
    repository = open_repository(tmp_path, [view()], online=store)
    materialize(repository, MIN_US, NOON_US)
    table = repository.snapshot().storage("stats").table
    late = open_repository(tmp_path, online=store)
    store.during = lambda: write_online(late, "stats", fact(2, NOON_US - MINUTE_US, 29))
    refresh_fully(repository)
    assert repository.snapshot().storage("stats").table != table
    assert read(repository, 1, 2) == [10, 29]
    repository.close()
    late.close()


def test_process_reads_the_old_table_until_it_looks_again(repository: Repository, tmp_path: Path) -> None:
    other = open_repository(tmp_path, online=repository.online, clock=repository.clock)
    assert read(other, 1) == [10]
    write_source(tmp_path, [(1, 5, 11)])
    refresh_fully(repository)
    assert read(other, 1, 2) == [10, 20]
    other.refresh()
    assert read(other, 1, 2) == [11, None]


def test_replaced_table_is_dropped_once_everybody_knows(repository: Repository, tmp_path: Path) -> None:
    other = open_repository(tmp_path, online=repository.online, clock=repository.clock)
    assert read(other, 1) == [10]
    refresh_fully(repository)
    assert len(repository.online.tables("tests.stats.")) == 2
    materialize_incremental(repository, NOON_US)
    assert len(repository.online.tables("tests.stats.")) == 2
    repository.clock.advance(timedelta(minutes=12))  # type: ignore[attr-defined]
    materialize_incremental(repository, NOON_US)
    assert [info.table for info in repository.online.tables("tests.stats.")] == [
        repository.snapshot().storage("stats").table
    ]
    assert read(other, 1) == [10]


def test_reader_of_a_dropped_table_looks_for_the_new_one(repository: Repository, tmp_path: Path) -> None:
    other = open_repository(tmp_path, online=repository.online, clock=repository.clock)
    assert read(other, 1) == [10]
    refresh_fully(repository)
    repository.online.drop([repository.snapshot().storage("stats").replaced[-1]])
    assert read(other, 1) == [10]


def test_writer_to_a_dropped_table_writes_to_the_new_one(repository: Repository, tmp_path: Path) -> None:
    other = open_repository(tmp_path, online=repository.online, clock=repository.clock)
    assert read(other, 1) == [10]
    refresh_fully(repository)
    repository.online.drop([repository.snapshot().storage("stats").replaced[-1]])
    assert write_online(other, "stats", fact(1, NOON_US - MINUTE_US, 12)).written == 1
    assert read(repository, 1) == [12]


def test_tables_of_quick_refreshes_are_all_dropped(repository: Repository) -> None:
    for _ in range(3):
        refresh_fully(repository)
    assert len(repository.online.tables("tests.stats.")) == 4
    repository.clock.advance(timedelta(minutes=12))  # type: ignore[attr-defined]
    materialize_incremental(repository, NOON_US)
    assert [info.table for info in repository.online.tables("tests.stats.")] == [
        repository.snapshot().storage("stats").table
    ]


@pytest.mark.parametrize("is_taken", [True, False])
def test_refresh_whose_commit_nobody_knows_about_keeps_the_table_for_a_week(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    commit = repository.registry.commit

    def lost(*args: Any, **options: Any) -> None:
        if is_taken:
            commit(*args, **options)
        raise RegistryError("the connection is lost")

    monkeypatch.setattr(repository.registry, "commit", lost)
    with pytest.raises(MaterializationError, match="the connection is lost"):
        refresh_fully(repository)
    monkeypatch.undo()
    assert len(repository.online.tables("tests.stats.")) == 2
    repository.refresh()
    assert read(repository, 1) == [10]
    repository.clock.advance(timedelta(days=8))  # type: ignore[attr-defined]
    refresh_fully(repository)
    # The new one, and the one that it has just replaced.
    assert {info.table for info in repository.online.tables("tests.stats.")} == {
        repository.snapshot().storage("stats").table,
        repository.snapshot().storage("stats").replaced[-1],
    }


class Failing(MemoryOnlineStore):
    """Loses its connection at a write."""

    fails = False

    def write(self, batch: WriteBatch) -> WriteResult:
        if self.fails:
            raise StoreUnavailableError("the store is gone")
        return super().write(batch)


def test_refresh_that_fails_replaces_nothing(tmp_path: Path) -> None:
    write_source(tmp_path, [(1, 5, 10)])
    store = Failing()
    repository = open_repository(tmp_path, [view()], online=store)
    materialize(repository, MIN_US, NOON_US)
    version = repository.snapshot().version
    store.fails = True
    with pytest.raises(MaterializationError, match="the store is gone"):
        refresh_fully(repository)
    store.fails = False
    assert repository.refresh().version == version
    assert len(store.tables("tests.")) == 1
    assert read(repository, 1) == [10]
    repository.close()


def test_view_without_a_history_cannot_be_refreshed(tmp_path: Path) -> None:
    pushed = PushSource(name="push", timestamp_field="ts")
    alone = FeatureView(name="stats", source=pushed, entities=[DRIVER], schema=[Field(name="x", dtype=Int64)])
    repository = open_repository(tmp_path, [alone])
    with pytest.raises(MaterializationError, match="has no history"):
        refresh_fully(repository, ["stats"])
    assert [info.table for info in repository.online.tables("tests.")] == ["tests.stats.1"]
    repository.close()


def test_rollback_keeps_the_refreshed_table(tmp_path: Path) -> None:
    write_source(tmp_path, [(1, 5, 1)])
    (tmp_path / "feature_store.yaml").write_text("project: tests\nonline_store: {type: sqlite, path: online.db}\n")
    with FeatureStore(repo_path=tmp_path) as store:
        store.apply([DRIVER, view()])
        first = store.context.snapshot().version
        store.materialize(None, None, full_refresh=True)
        table = store.context.snapshot().storage("stats").table
        store.apply([DRIVER, view(description="changed")])
        store.rollback(first)
        assert store.context.snapshot().storage("stats").table == table
        assert store.get_online_features(["stats:x"], [{"driver": 1}]).to_dict()["x"] == [1]
        assert store.get_online_features(["stats@v1:x"], [{"driver": 1}]).to_dict()["x"] == [1]


def sqlite(folder: Path) -> OnlineStore:
    return SqliteOnlineStore.from_config({"path": "online.db"}, OnlineLocation("tests", str(folder)))


def test_refresh_is_the_same_as_loading_into_an_empty_store(tmp_path: Path) -> None:
    write_source(tmp_path, [(driver, 5 + driver % 3, driver) for driver in range(500)])
    store = sqlite(tmp_path)
    repository = open_repository(tmp_path, [view()], online=store, clock=ManualClock(NOON_US))
    materialize(repository, MIN_US, NOON_US)
    loaded = dict(store.scan_all("tests.stats.1"))
    refresh_fully(repository)
    assert dict(store.scan_all(repository.snapshot().storage("stats").table)) == loaded
    repository.close()
