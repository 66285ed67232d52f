"""Messages in JSON: fields by path, types, what stands around a message, and what cannot be read (STR-3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal as PyDecimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.definitions import JsonFormat
from tiffin.errors import DefinitionError, RequestError
from tiffin.messages.column import MessageColumn
from tiffin.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
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
)
from unit.messages.batches import AMOUNT, AT, USER, WORD, take

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
GOOD = b'{"user": 1, "at": "2024-06-01T12:00:00Z", "amount": 1.5, "word": "a", "more": [1, {"x": 2}]}'


def taken(values, columns=(USER, AT, AMOUNT, WORD), format_=None, **around):
    return take(format_ or JsonFormat(), columns, values, **around)


def one(dtype, text, path="x"):
    """A field of one message as Python has it, or the reason why it is none."""
    found = taken([f'{{"at": "2024-06-01", "{path}": {text}}}'.encode()], (AT, MessageColumn(path, dtype)))
    return found.table[path].to_pylist()[0] if not found.dead else found.dead[0]


def test_message_becomes_a_row() -> None:
    found = taken([GOOD])
    assert found.table.to_pylist() == [{"user": 1, "at": NOON, "amount": 1.5, "word": "a"}]
    assert found.dead == {}


def test_missing_and_null_fields_are_null() -> None:
    found = taken([b'{"at": "2024-06-01T12:00:00Z", "word": null}'])
    assert found.table.to_pylist() == [{"user": None, "at": NOON, "amount": None, "word": None}]


def test_nested_field_is_read_by_its_path() -> None:
    columns = AT, MessageColumn("a.b.c", Int64), MessageColumn("a.b.d", String), MessageColumn("a.e", Int64)
    values = [
        b'{"at": "2024-06-01", "a": {"b": {"c": 1, "d": "x"}, "e": 2}}',
        b'{"at": "2024-06-01", "a": {"b": null}}',
    ]
    found = taken([*values, b'{"at": "2024-06-01"}'], columns)
    assert found.table["a.b.c"].to_pylist() == [1, None, None]
    assert found.table["a.b.d"].to_pylist() == ["x", None, None]
    assert found.table["a.e"].to_pylist() == [2, None, None]


def test_nested_time_is_required() -> None:
    columns = (MessageColumn("meta.at", UnixTimestamp, is_time=True, is_required=True),)
    found = taken([b'{"meta": {"at": "2024-06-01T12:00:00Z"}}', b'{"meta": null}', b"{}"], columns)
    assert found.table.to_pylist() == [{"meta.at": NOON}]
    assert set(found.dead) == {1, 2}


def test_a_part_and_its_whole_cannot_both_be_wanted() -> None:
    with pytest.raises(RequestError, match="both"):
        taken([], (AT, MessageColumn("a", Json), MessageColumn("a.b", Int64)))
    with pytest.raises(RequestError, match="both"):
        taken([], (AT, MessageColumn("a.b", Int64), MessageColumn("a", Json)))


def test_what_stands_around_a_message_is_a_column() -> None:
    columns = (
        MessageColumn("@timestamp", UnixTimestamp, is_time=True, is_required=True),
        MessageColumn("@key", Int64, is_key=True),
        MessageColumn("@header.trace", String),
        AMOUNT,
    )
    found = taken(
        [b'{"amount": 1}', b"{}"],
        columns,
        keys=[b"17", b"no"],
        headers=[{"trace": b"t"}, {}],
        times_us=[1_717_243_200_000_000, 1_717_243_200_000_000],
    )
    assert found.table.to_pylist() == [{"@timestamp": NOON, "@key": 17, "@header.trace": "t", "amount": 1.0}]
    assert "is not a key of type Int64" in found.dead[1]


UNREADABLE = {
    "no JSON": b"{",
    "no object": b"[1]",
    "two objects": GOOD + GOOD,
    "no value": None,
    "empty": b"",
    "no UTF-8": b'{"at": "2024-06-01", "word": "\xff\xfe"}',
    "half of a surrogate pair": rb'{"at": "2024-06-01", "word": "\ud800"}',
    "nested too deep": b'{"at": "2024-06-01", "x": ' + b"[" * 100_000,
    "another type": b'{"at": "2024-06-01", "amount": "many"}',
    "a fraction for a key": b'{"at": "2024-06-01", "user": 1.0}',
    "a truth value for a key": b'{"at": "2024-06-01", "user": true}',
    "a word for a key": b'{"at": "2024-06-01", "user": "x"}',
    "a key that is too large": b'{"at": "2024-06-01", "user": 9223372036854775808}',
    "no time": b'{"user": 1}',
    "a time that is none": b'{"at": "yesterday"}',
    "a time that is null": b'{"at": null}',
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_message_is_a_dead_letter_and_the_rest_goes_on(value: bytes | None) -> None:
    """STR-3."""
    found = taken([GOOD, value, GOOD])
    assert found.numbers.tolist() == [0, 2]
    assert found.table.num_rows == 2
    assert list(found.dead) == [1]
    assert found.dead[1]


def test_two_broken_messages_never_make_a_valid_one() -> None:
    found = taken([b'{"at": "2024-06-01", "user": 1', b', "amount": 2}', b"{}", GOOD])
    assert found.numbers.tolist() == [3]


def test_reason_names_the_field() -> None:
    found = taken([b'{"at": "2024-06-01", "amount": "many"}'])
    assert found.dead[0] == "Expected `float | null`, got `str` - at `$.amount`"


def test_integer_keys_may_be_written_as_text() -> None:
    """TYP-3."""
    values = [b'{"at": "2024-06-01", "user": "12"}', b'{"at": "2024-06-01", "user": 13}', b'{"at": "2024-06-01"}']
    assert taken(values).table["user"].to_pylist() == [12, 13, None]
    assert set(taken([b'{"at": "2024-06-01", "user": "012"}', *values]).dead) == {0}


@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        (Int64, "9007199254740993", 9007199254740993),
        (Int32, "2147483648", "Expected `int` <= 2147483647 - at `$.x`"),
        (Float64, "1", 1.0),
        (Float64, "1e999", "Number out of range"),
        (Bool, "true", True),
        (String, '"é"', "é"),
        (Bytes, '"AAE="', b"\x00\x01"),
        (Decimal, "0.1", PyDecimal("0.100000000000000000")),
        (Decimal, '"12.50"', PyDecimal("12.500000000000000000")),
        (Array(Int64), "[1, null]", [1, None]),
        (Set(String), '["a"]', ["a"]),
        (Map, '{"a": "b"}', [("a", "b")]),
        (Json, '{"a": [1]}', '{"a":[1]}'),
        (Struct({"a": Int64, "b": String}), '{"a": 1}', {"a": 1, "b": None}),
        (UnixTimestamp, '"2024-06-01T14:00:00+02:00"', NOON),
        (Uuid, '"12345678-1234-5678-1234-567812345678"', "12345678-1234-5678-1234-567812345678"),
    ],
)
def test_field_has_its_type(dtype, text, value) -> None:
    """TYP-1."""
    found = one(dtype, text)
    assert found.startswith(value) if isinstance(value, str) and value.startswith(("Exp", "Num")) else found == value


@pytest.mark.parametrize("dtype", [Decimal, Uuid, Struct({"a": Int64}), Array(UnixTimestamp), Map])
def test_value_that_its_type_cannot_hold_is_said(dtype) -> None:
    bad = {Decimal: "1e-30", Uuid: '"u"', Map: '{"a": 1}'}.get(
        dtype, '{"b": 1}' if isinstance(dtype, Struct) else '["x"]'
    )
    assert isinstance(one(dtype, bad), str)


def test_unknown_unit_is_refused_where_it_is_declared() -> None:
    with pytest.raises(DefinitionError, match="timestamp_unit 'min' is unknown"):
        JsonFormat(timestamp_unit="min")


values = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.builds(
        lambda user, amount: json.dumps({"user": user, "at": "2024-06-01", "amount": amount}).encode(),
        st.one_of(st.integers(), st.booleans(), st.text(max_size=3), st.none()),
        st.one_of(st.floats(allow_nan=True), st.none(), st.text(max_size=3)),
    ),
)


@given(st.lists(values, max_size=12))
def test_each_message_is_taken_or_dead_whatever_stands_beside_it(values) -> None:
    """STR-3: alone or in a batch, a message has the same fate and the same values."""
    found = taken(values)
    assert sorted([*found.numbers.tolist(), *found.dead]) == list(range(len(values)))
    rows = dict(zip(found.numbers.tolist(), found.table.to_pylist(), strict=True))
    for number, value in enumerate(values):
        alone = taken([value])
        assert bool(alone.dead) == (number in found.dead)
        if number in rows:
            assert alone.table.to_pylist() == [rows[number]]
