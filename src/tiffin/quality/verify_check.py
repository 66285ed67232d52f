"""The check that what was served within the last day is what training sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tiffin.errors import EmptyLogError
from tiffin.quality.checks import Check, Finding
from tiffin.quality.skew_history import SkewHistory
from tiffin.quality.verify import ServiceVerification, verify
from tiffin.time import DAY_US

if TYPE_CHECKING:
    from tiffin.operations.context import Context


class VerifyCheck(Check):
    """Features of logged services that differ, and logs that cannot be compared in full. No log is nothing wrong.

    It keeps what it saw.
    """

    name: ClassVar[str] = "verify"

    def run(self, ctx: Context) -> list[Finding]:
        """Look at the services that have a log."""
        logged = [service.name for service in ctx.snapshot().services.values() if service.logging_config is not None]
        now_us = ctx.now_us()
        seen: list[ServiceVerification] = []
        for name in sorted(logged):
            try:
                seen += verify(ctx, name, since=now_us - DAY_US).services
            except EmptyLogError:
                continue
        SkewHistory.of(ctx).keep(now_us, seen)
        return [finding for each in seen for finding in self._of(each)]

    def _of(self, report: ServiceVerification) -> list[Finding]:
        subject, hint = f"feature service {report.service}", f"`tiffin verify {report.service}` shows what and why"
        found = []
        for feature in report.features:
            if feature.different:
                causes = ", ".join(f"{cause} ({cells:,})" for cause, cells in feature.causes.items())
                what = f"{feature.different:,} of {feature.compared:,} values of the last day differ from training"
                found.append(Finding(self.name, f"{subject}: {feature.feature}", f"{what}: {causes}", hint))
        if not report.is_complete:
            what = f"{len(report.problems):,} files and {report.newer_rows:,} rows of its log cannot be compared"
            found.append(Finding(self.name, subject, what, hint))
        if report.no_history:
            what = f"{', '.join(report.no_history)} cannot be compared: facts behind them are only pushed"
            found.append(Finding(self.name, subject, what, "give the push source a batch_source"))
        return found
