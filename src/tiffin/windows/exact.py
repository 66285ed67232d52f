"""Sums of floats that do not depend on order, split or merging: they are exact, and rounded once.

Every finite double is a whole number of units of 2**-1074. A sum is kept as such a whole number, together with which of
infinity, minus infinity and NaN were among the values. That state is canonical: the same values, in whatever order and
however split, give the same state. Finishing rounds it once to the nearest double, ties to even, as ``math.fsum`` does.

Decided here, and the same in both forms:

- NaN among the values, or both infinities, give NaN; one infinity gives itself;
- a sum beyond the largest double rounds to infinity; sums on the way there never overflow, unlike ``math.fsum``'s;
- a sum that is zero is ``0.0``, never ``-0.0``; subnormal results are exact.

In numpy a value is split into limbs: whole numbers of 2**w units of a quantum that all values are multiples of. Sums
of limbs in int64 may wrap round; the difference of two prefix sums is exact all the same, as long as the limbs of one
window fit, and ``w`` is chosen so that they do. As few limbs are taken as the data needs: one or two, for most.

Source: the idea of a superaccumulator is Kulisch's; carry-free limbs as in R. Neal, "Fast exact summation using small
and large superaccumulators", 2015. Here windows need differences of prefix sums, so limbs are integers, not doubles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]
#: Sums one int64 per fact over the facts of each window.
Summer = Callable[[Int64Array], Int64Array]

#: One unit is 2**-_UNIT: the smallest subnormal double.
_UNIT = 1074
_UNITS_PER_ONE = 1 << _UNIT
#: So many numbers are worked on at once where several steps follow each other: they stay in the processor's cache.
CACHED = 1 << 15
#: Digits whose products, many of them, can be added up in int64.
DIGIT_BITS = 24
_INF = float("inf")
#: From so many values on, numpy adds them up faster than Python.
_MANY = 64


@dataclass(frozen=True)
class Exact:
    """An exact sum of doubles, in units of 2**-1074 (of squares: of 2**-2148).

    Attributes:
        units: the sum of the finite values.
        has_nan, has_inf, has_neg_inf: what else was among the values.
    """

    units: int = 0
    has_nan: bool = False
    has_inf: bool = False
    has_neg_inf: bool = False

    @classmethod
    def of(cls, value: float) -> Exact:
        """The sum of one value."""
        if value != value:
            return cls(has_nan=True)
        if value in (_INF, -_INF):
            return cls(has_inf=value > 0, has_neg_inf=value < 0)
        numerator, denominator = value.as_integer_ratio()
        return cls(numerator * (_UNITS_PER_ONE // denominator))

    @classmethod
    def sum_of(cls, values: Sequence[float]) -> Exact:
        """The sum of some values."""
        if len(values) > _MANY and math.isfinite(sum(values)):
            limbs = float_sums([np.array(values, np.float64)], len(values), lambda part: part.sum(keepdims=True))
            return cls() if limbs is None else cls(limbs.units())
        units, finite = wholes(values)
        if len(finite) == len(values):
            return cls(sum(units))
        rest = [cls.of(value) for value in values if value - value != 0.0]
        return sum(rest, cls(sum(units)))

    def __add__(self, other: Exact) -> Exact:
        return Exact(
            self.units + other.units,
            self.has_nan or other.has_nan,
            self.has_inf or other.has_inf,
            self.has_neg_inf or other.has_neg_inf,
        )

    @property
    def special(self) -> float | None:
        """The value of the sum where it is not finite; ``None`` where it is."""
        if self.has_nan or (self.has_inf and self.has_neg_inf):
            return float("nan")
        if self.has_inf or self.has_neg_inf:
            return _INF if self.has_inf else -_INF
        return None

    def rounded(self) -> float:
        """The nearest double."""
        special = self.special
        return rounded_ratio(self.units, _UNITS_PER_ONE) if special is None else special

    def to_bytes(self) -> bytes:
        """Canonical bytes: a byte of flags, and the units without trailing zero bits."""
        flags = self.has_nan | self.has_inf << 1 | self.has_neg_inf << 2
        return bytes([flags]) + int_to_bytes(self.units)

    @classmethod
    def from_bytes(cls, data: bytes) -> Exact:
        """Build it again."""
        flags = data[0]
        return cls(int_from_bytes(data[1:]), bool(flags & 1), bool(flags & 2), bool(flags & 4))


def wholes(values: Sequence[float]) -> tuple[list[int], Sequence[float]]:
    """The finite values, as whole numbers of units of 2**-1074, and as they are."""
    finite = [value for value in values if value - value == 0.0]
    ratios = [value.as_integer_ratio() for value in finite]
    # Denominators are powers of two: shifting is faster than dividing.
    return [numerator << (_UNIT + 1 - denominator.bit_length()) for numerator, denominator in ratios], finite


def rounded_ratio(numerator: int, denominator: int) -> float:
    """The double nearest to a ratio; beyond the largest one, infinity."""
    try:
        # Python divides integers with one rounding, subnormal results included.
        return numerator / denominator
    except OverflowError:
        return _INF if numerator > 0 else -_INF


def int_to_bytes(value: int) -> bytes:
    """A whole number in canonical bytes: how often it can be halved, in two bytes, then the rest with its sign."""
    if value == 0:
        return b""
    zeros = (value & -value).bit_length() - 1
    rest = value >> zeros
    return zeros.to_bytes(2, "big") + rest.to_bytes((rest.bit_length() + 8) // 8, "big", signed=True)


def int_from_bytes(data: bytes) -> int:
    """Build it again."""
    if not data:
        return 0
    return int.from_bytes(data[2:], "big", signed=True) << int.from_bytes(data[:2], "big")


# --- Many windows at once --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limbs:
    """Sums of windows as ``sum(parts[j] * 2**(quantum + width * j))``.

    Attributes:
        parts: for each limb, the lowest first, (windows,) int64.
        quantum: the exponent of the lowest limb.
        width: bits from one limb to the next.
    """

    parts: Sequence[Int64Array]
    quantum: int
    width: int

    def slice(self, part: slice) -> Limbs:
        """Some of the windows."""
        return Limbs([limb[part] for limb in self.parts], self.quantum, self.width)

    def rounded(self) -> FloatArray:
        """(windows,) the nearest doubles."""
        parts = self.parts
        if not parts:
            return np.empty(0, np.float64)
        if len(parts) <= 2 and all(_fits_a_double(part) for part in parts):
            # One rounding: both summands are exact, and so is the scaling, for the sum is a multiple of the quantum.
            total = parts[0].astype(np.float64)
            if len(parts) == 2:
                total += parts[1] * 2.0**self.width
            return scaled(total, self.quantum)
        found = np.empty(len(parts[0]), np.float64)
        for start in range(0, len(found), CACHED):
            part = slice(start, start + CACHED)
            carried = _carried([limb[part] for limb in parts], self.width)
            found[part] = _round_carried(carried, self.width, self.quantum)
        return found

    def units(self) -> int:
        """The sum of the only window, in units of 2**-1074."""
        exponents = range(self.quantum + _UNIT, self.quantum + _UNIT + self.width * len(self.parts), self.width)
        return sum(int(part[0]) << exponent for part, exponent in zip(self.parts, exponents, strict=True))

    def digits(self) -> list[Int64Array]:
        """(windows,) digits of base 2**24, the lowest first; the last one has the sign."""
        limbs = _carried(self.parts, self.width)
        bits = self.width * len(self.parts) + int(_bit_length(np.abs(limbs[-1])).max(initial=0)) + 1
        mask = (1 << DIGIT_BITS) - 1
        found: list[Int64Array] = []
        for low in range(0, bits, DIGIT_BITS):
            place, offset = min(low // self.width, len(limbs) - 1), 0
            offset = low - place * self.width
            digit = limbs[place] >> min(offset, 63)
            if place + 1 < len(limbs) and offset + DIGIT_BITS > self.width:
                digit = digit | limbs[place + 1] << (self.width - offset)
            found.append(digit if low + DIGIT_BITS >= bits else digit & mask)
        return found


def float_sums(terms: Sequence[FloatArray], longest: int, summed: Summer, quantum: int | None = None) -> Limbs | None:
    """Exact sums of finite values over windows.

    Args:
        terms: (facts,) finite values; each fact counts with the sum of its terms.
        longest: how many facts the longest window has.
        summed: sums one int64 per fact over the facts of each window.
        quantum: the exponent of a number that all terms are multiples of; found when left out.

    Returns:
        The sums; ``None`` where no value is other than zero.
    """
    span = _span(terms)
    if span is None:
        return None
    lowest, highest = span
    quantum = lowest if quantum is None else quantum
    bits = highest - quantum
    room = 62 - max(1, longest * len(terms)).bit_length()
    count = -(-bits // room)
    width = -(-bits // count)
    parts: list[Int64Array] = []
    for term in terms:
        limbs = _split(term, quantum, width, count)
        parts = limbs if not parts else [a + b for a, b in zip(parts, limbs, strict=True)]
    return Limbs([summed(part) for part in parts], quantum, width)


def int_sums(values: Int64Array, longest: int, summed: Summer) -> Limbs:
    """Exact sums of whole numbers over windows; one limb where no window can leave int64."""
    largest = max(abs(int(values.min())), abs(int(values.max()))) if len(values) else 0
    if largest * max(1, longest) < 1 << 63:
        return Limbs([summed(values)], 0, 32)
    return Limbs([summed(values & 0xFFFFFFFF), summed(values >> 32)], 0, 32)


def squares(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n,) the squares and (n,) what their rounding lost: together exact, for values of 1e-100 to 1e100.

    Source: the product of T. Dekker, "A floating-point technique for extending the available precision", 1971.
    """
    product = values * values
    large = values * 134217729.0  # 2**27 + 1
    high = large - (large - values)
    low = values - high
    return product, ((high * high - product) + 2.0 * high * low) + low * low


def spreads(count: Int64Array, sums: Limbs, square_sums: Limbs) -> FloatArray:
    """(windows,) ``count * square_sums - sums**2``, exact and then rounded once: the variance times ``count**2``.

    Args:
        count: (windows,) how many values.
        sums: their sums.
        square_sums: the sums of their squares; its quantum is that of the sums, squared.
    """
    found = np.empty(len(count), np.float64)
    for start in range(0, len(count), CACHED):
        part = slice(start, start + CACHED)
        found[part] = _spreads(count[part], sums.slice(part), square_sums.slice(part))
    return found


def _spreads(count: Int64Array, sums: Limbs, square_sums: Limbs) -> FloatArray:
    one, squared = sums.digits(), square_sums.digits()
    total = [np.zeros(len(count), np.int64) for _ in range(max(2 * len(one), len(squared)) + 1)]
    for place, digit in enumerate(squared):
        total[place] += count * digit
    for place, digit in enumerate(one):
        total[2 * place] -= digit * digit
        for further in range(place + 1, len(one)):
            total[place + further] -= 2 * digit * one[further]
    carried = _carried(total, DIGIT_BITS)
    carried += [np.zeros(len(count), np.int64)] * (len(carried) % 2)
    pairs = [low + (high << DIGIT_BITS) for low, high in zip(carried[::2], carried[1::2], strict=True)]
    return Limbs(pairs, square_sums.quantum, 2 * DIGIT_BITS).rounded()


def scaled(values: FloatArray, exponent: int) -> FloatArray:
    """``values * 2**exponent``; infinity where that is too large."""
    with np.errstate(over="ignore", under="ignore"):
        if -1000 < exponent < 1000:
            found: FloatArray = values * 2.0**exponent
        else:
            found = np.ldexp(values, exponent)
    return found


def _span(terms: Sequence[FloatArray]) -> tuple[int, int] | None:
    """The exponent of a quantum that all values are multiples of, and one of a power of two that they stay below."""
    smallest, largest = _INF, 0.0
    for term in terms:
        for start in range(0, len(term), CACHED):
            sizes = np.abs(term[start : start + CACHED])
            largest = max(largest, float(sizes.max()))
            least = float(sizes.min())
            if least == 0.0:
                least = float(sizes.min(where=sizes > 0.0, initial=_INF))
            smallest = min(smallest, least)
    if largest == 0.0:
        return None
    # frexp: smallest = m * 2**e with 0.5 <= m < 1, so its last bit is worth 2**(e - 53) at least.
    return max(int(np.frexp(smallest)[1]) - 53, -_UNIT), int(np.frexp(largest)[1])


def _split(values: FloatArray, quantum: int, width: int, count: int) -> list[Int64Array]:
    """(n,) limbs of multiples of the quantum, the lowest first, each with the sign of the value."""
    limbs = [np.empty(len(values), np.int64) for _ in range(count)]
    for start in range(0, len(values), CACHED):
        part = slice(start, start + CACHED)
        rest = values[part]
        with np.errstate(under="ignore", over="ignore"):
            for place in range(count - 1, 0, -1):
                exponent = quantum + width * place
                limb = scaled(rest, -exponent)
                np.trunc(limb, out=limb)
                limbs[place][part] = limb
                rest = rest - scaled(limb, exponent)
            limbs[0][part] = scaled(rest, -quantum)
    return limbs


def _fits_a_double(part: Int64Array) -> bool:
    return not len(part) or bool(part.max() <= 1 << 53 and part.min() >= -(1 << 53))


def _carried(parts: Sequence[Int64Array], width: int) -> list[Int64Array]:
    """Limbs in [0, 2**width) but for the highest two, which carry the sign and what is more."""
    mask = np.int64((1 << width) - 1)
    carried: list[Int64Array] = []
    carry: Any = np.int64(0)
    for part in parts:
        # A limb has at most 62 bits and a carry fewer: no overflow.
        total = part + carry
        carried.append(total & mask)
        carry = total >> width
    carried.append(np.asarray(carry, np.int64))
    return carried


def _round_carried(limbs: Sequence[Int64Array], width: int, quantum: int) -> FloatArray:
    """The nearest doubles of carried limbs.

    The first 62 bits are gathered as an integer, with the last one set if anything is left below: enough for the
    conversion to round as the whole number would.
    """
    negative = limbs[-1] < 0
    mask = np.int64((1 << width) - 1)
    if negative.any():
        limbs = _negated(limbs, negative, mask)
    held = limbs[-1].copy()
    used = _bit_length(held)
    left_out = np.zeros(len(held), np.int64)  # Bits that found no place.
    sticky = np.zeros(len(held), np.bool_)
    for limb in limbs[-2::-1]:
        free = np.clip(62 - used, 0, width)
        held = (held << free) | (limb >> (width - free))
        sticky |= (limb & ((np.int64(1) << (width - free)) - 1)) != 0
        left_out += width - free
        used = np.where(held != 0, _bit_length(held), 0)
    held |= sticky
    with np.errstate(over="ignore", under="ignore"):
        found: FloatArray = np.ldexp(held.astype(np.float64), left_out + quantum)
    return np.where(negative, -found, found) + 0.0


def _negated(limbs: Sequence[Int64Array], where: NDArray[np.bool_], mask: np.int64) -> list[Int64Array]:
    """The limbs with the other sign where asked for."""
    found: list[Int64Array] = []
    borrow = where.astype(np.int64)
    for limb in limbs[:-1]:
        flipped = (limb ^ mask) + borrow
        over = flipped > mask
        found.append(np.where(where, flipped & mask, limb))
        borrow = (where & over).astype(np.int64)
    found.append(np.where(where, ~limbs[-1] + borrow, limbs[-1]))
    return found


def _bit_length(values: Int64Array) -> Int64Array:
    """Bits of numbers that are not negative; a rounding up to the next power of two counts one bit more."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)
