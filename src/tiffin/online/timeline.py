"""Timelines: what is kept online of a key whose features are computed from many facts.

A timeline is the set of the key's facts, as far back as a window reaches. A set: a fact that is delivered again, in
whatever order and split, changes nothing. Its newest facts, and all of them while they are few, stand in one row with
the key itself. Older ones of a key that has many stand in tiles, each in a row of its own; the timeline keeps for each
tile the states of all aggregates over it, so that a window takes a tile as a whole unless one of its edges lies in it.

A row of a timeline is laid out as follows, little-endian:

======  =====  =======================================================================
offset  bytes  content
======  =====  =======================================================================
0       16     mark, made anew for each row that is written (``OnlineStore.swap``)
16      1      kind: 1 a timeline, 2 a tile
17      3      zero
20      4      number of facts in this row
24      4      number of tiles
28      4      bytes of the list of tiles
32      8, 8   event and known time up to which facts were deleted (WR-4)
48      8      event time up to which only states are kept
56      8      the greatest time, event or known, of the facts in this row
64      ...    the list of tiles (``Tile``)
...     n*w    the facts: event time, known time where the view has one, bitmap, fixed block (``online.rows``)
...     ...    their variable contents, one after the other
======  =====  =======================================================================

A tile's row has the same head and facts. Facts stand in the order of their times and then of their payload (ORD).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.online.blobs import cut, join_blobs
from tiffin.online.cells import FIXED, cells_to_arrow, fixed_to_arrow
from tiffin.online.rows import Layout, row_codec
from tiffin.online.tails import COUNT_AT, HEAD, MARK_BYTES, NEVER_US, TILE, TIMELINE
from tiffin.types import Bytes, FeatureType, Json, String, TimeUuid, Uuid
from tiffin.windows.evaluate import sorted_order

if TYPE_CHECKING:
    import pyarrow as pa

Int64Array = NDArray[np.int64]

_TILE = struct.Struct("<qqqIII16s")
_COUNTS = struct.Struct("<I4xI")
_COUNTS_AND_LATEST = struct.Struct("<I4xI24xq")
_KIND_AT, _TILES_AT, _NO_TILES = 16, slice(24, 28), bytes(4)
_TEXTS = (String, Json, Uuid, TimeUuid)
#: Types whose values are read from the bytes as aggregates take them.
PLAIN: tuple[FeatureType, ...] = (*(each for each in FIXED if FIXED[each][0] != "16s"), *_TEXTS, Bytes)


class FactCodec:
    """How the facts of a view are kept in bytes.

    Args:
        layout: names and types of the columns.
        has_known: whether facts have a known time besides their event time.
    """

    def __init__(self, layout: Layout, has_known: bool) -> None:
        self._rows = row_codec(layout)
        stamps = ["event", "known"] if has_known else ["event"]
        self.has_known = has_known
        self.dtype = np.dtype([*((stamp, "<i8") for stamp in stamps), *self._rows.payload_fields])
        self.width = self.dtype.itemsize
        self.payload_at = 8 * len(stamps)
        self.has_content = bool(self._rows.variable)
        self.types = dict(zip(self._rows.names, self._rows.types, strict=True))
        self.nothing = Facts(self, np.empty(0, self.dtype), b"")
        self._fixed = {
            self._rows.names[column]: (group.name, place)
            for group in self._rows.groups
            for place, column in enumerate(group.columns)
        }
        self._number = {name: number for number, name in enumerate(self._rows.names)}

    def encode(self, columns: pa.Table | pa.RecordBatch, event_us: Int64Array, known_us: Int64Array) -> Facts:
        """Facts, in the order in which they come.

        Args:
            columns: a column per name of the layout, in its type.
            event_us: (n,) event times.
            known_us: (n,) known times.
        """
        block = np.zeros(columns.num_rows, self.dtype)
        block["event"] = event_us
        if self.has_known:
            block["known"] = known_us
        cells = self._rows.fill(block, columns)
        return Facts(self, block, b"".join(cut(join_blobs(cells))) if cells else b"")

    def known(self, facts: Facts) -> Int64Array:
        """(n,) known times."""
        found: Int64Array = facts.block["known" if self.has_known else "event"]
        return found

    def valid(self, facts: Facts, name: str) -> NDArray[np.bool_]:
        """(n,) where a column has a value."""
        byte, bit = divmod(self._number[name], 8)
        found: NDArray[np.bool_] = (facts.block["bitmap"][:, byte] >> bit & 1).astype(np.bool_)
        return found

    def filled(self, facts: Facts) -> int:
        """Which columns have a value in all facts, as bits."""
        return int.from_bytes(np.bitwise_and.reduce(facts.block["bitmap"], axis=0).tobytes(), "little")

    def number(self, name: str) -> int:
        """The place of a column in the layout."""
        return self._number[name]

    def fixed(self, facts: Facts, name: str) -> NDArray[Any] | None:
        """(n,) the values of a column of fixed width, 0 where null; ``None`` for another column."""
        found = self._fixed.get(name)
        if found is None:
            return None
        values: NDArray[Any] = facts.block[found[0]][:, found[1]]
        return values

    def contents(self, facts: Facts, name: str) -> list[bytes]:
        """(n,) the contents of a column of variable width, empty where null."""
        place = self._rows.variable.index(self._number[name])
        begin = facts.starts[:-1]
        ends = facts.block["ends"]
        stops = (begin + ends[:, place]).tolist()
        starts = (begin + ends[:, place - 1] if place else begin).tolist()
        content = facts.content
        return [content[a:b] for a, b in zip(starts, stops, strict=True)]

    def array(self, facts: Facts, name: str) -> pa.Array:
        """(n,) a column in its Arrow type."""
        values, valid, dtype = self.fixed(facts, name), self.valid(facts, name), self.types[name]
        if values is None:
            return cells_to_arrow(self.contents(facts, name), valid, dtype)
        return fixed_to_arrow(values, valid, dtype)

    def plain(self, facts: Facts, name: str) -> list[Any]:
        """(n,) the values of a column as aggregates take them, whatever where null; the type is one of ``PLAIN``."""
        values = self.fixed(facts, name)
        if values is not None:
            listed: list[Any] = values.tolist()
            return listed
        contents: list[Any] = self.contents(facts, name)
        return [content.decode() for content in contents] if self.types[name] in _TEXTS else contents


@dataclass(slots=True, eq=False)
class Facts:
    """Facts side by side.

    Attributes:
        codec: how they are kept.
        block: (n,) one element of fixed width each.
        content: what is of variable width, of one after the other.
    """

    codec: FactCodec
    block: NDArray[Any]
    content: bytes
    _starts: Int64Array | None = None

    def __len__(self) -> int:
        return len(self.block)

    @property
    def event(self) -> Int64Array:
        """(n,) event times."""
        found: Int64Array = self.block["event"]
        return found

    @property
    def known(self) -> Int64Array:
        """(n,) known times."""
        return self.codec.known(self)

    @property
    def starts(self) -> Int64Array:
        """(n + 1,) where the content of each begins; only of facts that have some."""
        if self._starts is None:
            self._starts = np.zeros(len(self.block) + 1, np.int64)
            np.cumsum(self.block["ends"][:, -1], out=self._starts[1:])
        return self._starts

    def part(self, start: int, stop: int) -> Facts:
        """Some that stand side by side."""
        if not self.codec.has_content:
            return Facts(self.codec, self.block[start:stop], b"")
        return Facts(self.codec, self.block[start:stop], self.content[self.starts[start] : self.starts[stop]])

    @property
    def octets(self) -> NDArray[np.uint8]:
        """(n, width) the bytes of ``block``: numpy compares and moves them faster than elements with fields."""
        return np.ascontiguousarray(self.block).view(np.uint8).reshape(len(self.block), self.codec.width)

    def take(self, places: NDArray[np.intp]) -> Facts:
        """Some of them, in the order of the places."""
        block = self.octets.take(places, axis=0).reshape(-1).view(self.codec.dtype)
        if not self.codec.has_content:
            return Facts(self.codec, block, b"")
        content = self.content
        bounds = zip(self.starts[places].tolist(), self.starts[places + 1].tolist(), strict=True)
        return Facts(self.codec, block, b"".join([content[a:b] for a, b in bounds]))

    def payload(self, place: int) -> bytes:
        """What decides between facts of the same times (ORD)."""
        fixed = self.block[place : place + 1].tobytes()[self.codec.payload_at :]
        if not self.codec.has_content:
            return fixed
        return fixed + self.content[self.starts[place] : self.starts[place + 1]]

    def body(self) -> bytes:
        """The bytes of a row from its facts on."""
        return self.block.tobytes() + self.content

    @property
    def size_bytes(self) -> int:
        """How many bytes these are."""
        return self.block.nbytes + len(self.content)

    @property
    def largest_bytes(self) -> int:
        """How many bytes the largest of them is; 0 where there is none."""
        if not len(self.block):
            return 0
        return self.codec.width + (int(np.diff(self.starts).max()) if self.codec.has_content else 0)

    @classmethod
    def joined(cls, codec: FactCodec, parts: Sequence[Facts]) -> Facts:
        """All of them, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return codec.nothing
        return cls(codec, np.concatenate([part.block for part in parts]), b"".join([part.content for part in parts]))


def distinct(facts: Facts, codes: Int64Array | None = None) -> tuple[Facts, Int64Array | None]:
    """Facts in the order of their times and then of their payload, each once.

    Args:
        facts: in any order.
        codes: (n,) the key of each as a number; the facts of each key are then in order, the keys too.

    Returns:
        The facts, and the key of each.
    """
    event, known = facts.event, facts.known
    stamps = [event] if known is event or not facts.codec.has_known else [known, event]
    keys = [*stamps, codes] if codes is not None else stamps
    if not _is_rising(keys):
        order = np.lexsort(keys) if codes is None else sorted_order(codes, event, known if len(keys) > 2 else None)
        facts = facts.take(order)
        codes = None if codes is None else codes[order]
    stamped = [facts.event, *([facts.known] if facts.codec.has_known else ()), *([codes] if codes is not None else ())]
    same = np.ones(max(0, len(facts) - 1), np.bool_)
    for each in stamped:
        same &= each[1:] == each[:-1]
    if not same.any():
        return facts, codes
    places = _places_of_distinct(facts, same)
    return facts.take(places), None if codes is None else codes[places]


def _is_rising(keys: Sequence[Int64Array]) -> bool:
    """Whether (key, event, known) never falls, so that nothing has to be sorted; the last key counts first."""
    count = len(keys[0])
    equal = np.ones(max(0, count - 1), np.bool_)
    for key in reversed(keys):
        if (equal & (key[1:] < key[:-1])).any():
            return False
        equal &= key[1:] == key[:-1]
    return True


def _places_of_distinct(facts: Facts, same: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The places of the different facts, in order; ``same`` says whose times are those of the one before."""
    places = np.arange(len(facts))
    keep = np.ones(len(facts), np.bool_)
    again = _equal_to_one_before(facts, same)
    keep[1:] = ~again
    if (again == same).all():
        return np.flatnonzero(keep)
    keep[:] = True
    begins = np.flatnonzero(np.diff(np.concatenate([[False], same]).astype(np.int8)) == 1)
    ends = np.flatnonzero(np.diff(np.concatenate([same, [False]]).astype(np.int8)) == -1) + 1
    for begin, end in zip(begins.tolist(), (ends + 1).tolist(), strict=True):
        # Of equal facts the first one stays, for no other reason than that one has to.
        by_payload = {facts.payload(place): place for place in range(end - 1, begin - 1, -1)}
        chosen = [place for _, place in sorted(by_payload.items())]
        places[begin : begin + len(chosen)] = chosen
        keep[begin + len(chosen) : end] = False
    return places[keep]


def _equal_to_one_before(facts: Facts, same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n - 1,) which facts are the one before them; ``same`` says which of them have its times."""
    found = np.zeros(len(same), np.bool_)
    places = np.flatnonzero(same)
    octets = facts.octets
    equal = (octets[places] == octets[places + 1]).all(axis=1)
    if facts.codec.has_content and equal.any():
        bounds = facts.starts.tolist()
        content = facts.content
        for number in np.flatnonzero(equal).tolist():
            a = int(places[number])
            equal[number] = content[bounds[a] : bounds[a + 1]] == content[bounds[a + 1] : bounds[a + 2]]
    found[places[equal]] = True
    return found


@dataclass(frozen=True, slots=True)
class Tile:
    """Older facts of a key in a row of their own.

    Attributes:
        first_us, last_us: event times of its first and last fact.
        latest_us: the greatest time of its facts, event or known.
        count: how many facts.
        size_bytes: how many bytes they take; 0 where only the states are kept.
        name: with the key, what its row is found by; no bytes where only the states are kept.
        states: the states of the aggregates over it.
    """

    first_us: int
    last_us: int
    latest_us: int
    count: int
    size_bytes: int
    name: bytes
    states: bytes

    @property
    def has_facts(self) -> bool:
        """Whether its facts are kept, and not only the states."""
        return any(self.name)

    def to_bytes(self) -> bytes:
        """What the list of tiles says of it."""
        name = self.name or bytes(MARK_BYTES)
        times = self.first_us, self.last_us, self.latest_us
        return _TILE.pack(*times, self.count, self.size_bytes, len(self.states), name) + self.states


@dataclass(frozen=True, slots=True)
class Timeline:
    """A timeline as it stands in its row.

    Attributes:
        facts: the newest facts.
        tiles: the older ones, the oldest first.
        deleted_us: event and known time up to which facts were deleted.
        coarse_us: event time up to which only states are kept.
        latest_us: the greatest time of ``facts``.
        mark: of the row that it was read from; empty where there is none.
    """

    facts: Facts
    tiles: tuple[Tile, ...] = ()
    deleted_us: tuple[int, int] = (NEVER_US, NEVER_US)
    coarse_us: int = NEVER_US
    latest_us: int = NEVER_US
    mark: bytes = b""

    @classmethod
    def of(cls, codec: FactCodec, row: bytes | None) -> Timeline:
        """Read it from its row."""
        if row is None:
            return Timeline(codec.nothing)
        mark, _, _, tiles, _, deleted, known, coarse, _ = HEAD.unpack_from(row)
        facts, latest = tail(codec, row)
        return cls(facts, _tiles(row, tiles) if tiles else (), (deleted, known), coarse, latest, mark)

    def to_bytes(self, mark: bytes) -> bytes:
        """A row of it."""
        tiles = b"".join([tile.to_bytes() for tile in self.tiles])
        head = HEAD.pack(
            mark,
            TIMELINE,
            len(self.facts),
            len(self.tiles),
            len(tiles),
            *self.deleted_us,
            self.coarse_us,
            self.latest_us,
        )
        return head + tiles + self.facts.body()

    @property
    def newest_us(self) -> int:
        """The event time of the newest fact."""
        if len(self.facts):
            return int(self.facts.event[-1])
        return self.tiles[-1].last_us if self.tiles else NEVER_US


def _tiles(row: bytes, count: int) -> tuple[Tile, ...]:
    found = []
    at = HEAD.size
    for _ in range(count):
        first, last, latest, facts, size_bytes, length, name = _TILE.unpack_from(row, at)
        at += _TILE.size
        found.append(Tile(first, last, latest, facts, size_bytes, name, row[at : at + length]))
        at += length
    return tuple(found)


def tile_row(name: bytes, facts: Facts) -> bytes:
    """The row of a tile."""
    return HEAD.pack(name, TILE, len(facts), 0, 0, NEVER_US, NEVER_US, NEVER_US, NEVER_US) + facts.body()


def tile_facts(codec: FactCodec, row: bytes) -> Facts:
    """The facts of a tile, from its row."""
    return Timeline.of(codec, row).facts


def is_tile(row: bytes) -> bool:
    """Whether a row is that of a tile, and not of a timeline."""
    return row[_KIND_AT] == TILE


def has_tiles(row: bytes) -> bool:
    """Whether a timeline has tiles."""
    return row[_TILES_AT] != _NO_TILES


def latest_us(facts: Facts) -> int:
    """The greatest time of facts in order, event or known."""
    if not len(facts):
        return NEVER_US
    newest = int(facts.event[-1])
    return max(newest, int(facts.known.max())) if facts.codec.has_known else newest


def mark_bytes(count: int) -> bytes:
    """Marks that nobody has made before, one after the other."""
    return os.urandom(MARK_BYTES * count)


def new_marks(count: int) -> list[bytes]:
    """Marks that nobody has made before."""
    data = mark_bytes(count)
    return [data[at : at + MARK_BYTES] for at in range(0, len(data), MARK_BYTES)]


def tail(codec: FactCodec, row: bytes) -> tuple[Facts, int]:
    """The facts that stand in the row of a timeline, and the greatest of their times; without building the timeline."""
    count, listed, latest = _COUNTS_AND_LATEST.unpack_from(row, COUNT_AT)
    at = HEAD.size + listed
    content = row[at + count * codec.width :] if codec.has_content else b""
    return Facts(codec, np.frombuffer(row, codec.dtype, count, at), content), latest


def all_tails(codec: FactCodec, rows: Iterable[bytes]) -> tuple[Facts, Int64Array]:
    """The newest facts of many timelines as one, and how many each has; without building each timeline."""
    counts, blocks, contents = [], [], []
    for row in rows:
        count, listed = _COUNTS.unpack_from(row, COUNT_AT)
        at = HEAD.size + listed
        end = at + count * codec.width
        counts.append(count)
        blocks.append(row[at:end])
        if codec.has_content:
            contents.append(row[end:])
    block = np.frombuffer(b"".join(blocks), codec.dtype)
    return Facts(codec, block, b"".join(contents)), np.array(counts, np.int64)


@lru_cache(maxsize=1024)
def fact_codec(layout: Layout, has_known: bool) -> FactCodec:
    """The codec of a layout; built once."""
    return FactCodec(layout, has_known)
