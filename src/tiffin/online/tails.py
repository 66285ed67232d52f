"""Rows of timelines that are nothing but their newest facts, and facts put behind those that a row has.

Most timelines are such, and most facts come after all those that are there. They can be put in by the store itself,
which then neither hands out the row nor takes it back. The head of a row is described in ``online.timeline``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MARK_BYTES = 16
#: What a row is.
TIMELINE, TILE = 1, 2
#: Before every time: nothing was deleted, no fact is in the row.
NEVER_US = -(1 << 63)

HEAD = struct.Struct("<16sB3xIIIqqqq")
#: Where a row says how many facts it has.
COUNT_AT = 20
#: Tiles, the deleted stamp and the coarse time, of a timeline that has none of these.
BESIDE_AT, NOTHING_BESIDE = slice(24, 56), struct.pack("<IIqqq", 0, 0, NEVER_US, NEVER_US, NEVER_US)
_HEADS = np.dtype([("mark", "V16"), ("kind", "<u4"), ("count", "<u4"), ("beside", "V32"), ("latest", "<i8")])
_COUNT, _LATEST, _EVENT = struct.Struct("<I"), struct.Struct("<q"), struct.Struct("<q")
_LATEST_AT = 56


@dataclass(frozen=True, slots=True)
class Room:
    """When facts may be put behind those of a row.

    Attributes:
        width: bytes of a fact's fixed part.
        most_facts: how many facts the row may then have.
        most_bytes: how long it may then be.
        gone_us: up to here facts are in no window any more. A row half of whose facts are gone is to be tidied first.
    """

    width: int
    most_facts: int
    most_bytes: int
    gone_us: int


def is_simple(row: bytes) -> bool:
    """Whether a timeline is its newest facts and nothing else: no tiles, and nothing was deleted."""
    return row[BESIDE_AT] == NOTHING_BESIDE


def extended(held: bytes | None, row: bytes, room: Room) -> bytes | None:
    """A row with the facts of another one behind its own.

    Args:
        held: the row that is there, of any timeline.
        row: the new facts, as a row of nothing else.
        room: when that may be done.

    Returns:
        The row; ``held`` where this was done before; ``None`` where the facts have to be merged: they do not all come
        after those that are there, or there is no room.
    """
    if held is None:
        return row
    if held[:MARK_BYTES] == row[:MARK_BYTES]:
        return held
    had, more = _COUNT.unpack_from(held, COUNT_AT)[0], _COUNT.unpack_from(row, COUNT_AT)[0]
    begin, width = HEAD.size, room.width
    if not had or not is_simple(held):
        return None
    if had + more > room.most_facts or len(held) + len(row) - begin > room.most_bytes:
        return None
    end = begin + had * width
    if _event(held, end - width) >= _event(row, begin) or _event(held, begin + had // 2 * width) <= room.gone_us:
        return None
    latest = max(_LATEST.unpack_from(held, _LATEST_AT)[0], _LATEST.unpack_from(row, _LATEST_AT)[0])
    head = row[:COUNT_AT] + _COUNT.pack(had + more) + NOTHING_BESIDE + _LATEST.pack(latest)
    cut = begin + more * width
    return b"".join([head, held[begin:end], row[begin:cut], held[end:], row[cut:]])


def _event(row: bytes, at: int) -> int:
    found: int = _EVENT.unpack_from(row, at)[0]
    return found


def tail_heads(marks: bytes, counts: NDArray[np.int64], latest_us: NDArray[np.int64]) -> list[bytes]:
    """What stands before the facts of timelines that are nothing else.

    Args:
        marks: the marks of all, one after the other.
        counts: (n,) how many facts each has.
        latest_us: (n,) the greatest of their times, event or known.
    """
    heads = np.empty(len(counts), _HEADS)
    heads["mark"] = np.frombuffer(marks, "V16")
    heads["kind"] = TIMELINE
    heads["count"] = counts
    heads["beside"] = np.frombuffer(NOTHING_BESIDE, "V32")
    heads["latest"] = latest_us
    data, size = heads.tobytes(), HEAD.size
    return [data[at : at + size] for at in range(0, len(data), size)]
