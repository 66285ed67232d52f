"""The report of a project: how fresh its views are and were, what is wrong at present; as data and as one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiffin.quality.alerts import AlertBook
from tiffin.quality.freshness import FreshnessReport, Status, ViewFreshness, format_age, freshness
from tiffin.quality.freshness_history import FreshnessHistory, Look
from tiffin.quality.page import Figures, Line, Page, Part, Section, Table, Text
from tiffin.time import HOUR_US, format_us

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.quality.notices import Alert

#: Views have a plot each, up to so many; those that are late come first.
_MOST_PLOTS = 60
_COLUMNS = ["view", "status", "age", "allowed", "newest online", "newest in the source", "waiting", "last run", "why"]


@dataclass(frozen=True)
class ProjectReport:
    """What is known about a project's quality.

    Attributes:
        freshness: of its views, now.
        looks: how fresh they were whenever somebody looked.
        alerts: what is wrong at present.
    """

    freshness: FreshnessReport
    looks: tuple[Look, ...]
    alerts: tuple[Alert, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            **self.freshness.to_dict(),
            "history": {
                each.view: [
                    {"at": format_us(at_us), "age_seconds": age_us / 1_000_000}
                    for at_us, age_us in self._ages(each.view)
                ]
                for each in self.freshness.views
            },
            "alerts": [alert.to_dict() for alert in self.alerts],
        }

    def page(self) -> Page:
        """As a page."""
        views = sorted(self.freshness.views, key=lambda each: (_URGENCY[each.status], each.view))
        counts = [(status.value, sum(each.status is status for each in views)) for status in Status]
        sections = [
            Section("Alerts", [self._alerts()]),
            Section("Freshness", [Figures(counts), Table(_COLUMNS, [_row(each) for each in views])]),
            Section("Age over time, in hours", self._plots(views)),
        ]
        return Page(f"Project {self.freshness.project}", sections, f"seen at {format_us(self.freshness.now_us)}")

    def _alerts(self) -> Part:
        if not self.alerts:
            return Text("Nothing is wrong, as far as the last run knows.", "good")
        rows = [
            [alert.finding.check, alert.finding.subject, format_us(alert.since_us), alert.finding.message]
            for alert in self.alerts
        ]
        return Table(["check", "subject", "since", "what"], rows)

    def _plots(self, views: list[ViewFreshness]) -> list[Part]:
        parts: list[Part] = []
        for each in views[:_MOST_PLOTS]:
            ages = self._ages(each.view)
            if len(ages) > 1:
                allowed = "" if each.target_us is None else f", {format_age(each.target_us)} allowed"
                points = [(float(at_us), age_us / HOUR_US) for at_us, age_us in ages]
                parts += [Text(f"{each.view}{allowed}"), Line(points, (format_us(ages[0][0]), format_us(ages[-1][0])))]
        left = len(views) - _MOST_PLOTS
        if left > 0:
            parts.append(Text(f"{left} more views have no plot here; the report as JSON has all.", "soft"))
        return parts or [Text("`tiffin monitor run` keeps what it sees; two runs make a plot.", "soft")]

    def _ages(self, view: str) -> list[tuple[int, int]]:
        """When somebody looked, and how old the view's newest fact was then."""
        found = ((look.now_us, look.newest_us.get(view)) for look in self.looks)
        return [(at_us, max(0, at_us - newest_us)) for at_us, newest_us in found if newest_us is not None]


_URGENCY = {
    status: place for place, status in enumerate((Status.STALE, Status.UNKNOWN, Status.FRESH, Status.NO_TARGET))
}


def project_report(ctx: Context) -> ProjectReport:
    """Look at a project, and at what was seen before.

    Raises:
        StoreUnavailableError: the online store cannot be reached.
    """
    looks = FreshnessHistory.of(ctx).looks()
    return ProjectReport(freshness(ctx), tuple(looks), tuple(AlertBook.seen(ctx).open))


def _row(each: ViewFreshness) -> list[Any]:
    run = each.last_run
    ages = (None if us is None else format_age(us) for us in (each.age_us, each.target_us))
    times = (None if us is None else format_us(us) for us in (each.online_us, each.offline_us))
    ran = None if run is None else format_us(run.started_us) + (f" failed: {run.error}" if run.error else "")
    return [
        each.view,
        each.status.value,
        *ages,
        *times,
        each.lag,
        ran,
        "; ".join([each.reason, *each.problems]).strip("; "),
    ]
