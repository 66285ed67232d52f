"""How rows lie in LMDB: all tables in one tree, each under the four bytes of its number.

LMDB takes keys up to 511 bytes. A longer one is kept under its SHA-256, and itself in front of the row. Table 0 is the
store's own: names of tables with their numbers, cursors, and the next number, none of which is given twice.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

NUMBER_BYTES = 4
NEXT = bytes(NUMBER_BYTES) + b"n"
_TABLE, _CURSOR = bytes(NUMBER_BYTES) + b"t", bytes(NUMBER_BYTES) + b"c"
#: What follows the number of a table, where the entity key itself comes next, and the longest such key.
SHORT, MOST_BYTES = b"\x00", 500
_LONG = b"\x01"
_LENGTH_BYTES = 4
_HEAD_BYTES = NUMBER_BYTES + 1


@lru_cache(maxsize=65_536)
def table_key(table: str) -> bytes:
    """Where the number of a table is kept; its value is the number and the name."""
    return _TABLE + sha256(table.encode()).digest()


def cursor_key(table: str) -> bytes:
    """Where the cursor of a table is kept."""
    return _CURSOR + sha256(table.encode()).digest()


def table_range() -> bytes:
    """What the keys of ``table_key`` begin with."""
    return _TABLE


def row_key(number: bytes, key: bytes) -> bytes:
    """Where a row is kept."""
    return number + SHORT + key if len(key) <= MOST_BYTES else number + _LONG + sha256(key).digest()


def is_long(place: bytes) -> bool:
    """Whether a row is kept under a digest."""
    return place[NUMBER_BYTES:_HEAD_BYTES] == _LONG


def with_key(key: bytes, row: bytes) -> bytes:
    """What is kept under a digest."""
    return len(key).to_bytes(_LENGTH_BYTES, "big") + key + row


def without_key(value: bytes) -> bytes:
    """The row of what is kept under a digest."""
    return value[_LENGTH_BYTES + int.from_bytes(value[:_LENGTH_BYTES], "big") :]


def pair(place: bytes, value: bytes) -> tuple[bytes, bytes]:
    """The key and the row that are kept at a place."""
    if not is_long(place):
        return place[_HEAD_BYTES:], value
    end = _LENGTH_BYTES + int.from_bytes(value[:_LENGTH_BYTES], "big")
    return value[_LENGTH_BYTES:end], value[end:]
