"""The report of ``verify`` as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiffin.quality.page import Bars, Figures, Page, Part, Section, Table, Text
from tiffin.quality.skew import FeatureSkew
from tiffin.quality.skew_causes import evidence
from tiffin.quality.verify import ServiceVerification, Verification
from tiffin.time import format_us

#: Mismatches that are shown; the result has more of them.
_SHOWN = 100
_COLUMNS = (
    "feature",
    "kind",
    "cause",
    "entity",
    "log_timestamp",
    "served",
    "expected",
    "served_event",
    "expected_event",
)


def verification_page(project: str, found: Verification) -> Page:
    """The page of a verification.

    Args:
        project: the project's name.
        found: what was found.
    """
    parts: list[Part] = [Text(found.verdict, "good" if found.is_ok else "bad")]
    parts += [part for service in found.services for part in _service(service)]
    allowed = f"at most {found.max_mismatch:.4%} of the values of a feature may differ"
    return Page(f"Served against training: {project}", parts, allowed)


def _service(service: ServiceVerification) -> Iterator[Part]:
    figures = [
        ("vectors", service.rows),
        ("values compared", service.compared),
        ("values that differ", service.different),
    ]
    parts: list[Part] = [Figures(figures)]
    if service.first_us is not None and service.last_us is not None:
        parts.append(Text(f"served from {format_us(service.first_us)} to {format_us(service.last_us)}", "soft"))
    parts += [Text(f"{problem.file}: {problem.reason}", "bad") for problem in service.problems]
    if service.no_history:
        parts.append(Text(f"without a history, and not compared: {', '.join(service.no_history)}", "bad"))
    if service.newer_rows:
        parts.append(Text(f"{service.newer_rows:,} row(s) are of definitions that the registry does not have", "bad"))
    parts.append(_features("feature", service.features))
    if service.inputs:
        parts.append(_features("computed from", service.inputs))
    yield Section(service.service, parts)
    if not service.different:
        return
    causes = service.causes
    rows = [[cause, cells, evidence(cause)] for cause, cells in causes.items()]
    bars = Bars(list(causes), list(causes.values()))
    yield Section(f"{service.service}: why", [bars, Table(["cause", "values", "evidence"], rows)])
    measured = [feature for feature in service.features if feature.spread is not None and feature.spread.count]
    if measured:
        yield Section(f"{service.service}: by how much", [part for feature in measured for part in _spread(feature)])
    kept = service.mismatches.slice(0, _SHOWN).select(_COLUMNS).to_pylist()
    table = Table([name.replace("_", " ") for name in _COLUMNS], [list(row.values()) for row in kept])
    yield Section(f"{service.service}: the first {len(kept)} of them", [table])


def _features(title: str, features: Sequence[FeatureSkew]) -> Table:
    columns = ["compared", "equal", "mismatching", "missing", "extra", "not_logged"]
    rows = [[each.feature, each.dtype, *(getattr(each, name) for name in columns)] for each in features]
    return Table([title, "type", *(name.replace("_", " ") for name in columns)], rows)


def _spread(feature: FeatureSkew) -> Iterator[Part]:
    spread = feature.spread
    assert spread is not None
    decades = sorted(spread.decades)
    yield Text(f"{feature.feature}: {spread.unit}, mean {spread.mean:.6g}, largest {spread.largest:.6g}")
    yield Bars([f"from 1e{power}" for power in decades], [spread.decades[power] for power in decades])
