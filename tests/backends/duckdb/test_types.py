"""TYP-1 and TYP-2: values come back to the last bit, and the type of a column never depends on the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal as PyDecimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest

from backends.duckdb.small_views import FRAME, UTC_US, facts, opened, training_set, write
from semantics.comparing import exactly
from tiffin.errors import SourceError
from tiffin.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    Struct,
    UnixTimestamp,
    arrow_type,
)

BIG = 9_007_199_254_740_993
UTC = ZoneInfo("UTC")
MOMENT = datetime(2024, 1, 1, 12, 30, 0, 123_457, tzinfo=UTC)

#: For each type a column of the source, and the values that are expected of it.
VALUES: dict[str, tuple[FeatureType, pa.Array, list[object]]] = {
    "int64 beside null": (Int64, pa.array([BIG, None, -(2**63)], pa.int64()), [BIG, None, -(2**63)]),
    "int32 to its ends": (Int32, pa.array([2**31 - 1, -(2**31), None], pa.int32()), [2**31 - 1, -(2**31), None]),
    "int32 declared wider": (Int64, pa.array([1, None, 3], pa.int32()), [1, None, 3]),
    "uint32 in int64": (Int64, pa.array([2**32 - 1, None, 0], pa.uint32()), [2**32 - 1, None, 0]),
    "NaN apart from null": (
        Float64,
        pa.array([math.nan, None, -0.0], pa.float64(), from_pandas=False),
        [math.nan, None, -0.0],
    ),
    "float bits": (Float64, pa.array([0.1 + 0.2, 5e-324, math.inf]), [0.1 + 0.2, 5e-324, math.inf]),
    "float32": (Float32, pa.array([0.5, None, -math.inf], pa.float32()), [0.5, None, -math.inf]),
    "bool beside null": (Bool, pa.array([True, None, False]), [True, None, False]),
    "empty apart from null": (String, pa.array(["", None, "é\u0000x"]), ["", None, "é\u0000x"]),
    "large text": (String, pa.array(["a", None, "b"], pa.large_string()), ["a", None, "b"]),
    "bytes": (Bytes, pa.array([b"", None, b"\x00\xff"], pa.binary()), [b"", None, b"\x00\xff"]),
    "micros": (UnixTimestamp, pa.array([MOMENT, None, MOMENT], UTC_US), [MOMENT, None, MOMENT]),
    "nanos are floored": (
        UnixTimestamp,
        pa.array([-1, None, 1999], pa.timestamp("ns")),
        [datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), None, datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)],
    ),
    "decimals": (
        Decimal,
        pa.array([PyDecimal("12345678901234567890.123456789012345678"), None, PyDecimal("-0.000000000000000001")]),
        [PyDecimal("12345678901234567890.123456789012345678"), None, PyDecimal("-1E-18")],
    ),
    "decimals of few digits": (
        Decimal,
        pa.array([PyDecimal("1.50"), None, PyDecimal("0.00")], pa.decimal128(5, 2)),
        [PyDecimal("1.500000000000000000"), None, PyDecimal("0E-18")],
    ),
    "lists with nulls": (
        Array(Int64),
        pa.array([[1, None, BIG], None, []], pa.list_(pa.int64())),
        [[1, None, BIG], None, []],
    ),
    "lists of text": (Array(String), pa.array([["a", None, ""], [], None]), [["a", None, ""], [], None]),
    "lists of floats": (
        Array(Float64),
        pa.array([[math.nan, None], None, [-0.0]], pa.list_(pa.float64()), from_pandas=False),
        [[math.nan, None], None, [-0.0]],
    ),
    "embeddings of fixed size": (
        Array(Float32),
        pa.array([[0.5, 1.0], None, [2.0, 4.0]], pa.list_(pa.float32(), 2)),
        [[0.5, 1.0], None, [2.0, 4.0]],
    ),
    "lists of lists": (
        Array(Array(Int64)),
        pa.array([[[1], None, []], None, []], pa.list_(pa.list_(pa.int64()))),
        [[[1], None, []], None, []],
    ),
    "lists of times": (
        Array(UnixTimestamp),
        pa.array([[MOMENT, None], None, []], pa.list_(UTC_US)),
        [[MOMENT, None], None, []],
    ),
    "structs": (
        Struct({"a": Int64, "b": String}),
        pa.array([{"a": BIG, "b": None}, None, {"a": None, "b": ""}], arrow_type(Struct({"a": Int64, "b": String}))),
        [{"a": BIG, "b": None}, None, {"a": None, "b": ""}],
    ),
    "maps": (
        Map,
        pa.array([[("a", "1"), ("b", None)], None, []], pa.map_(pa.string(), pa.string())),
        [[("a", "1"), ("b", None)], None, []],
    ),
}


def written(folder: Path, column: pa.Array) -> None:
    """Facts of three drivers, so that each value is asked for beside an unknown key."""
    write(facts(driver=pa.array([1, 2, 3]), x=column), folder / "stats.parquet")


@pytest.mark.parametrize("name", VALUES)
def test_value_comes_back_exactly_beside_an_unknown_key(name: str, tmp_path: Path) -> None:
    dtype, column, expected = VALUES[name]
    written(tmp_path, column)
    repository = opened(tmp_path, schema={"x": dtype})
    drivers = pa.array([3, 404, 1, None, 2], pa.int64())
    job = training_set(repository, pa.table({"driver": drivers, "event_timestamp": pa.array([20] * 5, UTC_US)}))
    table = job.to_arrow()
    assert exactly([[v] for v in table["x"].to_pylist()]) == exactly(
        [[expected[2]], [None], [expected[0]], [None], [expected[1]]]
    )
    assert table.schema.field("x").type == arrow_type(dtype)
    assert job.to_polars().height == 5
    repository.close()


@pytest.mark.parametrize("name", VALUES)
def test_type_is_the_same_when_nothing_is_found(name: str, tmp_path: Path) -> None:
    """TYP-2: in Arrow and in pandas."""
    dtype, column, _ = VALUES[name]
    written(tmp_path, column)
    repository = opened(tmp_path, schema={"x": dtype})
    found = training_set(repository, times(20, drivers=[1]))
    missing = training_set(repository, times(20, drivers=[404]))
    nothing = training_set(repository, times(drivers=[]))
    schemas = [job.to_arrow().schema.field("x").type for job in (found, missing, nothing)]
    assert schemas == [arrow_type(dtype)] * 3
    kinds = {job.to_df()["x"].dtype for job in (found, missing, nothing)}
    assert len(kinds) == 1
    repository.close()


def times(*moments: int, drivers: list[int]) -> pa.Table:
    return pa.table({"driver": pa.array(drivers, pa.int64()), "event_timestamp": pa.array(moments, UTC_US)})


def test_ints_and_bools_stay_exact_in_pandas(tmp_path: Path) -> None:
    written(tmp_path, pa.array([BIG, None, 3]))
    repository = opened(tmp_path)
    frame = training_set(repository).to_df()
    assert frame["x"].dtype == pd.Int64Dtype()
    assert frame["x"].tolist() == [BIG, pd.NA, pd.NA]
    repository.close()


WRONG: Mapping[str, tuple[FeatureType, pa.Array]] = {
    "text that is no number": (Int64, pa.array(["a", "b", "c"])),
    "too large for int32": (Int32, pa.array([2**31, 2**31, 2**31], pa.int64())),
    "unsigned past int64": (Int64, pa.array([2**64 - 1] * 3, pa.uint64())),
    "a fraction in an int": (Int64, pa.array([0.5, 0.5, 0.5])),
    "a list where a number is expected": (Int64, pa.array([[1], [2], [3]])),
    "more digits than a decimal has": (Decimal, pa.array([PyDecimal("1e25")] * 3)),
    "text that is no time": (UnixTimestamp, pa.array(["soon", "soon", "soon"])),
    "a number where a time is expected": (UnixTimestamp, pa.array([1, 2, 3])),
}


@pytest.mark.parametrize("name", WRONG)
def test_value_that_does_not_fit_is_refused_and_never_changed(name: str, tmp_path: Path) -> None:
    dtype, column = WRONG[name]
    written(tmp_path, column)
    repository = opened(tmp_path, schema={"x": dtype})
    with pytest.raises(SourceError) as caught:
        training_set(repository, FRAME).to_arrow()
    assert "stats_files" in str(caught.value)
    assert caught.value.hint
    repository.close()
