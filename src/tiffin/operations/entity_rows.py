"""Entity rows as they come in, and the spine that engines join to: checked, typed, the original left untouched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import are_zones_ignored, arrow_column, numpy_values, python_column, single_chunk, valid_mask
from tiffin.errors import InputError, TiffinError, nearest
from tiffin.online.keys import cast_key_column
from tiffin.planning.casting import cast_exactly
from tiffin.planning.references import ComputedView
from tiffin.planning.retrieval import TIME_COLUMN, find_time_column
from tiffin.time import MAX_US, MIN_US, to_us
from tiffin.types import FeatureType

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class EntityRows:
    """The entity rows of a retrieval.

    Attributes:
        original: what was handed in: a pandas or polars frame, or an Arrow table.
        table: the same as an Arrow table, columns in their order.
        time_column: the column that holds the time of each row.
    """

    original: Any
    table: pa.Table
    time_column: str

    @classmethod
    def from_any(cls, frame: Any) -> EntityRows:
        """Take a pandas or polars frame, an Arrow table or anything with an Arrow stream.

        Raises:
            InputError: it is none of these, or there is no time column, or several (PIT-6).
        """
        table = to_table(frame)
        times = [field.name for field in table.schema if _is_time(field.type)]
        return cls(frame, table, find_time_column(table.column_names, times))

    def spine(self, keys: Mapping[str, FeatureType]) -> pa.Table:
        """The time as int64 microseconds and the key columns in their types.

        Raises:
            InputError: a key column is missing, a time is null or cannot be parsed, a key has the wrong type.
        """
        import pyarrow as pa

        self.check_keys(keys)
        columns: dict[str, Any] = {TIME_COLUMN: arrow_column(time_us(self.table[self.time_column], self.time_column))}
        for name, dtype in keys.items():
            columns[name] = cast_key_column(single_chunk(self.table[name]), dtype, name)
        return pa.table(columns)

    def slice(self, start: int, rows: int) -> EntityRows:
        """Some of the rows."""
        part = self.table.slice(start, rows)
        return EntityRows(part, part, self.time_column)

    def check_request(self, computed: ComputedView) -> None:
        """Check that the columns are there that a function reads from the entity rows.

        Raises:
            InputError: one is not; lists the nearest names.
        """
        for item in computed.inputs:
            if item.column and item.column not in self.table.column_names:
                raise InputError(
                    f"the entity rows have no column {item.column!r}, which {computed.view.subject} computes from",
                    subject=item.column,
                    location=computed.view.location,
                    hint=nearest(item.column, self.table.column_names),
                )

    def request_column(self, name: str, dtype: FeatureType) -> pa.Array:
        """A column that a function reads, in its type.

        Raises:
            TypeMismatchError: a value is not of the type; names the row.
        """
        return cast_exactly(single_chunk(self.table[name]), dtype, name)

    def check_keys(self, keys: Iterable[str]) -> None:
        """Check that the key columns are there.

        Raises:
            InputError: one is not; lists the nearest names.
        """
        for name in keys:
            if name not in self.table.column_names:
                raise InputError(
                    f"the entity rows have no column {name!r}, which is a join key",
                    subject=name,
                    hint=nearest(name, self.table.column_names),
                )


def to_table(frame: Any) -> pa.Table:
    """A frame as an Arrow table; the frame is not changed.

    Raises:
        InputError: it is no frame, or a column has mixed types.
    """
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    module = type(frame).__module__.split(".")[0]
    try:
        if module == "pandas":
            return _of_pandas(frame)
        if module == "polars":
            lazy = hasattr(frame, "collect")
            table: pa.Table = (frame.collect() if lazy else frame).to_arrow()
            return table
        if isinstance(frame, Mapping):
            return pa.table({n: python_column(v) if isinstance(v, list) else v for n, v in frame.items()})
        if isinstance(frame, list) and all(isinstance(row, dict) for row in frame):
            return pa.table({n: python_column([row.get(n) for row in frame]) for n in (frame[0] if frame else ())})
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        hint = "give every column one type"
        raise InputError(f"the rows cannot be read as columns: {error}", hint=hint) from error
    raise InputError(
        f"{type(frame).__name__} is no frame of rows",
        hint="pass a pandas or polars frame, an Arrow table, a list of dicts or a SQL string",
    )


def _of_pandas(frame: Any) -> pa.Table:
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    if are_zones_ignored():
        for place, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type) and frame.dtypes.iloc[place].name == "object":
                values = frame.iloc[:, place]
                times = python_column(values.where(values.notna(), None).tolist())
                table = table.set_column(place, field.name, times)
    return table


def _is_time(arrow: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(arrow) or pa.types.is_date(arrow))


def time_us(column: pa.ChunkedArray | pa.Array, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A column of times as int64 microseconds (PIT-7): nanoseconds are floored, naive times are UTC.

    Raises:
        InputError: a time is null or cannot be parsed; names the row.
    """
    import pyarrow as pa

    array = single_chunk(column)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_null(array.type) or array.null_count:
        row = 0 if pa.types.is_null(array.type) else int(np.argmin(valid_mask(array)))
        if len(array):
            raise InputError(f"row {row} has no time in column {name!r}", hint="every entity row needs a time")
        return np.empty(0, np.int64)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(array.type):
        return _scaled(array, name)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return _parse_times(array.cast(pa.string()), name)
    raise InputError(
        f"column {name!r} has type {array.type}, where a time is expected",
        hint="use timestamps, or text such as 2024-01-31T12:00:00Z",
    )


def _scaled(array: pa.Array, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    values = numpy_values(array)
    scale = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[array.type.unit]
    if len(values) and array.type.unit != "ns":
        outside = (values < MIN_US // scale) | (values > MAX_US // scale)
        if outside.any():
            row = int(np.argmax(outside))
            raise InputError(f"row {row}: the time in column {name!r} is not in the years 1 to 9999")
    return values // 1000 if array.type.unit == "ns" else values * scale


def _parse_times(array: pa.Array, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Text in ISO 8601; each distinct text is parsed once."""
    encoded = array.dictionary_encode()
    parsed = np.empty(len(encoded.dictionary), np.int64)
    for number, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            parsed[number] = to_us(text)
        except TiffinError as error:
            row = array.to_pylist().index(text)
            message = f"row {row}: {text!r} in column {name!r} is not a time in ISO 8601"
            raise InputError(message, hint=error.hint) from None
    times: np.ndarray[Any, np.dtype[np.int64]] = parsed[numpy_values(encoded.indices, np.int32)]
    return times
