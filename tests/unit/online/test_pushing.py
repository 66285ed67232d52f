"""Pushes: into the online store, to the history, or both; all rows are checked before any is written (WR-6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import Entity, FeatureStore, FeatureView, Field, FileSource, LabelView, ManualClock, PushMode, PushSource
from tiffin.config import RepoConfig
from tiffin.errors import InputError, NotFoundError, RequestError, StoreError, TypeMismatchError, UnsupportedError
from tiffin.time import to_us
from tiffin.types import Int64, Map, String, ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
UTC_US = pa.timestamp("us", "UTC")


def rows(*trips: int | None, hour: int = 11, **columns: Any) -> pd.DataFrame:
    moment = pd.Timestamp(f"2024-06-01T{hour}:30", tz="UTC")
    given = {"driver_id": list(range(1, len(trips) + 1)), "ts": [moment] * len(trips), "trips": list(trips)}
    return pd.DataFrame({**given, "note": [None] * len(trips), **columns})


def opened(folder: Path, path: str = "stats.parquet", **views: FeatureView) -> FeatureStore:
    table = pa.table(
        {
            "driver_id": pa.array([1, 2]),
            "ts": pa.array([NOON_US - 3_600_000_000] * 2, UTC_US),
            "trips": pa.array([1, 2]),
            "note": pa.array(["a", "b"]),
        }
    )
    file = folder / "stats.parquet" if path.endswith("parquet") else folder / path / "first.parquet"
    file.parent.mkdir(exist_ok=True)
    pq.write_table(table, file)
    store = FeatureStore(
        config=RepoConfig(project="tests", repo_path=folder), clock=ManualClock("2024-06-01T12:00:00Z")
    )
    batch = FileSource(name="history", path=path, timestamp_field="ts")
    push = PushSource(name="pushed", batch_source=batch)
    trips = FeatureView(name="stats", entities=[DRIVER], source=push, schema=[Field(name="trips", dtype=Int64)])
    notes = FeatureView(name="notes", entities=[DRIVER], source=push, schema=[Field(name="note", dtype=String)])
    store.apply([trips, notes])
    return store


def online(store: FeatureStore) -> Any:
    answer = store.get_online_features(["stats:trips", "notes:note"], {"driver_id": [1, 2]}).to_dict()
    return answer["trips"], answer["note"]


def offline(store: FeatureStore) -> Any:
    spine = pa.table({"driver_id": [1, 2], "event_timestamp": pa.array([NOON_US] * 2, UTC_US)})
    return store.get_historical_features(spine, ["stats:trips"]).to_arrow()["trips"].to_pylist()


def test_a_push_goes_online_to_every_view_of_the_source(tmp_path: Path) -> None:
    store = opened(tmp_path)
    report = store.push("pushed", rows(10, 20, note=["x", "y"]))
    assert {name: write.written for name, write in report.views.items()} == {"notes": 2, "stats": 2}
    assert (online(store), offline(store), report.appended) == (([10, 20], ["x", "y"]), [1, 2], 0)


@pytest.mark.parametrize("path", ["stats.parquet", "folder"])
def test_a_push_appends_to_the_history_and_rewrites_nothing(path: str, tmp_path: Path) -> None:
    store = opened(tmp_path, path)
    first = tmp_path / (path if path.endswith("parquet") else "folder/first.parquet")
    before = (first.read_bytes(), first.stat().st_mtime_ns)
    assert store.push("pushed", rows(10, 20), to=PushMode.OFFLINE).appended == 2
    assert online(store) == ([None, None], [None, None])
    assert offline(store) == [10, 20]
    store.push("pushed", rows(30, None, hour=10))
    store.push("pushed", rows(40, 50), to=PushMode.ONLINE_AND_OFFLINE)
    assert (online(store)[0], sorted(offline(store))) == ([40, 50], sorted(offline(store)))
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    store.materialize_incremental("2024-06-01T12:00:00Z")
    assert online(store)[0] == offline(store)


def test_a_row_that_is_too_large_for_the_store_is_refused_before_any_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WR-6: in the second of two views, both of which could be written to."""
    store = opened(tmp_path)
    kind = type(store.context.online)
    monkeypatch.setattr(kind, "capabilities", replace(kind.capabilities, max_row_bytes=1_000))
    with pytest.raises(InputError, match=r"a fact of feature view notes has 1,\d+ bytes with its key"):
        store.push("pushed", rows(10, 20, note=["x", "y" * 1_000]), to=PushMode.ONLINE_AND_OFFLINE)
    assert (online(store), offline(store)) == (([None, None], [None, None]), [1, 2])


@pytest.mark.parametrize("to", [PushMode.ONLINE, PushMode.OFFLINE, PushMode.ONLINE_AND_OFFLINE])
def test_a_row_of_the_future_goes_nowhere_and_is_told(to: PushMode, tmp_path: Path) -> None:
    store = opened(tmp_path)
    moments = pd.to_datetime(["2024-06-01T13:00Z", "2024-06-01T11:59Z"])
    report = store.push("pushed", rows(10, 20).assign(ts=moments), to=to)
    assert report.refused == (0,)
    assert report.appended == (0 if to is PushMode.ONLINE else 1)
    assert online(store)[0] == ([None, None] if to is PushMode.OFFLINE else [None, 20])
    store.context.clock.advance(timedelta(hours=2))  # type: ignore[attr-defined]
    assert offline(store) == ([1, 2] if to is PushMode.ONLINE else [1, 20])


@pytest.mark.parametrize("to", [PushMode.ONLINE, PushMode.OFFLINE, PushMode.ONLINE_AND_OFFLINE])
@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (rows(1, 2).drop(columns="trips"), InputError, "'trips' is missing"),
        (rows(1, 2).assign(driver_id=[1, None]), InputError, "row 1: join key 'driver_id' is null"),
        (rows(1, 2).assign(ts=[pd.Timestamp("2024-06-01", tz="UTC"), None]), InputError, "row 1"),
        (rows(1, 2).assign(trips=[1, 1.5]), TypeMismatchError, "row 1: 1.5 in column 'trips'"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_written(
    to: PushMode, wrong: pd.DataFrame, error: type[Exception], says: str, tmp_path: Path
) -> None:
    store = opened(tmp_path)
    with pytest.raises(error, match=says):
        store.push("pushed", wrong, to=to)
    assert (online(store), offline(store)) == (([None, None], [None, None]), [1, 2])


def test_a_column_that_the_history_lacks_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(InputError, match=r"(?s)has no column 'tripz'.*trips"):
        store.push("pushed", rows(1, 2, tripz=[1, 2]), to=PushMode.OFFLINE)


def test_unknown_push_sources_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"(?s)no push source 'pushd'.*pushed"):
        opened(tmp_path).push("pushd", rows(1))


def test_rows_can_be_written_to_the_history_of_one_view(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.write_to_offline_store("stats", rows(7, 8)) == 2
    assert offline(store) == [7, 8]
    assert store.write_to_offline_store("stats", rows(1).head(0)) == 0


def test_a_history_that_cannot_be_appended_to_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    only = PushSource(name="only", timestamp_field="ts")
    store.apply([FeatureView(name="p", entities=[DRIVER], source=only, schema=[Field(name="trips", dtype=Int64)])])
    with pytest.raises(RequestError, match="has no history"):
        store.push("only", rows(1), to=PushMode.OFFLINE)
    glob = PushSource(name="glob", batch_source=FileSource(path="sta*.parquet", name="g", timestamp_field="ts"))
    store.apply([FeatureView(name="g", entities=[DRIVER], source=glob, schema=[Field(name="trips", dtype=Int64)])])
    with pytest.raises(UnsupportedError, match="cannot be appended to"):
        store.push("glob", rows(1), to=PushMode.OFFLINE)


def test_a_folder_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    (tmp_path / "stats.parquet.appended").write_text("in the way")
    with pytest.raises(StoreError, match="nothing was appended"):
        store.push("pushed", rows(1, 2), to=PushMode.OFFLINE)
    assert offline(store) == [1, 2]


def test_labels_are_pushed_and_read_like_features(tmp_path: Path) -> None:
    store = opened(tmp_path)
    source = PushSource(name="labels", batch_source=FileSource(path="stats.parquet", name="l", timestamp_field="ts"))
    fields = [Field(name="trips", dtype=Int64), Field(name="note", dtype=String)]
    view = LabelView(name="labels", entities=[DRIVER], source=source, schema=fields, labeler_field="note")
    store.apply([view])
    store.push("labels", rows(5, 6, note=["ann", "bob"]), to=PushMode.ONLINE_AND_OFFLINE)
    spine = pa.table({"driver_id": [1, 2], "event_timestamp": pa.array([NOON_US] * 2, UTC_US)})
    assert store.get_historical_features(spine, ["labels:note"]).to_arrow()["note"].to_pylist() == ["ann", "bob"]
    assert [found.name for found in store.list_label_views()] == ["labels"]
    assert store.get_label_view("labels").labeler_field == "note"


def test_structs_may_be_declared_as_maps(tmp_path: Path) -> None:
    part = pa.struct([("a", pa.string()), ("n", pa.int64())])
    table = pa.table(
        {
            "driver_id": [1, 2, 3],
            "ts": pa.array([NOON_US - 1] * 3, UTC_US),
            "meta": pa.array([{"a": "x", "n": 1}, None, {"a": None, "n": 2}], part),
        }
    )
    pq.write_table(table, tmp_path / "meta.parquet")
    store = opened(tmp_path)
    source = PushSource(name="metas", batch_source=FileSource(path="meta.parquet", timestamp_field="ts"))
    store.apply([FeatureView(name="m", entities=[DRIVER], source=source, schema=[Field(name="meta", dtype=Map)])])
    store.materialize("2024-05-01", "2024-06-02", ["m"])
    spine = pa.table({"driver_id": [1, 2, 3], "event_timestamp": pa.array([NOON_US] * 3, UTC_US)})
    trained = store.get_historical_features(spine, ["m:meta"]).to_arrow()["meta"].to_pylist()
    assert trained == [[("a", "x"), ("n", "1")], None, [("a", None), ("n", "2")]]
    served = store.get_online_features(["m:meta"], {"driver_id": [1, 2, 3]}).to_dict()["meta"]
    assert served == [{"a": "x", "n": "1"}, None, {"a": None, "n": "2"}]
    pushed = pd.DataFrame({"driver_id": [2], "ts": [pd.Timestamp("2024-06-01T12:00", tz="UTC")], "meta": [{"a": "y"}]})
    store.push("metas", pushed, to=PushMode.ONLINE_AND_OFFLINE)
    assert store.get_online_features(["m:meta"], {"driver_id": [2]}).to_dict()["meta"] == [{"a": "y"}]
