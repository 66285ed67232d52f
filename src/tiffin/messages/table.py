"""A batch of messages as one Arrow table, with the wanted columns under their paths.

A message is taken whole or not at all. What cannot be taken is a dead letter with its reason, and the others go on
(STR-3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import nullable_column
from tiffin.contracts.stream import Messages
from tiffin.definitions import AvroFormat, JsonFormat
from tiffin.definitions.streams import StreamFormat
from tiffin.errors import FunctionError, InputError, TypeMismatchError
from tiffin.messages.avro import SchemaOf, avro_decoder
from tiffin.messages.column import HEADER, KEY, TIMESTAMP, MessageColumn, field_tree
from tiffin.messages.json import json_decoder
from tiffin.messages.protobuf import protobuf_decoder
from tiffin.messages.rows import Rows, RowType
from tiffin.messages.times import times_us
from tiffin.online.defaults import NOT_STORABLE, storable
from tiffin.online.keys import cast_key_column
from tiffin.types import (
    Array,
    Bytes,
    FeatureType,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    arrow_type,
)

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

#: What is raised for rows when one of them is wrong, or a function of the user's cannot take it.
_WRONG = (InputError, FunctionError)


@dataclass(frozen=True)
class Taken:
    """What became of a batch of messages.

    Attributes:
        table: one row for each message that was taken, with the wanted columns under their paths.
        numbers: (n,) which message each row is.
        dead: for each other message its number and the reason.
    """

    table: pa.Table
    numbers: NDArray[np.int64]
    dead: Mapping[int, str]

    def without(self, dead: Mapping[int, str]) -> Taken:
        """The same without some of its rows, given by their place in the table."""
        import pyarrow as pa

        if not dead:
            return self
        stays = np.ones(len(self.numbers), np.bool_)
        stays[list(dead)] = False
        more = {int(self.numbers[row]): reason for row, reason in dead.items()}
        return Taken(self.table.filter(pa.array(stays)), self.numbers[stays], {**self.dead, **more})


class MessageReader:
    """Takes batches of messages of one source.

    Args:
        format_: how they are written.
        columns: what is wanted of each.
        schema_of: asks the schema registry, for the format that has one.

    Raises:
        RequestError: the columns or the format contradict themselves.
        BackendNotFoundError: the package that the format needs is not installed.
    """

    def __init__(
        self, format_: StreamFormat, columns: Sequence[MessageColumn], schema_of: SchemaOf | None = None
    ) -> None:
        self._columns = columns
        self._unit = format_.timestamp_unit
        self._row_type = RowType(columns, is_typed=not isinstance(format_, JsonFormat))
        if isinstance(format_, JsonFormat):
            self._decode = json_decoder(self._row_type)
        elif isinstance(format_, AvroFormat):
            self._decode = avro_decoder(format_, self._row_type, schema_of)
        else:
            self._decode = protobuf_decoder(format_, self._row_type, field_tree(columns))

    def take(self, messages: Messages, now_us: int) -> Taken:
        """A batch as columns.

        Args:
            messages: the batch.
            now_us: the present moment, against which the unit of times is judged.

        Raises:
            StreamUnavailableError: the schema registry cannot be reached.
        """
        rows, numbers, reasons = self._decode(messages.values)
        taken = np.asarray(numbers, np.int64)
        dead = dict(reasons)
        lists = {column.path: self._values(column, rows, numbers, messages) for column in self._columns}
        times, wrong = self._times(lists, now_us)
        if wrong:
            dead |= {int(taken[row]): reason for row, reason in wrong.items()}
            stays = np.ones(len(taken), np.bool_)
            stays[list(wrong)] = False
            places = np.flatnonzero(stays).tolist()
            lists = {path: [values[place] for place in places] for path, values in lists.items()}
            times = {path: (us[stays], there[stays]) for path, (us, there) in times.items()}
            taken = taken[stays]

        def build(rows: Sequence[int]) -> pa.Table:
            return self._table(lists, times, rows)

        table, misfits = isolated(len(taken), build)
        return Taken(table, taken, dead) if not misfits else _rebuilt(table, taken, dead, misfits)

    def _values(self, column: MessageColumn, rows: Rows, numbers: Sequence[int], messages: Messages) -> Sequence[Any]:
        """(n,) a column of the rows, or of what stands around their messages."""
        if not column.is_outside:
            return self._row_type.values(rows, column.path)
        around: Sequence[Any]
        if column.path == TIMESTAMP:
            around = messages.times_us
        elif column.path == KEY:
            around = messages.keys
        else:
            around = messages.header(column.path.removeprefix(HEADER))
        return around if len(numbers) == len(around) else [around[number] for number in numbers]

    def _times(
        self, lists: Mapping[str, Sequence[Any]], now_us: int
    ) -> tuple[dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]], dict[int, str]]:
        """The columns that hold times, and the rows that have a wrong one or lack one that they need."""
        found: dict[str, tuple[NDArray[np.int64], NDArray[np.bool_]]] = {}
        wrong: dict[int, str] = {}
        for column in self._columns:
            if column.dtype is not UnixTimestamp:
                continue
            unit = "us" if column.path == TIMESTAMP else self._unit
            us, there, bad = times_us(lists[column.path], column.path, unit, now_us)
            found[column.path] = us, there
            if column.is_required and not there.all():
                missing = np.flatnonzero(~there).tolist()
                bad = dict.fromkeys(missing, f"it has no {column.path!r}, which is its time") | bad
            wrong |= bad
        return found, wrong

    def _table(
        self,
        lists: Mapping[str, Sequence[Any]],
        times: Mapping[str, tuple[NDArray[np.int64], NDArray[np.bool_]]],
        rows: Sequence[int],
    ) -> pa.Table:
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for column in self._columns:
            if column.path in times:
                us, there = times[column.path]
                if len(rows) != len(us):
                    us, there = us[rows], there[rows]
                columns[column.path] = nullable_column(us, there, pa.timestamp("us", "UTC"))
                continue
            values = lists[column.path]
            some = values if len(rows) == len(values) else [values[row] for row in rows]
            columns[column.path] = _column(some, column)
        return pa.table(columns)


def isolated(count: int, attempt: Callable[[Sequence[int]], T]) -> tuple[T, dict[int, str]]:
    """The result for all rows that one can be had for, and why it cannot for the others.

    The wrong rows are found by halving, so that few of them cost little and each gets the reason that it has alone.

    Args:
        count: how many rows there are.
        attempt: gives the result for some rows, by their numbers; raises ``InputError`` or ``FunctionError`` when one
            of them is wrong.

    Raises:
        FunctionError: a function takes every row alone, but not these together.
    """
    every = range(count)
    try:
        return attempt(every), {}
    except _WRONG:
        wrong: dict[int, str] = {}
        _find_wrong(list(every), attempt, wrong)
        return attempt([row for row in every if row not in wrong]), wrong


def _find_wrong(rows: list[int], attempt: Callable[[Sequence[int]], Any], wrong: dict[int, str]) -> None:
    try:
        attempt(rows)
    except _WRONG as error:
        if len(rows) == 1:
            wrong[rows[0]] = error.message.removeprefix("row 0: ")
            return
        middle = len(rows) // 2
        _find_wrong(rows[:middle], attempt, wrong)
        _find_wrong(rows[middle:], attempt, wrong)


def _rebuilt(table: pa.Table, taken: NDArray[np.int64], dead: dict[int, str], misfits: Mapping[int, str]) -> Taken:
    stays = np.ones(len(taken), np.bool_)
    stays[list(misfits)] = False
    return Taken(table, taken[stays], dead | {int(taken[row]): reason for row, reason in misfits.items()})


def _column(values: Sequence[Any], column: MessageColumn) -> pa.Array:
    """Values that a format has given as a column.

    Raises:
        TypeMismatchError: a value cannot be kept in the type; names its row.
    """
    import pyarrow as pa

    wanted = arrow_type(column.dtype)
    try:
        if column.is_outside:
            return _outside(values, column)
        if _is_nested(column.dtype):
            return pa.array([storable(value, column.dtype) for value in values], wanted)
        if column.is_key and column.dtype in (Int32, Int64) and any(type(value) is str for value in values):
            texts = [None if value is None else str(value) for value in values]
            return cast_key_column(pa.array(texts, pa.string()), column.dtype, column.path)
        return pa.array(values, wanted)
    except (pa.ArrowException, *NOT_STORABLE) as error:
        if isinstance(error, InputError):
            raise
        said = f"row 0: {values[0]!r} in {column.path!r} is no {column.dtype!r}" if len(values) == 1 else str(error)
        raise TypeMismatchError(said, subject=column.path) from error


def _outside(values: Sequence[Any], column: MessageColumn) -> pa.Array:
    """Bytes from around a message: text in UTF-8, or the text of a number."""
    import pyarrow as pa

    if column.dtype is Bytes:
        return pa.array(values, pa.binary())
    texts = pa.array([None if value is None else value.decode() for value in values], pa.string())
    if column.is_key:
        return cast_key_column(texts, column.dtype, column.path)
    return texts.cast(arrow_type(column.dtype))


def _is_nested(dtype: FeatureType) -> bool:
    if isinstance(dtype, Array):
        return _is_nested(dtype.base_type) or dtype.base_type is UnixTimestamp
    return isinstance(dtype, Set | Struct) or dtype in (Map, Json, Uuid, TimeUuid)
