"""What is read from the columns of a source, and which columns fit which types (TYP-1)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tiffin.definitions import (
    Field,
    FileSource,
    PushSource,
)
from tiffin.errors import (
    DefinitionError,
    DefinitionTypeError,
)
from tiffin.planning.apply import ApplyPlan, gather
from tiffin.planning.inference import sources_to_read
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
)
from unit.planning.plans import COLUMNS, EMPTY, fields, plan, source, view


def test_an_open_schema_gets_the_columns_that_are_no_keys_and_no_times() -> None:
    made = plan(view(schema=None, source=source(field_mapping={"city": "town"})))
    assert [(f.name, f.dtype) for f in made.snapshot.view("stats").features] == [
        ("rate", Float64),
        ("trips", Int32),
        ("town", String),
    ]


def test_the_only_time_column_is_the_time() -> None:
    only = {name: type_ for name, type_ in COLUMNS.items() if name != "created"}
    open_source = FileSource(name="rides", path="a.parquet")
    made = plan(view(source=open_source), columns={"rides": only})
    assert made.snapshot.sources["rides"].timestamp_field == "ts"
    made = plan(view(source=FileSource(name="rides", path="a.parquet", created_timestamp_column="created")))
    assert made.snapshot.sources["rides"].timestamp_field == "ts"


def test_pushed_facts_have_the_times_of_their_history() -> None:
    made = plan(view(source=PushSource(name="push", batch_source=source())))
    push = made.snapshot.sources["push"]
    assert (push.timestamp_field, push.created_timestamp_column) == ("ts", "created")


@pytest.mark.parametrize(
    ("columns", "message"),
    [(COLUMNS, "there are several: ts, created"), ({"driver_id": pa.int64()}, "none of driver_id is")],
)
def test_a_time_column_that_cannot_be_told_is_asked_for(columns: dict[str, pa.DataType], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        plan(view(source=FileSource(name="rides", path="a.parquet")), columns={"rides": columns})


@pytest.mark.parametrize(("column", "kept"), [(pa.int32(), Int64), (pa.int64(), Int64), (pa.string(), String)])
def test_the_type_of_a_key_comes_from_its_column(column: pa.DataType, kept: FeatureType) -> None:
    made = plan(view(), columns={"rides": {**COLUMNS, "driver_id": column}})
    assert made.snapshot.entities["driver"].key_type == kept
    assert made.snapshot.view("stats").key_types == (kept,)


def test_narrow_and_wide_integer_keys_are_one() -> None:
    other = view(name="other", source=source(name="s2"), schema=fields(driver_id=Int32, rate=Float64))
    made = plan([view(), other], columns={"s2": {**COLUMNS, "driver_id": pa.int32()}})
    assert made.snapshot.view("stats").key_types == made.snapshot.view("other").key_types == (Int64,)


def test_an_entity_with_keys_of_two_types_is_refused() -> None:
    other = view(name="other", source=source(name="s2"))
    columns = {"s2": {**COLUMNS, "driver_id": pa.string()}}
    message = "'driver_id' has several types: Int64 in feature view stats, String in feature view other"
    with pytest.raises(DefinitionError, match=message):
        plan([view(), other], columns=columns)
    with pytest.raises(DefinitionError, match="String in feature view other, Int64 in what was applied before"):
        plan(other, plan(view()).snapshot, columns=columns)


def test_a_source_that_is_used_by_many_views_is_read_once() -> None:
    wish = gather(EMPTY, [view(name=f"v{i}") for i in range(5)], [], partial=True)
    assert [each.name for each in sources_to_read(wish.declared)] == ["rides"]


def field(dtype: FeatureType, column: pa.DataType, **arguments: Any) -> ApplyPlan:
    declared = view(schema=[Field(name="x", dtype=dtype, **arguments)])
    return plan(declared, columns={"rides": {**COLUMNS, "x": column}})


FITS = [
    (Int64, pa.uint8()),
    (Int32, pa.int64()),
    (Float32, pa.float64()),
    (Float64, pa.int64()),
    (Float64, pa.decimal128(9, 2)),
    (String, pa.dictionary(pa.int32(), pa.large_string())),
    (String, pa.int64()),
    (UnixTimestamp, pa.date32()),
    (UnixTimestamp, pa.string()),
    (Decimal, pa.decimal128(20, 18)),
    (Decimal, pa.int64()),
    (Bytes, pa.large_binary()),
    (Array(Int64), pa.list_(pa.int32())),
    (Struct({"a": Int64}), pa.struct([("a", pa.int32())])),
    (Map, pa.map_(pa.string(), pa.string())),
    (Int64, pa.null()),
]
MISFITS = [
    (Int64, pa.string()),
    (Int64, pa.float64()),
    (Int64, pa.bool_()),
    (Bool, pa.int64()),
    (Float64, pa.string()),
    (String, pa.float64()),
    (String, pa.binary()),
    (UnixTimestamp, pa.int64()),
    (Decimal, pa.float64()),
    (Decimal, pa.decimal256(40, 20)),
    (Array(Int64), pa.int64()),
    (Array(Int64), pa.list_(pa.string())),
    (Struct({"a": Int64}), pa.struct([("b", pa.int64())])),
    (Map, pa.map_(pa.string(), pa.int64())),
]


@pytest.mark.parametrize(("dtype", "column"), FITS)
def test_a_column_that_fits_its_declared_type_is_accepted(dtype: FeatureType, column: pa.DataType) -> None:
    assert field(dtype, column).snapshot.view("stats").features[0].dtype == dtype


@pytest.mark.parametrize(("dtype", "column"), MISFITS)
def test_a_column_that_cannot_be_kept_in_its_declared_type_is_refused(dtype: FeatureType, column: pa.DataType) -> None:
    with pytest.raises(DefinitionTypeError, match=r"field 'x' is declared as .* cannot be kept in it") as caught:
        field(dtype, column)
    assert "plans.py:" in caught.value.location


@pytest.mark.parametrize("default", ["a", 1.5, True, [1], 1 << 70])
def test_a_default_of_another_type_is_refused(default: Any) -> None:
    with pytest.raises(DefinitionTypeError, match="is no Int64"):
        field(Int64, pa.int64(), default_value=default)


def test_a_default_that_the_registry_cannot_keep_is_refused() -> None:
    with pytest.raises(DefinitionError, match="holds a value that the registry cannot keep"):
        plan([view(schema=[Field(name="rate", dtype=Float64, default_value=object())]), view()])
