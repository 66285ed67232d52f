"""Drift: whether columns are like those of a reference, from two profiles.

Profiles of tables that were made with ``exact`` give exact distances. Those that are kept have intervals instead of
numbers; the distances that depend on what is within an interval come with a bound. Bins are made of whole intervals,
so what is computed from bins is exact for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tiffin.definitions.thresholds import Thresholds as Thresholds
from tiffin.errors import RequestError
from tiffin.quality.buckets import Int64Array
from tiffin.quality.distances import (
    Distance,
    binned,
    chi_square,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability,
    wasserstein,
)
from tiffin.quality.profiles import ColumnProfile, Profile

#: Of fewer values, distances say more about chance than about drift.
_LEAST_VALUES = 50


@dataclass(frozen=True)
class ColumnDrift:
    """How far one column is from the reference.

    Attributes:
        column: its name.
        distances: ``psi``, ``jensen_shannon``, ``chi_square`` (the p-value) and ``null_share`` (now less then); of
            numbers also ``kolmogorov_smirnov`` and ``wasserstein`` (in standard deviations of the reference).
        beyond: those of them that are beyond their threshold; ``type`` where the column is of another kind now.
        note: why distances are missing, or not judged.
    """

    column: str
    distances: Mapping[str, Distance]
    beyond: tuple[str, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        distances = {
            name: {"value": _or_none(each.value), "bound": _or_none(each.bound)}
            for name, each in self.distances.items()
        }
        return {"column": self.column, "distances": distances, "beyond": list(self.beyond), "note": self.note}


@dataclass(frozen=True)
class DriftReport:
    """How far columns are from a reference.

    Attributes:
        reference, current: the two profiles.
        columns: what was compared.
        thresholds: by what it was judged.
    """

    reference: Profile
    current: Profile
    columns: tuple[ColumnDrift, ...]
    thresholds: Thresholds

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that have drifted."""
        return tuple(each.column for each in self.columns if each.beyond)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        sides = {
            side: {name: part for name, part in profile.to_dict().items() if name != "columns"}
            for side, profile in (("reference", self.reference), ("current", self.current))
        }
        return {
            **sides,
            "drifted": list(self.drifted),
            "columns": [each.to_dict() for each in self.columns],
            "thresholds": asdict(self.thresholds),
        }


def compare_profiles(
    reference: Profile,
    current: Profile,
    columns: Sequence[str] | None = None,
    thresholds: Thresholds | None = None,
) -> DriftReport:
    """How far columns are from a reference.

    Args:
        reference: how it should be.
        current: how it is.
        columns: which; all that both have, but for times, when left out.
        thresholds: what counts as drift.

    Raises:
        NotFoundError: a column is named that one of the two lacks.
        RequestError: they have no column in common.
    """
    thresholds = thresholds or Thresholds()
    names = columns if columns is not None else _common(reference, current)
    if not names:
        raise RequestError(
            f"the reference {reference.subject} and {current.subject} have no column in common, times left out",
            subject=current.subject,
            hint=f"the reference has {', '.join(reference.columns)}; compared with {', '.join(current.columns)}",
        )
    pairs = [(reference.column(name), current.column(name)) for name in names]
    compared = tuple(_compared(one, other, thresholds) for one, other in pairs)
    return DriftReport(reference, current, compared, thresholds)


def _common(reference: Profile, current: Profile) -> list[str]:
    """The columns of both; times move on by themselves."""
    return [name for name, column in current.columns.items() if name in reference.columns and column.kind != "time"]


def _compared(reference: ColumnProfile, current: ColumnProfile, thresholds: Thresholds) -> ColumnDrift:
    distances = {"null_share": Distance(current.null_share - reference.null_share)}
    if reference.kind != current.kind:
        note = f"it is {current.dtype} now, and {reference.dtype} in the reference"
        return ColumnDrift(current.name, distances, ("type",), note)
    counts = [column.rows - column.nulls for column in (reference, current)]
    note = ""
    if current.kind == "other":
        note = f"of {current.dtype}, only nulls are compared"
    elif min(counts) == 0:
        note = "it has no values " + ("in the reference" if counts[0] == 0 else "now")
    else:
        distances |= _distances(reference, current)
    beyond = _beyond(distances, thresholds)
    if 0 < min(counts) < _LEAST_VALUES:
        note = f"only {min(counts)} values: only nulls are judged"
        beyond = tuple(name for name in beyond if name == "null_share")
    return ColumnDrift(current.name, distances, beyond, note)


def _distances(reference: ColumnProfile, current: ColumnProfile) -> dict[str, Distance]:
    is_text = current.kind == "text"
    one, two = _text_counts(reference, current) if is_text else _number_counts(reference, current)
    found = {
        "psi": Distance(population_stability(one, two)),
        "jensen_shannon": Distance(jensen_shannon(one, two)),
        "chi_square": Distance(chi_square(one, two)[1]),
    }
    if not is_text and reference.buckets.total and current.buckets.total:
        found["kolmogorov_smirnov"] = kolmogorov_smirnov(reference.buckets, current.buckets)
        moved = wasserstein(reference.buckets, current.buckets)
        if 0 < reference.std < float("inf") and np.isfinite(moved.value):
            found["wasserstein"] = Distance(moved.value / reference.std, moved.bound / reference.std)
    return found


def _number_counts(reference: ColumnProfile, current: ColumnProfile) -> tuple[Int64Array, Int64Array]:
    """Numbers in bins; NaN in one of its own."""
    if reference.buckets.total and current.buckets.total:
        one, two = binned(reference.buckets, current.buckets)
    else:
        one, two = (np.array([part.buckets.total], np.int64) for part in (reference, current))
    return np.append(one, reference.nans), np.append(two, current.nans)


def _text_counts(reference: ColumnProfile, current: ColumnProfile) -> tuple[Int64Array, Int64Array]:
    """Each text by itself, and those together that are not kept one by one."""
    counts = [dict(part.texts.counts) for part in (reference, current)]
    values = list(dict.fromkeys([*counts[0], *counts[1]]))
    one, two = (
        np.array([*(each.get(value, 0) for value in values), part.texts.rest], np.int64)
        for each, part in zip(counts, (reference, current), strict=True)
    )
    return one, two


def _beyond(distances: Mapping[str, Distance], thresholds: Thresholds) -> tuple[str, ...]:
    found = []
    for name, distance in distances.items():
        limit = thresholds.of(name)
        if limit is None:
            continue
        if distance.value < limit if name == "chi_square" else abs(distance.value) > limit:
            found.append(name)
    return tuple(found)


def _or_none(number: float) -> float | None:
    return number if np.isfinite(number) else None
