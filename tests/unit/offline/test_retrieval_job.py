"""What a retrieval gives beside its values: batches, files, SQL, explanation, report; and views used in other ways."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backends.duckdb.small_views import FRAME, UTC_US, facts, opened, training_set, view_of, write
from parity.repository import NOON, Repository, open_repository
from tiffin.definitions import Entity, FeatureService, FeatureView, Field, FileSource
from tiffin.errors import InputError, NotFoundError, RequestError, StoreError, TypeMismatchError
from tiffin.operations.retrieve import retrieve
from tiffin.time import to_us
from tiffin.types import Array, Float64, Int64, ValueType


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    write(facts(), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    yield repository
    repository.close()


# --- Lazy results ----------------------------------------------------------------------------------------------------


def test_nothing_is_read_until_a_result_is_asked_for(tmp_path: Path) -> None:
    repository = opened(tmp_path)
    job = training_set(repository)
    write(facts(), tmp_path / "stats.parquet")
    assert job.to_arrow()["x"].to_pylist() == [2, 3, None]
    repository.close()


def test_result_is_computed_once(repository: Repository, tmp_path: Path) -> None:
    job = training_set(repository)
    first = job.to_arrow()
    (tmp_path / "stats.parquet").unlink()
    assert job.to_arrow().equals(first)
    assert job.to_df()["x"].tolist() == [2, 3, pd.NA]
    assert job.to_polars()["x"].to_list() == [2, 3, None]
    assert job.report.views[0].matched == 2


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 1000])
def test_batches_make_the_same_table(batch_rows: int, repository: Repository) -> None:
    job = training_set(repository)
    batches = list(job.to_arrow_batches(batch_rows=batch_rows))
    assert max(batch.num_rows for batch in batches) <= batch_rows
    assert pa.Table.from_batches(batches).equals(job.to_arrow())


def test_batches_of_an_empty_frame_keep_their_schema(repository: Repository) -> None:
    job = training_set(repository, FRAME.slice(0, 0))
    batches = list(job.to_arrow_batches())
    assert sum(batch.num_rows for batch in batches) == 0
    assert all(batch.schema.equals(job.to_arrow().schema) for batch in batches)


def test_columns_come_in_request_order(tmp_path: Path) -> None:
    write(facts(y=pa.array([0.5, 1.5, 2.5])), tmp_path / "stats.parquet")
    repository = opened(tmp_path, schema={"x": Int64, "y": Float64})
    for asked in (["stats:y", "stats:x"], ["stats:x", "stats:y"], ["stats:y"]):
        names = [reference.partition(":")[2] for reference in asked]
        assert training_set(repository, FRAME, asked).to_arrow().column_names == ["driver", "event_timestamp", *names]
    repository.close()


# --- Report and explanation ------------------------------------------------------------------------------------------


def test_report_adds_up_and_prints(tmp_path: Path) -> None:
    created = pa.array([5, 30, 10], UTC_US)
    write(facts(created=created), tmp_path / "stats.parquet")
    repository = opened(tmp_path, mode="event")
    job = training_set(repository)
    (view,) = job.report.to_dict()["views"]
    assert view == {
        "view": "stats", "rows": 3, "matched": 2, "expired": 0, "missing": 1, "ties": 0, "known_later": 1,
    }  # fmt: skip
    lines = str(job.report).splitlines()
    assert lines[0].split() == ["view", "rows", "matched", "expired", "missing", "ties", "known", "later"]
    assert lines[1].split() == ["stats", "3", "2", "0", "1", "0", "1"]
    repository.close()


def test_explain_names_files_mode_and_sql_and_runs_nothing(repository: Repository) -> None:
    text = training_set(repository).explain()
    assert "stats: 1 file(s)" in text
    assert "known by the entity time" in text
    assert "1 of 1 features" in text
    assert "ASOF" in text


# --- SQL -------------------------------------------------------------------------------------------------------------


def ran(sql: str, frame: object) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("entity_df", frame)
        return connection.sql(sql).to_arrow_table()


@pytest.mark.parametrize("mode", ["known", "event"])
def test_sql_equals_the_fast_path_for_views_of_every_kind(mode: str, tmp_path: Path) -> None:
    """Two keys, no keys, ttl, created times, defaults, odd names; on a frame with its time under another name."""
    stamps = {"when": pa.array([5, 5, 10, 12], UTC_US), "seen it": pa.array([5, 9, 30, 12], UTC_US)}
    pair = {"left key": pa.array(["a", "a", "b", None]), "r": pa.array([1, 1, 2, 2], pa.int64())}
    values = {'wind "speed"': pa.array([1, 2, None, 4], pa.int64())}
    write(pa.table(pair | stamps | values), tmp_path / "pairs.parquet")
    write(pa.table(stamps | {"rate": pa.array([0.5, 0.25, None, 4.0])}), tmp_path / "market.parquet")
    times = {"timestamp_field": "when", "created_timestamp_column": "seen it"}
    left = Entity(name="left", join_keys=["left key"], value_type=ValueType.STRING)
    right = Entity(name="r", value_type=ValueType.INT64)
    wind = Field(name='wind "speed"', dtype=Int64, default_value=-1)
    views = [
        FeatureView(
            name="pairs", source=FileSource(path="pairs.parquet", **times), entities=[left, right], schema=[wind],
            ttl=timedelta(microseconds=4),
        ),
        FeatureView(
            name="market", source=FileSource(path="market.parquet", **times), entities=[],
            schema=[Field(name="rate", dtype=Float64)],
        ),
    ]  # fmt: skip
    repository = open_repository(tmp_path, views, mode=mode)
    lefts = ["a", "b", "a", None, "a", "b"]
    frame = pa.table(
        {
            "booked at": pa.array([5, 10, 9, 10, 14, 31], UTC_US),
            "left key": pa.array(lefts),
            "r": pa.array([1, 2, 1, 2, 1, 2], pa.int64()),
            "note": pa.array(range(6)),
        }
    )
    job = retrieve(repository, frame, ["market:rate", "pairs"])
    fast = job.to_arrow()
    slow = ran(job.to_sql(), frame)
    repository.close()
    assert fast['wind "speed"'].to_pylist() != [-1] * 6
    assert slow.column_names == fast.column_names
    assert slow.to_pylist() == fast.to_pylist()


# --- Persist ---------------------------------------------------------------------------------------------------------


def test_persist_writes_what_to_arrow_gives(repository: Repository, tmp_path: Path) -> None:
    job = training_set(repository)
    path = job.persist(tmp_path / "made" / "set.parquet")
    assert path == str(tmp_path / "made" / "set.parquet")
    assert pq.read_table(path).equals(job.to_arrow())
    assert os.listdir(tmp_path / "made") == ["set.parquet"]


def test_persist_never_overwrites_unless_it_is_told_to(repository: Repository, tmp_path: Path) -> None:
    file = tmp_path / "set.parquet"
    file.write_text("precious")
    job = training_set(repository)
    with pytest.raises(StoreError, match="there already") as caught:
        job.persist(file)
    assert "allow_overwrite" in caught.value.hint
    assert file.read_text() == "precious"
    job.persist(FileSource(path=str(file)), allow_overwrite=True)
    assert pq.read_table(file).equals(job.to_arrow())


def test_persist_that_fails_leaves_what_was_there(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError) as caught:
        training_set(repository).persist(tmp_path / "file" / "set.parquet")
    assert caught.value.hint
    with pytest.raises(InputError, match="names no file"):
        training_set(repository).persist(object())
    assert sorted(os.listdir(tmp_path)) == ["file", "registry.db", "stats.parquet"]


# --- PIT-11: one view in several ways --------------------------------------------------------------------------------


def test_one_view_is_used_twice_through_a_service(tmp_path: Path) -> None:
    write(facts(), tmp_path / "stats.parquet")
    stats = view_of("stats.parquet")
    service = FeatureService(
        name="both",
        features=[
            stats.with_name("first").with_join_key_map({"driver": "winner"}),
            stats.with_name("second").with_join_key_map({"driver": "loser"})[["x"]],
        ],
    )
    repository = open_repository(tmp_path, [stats, service])
    frame = pa.table(
        {"loser": pa.array([2, 1, None]), "winner": pa.array([1, 404, 2]), "event_timestamp": FRAME["event_timestamp"]}
    )
    for asked in (service, repository.snapshot().service("both")):
        answer = retrieve(repository, frame, asked, full_feature_names=True).to_arrow()
        assert answer.column_names == ["loser", "winner", "event_timestamp", "first__x", "second__x"]
        assert answer["first__x"].to_pylist() == [2, None, 3]
        assert answer["second__x"].to_pylist() == [3, 2, None]
    with pytest.raises(InputError, match="no column 'winner'"):
        retrieve(repository, frame.drop_columns(["winner"]), service, full_feature_names=True)
    repository.close()


def test_service_that_names_an_unknown_view_or_feature_is_refused(repository: Repository) -> None:
    for reference in ("stats:xx", "status:x"):
        with pytest.raises(NotFoundError, match="did you mean"):
            retrieve(repository, FRAME, FeatureService(name="s", features=[reference]))


# --- PIT-12: the facts are the rows ----------------------------------------------------------------------------------


def test_facts_between_two_dates_are_the_rows(repository: Repository) -> None:
    job = retrieve(repository, None, ["stats:x"], start_date="1970-01-01T00:00:00.000006", end_date="1970-01-02")
    table = job.to_arrow()
    assert table.column_names == ["driver", "event_timestamp", "x"]
    assert table.schema.field("event_timestamp").type == UTC_US
    assert table.drop_columns(["event_timestamp"]).to_pylist() == [{"driver": 1, "x": 2}, {"driver": 2, "x": 3}]
    assert job.to_df()["x"].tolist() == [2, 3]


def test_rows_made_of_facts_may_be_those_of_some_keys(repository: Repository) -> None:
    days = {"start_date": "1970-01-01", "end_date": "1970-01-02"}
    for keys in ({"driver": [2, 404]}, [{"driver": "2"}], pa.table({"driver": pa.array([2, None], pa.int32())})):
        table = retrieve(repository, None, ["stats:x"], keys=keys, **days).to_arrow()
        assert set(table["driver"].to_pylist()) == {2}
    assert retrieve(repository, None, ["stats:x"], keys={"driver": []}, **days).to_arrow().num_rows == 0


def test_wrong_keys_for_rows_made_of_facts_are_refused(repository: Repository) -> None:
    with pytest.raises(InputError, match=r"(?s)'drivr' is no join key.*did you mean driver"):
        retrieve(repository, None, ["stats:x"], keys={"drivr": [1]})
    with pytest.raises(TypeMismatchError, match="driver"):
        retrieve(repository, None, ["stats:x"], keys={"driver": [1.5]})
    with pytest.raises(InputError, match="keys has no columns"):
        retrieve(repository, None, ["stats:x"], keys=[])
    with pytest.raises(RequestError, match="go without entity rows"):
        retrieve(repository, FRAME, ["stats:x"], keys={"driver": [1]})


def test_rows_made_of_facts_end_at_now_and_begin_a_ttl_before(tmp_path: Path) -> None:
    now = to_us(NOON)
    hour = 3_600_000_000
    stamps = pa.array([now - 3 * hour, now - 2 * hour, now + 1], UTC_US)
    write(facts(ts=stamps, created=stamps), tmp_path / "stats.parquet")
    stats = view_of("stats.parquet")
    limited = FeatureView(
        name="stats", source=stats.source, entities=stats.entities, schema=stats.schema, ttl=timedelta(hours=2)
    )
    repository = open_repository(tmp_path, [limited])
    assert retrieve(repository, None, ["stats:x"]).to_arrow()["x"].to_pylist() == [2]
    repository.close()


def test_default_replaces_null_in_every_form(tmp_path: Path) -> None:
    """ONL-5: in Arrow, pandas, polars, batches and SQL."""
    items = pa.array([[1], None, [2]], pa.list_(pa.int64()))
    write(facts(x=pa.array([1, None, 3]), items=items), tmp_path / "stats.parquet")
    stats = view_of("stats.parquet")
    schema = [
        Field(name="x", dtype=Int64, default_value=-1),
        Field(name="items", dtype=Array(Int64), default_value=[7]),
    ]
    view = FeatureView(name="stats", source=stats.source, entities=stats.entities, schema=schema)
    repository = open_repository(tmp_path, [view])
    job = training_set(repository)
    expected = {"x": [-1, 3, -1], "items": [[7], [2], [7]]}
    tables = [job.to_arrow(), pa.Table.from_batches(list(job.to_arrow_batches(1))), ran(job.to_sql(), FRAME)]
    for table in tables:
        assert {name: table[name].to_pylist() for name in expected} == expected
    assert job.to_df()["x"].tolist() == expected["x"]
    assert job.to_polars()["items"].to_list() == expected["items"]
    assert [(view.matched, view.missing) for view in job.report.views] == [(2, 1)]
    repository.close()
