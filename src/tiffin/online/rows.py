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
...     ...    variable block: the contents (``tiffin.online.cells``), one after the other
======  =====  =======================================================================

In the fixed block, columns of one type stand together, in the order in which the types first appear: many rows are
then read as a few matrices instead of one column at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import ranked, single_chunk, valid_mask
from tiffin.online.blobs import cut, cut_evenly, fixed_blobs, join_blobs, lengths
from tiffin.online.cells import FIXED, cell_blobs, cells_to_arrow, fixed_to_arrow, fixed_values, python_reader
from tiffin.types import FeatureType, parse_type

if TYPE_CHECKING:
    import pyarrow as pa

Layout = tuple[tuple[str, str], ...]

HEADER_BYTES = 27
VALUE, TOMBSTONE = 0, 1
_FLIP = 1 << 63
_MANY_ROWS = 16
_HEADER = struct.Struct(">QQQBH")
_HEADER_FIELDS = [("stamp", ">u8", (3,)), ("flags", "u1"), ("layout", ">u2")]


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


def stamp(event_us: int) -> bytes:
    """The beginning of every row of an event time; rows that are no more than that order by it."""
    return (event_us + _FLIP).to_bytes(8, "big")


def event_us(row: bytes) -> int:
    """The event time of a row."""
    return int.from_bytes(row[:8], "big") - _FLIP


def all_event_us(rows: Sequence[bytes]) -> list[int]:
    """The event times of rows; of many of them at once."""
    if len(rows) < _MANY_ROWS:
        return [event_us(row) for row in rows]
    stamps = np.frombuffer(b"".join([row[:8] for row in rows]), ">u8").astype(np.uint64)
    times: list[int] = (stamps ^ np.uint64(_FLIP)).view(np.int64).tolist()
    return times


def stamp_prefix(us: int) -> bytes:
    """The first bytes of a row with this event time; those of older rows are smaller."""
    return (us + _FLIP).to_bytes(8, "big")


def state_bytes(number: int) -> bytes:
    """The bytes 24 to 26 of a row that holds a value in layout ``number``."""
    return _HEADER.pack(0, 0, 0, VALUE, number)[24:]


@dataclass(frozen=True)
class _Group:
    """Columns of one fixed-width type: positions in the layout, in layout order."""

    name: str
    dtype: FeatureType
    columns: tuple[int, ...]


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
        kinds = dict.fromkeys(t for t in self.types if t in FIXED)
        self.groups = tuple(
            _Group(f"g{number}", kind, tuple(i for i, t in enumerate(self.types) if t is kind))
            for number, kind in enumerate(kinds)
        )
        self.variable = tuple(i for i, t in enumerate(self.types) if t not in FIXED)
        self.bitmap_bytes = (len(layout) + 7) // 8
        self.all_set = ((1 << len(layout)) - 1).to_bytes(self.bitmap_bytes, "little")
        #: What stands between the header and the variable block, as fields of numpy.
        self.payload_fields: list[Any] = [
            ("bitmap", "u1", (self.bitmap_bytes,)),
            *((group.name, FIXED[group.dtype][1], (len(group.columns),)) for group in self.groups),
            ("ends", "<u4", (len(self.variable),)),
        ]
        self.dtype = np.dtype([*_HEADER_FIELDS, *self.payload_fields])
        self.values_at = HEADER_BYTES + self.bitmap_bytes
        codes = "".join(FIXED[group.dtype][0] * len(group.columns) for group in self.groups)
        self.struct = struct.Struct("<" + codes + "I" * len(self.variable))
        #: Position in the layout of each number that ``struct`` gives.
        self.order = (*chain.from_iterable(group.columns for group in self.groups), *self.variable)
        #: A row of nulls that stands in for rows that are not there.
        self.blank = bytes(self.dtype.itemsize)

    @property
    def prefix_bytes(self) -> int:
        """How long a row is before its variable block."""
        return self.dtype.itemsize

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
        block = np.zeros(columns.num_rows, self.dtype)
        block["stamp"][:, 0] = event_us.view(np.uint64) ^ np.uint64(_FLIP)
        block["stamp"][:, 1] = known_us.view(np.uint64) ^ np.uint64(_FLIP)
        block["stamp"][:, 2] = seq
        block["layout"] = self.number
        cells = self.fill(block, columns)
        return cut(join_blobs([fixed_blobs(block), *cells])) if cells else cut_evenly(block)

    def fill(self, block: NDArray[Any], columns: pa.Table | pa.RecordBatch) -> list[pa.LargeBinaryArray]:
        """Put the payload of facts into a block of zeros.

        Args:
            block: (n,) with the fields of ``payload_fields``.
            columns: as ``encode`` takes them.

        Returns:
            For each column of variable width (n,) its contents.
        """
        arrays = [single_chunk(columns.column(name)) for name in self.names]
        block["bitmap"] = self._bitmap(arrays)
        for group in self.groups:
            values = block[group.name]
            for position, column in enumerate(group.columns):
                values[:, position] = fixed_values(arrays[column], group.dtype)
        cells = [cell_blobs(arrays[i], self.types[i]) for i in self.variable]
        if cells:
            np.cumsum(np.stack([lengths(blobs) for blobs in cells], axis=1), axis=1, out=block["ends"], dtype=np.uint32)
        return cells

    def _bitmap(self, arrays: Sequence[pa.Array]) -> NDArray[np.uint8]:
        if not any(array.null_count for array in arrays):
            return np.frombuffer(self.all_set, np.uint8)
        valid = np.stack([valid_mask(array) for array in arrays], axis=1)
        return np.packbits(valid, axis=1, bitorder="little")


class RowReader:
    """Reads some columns of the rows of one layout.

    Args:
        codec: the layout.
        wanted: positions in the layout, in the order of the answer.
    """

    def __init__(self, codec: RowCodec, wanted: Sequence[int]) -> None:
        self._codec = codec
        self._wanted = tuple(wanted)
        self._index = np.array(self._wanted, np.intp)
        self._readers = [python_reader(codec.types[i]) for i in self._wanted]
        self._groups = [found for group in codec.groups if (found := self._of_group(group))[1]]
        self._variable = [(place, i) for place, i in enumerate(self._wanted) if codec.types[i] not in FIXED]
        self._full = np.frombuffer(codec.all_set, np.uint8)
        self._slot = {column: slot for slot, column in enumerate(codec.order)}
        fixed = not self._variable
        #: Whether a full row is read by picking numbers alone.
        self._plain = fixed and all(read is None for read in self._readers)
        if self._plain:
            self._unpack, self._pick = self._picked()

    def values(self, row: bytes) -> Sequence[Any]:
        """The wanted values of one row as Python objects, ``None`` for null."""
        codec = self._codec
        if self._plain and row.startswith(codec.all_set, HEADER_BYTES):
            return self._pick(self._unpack(row, codec.values_at))
        numbers = codec.struct.unpack_from(row, codec.values_at)
        present = int.from_bytes(row[HEADER_BYTES : codec.values_at], "little")
        return [self._value(row, numbers, place) if present >> i & 1 else None for place, i in enumerate(self._wanted)]

    def _picked(self) -> tuple[Callable[[bytes, int], tuple[Any, ...]], Callable[[tuple[Any, ...]], tuple[Any, ...]]]:
        """What unpacks the wanted numbers of a row and no others, and what puts them into the order of the answer."""
        codes = [FIXED[group.dtype][0] for group in self._codec.groups for _ in group.columns]
        slots = [self._slot[i] for i in self._wanted]
        place = {slot: number for number, slot in enumerate(sorted(set(slots)))}
        kept = [code if slot in place else f"{struct.calcsize('<' + code)}x" for slot, code in enumerate(codes)]
        order = [place[slot] for slot in slots]
        pick = itemgetter(*order) if len(order) > 1 else lambda numbers: tuple(numbers[number] for number in order)
        return struct.Struct("<" + "".join(kept)).unpack_from, pick

    def _value(self, row: bytes, numbers: Sequence[Any], place: int) -> Any:
        codec, read = self._codec, self._readers[place]
        slot = self._slot[self._wanted[place]]
        content = numbers[slot]
        first = len(numbers) - len(codec.variable)
        if slot >= first:
            start = numbers[slot - 1] if slot > first else 0
            content = row[codec.prefix_bytes + start : codec.prefix_bytes + content]
        return content if read is None else read(content)

    def columns(self, rows: Sequence[bytes]) -> list[list[Any]]:
        """For each wanted column a list as long as ``rows``; blank rows give nulls."""
        block = self._block(rows)
        found: list[list[Any]] = [[]] * len(self._wanted)
        for group, places, positions in self._groups:
            for place, values in zip(places, block[group.name][:, positions].T.tolist(), strict=True):
                found[place] = values
        for place, i in self._variable:
            found[place] = self._contents(block, rows, i)
        valid = None if self._is_full(block) else self._valid(block)
        if valid is None and self._plain:
            return found
        for place, read in enumerate(self._readers):
            there = None if valid is None or valid[:, place].all() else valid[:, place].tolist()
            if there is not None:
                read = read or _same
                found[place] = [read(v) if t else None for v, t in zip(found[place], there, strict=True)]
            elif read is not None:
                found[place] = [read(value) for value in found[place]]
        return found

    def arrays(self, rows: Sequence[bytes]) -> list[pa.Array]:
        """The wanted columns as Arrow arrays in the types of ``arrow_type``; blank rows give nulls."""
        block = self._block(rows)
        valid = self._valid(block)
        found: list[Any] = [None] * len(self._wanted)
        for group, places, positions in self._groups:
            values = block[group.name][:, positions]
            for position, place in enumerate(places):
                found[place] = fixed_to_arrow(values[:, position], valid[:, place], group.dtype)
        for place, i in self._variable:
            contents = self._contents(block, rows, i)
            found[place] = cells_to_arrow(contents, valid[:, place], self._codec.types[i])
        return found

    def valid(self, rows: Sequence[bytes]) -> NDArray[np.bool_]:
        """(rows, wanted) whether each value is there, not null."""
        return self._valid(self._block(rows))

    def are_full(self, rows: Sequence[bytes]) -> bool:
        """Whether no row has a null, in whatever column; cheaper than ``valid`` for what is mostly so."""
        full = self._codec.all_set
        return all([row.startswith(full, HEADER_BYTES) for row in rows])  # noqa: C419 - a list is faster

    def _of_group(self, group: _Group) -> tuple[_Group, list[int], list[int] | slice]:
        """The wanted columns that are in a group: their places in the answer, and their positions in the group."""
        position = {column: p for p, column in enumerate(group.columns)}
        places = [place for place, i in enumerate(self._wanted) if i in position]
        positions = [position[self._wanted[place]] for place in places]
        whole = positions == list(range(len(group.columns)))
        return group, places, slice(None) if whole else positions

    def _block(self, rows: Sequence[bytes]) -> NDArray[Any]:
        if self._codec.variable:
            size = self._codec.prefix_bytes
            return np.frombuffer(b"".join([row[:size] for row in rows]), self._codec.dtype)
        return np.frombuffer(b"".join(rows), self._codec.dtype)

    def _is_full(self, block: NDArray[Any]) -> bool:
        return bool((block["bitmap"] == self._full).all())

    def _valid(self, block: NDArray[Any]) -> NDArray[np.bool_]:
        bits = np.unpackbits(block["bitmap"], axis=1, bitorder="little")
        return bits[:, self._index].astype(np.bool_)

    def _contents(self, block: NDArray[Any], rows: Sequence[bytes], column: int) -> list[bytes]:
        position, size = self._codec.variable.index(column), self._codec.prefix_bytes
        ends = (block["ends"][:, position].astype(np.int64) + size).tolist()
        if position == 0:
            return [row[size:end] for row, end in zip(rows, ends, strict=True)]
        starts = (block["ends"][:, position - 1].astype(np.int64) + size).tolist()
        return [row[start:end] for row, start, end in zip(rows, starts, ends, strict=True)]


def _same(value: Any) -> Any:
    return value


@lru_cache(maxsize=4096)
def row_codec(layout: Layout, number: int = 0) -> RowCodec:
    """The codec of a layout; built once."""
    return RowCodec(layout, number)


def payload_bytes(layout: Layout, columns: pa.Table) -> list[bytes]:
    """What the rows of some facts would hold after their stamp: what decides the last tie (ORD)."""
    zeros = np.zeros(columns.num_rows, np.int64)
    return [row[HEADER_BYTES:] for row in row_codec(layout).encode(columns, zeros, zeros)]


def payload_ranks(layout: Layout, columns: pa.Table) -> NDArray[np.int64]:
    """(n,) whole numbers that are in the order of ``payload_bytes``, and equal where these are equal."""
    codec = row_codec(layout)
    block = np.zeros(columns.num_rows, np.dtype(codec.payload_fields))
    cells = codec.fill(block, columns)
    return ranked(join_blobs([fixed_blobs(block), *cells]))[0]
