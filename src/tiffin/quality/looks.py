"""What was seen over time: a line of JSON for each look, thinned out as it grows, so that it stays small for ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from tiffin.quality.files import locked, replace_file, writing

#: When a file is larger than this, every other look of its older half is forgotten.
MOST_BYTES = 10_000_000

T = TypeVar("T", bound=msgspec.Struct)


class Looks(Generic[T]):
    """The looks that were kept in a file, oldest first; several processes may add to it.

    Args:
        path: the file.
        kind: what a look is.
        most_bytes: how large the file may be.
    """

    def __init__(self, path: Path, kind: type[T], most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._lock = path.with_name(f"{path.name}.lock")
        self._kind = kind
        self._most_bytes = most_bytes

    def add(self, look: T) -> None:
        """Add a look.

        Raises:
            StoreError: it cannot be written.
        """
        with locked(self._lock):
            with writing(self._path), self._path.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(look) + b"\n")
                size = os.fstat(file.fileno()).st_size
            if size > self._most_bytes:
                self._thin_out()

    def looks(self) -> list[T]:
        """All of them; a line that is torn or of another program is passed over."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_bytes().splitlines():
            try:
                found.append(msgspec.json.decode(line, type=self._kind))
            except msgspec.MsgspecError:
                continue
        return found

    def _thin_out(self) -> None:
        looks = self.looks()
        middle = len(looks) // 2
        kept = looks[:middle:2] + looks[middle:]
        replace_file(self._path, b"".join(msgspec.json.encode(look) + b"\n" for look in kept))
