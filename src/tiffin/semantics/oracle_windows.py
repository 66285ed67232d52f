"""The reference for windowed aggregates: it filters a list of facts and aggregates what is left, in plain Python.

Its invariant is that of `oracle`: plain enough to be checked by eye, and independent of the code that it judges. Floats
are summed by `math.fsum`, variances computed as fractions, lists sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from tiffin.semantics.oracle import Fact, Key, Mode, Row, distinct, known_facts, newest, order
from tiffin.semantics.oracle_estimates import distinct_estimate, percentile_estimate


@dataclass(frozen=True)
class WindowSpec:
    """A windowed aggregate.

    Attributes:
        function: its name.
        column: the field that it is computed from; "*" for the facts themselves.
        window_us: the length of the window; None for everything.
        slide_us: what the old edge is rounded down to a multiple of; None for exact edges.
        offset_us: how long before `t` the window ends.
        n: how many values a list has.
        p: which percentile.
        precision: of an estimate.
        where: whether a fact counts; None for all.
    """

    function: str
    column: str
    window_us: int | None = None
    slide_us: int | None = None
    offset_us: int = 0
    n: int = 1
    p: float = 0.5
    precision: int = 7
    where: Callable[[Row], bool] | None = None


def in_window(spec: WindowSpec, event_ts: int, t: int) -> bool:
    """`t - window < event_ts <= t`, with the old edge rounded down where the window slides, and the offset."""
    until = t - spec.offset_us
    if event_ts > until:
        return False
    if spec.window_us is None:
        return True
    edge = until
    if spec.slide_us is not None:
        edge = math.floor(Fraction(until, spec.slide_us)) * spec.slide_us
    return event_ts > edge - spec.window_us


def window_facts(facts: Iterable[Fact], key: Key, t: int, mode: Mode, spec: WindowSpec) -> list[Fact]:
    """The facts of a window in ORD; in mode `known` only those that were known at `t`.

    Facts that are equal in all of ORD are one. A tombstone takes away what is older than itself (WR-4).
    """
    known = known_facts(facts, key, t, t if mode == "known" else None)
    deleted = newest(fact for fact in known if fact.payload is None)
    found = []
    for fact in distinct(known):
        gone = fact.payload is None or (deleted is not None and order(fact) < order(deleted))
        if not gone and in_window(spec, fact.event_ts, t):
            found.append(fact)
    return found


def window_value(facts: Iterable[Fact], key: Key, t: int, mode: Mode, spec: WindowSpec) -> object:
    """The value of an aggregate at `t`. A key with a null in it has null, whatever the function (PIT-8)."""
    if None in key:
        return None
    values: list[object] = []
    for fact in window_facts(facts, key, t, mode, spec):
        payload = fact.payload
        assert payload is not None
        if spec.where is not None and not spec.where(payload):
            continue
        value = True if spec.column == "*" else payload[spec.column]
        if value is not None:
            values.append(value)
    return aggregate(spec.function, values, spec.n, spec.p, spec.precision)


def aggregate(function: str, values: Sequence[object], n: int = 1, p: float = 0.5, precision: int = 7) -> object:
    """A function of values in ORD. Of no values counts are 0 and all else is null."""
    if function == "count":
        return len(values)
    if function == "count_distinct":
        return len({same(value) for value in values})
    if function == "approx_count_distinct":
        return distinct_estimate(values, precision)
    if not values:
        return None
    if function == "approx_percentile":
        return percentile_estimate([value for value in values if isinstance(value, int | float)], p, precision)
    return _OF_SOME[function](list(values), n)


def same(value: object) -> object:
    """What equal values have in common: every NaN is one value, and zero has no sign."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else ("number", value + 0.0)
    return value


def total(values: Sequence[float]) -> float:
    """The sum of floats, exact and then rounded; beyond the largest double infinite."""
    if any(math.isnan(value) for value in values):
        return math.nan
    infinities = {value for value in values if math.isinf(value)}
    if infinities:
        return sum(infinities)
    try:
        return math.fsum(values)
    except OverflowError:
        return nearest_float(sum(map(Fraction, values), Fraction(0)))


def nearest_float(exact: Fraction) -> float:
    """The nearest double of a fraction; beyond the largest one infinite."""
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _sum(values: list[object], n: int) -> object:
    numbers = [value for value in values if isinstance(value, int | float)]
    return total(numbers) if any(isinstance(value, float) for value in numbers) else sum(numbers)


def _mean(values: list[object], n: int) -> object:
    found = _sum(values, n)
    assert isinstance(found, int | float)
    return float(found) / len(values)


def exact_variance(values: Sequence[float | int], freedom: int) -> Fraction | None:
    """The variance as a fraction: that of a sample for `freedom` 1, of all there is for 0; None for too few values."""
    if len(values) <= freedom:
        return None
    numbers = [Fraction(value) for value in values]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    return sum(((number - mean) ** 2 for number in numbers), Fraction(0)) / (len(numbers) - freedom)


def _variance(freedom: int, root: bool) -> Callable[[list[object], int], object]:
    def spread(values: list[object], n: int) -> object:
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(numbers) > freedom and not all(map(math.isfinite, numbers)):
            return math.nan
        found = exact_variance(numbers, freedom)
        if found is None:
            return None
        return _root(found) if root else nearest_float(found)

    return spread


def _root(square: Fraction) -> float:
    """The root of a fraction: from whole numbers with far more digits than a double has."""
    if square == 0:
        return 0.0
    shift = 2 * max(0, 80 - (square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    whole = math.isqrt((square.numerator << shift) // square.denominator)
    return float(Fraction(whole, 1 << (shift // 2)))


def sort_key(value: object) -> tuple[bool, object, bool]:
    """Values by size: NaN is the greatest, and minus zero comes before zero."""
    if isinstance(value, float):
        if math.isnan(value):
            return (True, 0.0, True)
        return (False, value, math.copysign(1.0, value) > 0)
    return (False, value, True)


def _top(values: list[object], n: int) -> object:
    counts: dict[object, int] = {}
    shown: dict[object, object] = {}
    for value in values:
        counts[same(value)] = counts.get(same(value), 0) + 1
        shown[same(value)] = value + 0.0 if isinstance(value, float) else value
    by_count = sorted(counts, key=lambda one: (-counts[one], sort_key(shown[one])))
    return [{"value": shown[one], "count": counts[one]} for one in by_count[:n]]


_OF_SOME: Mapping[str, Callable[[list[object], int], object]] = {
    "sum": _sum,
    "mean": _mean,
    "min": lambda values, n: min(values, key=sort_key),
    "max": lambda values, n: max(values, key=sort_key),
    "var_samp": _variance(1, root=False),
    "var_pop": _variance(0, root=False),
    "stddev_samp": _variance(1, root=True),
    "stddev_pop": _variance(0, root=True),
    "first": lambda values, n: values[0],
    "last": lambda values, n: values[-1],
    "first_n": lambda values, n: values[:n],
    "last_n": lambda values, n: values[-n:],
    "top_k": _top,
}


@dataclass(frozen=True)
class WindowView:
    """A view with aggregations and all its facts: name of the feature -> aggregate."""

    name: str
    aggregates: Mapping[str, WindowSpec]
    facts: Sequence[Fact] = field(default_factory=tuple)

    def values(self, key: Key, t: int, mode: Mode) -> dict[str, object]:
        """Every feature of a key at `t`."""
        return {name: window_value(self.facts, key, t, mode, spec) for name, spec in self.aggregates.items()}
