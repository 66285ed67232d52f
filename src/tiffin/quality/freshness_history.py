"""How fresh views were: a line of JSON for each look, thinned out as it grows, so that it stays small for ever."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tiffin.quality.files import locked, monitor_file, replace_file, writing

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.quality.freshness import FreshnessReport

#: When the file is larger than this, every other look of its older half is forgotten.
_MOST_BYTES = 10_000_000


class Look(msgspec.Struct, frozen=True):
    """What was seen at one moment.

    Attributes:
        now_us: the moment.
        newest_us: by view, the newest event time of what is judged; ``None`` where there was none.
    """

    now_us: int
    newest_us: Mapping[str, int | None]


class FreshnessHistory:
    """The looks that were kept in a file, oldest first; several processes may add to it."""

    def __init__(self, path: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._path = path
        self._lock = path.with_name(f"{path.name}.lock")
        self._most_bytes = most_bytes

    @classmethod
    def of(cls, ctx: Context) -> FreshnessHistory:
        """That of a project."""
        return cls(monitor_file(ctx, "freshness.jsonl"))

    def keep(self, report: FreshnessReport) -> None:
        """Add a look.

        Raises:
            StoreError: it cannot be written.
        """
        look = Look(report.now_us, {each.view: each.newest_us for each in report.views})
        with locked(self._lock):
            with writing(self._path), self._path.open("ab", buffering=0) as file:
                file.write(msgspec.json.encode(look) + b"\n")
                size = os.fstat(file.fileno()).st_size
            if size > self._most_bytes:
                self._thin_out()

    def looks(self) -> list[Look]:
        """All of them; a line that is torn or of another program is passed over."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_bytes().splitlines():
            try:
                found.append(msgspec.json.decode(line, type=Look))
            except msgspec.MsgspecError:
                continue
        return found

    def _thin_out(self) -> None:
        looks = self.looks()
        middle = len(looks) // 2
        kept = looks[:middle:2] + looks[middle:]
        replace_file(self._path, b"".join(msgspec.json.encode(look) + b"\n" for look in kept))
