"""Counts, sums, means and variances: all from exact sums, so that no order, split or merging shows in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tiffin.columns import arrow_column, nullable_column
from tiffin.errors import InputError
from tiffin.types import FeatureType, Float64, Int64
from tiffin.windows.aggregate import NUMBERS, Aggregate, Order, as_floats, as_ints, where_there
from tiffin.windows.exact import (
    Exact,
    FloatArray,
    Int64Array,
    float_sums,
    int_from_bytes,
    int_sums,
    int_to_bytes,
    rounded_ratio,
    spreads,
    squares,
    wholes,
)
from tiffin.windows.ranges import Ranges

if TYPE_CHECKING:
    import pyarrow as pa

_NOTHING = Exact()
_MIN, _MAX = -(1 << 63), (1 << 63) - 1
#: Between these, squares and their rests are exact in doubles.
_SMALLEST, _LARGEST = 1e-100, 1e100


class Count(Aggregate[int]):
    """How many values there are."""

    accepts = None
    takes_holes: ClassVar[bool] = True
    result: ClassVar[FeatureType] = Int64

    def initial(self) -> int:
        """Zero."""
        return 0

    def updated(self, state: int, value: Any, order: Order) -> int:
        """One more."""
        return state + 1

    def merged(self, one: int, other: int) -> int:
        """Both."""
        return one + other

    def finished(self, state: int) -> int:
        """The number; zero for no facts."""
        return state

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> int:
        """How many."""
        return len(values)

    def value_of(self, values: Sequence[Any]) -> int:
        """How many."""
        return len(values)

    def plain(self, state: int) -> int:
        """The number."""
        return state

    def from_plain(self, data: int) -> int:
        """The number."""
        return data

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """The lengths of the ranges."""
        return arrow_column(ranges.sizes)


@dataclass(frozen=True)
class Total:
    """How many numbers, and their exact sum; of whole numbers, ``units`` are wholes."""

    count: int = 0
    sum: Exact = _NOTHING


class _OfTotal(Aggregate[Total]):
    """What needs the number of values and their exact sum."""

    accepts = NUMBERS
    takes_holes: ClassVar[bool] = True

    def initial(self) -> Total:
        """Nothing."""
        return Total()

    def updated(self, state: Total, value: Any, order: Order) -> Total:
        """With one value more."""
        return Total(state.count + 1, state.sum + (Exact.of(value) if self.is_float else Exact(int(value))))

    def merged(self, one: Total, other: Total) -> Total:
        """Both."""
        return Total(one.count + other.count, one.sum + other.sum)

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> Total:
        """The values added up."""
        return Total(len(values), Exact.sum_of(values) if self.is_float else Exact(sum(values)))

    def _sum_of(self, values: Sequence[Any]) -> Any:
        """The sum as the nearest double; of whole numbers, the sum."""
        if not self.is_float:
            return sum(values)
        try:
            total = math.fsum(values)  # Exact, and rounded once.
        except (OverflowError, ValueError):
            total = math.nan
        if total - total != 0.0:
            return Exact.sum_of(values).rounded()
        return total + 0.0

    def plain(self, state: Total) -> Any:
        """The number and the bytes of the sum."""
        return [state.count, state.sum.to_bytes()]

    def from_plain(self, data: Any) -> Total:
        """The state."""
        return Total(data[0], Exact.from_bytes(data[1]))

    def _float_sums(self, column: pa.Array, ranges: Ranges) -> FloatArray:
        """(windows,) the sums, each the nearest double."""
        if not self.is_float:
            return int_sums(as_ints(column), ranges.longest, ranges.sums).rounded()
        values = as_floats(column)
        finite = np.isfinite(values)
        special = None if finite.all() else _specials(values, ranges)
        values = values if special is None else np.where(finite, values, 0.0)
        limbs = float_sums([values], ranges.longest, ranges.sums)
        found = np.zeros(len(ranges)) if limbs is None else limbs.rounded()
        return found if special is None else np.where(np.isnan(special[0]), found, special[1])


class Sum(_OfTotal):
    """The sum: of whole numbers exact and within 64 bits, of floats exact and then rounded once."""

    @property
    def result(self) -> FeatureType:
        """Whole numbers stay whole."""
        return Float64 if self.is_float else Int64

    def finished(self, state: Total) -> Any:
        """The sum; null for no facts.

        Raises:
            InputError: a sum of whole numbers does not fit into 64 bits.
        """
        if not state.count:
            return None
        return state.sum.rounded() if self.is_float else _within(state.sum.units)

    def value_of(self, values: Sequence[Any]) -> Any:
        """The sum; null for no facts."""
        if not values:
            return None
        total = self._sum_of(values)
        return total if self.is_float else _within(total)

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """By differences of prefix sums."""
        if self.is_float:
            return where_there(self._float_sums(column, ranges), ranges)
        limbs = int_sums(as_ints(column), ranges.longest, ranges.sums).parts
        if len(limbs) == 1:
            return where_there(limbs[0], ranges)
        low, high = limbs
        high = high + (low >> 32)
        outside = (high > (_MAX >> 32)) | (high < (_MIN >> 32))
        if outside.any():
            at = int(np.argmax(outside))
            raise _overflow((int(high[at]) << 32) + (int(low[at]) & 0xFFFFFFFF))
        return where_there((high << 32) | (low & 0xFFFFFFFF), ranges)


class Mean(_OfTotal):
    """The sum as the nearest double, divided by how many there are."""

    result: ClassVar[FeatureType] = Float64

    def finished(self, state: Total) -> float | None:
        """The mean; null for no facts."""
        if not state.count:
            return None
        total = state.sum.rounded() if self.is_float else rounded_ratio(state.sum.units, 1)
        return total / state.count

    def value_of(self, values: Sequence[Any]) -> float | None:
        """The mean; null for no facts."""
        if not values:
            return None
        total = self._sum_of(values)
        return (total if self.is_float else rounded_ratio(total, 1)) / len(values)

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """By differences of prefix sums."""
        sizes = ranges.sizes
        return where_there(self._float_sums(column, ranges) / np.maximum(sizes, 1), ranges)


@dataclass(frozen=True)
class Moments:
    """How many numbers, their exact sum, and that of their squares, in units of 2**-2148."""

    count: int = 0
    sum: Exact = _NOTHING
    squares: int = 0


class _Variance(Aggregate[Moments]):
    """Spread around the mean.

    One formula is used everywhere: from the exact sums S of the values and Q of their squares, ``n * Q - S * S`` is
    computed exactly and rounded once, and then divided by ``n * (n - 1)`` or ``n * n``. So nothing is lost however
    large the mean is, and equal values have no spread at all.
    """

    accepts = NUMBERS
    takes_holes: ClassVar[bool] = True
    result: ClassVar[FeatureType] = Float64
    #: What is taken from the number of values before dividing by it.
    freedom: ClassVar[int] = 1
    is_root: ClassVar[bool] = False

    def initial(self) -> Moments:
        """Nothing."""
        return Moments()

    def updated(self, state: Moments, value: Any, order: Order) -> Moments:
        """With one value more."""
        exact = Exact.of(value) if isinstance(value, float) else Exact(int(value) << 1074)
        return Moments(state.count + 1, state.sum + exact, state.squares + exact.units * exact.units)

    def merged(self, one: Moments, other: Moments) -> Moments:
        """Both."""
        return Moments(one.count + other.count, one.sum + other.sum, one.squares + other.squares)

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> Moments:
        """The values and their squares added up."""
        if not self.is_float:
            return Moments(len(values), Exact(sum(values) << 1074), sum([value * value for value in values]) << 2148)
        units = wholes(values)[0]
        return Moments(len(values), Exact.sum_of(values), sum([unit * unit for unit in units]))

    def plain(self, state: Moments) -> Any:
        """The number and the bytes of both sums."""
        return [state.count, state.sum.to_bytes(), int_to_bytes(state.squares)]

    def from_plain(self, data: Any) -> Moments:
        """The state."""
        return Moments(data[0], Exact.from_bytes(data[1]), int_from_bytes(data[2]))

    def finished(self, state: Moments) -> float | None:
        """The spread; null for too few facts, NaN where a value is not finite."""
        if state.count <= self.freedom:
            return None
        if state.sum.special is not None:
            return float("nan")
        around = state.count * state.squares - state.sum.units**2
        # Scaled by a power of four, which changes no digit, so that nothing overflows on the way.
        half = (around.bit_length() - 2148) // 2
        shift = 2148 + 2 * half
        scaled = rounded_ratio(around << max(0, -shift), 1 << max(0, shift))
        ratio = scaled / float(state.count * (state.count - self.freedom))
        return _scaled(math.sqrt(ratio), half) if self.is_root else _scaled(ratio, 2 * half)

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """By differences of prefix sums; window by window for numbers whose squares are not exact in two doubles."""
        if not self.is_float and _largest(as_ints(column)) > 1 << 53:
            return self._by_places(column, ranges)
        values = as_floats(column)
        finite = np.isfinite(values)
        special = None if finite.all() else _specials(values, ranges)
        values = values if special is None else np.where(finite, values, 0.0)
        sizes = np.abs(values)
        smallest = float(sizes.min(where=sizes > 0.0, initial=1.0))
        if smallest < _SMALLEST or float(sizes.max(initial=0.0)) > _LARGEST:
            return self._by_places(column, ranges)
        sums = float_sums([values], ranges.longest, ranges.sums)
        count = ranges.sizes
        found = np.zeros(len(ranges))
        if sums is not None:
            quantum = 2 * sums.quantum
            square_sums = float_sums(squares(values), ranges.longest, ranges.sums, quantum)
            assert square_sums is not None
            found = spreads(count, sums, square_sums) / np.maximum(count * (count - self.freedom), 1).astype(float)
            found = np.sqrt(found) if self.is_root else found
        if special is not None:
            found = np.where(np.isnan(special[0]), found, np.nan)
        return nullable_column(found, count > self.freedom)

    def _by_places(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        import pyarrow as pa

        parts = [self._one_by_one(column, block) for block in ranges.blocks(1 << 20)]
        return pa.concat_arrays(parts) if parts else pa.array([], pa.float64())


class VarSamp(_Variance):
    """The variance of a sample: divided by one less than the number of values."""


class VarPop(_Variance):
    """The variance of all there is."""

    freedom: ClassVar[int] = 0


class StddevSamp(_Variance):
    """The root of the variance of a sample."""

    is_root: ClassVar[bool] = True


class StddevPop(_Variance):
    """The root of the variance of all there is."""

    freedom: ClassVar[int] = 0
    is_root: ClassVar[bool] = True


def _within(total: int) -> int:
    """A sum of whole numbers that fits into 64 bits."""
    if not _MIN <= total <= _MAX:
        raise _overflow(total)
    return total


def _overflow(total: int) -> InputError:
    return InputError(
        f"the sum of a window is {total}, which does not fit into 64 bits",
        hint="cast the column to a float in the source, or take the mean",
    )


def _largest(values: Int64Array) -> int:
    return max(abs(int(values.min())), abs(int(values.max()))) if len(values) else 0


def _specials(values: FloatArray, ranges: Ranges) -> tuple[FloatArray, FloatArray]:
    """(windows,) NaN where all values are finite, else 0; and (windows,) what the sum is where they are not."""
    nan, inf, neg_inf = (
        ranges.sums(mask.astype(np.int64)) > 0 for mask in (np.isnan(values), values == np.inf, values == -np.inf)
    )
    both = nan | (inf & neg_inf)
    found = np.where(both, np.nan, np.where(inf, np.inf, -np.inf))
    return np.where(nan | inf | neg_inf, 0.0, np.nan), found


def _scaled(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
