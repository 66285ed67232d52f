"""Times of messages: text, numbers of a unit, and numbers of the wrong one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InputError
from tiffin.messages.times import times_us
from tiffin.time import to_us
from unit.messages.batches import NOW_US

NOON_S = 1_717_243_200


def times(values, unit=""):
    found, there, wrong = times_us(values, "at", unit, NOW_US)
    return [us if ok else None for us, ok in zip(found.tolist(), there.tolist(), strict=True)], wrong


@pytest.mark.parametrize(
    ("unit", "value"),
    [("s", NOON_S), ("s", NOON_S + 0.25), ("ms", NOON_S * 1000), ("us", NOON_S * 10**6), ("ns", NOON_S * 10**9 + 999)],
)
def test_numbers_count_what_is_declared(unit, value) -> None:
    expected = NOON_S * 10**6 + (250_000 if isinstance(value, float) else 0)
    assert times([value, value], unit) == ([expected, expected], {})


@pytest.mark.parametrize(
    ("declared", "actual"),
    [("s", "ms"), ("s", "us"), ("ms", "s"), ("ms", "us"), ("us", "ms"), ("us", "s"), ("ns", "s")],
)
def test_a_number_in_the_wrong_unit_is_detected_and_said(declared, actual) -> None:
    value = {"s": NOON_S, "ms": NOON_S * 1000, "us": NOON_S * 10**6}[actual]
    found, wrong = times([value], declared)
    assert found == [None]
    assert f"in {actual!r} it is 2024-06-01T12:00:00Z" in wrong[0]
    assert f"timestamp_unit='{actual}'" in wrong[0]


def test_a_number_without_a_declared_unit_says_which_it_may_be() -> None:
    found, wrong = times([NOON_S * 1000])
    assert found == [None]
    assert "no timestamp_unit is declared, and in 'ms' it is 2024-06-01T12:00:00Z" in wrong[0]


@pytest.mark.parametrize("value", [300_000_000, NOON_S - 86_400 * 365, NOON_S + 3600])
def test_times_of_other_days_are_times(value) -> None:
    assert times([value], "s") == ([value * 10**6], {})


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), [], {}, "1717243200", 10**40])
def test_what_is_no_time_is_said(value) -> None:
    found, wrong = times([value], "s")
    assert found == [None]
    assert wrong[0]


def test_wrong_values_leave_the_others() -> None:
    found, wrong = times(["2024-06-01", None, "x", "2024-06-01T01:00:00Z"])
    assert found == [to_us("2024-06-01"), None, None, to_us("2024-06-01T01:00:00Z")]
    assert list(wrong) == [2]


def test_datetimes_are_taken() -> None:
    moment = datetime(2024, 6, 1, 12, tzinfo=UTC)
    assert times([moment, moment]) == ([NOON_S * 10**6] * 2, {})


texts = st.one_of(
    st.datetimes(timezones=st.sampled_from([None, UTC])).map(datetime.isoformat),
    st.from_regex(
        r"20[0-9]{2}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?)?(Z|\+0[0-9]:?00)?",
        fullmatch=True,
    ),
    st.text(max_size=8),
)


@given(st.lists(texts, min_size=1, max_size=5))
def test_text_means_what_it_means_everywhere_else(values) -> None:
    """PIT-7: whether all of a batch are parsed at once or one by one."""
    found, wrong = times(values)
    for number, (text, us) in enumerate(zip(values, found, strict=True)):
        try:
            assert us == to_us(text)
        except InputError:
            assert number in wrong
