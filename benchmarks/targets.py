"""Targets, and the plain words that say whether they are met.

A target reads the results of its cell only, so a ratio is always between two numbers of one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmarks.case import Result

Measure = Literal[
    "p50",
    "p99",
    "peak_bytes",
    "rows_per_second",
    "heavy_modules",
    "entity_bytes",
    "resident_bytes",
    "ready_seconds",
    "cpu_seconds",
]


@dataclass(frozen=True)
class Verdict:
    """A target as text, whether it is met (None: cannot be told), and the words for it."""

    target: str
    met: bool | None
    words: str

    def to_json(self) -> Mapping[str, object]:
        """A plain mapping."""
        return {"target": self.target, "met": self.met, "words": self.words}


def format_measure(measure: Measure, value: float) -> str:
    """A measured value with a unit that reads well."""
    if measure in ("peak_bytes", "resident_bytes"):
        return f"{value / 1e9:.2f} GB" if value >= 1e8 else f"{value / 1e6:.0f} MB"
    if measure == "rows_per_second":
        return f"{value:,.0f} rows/s"
    if measure == "heavy_modules":
        return f"{value:.0f} heavy modules"
    if measure == "entity_bytes":
        return f"{value:,.0f} bytes per entity"
    return format_seconds(value)


def format_seconds(seconds: float) -> str:
    """Seconds, milliseconds or microseconds with three digits.

    >>> format_seconds(0.0000141), format_seconds(1.7), format_seconds(0.031)
    ('14.1 us', '1.70 s', '31.0 ms')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def measured(result: Result | None, measure: Measure) -> float | None:
    """The value of a measure, or None where there is none."""
    if result is None or not result.is_measured:
        return None
    if measure == "peak_bytes":
        return float(result.peak_bytes)
    if measure == "rows_per_second":
        return result.rows_per_second
    if measure == "heavy_modules":
        return float(len(result.facts.get("heavy_modules", ())))
    if measure in ("entity_bytes", "resident_bytes", "ready_seconds", "cpu_seconds"):
        return float(result.facts[measure])
    return result.seconds[measure]


def best_limit(results: Sequence[Result]) -> Result | None:
    """The fastest of the sides written by hand."""
    limits = [result for result in results if result.role == "limit" and result.is_measured]
    return min(limits, key=lambda result: result.seconds["p50"]) if limits else None


def tiffin_of(results: Sequence[Result]) -> Result | None:
    """The side under judgement: the first of tiffin's in the cell."""
    return next((result for result in results if result.role == "tiffin"), None)


@dataclass(frozen=True)
class Target:
    """Something to reach, judged over the results of one cell."""

    def judge(self, results: Sequence[Result]) -> Verdict:
        """Says whether it is met."""
        raise NotImplementedError


@dataclass(frozen=True)
class AtMost(Target):
    """A measure of tiffin's is at most `value`."""

    measure: Measure
    value: float

    def judge(self, results: Sequence[Result]) -> Verdict:
        """Says whether it is met."""
        text = f"<= {format_measure(self.measure, self.value)}"
        return _judged(text, results, self.measure, lambda seen: seen <= self.value)


@dataclass(frozen=True)
class AtLeast(Target):
    """A measure of tiffin's is at least `value`."""

    measure: Measure
    value: float

    def judge(self, results: Sequence[Result]) -> Verdict:
        """Says whether it is met."""
        text = f">= {format_measure(self.measure, self.value)}"
        return _judged(text, results, self.measure, lambda seen: seen >= self.value)


@dataclass(frozen=True)
class WithinLimit(Target):
    """tiffin's median is at most `factor` times that of the best side written by hand."""

    factor: float

    def judge(self, results: Sequence[Result]) -> Verdict:
        """Says whether it is met."""
        text = f"<= {self.factor:g}x the raw limit"
        limit, seen = best_limit(results), measured(tiffin_of(results), "p50")
        if limit is None or seen is None:
            return Verdict(text, None, "not measured")
        ratio = seen / limit.seconds["p50"]
        return Verdict(text, ratio <= self.factor, f"{ratio:.2f}x")


@dataclass(frozen=True)
class OverLimit(Target):
    """tiffin's median is at most `seconds` more than that of the best side written by hand."""

    seconds: float

    def judge(self, results: Sequence[Result]) -> Verdict:
        """Says whether it is met."""
        text = f"<= {format_seconds(self.seconds)} over the raw limit"
        limit, seen = best_limit(results), measured(tiffin_of(results), "p50")
        if limit is None or seen is None:
            return Verdict(text, None, "not measured")
        more = seen - limit.seconds["p50"]
        return Verdict(text, more <= self.seconds, format_seconds(max(more, 0.0)))


@dataclass(frozen=True)
class AheadOf(Target):
    """tiffin is at least `factor` times as fast as another side, where that side finishes."""

    side: str
    factor: float = 1.0

    def judge(self, results: Sequence[Result]) -> Verdict:
        """Says whether it is met."""
        text = f"ahead of {self.side}" if self.factor == 1 else f">= {self.factor:g}x as fast as {self.side}"
        other = next((result for result in results if result.side == self.side), None)
        seen, theirs = measured(tiffin_of(results), "p50"), measured(other, "p50")
        if seen is None or other is None:
            return Verdict(text, None, "not measured")
        if theirs is None:
            return Verdict(text, None, f"{self.side}: {other.outcome}")
        return Verdict(text, theirs / seen >= self.factor, f"{theirs / seen:.1f}x")


@dataclass(frozen=True)
class ShareOf(Target):
    """A measure of tiffin's is at most `share` of that of another side."""

    side: str
    measure: Measure
    share: float

    def judge(self, results: Sequence[Result]) -> Verdict:
        """Says whether it is met."""
        text = f"<= {self.share:.3g} of {self.side}'s"
        other = next((result for result in results if result.side == self.side), None)
        seen, theirs = measured(tiffin_of(results), self.measure), measured(other, self.measure)
        if seen is None or theirs is None:
            return Verdict(text, None, "not measured")
        words = f"{seen / theirs:.2f}, {format_measure(self.measure, seen)} and {format_measure(self.measure, theirs)}"
        return Verdict(text, seen / theirs <= self.share, words)


def _judged(text: str, results: Sequence[Result], measure: Measure, holds: Holds) -> Verdict:
    seen = measured(tiffin_of(results), measure)
    if seen is None:
        return Verdict(text, None, "not measured")
    return Verdict(text, holds(seen), format_measure(measure, seen))


if TYPE_CHECKING:
    from collections.abc import Callable

    Holds = Callable[[float], bool]
