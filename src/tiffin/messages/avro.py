"""Messages in Avro: the bytes of one record, with one schema for all or, from a schema registry, one for each."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tiffin.definitions import AvroFormat
from tiffin.errors import BackendNotFoundError, RequestError
from tiffin.messages.rows import Decode, RowType, UnreadableError, decode_all

#: How a message names its schema: a byte 0, then four bytes of its number, big-endian.
_HEADER_BYTES = 5

#: The schema of a number, as JSON; raises ``KeyError`` where the registry has none.
SchemaOf = Callable[[int], str]


def avro_decoder(format_: AvroFormat, row_type: RowType, schema_of: SchemaOf | None) -> Decode:
    """The decoder for rows of a type.

    Args:
        format_: the schema, or that there is a registry.
        row_type: of the rows.
        schema_of: asks the registry, where there is one.

    Raises:
        RequestError: there is neither a schema nor a registry, or the schema is wrong.
        BackendNotFoundError: fastavro is not installed.
    """
    try:
        import fastavro
        from fastavro.schema import SchemaParseException, UnknownType
    except ImportError as error:
        raise BackendNotFoundError(
            "messages in Avro need fastavro", subject="fastavro", hint="pip install 'tiffin[avro]'"
        ) from error

    def parsed(text: str) -> Any:
        try:
            return fastavro.parse_schema(json.loads(text))
        except (ValueError, SchemaParseException, UnknownType, KeyError, TypeError) as error:
            raise RequestError(f"a schema of Avro is wrong: {error}", hint="give a schema in Avro's JSON") from error

    own = parsed(format_.schema_json) if format_.schema_json else None
    known: dict[int, Any] = {}

    def read(value: bytes, start: int, schema: Any, reader: Any) -> Any:
        stream = io.BytesIO(value)
        stream.seek(start)
        try:
            record = fastavro.schemaless_reader(stream, schema, reader)
        except (EOFError, IndexError, OverflowError, KeyError, AttributeError, StopIteration) as error:
            raise UnreadableError(f"it is not of its schema of Avro: {type(error).__name__} {error}") from None
        if stream.tell() != len(value):
            raise UnreadableError(f"it has {len(value) - stream.tell()} bytes after its record of Avro")
        return row_type.convert(record)

    def framed(value: bytes) -> Any:
        if len(value) < _HEADER_BYTES or value[0]:
            raise UnreadableError("it does not name a schema of the registry: its first byte is not 0")
        number = int.from_bytes(value[1:_HEADER_BYTES])
        if number not in known:
            assert schema_of is not None
            try:
                known[number] = parsed(schema_of(number))
            except KeyError:
                raise UnreadableError(f"the registry has no schema {number}") from None
        return read(value, _HEADER_BYTES, known[number], own)

    if format_.schema_registry:
        assert schema_of is not None
        return partial(decode_all, decode=framed)
    if own is None:
        hint = 'pass AvroFormat("{...}"), or AvroFormat(schema_registry="http://...")'
        raise RequestError("the format Avro has no schema and no registry", hint=hint)
    return partial(decode_all, decode=lambda value: read(value, 0, own, None))
