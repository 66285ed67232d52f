"""How many facts went into the quarantine on each day of the last month.

A message of a stream that was delivered again after a crash may count again: only the ends of the files are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiffin.errors import StoreError
from tiffin.operations.quarantine import count_in, quarantine_files
from tiffin.time import DAY_US, from_us

if TYPE_CHECKING:
    from tiffin.operations.context import Context

_DAYS = 30
#: Files that are looked into, the newest first; each load or push with such facts leaves one.
MOST_FILES = 2_000


@dataclass(frozen=True)
class QuarantineDays:
    """Facts in quarantine.

    Attributes:
        facts: view to the beginning of each day in UTC to how many there were.
        uncounted: files that were too many to look into, or that cannot be read.
    """

    facts: Mapping[str, Mapping[int, int]]
    uncounted: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        views = {
            view: [{"day": from_us(day).date().isoformat(), "facts": count} for day, count in sorted(days.items())]
            for view, days in self.facts.items()
        }
        return {"views": views, "uncounted_files": self.uncounted}


def quarantine_days(ctx: Context) -> QuarantineDays:
    """Count what went into the quarantine of all views, view by view and day by day."""
    since_us = ctx.now_us() - _DAYS * DAY_US
    files = sorted(
        (
            (at_us, view, path)
            for view in ctx.snapshot().names("feature view")
            for at_us, path in quarantine_files(ctx, view)
            if at_us >= since_us
        ),
        reverse=True,
    )
    facts: dict[str, Counter[int]] = {}
    uncounted = len(files[MOST_FILES:])
    for at_us, view, path in files[:MOST_FILES]:
        try:
            facts.setdefault(view, Counter())[at_us // DAY_US * DAY_US] += count_in(path)
        except StoreError:
            uncounted += 1
    return QuarantineDays(dict(sorted(facts.items())), uncounted)
