"""Aggregates that choose among the values: extremes, the first and the last, and the different ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tiffin.columns import arrow_column, nullable_column, numpy_values, ranked
from tiffin.types import Array, FeatureType, Int64, Struct
from tiffin.windows.aggregate import (
    FLOATS,
    Aggregate,
    Int64Array,
    Order,
    canonical,
    numbered_blocks,
    order_key,
    where_there,
)
from tiffin.windows.ranges import Ranges

if TYPE_CHECKING:
    import pyarrow as pa


class _Extreme(Aggregate[Any]):
    """The smallest or the largest value. NaN is greater than all others, and minus zero smaller than zero."""

    takes_holes: ClassVar[bool] = True
    is_largest: ClassVar[bool] = False

    @property
    def result(self) -> FeatureType:
        """The type of the column."""
        return self.dtype

    def initial(self) -> Any:
        """No value."""
        return None

    def updated(self, state: Any, value: Any, order: Order) -> Any:
        """The more extreme of both."""
        value = float("nan") if value != value else value
        if state is None:
            return value
        smaller = order_key(value) < order_key(state)
        return value if smaller != self.is_largest and order_key(value) != order_key(state) else state

    def merged(self, one: Any, other: Any) -> Any:
        """The more extreme of both."""
        return one if other is None else self.updated(one, other, (0, 0, b""))

    def finished(self, state: Any) -> Any:
        """The value; null for no facts."""
        return state

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> Any:
        """The most extreme of all."""
        return self.value_of(values)

    def value_of(self, values: Sequence[Any]) -> Any:
        """The most extreme of all; null for no facts."""
        if not values:
            return None
        best = max if self.is_largest else min
        return self._of_floats(values, best) if self.is_float else best(values)

    def _of_floats(self, values: Sequence[float], best: Callable[[Sequence[float]], float]) -> float:
        if math.isnan(sum(values)):  # One of them is, or both infinities are there.
            numbers = [value for value in values if value == value]
            if not numbers or (self.is_largest and len(numbers) < len(values)):
                return math.nan
            values = numbers
        found = best(values)
        if found == 0.0:
            signs = [math.copysign(1.0, value) for value in values if value == 0.0]
            return math.copysign(0.0, best(signs))
        return found

    def plain(self, state: Any) -> Any:
        """The value."""
        return state

    def from_plain(self, data: Any) -> Any:
        """The value."""
        return data

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """Over ranks, by ranges of powers of two."""
        ranks, different = _ranks(column)
        # Not x is -1 - x: it turns the order round, and no number is without its counterpart.
        found = ~_smallest(~ranks, ranges) if self.is_largest else _smallest(ranks, ranges)
        there = ranges.sizes > 0
        if different is not None:
            return different.take(nullable_column(np.where(there, found, 0), there))
        return _of_ranks(found, ranges, column.type)


class Min(_Extreme):
    """The smallest value."""


class Max(_Extreme):
    """The largest value."""

    is_largest: ClassVar[bool] = True


class _Ends(Aggregate[tuple[tuple[Order, Any], ...]]):
    """The first or last values by ORD, the older ones first."""

    accepts = None
    needs_order: ClassVar[bool] = True
    is_last: ClassVar[bool] = False

    @property
    def most(self) -> int:
        """How many values are kept."""
        return int(self.params.get("n", 1))

    @property
    def result(self) -> FeatureType:
        """A list of the type of the column."""
        return Array(self.dtype)

    def initial(self) -> tuple[tuple[Order, Any], ...]:
        """No values."""
        return ()

    def updated(self, state: tuple[tuple[Order, Any], ...], value: Any, order: Order) -> tuple[tuple[Order, Any], ...]:
        """With one value more, if it is among those that are kept."""
        return self.merged(state, ((order, value),))

    def merged(
        self, one: tuple[tuple[Order, Any], ...], other: tuple[tuple[Order, Any], ...]
    ) -> tuple[tuple[Order, Any], ...]:
        """Those of both that are kept."""
        both = sorted((*one, *other), key=lambda item: item[0])
        return tuple(both[-self.most :] if self.is_last else both[: self.most])

    def finished(self, state: tuple[tuple[Order, Any], ...]) -> Any:
        """The values; null for no facts."""
        return [value for _, value in state] or None

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> tuple[tuple[Order, Any], ...]:
        """Those that are kept."""
        start = max(0, len(values) - self.most) if self.is_last else 0
        stop = len(values) if self.is_last else min(len(values), self.most)
        return tuple((order_of(number), values[number]) for number in range(start, stop))

    def plain(self, state: tuple[tuple[Order, Any], ...]) -> Any:
        """Orders and values."""
        return [[*order, value] for order, value in state]

    def from_plain(self, data: Any) -> tuple[tuple[Order, Any], ...]:
        """The state."""
        return tuple(((event, known, payload), value) for event, known, payload, value in data)

    def narrowed(self, ranges: Ranges) -> Ranges:
        """Before the first hole, as many facts as are kept are enough."""
        if self.is_last:
            return ranges.within(np.maximum(ranges.first, ranges.certain - self.most), ranges.last)
        enough = ranges.certain - ranges.first >= self.most
        return ranges.within(ranges.first, np.where(enough, ranges.certain, ranges.last))

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """The ends of the ranges."""
        import pyarrow as pa

        kept = np.minimum(ranges.last - ranges.first, self.most)
        first = ranges.last - kept if self.is_last else ranges.first
        ends = np.cumsum(kept)
        _, places = Ranges(first, first + kept).spread()
        offsets = np.concatenate([[0], ends]).astype(np.int32)
        values = column.take(arrow_column(places))
        there = np.append(kept > 0, True)
        return pa.ListArray.from_arrays(nullable_column(offsets, there), values)


class FirstN(_Ends):
    """The first ``n`` values, the oldest first."""


class LastN(_Ends):
    """The last ``n`` values, the oldest of them first."""

    is_last: ClassVar[bool] = True


class _End(_Ends):
    """The first or last value."""

    @property
    def result(self) -> FeatureType:
        """The type of the column."""
        return self.dtype

    def finished(self, state: tuple[tuple[Order, Any], ...]) -> Any:
        """The value; null for no facts."""
        return state[0][1] if state else None

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """The ends of the ranges."""
        there = ranges.sizes > 0
        places = ranges.last - 1 if self.is_last else ranges.first
        return column.take(nullable_column(np.where(there, places, 0), there))


class First(_End):
    """The value of the first fact that has one."""


class Last(_End):
    """The value of the last fact that has one."""

    is_last: ClassVar[bool] = True


class CountDistinct(Aggregate[frozenset[Any]]):
    """How many different values there are, exactly. Zero and minus zero are one, and so is every NaN."""

    in_blocks: ClassVar[bool] = True
    result: ClassVar[FeatureType] = Int64

    def initial(self) -> frozenset[Any]:
        """No values."""
        return frozenset()

    def updated(self, state: frozenset[Any], value: Any, order: Order) -> frozenset[Any]:
        """With one value more."""
        return state | {order_key(canonical(value))}

    def merged(self, one: frozenset[Any], other: frozenset[Any]) -> frozenset[Any]:
        """Those of both."""
        return one | other

    def finished(self, state: frozenset[Any]) -> int:
        """The number; zero for no facts."""
        return len(state)

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> frozenset[Any]:
        """The different values."""
        if self.is_float:
            return frozenset(order_key(canonical(value)) for value in set(values))
        return frozenset((False, value) for value in set(values))

    def plain(self, state: frozenset[Any]) -> Any:
        """The values in their order."""
        return sorted(state)

    def from_plain(self, data: Any) -> frozenset[Any]:
        """The values."""
        return frozenset((is_nan, value) for is_nan, value in data)

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """Counts the values whose like, before them, is not in the window."""
        windows, _ = ranges.distinct(_codes(column)[0])
        return arrow_column(np.bincount(windows, minlength=len(ranges)).astype(np.int64))


class TopK(Aggregate[dict[Any, int]]):
    """The ``n`` values that occur most often, with how often; of equally many the smaller value first."""

    in_blocks: ClassVar[bool] = True

    @property
    def result(self) -> FeatureType:
        """A list of values with their counts."""
        return Array(Struct({"value": self.dtype, "count": Int64}))

    def initial(self) -> dict[Any, int]:
        """No values."""
        return {}

    def updated(self, state: dict[Any, int], value: Any, order: Order) -> dict[Any, int]:
        """With one value more."""
        return self.merged(state, {order_key(canonical(value)): 1})

    def merged(self, one: dict[Any, int], other: dict[Any, int]) -> dict[Any, int]:
        """The counts of both."""
        return dict(Counter(one) + Counter(other))

    def finished(self, state: dict[Any, int]) -> Any:
        """The values with their counts; null for no facts."""
        chosen = sorted(state.items(), key=lambda item: (-item[1], item[0]))[: int(self.params["n"])]
        return [{"value": _of_key(key, self.dtype), "count": count} for key, count in chosen] or None

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> dict[Any, int]:
        """How often each value is there."""
        if self.is_float:
            return dict(Counter(order_key(canonical(value)) for value in values))
        return {(False, value): count for value, count in Counter(values).items()}

    def plain(self, state: dict[Any, int]) -> Any:
        """Values and counts, in the order of the values."""
        return [[*key, count] for key, count in sorted(state.items())]

    def from_plain(self, data: Any) -> dict[Any, int]:
        """The state."""
        return {(is_nan, value): count for is_nan, value, count in data}

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """Counts (window, value) by sorting."""
        import pyarrow as pa

        codes, different = _codes(column)
        windows, places = ranges.spread()
        size = max(1, len(different))
        pairs, counts = np.unique(windows * size + codes[places], return_counts=True)
        window, code = pairs // size, pairs % size
        order = np.lexsort((code, -counts, window))
        window, code, counts = window[order], code[order], counts[order]
        starts = np.searchsorted(window, np.arange(len(ranges)))
        kept = np.arange(len(window)) - starts[window] < int(self.params["n"])
        window, code, counts = window[kept], code[kept], counts[kept].astype(np.int64)
        sizes = np.bincount(window, minlength=len(ranges))
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        values = different.take(arrow_column(code))
        cells = pa.StructArray.from_arrays([values, arrow_column(counts)], ["value", "count"])
        return pa.ListArray.from_arrays(nullable_column(offsets, np.append(sizes > 0, True)), cells)


def _of_key(key: tuple[bool, Any], dtype: FeatureType) -> Any:
    """The value of an ``order_key``."""
    is_nan, value = key
    if dtype not in FLOATS:
        return value
    if is_nan:
        return float("nan")
    bits = value if value >= 0 else value ^ 0x7FFFFFFFFFFFFFFF
    return float(np.int64(bits).view(np.float64))


def _float_ranks(values: Any) -> Int64Array:
    """(n,) whole numbers that sort as floats do: minus zero before zero, NaN last."""
    bits = np.where(np.isnan(values), np.float64("nan"), values).view(np.int64)
    return np.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)


def _ranks(column: pa.Array) -> tuple[Int64Array, pa.Array | None]:
    """(n,) whole numbers that sort like the values; and the values that these are the places of, if they are places."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        return _float_ranks(numpy_values(column.cast(pa.float64()), np.float64)), None
    if pa.types.is_timestamp(column.type):
        return numpy_values(column), None
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return numpy_values(column.cast(pa.int64())), None
    return ranked(column)


def _smallest(ranks: Int64Array, ranges: Ranges) -> Int64Array:
    """(windows,) the smallest of the ranks of each window; from the first hole on, fact by fact."""
    if ranges.hole_windows is None:
        return ranges.smallest(ranks)
    found = Ranges(ranges.first, ranges.certain).smallest(ranks)
    holed = np.unique(ranges.hole_windows)
    rest = ranges.within(ranges.certain, ranges.last)
    for block in numbered_blocks(rest, holed):
        places, dense = rest.take(block).dense()
        smallest, filled = dense.smallest(ranks[places]), dense.sizes > 0
        before = (ranges.certain > ranges.first)[block]
        both = np.where(before, np.minimum(found[block], smallest), smallest)
        found[block] = np.where(filled, both, found[block])
    return found


def _of_ranks(found: Int64Array, ranges: Ranges, type_: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_floating(type_):
        bits = np.where(found < 0, found ^ 0x7FFFFFFFFFFFFFFF, found)
        return where_there(bits.view(np.float64), ranges).cast(type_)
    if pa.types.is_timestamp(type_):
        return where_there(found, ranges, type_)
    return where_there(found, ranges).cast(type_)


def _codes(column: pa.Array) -> tuple[Int64Array, pa.Array]:
    """Like ``ranked``, with zero and minus zero as one, and every NaN."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        values = numpy_values(column.cast(pa.float64()), np.float64)
        ranks, codes = np.unique(_float_ranks(values + 0.0), return_inverse=True)
        bits = np.where(ranks < 0, ranks ^ 0x7FFFFFFFFFFFFFFF, ranks)
        return codes.astype(np.int64), arrow_column(bits.view(np.float64)).cast(column.type)
    if pa.types.is_boolean(column.type):
        return numpy_values(column.cast(pa.int64())), pa.array([False, True])
    return ranked(column)
