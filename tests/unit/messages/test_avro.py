"""Messages in Avro: with a given schema, with the schemas of a registry, and what is not of its schema."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal as PyDecimal

import fastavro
import pytest

from tiffin.definitions import AvroFormat
from tiffin.errors import RequestError, StreamUnavailableError
from tiffin.messages.column import MessageColumn
from tiffin.types import Bytes, Decimal, String
from unit.messages.batches import AMOUNT, AT, USER, WORD, take

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
TIME = {"type": "long", "logicalType": "timestamp-micros"}
SCHEMA = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "user", "type": ["null", "long"]},
        {"name": "at", "type": TIME},
        {"name": "amount", "type": ["null", "double"]},
        {"name": "word", "type": "string"},
        {"name": "page", "type": {"type": "record", "name": "Page", "fields": [{"name": "path", "type": "string"}]}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "raw", "type": "bytes"},
    ],
}
ROW = {
    "user": 1,
    "at": NOON,
    "amount": None,
    "word": "é",
    "page": {"path": "/"},
    "price": PyDecimal("1.25"),
    "raw": b"\x00\xff",
}
COLUMNS = (
    *(USER, AT, AMOUNT, WORD),
    MessageColumn("page.path", String),
    MessageColumn("price", Decimal),
    MessageColumn("raw", Bytes),
)


def written(row, schema=SCHEMA) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), row)
    return stream.getvalue()


def framed(number: int, value: bytes) -> bytes:
    return b"\x00" + number.to_bytes(4) + value


def test_records_become_rows() -> None:
    found = take(AvroFormat(json.dumps(SCHEMA)), COLUMNS, [written(ROW)])
    assert found.table.to_pylist() == [
        {"user": 1, "at": NOON, "amount": None, "word": "é", "page.path": "/"}
        | {"price": PyDecimal("1.250000000000000000"), "raw": b"\x00\xff"}
    ]


def test_time_that_is_a_plain_number_has_the_declared_unit() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "at", "type": "long"}]}
    values = [written({"at": 1_717_243_200_000}, schema)]
    found = take(AvroFormat(json.dumps(schema), timestamp_unit="ms"), (AT,), values)
    assert found.table.to_pylist() == [{"at": NOON}]


@pytest.mark.parametrize("value", [b"", b"\x00", written(ROW)[:-1], written(ROW) + b"x", b"\xff" * 40, None])
def test_what_is_not_of_the_schema_is_a_dead_letter(value) -> None:
    """STR-3."""
    found = take(AvroFormat(json.dumps(SCHEMA)), COLUMNS, [written(ROW), value, written(ROW)])
    assert found.numbers.tolist() == [0, 2]
    assert list(found.dead) == [1]


def test_each_message_is_read_with_the_schema_that_it_names() -> None:
    older = {"type": "record", "name": "Click", "fields": SCHEMA["fields"][:2]}
    schemas = {1: json.dumps(older), 7: json.dumps(SCHEMA)}
    asked = []

    def schema_of(number: int) -> str:
        asked.append(number)
        return schemas[number]

    values = [framed(7, written(ROW)), framed(1, written({"user": 2, "at": NOON}, older)), framed(7, written(ROW))]
    values += [framed(9, b""), b"{}", b""]
    found = take(AvroFormat(schema_registry="http://r"), (USER, AT, WORD), values, schema_of=schema_of)
    assert found.table["user"].to_pylist() == [1, 2, 1]
    assert found.table["word"].to_pylist() == ["é", None, "é"]
    assert found.dead[3] == "the registry has no schema 9"
    assert "first byte is not 0" in found.dead[4]
    assert asked[:2] == [7, 1]


def test_own_schema_is_what_messages_of_a_registry_are_read_as() -> None:
    fields = [{"name": "at", "type": TIME}, {"name": "word", "type": "string", "default": "none"}]
    wanted = {"type": "record", "name": "Click", "fields": fields}
    older = {"type": "record", "name": "Click", "fields": SCHEMA["fields"][:2]}
    values = [framed(1, written({"user": 2, "at": NOON}, older))]
    format_ = AvroFormat(json.dumps(wanted), schema_registry="http://r")
    found = take(format_, (AT, WORD), values, schema_of=lambda _: json.dumps(older))
    assert found.table.to_pylist() == [{"at": NOON, "word": "none"}]


def test_a_registry_that_cannot_be_reached_makes_no_dead_letters() -> None:
    def schema_of(_: int) -> str:
        raise StreamUnavailableError("down")

    with pytest.raises(StreamUnavailableError):
        take(AvroFormat(schema_registry="http://r"), (USER, AT), [framed(1, b"")], schema_of=schema_of)


@pytest.mark.parametrize("schema", ["", "{", '{"type": "what"}'])
def test_schema_that_is_none_is_refused(schema) -> None:
    with pytest.raises(RequestError):
        take(AvroFormat(schema), (AT,), [])
