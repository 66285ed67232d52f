"""What a report says of drift: every view that was compared, and the most drifted ones in full.

It computes no profile: it reads what was found, and a bounded number of profiles that were kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiffin.config import FIRST
from tiffin.errors import TiffinError
from tiffin.quality.drift import ColumnDrift, compare_profiles
from tiffin.quality.drift_watch import OFFLINE, Outcome, compare_kept, known_outcomes
from tiffin.quality.histograms import Distribution, distribution
from tiffin.quality.history import KeptProfile, list_kept, read_profile
from tiffin.quality.profiles import Profile
from tiffin.quality.references import ONLINE
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.operations.context import Context

#: Views that are shown in full, features of each, and periods of its trend.
MOST_VIEWS, MOST_COLUMNS, MOST_PERIODS = 12, 8, 24
#: Views that nobody watches and whose kept profiles are compared all the same.
MOST_UNWATCHED = 40


@dataclass(frozen=True)
class DriftPoint:
    """One period of a trend.

    Attributes:
        profile: of the period, without its columns.
        psi: feature to its distance from the reference, where it has one.
        null_share: feature to the share of nulls.
    """

    profile: Profile
    psi: Mapping[str, float]
    null_share: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        header = _header(self.profile)
        return {**header, "psi": dict(self.psi), "null_share": dict(self.null_share)}


@dataclass(frozen=True)
class DriftDetails:
    """A view in full.

    Attributes:
        reference, current: the two profiles, without their columns.
        distributions: feature to its values then and now, the most drifted first.
        trend: the periods that were kept, the oldest first.
    """

    reference: Profile
    current: Profile
    distributions: Mapping[str, Distribution]
    trend: tuple[DriftPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "reference": _header(self.reference),
            "current": _header(self.current),
            "distributions": {name: each.to_dict() for name, each in self.distributions.items()},
            "trend": [each.to_dict() for each in self.trend],
        }


@dataclass(frozen=True)
class ViewDrift:
    """A view that was compared.

    Attributes:
        outcome: what was found.
        details: ``None`` where others are more drifted.
        problem: why there are none although they are wanted.
    """

    outcome: Outcome
    details: DriftDetails | None = None
    problem: str = ""

    @property
    def columns(self) -> list[ColumnDrift]:
        """Its features, the most drifted first."""
        return sorted(self.outcome.columns, key=lambda each: (not each.beyond, -psi_of(each), each.column))

    @property
    def urgency(self) -> tuple[float, float, str]:
        """The most drifted views are the least ones."""
        greatest = max(map(psi_of, self.outcome.columns), default=0.0)
        return -len(self.outcome.drifted), -greatest, f"{self.outcome.view} {self.outcome.of}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        outcome = self.outcome
        return {
            "view": outcome.view,
            "of": outcome.of,
            "reference": outcome.against,
            "since": format_us(outcome.since_us),
            "until": format_us(outcome.until_us),
            "thresholds": asdict(outcome.thresholds),
            "drifted": [each.column for each in self.columns if each.beyond],
            "columns": [each.to_dict() for each in self.columns],
            "details": None if self.details is None else self.details.to_dict(),
            "problem": self.problem,
        }


def psi_of(column: ColumnDrift) -> float:
    """The population stability index; 0 where there is none."""
    return column.distances["psi"].value if "psi" in column.distances else 0.0


def drift_of_views(ctx: Context) -> list[ViewDrift]:
    """All views that are watched, or of which profiles were kept; the most drifted first, and in full."""
    known = known_outcomes(ctx)
    found = sorted([*map(ViewDrift, known.values()), *_unwatched(ctx, known)], key=lambda each: each.urgency)
    return [*(_in_full(ctx, each) for each in found[:MOST_VIEWS]), *found[MOST_VIEWS:]]


def _unwatched(ctx: Context, known: Mapping[str, Outcome]) -> Iterator[ViewDrift]:
    """Views that nobody watches: the last profile that was kept, held to the first."""
    watched = {(each.view, each.of) for each in known.values()}
    left = MOST_UNWATCHED
    for view in ctx.snapshot().names("feature view"):
        for of in (OFFLINE, ONLINE):
            kept = list_kept(ctx, view, of) if left and (view, of) not in watched else []
            if len(kept) < 2:
                continue
            left -= 1
            first, last = kept[0], kept[-1]
            found = Outcome(view, of, FIRST, str(first.path), str(last.path), last.since_us, last.until_us)
            try:
                yield ViewDrift(found.with_columns(compare_kept(ctx, view, first.path, last.path).columns))
            except TiffinError as error:
                yield ViewDrift(found, problem=error.message)


def _in_full(ctx: Context, found: ViewDrift) -> ViewDrift:
    outcome = found.outcome
    if not outcome.columns:
        return found
    try:
        reference, current = (read_profile(Path(path)) for path in (outcome.reference, outcome.current))
        names = [each.column for each in found.columns[:MOST_COLUMNS]]
        shown = {name: distribution(reference.column(name), current.column(name)) for name in names}
        trend = tuple(_point(reference, each.read(), names) for each in _periods(ctx, outcome))
    except TiffinError as error:
        return replace(found, problem=error.message)
    details = DriftDetails(replace(reference, columns={}), replace(current, columns={}), shown, trend)
    return replace(found, details=details)


def _periods(ctx: Context, outcome: Outcome) -> list[KeptProfile]:
    """The last profiles of a view that are of periods as long as this one, one of each."""
    length_us = outcome.until_us - outcome.since_us
    kept = list_kept(ctx, outcome.view, outcome.of)
    by_period = {each.since_us: each for each in kept if each.until_us - each.since_us == length_us}
    return list(by_period.values())[-MOST_PERIODS:]


def _point(reference: Profile, profile: Profile, names: list[str]) -> DriftPoint:
    there = [name for name in names if name in profile.columns]
    compared = compare_profiles(reference, profile, there).columns if there else ()
    psi = {each.column: psi_of(each) for each in compared if "psi" in each.distances and isfinite(psi_of(each))}
    return DriftPoint(replace(profile, columns={}), psi, {name: profile.column(name).null_share for name in there})


def _header(profile: Profile) -> dict[str, Any]:
    return {name: part for name, part in profile.to_dict().items() if name != "columns"}
