"""Drift as ``quality.drift`` declares it: which views are looked at, in which period, against what.

A period is profiled once, when it is over, and its profile is kept. What was found is kept as well, so that a run every
few minutes reads no profile and computes no distance again while the period is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tiffin.config import FIRST, DriftConfig
from tiffin.definitions.thresholds import Thresholds
from tiffin.errors import EmptyPeriodError, TiffinError
from tiffin.quality.drift import ColumnDrift, DriftReport
from tiffin.quality.files import monitor_file, replace_file
from tiffin.quality.history import KeptProfile, keep_profile, list_kept, read_profile
from tiffin.quality.profiles import period_words
from tiffin.quality.profiling import profile_online, profile_view
from tiffin.quality.references import ONLINE, find_drift, kept_reference

if TYPE_CHECKING:
    from tiffin.operations.context import Context

log = logging.getLogger("tiffin.drift")

#: What stands for all views that have no entry of their own.
EVERY = "*"
OFFLINE = "offline"


@dataclass(frozen=True)
class Watched:
    """A view, and how it is looked at.

    Attributes:
        view: its name.
        declared: the entry of the settings.
    """

    view: str
    declared: DriftConfig

    @property
    def of(self) -> str:
        """What is profiled: ``offline`` or ``online``."""
        return ONLINE if self.declared.online else OFFLINE

    @property
    def subject(self) -> str:
        """What findings are about."""
        return f"feature view {self.view}" + (" as served" if self.declared.online else "")


class Outcome(msgspec.Struct, frozen=True):
    """What was found of one view.

    Attributes:
        view: its name.
        of: ``offline`` or ``online``.
        against: what it is held to, as it is declared.
        reference: the file with the profile of the reference.
        current: the file with the profile that was compared.
        since_us, until_us: the period of that.
        wanted: which features are asked for; all when empty.
        thresholds: by what it is judged.
        columns: the features; none while there is nothing yet to compare with.
    """

    view: str
    of: str
    against: str
    reference: str
    current: str
    since_us: int
    until_us: int
    wanted: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()
    columns: tuple[ColumnDrift, ...] = ()

    @property
    def period(self) -> str:
        """What was compared, in words."""
        return period_words(self.of, self.since_us, self.until_us)

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The features that have drifted."""
        return tuple(each for each in self.columns if each.beyond)

    def with_columns(self, columns: tuple[ColumnDrift, ...]) -> Outcome:
        """The same comparison with another result."""
        return msgspec.structs.replace(self, columns=columns)


@dataclass(frozen=True)
class DriftLook:
    """What became of looking at one view.

    Attributes:
        watched: the view.
        outcome: what was found: of the newest profile where the period has none, before where it cannot be compared.
        problem: why it cannot be looked at as it should.
    """

    watched: Watched
    outcome: Outcome | None
    problem: TiffinError | None = None


def watched_views(ctx: Context) -> list[Watched]:
    """The views that ``quality.drift`` names, in its order, and those that its ``*`` stands for."""
    declared = ctx.config.quality.drift
    found = [Watched(each.view, each) for each in declared if each.view != EVERY]
    for every in (each for each in declared if each.view == EVERY):
        named = {each.view for each in found if each.declared.online == every.online}
        found += [Watched(name, every) for name in _views_of(ctx, every) if name not in named]
    return found


def look_at_drift(ctx: Context) -> list[DriftLook]:
    """Look at all views that are watched; one that cannot be looked at does not hide the others.

    Raises:
        StoreError: what was found cannot be kept.
    """
    book = known_outcomes(ctx)
    looks = [_look(ctx, each, book.get(each.subject)) for each in watched_views(ctx)]
    found = {each.watched.subject: each.outcome for each in looks if each.outcome is not None}
    if found != book:
        replace_file(_book(ctx), msgspec.json.encode(found))
    return looks


def known_outcomes(ctx: Context) -> Mapping[str, Outcome]:
    """What was found when somebody looked last, by subject."""
    path = _book(ctx)
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Outcome])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s cannot be used: %s; what it said is computed again", path, error)
        return {}


def compare_kept(
    ctx: Context, view: str, reference: Path, current: Path, declared: DriftConfig | None = None
) -> DriftReport:
    """Compare two profiles in files.

    Args:
        ctx: the opened project.
        view: whose they are.
        reference: the file of what is compared with.
        current: the file of what is compared.
        declared: which columns, and what counts as drift; all, and the defaults, when left out.

    Raises:
        NotFoundError: the view or a named column is not there.
        RequestError: there is no column in common.
        StoreError: a file cannot be read.
    """
    columns, thresholds = (declared.columns, declared.thresholds) if declared is not None else ([], None)
    return find_drift(ctx, view, read_profile(reference), read_profile(current), columns or None, thresholds)


def _book(ctx: Context) -> Path:
    return monitor_file(ctx, "drift.json")


def _look(ctx: Context, watched: Watched, known: Outcome | None) -> DriftLook:
    """Look at one view; what was found before stands until it can be looked at again."""
    problem = None
    try:
        ctx.snapshot().view(watched.view)
    except TiffinError as error:
        return DriftLook(watched, None, error)
    try:
        current = _current(ctx, watched)
    except TiffinError as error:
        # A view that nobody named may well have no facts in a period.
        if watched.declared.view != EVERY or not isinstance(error, EmptyPeriodError):
            problem = error
        kept = list_kept(ctx, watched.view, watched.of)
        if not kept:
            return DriftLook(watched, known, problem)
        current = kept[-1]
    try:
        return DriftLook(watched, _judged(ctx, watched, current, known), problem)
    except TiffinError as error:
        return DriftLook(watched, known, problem or error)


def _current(ctx: Context, watched: Watched) -> KeptProfile:
    """The profile of the last period that is over, or of what is served in this one; computed if nobody has yet."""
    declared, now_us = watched.declared, ctx.now_us()
    if declared.online:
        start_us = now_us // declared.period_us * declared.period_us
        found = [each for each in list_kept(ctx, watched.view, ONLINE) if each.taken_us >= start_us]
        return found[-1] if found else keep_profile(ctx, profile_online(ctx, watched.view))
    until_us = (now_us - declared.wait_us) // declared.period_us * declared.period_us
    since_us = until_us - declared.period_us
    period = since_us, until_us
    # One that was computed before all facts were there is none.
    found = [
        each
        for each in list_kept(ctx, watched.view, OFFLINE)
        if (each.since_us, each.until_us) == period and each.taken_us >= until_us + declared.wait_us
    ]
    return found[-1] if found else keep_profile(ctx, profile_view(ctx, watched.view, *period))


def _judged(ctx: Context, watched: Watched, current: KeptProfile, known: Outcome | None) -> Outcome:
    declared = watched.declared
    reference = _reference(ctx, watched)
    found = Outcome(
        view=watched.view,
        of=watched.of,
        against=declared.reference,
        reference=str(reference),
        current=str(current.path),
        since_us=current.since_us,
        until_us=current.until_us,
        wanted=tuple(declared.columns),
        thresholds=declared.thresholds,
    )
    if known is not None and known.with_columns(()) == found:
        return known
    if reference == current.path:
        return found
    return found.with_columns(compare_kept(ctx, watched.view, reference, current.path, declared).columns)


def _reference(ctx: Context, watched: Watched) -> Path:
    declared = watched.declared
    if declared.reference == FIRST:
        return list_kept(ctx, watched.view, watched.of)[0].path
    return kept_reference(ctx, watched.view, declared.reference_period or declared.reference)


def _views_of(ctx: Context, every: DriftConfig) -> list[str]:
    """The views that ``*`` stands for: those that are served, or have a history, and are in the reference."""
    snapshot = ctx.snapshot()
    has_store = ctx.config.online_store is not None
    found = [
        name
        for name, view in sorted(snapshot.views.items())
        if view.enabled and (view.online and has_store if every.online else view.batch_source is not None)
    ]
    if every.reference not in snapshot.names("saved dataset"):
        return found
    features = snapshot.saved_dataset(every.reference).features
    there = {each.partition(":")[0].partition("@")[0] for each in features}
    return [name for name in found if name in there]
