"""Python objects become what pandas would have in a frame, whichever way they take."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tiffin.columns import pandas_type
from tiffin.transforms.column import Column
from tiffin.types import (
    Array,
    Bool,
    Bytes,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    arrow_type,
)

VALUES: dict[FeatureType, list[list[Any]]] = {
    Int32: [[1, -(2**31)], [2**31 - 1, None], [None, None], []],
    Int64: [[2**53 + 1, -(2**63)], [2**63 - 1, None], [None], []],
    Bool: [[True, False], [None, True], [None], []],
    Float32: [[0.5, float("inf")], [float("nan"), None], [None], []],
    Float64: [[0.1, float("-inf")], [float("nan"), None], [None], []],
    String: [["", "Oslo \N{SNOWMAN}"], ["x", None], [None], []],
    Bytes: [[b"", b"\x00"], [None]],
    Array(Int64): [[[1, 2], []], [None, [3]]],
    UnixTimestamp: [[None, None]],
}


@pytest.mark.parametrize(("dtype", "values"), [(dtype, each) for dtype, lists in VALUES.items() for each in lists])
def test_the_short_way_is_the_long_one(dtype: FeatureType, values: list[Any]) -> None:
    long = pa.table({"x": pa.array(values, arrow_type(dtype))}).to_pandas(types_mapper=pandas_type)
    short = pd.DataFrame({"x": Column(dtype, python=values).pandas()}, copy=False)
    pd.testing.assert_frame_equal(short, long, check_exact=True)
    from_arrow = pd.DataFrame({"x": Column(dtype, arrow=pa.array(values, arrow_type(dtype))).pandas()}, copy=False)
    pd.testing.assert_frame_equal(from_arrow, long, check_exact=True)


def test_every_frame_has_an_array_of_its_own() -> None:
    column = Column(Int64, python=[1, 2])
    first, second = column.pandas(), column.pandas()
    first[0] = 7
    assert list(second) == [1, 2]
    assert column.python() == [1, 2]
