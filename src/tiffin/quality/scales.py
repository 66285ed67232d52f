"""Where the marks of an axis stand, and what is written at them. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable

from tiffin.time import DAY_US, HOUR_US, MINUTE_US, SECOND_US, from_us

#: Steps between times that people count in, in microseconds.
_TIME_STEPS = (
    *(SECOND_US * count for count in (1, 5, 15, 30)),
    *(MINUTE_US * count for count in (1, 5, 15, 30)),
    *(HOUR_US * count for count in (1, 3, 6, 12)),
    *(DAY_US * count for count in (1, 2, 4, 7, 14, 30, 90, 365)),
)
_BY_NAME = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def nice_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not less than a positive number.

    >>> nice_step(0.3), nice_step(17), nice_step(50)
    (0.5, 20.0, 50.0)
    """
    power = 10.0 ** math.floor(math.log10(least))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least * (1 - 1e-9))


def nice_time_step(least_us: float) -> float:
    """The smallest step between times, in microseconds, that people count in and that is not less than this one.

    >>> nice_time_step(40 * MINUTE_US) == HOUR_US
    True
    """
    return next(
        (step for step in _TIME_STEPS if step >= least_us),
        _TIME_STEPS[-1] * nice_step(max(1.0, least_us / _TIME_STEPS[-1])),
    )


def ticks(low: float, high: float, most: int = 5, step: Callable[[float], float] = nice_step) -> list[float]:
    """Up to about ``most`` numbers between two, a step apart, and multiples of it.

    >>> ticks(0, 0.43, 4)
    [0.0, 0.2, 0.4]
    """
    if not low < high or not math.isfinite(high - low):
        return [low] if math.isfinite(low) else []
    apart = step((high - low) / most)
    first, last = math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9)
    return [number * apart for number in range(first, last + 1)]


def short_number(number: float) -> str:
    """A number with few digits, for people.

    >>> [short_number(number) for number in (0, 0.125, 1500, 2_300_000, -4e-9)]
    ['0', '0.125', '1.5k', '2.3M', '-4e-09']
    """
    for size, name in _BY_NAME:
        if size <= abs(number) < 1e15:
            return f"{number / size:.4g}{name}"
    return f"{number:.3g}"


def short_time(us: float, step_us: float = DAY_US) -> str:
    """A time with as much of it as matters where the next one is a step away.

    >>> short_time(0), short_time(0, HOUR_US)
    ('1970-01-01', '01-01 00:00')
    """
    moment = from_us(round(us))
    if step_us >= DAY_US:
        return moment.date().isoformat()
    return f"{moment:%m-%d %H:%M}" if step_us >= MINUTE_US else f"{moment:%H:%M:%S}"
