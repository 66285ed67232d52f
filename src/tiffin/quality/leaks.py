"""Whether a training set knows what nobody knew at its times, and how much of it is there at all.

A join cannot leak by itself: it gives values as of each row's time. But the times may lie. A fact may have been written
down later than its event time says; a source may stamp the outcome with the time of the event that led to it. What
gives such features away is how well they tell the label, and how suddenly (Kaufman, Rosset and Perlich, *Leakage in
data mining*, 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tiffin.errors import InputError, RequestError, ValidationError, nearest
from tiffin.quality.association import association, presence

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.contracts.offline import ViewReport
    from tiffin.operations.retrieve import RetrievalJob


@dataclass(frozen=True)
class LeakLimits:
    """What is allowed, each from 0 to 1.

    Attributes:
        known_later: the share of a view's rows that use a fact known only after the row's time.
        expired: the share whose newest fact is older than the ttl.
        missing: the share without any fact.
        strength: how strongly a feature, or whether it is there, may go together with the label.
        jump: how much stronger that may be at the row's time than ``before`` it.
    """

    known_later: float = 0.0
    expired: float = 1.0
    missing: float = 1.0
    strength: float = 0.98
    jump: float = 0.5

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise RequestError(f"the limit {name} is {value}", subject=name, hint="give a share from 0 to 1")


@dataclass(frozen=True)
class Leak:
    """One thing that is not as it is allowed to be.

    Attributes:
        kind: ``known_later``, ``expired``, ``missing``, ``strength``, ``presence`` or ``jump``.
        subject: the view or the feature.
        found: the share or the strength.
        limit: what is allowed.
    """

    kind: str
    subject: str
    found: float
    limit: float

    def __str__(self) -> str:
        return f"{self.subject}: {_WORDS[self.kind].format(_percent(self.found), _percent(self.limit))}"


_WORDS = {
    "known_later": "{} of its rows use a fact that was known only after their time",
    "expired": "the newest fact of {} of its rows is older than the ttl",
    "missing": "{} of its rows have no fact",
    "strength": "tells {} of the label; at most {} is believed to be honest",
    "presence": "whether it is there tells {} of the label; at most {} is believed to be honest",
    "jump": "tells {} more of the label at a row's time than shortly before",
}


@dataclass(frozen=True)
class FeatureStrength:
    """How a feature goes together with the label.

    Attributes:
        feature: its column.
        strength: of its values, from 0 to 1; ``None`` where nothing can be said.
        presence: of whether it is there.
        before: its strength as of some time before each row; ``None`` where that was not asked for, too.
    """

    feature: str
    strength: float | None
    presence: float | None
    before: float | None = None


@dataclass(frozen=True)
class LeakReport:
    """What was looked at, and what was found.

    Attributes:
        views: what became of the cells of each view.
        features: how each feature goes together with the label; none where no label was named.
        leaks: what is not as it is allowed to be.
    """

    views: tuple[ViewReport, ...]
    features: tuple[FeatureStrength, ...]
    leaks: tuple[Leak, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "views": [asdict(view) for view in self.views],
            "features": [asdict(feature) for feature in self.features],
            "leaks": [asdict(leak) for leak in self.leaks],
        }

    def raise_if_leaking(self) -> None:
        """Refuse the training set.

        Raises:
            ValidationError: something was found; says what.
        """
        if self.leaks:
            more = f", and {len(self.leaks) - 3} more" if len(self.leaks) > 3 else ""
            raise ValidationError(
                f"the training set may leak: {'; '.join(map(str, self.leaks[:3]))}{more}",
                hint="look at the times of these sources; LeakLimits allows more",
            )


def check_leaks(
    job: RetrievalJob,
    label: str | None = None,
    *,
    before: timedelta | None = None,
    limits: LeakLimits | None = None,
) -> LeakReport:
    """Look at a training set.

    Args:
        job: the retrieval; it is run if it was not.
        label: the column of the entity rows that a model is to tell. Without it only views are looked at.
        before: join everything a second time, as of so long before each row's time: a feature that tells the label
            then much worse has learned it in between.
        limits: what is allowed; the usual when left out.

    Raises:
        InputError: there is no such column, or it has one value only.
        RequestError: ``before`` without a label, or not in the past.
    """
    limits = limits or LeakLimits()
    if before is not None and (label is None or before <= timedelta(0)):
        hint = "name the label" if label is None else "pass a positive timedelta"
        raise RequestError("before says as of when a feature is compared with the label", hint=hint)
    views = job.report.views
    leaks = [leak for view in views for leak in _of_view(view, limits)]
    features: tuple[FeatureStrength, ...] = ()
    if label is not None:
        table = job.to_arrow()
        features = _strengths(table, label, job.feature_names, job.earlier(before).to_arrow() if before else None)
        leaks += [leak for feature in features for leak in _of_feature(feature, limits)]
    return LeakReport(views, features, tuple(leaks))


def _of_view(view: ViewReport, limits: LeakLimits) -> list[Leak]:
    counts = {"known_later": view.known_later, "expired": view.expired, "missing": view.missing}
    shares = {kind: count / view.rows if view.rows else 0.0 for kind, count in counts.items()}
    return [
        Leak(kind, view.view, share, getattr(limits, kind))
        for kind, share in shares.items()
        if share > getattr(limits, kind)
    ]


def _of_feature(feature: FeatureStrength, limits: LeakLimits) -> list[Leak]:
    found = []
    for kind, value in (("strength", feature.strength), ("presence", feature.presence)):
        if value is not None and value > limits.strength:
            found.append(Leak(kind, feature.feature, value, limits.strength))
    if feature.strength is not None and feature.before is not None:
        jump = feature.strength - feature.before
        if jump > limits.jump:
            found.append(Leak("jump", feature.feature, jump, limits.jump))
    return found


def _strengths(
    table: pa.Table, label: str, names: Sequence[str], earlier: pa.Table | None
) -> tuple[FeatureStrength, ...]:
    if label not in table.column_names or label in names:
        what = "is a feature" if label in names else "is no column of the entity rows"
        others = [name for name in table.column_names if name not in names]
        raise InputError(f"the label {label!r} {what}", subject=label, hint=nearest(label, others))
    target = table[label]
    if len(target.unique().drop_null()) < 2:
        raise InputError(f"the label {label!r} has one value only, so nothing can tell it", subject=label)
    return tuple(
        FeatureStrength(
            name,
            association(table[name], target),
            presence(table[name], target),
            None if earlier is None else _or_nothing(association(earlier[name], target)),
        )
        for name in names
    )


def _or_nothing(strength: float | None) -> float:
    """A feature that was not there before, or was always the same, told nothing."""
    return 0.0 if strength is None else strength


def _percent(share: float) -> str:
    return f"{share:.1%}"
