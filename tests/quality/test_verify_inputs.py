"""Services that serve what is computed, and not what it is computed from: the log has that too, and it tells why.

Every fault is planted where nothing but the computed feature is served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quality import world as worlds
from quality.test_verify_faults import FOUR, causes_of, loaded, served_by_longer_ttl, verified
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
from server.apps import served
from tiffin import FeatureStore, FeatureView, Field, ManualClock, OnDemandFeatureView
from tiffin.contracts.online import ReadRequest
from tiffin.definitions import FeatureService
from tiffin.online.response import OnlineResponse
from tiffin.quality.skew import FeatureSkew
from tiffin.types import Float64

RATE = ["__input__stats__rate", "__input__stats__rate__timestamp", "__input__stats__rate__status"]


def rated(function: Any = times_extra, view: FeatureView | None = None) -> OnDemandFeatureView:
    """A product that is computed from the rate alone."""
    return product(function, (view or stats())[["rate"]])


def alone(folder: Path, function: Any = times_extra, **arguments: Any) -> World:
    """A world whose service has the product and nothing else."""
    return loaded(folder, stats(), rated(function), model(rated(function)), **arguments)


def inputs_of(world: World) -> dict[str, FeatureSkew]:
    return {each.feature: each for each in verified(world).inputs}


# What is in the log


def test_the_log_has_what_was_computed_from(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.serve(1, 404, extra=2.0)
    (path,) = world.logs()
    log = pq.read_table(path, partitioning=None)
    others = ["__log_timestamp", "__request_id", "__definitions_version", "__fallback"]
    computed = ["computed__product", "computed__product__timestamp", "computed__product__status"]
    assert log.column_names == ["driver_id", "extra", *computed, *RATE, *others]
    first, missing = log.to_pylist()
    assert [first[name] for name in RATE] == [1.123456789012, NOON - HOUR, 1]
    assert [missing[name] for name in RATE] == [None, None, 3]


def test_what_is_served_is_no_input_besides(tmp_path: Path) -> None:
    world = loaded(tmp_path, stats(), rated(), model(stats()[["rate", "trips"]], rated()))
    world.serve(*FOUR, extra=2.0)
    assert not [name for name in pq.read_schema(world.logs()[0]).names if name.startswith("__input__")]
    assert verified(world).inputs == ()


def test_an_answer_has_its_inputs_only_for_the_log(tmp_path: Path) -> None:
    world = alone(tmp_path)
    answer = world.store.get_online_features(model(rated()), {"driver_id": [1], "extra": [2.0]})
    names = ["driver_id", "extra", "product"]
    assert list(answer.to_dict()) == answer.to_arrow().column_names == names
    assert list(answer.statuses()) == ["product"]
    assert isinstance(answer, OnlineResponse)
    logged = answer.with_inputs
    assert list(logged.to_dict()) == [*names, "stats:rate"]
    assert logged.with_inputs is logged


def test_nothing_is_read_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = alone(tmp_path)
    store, asked = world.store.context.online, []
    read = store.read

    def counted(requests: Sequence[ReadRequest]) -> Any:
        asked.extend(requests)
        return read(requests)

    monkeypatch.setattr(store, "read", counted)
    for features in (["computed:product"], FeatureService(name="plain", features=[rated()]), model(rated())):
        answer = world.store.get_online_features(features, {"driver_id": [1], "extra": [2.0]})
        if isinstance(features, FeatureService) and features.logging_config:
            world.store.write_logged_features(answer, features)
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]


async def test_a_server_logs_inputs(tmp_path: Path) -> None:
    world = alone(tmp_path)
    async with served(world.store.context, log_seconds=3600.0) as server:
        columns = {"driver_id": [1, 2], "extra": [1.0, 2.0]}
        answer = await server.post("/v1/features", {"service": "model", "columns": columns})
        assert "stats" not in answer.text
    assert inputs_of(world)["stats:rate"].equal == 2
    assert verified(world).different == 0


def test_a_precomputed_service_logs_inputs(tmp_path: Path) -> None:
    service = replace(model(rated()), precompute_online=True)
    world = loaded(tmp_path, stats(), rated(), service)
    # Driver 9 has an old fact.
    assert world.store.precompute_feature_service("model") == len(FOUR) + 1
    world.serve(*FOUR, 404, extra=2.0)
    assert (verified(world).different, inputs_of(world)["stats:rate"].equal) == (0, 5)


def test_inputs_of_inputs_are_logged(tmp_path: Path) -> None:
    """A function that computes from what another one computes."""
    doubled = OnDemandFeatureView(
        name="doubled",
        sources=[rated()],
        schema=[Field(name="twice", dtype=Float64)],
        udf=twice,
        mode="python",
    )
    world = loaded(tmp_path, stats(), rated(), doubled, model(doubled))
    world.write(fact(1, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR, extra=2.0)
    assert causes_of(world) == {"doubled:twice": {"store_lag": 1}}
    found = inputs_of(world)
    assert {name: (each.compared, dict(each.causes)) for name, each in found.items()} == {
        "computed:product": (4, {"store_lag": 1}),
        "stats:rate": (4, {"store_lag": 1}),
    }


def twice(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"twice": [None if value is None else value * 2 for value in inputs["product"]]}


def test_an_input_has_its_default(tmp_path: Path) -> None:
    fields = [Field(name=name, dtype=dtype) for name, dtype in worlds.FIELDS.items()]
    fields[0] = Field(name="rate", dtype=Float64, default_value=0.25)
    view = replace(stats(), schema=fields)
    world = loaded(tmp_path, view, rated(view=view), model(rated(view=view)))
    world.serve(1, 404, extra=2.0)
    log = pq.read_table(world.logs()[0], partitioning=None)
    assert log["__input__stats__rate"].to_pylist() == [1.123456789012, 0.25]
    assert log["computed__product"].to_pylist() == [2 * 1.123456789012, 0.5]
    assert (verified(world).different, inputs_of(world)["stats:rate"].equal) == (0, 2)


def test_an_input_of_other_keys_has_the_name_of_its_use(tmp_path: Path) -> None:
    partner = stats()[["rate"]].with_name("partner").with_join_key_map({"driver_id": "partner_id"})
    view = OnDemandFeatureView(
        name="pair",
        sources=[stats()[["rate"]], partner],
        schema=[Field(name="sum", dtype=Float64)],
        udf=summed,
        mode="python",
    )
    world = loaded(tmp_path, stats(), view, model(view))
    world.write(fact(2, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR, partner_id=2)
    assert causes_of(world) == {"pair:sum": {"store_lag": 4}}
    found = {name: dict(each.causes) for name, each in inputs_of(world).items()}
    assert found == {"stats:rate": {"store_lag": 1}, "partner:rate": {"store_lag": 4}}


def summed(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["stats__rate"], inputs["partner__rate"], strict=True)
    return {"sum": [None if one is None or other is None else one + other for one, other in pairs]}


# What is told by it


def test_without_a_fault_nothing_differs(tmp_path: Path) -> None:
    world = alone(tmp_path)
    for _ in range(3):
        world.serve(*FOUR, 404, extra=2.0)
        world.clock.advance(15 * HOUR)
    found = verified(world)
    assert (found.rows, found.compared, found.different) == (15, 15, 0)
    assert [(each.feature, each.equal) for each in found.inputs] == [("stats:rate", 15)]


def test_transformation_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = alone(tmp_path, boosted)
    monkeypatch.setattr(worlds, "BOOST", 2.0)
    world.serve(*FOUR, extra=0.0)
    monkeypatch.setattr(worlds, "BOOST", 1.0)
    assert causes_of(world) == {"computed:product": {"transformation_differs": 4}}
    assert inputs_of(world)["stats:rate"].different == 0


def test_a_wrong_function_and_a_stale_input_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = alone(tmp_path, boosted)
    world.write(fact(1, NOON - MINUTE, rate=5.5))
    monkeypatch.setattr(worlds, "BOOST", 2.0)
    world.serve(*FOUR, extra=0.0)
    monkeypatch.setattr(worlds, "BOOST", 1.0)
    assert causes_of(world) == {"computed:product": {"transformation_differs": 3, "store_lag": 1}}


def test_changed_function(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.serve(*FOUR, extra=3.0)
    world.clock.advance(MINUTE)
    world.apply(rated(plus_extra), model(rated(plus_extra)))
    assert causes_of(world) == {"computed:product": {"function_changed": 4}}
    assert inputs_of(world)["stats:rate"].different == 0


def test_changed_definition_of_an_input(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.clock.advance(12 * HOUR)
    world.serve(*FOUR, extra=2.0)
    world.clock.advance(MINUTE)
    short = stats(ttl=2 * HOUR)
    world.apply(short, rated(view=short), model(rated(view=short)))
    assert causes_of(world) == {"computed:product": {"definition_changed": 4}}
    assert dict(inputs_of(world)["stats:rate"].causes) == {"definition_changed": 4}


def test_outdated_definition(tmp_path: Path) -> None:
    world = alone(tmp_path, cache_seconds=3600 * 24)
    with FeatureStore(config=world.config, clock=world.clock) as server:
        server.get_feature_service("model")
        world.clock.advance(12 * HOUR)
        short = stats(ttl=2 * HOUR)
        world.apply(short, rated(view=short), model(rated(view=short)))
        world.clock.advance(MINUTE)
        world.serve(*FOUR, store=server, extra=2.0)
    assert causes_of(world) == {"computed:product": {"outdated_definition": 4}}
    assert dict(inputs_of(world)["stats:rate"].causes) == {"outdated_definition": 4}


def test_lost_write(tmp_path: Path) -> None:
    world = alone(tmp_path)
    new = [fact(driver, NOON + MINUTE, rate=driver / 8) for driver in FOUR]
    after = fact(4, NOON + 2 * MINUTE, rate=9.0)
    world.write(*new, after)
    world.clock.advance(5 * MINUTE)
    world.online(*new[1:], after)
    world.serve(*FOUR, extra=2.0)
    assert causes_of(world) == {"computed:product": {"lost_write": 1}}


@pytest.mark.parametrize(("beyond", "cause"), [(timedelta(milliseconds=400), "ttl_edge"), (2 * HOUR, "wrong_ttl")])
def test_ttl(tmp_path: Path, beyond: timedelta, cause: str) -> None:
    world = alone(tmp_path)
    world.clock.set(NOON - HOUR + DAY + beyond)
    world.serve(1, extra=2.0)
    served_by_longer_ttl(world)
    world.serve(2, 3, extra=2.0)
    assert causes_of(world) == {"computed:product": {cause: 2}}


def test_late_fact(tmp_path: Path) -> None:
    world = alone(tmp_path, mode="event")
    world.serve(*FOUR, extra=2.0)
    world.write(fact(1, NOON - HOUR / 2, NOON + HOUR, rate=9.0), fact(2, NOON - HOUR, NOON + HOUR, rate=9.0))
    assert causes_of(world) == {"computed:product": {"late_fact": 2}}


def test_shifted_clock(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.write(fact(1, NOON - MINUTE, rate=7.0))
    world.load()
    with FeatureStore(config=world.config, clock=ManualClock(NOON - 10 * MINUTE)) as slow:
        world.serve(1, 2, store=slow, extra=2.0)
    assert causes_of(world) == {"computed:product": {"clock_shift": 1}}


@pytest.mark.parametrize(
    ("spoilt", "cause"),
    [
        (lambda rate: float(np.float32(rate)), "lossy_type"),
        (lambda rate: None, "null_for_value"),
        (lambda rate: rate + 77, "unexplained"),
    ],
)
def test_another_value_of_the_same_fact(tmp_path: Path, spoilt: Callable[[float], float | None], cause: str) -> None:
    world = alone(tmp_path)
    facts = [fact(driver, NOON - HOUR / 2) for driver in FOUR]
    world.write(*facts)
    world.online(*({**each, "rate": spoilt(each["rate"])} for each in facts))
    world.serve(*FOUR, extra=2.0)
    assert causes_of(world) == {"computed:product": {cause: 4}}


def test_pushed_online_only(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.online(fact(1, NOON - MINUTE, rate=0.75))
    world.serve(*FOUR, extra=2.0)
    assert causes_of(world) == {"computed:product": {"not_in_history": 1}}


def test_fallback(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.write(fact(1, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR, extra=2.0)
    stale = pa.array(["stale"] * 4)
    world.rewrite_log(lambda log: log.set_column(log.column_names.index("__fallback"), "__fallback", stale))
    assert causes_of(world) == {"computed:product": {"fallback": 1}}


def test_of_two_views_the_one_that_lags_is_found(tmp_path: Path) -> None:
    """Event times alone cannot tell it: a computed value has that of its oldest fact."""
    view = OnDemandFeatureView(
        name="both",
        sources=[stats()[["rate"]], windows()[["trips_1h"]]],
        schema=[Field(name="ratio", dtype=Float64)],
        udf=ratio,
        mode="python",
    )
    world = loaded(tmp_path, stats(), windows(), view, model(view))
    world.write(fact(1, NOON - 10 * MINUTE, rate=1.123456789012, trips=7))
    world.serve(1, 2)
    assert causes_of(world) == {"both:ratio": {"store_lag": 1}}
    found = {name: dict(each.causes) for name, each in inputs_of(world).items()}
    assert found == {"stats:rate": {}, "recent:trips_1h": {"store_lag": 1}}


def ratio(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(inputs["rate"], inputs["trips_1h"], strict=True)
    return {"ratio": [None if rate is None else rate * 1000 + (trips or 0) for rate, trips in pairs]}


# Logs of other times


def test_a_log_without_inputs_is_compared_all_the_same(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.write(fact(1, NOON - MINUTE, rate=5.5))
    world.serve(*FOUR, extra=2.0)
    world.rewrite_log(lambda log: log.drop_columns(RATE))
    assert causes_of(world) == {"computed:product": {"store_lag": 1}}
    assert (inputs_of(world)["stats:rate"].compared, inputs_of(world)["stats:rate"].not_logged) == (0, 4)


def test_an_input_that_was_served_in_its_time_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = loaded(tmp_path, stats(), rated(boosted), model(stats()[["rate"]], rated(boosted)))
    monkeypatch.setattr(worlds, "BOOST", 2.0)
    world.serve(*FOUR, extra=2.0)
    monkeypatch.setattr(worlds, "BOOST", 1.0)
    world.apply(model(rated(boosted)))
    assert causes_of(world) == {"computed:product": {"transformation_differs": 4}}


def test_a_column_of_the_request_is_no_input(tmp_path: Path) -> None:
    """What is called like a feature, and was handed in, was not read."""
    world = alone(tmp_path)
    world.serve(*FOUR, extra=2.0, stats__rate=9.0)
    assert pq.read_table(world.logs()[0], partitioning=None)["stats__rate"].to_pylist() == [9.0] * 4
    assert inputs_of(world)["stats:rate"].equal == 4
    world.rewrite_log(lambda log: log.drop_columns(RATE))
    assert inputs_of(world)["stats:rate"].not_logged == 4


def test_rows_of_before_a_service_was_changed_have_no_nulls_of_what_it_got(tmp_path: Path) -> None:
    """Answers that are written together, but have other features: none of them says that null was served."""
    world = loaded(tmp_path, stats(), rated(), model(stats()[["trips"]]))
    request = {"driver_id": list(FOUR), "extra": [2.0] * 4}
    before = world.store.get_online_features(world.store.get_feature_service("model"), request)
    world.apply(model(stats()[["trips"]], rated()))
    service = world.store.get_feature_service("model")
    world.store.write_logged_features([before, world.store.get_online_features(service, request)], service)
    found = {each.feature: each for each in (*verified(world).features, *verified(world).inputs)}
    counts = {name: (each.equal, each.not_logged) for name, each in found.items()}
    assert counts == {"stats:trips": (8, 0), "computed:product": (4, 4), "stats:rate": (4, 4)}


def test_a_file_without_any_served_feature_is_counted(tmp_path: Path) -> None:
    world = alone(tmp_path)
    world.serve(*FOUR, extra=2.0)
    served_columns = [f"computed__product{end}" for end in ("", "__timestamp", "__status")]
    world.rewrite_log(lambda log: log.drop_columns(served_columns))
    found = verified(world)
    assert (found.features[0].not_logged, found.features[0].compared, found.inputs[0].compared) == (4, 0, 0)
