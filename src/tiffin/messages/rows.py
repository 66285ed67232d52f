"""Rows of typed fields: what every format decodes a message into, and where the columns are taken from.

The type of a row is built by msgspec from the wanted columns, nested ones as rows in rows. JSON is decoded straight
into it, in one pass over the bytes; other formats convert what their library gives. What nobody wants costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal as PyDecimal
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tiffin.messages.column import MessageColumn, Tree, field_tree, has_required
from tiffin.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Map,
    PdfBytes,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

_INT32 = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]
_INT64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_PLAIN: dict[FeatureType, Any] = {
    Int32: _INT32,
    Int64: _INT64,
    Float32: float,
    Float64: float,
    String: str,
    Bool: bool,
    Bytes: bytes,
    PdfBytes: bytes,
    ImageBytes: bytes,
    Decimal: PyDecimal,
    Uuid: str,
    TimeUuid: str,
    Map: dict[str, str],
    UnixTimestamp: str | int | float,
}
#: What libraries of typed formats give as it is; JSON has none of it.
_BUILT_IN = (bytes, bytearray, datetime, date, PyDecimal, UUID)

Rows = list[Any]
#: Rows, the numbers of their messages, and for each message without a row its number and the reason.
Decoded = tuple[Rows, list[int], list[tuple[int, str]]]
#: From the values of messages to their rows.
Decode = Callable[[Sequence[bytes | None]], Decoded]


class RowType:
    """The type of the rows that hold some columns.

    Args:
        columns: what is wanted; those that stand around a message are passed over.
        is_typed: the values come from a library whose types tell times and UUIDs, not from JSON.
    """

    def __init__(self, columns: Sequence[MessageColumn], *, is_typed: bool = False) -> None:
        self._is_typed = is_typed
        self._places: dict[str, str] = {}
        self._numbers = itertools.count()
        self.type = self._struct(field_tree(columns), ())

    def _struct(self, tree: Tree, way: tuple[str, ...]) -> Any:
        fields: list[Any] = []
        names: dict[str, str] = {}
        for name, below in tree.items():
            field = f"f{next(self._numbers)}"
            names[field] = name
            here = (*way, field)
            if isinstance(below, MessageColumn):
                self._places[below.path] = ".".join(here)
                wanted, is_required = self._field_type(below), below.is_required
            else:
                wanted, is_required = self._struct(below, here), has_required(below)
            fields.append((field, wanted) if is_required else (field, wanted | None, None))
        return msgspec.defstruct("Message", fields, rename=names, kw_only=True, gc=False)

    def _field_type(self, column: MessageColumn) -> Any:
        if column.is_key and column.dtype in (Int32, Int64):
            return _INT64 | str
        return self._value_type(column.dtype)

    def _value_type(self, dtype: FeatureType) -> Any:
        if isinstance(dtype, Array | Set):
            return list[self._value_type(dtype.base_type) | None]  # type: ignore[misc]
        if isinstance(dtype, Struct):
            return dict[str, Any]
        if self._is_typed and dtype in (UnixTimestamp, Uuid, TimeUuid):
            return Any
        return _PLAIN.get(dtype, Any)

    def convert(self, plain: Any) -> Any:
        """A row from what a library gave: dicts, lists and values.

        Raises:
            msgspec.ValidationError: a field is missing or not of its type; says which.
        """
        return msgspec.convert(plain, self.type, builtin_types=_BUILT_IN)

    def values(self, rows: Rows, path: str) -> list[Any]:
        """(n,) one column of rows; ``None`` where the field, or one that it is in, is null or missing."""
        place = self._places[path]
        if "." not in place:
            return list(map(attrgetter(place), rows))
        try:
            return list(map(attrgetter(place), rows))
        except AttributeError:
            return [_at(row, place.split(".")) for row in rows]


def decode_all(values: Sequence[bytes | None], decode: Callable[[bytes], Any]) -> Decoded:
    """Rows of the messages that can be decoded.

    Args:
        values: of n messages.
        decode: one message; raises one of ``UNREADABLE``.

    Returns:
        The rows; the numbers of their messages; and for each other message its number and the reason.
    """
    try:
        return list(map(decode, values)), list(range(len(values))), []  # type: ignore[arg-type]
    except (*UNREADABLE, TypeError):
        # One of them is unreadable, or has no value: message by message then.
        return _decode_each(values, decode)


def _decode_each(values: Sequence[bytes | None], decode: Callable[[bytes], Any]) -> Decoded:
    rows: Rows = []
    numbers: list[int] = []
    dead: list[tuple[int, str]] = []
    for number, value in enumerate(values):
        if value is None:
            dead.append((number, "it has no value"))
            continue
        try:
            rows.append(decode(value))
            numbers.append(number)
        except UNREADABLE as error:
            dead.append((number, str(error) or type(error).__name__))
    return rows, numbers, dead


class UnreadableError(Exception):
    """A message is not of its format; the text says why."""


#: What decoding a message may raise. Bytes from outside can be nested deeper than a parser goes.
UNREADABLE = (UnreadableError, msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)


def _at(row: Any, way: Sequence[str]) -> Any:
    for name in way:
        if row is None:
            return None
        row = getattr(row, name)
    return row
