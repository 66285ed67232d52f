"""The check that no facts were put apart because they are not as expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tiffin.operations.quarantine import count_quarantined
from tiffin.quality.checks import Check, Finding
from tiffin.time import DAY_US

if TYPE_CHECKING:
    from tiffin.operations.context import Context


class QuarantineCheck(Check):
    """Views of which facts went into the quarantine within the last day."""

    name: ClassVar[str] = "quarantine"

    def run(self, ctx: Context) -> list[Finding]:
        """Look at all views."""
        since_us = ctx.now_us() - DAY_US
        counts = {name: count_quarantined(ctx, name, since_us) for name in sorted(ctx.snapshot().views)}
        return [
            Finding(
                self.name,
                f"feature view {name}",
                f"{count:,} facts were put into the quarantine within the last day",
                f"`store.quarantine({name!r})` has them, with the reasons",
            )
            for name, count in counts.items()
            if count
        ]
