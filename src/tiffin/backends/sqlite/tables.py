"""How a table of the contract lies in SQLite: two tables, one for keys that are a single number and one for all others.

A row that has an integer as its primary key is found about 1.7 times as fast as by a blob. The encoding of keys gives a
single integer as ``i`` and eight bytes (``tiffin.online.keys``); every key of that form is kept as its number, which is
the same thing written in another way, so that no two keys meet.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: The number of this layout; a file keeps it as its ``user_version``.
LAYOUT = 1
CURSORS = "tiffin_cursors"
CREATE_CURSORS = f"CREATE TABLE IF NOT EXISTS {CURSORS} (name TEXT PRIMARY KEY, cursor BLOB NOT NULL) WITHOUT ROWID"

_CAPITAL = re.compile("[A-Z^]")
_ESCAPED = re.compile(r"\^(.)", re.DOTALL)
_RESERVED = ("sqlite_", CURSORS)
_TAG, _NUMBER_BYTES, _FLIP = b"i", 9, 1 << 63
_NUMBER = struct.Struct(">cQ")
_NUMBERS = np.dtype([("tag", "S1"), ("number", ">u8")])


@dataclass(frozen=True)
class Part:
    """One of the two tables.

    Attributes:
        prefix: what stands before the table's name in SQLite; no other name begins so.
        columns: what it consists of.
        key_bytes: SQL for the length of a key.
    """

    prefix: str
    columns: str
    key_bytes: str


NUMBERS = Part("", "(key INTEGER PRIMARY KEY, row BLOB NOT NULL)", str(_NUMBER_BYTES))
BLOBS = Part("^~", "(key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID", "length(key)")
PARTS = (NUMBERS, BLOBS)


def split(keys: Sequence[bytes]) -> tuple[Part, Sequence[Any]] | None:
    """The part in which all of some keys are, and what they are called there; ``None`` when they are in both."""
    if len(keys) == 1:
        key = keys[0]
        if len(key) == _NUMBER_BYTES and key[:1] == _TAG:
            return NUMBERS, (_NUMBER.unpack(key)[1] - _FLIP,)
        return BLOBS, keys
    if set(map(len, keys)) == {_NUMBER_BYTES}:
        block = np.frombuffer(b"".join(keys), _NUMBERS)
        if (block["tag"] == _TAG).all():
            return NUMBERS, (block["number"].astype(np.uint64) ^ np.uint64(_FLIP)).view(np.int64).tolist()
    is_number = (len(key) == _NUMBER_BYTES and key[:1] == _TAG for key in keys)
    return None if any(is_number) else (BLOBS, keys)


def places_by_part(keys: Sequence[bytes]) -> list[tuple[Part, Sequence[Any], list[int]]]:
    """For each part the keys that are in it, and their places among all."""
    found: list[tuple[Part, Sequence[Any], list[int]]] = []
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        is_number = len(key) == _NUMBER_BYTES and key[:1] == _TAG
        places.setdefault((NUMBERS if is_number else BLOBS).prefix, []).append(place)
    for each in places.values():
        part = split([keys[place] for place in each])
        assert part is not None
        found.append((*part, each))
    return found


def key_of(part: Part, key: Any) -> bytes:
    """The key that is called so in a part."""
    return _NUMBER.pack(_TAG, key + _FLIP) if part is NUMBERS else key


def quote(table: str, part: Part = NUMBERS) -> str:
    """The name of a part as SQL writes it."""
    return '"' + sql_name(table, part).replace('"', '""') + '"'


def sql_name(table: str, part: Part = NUMBERS) -> str:
    """The name of a part in SQLite, which does not tell capitals apart and keeps some names for itself.

    A capital is written as ``^`` and the small letter, ``^`` as ``^^``; a reserved name gets ``^_`` in front.
    """
    name = _CAPITAL.sub(lambda found: "^" + found[0].lower(), table)
    if not part.prefix and name.startswith(_RESERVED):
        return f"^_{name}"
    return part.prefix + name


def table_name(name: str) -> str:
    """The table that has a name in SQLite."""
    return _ESCAPED.sub(lambda found: found[1].upper(), name.removeprefix(BLOBS.prefix).removeprefix("^_"))
