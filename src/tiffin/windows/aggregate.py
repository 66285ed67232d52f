"""What every aggregate function is: a state that facts are added to in any order, and the same over many windows.

The Python form is the definition, and what tiles are made of: ``initial``, ``updated``, ``merged``, ``finished``. The
states of equal facts are equal, whatever the order and the split, and so are their bytes. The numpy form, ``evaluate``,
computes one value per window from facts that stand in order; it gives the same values to the last bit.

Values are the plain ones of Python: int, float, str, bytes, bool; a time is its microseconds. Null values do not get
here.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, nullable_column, numpy_values
from tiffin.errors import UnsupportedError
from tiffin.types import (
    Bool,
    Bytes,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)
from tiffin.windows.ranges import Ranges

if TYPE_CHECKING:
    import pyarrow as pa

S = TypeVar("S")
Int64Array = NDArray[np.int64]

#: The place of a fact among those of its key: event time, known time, bytes of the payload (ORD).
Order: TypeAlias = tuple[int, int, bytes]

NUMBERS: tuple[FeatureType, ...] = (Bool, Int32, Int64, Float32, Float64)
FLOATS: tuple[FeatureType, ...] = (Float32, Float64)
#: Types that can be compared and counted.
SCALARS: tuple[FeatureType, ...] = (*NUMBERS, String, Bytes, UnixTimestamp, Json, Uuid, TimeUuid)

_NO_ORDER: Order = (0, 0, b"")
#: Facts that are laid out at once where a function has to look at each window by itself.
_BLOCK_FACTS = 1 << 22


class Aggregate(ABC, Generic[S]):
    """An aggregate function.

    Args:
        dtype: the type of the column; of the facts themselves, ``Bool``.
        params: its parameters, such as ``n``.

    Raises:
        UnsupportedError: it cannot be computed from values of that type.

    Attributes:
        is_float: whether the column has floats.
        accepts: the types that it can be computed from; ``None`` for all.
        takes_holes: whether ``evaluate`` can leave out facts within a range.
        in_blocks: whether ``evaluate`` needs memory for each fact of each window.
        needs_order: whether ORD of the facts matters, and not only the values.
    """

    accepts: ClassVar[tuple[FeatureType, ...] | None] = SCALARS
    takes_holes: ClassVar[bool] = False
    in_blocks: ClassVar[bool] = False
    needs_order: ClassVar[bool] = False

    def __init__(self, dtype: FeatureType, params: Mapping[str, Any] | None = None) -> None:
        self.dtype = dtype
        self.is_float = dtype in FLOATS
        self.params = dict(params or {})
        if self.accepts is not None and dtype not in self.accepts:
            listed = ", ".join(repr(each) for each in self.accepts)
            raise UnsupportedError(
                f"{type(self).__name__} cannot be computed from {dtype!r}", hint=f"it takes {listed}"
            )

    @property
    @abstractmethod
    def result(self) -> FeatureType:
        """The type of its value."""

    @abstractmethod
    def initial(self) -> S:
        """The state of no facts."""

    @abstractmethod
    def updated(self, state: S, value: Any, order: Order) -> S:
        """The state with one fact more."""

    @abstractmethod
    def merged(self, one: S, other: S) -> S:
        """The state of the facts of both; no fact is in both."""

    @abstractmethod
    def finished(self, state: S) -> Any:
        """The value; ``None`` for null."""

    @abstractmethod
    def plain(self, state: S) -> Any:
        """The state as data of msgpack, in one canonical form."""

    @abstractmethod
    def from_plain(self, data: Any) -> S:
        """The state from that data."""

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> S:
        """The state of some facts, the same as adding them one by one.

        Args:
            values: their values, in the order of the facts.
            order_of: the place of a fact, by its number; only asked where ``needs_order`` is true.
        """
        state = self.initial()
        for number, value in enumerate(values):
            state = self.updated(state, value, order_of(number) if self.needs_order else _NO_ORDER)
        return state

    def value_of(self, values: Sequence[Any]) -> Any:
        """The value of some facts in their order, the same as from their state."""
        return self.finished(self.gathered(values, _in_order))

    def encoded(self, state: S) -> bytes:
        """Canonical bytes: equal states give equal bytes."""
        return msgspec.msgpack.encode(self.plain(state))

    def decoded(self, data: bytes) -> S:
        """The state from its bytes."""
        return self.from_plain(msgspec.msgpack.decode(data))

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """(windows,) the values of many windows, in the type of ``result``.

        Args:
            column: (facts,) values in the order of the facts, without nulls.
            ranges: the facts of each window.
        """
        return self._one_by_one(column, ranges)

    def narrowed(self, ranges: Ranges) -> Ranges:
        """Shorter ranges with the same value; asked where a range has holes, and each of its facts costs."""
        return ranges

    def _one_by_one(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """The Python form, window by window: what always works."""
        import pyarrow as pa

        from tiffin.types import arrow_type

        values = plain_values(column)
        found = []
        ends = np.cumsum(ranges.sizes).tolist()
        listed = ranges.spread()[1].tolist()
        start = 0
        for end in ends:
            found.append(self.value_of([values[place] for place in listed[start:end]]))
            start = end
        return pa.array(found, arrow_type(self.result))


def _in_order(number: int) -> Order:
    """The place of a fact among facts that stand in order: any rising numbers do."""
    return number, 0, b""


def evaluate(
    aggregate: Aggregate[Any], column: pa.Array, ranges: Ranges, chosen: NDArray[np.bool_] | None = None
) -> pa.Array:
    """The values of an aggregate over many windows.

    Args:
        aggregate: the function.
        column: (facts,) values in the order of the facts; nulls are left out.
        ranges: the facts of each window.
        chosen: (facts,) which facts count; all where ``None``.
    """
    import pyarrow as pa

    from tiffin.columns import valid_mask

    if column.null_count:
        valid = valid_mask(column)
        chosen = valid if chosen is None else chosen & valid
    if chosen is not None and not chosen.all():
        column, ranges = column.filter(pa.array(chosen)), ranges.only(chosen)
    if ranges.hole_windows is not None and not aggregate.takes_holes:
        return _around_holes(aggregate, column, ranges)
    return _in_blocks(aggregate, column, ranges)


def _in_blocks(aggregate: Aggregate[Any], column: pa.Array, ranges: Ranges) -> pa.Array:
    import pyarrow as pa

    if not aggregate.in_blocks or not len(ranges):
        return aggregate.evaluate(column, ranges)
    parts = []
    for block in ranges.blocks(_BLOCK_FACTS):
        start, stop, over_these = block.touched()
        parts.append(aggregate.evaluate(column.slice(start, stop - start), over_these))
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)


def _around_holes(aggregate: Aggregate[Any], column: pa.Array, ranges: Ranges) -> pa.Array:
    """Windows with holes are laid out, each by itself; the others stay ranges."""
    import pyarrow as pa

    assert ranges.hole_windows is not None
    holed = np.zeros(len(ranges), np.bool_)
    holed[ranges.hole_windows] = True
    order = [np.flatnonzero(~holed)]
    parts = [_in_blocks(aggregate, column, ranges.take(order[0]))]
    narrowed = aggregate.narrowed(ranges)
    for block in numbered_blocks(narrowed, np.flatnonzero(holed)):
        places, dense = narrowed.take(block).dense()
        parts.append(_in_blocks(aggregate, column.take(arrow_column(places)), dense))
        order.append(block)
    positions = np.empty(len(ranges), np.int64)
    positions[np.concatenate(order)] = np.arange(len(ranges))
    return pa.concat_arrays(parts).take(arrow_column(positions))


def numbered_blocks(ranges: Ranges, windows: Int64Array) -> list[Int64Array]:
    """Some windows in pieces of a bounded number of facts."""
    facts = np.cumsum(ranges.last[windows] - ranges.first[windows])
    cuts = np.flatnonzero(np.diff(facts // _BLOCK_FACTS)) + 1
    return [piece for piece in np.split(windows, cuts) if len(piece)]


# --- Values ----------------------------------------------------------------------------------------------------------


def plain_values(column: pa.Array) -> list[Any]:
    """The values of a column as aggregates take them: times as microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def as_floats(column: pa.Array) -> NDArray[np.float64]:
    """(n,) numbers as float64; int64 beyond 2**53 is rounded."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    return numpy_values(column.cast(pa.float64(), safe=False), np.float64)


def as_ints(column: pa.Array) -> Int64Array:
    """(n,) whole numbers, truth values or times as int64."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return numpy_values(column)
    return numpy_values(column.cast(pa.int64()))


def where_there(values: NDArray[Any], ranges: Ranges, type_: pa.DataType | None = None) -> pa.Array:
    """One value per window, null for windows without facts."""
    return nullable_column(values, ranges.sizes > 0, type_)


def canonical(value: Any) -> Any:
    """A value as one of its kind: equal floats have equal bits, and so has every NaN."""
    if isinstance(value, float):
        return float("nan") if value != value else value + 0.0
    return value


def canonical_floats(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) the same of many floats, as a copy."""
    found = values + 0.0
    found[np.isnan(found)] = np.nan
    return found


def order_key(value: Any) -> tuple[bool, Any]:
    """A key that sorts values of one type: NaN last, minus zero before zero."""
    if isinstance(value, float):
        if value != value:
            return True, 0
        (bits,) = struct.unpack("<q", struct.pack("<d", value))
        return False, bits if bits >= 0 else bits ^ 0x7FFFFFFFFFFFFFFF
    return False, value
