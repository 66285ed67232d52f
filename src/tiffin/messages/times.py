"""Times of messages as int64 microseconds: text, numbers of a unit that is declared, or datetimes.

A number in the wrong unit is a time like any other, only of another century. So a number whose time is not of our days,
but would be in another unit, is refused with both readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values
from tiffin.errors import InputError
from tiffin.time import DAY_US, MAX_US, MIN_US, TIME_UNITS, format_us, to_us

#: Times from here on, up to a year from now, are plausible without a further look: 1990.
_PLAUSIBLE_US = to_us("1990-01-01")
#: A reading in another unit is the likely one when it is of these days.
_LIKELY_US = to_us("2000-01-01")


def times_us(
    values: Sequence[Any], path: str, unit: str, now_us: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[int, str]]:
    """Times of a column.

    Args:
        values: (n,) text in ISO 8601, numbers, datetimes or ``None``.
        path: of the column, for reasons.
        unit: what numbers count; empty when it is not said.
        now_us: the present moment, against which a unit is judged.

    Returns:
        (n,) the times; (n,) where there is one; and why a value is none, by its number.
    """
    quick = _texts(values) if values and type(values[0]) is str else _numbers(values, unit, now_us)
    if quick is not None:
        return quick, np.ones(len(values), np.bool_), {}
    times, there = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    wrong: dict[int, str] = {}
    for number, value in enumerate(values):
        if value is None:
            continue
        try:
            times[number] = _one(value, path, unit, now_us)
            there[number] = True
        except InputError as error:
            wrong[number] = f"{error.message}; {error.hint}" if error.hint else error.message
    return times, there, wrong


def _texts(values: Sequence[Any]) -> NDArray[np.int64] | None:
    """All of them as Arrow parses them, where all are text of one kind; it agrees with ``to_us`` where it parses."""
    import pyarrow as pa

    try:
        texts = pa.array(values, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid, UnicodeError):
        return None
    if texts.null_count:
        return None
    for wanted in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            parsed: NDArray[np.int64] = numpy_values(texts.cast(wanted))
        except pa.ArrowInvalid:
            continue
        return parsed if bool(((parsed >= MIN_US) & (parsed <= MAX_US)).all()) else None
    return None


def _numbers(values: Sequence[Any], unit: str, now_us: int) -> NDArray[np.int64] | None:
    """All of them, where they are whole numbers of the declared unit and plausible."""
    if not unit or not all(type(value) is int for value in values):
        return None
    ticks = TIME_UNITS[unit]
    first, last = _PLAUSIBLE_US * ticks // 1_000_000, (now_us + 365 * DAY_US) * ticks // 1_000_000
    if not values or min(values) < first or max(values) > last:
        return None
    found = np.asarray(values, np.int64)
    return found // (ticks // 1_000_000) if ticks >= 1_000_000 else found * (1_000_000 // ticks)


def _one(value: Any, path: str, unit: str, now_us: int) -> int:
    if isinstance(value, str | datetime | date):
        us = to_us(value)
        if not MIN_US <= us <= MAX_US:
            raise InputError(f"the time in {path!r} is not in the years 1 to 9999")
        return us
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e30:
        raise InputError(f"{value!r} in {path!r} is no time")
    readings = {name: us for name, ticks in TIME_UNITS.items() if MIN_US <= (us := _scaled(value, ticks)) <= MAX_US}
    likely = {name: us for name, us in readings.items() if _LIKELY_US <= us <= now_us + DAY_US}
    best = next(iter(likely), "")
    said = f", and in {best!r} it is {format_us(likely[best])}" if best else ""
    if not unit:
        hint = f"pass timestamp_unit={best or 'ms'!r} to its format" if best or readings else ""
        raise InputError(f"{value!r} in {path!r} is a number, and no timestamp_unit is declared{said}", hint=hint)
    if unit not in readings:
        message = f"{value!r} in {path!r} is no time in {unit!r}, of the years 1 to 9999{said}"
        raise InputError(message, hint=_wrong(best))
    if unit not in likely and best and not _PLAUSIBLE_US <= readings[unit] <= now_us + DAY_US:
        raise InputError(
            f"{value!r} in {path!r} is {format_us(readings[unit])} in the declared unit {unit!r}{said}",
            hint=_wrong(best),
        )
    return readings[unit]


def _wrong(best: str) -> str:
    return f"the unit is wrong: pass timestamp_unit={best!r} to its format, or mend the producer" if best else ""


def _scaled(value: int | float, ticks: int) -> int:
    """Microseconds of a number, floored."""
    if isinstance(value, int):
        return value * 1_000_000 // ticks
    return int(value * (1_000_000 / ticks) // 1)
