"""Rows and keys as bytes: what goes in comes out, bytes order as facts do, keys never collide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from property.online_values import TEXT, TIMES, tables
from tiffin.online.keys import cast_key_column, encode_key_columns, encode_keys
from tiffin.online.rows import RowCodec, RowHeader, RowReader, payload_bytes, row_codec, tombstone
from tiffin.time import MAX_US, MIN_US
from tiffin.types import Bool, Bytes, FeatureType, Int32, Int64, String, UnixTimestamp

# A shared machine may be slow: only what is computed counts here.
quick = settings(deadline=None, max_examples=60)
STAMPS = st.integers(MIN_US, MAX_US)
SMALL = st.integers(-2, 2)


def encode(codec: RowCodec, table: pa.Table, stamp: int = 0) -> list[bytes]:
    stamps = np.full(table.num_rows, stamp)
    return codec.encode(table, stamps, stamps)


@quick
@given(tables())
def test_arrow_values_come_out_bit_by_bit(drawn: tuple[Any, pa.Table]) -> None:
    layout, table = drawn
    codec = row_codec(layout)
    rows = encode(codec, table)
    arrays = RowReader(codec, range(len(layout))).arrays(rows)
    again = pa.table(dict(zip(table.column_names, arrays, strict=True)))
    assert again.schema.types == table.schema.types
    assert repr(again.to_pylist()) == repr(table.to_pylist())
    # Writing what was read gives the same bytes, so floats keep their bits and null stays apart from NaN and empty.
    assert encode(codec, again) == rows


def shown(value: Any) -> str:
    """A value as text. NaN stands for itself, and sets are in order: each NaN has a hash of its own."""
    if isinstance(value, set):
        return f"{{{', '.join(sorted(map(shown, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{shown(key)}: {shown(each)}' for key, each in value.items())}}}"
    return repr(value)


@quick
@given(tables(), st.data())
def test_one_row_and_many_rows_are_read_alike(drawn: tuple[Any, pa.Table], data: st.DataObject) -> None:
    layout, table = drawn
    codec = row_codec(layout)
    rows = [*encode(codec, table), codec.blank]
    wanted = data.draw(st.lists(st.sampled_from(range(len(layout))), unique=True))
    reader = RowReader(codec, wanted)
    columns = reader.columns(rows)
    one_by_one = [list(reader.values(row)) for row in rows]
    assert shown(one_by_one) == shown([[column[i] for column in columns] for i in range(len(rows))])
    whole = RowReader(codec, range(len(layout))).columns(rows)
    assert shown(columns) == shown([whole[i] for i in wanted])
    nulls = [[cell is None for cell in array.to_pylist()] for array in reader.arrays(rows)]
    assert (~reader.valid(rows)).T.tolist() == nulls


@quick
@given(tables(max_rows=8), st.data())
def test_bytes_do_not_depend_on_the_rows_beside(drawn: tuple[Any, pa.Table], data: st.DataObject) -> None:
    layout, table = drawn
    rows = encode(row_codec(layout), table)
    start = data.draw(st.integers(0, table.num_rows))
    assert encode(row_codec(layout), table.slice(start)) == rows[start:]
    chunked = pa.concat_tables([table.slice(0, start), table.slice(start)])
    assert encode(row_codec(layout), chunked) == rows
    assert payload_bytes(layout, table) == [row[27:] for row in rows]


@quick
@given(
    st.lists(st.tuples(SMALL | STAMPS, SMALL | STAMPS, st.integers(0, 3), st.integers(0, 2), st.integers()), min_size=2)
)
def test_rows_order_as_their_facts_do(facts: list[tuple[int, int, int, int, int]]) -> None:
    rows = []
    for event, known, seq, layout, content in facts:
        codec = RowCodec((("x", "Int64"),), layout)
        table = pa.table({"x": [content % 1000]})
        rows += codec.encode(table, np.array([event]), np.array([known]), np.array([seq], np.uint64))
    stamps = [(event, known, seq, layout) for event, known, seq, layout, _ in facts]
    for one, first in zip(stamps, rows, strict=True):
        assert RowHeader.of(first) == RowHeader(*one[:3], tombstone=False, layout=one[3])
        assert tombstone(*one[:3]) > first
        for other, second in zip(stamps, rows, strict=True):
            if one != other:
                assert (first < second) == (one < other)
            if one[:3] < other[:3]:
                assert tombstone(*one[:3]) < second


KEY_VALUES: dict[FeatureType, st.SearchStrategy[Any]] = {
    Int64: SMALL | st.integers(-(2**63), 2**63 - 1),
    Int32: st.integers(-(2**31), 2**31 - 1),
    String: TEXT | st.sampled_from(["", "a", "a|b", "b|c", "c", "a\0", "\0"]),
    Bytes: st.binary(max_size=4),
    Bool: st.booleans(),
    UnixTimestamp: TIMES,
}


@st.composite
def keys(draw: st.DrawFn) -> tuple[list[FeatureType], list[tuple[Any, ...]]]:
    types = draw(st.lists(st.sampled_from(list(KEY_VALUES)), min_size=1, max_size=3))
    values = draw(st.lists(st.tuples(*(KEY_VALUES[dtype] for dtype in types)), min_size=2, max_size=20))
    return types, values


@quick
@given(keys())
def test_keys_never_collide_and_bulk_equals_single(drawn: tuple[list[FeatureType], list[tuple[Any, ...]]]) -> None:
    types, values = drawn
    found = encode_keys(list(map(list, zip(*values, strict=True))), types, ["k"] * len(types), len(values))
    assert len(set(found)) == len(set(values))
    arrays = [
        cast_key_column(
            pa.array(list(column), None if dtype is not UnixTimestamp else pa.timestamp("us", "UTC")), dtype, "k"
        )
        for column, dtype in zip(zip(*values, strict=True), types, strict=True)
    ]
    assert encode_key_columns(arrays, len(values)) == found


@quick
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2))
def test_integer_keys_sort_as_numbers(numbers: list[int]) -> None:
    encoded = encode_keys([numbers], [Int64], ["k"], len(numbers))
    assert sorted(encoded, key=lambda key: key or b"") == encode_keys([sorted(numbers)], [Int64], ["k"], len(numbers))
