"""The check that views are as fresh as they declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tiffin.quality.checks import Check, Finding
from tiffin.quality.freshness import freshness
from tiffin.quality.freshness_history import FreshnessHistory

if TYPE_CHECKING:
    from tiffin.operations.context import Context


class FreshnessCheck(Check):
    """Views whose newest fact is older than they declare, or of which nobody can say. It keeps what it saw."""

    name: ClassVar[str] = "freshness"

    def run(self, ctx: Context) -> list[Finding]:
        """Look at all views."""
        report = freshness(ctx)
        FreshnessHistory.of(ctx).keep(report)
        hint = "`tiffin monitor freshness` shows all views"
        return [Finding(self.name, f"feature view {each.view}", each.reason, hint) for each in report.late]
