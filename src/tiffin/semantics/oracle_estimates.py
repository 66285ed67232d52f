"""The reference for estimates: hashes as text of bits, registers in a dict, percentiles of a sorted list.

Its invariant is that of `oracle`: plain enough to be checked by eye, and independent of the code that it judges. What
it shares with that code is what the functions are defined by: the hash, the number of registers and of digits.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction

_WORD = 2**64


def scrambled(number: int) -> int:
    """SplitMix64: its output for a state of so many steps from where it begins."""
    state = (0x243F6A8885A308D3 + number * 0x9E3779B97F4A7C15) % _WORD
    state = (state ^ state // 2**30) * 0xBF58476D1CE4E5B9 % _WORD
    state = (state ^ state // 2**27) * 0x94D049BB133111EB % _WORD
    return state ^ state // 2**31


def value_hash(value: object) -> int:
    """The hash of a value."""
    if isinstance(value, float):
        value = 0.0 if value == 0 else math.nan if math.isnan(value) else value
        return scrambled(struct.unpack("<Q", struct.pack("<d", value))[0])
    if isinstance(value, int):
        return scrambled(value % _WORD)
    assert isinstance(value, str | bytes)
    text = value.encode("utf-8") if isinstance(value, str) else value
    total = len(text)
    for place in range(math.ceil(len(text) / 8)):
        word = text[8 * place : 8 * place + 8].ljust(8, b"\0")
        total += scrambled(struct.unpack("<Q", word)[0] ^ scrambled(place))
    return scrambled(total % _WORD)


def distinct_estimate(values: Iterable[object], precision: int) -> int:
    """About how many different values there are: exact for so few that their hashes take no more room than registers.

    The estimator is Ertl's improved raw one, as a fraction up to its two series.
    """
    hashes = {value_hash(value) for value in values}
    registers = 2**precision
    if 64 * len(hashes) <= 6 * registers:
        return len(hashes)
    ranks: dict[str, int] = {}
    for number in hashes:
        bits = f"{number:064b}"
        register, rest = bits[:precision], bits[precision:] + "1"
        ranks[register] = max(ranks.get(register, 0), rest.index("1") + 1)
    last = 64 - precision + 1
    total = sum((Fraction(1, 2**rank) for rank in ranks.values() if rank < last), Fraction(0))
    empty = (registers - len(ranks)) / registers
    total += registers * Fraction(empty + math.fsum(empty ** (2**k) * 2 ** (k - 1) for k in range(1, 60)))
    full = sum(rank == last for rank in ranks.values())
    if full:
        left = 1 - full / registers
        series = math.fsum((1 - left ** (0.5**k)) ** 2 * 0.5**k for k in range(1, 60))
        total += registers * Fraction(1 - left - series) / 3 / 2 ** (last - 1)
    estimate: Fraction = registers**2 / (2 * Fraction(math.log(2)) * total)
    return round(estimate)


def percentile_estimate(values: Sequence[float], p: float, precision: int) -> float:
    """The nearest-rank percentile, rounded to `precision + 1` binary digits, within what the numbers lie between.

    The smallest and the largest number are not rounded. NaN is the greatest; zero has no sign.
    """
    numbers = sorted((float(value) for value in values), key=lambda number: (math.isnan(number), number))
    rank = max(1, math.ceil(Fraction(str(p)) * len(numbers)))
    found = numbers[rank - 1]
    there = [number for number in numbers if not math.isnan(number)]
    if not math.isfinite(found) or rank in (1, len(there)):
        return found + 0.0
    return min(max(short_number(found, precision), there[0]), there[-1]) + 0.0


def short_number(number: float, precision: int) -> float:
    """A finite number with `precision + 1` binary digits, fewer for those below 2**-1022; ties away from zero."""
    exponent = max(math.frexp(number)[1] - 1, -1022)
    unit = Fraction(2) ** (exponent - precision)
    digits = math.floor(abs(Fraction(number)) / unit + Fraction(1, 2))
    if digits * unit >= 2**1024:
        digits -= 1
    return math.copysign(float(digits * unit), number) + 0.0
