"""Random feature types, and random columns of them, as Hypothesis strategies."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as PyDecimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

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
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
    arrow_type,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
DECIMALS = st.decimals(-(10**19), 10**19, places=18, allow_nan=False, allow_infinity=False)

#: Type to values in the form that Arrow takes.
VALUES: dict[FeatureType, st.SearchStrategy[Any]] = {
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1),
    Float32: st.floats(width=32),
    Float64: st.floats(),
    Bool: st.booleans(),
    String: TEXT,
    Bytes: st.binary(max_size=8),
    UnixTimestamp: TIMES,
    Decimal: DECIMALS.map(PyDecimal),
    Uuid: st.uuids().map(str),
    Json: st.sampled_from(["1", '"a"', "null", '{"a": [1, 2.5, null]}', "[]", "true"]),
    Map: st.dictionaries(TEXT, st.none() | TEXT, max_size=3).map(lambda d: list(d.items())),
}

TYPES: st.SearchStrategy[FeatureType] = st.recursive(
    st.sampled_from(list(VALUES)),
    lambda inner: (
        inner.map(Array)
        | inner.map(Set)
        | st.dictionaries(st.sampled_from(["a", "b", "ü"]), inner, min_size=1, max_size=3).map(Struct)
    ),
    max_leaves=4,
)


def values_of(dtype: FeatureType) -> st.SearchStrategy[Any]:
    """Values of a type, null among them."""
    if isinstance(dtype, Array | Set):
        found: st.SearchStrategy[Any] = st.lists(values_of(dtype.base_type), max_size=4)
    elif isinstance(dtype, Struct):
        found = st.fixed_dictionaries({name: values_of(part) for name, part in dtype.fields.items()})
    else:
        found = VALUES[dtype]
    return st.none() | found


@st.composite
def tables(draw: st.DrawFn, max_rows: int = 5) -> tuple[tuple[tuple[str, str], ...], pa.Table]:
    """A layout and a table of its columns."""
    types = draw(st.lists(TYPES, max_size=10))
    rows = draw(st.integers(1, max_rows))
    columns: dict[str, Any] = {"row": pa.array(range(rows))}
    for number, dtype in enumerate(types):
        values = draw(st.lists(values_of(dtype), min_size=rows, max_size=rows))
        columns[f"c{number}"] = pa.array(values, arrow_type(dtype))
    layout = (("row", "Int64"), *((f"c{number}", repr(dtype)) for number, dtype in enumerate(types)))
    return layout, pa.table(columns)
