"""ODF-2: row by row, in batches, in every mode, from Python values and from Arrow columns: the same values."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.definitions import Field
from tiffin.planning.references import ComputedView, FunctionInput
from tiffin.transforms.column import Column
from tiffin.transforms.run import compute
from tiffin.types import Bool, Float64, Int64, String
from unit.on_demand.project import NOON_US, on_demand

FIELDS = [Field(name="sum", dtype=Float64), Field(name="big", dtype=Bool), Field(name="text", dtype=String)]
INPUTS = (FunctionInput(("a", "v__a"), Int64), FunctionInput(("b", "v__b"), Float64), FunctionInput(("s",), String))
SMALL = st.integers(-1_000_000, 1_000_000)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
ROWS = st.lists(st.tuples(*(st.none() | values for values in (SMALL, FLOATS, st.text(max_size=5)))), max_size=12)


def one(row: dict[str, Any]) -> dict[str, Any]:
    both = row["a"] is not None and row["v__b"] is not None
    total = row["a"] + row["b"] if both else None
    return {"sum": total, "big": None if total is None else total > 10, "text": row["s"]}


def lists(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    rows = [one(dict(zip(inputs, row, strict=True))) for row in zip(*inputs.values(), strict=True)]
    return {name: [row[name] for row in rows] for name in ("sum", "big", "text")}


def pandas(df: pd.DataFrame) -> pd.DataFrame:
    total = df["a"].astype("Float64") + df["v__b"].astype("Float64")
    return pd.DataFrame({"sum": total, "big": total > 10, "text": df["s"]})


def polars(df: pl.DataFrame) -> pl.DataFrame:
    return df.select(sum=pl.col("a") + pl.col("v__b"), big=pl.col("a") + pl.col("v__b") > 10, text="s")


VIEWS = [
    (on_demand(one, schema=FIELDS, singleton=True), one),
    (on_demand(lists, schema=FIELDS), lists),
    (on_demand(pandas, "pandas", schema=FIELDS), pandas),
    (on_demand(polars, "polars", schema=FIELDS), polars),
]


def computed(view: Any, function: Any, columns: list[Column]) -> list[list[Any]]:
    count = len(columns[0].python())
    found = compute(ComputedView(view, INPUTS), function, columns, [NOON_US] * count, count)
    assert [list(column.python()) for column in found] == [column.arrow().to_pylist() for column in found]
    return [list(column.python()) for column in found]


@settings(deadline=None, max_examples=40)
@given(ROWS)
def test_every_way_gives_the_same(rows: list[tuple[Any, ...]]) -> None:
    given_columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    python = [Column(item.dtype, python=values) for item, values in zip(INPUTS, given_columns, strict=True)]
    types = [pa.int64(), pa.float64(), pa.string()]
    arrow = [
        Column(item.dtype, arrow=pa.array(values, type_))
        for item, values, type_ in zip(INPUTS, given_columns, types, strict=True)
    ]
    expected = computed(*VIEWS[0], python)
    for view, function in VIEWS:
        assert repr(computed(view, function, python)) == repr(expected)
        assert repr(computed(view, function, arrow)) == repr(expected)
        one_by_one = [
            computed(view, function, [Column(c.dtype, python=[c.python()[row]]) for c in python])
            for row in range(len(rows))
        ]
        assert repr([[each[feature][0] for each in one_by_one] for feature in range(3)]) == repr(expected)
