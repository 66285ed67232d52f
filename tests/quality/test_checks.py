"""The checks of a scheduler beside that of freshness: what was served, and what is in quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from quality.world import DAY, HOUR, NOON, World, fact, model, opened, stats
from tiffin import Expectation
from tiffin.errors import SourceError
from tiffin.quality.quarantine_check import QuarantineCheck
from tiffin.quality.verify_check import VerifyCheck


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from opened(tmp_path)


def verified(world: World) -> list[tuple[str, str]]:
    return [(each.subject, each.message) for each in VerifyCheck().run(world.store.context)]


def test_nothing_logged_is_nothing_wrong(world: World) -> None:
    assert verified(world) == []
    assert world.store.monitor(["verify"], tell=False).is_well


def test_what_was_served_rightly_is_not_told(world: World) -> None:
    world.write(fact(1, NOON - HOUR))
    world.load()
    world.serve(1, 2)
    assert verified(world) == []


def test_each_feature_that_differs_is_told_with_its_cause_for_a_day(world: World) -> None:
    world.write(fact(1, NOON - HOUR))
    world.serve(1, 2)
    expected = [
        (f"feature service model: stats:{name}", "1 of 2 values of the last day differ from training: store_lag (1)")
        for name in ("rate", "score", "trips", "place", "vector")
    ]
    assert verified(world) == expected
    world.clock.advance(DAY + timedelta(seconds=1))
    assert verified(world) == []


def test_log_that_cannot_be_compared_is_told(world: World) -> None:
    world.write(fact(1, NOON - HOUR))
    world.load()
    world.serve(1)
    world.serve(1)
    world.logs()[0].write_bytes(b"nothing")
    ((subject, message),) = verified(world)
    assert subject == "feature service model"
    assert "1 files and 0 rows of its log cannot be compared" in message
    world.logs()[1].write_bytes(b"nothing")
    with pytest.raises(SourceError, match="2 file"):
        VerifyCheck().run(world.store.context)
    assert world.store.monitor(["verify"], tell=False).failed.keys() == {"verify"}


def test_facts_in_quarantine_are_told_for_a_day(tmp_path: Path) -> None:
    few = stats(expectations=[Expectation.between(0, 20, "trips", on_failure="quarantine")])
    for world in opened(tmp_path, few, model(few)):
        check = QuarantineCheck()
        assert check.run(world.store.context) == []
        world.write(fact(1, NOON - HOUR), fact(3, NOON - HOUR), fact(4, NOON - HOUR))
        world.load()
        (found,) = check.run(world.store.context)
        assert found.subject == "feature view stats"
        # The fact of driver 9, a month ago, too.
        assert "3 facts were put into the quarantine" in found.message
        assert world.store.quarantine("stats").num_rows == 3
        world.clock.advance(DAY + timedelta(seconds=1))
        assert check.run(world.store.context) == []
