"""Types are values: they print, parse back, and have one Arrow type each."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import DefinitionError, UnsupportedError
from tiffin.types import (
    Array,
    Decimal,
    FeatureType,
    Float32,
    Int32,
    Int64,
    Map,
    PrimitiveType,
    ScalarMap,
    Set,
    String,
    Struct,
    UnixTimestamp,
    ValueType,
    ZonedTimestamp,
    arrow_type,
    from_arrow_type,
    from_value_type,
    parse_type,
)

KEPT = [t for t in PrimitiveType if t not in (PrimitiveType.INVALID, ScalarMap, ZonedTimestamp)]
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)


def types(primitives: list[PrimitiveType]) -> st.SearchStrategy[FeatureType]:
    return st.recursive(
        st.sampled_from(primitives),
        lambda inner: (
            inner.map(Array)
            | inner.map(Set)
            | st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(lambda fields: Struct(fields))
        ),
        max_leaves=5,
    )


@given(types(list(PrimitiveType)))
def test_a_type_parses_back_from_its_text(feature_type: FeatureType) -> None:
    assert parse_type(repr(feature_type)) == feature_type


@given(types(KEPT))
def test_a_type_that_can_be_kept_has_one_arrow_type(feature_type: FeatureType) -> None:
    assert arrow_type(feature_type) == arrow_type(parse_type(repr(feature_type)))


@given(types([t for t in KEPT if arrow_type(t) in (pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_())]))
def test_an_undeclared_column_gets_the_type_that_keeps_it(feature_type: FeatureType) -> None:
    kept = arrow_type(feature_type)
    assert arrow_type(from_arrow_type(kept)) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Int65",
        "Array",
        "Array()",
        "Array(Int64",
        "Int64)",
        "Struct({})",
        "Struct({a: Int64})",
        r"Struct({'\x': Int64})",
    ],
)
def test_text_that_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError):
        parse_type(text)


def test_a_mistyped_type_names_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="Int64"):
        parse_type("Int6")


@pytest.mark.parametrize("feature_type", [ScalarMap, ZonedTimestamp, Array(ZonedTimestamp), Struct({"a": ScalarMap})])
def test_a_type_that_cannot_be_kept_exactly_is_refused(feature_type: FeatureType) -> None:
    with pytest.raises(UnsupportedError, match="cannot be kept exactly"):
        arrow_type(feature_type)


@pytest.mark.parametrize(
    ("arrow", "feature_type"),
    [
        (pa.int8(), Int32),
        (pa.uint16(), Int32),
        (pa.uint32(), Int64),
        (pa.float16(), Float32),
        (pa.large_string(), String),
        (pa.dictionary(pa.int8(), pa.string()), String),
        (pa.date32(), UnixTimestamp),
        (pa.timestamp("ns"), UnixTimestamp),
        (pa.decimal128(10, 2), Decimal),
        (pa.large_list(pa.int64()), Array(Int64)),
        (pa.map_(pa.string(), pa.string()), Map),
    ],
)
def test_columns_widen_to_the_next_type(arrow: pa.DataType, feature_type: FeatureType) -> None:
    assert from_arrow_type(arrow) == feature_type


@pytest.mark.parametrize("arrow", [pa.uint64(), pa.duration("s"), pa.null(), pa.map_(pa.string(), pa.int64())])
def test_a_column_that_no_type_keeps_is_refused(arrow: pa.DataType) -> None:
    with pytest.raises(UnsupportedError):
        from_arrow_type(arrow)


@pytest.mark.parametrize("value_type", [v for v in ValueType if v.name not in ("UNKNOWN", "NULL")])
def test_the_older_enumeration_comes_back(value_type: ValueType) -> None:
    vague = ("STRUCT", "STRUCT_LIST", "VALUE_LIST", "VALUE_SET")
    if value_type.name in vague:
        with pytest.raises(UnsupportedError):
            from_value_type(value_type)
    else:
        assert from_value_type(value_type).to_value_type() is value_type


def test_a_struct_is_a_value() -> None:
    assert Struct({"a": Int64}) == Struct({"a": Int64})
    assert hash(Struct({"a": Int64})) == hash(Struct({"a": Int64}))
    with pytest.raises(DefinitionError, match="at least one field"):
        Struct({})
    with pytest.raises(DefinitionError, match="which is not a type"):
        Array(int)  # type: ignore[arg-type]
