"""More than a hundred thousand values, served while facts come late and are corrected: none differs from training's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quality.world import DAY, DRIVER, FIELDS, HOUR, MINUTE, NOON, PUSHED, World, fact, model, stats
from tiffin import Aggregation, FeatureView, Field, OnDemandFeatureView, RequestSource
from tiffin.quality.skew import FeatureSkew
from tiffin.quality.verify import ServiceVerification, verify
from tiffin.types import Float64, Int64

DRIVERS, MOMENTS, FACTS = 120, 80, 6_000
WINDOWS = ("recent:trips_1h", "recent:score_7h", "recent:score_std", "recent:places")
FLOATS = (0.1, -0.0, 0.0, math.nan, 1e300, 5e-324, None)


def trips_since(inputs: dict[str, Any], now: list[datetime]) -> dict[str, Any]:
    """By the moment of the request, what was asked, and a feature that is itself of a window."""
    rows = zip(inputs["rate"], inputs["trips_1h"], inputs["extra"], now, strict=True)
    ratios, ages = [], []
    for rate, trips, extra, moment in rows:
        ratios.append(None if rate is None or trips is None else rate * extra + trips)
        ages.append((moment - NOON) // MINUTE)
    return {"ratio": ratios, "age": ages}


def windows() -> FeatureView:
    return FeatureView(
        name="recent",
        entities=[DRIVER],
        source=PUSHED,
        aggregations=[
            Aggregation(column="trips", function="sum", time_window=HOUR, name="trips_1h"),
            Aggregation(column="score", function="sum", time_window=7 * HOUR, name="score_7h"),
            Aggregation(column="score", function="std", time_window=DAY, name="score_std"),
            Aggregation(column="place", function="count_distinct", time_window=DAY, name="places"),
        ],
    )


def computed() -> OnDemandFeatureView:
    request = RequestSource(name="asked", schema=[Field(name="extra", dtype=Float64)])
    schema = [Field(name="ratio", dtype=Float64), Field(name="age", dtype=Int64)]
    sources = [stats(ttl=3 * HOUR), windows(), request]
    return OnDemandFeatureView(name="computed", sources=sources, schema=schema, udf=trips_since, mode="python")


def history(random: np.random.Generator) -> list[dict[str, Any]]:
    """Facts of two days; of four one becomes known up to three hours late, of ten one is corrected."""
    facts = []
    for _ in range(FACTS):
        driver = int(random.integers(1, DRIVERS))
        at = NOON - DAY + timedelta(seconds=int(random.integers(0, 2 * 86_400)))
        late = timedelta(seconds=int(random.integers(0, 3 * 3_600))) if random.random() < 0.25 else timedelta(0)
        rate = FLOATS[int(random.integers(0, len(FLOATS)))] if random.random() < 0.3 else float(random.normal())
        values = {"rate": rate, "score": float(random.normal()), "trips": int(random.integers(0, 2**40))}
        values["vector"] = [float(random.normal()), None, math.nan] if random.random() < 0.9 else None
        facts.append(fact(driver, at, at + late, place=f"p{random.integers(0, 9)}", **values))
        if random.random() < 0.1:
            corrected = {**values, "trips": values["trips"] + 1}
            facts.append(fact(driver, at, at + late + timedelta(seconds=int(random.integers(1, 7_200))), **corrected))
    return facts


def lived(
    world: World, facts: list[dict[str, Any]], random: np.random.Generator, *, loads: bool
) -> ServiceVerification:
    """Serve at many moments of a day, of which each loads what is known by then, or only the first does."""
    world.write(*facts)
    service = world.store.get_feature_service("model")
    answers = []
    for number in range(MOMENTS):
        world.clock.set(NOON + timedelta(seconds=int(number * 1_000 + random.integers(0, 900))))
        if loads or not number:
            world.load()
        drivers = random.integers(1, DRIVERS + 3, DRIVERS).tolist()
        extra = random.normal(size=len(drivers)).tolist()
        answers.append(world.store.get_online_features(service, {"driver_id": drivers, "extra": extra}))
    world.store.write_logged_features(answers, service)
    return world.store.verify("model").services[0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    views = [stats(ttl=3 * HOUR), windows(), computed()]
    made = World(tmp_path, *views, model(*views))
    yield made
    made.store.close()


@pytest.mark.timeout(300)
def test_a_hundred_thousand_served_values_equal_those_of_training(world: World) -> None:
    random = np.random.default_rng(7)
    found = lived(world, history(random), random, loads=True)
    assert found.compared == MOMENTS * DRIVERS * 11 > 100_000
    assert found.different == 0, found.mismatches.to_pylist()[:5]
    assert found.is_complete
    # It would have noticed: by event time alone, training knows what nobody knew.
    careless = world.config.model_copy(update={"point_in_time": "event"})
    with type(world.store)(config=careless, clock=world.clock) as store:
        (event,) = store.verify("model").services
    assert event.causes.keys() == {"late_fact"}
    assert event.different > found.compared / 50


@pytest.mark.timeout(300)
def test_what_was_computed_from_equals_what_training_computes_from(tmp_path: Path) -> None:
    """Of a service that serves none of it."""
    world = World(tmp_path, stats(ttl=3 * HOUR), windows(), computed(), model(computed()))
    random = np.random.default_rng(9)
    found = lived(world, history(random), random, loads=True)
    world.store.close()
    assert {each.feature for each in found.inputs} == {*(f"stats:{name}" for name in FIELDS), *WINDOWS}
    assert [each.compared for each in found.inputs] == [MOMENTS * DRIVERS] * len(found.inputs)
    assert not sum(each.different for each in (*found.inputs, *found.features))


@pytest.mark.timeout(300)
def test_a_store_that_is_never_loaded_again_lags_and_does_nothing_else(world: World) -> None:
    random = np.random.default_rng(8)
    found = lived(world, history(random), random, loads=False)
    assert found.different > found.compared / 10
    assert found.causes.get("store_lag", 0) > 0.9 * found.different
    assert set(found.causes) <= {"store_lag", "unexplained"}
    parts = verify(world.store.context, "model", part_rows=1_000).services[0]
    assert list(map(counts, parts.features)) == list(map(counts, found.features))


def counts(feature: FeatureSkew) -> dict[str, Any]:
    """What does not depend on the order of sums, nor on which rows are seen together."""
    found = feature.to_dict()
    found.pop("causes")
    (found["spread"] or {}).pop("mean", None)
    return found
