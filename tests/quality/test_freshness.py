"""How fresh views are: from the data, online and offline, against their targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quality.projects import DRIVER, MINUTE, NOON, PUSHED, open_store, source, view, write_source
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.online import WriteBatch, WriteResult
from tiffin.definitions import Aggregation, FeatureView, Field, FileSource, LabelView, PushSource
from tiffin.errors import DefinitionError, DefinitionTypeError, NotFoundError, SourceError, StoreUnavailableError
from tiffin.operations import newest as newest_module
from tiffin.quality.freshness import Status, ViewFreshness
from tiffin.store import FeatureStore
from tiffin.time import to_us
from tiffin.types import Int64, String


def only(store: FeatureStore) -> ViewFreshness:
    (found,) = store.freshness().views
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_source(tmp_path, [90, 30, 60])
    return tmp_path


@pytest.fixture
def loaded(folder: Path) -> Iterator[FeatureStore]:
    with open_store(folder, view(freshness=timedelta(hours=1))) as store:
        store.materialize_incremental(NOON)
        yield store


def test_newest_fact_is_judged_against_the_target(loaded: FeatureStore) -> None:
    found = only(loaded)
    assert (found.status, found.age_us, found.reason) == (Status.FRESH, 30 * 60_000_000, "")
    assert found.online_us == found.offline_us == to_us(NOON - 30 * MINUTE)
    loaded.context.clock.advance(30 * MINUTE)  # type: ignore[attr-defined]
    assert only(loaded).status is Status.FRESH
    loaded.context.clock.advance(timedelta(microseconds=1))  # type: ignore[attr-defined]
    assert only(loaded).status is Status.STALE
    assert (
        "its newest fact is 1h old, where 1h is allowed: nothing newer has come from its source" in only(loaded).reason
    )


def test_job_that_loads_nothing_new_makes_nothing_fresh(loaded: FeatureStore) -> None:
    loaded.context.clock.advance(timedelta(hours=2))  # type: ignore[attr-defined]
    loaded.materialize_incremental(NOON + timedelta(hours=2))
    found = only(loaded)
    assert found.status is Status.STALE
    assert found.last_run is not None
    assert found.last_run.started_us == to_us(NOON + timedelta(hours=2))


def test_facts_that_are_not_loaded_are_told(loaded: FeatureStore, folder: Path) -> None:
    write_source(folder, [90, 30, 60, -50])
    loaded.context.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]
    found = only(loaded)
    assert found.status is Status.STALE
    assert found.reason.endswith("its source has facts up to 2024-06-01T12:50:00Z that are not loaded")
    loaded.materialize_incremental(NOON + timedelta(hours=1))
    assert only(loaded).status is Status.FRESH


def test_failed_run_is_told(loaded: FeatureStore, folder: Path) -> None:
    loaded.context.registry.record_run(
        "shop", replace(loaded.materialization_runs()[0], error="the disk is full", view="stats")
    )
    write_source(folder, [-50])
    loaded.context.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]
    assert only(loaded).reason.endswith("that are not loaded; its last run failed: the disk is full")


def test_nothing_online_is_unknown_and_not_fresh(folder: Path) -> None:
    with open_store(folder, view(freshness=timedelta(days=1))) as store:
        report = store.freshness()
    assert [each.status for each in report.late] == [Status.UNKNOWN]
    assert report.late[0].reason == "nothing was written online yet"
    assert report.late[0].offline_us is not None


def test_view_without_target_is_shown_and_not_judged(folder: Path) -> None:
    with open_store(folder, view()) as store:
        assert only(store).status is Status.NO_TARGET
        assert store.freshness().late == ()


def test_disabled_view_is_not_judged(folder: Path) -> None:
    with open_store(folder, view(freshness=MINUTE, enabled=False)) as store:
        assert only(store).status is Status.NO_TARGET


def test_view_that_is_only_offline_is_judged_by_its_source(folder: Path) -> None:
    with open_store(folder, view(online=False, freshness=timedelta(minutes=10))) as store:
        found = only(store)
    assert (found.status, found.is_online, found.age_us) == (Status.STALE, False, 30 * 60_000_000)
    assert found.reason.endswith("nothing newer is in its source")


def test_project_without_online_store_is_judged_by_its_sources(folder: Path) -> None:
    with open_store(folder, view(freshness=timedelta(hours=1)), online_store=None) as store:
        assert only(store).status is Status.FRESH


def test_push_counts_at_once(folder: Path) -> None:
    with open_store(folder, PUSHED) as store:
        for seconds in (50, 10, 30):
            store.push("push", [{"driver": 1, "ts": NOON - timedelta(seconds=seconds), "x": 1}])
        assert only(store).online_us == to_us(NOON - timedelta(seconds=10))


def test_push_counts_for_another_process(folder: Path) -> None:
    with open_store(folder, PUSHED) as store:
        for seconds in (50, 10):
            store.push("push", [{"driver": 1, "ts": NOON - timedelta(seconds=seconds), "x": 1}])
        with open_store(folder, PUSHED) as other:
            # The first push is stamped at once, the second when the second is over or the store is closed.
            assert only(other).online_us in (to_us(NOON - timedelta(seconds=50)), to_us(NOON - timedelta(seconds=10)))
    with open_store(folder, PUSHED) as other:
        assert only(other).online_us == to_us(NOON - timedelta(seconds=10))


def test_windows_count_too(folder: Path) -> None:
    counted = FeatureView(
        name="trips",
        source=PushSource(name="push", batch_source=source()),
        entities=[DRIVER],
        aggregations=[Aggregation(column="x", function="sum", time_window=timedelta(days=1))],
    )
    with open_store(folder, counted) as store:
        store.push("push", [{"driver": 1, "ts": NOON - MINUTE, "x": 1}, {"driver": 2, "ts": NOON - 2 * MINUTE, "x": 1}])
        assert only(store).online_us == to_us(NOON - MINUTE)


class Counting(MemoryOnlineStore):
    """Counts what is written to stamps, and can fail at them."""

    def __init__(self) -> None:
        super().__init__()
        self.stamped = 0
        self.fails = False

    def write(self, batch: WriteBatch) -> WriteResult:
        if batch.table.startswith("@newest."):
            self.stamped += 1
            if self.fails:
                raise StoreUnavailableError("the store is gone")
        return super().write(batch)


def test_pushes_cost_no_write_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest_module, "_EVERY_SECONDS", 1e9)
    with open_store(folder, PUSHED) as store:
        counting = Counting()
        counting.ensure(["shop.stats.1"])
        store.context.replace_online(counting)
        for number in range(20):
            store.push("push", [{"driver": 1, "ts": NOON + number * timedelta(seconds=1), "x": 1}])
        assert counting.stamped == 1
        assert only(store).online_us == to_us(NOON + timedelta(seconds=19))
        assert counting.stamped == 2
        store.push("push", [{"driver": 2, "ts": NOON, "x": 1}])
        only(store)
        assert counting.stamped == 2, "nothing newer, nothing to write"


def test_store_that_was_emptied_is_stamped_again(loaded: FeatureStore) -> None:
    online = loaded.context.online
    online.drop([info.table for info in online.tables()])
    loaded.materialize("2024-01-01", NOON)
    assert only(loaded).online_us == to_us(NOON - 30 * MINUTE)


def test_stamp_that_cannot_be_written_fails_no_push(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(folder, PUSHED) as store:
        counting = Counting()
        counting.ensure(["shop.stats.1"])
        counting.fails = True
        store.context.replace_online(counting)
        store.push("push", [{"driver": 1, "ts": NOON, "x": 1}])
        assert "could not be kept: the store is gone" in caplog.text
        counting.fails = False
        assert only(store).online_us == to_us(NOON)


def test_stamps_of_several_writers_do_not_go_back(folder: Path) -> None:
    with open_store(folder, PUSHED) as store, open_store(folder, PUSHED) as other:
        store.push("push", [{"driver": 1, "ts": NOON, "x": 1}])
        other.push("push", [{"driver": 2, "ts": NOON - MINUTE, "x": 1}])
        assert only(other).online_us == only(store).online_us == to_us(NOON)


def test_full_refresh_keeps_what_is_newest(loaded: FeatureStore) -> None:
    loaded.materialize("2024-01-01", NOON, full_refresh=True)
    assert only(loaded).online_us == to_us(NOON - 30 * MINUTE)


def test_teardown_removes_the_stamps(loaded: FeatureStore) -> None:
    loaded.teardown()
    assert loaded.context.online.tables() == []


@pytest.mark.parametrize("options", [{}, {"write_statistics": False}, {"use_deprecated_int96_timestamps": True}])
def test_facts_of_the_future_do_not_count(tmp_path: Path, options: dict[str, Any]) -> None:
    write_source(tmp_path, [5, -(60 * 24 * 365)], **options)
    with open_store(tmp_path, view(online=False)) as store:
        assert only(store).offline_us == to_us(NOON - 5 * MINUTE)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pa.array([1_717_243_199_000_000_999, 1], pa.timestamp("ns")), 1_717_243_199_000_000),
        (pa.array([1_717_243_199_123, 1], pa.timestamp("ms", "UTC")), 1_717_243_199_123_000),
        (pa.array([-1, -2_000_000], pa.timestamp("ns", "UTC")), -1),
        (pa.array(["2024-05-31T23:00:00-01:00", "2024-05-31T23:59:59"]), to_us("2024-06-01T00:00:00Z")),
        (pa.array([date(2024, 5, 31), date(2024, 5, 30)]), to_us("2024-05-31")),
    ],
)
@pytest.mark.parametrize("write_statistics", [True, False])
def test_newest_time_of_any_type(tmp_path: Path, times: pa.Array, expected: int, write_statistics: bool) -> None:
    table = pa.table({"driver": [1, 2], "ts": times, "x": [1, 2]})
    pq.write_table(table, tmp_path / "stats.parquet", write_statistics=write_statistics)
    with open_store(tmp_path, view(online=False)) as store:
        assert only(store).offline_us == expected


def test_newest_time_of_csv(tmp_path: Path) -> None:
    (tmp_path / "stats.csv").write_text("driver,ts,x\n1,2024-06-01T11:00:00Z,1\n2,2024-06-01T10:00:00Z,2\n")
    text = FileSource(name="stats", path="stats.csv", timestamp_field="ts")
    with open_store(tmp_path, view(online=False, source=text)) as store:
        assert only(store).offline_us == to_us("2024-06-01T11:00:00Z")


def test_newest_time_over_many_files_and_changes(tmp_path: Path) -> None:
    (tmp_path / "stats").mkdir()
    for number, ago in enumerate([50, 20, 40]):
        write_source(tmp_path / "stats", [ago], f"part{number}")
    many = FileSource(name="stats", path="stats", timestamp_field="ts")
    with open_store(tmp_path, view(online=False, source=many)) as store:
        assert only(store).offline_us == to_us(NOON - 20 * MINUTE)
        write_source(tmp_path / "stats", [10], "part0")
        assert only(store).offline_us == to_us(NOON - 10 * MINUTE)


def test_source_without_rows_has_no_newest_time(tmp_path: Path) -> None:
    write_source(tmp_path, [])
    with open_store(tmp_path, view(online=False, freshness=MINUTE)) as store:
        found = only(store)
    assert (found.status, found.offline_us, found.reason) == (Status.UNKNOWN, None, "its source has no fact yet")


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_source_that_cannot_be_read_hides_no_other(folder: Path, content: bytes | None) -> None:
    write_source(folder, [1], "other")
    broken = view(online=False, freshness=MINUTE)
    with open_store(folder, broken, view("other", source=source("other"), online=False)) as store:
        (folder / "stats.parquet").unlink()
        if content is not None:
            (folder / "stats.parquet").write_bytes(content)
        other, stats = store.freshness().views
    assert other.offline_us == to_us(NOON - MINUTE)
    assert stats.status is Status.UNKNOWN
    assert "stats" in stats.reason


def test_column_that_is_gone_is_told(folder: Path) -> None:
    wrong = pytest.raises(SourceError, match="'tz', which is the timestamp_field")
    with open_store(folder, view(online=False)) as store, wrong:
        store.context.offline.newest_time(source(), "tz", to_us(NOON))


def test_unknown_view_is_an_error(loaded: FeatureStore) -> None:
    with pytest.raises(NotFoundError, match="stat"):
        loaded.freshness(["stat"])


def test_target_is_kept_in_the_registry_and_changes_show(folder: Path) -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    labels = LabelView(
        name="labels",
        source=source(),
        entities=[DRIVER],
        schema=[Field(name="x", dtype=Int64), Field(name="labeler", dtype=String)],
        freshness=hour,
    )
    assert labels.freshness == hour
    with open_store(folder, view(freshness=hour)) as store:
        store.refresh_registry()
        assert store.get_feature_view("stats").freshness == hour
        assert store.plan([DRIVER, view(freshness=hour)]).is_empty
        changed = store.plan([DRIVER, view(freshness=day)])
        assert not changed.is_empty
        assert changed.snapshot.storage("stats") == store.context.snapshot().storage("stats")
        assert "freshness" in str(changed)


@pytest.mark.parametrize(
    ("given", "error"),
    [(timedelta(seconds=-1), DefinitionError), (3600, DefinitionTypeError), ("1h", DefinitionTypeError)],
)
def test_target_that_makes_no_sense_is_refused(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="freshness"):
        view(freshness=given)


def test_report_is_plain_data(loaded: FeatureStore) -> None:
    (found,) = loaded.freshness().to_dict()["views"]
    assert found["status"] == "fresh"
    assert (found["age_seconds"], found["target_seconds"]) == (1800, 3600)
    assert found["online"] == {"newest": "2024-06-01T11:30:00Z", "age_seconds": 1800, "told_by": "stamp"}
    assert found["last_run"]["rows"] == 3
