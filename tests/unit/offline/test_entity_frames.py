"""Entity rows of every kind: pandas, polars, Arrow, lists of dicts and SQL give one answer and come back untouched."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from backends.duckdb.small_views import UTC_US, facts, opened, training_set, write
from parity.repository import Repository
from tiffin.errors import InputError, RequestError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
ROWS = [
    {"label": "late", "driver": 1, "event_timestamp": NOON, "seats": 4.5},
    {"label": None, "driver": 404, "event_timestamp": NOON, "seats": None},
    {"label": "late", "driver": 1, "event_timestamp": NOON, "seats": 4.5},
    {"label": "early", "driver": 2, "event_timestamp": datetime(1970, 1, 1, tzinfo=UTC), "seats": 0.0},
]
ANSWER = [2, None, 2, None]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    write(facts(), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    yield repository
    repository.close()


def test_arrow_comes_back_with_its_schema_and_metadata(repository: Repository) -> None:
    table = pa.Table.from_pylist(ROWS).replace_schema_metadata({"owner": "us"})
    answer = training_set(repository, table).to_arrow()
    assert answer.select(table.column_names).equals(table)
    assert answer["x"].to_pylist() == ANSWER
    for given in (table.combine_chunks().to_batches()[0], table.to_reader()):
        assert training_set(repository, given).to_arrow()["x"].to_pylist() == ANSWER


def test_chunked_and_sliced_tables_give_the_same_answer(repository: Repository) -> None:
    table = pa.Table.from_pylist(ROWS)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1)])
    assert training_set(repository, chunked).to_arrow()["x"].to_pylist() == ANSWER
    assert training_set(repository, table.slice(2)).to_arrow()["x"].to_pylist() == ANSWER[2:]


def test_pandas_frame_keeps_its_index_its_columns_and_its_types(repository: Repository) -> None:
    frame = pd.DataFrame(ROWS, index=[9, 3, 9, 5])
    frame["group"] = pd.Categorical(["a", "b", "a", "b"])
    frame["many"] = pd.array([1, None, 3, 4], dtype="Int32")
    before = frame.copy(deep=True)
    answer = training_set(repository, frame).to_df()
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(answer[frame.columns], before)
    assert list(answer.columns) == [*before.columns, "x"]
    assert answer["x"].dtype == pd.Int64Dtype()
    assert answer["x"].tolist() == [2, pd.NA, 2, pd.NA]


def test_answer_does_not_share_memory_with_the_frame(repository: Repository) -> None:
    frame = pd.DataFrame(ROWS)
    answer = training_set(repository, frame).to_df()
    answer.loc[0, "label"] = "changed"
    answer.loc[0, "x"] = 99
    assert frame.loc[0, "label"] == "late"


def test_pandas_index_of_several_levels_is_kept(repository: Repository) -> None:
    frame = pd.DataFrame(
        ROWS, index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1), ("b", 2)], names=["p", "q"])
    )
    answer = training_set(repository, frame).to_df()
    assert answer.index.equals(frame.index)
    assert answer.index.names == ["p", "q"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_pandas_times_of_any_unit_and_zone_come_back_as_they_went_in(
    unit: str, zone: str | None, repository: Repository
) -> None:
    times = pd.Series([NOON, NOON]).dt.tz_convert(zone or "UTC")
    times = (times if zone else times.dt.tz_localize(None)).dt.as_unit(unit)
    frame = pd.DataFrame({"driver": [1, 2], "event_timestamp": times})
    answer = training_set(repository, frame).to_df()
    pd.testing.assert_series_equal(answer["event_timestamp"], frame["event_timestamp"])
    assert answer["x"].tolist() == [2, 3]


def test_object_columns_of_python_times_are_read(repository: Repository) -> None:
    kolkata = timezone(timedelta(minutes=330))
    frame = pd.DataFrame({"driver": [1, 2], "event_timestamp": pd.Series([NOON.astimezone(kolkata)] * 2, dtype=object)})
    answer = training_set(repository, frame).to_df()
    assert answer["x"].tolist() == [2, 3]
    assert answer["event_timestamp"].dtype == object


def test_nullable_ids_stay_ids(repository: Repository) -> None:
    """PIT-8: a gap in `Int64` keeps its row and does not make floats."""
    frame = pd.DataFrame({"driver": pd.array([1, None, 2], dtype="Int64"), "event_timestamp": [NOON] * 3})
    answer = training_set(repository, frame).to_df()
    assert answer["driver"].dtype == pd.Int64Dtype()
    assert answer["x"].tolist() == [2, pd.NA, 3]


def test_polars_frames_lazy_or_not_come_back_untouched(repository: Repository) -> None:
    frame = pl.DataFrame(ROWS, schema_overrides={"driver": pl.Int32}).with_columns(
        group=pl.Series(["a", "b"] * 2, dtype=pl.Categorical)
    )
    before = frame.clone()
    for given in (frame, frame.lazy()):
        answer = training_set(repository, given).to_polars()
        assert answer.select(frame.columns).equals(before)
        assert answer.schema == {**frame.schema, "x": pl.Int64}
        assert answer["x"].to_list() == ANSWER
    assert frame.equals(before)


def test_list_of_dicts_and_dict_of_lists_are_rows_too(repository: Repository) -> None:
    before = copy.deepcopy(ROWS)
    answer = training_set(repository, ROWS)
    assert answer.to_arrow()["x"].to_pylist() == ANSWER
    assert answer.to_df()["driver"].tolist() == [1, 404, 1, 2]
    assert before == ROWS
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    assert training_set(repository, columns).to_arrow()["x"].to_pylist() == ANSWER


def test_sql_makes_entity_rows(repository: Repository, tmp_path: Path) -> None:
    columns = "driver, TIMESTAMPTZ '2024-01-01 12:00:00Z' AS event_timestamp"
    sql = f"SELECT {columns} FROM '{tmp_path}/stats.parquet' ORDER BY x"
    answer = training_set(repository, sql).to_arrow()
    assert answer.column_names == ["driver", "event_timestamp", "x"]
    assert answer["driver"].to_pylist() == [1, 1, 2]
    assert answer["x"].to_pylist() == [2, 2, 3]


@pytest.mark.parametrize(
    "sql", ["SELEC 1", "SELECT * FROM nowhere", "SELECT 1 AS driver; SELECT 2", "", "CREATE TABLE t (a INT)"]
)
def test_sql_that_makes_no_rows_is_a_clear_error(sql: str, repository: Repository) -> None:
    with pytest.raises((InputError, RequestError)) as caught:
        training_set(repository, sql).to_arrow()
    assert caught.value.hint


def test_empty_frames_give_empty_typed_answers(repository: Repository) -> None:
    """PIT-10, in every kind of frame."""
    columns = {"driver": pa.array([], pa.int64()), "event_timestamp": pa.array([], UTC_US)}
    table = pa.table(columns)
    for frame in (table, table.to_pandas(), pl.from_arrow(table)):
        job = training_set(repository, frame)
        answer = job.to_arrow()
        assert (answer.num_rows, answer.schema.field("x").type) == (0, pa.int64())
        assert job.to_df()["x"].dtype == pd.Int64Dtype()
        assert job.to_polars().schema["x"] == pl.Int64
        assert [(view.rows, view.matched) for view in job.report.views] == [(0, 0)]


# --- Frames that are wrong -------------------------------------------------------------------------------------------


def frame_of(**columns: pa.Array) -> pa.Table:
    plain = {"driver": pa.array([1, 2], pa.int64()), "event_timestamp": pa.array([NOON, NOON], UTC_US)}
    return pa.table({name: column for name, column in (plain | columns).items() if column is not None})


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (frame_of(driver=None, drivr=pa.array([1, 2])), ["no column 'driver'", "join key", "did you mean drivr"]),
        (frame_of(event_timestamp=None), ["event_timestamp", "none of driver"]),
        (frame_of(event_timestamp=pa.array([NOON, None], UTC_US)), ["row 1", "event_timestamp", "needs a time"]),
        (frame_of(event_timestamp=pa.nulls(2)), ["row 0", "event_timestamp"]),
        (frame_of(event_timestamp=pa.array([1, 2])), ["event_timestamp", "int64", "a time is expected"]),
        (frame_of(event_timestamp=pa.array(["2024-01-01", "yesterday"])), ["row 1", "'yesterday'", "ISO 8601"]),
        (frame_of(driver=pa.array([1.0, 2.0])), ["driver", "double", "astype('Int64')"]),
        (frame_of(driver=pa.array([True, False])), ["driver", "bool", "Int64"]),
        (frame_of(driver=pa.array(["1", "x"])), ["row 1", "driver", "'x'"]),
        (frame_of(driver=pa.array([1, 2**64 - 1], pa.uint64())), ["driver", "Int64"]),
        (frame_of(driver=pa.array([b"1", b"2"])), ["driver", "binary", "Int64"]),
        (5, ["int is no frame", "pandas"]),
        ([1, 2], ["list is no frame", "list of dicts"]),
        ([{"driver": 1, "event_timestamp": NOON}, {"driver": "a", "event_timestamp": NOON}], ["one type"]),
    ],
)
def test_wrong_frame_is_refused_in_plain_words(frame: object, says: list[str], repository: Repository) -> None:
    with pytest.raises(InputError) as caught:
        training_set(repository, frame).to_arrow()
    assert [word for word in says if word not in str(caught.value)] == []
    assert caught.value.hint


def test_pandas_column_with_a_gap_says_how_to_keep_ids(repository: Repository) -> None:
    frame = pd.DataFrame({"driver": [1, None], "event_timestamp": [NOON, NOON]})
    with pytest.raises(InputError, match="astype"):
        training_set(repository, frame).to_df()


def test_time_past_the_range_is_refused_and_not_wrapped(repository: Repository) -> None:
    far = pa.array([2**62, 0], pa.timestamp("s"))
    with pytest.raises(InputError, match="row 0"):
        training_set(repository, frame_of(event_timestamp=far)).to_arrow()


def test_dates_go_with_no_frame_only(repository: Repository) -> None:
    from tiffin.operations.retrieve import retrieve

    with pytest.raises(RequestError, match="start_date"):
        retrieve(repository, ROWS, ["stats:x"], start_date="2024-01-01")
    with pytest.raises(RequestError, match="after"):
        retrieve(repository, None, ["stats:x"], start_date="2024-01-02", end_date="2024-01-01")
