"""What people are told about findings, as data and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiffin.quality.checks import Finding
from tiffin.time import format_us

#: Messages for people have as many findings; the rest is counted.
_MOST_LINES = 40


@dataclass(frozen=True)
class Alert:
    """A finding, and since when it holds.

    Attributes:
        finding: as it was seen last.
        since_us: when it was seen first.
    """

    finding: Finding
    since_us: int

    def to_dict(self) -> dict[str, str]:
        """JSON-ready data."""
        return self.finding.to_dict() | {"since": format_us(self.since_us)}


@dataclass(frozen=True)
class Notice:
    """One message: everything that there is to tell at one moment.

    Attributes:
        project: the project.
        now_us: the moment.
        raised: what is wrong, and was not told yet or long ago.
        resolved: what was told and is over.
    """

    project: str
    now_us: int
    raised: tuple[Alert, ...]
    resolved: tuple[Alert, ...]

    @property
    def title(self) -> str:
        """What it is about, in a line."""
        parts = []
        if self.raised:
            first, more = self.raised[0].finding, len(self.raised) - 1
            parts.append(f"{first.check}: {first.subject}" + (f" and {more} more" if more else ""))
        if self.resolved:
            parts.append(f"{len(self.resolved)} resolved")
        return f"{self.project}: {', '.join(parts)}"

    @property
    def lines(self) -> list[str]:
        """A line for each finding."""
        found = [f"{each.finding.subject}: {each.finding.message}" for each in self.raised]
        found += [f"resolved: {each.finding.subject} ({each.finding.check})" for each in self.resolved]
        left = len(found) - _MOST_LINES
        return [*found[:_MOST_LINES], f"... and {left} more"] if left > 0 else found

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "project": self.project,
            "now": format_us(self.now_us),
            "title": self.title,
            "raised": [each.to_dict() for each in self.raised],
            "resolved": [each.to_dict() for each in self.resolved],
        }
