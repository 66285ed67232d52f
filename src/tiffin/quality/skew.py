"""Served values beside recomputed ones, column by column: how many differ, in which way, and by how much."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values, valid_mask
from tiffin.equality import same_values

if TYPE_CHECKING:
    import pyarrow as pa

IndexArray = NDArray[np.intp]
FloatArray = NDArray[np.float64]

#: How a cell differs: both have a value and it is another one; served is null where training has a value; the reverse.
MISMATCHING, MISSING, EXTRA = 1, 2, 3
KIND_NAMES = {MISMATCHING: "mismatching", MISSING: "missing", EXTRA: "extra"}

#: Lists whose edit distance is measured, of one feature in one part of the log: each may take milliseconds.
_MOST_LISTS = 1_000


@dataclass
class Spread:
    """How far served values are from recomputed ones, over all cells in which both are there and differ.

    Attributes:
        unit: ``difference`` of numbers, ``seconds`` of times, or ``edits`` that make one list of the other.
        count: cells that were measured.
        total: the sum, served minus recomputed; its mean says whether it leans to one side.
        largest: the largest without its sign.
        decades: power of ten to the cells whose difference, without its sign, has that many digits before the point.
        unmeasured: cells whose difference is no number, or that were too many to measure.
    """

    unit: str
    count: int = 0
    total: float = 0.0
    largest: float = 0.0
    decades: Counter[int] = field(default_factory=Counter)
    unmeasured: int = 0

    @property
    def mean(self) -> float | None:
        """The mean difference, with its sign."""
        return self.total / self.count if self.count else None

    def add(self, differences: FloatArray, unmeasured: int = 0) -> None:
        """Take the differences of some cells."""
        finite = differences[np.isfinite(differences)]
        self.unmeasured += unmeasured + len(differences) - len(finite)
        if not len(finite):
            return
        sizes = np.abs(finite)
        self.count += len(finite)
        self.total += math.fsum(finite)
        self.largest = max(self.largest, float(sizes.max()))
        # A difference of zero is that of 0.0 and -0.0; it has no digits at all.
        digits = np.floor(np.log10(np.maximum(sizes, np.finfo(np.float64).tiny))).astype(np.int64)
        numbers, cells = np.unique(digits, return_counts=True)
        self.decades.update(dict(zip(numbers.tolist(), cells.tolist(), strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "unit": self.unit,
            "measured": self.count,
            "unmeasured": self.unmeasured,
            "mean": self.mean,
            "largest": self.largest if self.count else None,
            "decades": {str(power): self.decades[power] for power in sorted(self.decades)},
        }


@dataclass
class FeatureSkew:
    """A feature, as far as it was compared.

    Attributes:
        feature: its reference, ``view:feature``.
        dtype: its type.
        compared: cells; ``equal + mismatching + missing + extra``.
        equal: cells that are the same (TYP-1).
        mismatching: cells in which both have a value, and not the same.
        missing: cells that were served as null where training has a value.
        extra: cells that were served with a value where training has none.
        not_logged: rows whose log does not have the feature.
        causes: name of a cause to cells.
        spread: by how much; ``None`` for types without distances.
    """

    feature: str
    dtype: str
    compared: int = 0
    equal: int = 0
    mismatching: int = 0
    missing: int = 0
    extra: int = 0
    not_logged: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    spread: Spread | None = None

    @property
    def different(self) -> int:
        """Cells that are not the same."""
        return self.compared - self.equal

    @property
    def share(self) -> float:
        """The share of cells that are not the same; 0 when none were compared."""
        return self.different / self.compared if self.compared else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "feature": self.feature,
            "type": self.dtype,
            **{name: getattr(self, name) for name in ("compared", "equal", "mismatching", "missing", "extra")},
            "not_logged": self.not_logged,
            "share": self.share,
            "causes": dict(self.causes.most_common()),
            "spread": None if self.spread is None else self.spread.to_dict(),
        }


@dataclass(frozen=True)
class Difference:
    """The cells of one feature, in one part of the log, that differ.

    Attributes:
        column: the feature's full name.
        rows: (m,) their rows in the part.
        served, expected: (m,) the two values, in the type of the feature where what was served can be kept in it.
        kinds: (m,) ``MISMATCHING``, ``MISSING`` or ``EXTRA``.
    """

    column: str
    rows: IndexArray
    served: pa.Array
    expected: pa.Array
    kinds: NDArray[np.int8]

    @property
    def is_typed(self) -> bool:
        """Whether both have one type."""
        return bool(self.served.type == self.expected.type)


def find_differences(column: str, served: pa.Array, expected: pa.Array) -> Difference:
    """The cells of a column that are not the same.

    Args:
        column: the feature's full name.
        served: (n,) as logged.
        expected: (n,) as recomputed.
    """
    served = in_type(served, expected.type)
    here, there = valid_mask(served), valid_mask(expected)
    same = ~(here | there) if served.type != expected.type else same_values(served, expected)
    rows = np.flatnonzero(~same)
    kinds = np.where(here & there, MISMATCHING, np.where(there, MISSING, EXTRA)).astype(np.int8)
    return Difference(column, rows, served.take(_numbers(rows)), expected.take(_numbers(rows)), kinds[rows])


def in_type(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """A column in another type, when it has the same values there; else as it is."""
    import pyarrow as pa

    if column.type == wanted:
        return column
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column


def _numbers(rows: IndexArray) -> pa.Array:
    import pyarrow as pa

    return pa.array(rows.astype(np.int64, copy=False))


def add_to_spread(skew: FeatureSkew, difference: Difference) -> None:
    """Measure the cells of a difference that have two values."""
    import pyarrow as pa

    both = np.flatnonzero(difference.kinds == MISMATCHING)
    if not len(both) or not difference.is_typed:
        return
    served, expected = (each.take(_numbers(both)) for each in (difference.served, difference.expected))
    measured = _measured(served, expected)
    if measured is not None:
        unit, values = measured
    elif pa.types.is_list(served.type):
        pairs = zip(served[:_MOST_LISTS].to_pylist(), expected[:_MOST_LISTS].to_pylist(), strict=True)
        unit, values = "edits", np.array([edit_distance(one, other) for one, other in pairs], np.float64)
    else:
        return
    skew.spread = skew.spread or Spread(unit)
    skew.spread.add(values, len(both) - len(values))


def _measured(served: pa.Array, expected: pa.Array) -> tuple[str, FloatArray] | None:
    """The differences of numbers and times; ``None`` for other types."""
    import pyarrow as pa

    type_ = served.type
    if pa.types.is_timestamp(type_):
        return "seconds", _int_differences(served, expected) / 1e6
    if pa.types.is_integer(type_):
        return "difference", _int_differences(served.cast(pa.int64()), expected.cast(pa.int64()))
    if not (pa.types.is_floating(type_) or pa.types.is_decimal(type_)):
        return None
    one, other = (numpy_values(each.cast(pa.float64(), safe=False), np.float64) for each in (served, expected))
    with np.errstate(all="ignore"):
        return "difference", one - other


def _int_differences(served: pa.Array, expected: pa.Array) -> FloatArray:
    """Exact where they fit into 64 bits, which is where floats would lose the difference of two large numbers."""
    one, other = numpy_values(served), numpy_values(expected)
    about = one.astype(np.float64) - other.astype(np.float64)
    with np.errstate(over="ignore"):
        return np.where(np.abs(about) < 2.0**62, (one - other).astype(np.float64), about)


def edit_distance(one: list[Any], other: list[Any]) -> int:
    """How many values have to be put in, taken out or exchanged to make one list of another (Levenshtein).

    A value is another one when it is written otherwise, so that NaN is NaN and zero is not minus zero. Takes
    ``len(one)`` steps of numpy over ``len(other)`` values.

    >>> edit_distance([1, 2, 3], [1, 3, 4])
    2
    """
    numbers: dict[str, int] = {}
    mine, yours = (
        np.array([numbers.setdefault(repr(v), len(numbers)) for v in each], np.int64) for each in (one, other)
    )
    places = np.arange(len(yours) + 1)
    row = places.copy()
    for number, value in enumerate(mine, 1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (yours != value))
        row = np.concatenate([[number], changed])
        # A value put in costs one more than the place before: the least of all places before, each by its distance.
        row = np.minimum.accumulate(row - places) + places
    return int(row[-1])


def shown_values(column: pa.Array) -> Iterator[str | None]:
    """Values as text for people; ``None`` for null. Floats with all of their digits."""
    import pyarrow as pa

    values = column.cast(pa.string()) if pa.types.is_temporal(column.type) else column
    for value in values.to_pylist():
        yield value if value is None or isinstance(value, str) else repr(value)
