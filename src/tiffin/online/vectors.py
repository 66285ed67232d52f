"""Vectors: the rows that all views of a feature service have for one key, in one row of a table of its own.

======  =====  =======================================================================
offset  bytes  content
======  =====  =======================================================================
0       16     mark: another one each time that the vector is put
16      2      number of writers p that have begun and not ended
18      16*p   their tokens: the time at which each began, microseconds, and 8 bytes of chance
...     4*v    for each view where its row ends; one that ends where it begins is not there
...     ...    the rows, as the tables of the views hold them
======  =====  =======================================================================

A vector is good while nobody has begun to write: whoever writes a row says so in the vector before, and puts the
vector anew afterwards. One that is not good is passed over, and the rows are read where they are.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tiffin.online.tails import MARK_BYTES
from tiffin.online.timeline import new_marks

TOKEN_BYTES = 16
_PENDING = struct.Struct("<H")
_TIME = struct.Struct("<q")
_TOKENS_AT = MARK_BYTES + _PENDING.size

Rows = Sequence[bytes | None]


def new_token(now_us: int) -> bytes:
    """What stands for one writer."""
    return _TIME.pack(now_us) + os.urandom(TOKEN_BYTES - _TIME.size)


@dataclass(frozen=True)
class Vector:
    """A vector that is there.

    Attributes:
        tokens: the writers that have begun and not ended.
        content: where the rows end, and the rows; empty when they have never been put.
    """

    tokens: tuple[bytes, ...] = ()
    content: bytes = b""

    @classmethod
    def of(cls, row: bytes | None) -> Vector:
        """Read it; one that is not there has nothing in it."""
        if row is None:
            return cls()
        (count,) = _PENDING.unpack_from(row, MARK_BYTES)
        end = _TOKENS_AT + count * TOKEN_BYTES
        return cls(tuple(row[at : at + TOKEN_BYTES] for at in range(_TOKENS_AT, end, TOKEN_BYTES)), row[end:])

    def begun(self, token: bytes) -> Vector:
        """The same while one more writer is at work."""
        return Vector((*self.tokens, token), self.content)

    def put(self, rows: Rows, token: bytes | None, since_us: int) -> Vector:
        """With its rows anew, without a writer that has ended, and without those that began before a time."""
        tokens = tuple(each for each in self.tokens if each != token and _TIME.unpack_from(each)[0] >= since_us)
        ends, end = [], 0
        for row in rows:
            end += len(row or b"")
            ends.append(end)
        return Vector(tokens, struct.pack(f"<{len(ends)}I", *ends) + b"".join(row for row in rows if row is not None))

    def to_row(self) -> bytes:
        """As a row, under a new mark."""
        return b"".join((*new_marks(1), _PENDING.pack(len(self.tokens)), *self.tokens, self.content))


def mark_of(row: bytes | None) -> bytes:
    """What a swap expects that replaces this row."""
    return b"" if row is None else row[:MARK_BYTES]


class VectorReader:
    """Takes vectors apart.

    Args:
        views: how many views' rows they have.
    """

    def __init__(self, views: int) -> None:
        self._ends = struct.Struct(f"<{views}I")

    def rows(self, vector: bytes | None) -> Rows | None:
        """The rows of a good vector, one for each view; ``None`` when it is not good."""
        if vector is None or vector[MARK_BYTES:_TOKENS_AT] != b"\0\0":
            return None
        at = _TOKENS_AT + self._ends.size
        found: list[bytes | None] = []
        start = at
        for end in self._ends.unpack_from(vector, _TOKENS_AT):
            found.append(vector[start : at + end] or None)
            start = at + end
        return found
