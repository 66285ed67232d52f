from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tiffin.errors import TypeMismatchError
from tiffin.online.keys import NO_ENTITY, cast_key_column, encode_key_columns, encode_keys, key_value, key_values
from tiffin.types import Bool, Bytes, FeatureType, Int32, Int64, String, UnixTimestamp, Uuid

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
NOON_US = 1_704_110_400_000_000


@pytest.mark.parametrize(
    ("value", "dtype", "typed"),
    [
        (7, Int64, 7),
        ("7", Int64, 7),
        ("-7", Int32, -7),
        ("0", Int64, 0),
        (np.int32(7), Int64, 7),
        (np.uint64(7), Int64, 7),
        (2**31 - 1, Int32, 2**31 - 1),
        ("a", String, "a"),
        (np.str_("a"), String, "a"),
        (UUID(int=5), Uuid, str(UUID(int=5))),
        (b"a", Bytes, b"a"),
        (bytearray(b"a"), Bytes, b"a"),
        (True, Bool, True),
        (np.True_, Bool, True),
        (NOON, UnixTimestamp, NOON),
        (datetime(2024, 1, 1, 12), UnixTimestamp, NOON),
        ("2024-01-01T12:00:00Z", UnixTimestamp, NOON),
        (np.datetime64("2024-01-01T12:00:00.000000001"), UnixTimestamp, NOON),
        (pd.Timestamp("2024-01-01T12:00:00.000000001Z"), UnixTimestamp, NOON),
    ],
)
def test_value_that_fits_exactly_is_taken(value: Any, dtype: FeatureType, typed: Any) -> None:
    found = key_value(value, dtype, "k")
    assert found == typed
    assert type(found) is type(typed)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, Int64),
        (np.True_, Int64),
        (1.0, Int64),
        (np.float64(1), Int32),
        (float("nan"), Int64),
        ("1.0", Int64),
        ("1_0", Int64),
        ("+7", Int64),
        ("07", Int64),
        (" 7", Int64),
        ("-0", Int64),
        ("9" * 10_000, Int64),
        (2**31, Int32),
        ("", Int64),
        ("\u0661", Int64),
        (2**63, Int64),
        (str(-(2**63) - 1), Int64),
        (1, String),
        (b"a", String),
        ("\ud800", String),
        ("a", Bytes),
        (1, Bool),
        ("true", Bool),
        (True, UnixTimestamp),
        (1.5, UnixTimestamp),
        ("yesterday", UnixTimestamp),
        (10**18, UnixTimestamp),
        ([1], Int64),
        ({}, String),
    ],
)
def test_value_of_another_type_is_refused_by_name(value: Any, dtype: FeatureType) -> None:
    with pytest.raises(TypeMismatchError, match="'driver_id'") as caught:
        key_value(value, dtype, "driver_id")
    assert caught.value.hint


def test_wrong_value_of_a_request_names_its_row() -> None:
    with pytest.raises(TypeMismatchError, match=r"entity row 2: 1\.5 .*'driver_id'"):
        key_values([1, "2", 1.5], Int64, "driver_id")
    with pytest.raises(TypeMismatchError, match="entity row 1: "):
        key_values([1, 2**63], Int64, "driver_id")


@pytest.mark.parametrize("null", [None, pd.NA, pd.NaT, np.datetime64("NaT", "us")])
def test_null_of_any_kind_stays_null(null: Any) -> None:
    assert key_values([null], UnixTimestamp, "k") == [None]
    assert encode_keys([[1, 2], ["a", None]], [Int64, String], ["i", "s"], 2)[1] is None


def test_keys_of_several_parts_do_not_run_into_one_another() -> None:
    found = encode_keys([["a|b", "a", "ab", "", "a"], ["c", "b|c", "", "ab", "b"]], [String, String], ["a", "b"], 5)
    assert len(set(found)) == 5


def test_int32_and_int64_are_one_key() -> None:
    assert encode_keys([[5]], [Int32], ["k"], 1) == encode_keys([[5]], [Int64], ["k"], 1)
    column = pa.array([5], pa.int16())
    for dtype in (Int32, Int64):
        assert encode_key_columns([cast_key_column(column, dtype, "k")], 1) == encode_keys([[5]], [Int64], ["k"], 1)


def test_view_without_entities_has_one_key() -> None:
    assert encode_keys([], [], [], 2) == encode_key_columns([], 2) == [NO_ENTITY, NO_ENTITY]


@pytest.mark.parametrize(
    ("column", "dtype", "typed"),
    [
        (pa.array([1, None], pa.int32()), Int64, [1, None]),
        (pa.array([1, 2], pa.uint64()), Int64, [1, 2]),
        (pa.array(["1", "-2", None]), Int64, [1, -2, None]),
        (pa.array(["1", "2"]).dictionary_encode(), Int64, [1, 2]),
        (pa.array(["a", None], pa.large_string()), String, ["a", None]),
        (pa.array(["a"], pa.string_view()), String, ["a"]),
        (pa.array([None]), String, [None]),
        (pa.array([b"ab"], pa.binary(2)), Bytes, [b"ab"]),
        (pa.array([NOON_US * 1000 + 999, None], pa.timestamp("ns")), UnixTimestamp, [NOON_US, None]),
        (pa.array([NOON_US // 10**6], pa.timestamp("s", "Europe/Paris")), UnixTimestamp, [NOON_US]),
        (pa.array(["2024-01-01T12:00:00"]), UnixTimestamp, [NOON_US]),
        (pa.array([NOON.date()]), UnixTimestamp, [NOON_US - 12 * 3600 * 10**6]),
    ],
)
def test_column_is_taken_in_the_type_of_the_key(column: pa.Array, dtype: FeatureType, typed: list[Any]) -> None:
    assert cast_key_column(column, dtype, "k").to_pylist() == typed
    assert cast_key_column(column.slice(1), dtype, "k").to_pylist() == typed[1:]


@pytest.mark.parametrize(
    ("column", "dtype", "words"),
    [
        (pa.array([1.0]), Int64, "type double, where Int64 is expected"),
        (pa.array([True]), Int64, "type bool"),
        (pa.array([1]), String, "type int64"),
        (pa.array(["a"]), Bytes, "type string"),
        (pa.array(["true"]), Bool, "type string"),
        (pa.array([1.5]), UnixTimestamp, "type double"),
        (pa.array(["1", "x"]), Int64, "row 1: 'x'"),
        (pa.array([1, 2**64 - 1], pa.uint64()), Int64, "row 1: 18446744073709551615"),
        (pa.array([1, None, 2**31]), Int32, "row 2: 2147483648"),
    ],
)
def test_column_of_another_type_is_refused(column: pa.Array, dtype: FeatureType, words: str) -> None:
    with pytest.raises(TypeMismatchError, match=words):
        cast_key_column(column, dtype, "driver_id")
