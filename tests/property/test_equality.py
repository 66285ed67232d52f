"""Two values are the same exactly when they are written the same: against a comparison of Python objects."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal as PythonDecimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.equality import same_values

FLOATS = st.sampled_from([0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324, -math.nan])
TEXTS = st.sampled_from(["", "a", "ab", "é"])
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int64": (pa.int64(), st.sampled_from([0, 1, 2**53, 2**53 + 1, -(2**63)])),
    "float64": (pa.float64(), FLOATS),
    "float32": (pa.float32(), FLOATS.filter(lambda value: value != 5e-324)),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), TEXTS),
    "binary": (pa.binary(), st.binary(max_size=2)),
    "time": (pa.timestamp("us", "UTC"), st.sampled_from([datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)])),
    "decimal": (pa.decimal128(38, 18), st.sampled_from([PythonDecimal(0), PythonDecimal("1.5")])),
    "list": (pa.list_(pa.float64()), st.lists(st.none() | FLOATS, max_size=3)),
    "nested": (
        pa.list_(pa.list_(pa.int64())),
        st.lists(st.none() | st.lists(st.integers(0, 1), max_size=2), max_size=2),
    ),
    "struct": (
        pa.struct([("a", pa.float64()), ("b", pa.list_(pa.string()))]),
        st.fixed_dictionaries({"a": st.none() | FLOATS, "b": st.none() | st.lists(TEXTS, max_size=2)}),
    ),
    "map": (
        pa.map_(pa.string(), pa.string()),
        st.dictionaries(TEXTS, st.none() | TEXTS, max_size=2).map(lambda d: list(d.items())),
    ),
}


def written(value: Any) -> Any:
    """A value in a form in which equal means the same."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, dict):
        return {key: written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [written(item) for item in value]
    return value


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(data=st.data())
def test_values_are_the_same_when_they_are_written_the_same(kind: str, data: st.DataObject) -> None:
    type_, values = KINDS[kind]
    pairs = data.draw(st.lists(st.tuples(st.none() | values, st.none() | values), max_size=12))
    skipped = data.draw(st.integers(0, 2))
    one, other = (pa.array([None] * skipped + [pair[side] for pair in pairs], type_).slice(skipped) for side in (0, 1))
    expected = [written(a) == written(b) for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)]
    assert same_values(one, other).tolist() == expected
