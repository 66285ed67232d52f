"""Two distributions of one column side by side: bins of numbers and times, or the most frequent texts.

Every row of a profile is counted exactly once: in a bin, or beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from tiffin.quality.buckets import FloatArray
from tiffin.quality.profiles import ColumnProfile
from tiffin.quality.scales import nice_step, nice_time_step
from tiffin.time import DAY_US, MAX_US, MIN_US, format_us

#: Bins of numbers, at most about.
_BINS = 24
#: Texts that are shown one by one.
_TEXTS = 10
#: How far numbers that are few may reach beyond the others, as a part of these, and still have bins.
_REACH = 0.5
_NARROWEST = 1e-300
#: Up to here, halves can be told apart.
_GREATEST_EVEN = 2.0**52


@dataclass(frozen=True)
class Side:
    """The rows of one profile.

    Attributes:
        counts: (n,) of the bins or texts.
        beside: those that are in none: ``less``, ``more``, ``others``, ``NaN``, ``null``, ``values``.
    """

    counts: tuple[int, ...]
    beside: Mapping[str, int]

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.counts) + sum(self.beside.values())

    def share(self, count: int) -> float:
        """Which part of all a count is; 0 without rows."""
        return count / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Distribution:
    """How the values of a column are spread, in the reference and now.

    Attributes:
        kind: ``number``, ``time``, ``text`` or ``other``.
        edges: (n + 1,) the ends of bins; each has its first end and not its last.
        texts: (n,) texts instead.
        reference, current: the two sides; the same parts beside the bins, of which one side at least has some.
    """

    kind: str
    edges: tuple[float, ...]
    texts: tuple[str, ...]
    reference: Side
    current: Side

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data; times as texts."""
        edges: Any = [format_us(round(edge)) for edge in self.edges] if self.kind == "time" else list(self.edges)
        bins = {"texts": list(self.texts)} if self.kind == "text" else {"edges": edges}
        sides = {name: getattr(self, name) for name in ("reference", "current")}
        return {
            "kind": self.kind,
            **bins,
            **{name: {"counts": list(side.counts), "beside": dict(side.beside)} for name, side in sides.items()},
        }


def distribution(reference: ColumnProfile, current: ColumnProfile) -> Distribution:
    """Put two profiles of one column side by side; where they are of different kinds, only nulls are told apart."""
    kind = reference.kind if reference.kind == current.kind else "other"
    if kind == "text":
        return _of_texts(reference, current)
    edges = _edges(reference, current) if kind != "other" else np.empty(0)
    sides = []
    for part in (reference, current):
        counts, less, more = _binned(part, edges)
        rest = part.rows - part.nulls - part.nans - sum(counts) - less - more
        sides.append((counts, {"less": less, "more": more, "values": rest, "NaN": part.nans, "null": part.nulls}))
    return _made(kind, edges, (), sides)


def _made(kind: str, edges: FloatArray, texts: tuple[str, ...], sides: list[Any]) -> Distribution:
    there = [name for name in sides[0][1] if any(beside[name] for _, beside in sides)]
    one, two = (Side(tuple(counts), {name: beside[name] for name in there}) for counts, beside in sides)
    return Distribution(kind, tuple(edges.tolist()), texts, one, two)


def _of_texts(reference: ColumnProfile, current: ColumnProfile) -> Distribution:
    """The texts that are most frequent on either side."""
    counted = [dict(part.texts.counts) for part in (reference, current)]
    totals = [max(1, part.texts.total) for part in (reference, current)]

    def greatest_share(text: str) -> float:
        return max(counts.get(text, 0) / total for counts, total in zip(counted, totals, strict=True))

    texts = sorted(counted[0].keys() | counted[1].keys(), key=lambda text: (-greatest_share(text), text))[:_TEXTS]
    sides = []
    for part, counts in zip((reference, current), counted, strict=True):
        shown = [counts.get(text, 0) for text in texts]
        sides.append((shown, {"others": part.rows - part.nulls - sum(shown), "null": part.nulls}))
    return _made("text", np.empty(0), tuple(texts), sides)


def _numbers(profile: ColumnProfile) -> FloatArray:
    """(n,) what each interval of a profile is taken for, ascending."""
    found: FloatArray = np.clip(profile.buckets.numbers, profile.minimum, profile.maximum)
    return found


def _binned(profile: ColumnProfile, edges: FloatArray) -> tuple[list[int], int, int]:
    """How many numbers are in each bin, below all of them, and above."""
    if len(edges) < 2:
        return [], 0, 0
    places = np.searchsorted(edges, _numbers(profile), side="right")
    counts = np.zeros(len(edges) + 1, np.int64)
    np.add.at(counts, places, profile.buckets.counts)
    less, *bins, more = counts.tolist()
    return bins, less, more


def _edges(reference: ColumnProfile, current: ColumnProfile) -> FloatArray:
    """The ends of bins between which most of the numbers of both are; none where there are no finite numbers."""
    ends = [
        (finite[0], *part.quantiles([0.01, 0.99]), finite[-1])
        for part in (reference, current)
        if len(finite := _finite(part))
    ]
    if not ends:
        return np.empty(0)
    lows, firsts, lasts, highs = zip(*ends, strict=True)
    least, most = float(min(lows)), float(max(highs))
    first, last = (min(max(float(end), least), most) for end in (min(firsts), max(lasts)))
    reach = _REACH * (last - first)
    first = least if first - least <= reach else first
    last = most if most - last <= reach else last
    if not isfinite(last - first):
        return np.empty(0)
    is_time = reference.kind == "time"
    is_whole = is_time or all("int" in part.dtype for part in (reference, current))
    width = max((last - first) / _BINS, _NARROWEST)
    if first == last:
        return np.array([first - 0.5, first + 0.5]) if abs(first) < _GREATEST_EVEN else np.empty(0)
    step = nice_time_step(width) if is_time else nice_step(max(width, 1.0) if is_whole else width)
    starts = np.floor(first / step) + np.arange(np.floor(last / step) - np.floor(first / step) + 2)
    # Bins of one whole number each stand around it.
    edges: FloatArray = np.unique(starts * step - (0.5 if is_whole and step == 1 else 0))
    if is_time:
        edges = np.unique(np.clip(edges, MIN_US, MAX_US - DAY_US))
    return edges if np.isfinite(edges).all() else np.empty(0)


def _finite(profile: ColumnProfile) -> FloatArray:
    numbers = _numbers(profile)
    return numbers[np.isfinite(numbers)]
