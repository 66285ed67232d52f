"""Times are int64 microseconds UTC, and durations are exact."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InputError
from tiffin.time import (
    MAX_US,
    MIN_US,
    ManualClock,
    SystemClock,
    duration_us,
    format_duration,
    format_us,
    from_us,
    parse_duration,
    parse_period,
    to_us,
)


@given(st.integers(MIN_US, MAX_US))
def test_a_moment_comes_back_from_a_datetime_and_from_text(us: int) -> None:
    assert to_us(from_us(us)) == us
    assert to_us(format_us(us)) == us


@given(st.datetimes(), st.integers(-14, 14))
def test_a_zone_moves_the_text_and_not_the_moment(naive: datetime, hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    moment = naive.replace(tzinfo=UTC)
    assert to_us(naive) == to_us(moment)
    if datetime(2, 1, 1) < naive < datetime(9999, 12, 30):
        assert to_us(moment.astimezone(zone)) == to_us(moment)
        assert to_us(moment.astimezone(zone).isoformat()) == to_us(moment)


def test_a_date_is_its_midnight() -> None:
    assert to_us(date(1970, 1, 2)) == 86_400_000_000


@pytest.mark.parametrize("value", ["yesterday", "", "2024-13-01", None, 1.5, True])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="is not a time"):
        to_us(value)  # type: ignore[arg-type]


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000)))
def test_a_duration_comes_back_from_its_text(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("7d", 604_800), ("1.5 h", 5400), ("1W", 604_800)]
)
def test_durations_are_written_as_people_do(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "7y", "h", "1h x", "-1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a duration"):
        parse_duration(text)


def test_durations_are_shown_short() -> None:
    assert format_duration(None) == "forever"
    assert format_duration(timedelta(0)) == "0s"
    assert format_duration(-timedelta(minutes=90)) == "-1h30m"
    assert duration_us(timedelta(microseconds=-1)) == -1


def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock("2024-01-01")
    clock.advance(timedelta(seconds=1))
    assert format_us(clock.now_us()) == "2024-01-01T00:00:01Z"
    clock.set(0)
    assert clock.now_us() == 0


def test_the_system_clock_tells_microseconds() -> None:
    assert abs(SystemClock().now_us() - to_us(datetime.now(UTC))) < 60_000_000


@pytest.mark.parametrize(
    ("text", "period"),
    [("1970-01-01..1970-01-02", (0, 86_400_000_000)), ("..1970-01-02", (None, 86_400_000_000)), ("..", (None, None))],
)
def test_periods_are_written_with_two_dots(text: str, period: tuple[int | None, int | None]) -> None:
    assert parse_period(text) == period


@pytest.mark.parametrize("text", ["", "2024-01-01", "a..b", "2024-01-02..2024-01-01", "2024-01-01..2024-01-01"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"no period|not a time|is empty"):
        parse_period(text)
