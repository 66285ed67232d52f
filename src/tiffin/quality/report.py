"""The report of a project: what is wrong, how its values drift and differ, how fresh they are; data, and one HTML file.

It reads what was kept, a bounded number of files, and computes nothing of the sources anew but how fresh they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiffin.quality.alerts import AlertBook
from tiffin.quality.freshness import FreshnessReport, freshness
from tiffin.quality.freshness_history import FreshnessHistory, Look
from tiffin.quality.quarantine_days import QuarantineDays, quarantine_days
from tiffin.quality.report_drift import ViewDrift, drift_of_views
from tiffin.quality.skew_history import SkewHistory, SkewLook
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.quality.notices import Alert
    from tiffin.quality.page import Page

#: Looks at skew that are shown, the newest ones.
_MOST_LOOKS = 1_000


@dataclass(frozen=True)
class ProjectReport:
    """What is known about a project's quality.

    Attributes:
        freshness: of its views, now.
        looks: how fresh they were whenever somebody looked.
        alerts: what is wrong at present.
        drift: the views that were compared with a reference, the most drifted first.
        skew: what was served beside what training sees, whenever somebody looked.
        quarantine: facts that were not as expected, by day.
    """

    freshness: FreshnessReport
    looks: tuple[Look, ...]
    alerts: tuple[Alert, ...]
    drift: tuple[ViewDrift, ...]
    skew: tuple[SkewLook, ...]
    quarantine: QuarantineDays

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            **self.freshness.to_dict(),
            "history": {
                each.view: [
                    {"at": format_us(at_us), "age_seconds": age_us / 1_000_000}
                    for at_us, age_us in self.ages(each.view)
                ]
                for each in self.freshness.views
            },
            "alerts": [alert.to_dict() for alert in self.alerts],
            "drift": [each.to_dict() for each in self.drift],
            "skew": [
                {
                    "at": format_us(look.now_us),
                    "services": {name: each.to_dict() for name, each in look.services.items()},
                }
                for look in self.skew
            ],
            "quarantine": self.quarantine.to_dict(),
        }

    def page(self) -> Page:
        """As a page."""
        from tiffin.quality.report_page import project_page

        return project_page(self)

    def ages(self, view: str) -> list[tuple[int, int]]:
        """When somebody looked, and how old the view's newest fact was then; in microseconds."""
        found = ((look.now_us, look.newest_us.get(view)) for look in self.looks)
        return [(at_us, max(0, at_us - newest_us)) for at_us, newest_us in found if newest_us is not None]


def project_report(ctx: Context) -> ProjectReport:
    """Look at a project, and at what was seen before.

    Raises:
        StoreUnavailableError: the online store cannot be reached.
    """
    return ProjectReport(
        freshness=freshness(ctx),
        looks=tuple(FreshnessHistory.of(ctx).looks()),
        alerts=tuple(AlertBook.seen(ctx).open),
        drift=tuple(drift_of_views(ctx)),
        skew=tuple(SkewHistory.of(ctx).looks()[-_MOST_LOOKS:]),
        quarantine=quarantine_days(ctx),
    )
