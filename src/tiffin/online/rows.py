"""Rows: one fact as bytes that order themselves.

A row is laid out as follows; the header is big-endian, so that rows compare as unsigned bytes in the order of their
facts (ORD): the stamp first, and where stamps are equal the payload itself.

======  =====  =======================================================================
offset  bytes  content
======  =====  =======================================================================
0       8      event time, int64 microseconds, sign bit flipped
8       8      known time, likewise
16      8      position in the stream, unsigned; 0 for batch
24      1      flags: 0 a value, 1 a tombstone, which beats a value of the same stamp
25      2      number of the layout that the payload has
27      n      bitmap: bit i is set when column i has a value
27+n    f      fixed block: fixed-width values, little-endian, packed, 0 where null
27+n+f  4*v    for each other column, where its content ends in the variable block
...     ...    variable block: text and bytes as they are, nested values in msgpack
======  =====  =======================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context
from decimal import Decimal as PyDecimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values, single_chunk, valid_mask
from tiffin.time import EPOCH
from tiffin.types import (
    DECIMAL_SCALE,
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
    Json,
    Map,
    PdfBytes,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    parse_type,
)

if TYPE_CHECKING:
    import pyarrow as pa

Layout = tuple[tuple[str, str], ...]

HEADER_BYTES = 27
VALUE, TOMBSTONE = 0, 1
_FLIP = 1 << 63
_HEADER = struct.Struct(">QQQBH")
_EVENT = struct.Struct(">Q")
_FIXED: dict[FeatureType, tuple[str, str]] = {
    Int32: ("i", "<i4"),
    Int64: ("q", "<i8"),
    Float32: ("f", "<f4"),
    Float64: ("d", "<f8"),
    Bool: ("B", "u1"),
    UnixTimestamp: ("q", "<i8"),
}
_PLAIN = (String, Bytes, PdfBytes, ImageBytes, Json, Uuid, TimeUuid)


@dataclass(frozen=True)
class RowHeader:
    """What stands before the payload."""

    event_us: int
    known_us: int
    seq: int
    tombstone: bool
    layout: int

    @classmethod
    def of(cls, row: bytes) -> RowHeader:
        """Read the header of a row."""
        event, known, seq, flags, layout = _HEADER.unpack_from(row)
        return cls(event - _FLIP, known - _FLIP, seq, bool(flags & TOMBSTONE), layout)


def tombstone(event_us: int, known_us: int, seq: int = 0) -> bytes:
    """A row that says: deleted at this stamp (WR-4)."""
    return _HEADER.pack(event_us + _FLIP, known_us + _FLIP, seq, TOMBSTONE, 0)


def event_us(row: bytes) -> int:
    """The event time of a row."""
    stamp: int = _EVENT.unpack_from(row)[0]
    return stamp - _FLIP


class RowCodec:
    """Encodes and decodes the rows of one layout.

    Args:
        layout: names and types of the columns, in order.
        number: the number of the layout, kept in each row.
    """

    def __init__(self, layout: Layout, number: int = 0) -> None:
        self.number = number
        self.names = tuple(name for name, _ in layout)
        self.types: tuple[FeatureType, ...] = tuple(parse_type(text) for _, text in layout)
        count = len(self.names)
        self._bitmap_bytes = (count + 7) // 8
        self._fixed = [i for i, t in enumerate(self.types) if t in _FIXED]
        self._variable = [i for i, t in enumerate(self.types) if t not in _FIXED]
        self._names = [f"c{i}" for i in self._fixed] + [f"e{i}" for i in self._variable]
        formats = [_FIXED[self.types[i]][1] for i in self._fixed] + ["<u4"] * len(self._variable)
        header = [("event", ">u8"), ("known", ">u8"), ("seq", ">u8"), ("flags", "u1"), ("layout", ">u2")]
        bitmap = [("bitmap", "u1", (self._bitmap_bytes,))] if count else []
        self._dtype = np.dtype([*header, *bitmap, *zip(self._names, formats, strict=True)])
        self.prefix_bytes = self._dtype.itemsize
        codes = "".join(_FIXED[self.types[i]][0] for i in self._fixed) + "I" * len(self._variable)
        self._struct = struct.Struct("<" + codes)
        self._values_at = HEADER_BYTES + self._bitmap_bytes
        full = (1 << count) - 1
        self._all_set = full.to_bytes(self._bitmap_bytes, "little")
        self._to_python = [_python_reader(t) for t in self.types]
        self._plain_numbers = all(t in (Int32, Int64, Float32, Float64) for t in self.types)

    def encode(
        self,
        columns: pa.Table | pa.RecordBatch,
        event_us: NDArray[np.int64],
        known_us: NDArray[np.int64],
        seq: NDArray[np.uint64] | int = 0,
    ) -> list[bytes]:
        """Facts as rows.

        Args:
            columns: a column per name of the layout, in the Arrow types of ``arrow_type``.
            event_us: (n,) event times.
            known_us: (n,) known times.
            seq: (n,) positions in the stream, or one for all.
        """
        n = columns.num_rows
        block = np.zeros(n, self._dtype)
        block["event"] = event_us.astype(np.uint64) + np.uint64(_FLIP)
        block["known"] = known_us.astype(np.uint64) + np.uint64(_FLIP)
        block["seq"] = seq
        block["layout"] = self.number
        arrays = [single_chunk(columns.column(name)) for name in self.names]
        if arrays:
            valid = np.stack([valid_mask(array) for array in arrays], axis=1)
            block["bitmap"] = np.packbits(valid, axis=1, bitorder="little")
        for i in self._fixed:
            block[f"c{i}"] = _fixed_values(arrays[i], self.types[i])
        if not self._variable:
            content, size = block.tobytes(), self.prefix_bytes
            return [content[at : at + size] for at in range(0, n * size, size)]
        return self._with_variable(block, arrays)

    def _with_variable(self, block: NDArray[Any], arrays: Sequence[pa.Array]) -> list[bytes]:
        n = len(block)
        contents = [_variable_bytes(arrays[i], self.types[i]) for i in self._variable]
        end = np.zeros(n, np.uint32)
        for i, content in zip(self._variable, contents, strict=True):
            end = end + np.fromiter((len(c) for c in content), np.uint32, n)
            block[f"e{i}"] = end
        prefix, size = block.tobytes(), self.prefix_bytes
        tails = contents[0] if len(contents) == 1 else [b"".join(parts) for parts in zip(*contents, strict=True)]
        return [prefix[at * size : at * size + size] + tails[at] for at in range(n)]

    def decode_one(self, row: bytes) -> list[Any]:
        """The values of one row as Python objects, ``None`` for null, in layout order."""
        numbers = self._struct.unpack_from(row, self._values_at)
        bitmap = row[HEADER_BYTES : self._values_at]
        if self._plain_numbers and bitmap == self._all_set:
            return list(numbers)
        present = int.from_bytes(bitmap, "little")
        values: list[Any] = [None] * len(self.names)
        split = len(self._fixed)
        for i, number in zip(self._fixed, numbers, strict=False):
            if present >> i & 1:
                read = self._to_python[i]
                values[i] = number if read is None else read(number)
        start = self.prefix_bytes
        for i, end in zip(self._variable, numbers[split:], strict=True):
            stop = self.prefix_bytes + end
            if present >> i & 1:
                read = self._to_python[i]
                content = row[start:stop]
                values[i] = content if read is None else read(content)
            start = stop
        return values

    def decode_many(self, rows: Sequence[bytes], wanted: Sequence[int]) -> list[list[Any]]:
        """Some columns of many rows as lists of Python objects.

        Args:
            rows: rows of this layout, no tombstones.
            wanted: positions in the layout.

        Returns:
            For each wanted column a list as long as ``rows``.
        """
        block = self._block(rows)
        full = bool((block["bitmap"] == np.frombuffer(self._all_set, np.uint8)).all()) if self.names else True
        return [self._column(block, rows, i, full) for i in wanted]

    def _block(self, rows: Sequence[bytes]) -> NDArray[Any]:
        if self._variable:
            size = self.prefix_bytes
            return np.frombuffer(b"".join([row[:size] for row in rows]), self._dtype)
        return np.frombuffer(b"".join(rows), self._dtype)

    def _column(self, block: NDArray[Any], rows: Sequence[bytes], i: int, full: bool) -> list[Any]:
        read = self._to_python[i]
        if self.types[i] in _FIXED:
            values: list[Any] = block[f"c{i}"].tolist()
            if read is not None:
                values = [read(value) for value in values]
        else:
            values = self._contents(block, rows, i)
            if read is not None:
                present = block["bitmap"][:, i // 8] >> (i % 8) & 1
                return [read(v) if p else None for v, p in zip(values, present.tolist(), strict=True)]
        if full:
            return values
        present = (block["bitmap"][:, i // 8] >> (i % 8) & 1).tolist()
        if all(present):
            return values
        return [value if there else None for value, there in zip(values, present, strict=True)]

    def _contents(self, block: NDArray[Any], rows: Sequence[bytes], i: int) -> list[bytes]:
        position = self._variable.index(i)
        size = self.prefix_bytes
        ends = (block[f"e{i}"].astype(np.int64) + size).tolist()
        if position == 0:
            return [row[size:end] for row, end in zip(rows, ends, strict=True)]
        starts = (block[f"e{self._variable[position - 1]}"].astype(np.int64) + size).tolist()
        return [row[start:end] for row, start, end in zip(rows, starts, ends, strict=True)]


@lru_cache(maxsize=4096)
def row_codec(layout: Layout, number: int = 0) -> RowCodec:
    """The codec of a layout; built once."""
    return RowCodec(layout, number)


def payload_bytes(layout: Layout, columns: pa.Table) -> list[bytes]:
    """What the rows of some facts would hold after their stamp: what decides the last tie (ORD)."""
    zeros = np.zeros(columns.num_rows, np.int64)
    return [row[HEADER_BYTES:] for row in row_codec(layout).encode(columns, zeros, zeros)]


def _fixed_values(array: pa.Array, dtype: FeatureType) -> NDArray[Any]:
    """(n,) values, 0 where null, so that equal facts have equal bytes."""
    import pyarrow as pa

    numpy_type = _FIXED[dtype][1]
    if dtype is Bool:
        array = array.cast(pa.uint8())
    values = numpy_values(array, np.dtype(numpy_type))
    return values if not array.null_count else np.where(valid_mask(array), values, values.dtype.type(0))


def _variable_bytes(array: pa.Array, dtype: FeatureType) -> list[bytes]:
    """The content of each value, empty where null."""
    import pyarrow as pa

    if dtype in _PLAIN:
        content: list[bytes | None] = array.cast(pa.binary()).to_pylist()
        return [c or b"" for c in content] if array.null_count else content  # type: ignore[return-value]
    write = _plain_writer(dtype)
    pack = msgspec.msgpack.Encoder().encode
    return [b"" if value is None else pack(write(value)) for value in array.to_pylist()]


def _plain_writer(dtype: FeatureType) -> Callable[[Any], Any]:
    """From a value as Arrow gives it to what msgpack holds."""
    if isinstance(dtype, Array):
        inner = _plain_writer(dtype.base_type)
        return lambda value: [None if item is None else inner(item) for item in value]
    if isinstance(dtype, Set):
        inner = _plain_writer(dtype.base_type)
        return lambda value: _distinct([None if item is None else inner(item) for item in value])
    if isinstance(dtype, Struct):
        writers = {name: _plain_writer(part) for name, part in dtype.fields.items()}
        return lambda value: [None if value[n] is None else write(value[n]) for n, write in writers.items()]
    if dtype is Map:
        return lambda value: [list(pair) for pair in value]
    if dtype is Decimal:
        return str
    if dtype is UnixTimestamp:
        return lambda value: (value - EPOCH) // timedelta(microseconds=1)
    return lambda value: value


def _distinct(items: list[Any]) -> list[Any]:
    seen: dict[str, Any] = {}
    for item in items:
        seen.setdefault(repr(item), item)
    return list(seen.values())


def _python_reader(dtype: FeatureType) -> Callable[[Any], Any] | None:
    """From the number or the bytes of a value to the Python object; ``None`` when nothing has to be done."""
    if dtype in (Int32, Int64, Float32, Float64, Bytes, PdfBytes, ImageBytes):
        return None
    if dtype is Bool:
        return bool
    if dtype is UnixTimestamp:
        return _moment
    if dtype is String:
        return bytes.decode
    if dtype in (Uuid, TimeUuid):
        return lambda content: UUID(content.decode())
    if dtype is Json:
        return msgspec.json.decode
    unpack, read = msgspec.msgpack.decode, _nested_reader(dtype)
    return lambda content: read(unpack(content))


def _moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def _nested_reader(dtype: FeatureType) -> Callable[[Any], Any]:
    """From what msgpack held to the Python object."""
    if isinstance(dtype, Array):
        inner = _nested_reader(dtype.base_type)
        return lambda value: [None if item is None else inner(item) for item in value]
    if isinstance(dtype, Set):
        inner = _nested_reader(dtype.base_type)
        return lambda value: {None if item is None else inner(item) for item in value}
    if isinstance(dtype, Struct):
        readers = [(name, _nested_reader(part)) for name, part in dtype.fields.items()]
        return lambda value: {
            name: None if item is None else read(item) for (name, read), item in zip(readers, value, strict=True)
        }
    if dtype is Map:
        return dict
    if dtype is Decimal:
        return lambda value: PyDecimal(value).quantize(_QUANTUM, context=_EXACT)
    if dtype is UnixTimestamp:
        return _moment
    if dtype in (Uuid, TimeUuid):
        return UUID
    if dtype is Json:
        return msgspec.json.decode
    return lambda value: value


_QUANTUM = PyDecimal(1).scaleb(-DECIMAL_SCALE)
_EXACT = Context(prec=60)
