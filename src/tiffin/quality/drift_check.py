"""The check that values are like those of their reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from tiffin.definitions.thresholds import Thresholds
from tiffin.errors import EmptyPeriodError
from tiffin.quality.checks import Check, Finding
from tiffin.quality.drift import ColumnDrift
from tiffin.quality.drift_watch import DriftLook, look_at_drift

if TYPE_CHECKING:
    from tiffin.operations.context import Context


class DriftCheck(Check):
    """Features that have drifted from the reference in ``quality.drift``. It keeps the profiles that it makes."""

    name: ClassVar[str] = "drift"

    def run(self, ctx: Context) -> list[Finding]:
        """Look at the views that are watched."""
        found = [finding for look in look_at_drift(ctx) for finding in self._of(look)]
        # A dataset that is not there is told once, whatever the number of views that are held to it.
        return list({finding.key: finding for finding in found}.values())

    def _of(self, look: DriftLook) -> Iterator[Finding]:
        watched, problem, outcome = look.watched, look.problem, look.outcome
        if problem is not None:
            subject, hint = problem.subject or watched.subject, problem.hint
            if isinstance(problem, EmptyPeriodError):
                settings = f"`period`, `wait` and `reference` of {watched.view} in quality.drift"
                hint = f"look at {settings}, and whether its facts still come"
            yield Finding(self.name, subject, f"its drift cannot be told: {problem.message}", hint)
        if outcome is None:
            return
        declared = watched.declared
        hint = (
            "`tiffin monitor report` shows then and now; if the values are right, train again, "
            f"and make that training set the reference of {watched.view} in quality.drift"
        )
        for column in outcome.drifted:
            message = f"{_words(column, declared.thresholds)}; {outcome.period}, held to {outcome.against}"
            yield Finding(self.name, f"{watched.subject}: {column.column}", message, hint)


def _words(column: ColumnDrift, thresholds: Thresholds) -> str:
    """The distances that are too large, beside what is allowed."""
    parts = [
        f"{name.replace('_', ' ')} {column.distances[name].value:.3g}, where {thresholds.of(name):g} is allowed"
        for name in column.beyond
        if name in column.distances
    ]
    return "; ".join([*parts, *([column.note] if column.note else [])])
