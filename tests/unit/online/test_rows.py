from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as PyDecimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

from tiffin.errors import TypeMismatchError
from tiffin.online.cells import check_cells
from tiffin.online.rows import HEADER_BYTES, RowHeader, RowReader, event_us, payload_bytes, row_codec, tombstone
from tiffin.types import (
    Array,
    Decimal,
    FeatureType,
    Float32,
    Int64,
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    arrow_type,
)

MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


def through(dtype: FeatureType, value: Any) -> Any:
    """The Python object that a value comes out as."""
    codec = row_codec((("x", repr(dtype)),))
    zero = np.zeros(1, np.int64)
    (row,) = codec.encode(pa.table({"x": pa.array([value], arrow_type(dtype))}), zero, zero)
    (one,) = RowReader(codec, [0]).values(row)
    assert repr(RowReader(codec, [0]).columns([row])) == repr([[one]])
    return one


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (UnixTimestamp, MOMENT, MOMENT),
        (Decimal, PyDecimal("-12.000000000000000001"), PyDecimal("-12.000000000000000001")),
        (Uuid, "00000000-0000-0000-0000-000000000005", UUID(int=5)),
        (Json, '{"a": [1, null]}', {"a": [1, None]}),
        (Json, "null", None),
        (Map, [("a", "b"), ("c", None)], {"a": "b", "c": None}),
        (Array(Int64), [1, None, -(2**63)], [1, None, -(2**63)]),
        (Array(Float32), [1.5, -0.25], [1.5, -0.25]),
        (Array(UnixTimestamp), [MOMENT, None], [MOMENT, None]),
        (Array(Array(String)), [["a", None], None, []], [["a", None], None, []]),
        (Array(Json), ["[1]", None], [[1], None]),
        (Set(Int64), [3, 1, 3], {1, 3}),
        (Set(String), ["a", None], {"a", None}),
        (Set(Uuid), [str(UUID(int=5))], {UUID(int=5)}),
        (Set(Array(Int64)), [[1], [2]], [[1], [2]]),
        (Struct({"a": Int64, "t": UnixTimestamp}), {"a": 1, "t": MOMENT}, {"a": 1, "t": MOMENT}),
        (Struct({"d": Decimal, "l": Array(Int64)}), {"d": PyDecimal(2), "l": None}, {"d": PyDecimal(2), "l": None}),
    ],
)
def test_value_comes_out_as_its_python_object(dtype: FeatureType, value: Any, expected: Any) -> None:
    found = through(dtype, value)
    assert found == expected
    assert type(found) is type(expected)


def test_time_comes_out_aware_of_utc() -> None:
    assert through(UnixTimestamp, MOMENT).utcoffset().total_seconds() == 0


def test_nan_null_and_empty_are_kept_apart() -> None:
    layout = (("f", "Float64"), ("s", "String"), ("l", "Array(Float64)"))
    table = pa.table(
        {
            "f": pa.array([float("nan"), None, 0.0]),
            "s": ["", None, "a"],
            "l": pa.array([[], None, [float("nan"), None]], pa.list_(pa.float64())),
        }
    )
    codec = row_codec(layout)
    rows = codec.encode(table, np.zeros(3, np.int64), np.zeros(3, np.int64))
    assert (
        repr(RowReader(codec, [0, 1, 2]).columns(rows))
        == "[[nan, None, 0.0], ['', None, 'a'], [[], None, [nan, None]]]"
    )


def test_value_under_a_null_does_not_show_in_the_bytes() -> None:
    valid = pa.py_buffer(b"\x00")
    one, other = (pa.Array.from_buffers(pa.int64(), 1, [valid, pa.py_buffer(np.array([v]))]) for v in (1, 2))
    layout = (("x", "Int64"),)
    assert payload_bytes(layout, pa.table({"x": one})) == payload_bytes(layout, pa.table({"x": other}))


def test_header_holds_stamp_flags_and_layout() -> None:
    codec = row_codec((("x", "Int64"),), 258)
    (row,) = codec.encode(pa.table({"x": [1]}), np.array([-5]), np.array([7]), np.array([9], np.uint64))
    assert RowHeader.of(row) == RowHeader(-5, 7, 9, tombstone=False, layout=258)
    assert event_us(row) == -5
    assert RowHeader.of(tombstone(3, 4, 5)) == RowHeader(3, 4, 5, tombstone=True, layout=0)


def test_row_without_features_is_its_header() -> None:
    codec = row_codec(())
    rows = codec.encode(pa.table({"other": [1, 2]}), np.array([1, 2]), np.array([1, 2]))
    assert [len(row) for row in rows] == [HEADER_BYTES] * 2
    assert RowReader(codec, []).columns(rows) == []


def test_no_rows_give_no_bytes() -> None:
    table = pa.table({"x": pa.array([], pa.int64()), "s": pa.array([], pa.string())})
    empty = np.zeros(0, np.int64)
    assert row_codec((("x", "Int64"), ("s", "String"))).encode(table, empty, empty) == []
    assert payload_bytes((("x", "Int64"),), table) == []


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (Uuid, "00000000-0000-0000-0000-000000000005", "no uuid"),
        (Json, "{}", "{"),
        (Array(Json), ["{}", None], ["1", "nope"]),
        (Struct({"u": Uuid}), {"u": None}, {"u": "x"}),
    ],
)
def test_text_that_could_not_be_read_again_is_refused(dtype: FeatureType, good: Any, bad: Any) -> None:
    check_cells(pa.array([good, None], arrow_type(dtype)), dtype, "x")
    with pytest.raises(TypeMismatchError, match=r"row 2: .* column 'x'"):
        check_cells(pa.array([good, None, bad], arrow_type(dtype)), dtype, "x")


@pytest.mark.parametrize("us", [-(2**62), 2**62])
def test_time_outside_the_calendar_is_refused(us: int) -> None:
    column = pa.array([0, us], pa.timestamp("us", "UTC"))
    with pytest.raises(TypeMismatchError, match=r"row 1: .* column 'x'"):
        check_cells(column, UnixTimestamp, "x")
