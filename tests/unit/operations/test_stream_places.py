"""Where a stream begins and ends, as people say it."""

from __future__ import annotations

import pytest

from tiffin.contracts.stream import Start, Until
from tiffin.errors import InputError
from tiffin.operations.stream import start_of, until_of

NOON, NOON_US = "2024-06-01T12:00:00Z", 1_717_243_200_000_000


def test_words_and_times_are_understood() -> None:
    assert [start_of(place) for place in (None, "earliest", "latest", NOON)] == [
        Start(),
        Start("earliest"),
        Start("latest"),
        Start("time", NOON_US),
    ]
    assert [until_of(time) for time in (None, "now", NOON)] == [None, Until(), Until(NOON_US)]


def test_what_is_neither_is_told_with_what_there_is() -> None:
    with pytest.raises(InputError, match="'latst' is not a time in ISO 8601, nor is it earliest or latest") as caught:
        start_of("latst")
    assert "write times as" in caught.value.hint
    with pytest.raises(InputError, match="'noww' is not a time in ISO 8601, nor is it now"):
        until_of("noww")
