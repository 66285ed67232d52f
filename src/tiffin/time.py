"""Time as tiffin keeps it: int64 microseconds since 1970-01-01 UTC, and clocks that are handed in.

No other module reads the wall clock. Nanoseconds are floored; a time without a zone is UTC (PIT-7).
"""

from __future__ import annotations

import re
import time as _time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from tiffin.errors import InputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

#: The smallest and largest times that can be kept: years 1 to 9999, as Python's and Arrow's readers agree on.
MIN_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
MAX_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)")
#: What a time that is a number may count, and how many of it are a second.
TIME_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

_UNIT_US = {"us": 1, "ms": 1000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}


class Clock(Protocol):
    """Tells the present moment; handed in wherever ``now`` matters."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC, by the machine."""
        return _time.time_ns() // 1000


class ManualClock:
    """A clock that stands still until it is told to move: for tests, replays and simulations.

    >>> clock = ManualClock("2024-01-01T00:00:00Z")
    >>> clock.advance(timedelta(hours=1))
    >>> format_us(clock.now_us())
    '2024-01-01T01:00:00Z'
    """

    def __init__(self, start: datetime | str | int) -> None:
        self._now_us = to_us(start)

    def now_us(self) -> int:
        """The moment that the clock was set to."""
        return self._now_us

    def advance(self, by: timedelta) -> None:
        """Move forward by ``by``."""
        self._now_us += duration_us(by)

    def set(self, to: datetime | str | int) -> None:
        """Move to ``to``."""
        self._now_us = to_us(to)


def to_us(value: datetime | date | str | int) -> int:
    """Microseconds since 1970-01-01 UTC of a moment.

    Args:
        value: a datetime (naive means UTC), a date (its midnight UTC), ISO 8601 text, or microseconds already.

    Raises:
        InputError: the text is not ISO 8601, or the value is of another type.

    >>> to_us("1970-01-01T00:00:01")
    1000000
    """
    if isinstance(value, bool):
        raise InputError(f"{value!r} is not a time")
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        text = value.strip()
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            hint = "write times as 2024-01-31T12:00:00 (UTC) or with a zone: 2024-01-31T12:00:00+02:00"
            raise InputError(f"{text!r} is not a time in ISO 8601", hint=hint) from None
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise InputError(f"{value!r} is not a time", hint="pass a datetime, ISO 8601 text or microseconds")
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return (value - EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """The moment as an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=us)


def format_us(us: int) -> str:
    """The moment as ISO 8601 in UTC, without a needless fraction.

    >>> format_us(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return from_us(us).isoformat().replace("+00:00", "Z")


def duration_us(value: timedelta) -> int:
    """A duration in microseconds, exact."""
    return value // timedelta(microseconds=1)


def parse_duration(text: str) -> timedelta:
    """A duration written as people write it.

    Raises:
        InputError: the text is not a sequence of numbers with a unit.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    compact = text.strip().lower()
    parts = _DURATION.findall(compact)
    if not parts or "".join(n + u for n, u in parts) != compact.replace(" ", ""):
        raise InputError(f"{text!r} is not a duration", hint="write 90s, 15m, 1h30m, 7d; units: us ms s m h d w")
    return timedelta(microseconds=round(sum(float(n) * _UNIT_US[u] for n, u in parts)))


def format_duration(value: timedelta | None) -> str:
    """A duration as people read it; ``None`` is ``forever``.

    >>> format_duration(timedelta(days=1, hours=2))
    '1d2h'
    """
    if value is None:
        return "forever"
    left = duration_us(value)
    if left == 0:
        return "0s"
    sign, left = ("-", -left) if left < 0 else ("", left)
    text = ""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, left = divmod(left, _UNIT_US[unit])
        text += f"{count}{unit}" if count else ""
    return sign + text


def parse_period(text: str) -> tuple[int | None, int | None]:
    """A period ``FROM..TO`` in microseconds, of which either end may be left open.

    Raises:
        InputError: it has no two dots, an end is no time, or it does not begin before it ends.

    >>> parse_period("1970-01-01..1970-01-02")
    (0, 86400000000)
    """
    since, dots, until = text.partition("..")
    if not dots:
        raise InputError(f"{text!r} is no period", hint="write FROM..TO, such as 2024-01-01..2024-02-01")
    ends = tuple(to_us(end) if end.strip() else None for end in (since, until))
    if None not in ends and not ends[0] < ends[1]:  # type: ignore[operator]
        raise InputError(f"the period {text} is empty", hint="it begins before it ends")
    return ends[0], ends[1]


class EventTime(datetime):
    """The time of a fact, aware and in UTC. A naive time minus it is a duration: naive means local, as in Python."""

    @classmethod
    def of(cls, us: int) -> EventTime:
        """From microseconds."""
        moment = from_us(us)
        return cls.combine(moment.date(), moment.timetz())

    def __rsub__(self, other: object) -> timedelta:
        if not isinstance(other, datetime):
            return NotImplemented
        aware = other.astimezone() if other.tzinfo is None else other
        return aware - datetime.combine(self.date(), self.timetz())
