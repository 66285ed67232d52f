"""How fresh views were, whenever somebody looked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tiffin.quality.files import monitor_file
from tiffin.quality.looks import MOST_BYTES, Looks

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.quality.freshness import FreshnessReport


class Look(msgspec.Struct, frozen=True):
    """What was seen at one moment.

    Attributes:
        now_us: the moment.
        newest_us: by view, the newest event time of what is judged; ``None`` where there was none.
    """

    now_us: int
    newest_us: Mapping[str, int | None]


class FreshnessHistory(Looks[Look]):
    """The looks at the freshness of a project."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(path, Look, most_bytes)

    @classmethod
    def of(cls, ctx: Context) -> FreshnessHistory:
        """That of a project."""
        return cls(monitor_file(ctx, "freshness.jsonl"))

    def keep(self, report: FreshnessReport) -> None:
        """Add what was found.

        Raises:
            StoreError: it cannot be written.
        """
        self.add(Look(report.now_us, {each.view: each.newest_us for each in report.views}))
