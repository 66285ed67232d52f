"""The report of a project as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tiffin.config import FIRST
from tiffin.quality.freshness import Status, ViewFreshness, format_age
from tiffin.quality.page import Bars, Details, Figures, Page, Part, Section, Table, Text
from tiffin.quality.plots import COLOURS, Captioned, Curves, Grid, Key, ThenAndNow
from tiffin.quality.report_drift import ViewDrift, psi_of
from tiffin.time import HOUR_US, SECOND_US, format_us, from_us

if TYPE_CHECKING:
    from tiffin.quality.drift import ColumnDrift
    from tiffin.quality.report import ProjectReport
    from tiffin.quality.skew_history import SeenService

_MOST_ALERTS = 200
#: Views have a plot of their age each, up to so many; those that are late come first.
_MOST_AGES = 60
#: Names that are listed in a cell of a table.
_MOST_NAMES = 6
#: Features that differ and are listed, of one service.
_MOST_FEATURES = 100
#: Views whose quarantine is shown as a plot.
_MOST_QUARANTINES = 12
_DISTANCES = ("psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein", "chi_square", "null_share")
_URGENCY = {
    status: place for place, status in enumerate((Status.STALE, Status.UNKNOWN, Status.FRESH, Status.NO_TARGET))
}


def project_page(report: ProjectReport) -> Page:
    """The page of a report."""
    sections = [
        Section("Alerts", list(_alerts(report))),
        Section("Drift: values then and now", list(_drift(report))),
        Section("Skew: served and trained on", list(_skew(report))),
        Section("Freshness", list(_freshness(report))),
        Section("Quarantine", list(_quarantine(report))),
    ]
    return Page(f"Project {report.freshness.project}", sections, f"seen at {_moment(report.freshness.now_us)}")


def _alerts(report: ProjectReport) -> Iterator[Part]:
    if not report.alerts:
        yield Text("Nothing is wrong, as far as the last run knows.", "good")
        return
    rows = [
        [alert.finding.check, alert.finding.subject, _moment(alert.since_us), alert.finding.message]
        for alert in report.alerts[:_MOST_ALERTS]
    ]
    yield Table(["check", "subject", "since", "what"], rows)
    if len(report.alerts) > len(rows):
        yield Text(f"{len(report.alerts) - len(rows):,} more; the report as JSON has all.", "bad")


def _drift(report: ProjectReport) -> Iterator[Part]:
    views = report.drift
    if not views:
        words = "No view was compared yet: name some in quality.drift, or keep profiles by `tiffin monitor profile`."
        yield Text(words, "soft")
        return
    features = [each for view in views for each in view.outcome.columns]
    figures = [
        ("views compared", len(views)),
        ("views with drift", sum(bool(view.outcome.drifted) for view in views)),
        ("features compared", len(features)),
        ("features with drift", sum(bool(each.beyond) for each in features)),
    ]
    yield Figures(figures)
    yield Text("Histograms show shares of the rows; what has no place between their ends stands beside them.", "soft")
    for view in views:
        if view.details is not None:
            yield Section(_title(view), list(_drift_of(view)), level=3)
    rest = [view for view in views if view.details is None]
    if rest:
        rows = [
            [
                _title(view),
                view.outcome.against,
                view.outcome.period,
                _listed([each.column for each in view.outcome.drifted]),
                max(map(psi_of, view.outcome.columns), default=None),
                view.problem,
            ]
            for view in rest
        ]
        table = Table(["view", "held to", "period", "drifted", "greatest psi", "why it is not shown"], rows)
        yield Details(f"{len(rest)} more views", [table])


def _drift_of(view: ViewDrift) -> Iterator[Part]:
    details = view.details
    assert details is not None
    by_name = {each.column: each for each in view.columns}
    reference, against = details.reference, view.outcome.against
    then = against if reference.of == "table" else reference.words + (f" ({against})" if against == FIRST else "")
    words = (f"then: {then}, {reference.rows:,} rows", f"now: {details.current.words}, {details.current.rows:,} rows")
    yield Key([("then", words[0]), ("now", words[1])])
    yield Grid([ThenAndNow(name, shown, _tags(by_name[name])) for name, shown in details.distributions.items()])
    names = list(details.distributions)[:COLOURS]
    if len(details.trend) > 1:
        moments = [float(point.profile.until_us) for point in details.trend]
        pairs = list(zip(moments, details.trend, strict=True))
        psi = {name: [(at, point.psi[name]) for at, point in pairs if name in point.psi] for name in names}
        nulls = {
            name: [(at, 100 * point.null_share[name]) for at, point in pairs if name in point.null_share]
            for name in names
        }
        most = view.outcome.thresholds.psi
        limit = None if most is None else (most, f"{most:g} allowed")
        yield Grid([Curves("psi, to the reference", psi, limit), Curves("nulls", nulls, unit="%")], is_wide=True)
    rows = [
        [each.column, *map(_value_of(each), _DISTANCES), ", ".join(_tags(each)), each.note] for each in view.columns
    ]
    table = Table(["feature", *(name.replace("_", " ") for name in _DISTANCES), "beyond", "note"], rows)
    yield Details(f"distances of all {len(rows)} features", [table])


def _value_of(column: ColumnDrift) -> Any:
    return lambda name: round(column.distances[name].value, 4) if name in column.distances else None


def _tags(column: ColumnDrift) -> list[str]:
    """What is wrong with a feature, in a few words each."""
    return [
        f"{name.replace('_', ' ')} {column.distances[name].value:.3g}" if name in column.distances else f"other {name}"
        for name in column.beyond
    ]


def _title(view: ViewDrift) -> str:
    return view.outcome.view + (" as served" if view.outcome.of == "online" else "")


def _listed(names: list[str]) -> str:
    left = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {left} more" if left > 0 else "")


def _skew(report: ProjectReport) -> Iterator[Part]:
    if not report.skew:
        words = "Nothing that was served was compared yet: give a service a log, and let `tiffin monitor run` look."
        yield Text(words, "soft")
        return
    services = sorted({name for look in report.skew for name in look.services})
    for name in services:
        looks = [(look.now_us, look.services[name]) for look in report.skew if name in look.services]
        yield Section(name, list(_skew_of(looks)), level=3)


def _skew_of(looks: list[tuple[int, SeenService]]) -> Iterator[Part]:
    at_us, newest = looks[-1]
    yield Figures(
        [
            ("vectors", newest.rows),
            ("values compared", newest.compared),
            ("values that differ", newest.different),
            ("share", f"{newest.share:.4%}"),
        ]
    )
    yield Text(f"seen at {_moment(at_us)}", "soft")
    if newest.no_history:
        yield Text(f"{_listed(list(newest.no_history))} cannot be compared: facts behind them are only pushed", "bad")
    shares = [(float(us), 100 * seen.share) for us, seen in looks]
    parts: list[Part] = [Curves("values that differ", {"share": shares}, unit="%")] if len(looks) > 1 else []
    if newest.causes:
        parts.append(Captioned("why they differ", Bars(list(newest.causes), list(newest.causes.values()))))
    yield Grid(parts, is_wide=True)
    if newest.features:
        features = sorted(newest.features.items(), key=lambda item: (-item[1].different, item[0]))
        rows = [
            [
                name,
                each.compared,
                each.different,
                ", ".join(f"{cause} {cells:,}" for cause, cells in each.causes.items()),
                each.mean,
                each.largest,
                each.unit,
            ]
            for name, each in features[:_MOST_FEATURES]
        ]
        yield Table(["feature", "compared", "different", "causes", "mean", "largest", "of"], rows)
        if len(features) > len(rows):
            yield Text(f"{len(features) - len(rows)} more features differ; the report as JSON has all.", "soft")


def _freshness(report: ProjectReport) -> Iterator[Part]:
    views = sorted(report.freshness.views, key=lambda each: (_URGENCY[each.status], each.view))
    yield Figures([(status.value, sum(each.status is status for each in views)) for status in Status])
    names = ["view", "status", "age", "allowed", "newest online", "newest in the source", "waiting", "last run", "why"]
    yield Table(names, [_row(each) for each in views])
    plots: list[Part] = []
    for each in views[:_MOST_AGES]:
        ages = [(float(at_us), age_us / HOUR_US) for at_us, age_us in report.ages(each.view)]
        if len(ages) > 1:
            target_us = each.target_us
            limit = None if target_us is None else (target_us / HOUR_US, f"{format_age(target_us)} allowed")
            plots.append(Curves(f"{each.view}: age", {"age": ages}, limit, " h"))
    if plots:
        yield Grid(plots, is_wide=True)
    else:
        yield Text("`tiffin monitor run` keeps what it sees; two runs make a plot.", "soft")
    left = len(views) - _MOST_AGES
    if left > 0:
        yield Text(f"{left} more views have no plot here; the report as JSON has all.", "soft")


def _row(each: ViewFreshness) -> list[Any]:
    run = each.last_run
    ages = (None if us is None else format_age(us) for us in (each.age_us, each.target_us))
    times = (None if us is None else _moment(us) for us in (each.online_us, each.offline_us))
    ran = None if run is None else _moment(run.started_us) + (f" failed: {run.error}" if run.error else "")
    why = "; ".join([each.reason, *each.problems]).strip("; ")
    return [each.view, each.status.value, *ages, *times, each.lag, ran, why]


def _moment(us: int) -> str:
    """A moment to the second."""
    return format_us(us // SECOND_US * SECOND_US)


def _quarantine(report: ProjectReport) -> Iterator[Part]:
    found = report.quarantine
    totals: Mapping[str, int] = {view: sum(days.values()) for view, days in found.facts.items()}
    if not totals:
        yield Text("No fact was put apart within the last 30 days.", "good")
    else:
        ordered = sorted(totals, key=lambda view: (-totals[view], view))
        yield Table(["view", "facts within the last 30 days"], [[view, totals[view]] for view in ordered])
        yield Grid([_days(view, found.facts[view]) for view in ordered[:_MOST_QUARANTINES]], is_wide=True)
    if found.uncounted:
        yield Text(f"{found.uncounted:,} more files were not counted.", "bad")


def _days(view: str, days: Mapping[int, int]) -> Part:
    """The facts of each day of one view."""
    ordered = sorted(days)
    bars = Bars([from_us(day).date().isoformat() for day in ordered], [days[day] for day in ordered])
    return Captioned(f"{view}: facts put apart", bars)
