"""How many different values there are, estimated in bounded room: HyperLogLog over a stable hash.

The state is a function of the set of values alone, in whatever order they come, however they are split and merged. Few
values are kept as their hashes, and counted exactly; when these would take more room than registers, the registers
take their place. Whether they do depends on the number of different hashes, and not on what was merged when.

A register holds the largest rank among the hashes that fall to it: the place of the first bit that is set. The
estimate is a function of the registers, without tables and without the order in which they were filled. All that is
added up is either a whole number or by operations that IEEE 754 rounds alike everywhere, so that the same registers
give the same bits on every machine.

Source: P. Flajolet and others, "HyperLogLog", 2007; the estimator is the improved raw one of O. Ertl, "New cardinality
estimation algorithms for HyperLogLog sketches", 2017, section 4. Few values apart: S. Heule and others, "HyperLogLog
in practice", 2013, though there with a second precision instead of whole hashes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column
from tiffin.types import FeatureType, Int64, UnixTimestamp, arrow_type
from tiffin.windows.aggregate import NUMBERS, Aggregate, Int64Array, Order
from tiffin.windows.hashing import UInt64Array, hash_of, hashes_of
from tiffin.windows.ranges import Ranges

if TYPE_CHECKING:
    import pyarrow as pa

#: The hashes of few values, or one byte per register.
Distinct: TypeAlias = frozenset[int] | bytes
Registers = NDArray[np.uint8]

_NUMBERS = (*NUMBERS, UnixTimestamp)
#: So many values are hashed one by one; the way of many costs as much as these.
_FEW = 48
#: What a register takes in the bytes of a state: ranks are below 64.
_REGISTER_BITS = 6
#: Registers whose weights are added up at once.
_BLOCK_REGISTERS = 1 << 22


class ApproxCountDistinct(Aggregate[Distinct]):
    """About how many different values there are: exactly, where they are few.

    Of many, the standard error is 1.04 / sqrt(registers). Zero and minus zero are one, and so is every NaN.
    ``precision`` is the binary logarithm of the number of registers.

    Attributes:
        registers: how many there are.
        most: so many different values are counted exactly.
    """

    in_blocks: ClassVar[bool] = True
    result: ClassVar[FeatureType] = Int64

    def __init__(self, dtype: FeatureType, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(dtype, params)
        self._precision = int(self.params["precision"])
        self._rank_bits = 64 - self._precision
        self.registers = 1 << self._precision
        self.most = self.registers * _REGISTER_BITS // 64

    def initial(self) -> Distinct:
        """No values."""
        return frozenset()

    def updated(self, state: Distinct, value: Any, order: Order) -> Distinct:
        """With one value more."""
        return self.merged(state, frozenset((hash_of(value),)))

    def merged(self, one: Distinct, other: Distinct) -> Distinct:
        """Those of both."""
        if isinstance(one, frozenset) and isinstance(other, frozenset):
            return self._within(one | other)
        return np.maximum(self._registers(one), self._registers(other)).tobytes()

    def finished(self, state: Distinct) -> int:
        """The number; zero for no facts."""
        if isinstance(state, frozenset):
            return len(state)
        return int(self._estimates(self._registers(state)[np.newaxis])[0])

    def gathered(self, values: Sequence[Any], order_of: Callable[[int], Order]) -> Distinct:
        """Each different value hashed once."""
        import pyarrow as pa

        different = list(set(values))
        if len(different) <= _FEW:
            return self._within(frozenset(map(hash_of, different)))
        return self._within(frozenset(hashes_of(pa.array(different, arrow_type(self.dtype))).tolist()))

    def value_of(self, values: Sequence[Any]) -> int:
        """The number; of few numbers without hashes, since those are as different as the numbers."""
        if self.dtype in _NUMBERS:
            count = len({value for value in values if value == value}) + any(value != value for value in values)
            if count <= self.most:
                return count
        found: int = super().value_of(values)
        return found

    def plain(self, state: Distinct) -> Any:
        """Whether these are registers, and six bits of each; or eight bytes of each hash, in their order."""
        if isinstance(state, frozenset):
            return [False, np.array(sorted(state), "<u8").tobytes()]
        bits = np.unpackbits(np.frombuffer(state, np.uint8)[:, np.newaxis], axis=1)
        return [True, np.packbits(bits[:, -_REGISTER_BITS:]).tobytes()]

    def from_plain(self, data: Any) -> Distinct:
        """The state."""
        are_registers, content = data
        if not are_registers:
            return frozenset(np.frombuffer(content, "<u8").tolist())
        bits = np.zeros((self.registers, 8), np.uint8)
        bits[:, -_REGISTER_BITS:] = np.unpackbits(np.frombuffer(content, np.uint8)).reshape(-1, _REGISTER_BITS)
        return np.packbits(bits).tobytes()

    def evaluate(self, column: pa.Array, ranges: Ranges) -> pa.Array:
        """Counts the hashes that are new in their window; fills registers where they are many."""
        hashes = hashes_of(column)
        windows, places = ranges.distinct(hashes)
        counts = np.bincount(windows, minlength=len(ranges)).astype(np.int64)
        many = np.flatnonzero(counts > self.most)
        if len(many):
            rows = np.full(len(ranges), -1, np.int64)
            rows[many] = np.arange(len(many))
            rows = rows[windows]
            chosen = rows >= 0
            rows, places = rows[chosen], places[chosen]
            register, ranks = self._cut(hashes)
            filled = np.zeros(len(many) * self.registers, np.uint8)
            np.maximum.at(filled, rows * self.registers + register[places], ranks[places])
            counts[many] = self._estimates(filled.reshape(-1, self.registers))
        return arrow_column(counts)

    def _within(self, hashes: frozenset[int]) -> Distinct:
        """The state of some hashes: themselves, or registers where they are too many."""
        return hashes if len(hashes) <= self.most else self._registers(hashes).tobytes()

    def _registers(self, state: Distinct) -> Registers:
        """(registers,) of a state."""
        if isinstance(state, bytes):
            return np.frombuffer(state, np.uint8)
        filled = np.zeros(self.registers, np.uint8)
        np.maximum.at(filled, *self._cut(np.fromiter(state, np.uint64, len(state))))
        return filled

    def _cut(self, hashes: UInt64Array) -> tuple[Int64Array, Registers]:
        """(n,) the register that each hash falls to, and (n,) its rank."""
        register = (hashes >> np.uint64(self._rank_bits)).astype(np.int64)
        # A bit behind the last one ends the search for the first that is set.
        rest = hashes << np.uint64(self._precision) | np.uint64(1 << (self._precision - 1))
        # No two neighbours stay set, so that no rounding to a double reaches the next power of two.
        rest &= ~(rest >> np.uint64(1))
        return register, (65 - np.frexp(rest.astype(np.float64))[1]).astype(np.uint8)

    def _estimates(self, registers: Registers) -> Int64Array:
        """(n,) the numbers that (n, registers) stand for."""
        pieces = math.ceil(registers.size / _BLOCK_REGISTERS)
        return np.concatenate([self._estimates_of(part) for part in np.array_split(registers, pieces)])

    def _estimates_of(self, registers: Registers) -> Int64Array:
        # Powers of two as whole numbers of the smallest: their sum is exact, and at most 2**63.
        weights = np.zeros(64, np.uint64)
        weights[1 : self._rank_bits + 1] = np.uint64(1) << np.arange(self._rank_bits - 1, -1, -1, dtype=np.uint64)
        unit = 2.0**-self._rank_bits
        total = weights[registers].sum(axis=1).astype(np.float64) * unit
        total += _of_each(_of_empty, (registers == 0).sum(axis=1), self.registers)
        total += _of_each(_of_full, (registers == self._rank_bits + 1).sum(axis=1), self.registers) * unit
        found: Int64Array = np.rint(self.registers**2 / (2 * _LN_2) / total).astype(np.int64)
        return found


#: Written out, since no logarithm is rounded alike everywhere.
_LN_2 = 0.6931471805599453


def _of_each(function: Any, counts: Int64Array, registers: int) -> NDArray[np.float64]:
    """(n,) a function of each count; it is called once for each different one."""
    different, places = np.unique(counts, return_inverse=True)
    return np.array([function(count, registers) for count in different.tolist()])[places]


@lru_cache(maxsize=1 << 17)
def _of_empty(count: int, registers: int) -> float:
    """What registers that are empty add: Ertl's sigma, times the number of all."""
    x = count / registers
    if x == 1.0:
        return math.inf
    factor, found, before = 1.0, x, -1.0
    while found != before:
        x *= x
        before = found
        found += x * factor
        factor += factor
    return registers * found


@lru_cache(maxsize=1 << 17)
def _of_full(count: int, registers: int) -> float:
    """What registers add that can rise no more: Ertl's tau, times the number of all."""
    x = 1.0 - count / registers
    if x in (0.0, 1.0):
        return 0.0
    factor, found, before = 1.0, 1.0 - x, -1.0
    while found != before:
        x = math.sqrt(x)
        before = found
        factor *= 0.5
        found -= (1.0 - x) ** 2 * factor
    return registers * found / 3.0
