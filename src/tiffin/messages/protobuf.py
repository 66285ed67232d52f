"""Messages in Protobuf, of a generated class that is found by its path."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from tiffin.definitions import ProtoFormat
from tiffin.errors import BackendNotFoundError, RequestError, nearest
from tiffin.messages.column import MessageColumn, Tree
from tiffin.messages.rows import Decode, RowType, UnreadableError, decode_all
from tiffin.time import EPOCH

_TIMESTAMP = "google.protobuf.Timestamp"
_WRAPPERS = tuple(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
Take = Callable[[Any], Any]


def protobuf_decoder(format_: ProtoFormat, row_type: RowType, tree: Tree) -> Decode:
    """The decoder for rows of a type.

    Args:
        format_: the path of the class.
        row_type: of the rows.
        tree: the wanted fields; only they are looked at.

    Raises:
        RequestError: there is no such class, or it has no such field.
        BackendNotFoundError: protobuf is not installed.
    """
    try:
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise BackendNotFoundError(
            "messages in Protobuf need protobuf", subject="protobuf", hint="pip install 'tiffin[protobuf]'"
        ) from error
    cls = _message_class(format_.class_path)
    take = _taker(cls.DESCRIPTOR, tree)

    def decode(value: bytes) -> Any:
        try:
            message = cls.FromString(value)
        except DecodeError as error:
            raise UnreadableError(f"it is no {cls.DESCRIPTOR.full_name}: {error}") from None
        return row_type.convert(take(message))

    return partial(decode_all, decode=decode)


def _message_class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    hint = "give the path of a generated class that can be imported, such as shop.events_pb2.Click"
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(f"the class {path!r} of messages in Protobuf is not found: {error}", hint=hint) from error
    if not hasattr(found, "DESCRIPTOR"):
        raise RequestError(f"{path!r} is no class of messages in Protobuf", hint=hint)
    return found


def _taker(descriptor: Any, tree: Tree) -> Take:
    """Takes the wanted fields of a message as dicts; a field without presence has its default, as in Protobuf."""
    fields = {field.name: field for field in descriptor.fields}
    takes: list[tuple[str, Take]] = []
    for name, below in tree.items():
        if name not in fields:
            message = f"{descriptor.full_name} has no field {name!r}"
            raise RequestError(message, subject=name, hint=nearest(name, fields))
        takes.append((name, _field_taker(fields[name], below)))
    return lambda message: {name: take(message) for name, take in takes}


def _field_taker(field: Any, below: MessageColumn | Tree) -> Take:
    name = field.name
    if isinstance(below, Mapping):
        if field.message_type is None or _is_repeated(field):
            hint = "a path leads through messages, not through lists, maps or values"
            raise RequestError(f"{field.full_name} has no fields below it", subject=name, hint=hint)
        inner = _taker(field.message_type, below)
        return lambda message: inner(getattr(message, name)) if message.HasField(name) else None
    one = _value_taker(field)
    if _is_map(field):
        of_value = _value_taker(field.message_type.fields_by_name["value"])
        return lambda message: {key: of_value(value) for key, value in getattr(message, name).items()}
    if _is_repeated(field):
        return lambda message: [one(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda message: one(getattr(message, name)) if message.HasField(name) else None
    return lambda message: one(getattr(message, name))


def _is_repeated(field: Any) -> bool:
    found = field.is_repeated
    return bool(found() if callable(found) else found)


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _value_taker(field: Any) -> Take:
    """A value as Python has it: times aware, names of enumerations, messages as dicts of all of their fields."""
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number: names.get(number, str(number))
    if field.message_type is None:
        return lambda value: value
    full_name = field.message_type.full_name
    if full_name == _TIMESTAMP:
        return lambda value: EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
    if full_name in _WRAPPERS:
        return lambda value: value.value
    if _is_map(field):
        return lambda value: value
    from google.protobuf.json_format import MessageToDict

    return partial(MessageToDict, preserving_proto_field_name=True)
