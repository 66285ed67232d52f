"""Filters mean the same in SQL and in numpy, nulls, NaN and all."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.errors import InputError
from tiffin.sql.conditions import condition_sql, parse_condition
from tiffin.types import Bool, FeatureType, Float32, Float64, Int32, Int64, String, UnixTimestamp, arrow_type
from tiffin.windows.conditions import is_true, values_of

TYPES: dict[str, FeatureType] = {
    "i": Int64,
    "j": Int32,
    "x": Float64,
    "s": Float32,
    "word": String,
    "Flag": Bool,
    "at": UnixTimestamp,
}
#: The same columns as SQL of the kinds that conditions take them for.
SQL = {
    "i": "CAST(i AS BIGINT)",
    "j": "CAST(j AS BIGINT)",
    "x": "CAST(x AS DOUBLE)",
    "s": "CAST(s AS DOUBLE)",
    "word": "word",
    "Flag": '"Flag"',
    "at": 'epoch_us("at")',
}
VALUES: dict[str, list[Any]] = {
    "i": [None, 0, 1, -1, 7, 2**53 + 1],
    "j": [None, 0, 1, -7, 2**31 - 1],
    "x": [None, 0.0, -0.0, 0.5, math.nan, math.inf, -math.inf, 1e300],
    "s": [None, 0.5, 0.1, math.nan],
    "word": [None, "", "a", "it's", "é", "Z"],
    "Flag": [None, True, False],
    "at": [None, 0, 1_704_067_200_000_000, 1_704_067_200_000_001],
}

numbers = st.deferred(
    lambda: (
        st.sampled_from(["i", "j", "x", "s", "0", "1", "-7", "0.5", "2e0"])
        | st.builds("({} {} {})".format, numbers, st.sampled_from("+-*/"), numbers)
        | st.builds("-{}".format, st.sampled_from(["i", "x", "(j)"]))
    )
)
comparisons = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])
texts = st.sampled_from(["word", "'a'", "''", "'it''s'", "'é'"])
times = st.sampled_from(["at", "'2024-01-01'", "'2024-01-01T00:00:00.000001Z'"])
bools = st.sampled_from(["Flag", "true", "false"])
atoms = (
    st.builds("{} {} {}".format, numbers, comparisons, numbers)
    | st.builds("{} {} {}".format, texts, comparisons, texts)
    | st.builds("at {} {}".format, comparisons, times)
    | st.builds("Flag {} {}".format, comparisons, bools)
    | st.builds("{} IS {}NULL".format, st.sampled_from(list(TYPES)), st.sampled_from(["", "NOT "]))
    | st.builds("{} {}IN ({}, {})".format, st.sampled_from(["i", "x", "j"]), st.sampled_from(["", "NOT "]),
                st.sampled_from(["1", "0.5", "-7"]), st.sampled_from(["0", "1e300"]))
    | st.builds("word IN ({}, {})".format, st.sampled_from(["'a'", "'Z'"]), st.sampled_from(["''", "'x'"]))
    | st.builds("{} BETWEEN {} AND {}".format, numbers, numbers, numbers)
    | bools
)  # fmt: skip
conditions = st.recursive(
    atoms,
    lambda inner: (
        st.builds("({} AND {})".format, inner, inner)
        | st.builds("({} OR {})".format, inner, inner)
        | st.builds("NOT ({})".format, inner)
    ),
    max_leaves=6,
)
TABLE = pa.table(
    {
        name: pa.array([values[row * step % len(values)] for row in range(60)], arrow_type(TYPES[name]))
        for step, (name, values) in zip((1, 3, 5, 7, 1, 1, 7), VALUES.items(), strict=True)
    }
)


@given(text=conditions)
@settings(max_examples=400, deadline=None)
def test_sql_and_numpy_choose_the_same_facts(text: str) -> None:
    condition = parse_condition(text, TYPES)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("facts", TABLE)
        query = f"SELECT coalesce({condition_sql(condition, SQL)}, false) AS held FROM facts"
        try:
            expected = connection.sql(query).to_arrow_table()["held"].to_pylist()
        except duckdb.OutOfRangeException:
            expected = None
    columns = {value.name: TABLE[value.name] for value in values_of(condition)}
    try:
        found = is_true(condition, columns, TABLE.num_rows).tolist()
    except InputError:
        found = None
    # An overflow in what decides nothing is met by one of them only.
    if found is not None and expected is not None:
        assert found == expected, text


def test_whole_numbers_do_not_wrap_round() -> None:
    condition = parse_condition("i * i > 0", {"i": Int64})
    with pytest.raises(InputError, match="does not fit into 64 bits"):
        is_true(condition, {"i": pa.array([2**40])}, 1)
    assert is_true(condition, {"i": pa.array([3_000_000_000, None])}, 2).tolist() == [True, False]


def test_dividing_by_zero_is_null() -> None:
    condition = parse_condition("1 / i > 0 OR i IS NULL", {"i": Int64})
    assert is_true(condition, {"i": pa.array([0, 2, None])}, 3).tolist() == [False, True, True]


def test_a_column_is_read_by_its_exact_name() -> None:
    condition = parse_condition('"odd name" = 1', {"odd name": Int64})
    assert [value.name for value in values_of(condition)] == ["odd name"]
    assert is_true(condition, {"odd name": pa.array([1, 2])}, 2).tolist() == np.array([True, False]).tolist()
