from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal as PyDecimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from parity.repository import Repository
from tiffin.definitions import FileSource, PushSource
from tiffin.errors import InputError, NotFoundError, RequestError, TypeMismatchError
from tiffin.online.rows import RowHeader
from tiffin.operations.online import encode_facts, read_online, write_online
from tiffin.types import (
    Array,
    Bool,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from unit.online.drivers import DRIVER, NOON_US, opened, view

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return opened(tmp_path)


def facts(**changes: Any) -> pa.Table:
    """Two facts of the view ``stats``; a keyword argument puts another column in its place, `None` takes it out."""
    columns: dict[str, Any] = {
        "driver_id": [1, 2],
        "trips": [10, 20],
        "rating": [1.5, 2.5],
        "ts": pa.array([NOON_US, NOON_US], pa.timestamp("us", "UTC")),
        "created": pa.array([NOON_US, NOON_US], pa.timestamp("us", "UTC")),
    }
    columns |= changes
    return pa.table({name: column for name, column in columns.items() if column is not None})


def stored(repository: Repository, name: str = "stats") -> list[tuple[bytes, bytes]]:
    return list(repository.online.scan_all(repository.snapshot().storage(name).table))


def trips(repository: Repository, *drivers: int) -> list[Any]:
    asked = [{"driver_id": driver} for driver in drivers]
    found: list[Any] = read_online(repository, ["stats:trips"], asked).to_dict()["trips"]
    return found


@pytest.mark.parametrize(
    "frame",
    [
        facts(),
        facts().to_pandas(),
        pl.from_arrow(facts()),
        pl.from_arrow(facts()).lazy(),  # type: ignore[union-attr]
        facts().to_pylist(),
        facts().to_pydict(),
        facts().to_batches()[0],
        pa.concat_tables([facts().slice(0, 1), facts().slice(1)]),
        facts().select(["created", "rating", "ts", "driver_id", "trips"]),
        facts(more=["x", "y"]),
    ],
    ids=["arrow", "pandas", "polars", "lazy", "dicts", "columns", "batch", "chunks", "order", "further"],
)
def test_rows_of_any_kind_are_written(repository: Repository, frame: Any) -> None:
    result = write_online(repository, "stats", frame)
    assert (result.written, result.stale, result.refused) == (2, 0, ())
    assert trips(repository, 1, 2, 3) == [10, 20, None]


def test_stamp_is_event_time_and_created_time(repository: Repository) -> None:
    created = pa.array([NOON_US + 7, None], pa.timestamp("us", "UTC"))
    write_online(repository, "stats", facts(created=created))
    headers = [RowHeader.of(row) for _, row in stored(repository)]
    assert headers == [
        RowHeader(NOON_US, NOON_US + 7, 0, tombstone=False, layout=0),
        RowHeader(NOON_US, NOON_US, 0, tombstone=False, layout=0),
    ]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NOON_US // 10**6] * 2, pa.timestamp("s")),
        pa.array([NOON_US * 1000 + 999] * 2, pa.timestamp("ns", "UTC")),
        pa.array([NOON_US] * 2, pa.timestamp("us", "Europe/Oslo")),
        ["2024-06-01T14:00:00+02:00", "2024-06-01 12:00:00"],
    ],
)
def test_times_of_any_kind_are_microseconds_utc(repository: Repository, times: Any) -> None:
    write_online(repository, "stats", facts(ts=times, created=times))
    assert {RowHeader.of(row).event_us for _, row in stored(repository)} == {NOON_US}


def test_newest_fact_wins_in_any_order(repository: Repository) -> None:
    older = pa.array([NOON_US - 1] * 2, pa.timestamp("us", "UTC"))
    write_online(repository, "stats", facts())
    again = write_online(repository, "stats", facts(ts=older, trips=[1, 2]))
    assert (again.written, again.stale) == (0, 2)
    assert trips(repository, 1, 2) == [10, 20]


def test_columns_may_have_the_names_of_the_source(tmp_path: Path) -> None:
    batch = FileSource(path="x.parquet", timestamp_field="when", field_mapping={"t": "trips", "d": "driver_id"})
    source = PushSource(name="push", batch_source=batch)
    stats = view("stats", {"trips": Int64})
    repository = opened(tmp_path, type(stats)(name="stats", entities=[DRIVER], schema=stats.schema, source=source))
    when = pa.array([NOON_US], pa.timestamp("us", "UTC"))
    write_online(repository, "stats", pa.table({"d": [1], "t": [10], "when": when}))
    write_online(repository, "stats", pa.table({"driver_id": [2], "trips": [20], "when": when}))
    assert trips(repository, 1, 2) == [10, 20]


# --- WR-5: facts ahead of now ----------------------------------------------------------------------------------------


def test_fact_too_far_ahead_is_refused_and_the_others_are_written(repository: Repository) -> None:
    limit = repository.max_future_skew_us
    times = pa.array([NOON_US + limit, NOON_US + limit + 1], pa.timestamp("us", "UTC"))
    result = write_online(repository, "stats", facts(ts=times))
    assert (result.written, result.stale, result.refused) == (1, 0, (1,))
    assert trips(repository, 1, 2) == [10, None]


# --- WR-6: every row is checked before any is written ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"driver_id": None}, InputError, "'driver_id' is missing, which is a join key"),
        ({"trips": None}, InputError, "'trips' is missing, which is a feature"),
        ({"trips": None, "tripz": [1, 2]}, InputError, "did you mean tripz"),
        ({"ts": None}, InputError, "'ts' is missing, which is the time column"),
        ({"created": None}, InputError, "'created' is missing, which is the created column"),
        ({"driver_id": [1, None]}, InputError, "row 1: join key 'driver_id' is null"),
        ({"driver_id": ["1", "x"]}, TypeMismatchError, "row 1: 'x' .*'driver_id'"),
        ({"driver_id": [1.0, 2.0]}, TypeMismatchError, "'driver_id' has type double"),
        ({"ts": pa.array([NOON_US, None], pa.timestamp("us"))}, InputError, "row 1 has no time in column 'ts'"),
        ({"ts": ["2024-01-01", "soon"]}, InputError, "row 1: 'soon' in column 'ts'"),
        ({"ts": [1, 2]}, InputError, "'ts' has type int64"),
        ({"ts": pa.array([NOON_US, 2**61], pa.timestamp("us"))}, InputError, "row 1: .*'ts' is not in the years"),
        ({"created": ["2024-01-01", "soon"]}, InputError, "row 1: 'soon' in column 'created'"),
        ({"created": [None, "soon"]}, InputError, "row 1: 'soon' in column 'created'"),
        ({"trips": [1, 2.5]}, TypeMismatchError, r"row 1: 2\.5 in column 'trips'"),
        ({"trips": ["1", "2"]}, TypeMismatchError, "row 0: '1' in column 'trips'"),
        ({"trips": [True, False]}, TypeMismatchError, "row 0: True in column 'trips'"),
        ({"trips": pa.array([1, 2**64 - 1], pa.uint64())}, TypeMismatchError, "row 1: 18446744073709551615"),
        ({"rating": [2**53 + 1, 1]}, TypeMismatchError, "row 0: 9007199254740993 in column 'rating'"),
    ],
)
def test_wrong_row_is_refused_by_row_and_column_and_nothing_is_written(
    repository: Repository, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        write_online(repository, "stats", facts(**changes))
    assert stored(repository) == []


FITS: list[tuple[FeatureType, Any, Any]] = [
    (Int32, pa.array([2**31 - 1]), 2**31 - 1),
    (Int64, pa.array([1.0]), 1),
    (Float64, pa.array([3]), 3.0),
    (Float32, pa.array([0.1]), float(np.float32(0.1))),
    (Float32, pa.array([float("inf")]), float("inf")),
    (Float64, pa.array([float("nan")]), float("nan")),
    (Bool, pa.array([True]), True),
    (String, pa.array(["a"]).dictionary_encode(), "a"),
    (UnixTimestamp, pa.array([NOON_US * 1000 + 999], pa.timestamp("ns")), NOON),
    (UnixTimestamp, pa.array([date(2024, 6, 1)]), NOON.replace(hour=0)),
    (Decimal, pa.array([PyDecimal("1.5")]), PyDecimal("1.5")),
    (Decimal, pa.array([3]), PyDecimal(3)),
    (Array(Int64), pa.array([[1, None]], pa.list_(pa.int32())), [1, None]),
    (Array(Float32), pa.array([[1.5, 2.5]], pa.list_(pa.float64(), 2)), [1.5, 2.5]),
    (Json, pa.array(['{"a": 1}'], pa.large_string()), {"a": 1}),
    (Int64, pa.array([None]), None),
]


@pytest.mark.parametrize(("dtype", "column", "value"), FITS)
def test_value_that_fits_is_kept(tmp_path: Path, dtype: FeatureType, column: pa.Array, value: Any) -> None:
    repository = opened(tmp_path, view("stats", {"x": dtype}))
    time = pa.array([NOON_US], pa.timestamp("us", "UTC"))
    write_online(repository, "stats", pa.table({"driver_id": [1], "x": column, "ts": time, "created": time}))
    found = read_online(repository, ["stats:x"], [{"driver_id": 1}]).to_dict()["x"]
    assert repr(found) == repr([value]) or found == [value]


MISFITS: list[tuple[FeatureType, Any]] = [
    (Int32, pa.array([2**31])),
    (Float32, pa.array([1e39])),
    (Bool, pa.array([1])),
    (String, pa.array([1])),
    (UnixTimestamp, pa.array([1])),
    (UnixTimestamp, pa.array([2**61], pa.timestamp("us"))),
    (Decimal, pa.array([0.1])),
    (Decimal, pa.array([PyDecimal("1e-19")])),
    (Array(Int64), pa.array([1])),
    (Array(Int32), pa.array([[2**31]])),
    (Uuid, pa.array(["x"])),
    (Json, pa.array(["{"])),
]


@pytest.mark.parametrize(("dtype", "column"), MISFITS)
def test_value_that_does_not_fit_is_refused(tmp_path: Path, dtype: FeatureType, column: pa.Array) -> None:
    repository = opened(tmp_path, view("stats", {"x": dtype}))
    time = pa.array([NOON_US] * 2, pa.timestamp("us", "UTC"))
    both = pa.concat_arrays([pa.nulls(1, column.type), column])
    with pytest.raises(TypeMismatchError, match=r"row 1: .* column 'x'"):
        write_online(repository, "stats", pa.table({"driver_id": [1, 2], "x": both, "ts": time, "created": time}))
    assert stored(repository) == []


PYTHON_VALUES: list[tuple[FeatureType, Any, Any]] = [
    (Map, {"a": "b", "c": None}, {"a": "b", "c": None}),
    (Json, {"a": [1, None]}, {"a": [1, None]}),
    (Json, '{"a": 1}', {"a": 1}),
    (Set(Int64), {3, 1}, {1, 3}),
    (Array(Json), [{"a": 1}, None], [{"a": 1}, None]),
    (Struct({"a": Int64, "b": String}), {"a": 1, "b": None}, {"a": 1, "b": None}),
    (Uuid, UUID(int=5), UUID(int=5)),
    (Decimal, PyDecimal("0.1"), PyDecimal("0.1")),
    (UnixTimestamp, NOON, NOON),
    (Array(Float32), np.array([1.5, 2.5]), [1.5, 2.5]),
]


@pytest.mark.parametrize("kind", ["pandas", "dicts", "columns"])
@pytest.mark.parametrize(("dtype", "value", "expected"), PYTHON_VALUES)
def test_python_objects_are_taken_by_the_declared_type(
    tmp_path: Path, dtype: FeatureType, value: Any, expected: Any, kind: str
) -> None:
    repository = opened(tmp_path, view("stats", {"x": dtype}))
    columns: dict[str, list[Any]] = {"driver_id": [1, 2], "x": [value, None], "ts": [NOON] * 2, "created": [NOON] * 2}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    frame: Any = {"pandas": pd.DataFrame(rows), "dicts": rows, "columns": columns}[kind]
    write_online(repository, "stats", frame)
    found = read_online(repository, ["stats:x"], {"driver_id": [1, 2]}).to_dict()["x"]
    assert found == [expected, None]


@pytest.mark.parametrize("kind", ["pandas", "dicts", "columns"])
@pytest.mark.parametrize(
    ("dtype", "values", "words"),
    [
        (Int64, [1, 2, "x"], "row 2: 'x' in column 'x'"),
        (Map, [{"a": "b"}, 7, None], "row 1: 7 in column 'x' is not of Map"),
        (Uuid, [None, "x", None], "row 1: 'x' in column 'x' is not"),
        (Set(Int64), [{1}, {1}, {"a"}], "row 2: {'a'} in column 'x'"),
        (Struct({"a": Int64}), [{"a": 1}, None, {"a": 1, "b": 2}], "row 2: .* column 'x'"),
        (Json, ["{}", "{", None], "row 1: '{' in column 'x'"),
    ],
)
def test_python_object_that_does_not_fit_is_refused_by_row(
    tmp_path: Path, dtype: FeatureType, values: list[Any], words: str, kind: str
) -> None:
    repository = opened(tmp_path, view("stats", {"x": dtype}))
    columns: dict[str, list[Any]] = {"driver_id": [1, 2, 3], "x": values, "ts": [NOON] * 3, "created": [NOON] * 3}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    frame: Any = {"pandas": pd.DataFrame(columns), "dicts": rows, "columns": columns}[kind]
    with pytest.raises(TypeMismatchError, match=words):
        write_online(repository, "stats", frame)
    assert stored(repository) == []


def test_rows_with_different_columns_are_refused(repository: Repository) -> None:
    rows = facts().to_pylist()
    del rows[1]["trips"]
    with pytest.raises(InputError, match="row 1 has the columns driver_id, rating"):
        write_online(repository, "stats", rows)


def test_pandas_gaps_in_a_column_of_integers_are_nulls(repository: Repository) -> None:
    frame = facts().to_pandas()
    frame["trips"] = [10.0, float("nan")]
    write_online(repository, "stats", frame)
    assert trips(repository, 1, 2) == [10, None]


def test_frame_is_not_changed(repository: Repository) -> None:
    frame = facts().to_pandas()
    before = frame.copy()
    write_online(repository, "stats", frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("frame", [7, "rows", [1, 2], None])
def test_what_is_no_frame_is_refused(repository: Repository, frame: Any) -> None:
    with pytest.raises(InputError, match="no frame of rows"):
        write_online(repository, "stats", frame)


def test_no_rows_write_nothing(repository: Repository) -> None:
    assert write_online(repository, "stats", facts().slice(0, 0)).written == 0


def test_unknown_view_is_refused_with_the_nearest_name(repository: Repository) -> None:
    with pytest.raises(NotFoundError, match="did you mean stats"):
        write_online(repository, "statz", facts())


def test_view_that_is_not_online_is_refused(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("stats", {"trips": Int64}, online=False))
    with pytest.raises(RequestError, match="not online"):
        write_online(repository, "stats", facts())


# --- The bulk write --------------------------------------------------------------------------------------------------


def test_facts_with_a_null_in_their_key_are_left_out(repository: Repository) -> None:
    snapshot = repository.snapshot()
    route, storage = snapshot.view("route"), snapshot.storage("route")
    batch = pa.RecordBatch.from_pydict(
        {
            "driver_id": pa.array([1, None, 3], pa.int64()),
            "city": ["a", "b", None],
            "trips": [1, 2, 3],
            "__event_us": [1, 2, 3],
            "__known_us": [1, 2, 3],
        }
    )
    assert repository.online.write(encode_facts(route, storage, batch)).written == 1
    asked = {"driver_id": [1, None, 3], "city": ["a", "b", None]}
    assert read_online(repository, ["route:trips"], asked).to_dict()["trips"] == [1, None, None]
