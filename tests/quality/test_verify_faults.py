"""Faults that are planted between training and serving: each is found, and called by its name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quality import world as worlds
from quality.world import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    World,
    boosted,
    fact,
    model,
    plus_extra,
    product,
    stats,
    times_extra,
    windows,
)
from tiffin import FeatureStore, ManualClock
from tiffin.planning.online import OnlinePlan
from tiffin.quality.verify import ServiceVerification

FOUR = (1, 2, 3, 4)


def verified(world: World) -> ServiceVerification:
    return world.store.verify("model").services[0]


def causes_of(world: World) -> dict[str, dict[str, int]]:
    """Feature to cause to cells, of the features that differ."""
    return {each.feature: dict(each.causes) for each in verified(world).features if each.different}


def loaded(folder: Path, *definitions: Any, **arguments: Any) -> World:
    """A world in which four drivers have a fact of an hour ago, loaded by now."""
    world = World(folder, *definitions, **arguments)
    world.write(*(fact(driver, NOON - HOUR) for driver in FOUR))
    world.load()
    return world


@pytest.mark.parametrize("mode", ["known", "event"])
def test_without_a_fault_nothing_differs(tmp_path: Path, mode: str) -> None:
    world = loaded(tmp_path, stats(), windows(), product(), model(stats(), windows(), product()), mode=mode)
    for _ in range(3):
        world.serve(*FOUR, 404, extra=2.0)
        world.clock.advance(15 * HOUR)
    found = verified(world)
    assert (found.rows, found.compared, found.different, found.causes) == (15, 15 * 8, 0, {})
    assert found.is_complete
    assert found.mismatches.num_rows == 0


def test_changed_function(tmp_path: Path) -> None:
    world = loaded(tmp_path, stats(), product(times_extra), model(stats(), product(times_extra)))
    world.serve(*FOUR, extra=3.0)
    world.clock.advance(MINUTE)
    world.apply(product(plus_extra), model(stats(), product(plus_extra)))
    assert causes_of(world) == {"computed:product": {"function_changed": 4}}


def test_changed_function_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be run again is told by its hash."""
    world = loaded(tmp_path, stats(), product(times_extra), model(stats(), product(times_extra)))
    world.serve(*FOUR, extra=3.0)
    world.clock.advance(MINUTE)
    world.apply(product(plus_extra), model(stats(), product(plus_extra)))
    from tiffin.definitions import function

    kept = {code: each for code, each in function._KNOWN.items() if code.name != "times_extra"}
    monkeypatch.setattr(function, "_KNOWN", kept)
    monkeypatch.delattr(worlds, "times_extra")
    assert causes_of(world) == {"computed:product": {"function_changed": 4}}


def test_changed_definition(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.clock.advance(12 * HOUR)
    world.serve(*FOUR)
    world.clock.advance(MINUTE)
    world.apply(stats(ttl=2 * HOUR), model())
    cells = {f"stats:{name}": {"definition_changed": 4} for name in worlds.FIELDS}
    assert causes_of(world) == cells
    assert {each.extra for each in verified(world).features} == {4}


def test_outdated_definition(tmp_path: Path) -> None:
    """A server that goes on with definitions that have been replaced."""
    world = loaded(tmp_path, cache_seconds=3600 * 24)
    with FeatureStore(config=world.config, clock=world.clock) as server:
        server.get_feature_service("model")
        world.clock.advance(12 * HOUR)
        world.apply(stats(ttl=2 * HOUR), model())
        world.clock.advance(MINUTE)
        world.serve(*FOUR, store=server)
    assert causes_of(world)["stats:rate"] == {"outdated_definition": 4}


def test_shifted_clock(tmp_path: Path) -> None:
    """A server whose clock is slow answers with facts of its future."""
    world = loaded(tmp_path)
    world.write(fact(1, NOON - MINUTE, rate=7.0))
    world.load()
    with FeatureStore(config=world.config, clock=ManualClock(NOON - 10 * MINUTE)) as slow:
        world.serve(1, 2, store=slow)
    found = causes_of(world)
    assert found["stats:rate"] == {"clock_shift": 1}


def test_lossy_cast(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.write(*(fact(driver, NOON - HOUR / 2) for driver in FOUR))
    world.online(*(fact(driver, NOON - HOUR / 2, rate=float(np.float32(driver + 0.123456789012))) for driver in FOUR))
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:rate": {"lossy_type": 4}}
    spread = verified(world).features[0].spread
    assert spread is not None
    assert (spread.unit, spread.count) == ("difference", 4)
    assert 0 < spread.largest < 1e-6


def test_rounded_list(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.write(*(fact(driver, NOON - HOUR / 2) for driver in FOUR))
    world.online(*(fact(driver, NOON - HOUR / 2, vector=[round(driver + 1 / 3, 3), 0.1, 0.2]) for driver in FOUR))
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:vector": {"lossy_type": 4}}
    spread = verified(world).features[-1].spread
    assert spread is not None
    assert (spread.unit, spread.count, spread.largest) == ("edits", 4, 1.0)


def test_lost_write(tmp_path: Path) -> None:
    """Three of four facts reach the store, and the store goes on to facts that came later."""
    world = loaded(tmp_path)
    new = [fact(driver, NOON + MINUTE, rate=driver / 8) for driver in FOUR]
    after = fact(4, NOON + 2 * MINUTE, rate=9.0)
    world.write(*new, after)
    world.clock.advance(5 * MINUTE)
    world.online(*new[1:], after)
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:rate": {"lost_write": 1}}


def test_lost_write_of_a_load(tmp_path: Path) -> None:
    """A load that was to bring a fact said that it did."""
    world = loaded(tmp_path)
    old = [fact(driver, NOON - HOUR) for driver in FOUR]
    world.write(*(fact(driver, NOON + MINUTE, rate=driver / 8) for driver in FOUR))
    world.clock.advance(5 * MINUTE)
    world.load()
    world.store.context.online.delete(world.store.context.snapshot().storage("stats").table, _keys(world, 2))
    world.online(old[1])
    world.clock.advance(MINUTE)
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:rate": {"lost_write": 1}}


def _keys(world: World, driver: int) -> list[bytes]:
    from tiffin.online.keys import encode_keys
    from tiffin.types import Int64

    return [key for key in encode_keys([[driver]], [Int64], ["driver_id"], 1) if key is not None]


def test_stale_store(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.write(*(fact(driver, NOON + MINUTE, rate=driver / 8) for driver in FOUR), fact(5, NOON + MINUTE))
    world.clock.advance(5 * MINUTE)
    world.serve(*FOUR, 5)
    found = causes_of(world)
    assert found.pop("stats:rate") == {"store_lag": 5}
    assert set(found) == {f"stats:{name}" for name in worlds.FIELDS} - {"stats:rate"}
    assert all(causes == {"store_lag": 1} for causes in found.values())
    assert {each.missing for each in verified(world).features} == {1}


def test_a_fact_that_arrives_late_but_arrives_is_not_lost(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    new = [fact(driver, NOON + MINUTE, rate=driver / 8) for driver in (1, 2)]
    after = fact(2, NOON + 2 * MINUTE, rate=9.0)
    world.write(*new, after)
    world.clock.advance(5 * MINUTE)
    world.online(new[1], after)
    world.serve(1, 2)
    world.online(new[0])
    world.clock.advance(MINUTE)
    world.serve(1, 2)
    assert causes_of(world) == {"stats:rate": {"store_lag": 1}}


def test_correction_that_is_not_loaded(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.write(fact(1, NOON - HOUR, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:rate": {"store_lag": 1}}


def served_by_longer_ttl(world: World) -> None:
    """From now on, a server judges ages by a ttl of its own."""
    plans = world.store.context.snapshot().plans
    for shape, kept in list(plans.items()):
        # Plans of reads stand among others that belong to the same definitions.
        if isinstance(kept, tuple) and kept and isinstance(kept[0], OnlinePlan):
            views = tuple(replace(view, ttl_us=3 * view.ttl_us) for view in kept[0].views)
            plans[shape] = replace(kept[0], views=views), *kept[1:]


@pytest.mark.parametrize(("beyond", "cause"), [(timedelta(milliseconds=400), "ttl_edge"), (2 * HOUR, "wrong_ttl")])
def test_ttl(tmp_path: Path, beyond: timedelta, cause: str) -> None:
    world = loaded(tmp_path)
    world.clock.set(NOON - HOUR + DAY + beyond)
    world.serve(1)
    served_by_longer_ttl(world)
    world.serve(2, 3)
    found = causes_of(world)
    assert found["stats:rate"] == {cause: 2}
    assert len(found) == len(worlds.FIELDS)


def test_late_fact(tmp_path: Path) -> None:
    """By event time alone, training knows what nobody knew."""
    world = loaded(tmp_path, mode="event")
    world.serve(*FOUR)
    world.write(fact(1, NOON - HOUR / 2, NOON + HOUR, rate=9.0), fact(2, NOON - HOUR, NOON + HOUR, rate=9.0))
    assert causes_of(world) == {"stats:rate": {"late_fact": 2}}


def test_late_fact_in_a_window(tmp_path: Path) -> None:
    world = loaded(tmp_path, stats(), windows(), model(windows()), mode="event")
    world.write(fact(1, NOON - 10 * MINUTE), fact(2, NOON - 10 * MINUTE))
    world.load()
    world.serve(1, 2)
    world.write(fact(1, NOON - 20 * MINUTE, NOON + HOUR))
    assert causes_of(world) == {"recent:trips_1h": {"late_fact": 1}, "recent:facts_1d": {"late_fact": 1}}


def test_stale_window(tmp_path: Path) -> None:
    world = loaded(tmp_path, stats(), windows(), model(windows()))
    world.write(fact(1, NOON - 10 * MINUTE))
    world.serve(1, 2)
    assert causes_of(world) == {"recent:trips_1h": {"store_lag": 1}, "recent:facts_1d": {"store_lag": 1}}


def test_null_for_value(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.write(*(fact(driver, NOON - HOUR / 2) for driver in FOUR))
    world.online(*(fact(driver, NOON - HOUR / 2, trips=None) for driver in FOUR))
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:trips": {"null_for_value": 4}}


def test_swapped_columns(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    rows = [fact(driver, NOON - HOUR / 2) for driver in FOUR]
    world.write(*rows)
    world.online(*({**row, "rate": row["score"], "score": row["rate"]} for row in rows))
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:rate": {"swapped_columns": 4}, "stats:score": {"swapped_columns": 4}}


def test_pushed_online_only(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.online(fact(1, NOON - MINUTE, rate=0.75))
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:rate": {"not_in_history": 1}}


def test_history_that_begins_after_the_log(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.serve(*FOUR)
    world.facts = []
    world.write(fact(1, NOON + HOUR))
    found = causes_of(world)
    assert all(causes == {"not_in_history": 4} for causes in found.values())
    assert len(found) == len(worlds.FIELDS)


def test_transformation_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function whose own source is the same, and that calls another one which is not."""
    world = loaded(tmp_path, stats(), product(boosted), model(stats(), product(boosted)))
    monkeypatch.setattr(worlds, "BOOST", 2.0)
    world.serve(*FOUR, extra=0.0)
    monkeypatch.setattr(worlds, "BOOST", 1.0)
    assert causes_of(world) == {"computed:product": {"transformation_differs": 4}}


def test_what_is_computed_differs_because_its_input_does(tmp_path: Path) -> None:
    world = loaded(tmp_path, stats(), product(), model(stats(), product()))
    world.write(fact(1, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR, extra=2.0)
    assert causes_of(world) == {"stats:rate": {"store_lag": 1}, "computed:product": {"store_lag": 1}}


def test_what_is_computed_from_what_is_not_logged_is_told_by_its_event_time(tmp_path: Path) -> None:
    world = loaded(tmp_path, stats(), product(), model(product()))
    world.write(fact(1, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR, extra=2.0)
    assert causes_of(world) == {"computed:product": {"store_lag": 1}}


def test_fallback(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.write(fact(1, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR)

    def label(log: pa.Table) -> pa.Table:
        place = log.column_names.index("__fallback")
        return log.set_column(place, "__fallback", pa.array(["stale"] * log.num_rows))

    world.rewrite_log(label)
    assert causes_of(world) == {"stats:rate": {"fallback": 1}}


def test_what_nothing_tells_is_unexplained(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    world.write(fact(1, NOON - HOUR / 2))
    world.online(fact(1, NOON - HOUR / 2, rate=777.0))
    world.serve(*FOUR)
    found = verified(world)
    assert found.causes == {"unexplained": 1}
    (row,) = found.mismatches.to_pylist()
    assert (row["cause"], row["kind"], row["entity"]) == ("unexplained", "mismatching", "driver_id=1")
    assert (row["served"], row["expected"]) == ("777.0", "1.123456789012")
    assert row["served_event"] == row["expected_event"] == NOON - HOUR / 2


def test_several_faults_at_once_are_told_apart(tmp_path: Path) -> None:
    world = loaded(tmp_path)
    at = NOON - HOUR / 2
    world.write(*(fact(driver, at, rate=driver / 7) for driver in FOUR))
    world.online(fact(1, at, rate=None), fact(2, at, rate=round(2 / 7, 2)), fact(3, at, rate=3 / 7))
    world.serve(*FOUR)
    assert causes_of(world) == {"stats:rate": {"null_for_value": 1, "lossy_type": 1, "store_lag": 1}}
