"""Features tested without sources or stores: ``FeatureTest``, and what it says when a value is another one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tiffin import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RequestSource,
    ValueType,
    on_demand_feature_view,
)
from tiffin.config import RepoConfig
from tiffin.errors import NotFoundError, RequestError, TypeMismatchError
from tiffin.testing.features import FeatureTest
from tiffin.types import Float64, Int64, String

card = Entity(name="card", join_keys=["card_id"], value_type=ValueType.STRING)
history = FileSource(
    name="payments",
    path="nowhere.parquet",
    timestamp_field="at",
    created_timestamp_column="seen",
    field_mapping={"eur": "amount"},
)
limits = FeatureView(
    name="limits",
    entities=[card],
    source=history,
    ttl=timedelta(days=1),
    schema=[Field(name="amount", dtype=Float64), Field(name="shop", dtype=String)],
)
spent = FeatureView(
    name="spent",
    entities=[card],
    source=PushSource(name="paid", batch_source=history),
    aggregations=[
        Aggregation("amount", "sum", timedelta(hours=1), name="sum_1h"),
        Aggregation("amount", "count", timedelta(hours=1), name="count_1h"),
    ],
    schema=[Field(name="sum_1h", dtype=Float64), Field(name="count_1h", dtype=Int64)],
)
pushed_only = FeatureView(
    name="pushed_only",
    entities=[card],
    source=PushSource(name="seen_online"),
    schema=[Field(name="risk", dtype=Float64)],
)
asked = RequestSource(name="asked", schema=[Field(name="price", dtype=Float64)])


@on_demand_feature_view(sources=[limits, asked], schema=[Field(name="share", dtype=Float64)], mode="python")
def share(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    pairs = zip(inputs["price"], inputs["amount"], strict=True)
    return {"share": [None if amount is None else price / amount for price, amount in pairs]}


service = FeatureService(name="model", features=[limits, spent])
OBJECTS = [limits, spent, pushed_only, share, service]


@pytest.fixture
def features() -> Iterator[FeatureTest]:
    with FeatureTest(OBJECTS) as test:
        yield test


def test_value_is_there_from_its_moment_to_its_ttl(features: FeatureTest) -> None:
    features.at("2026-03-01 12:00").given("limits", card_id="a", amount=2.5, shop="x")
    for moment, amount in (("11:59", None), ("12:00", 2.5), ("23:59", 2.5)):
        features.at(f"2026-03-01 {moment}").expect({"limits:amount": amount}, card_id="a")
    features.at("2026-03-02 12:00").expect({"limits:amount": 2.5, "limits:shop": "x"}, card_id="a")
    features.at("2026-03-02 12:00:00.000001").expect({"limits:amount": None}, card_id="a")
    features.expect({"limits:amount": None}, card_id="b")


def test_clock_goes_back_and_nothing_of_the_future_stays(features: FeatureTest) -> None:
    features.at("2026-03-01 12:00").given(
        "payments", {"card_id": "a", "eur": 1.0}, {"card_id": "a", "at": "2026-03-01 13:00", "eur": 2.0}
    )
    features.at("2026-03-01 13:00").expect({"limits:amount": 2.0}, card_id="a")
    features.at("2026-03-01 12:59").expect({"limits:amount": 1.0}, card_id="a")


def test_late_fact_counts_once_it_is_known(features: FeatureTest) -> None:
    features.given("limits", card_id="a", amount=1.0, at="2026-03-01 10:00", seen="2026-03-01 11:00")
    features.at("2026-03-01 10:59").expect({"limits:amount": None}, card_id="a")
    features.at("2026-03-01 11:00").expect({"limits:amount": 1.0}, card_id="a")


def test_settings_say_whether_known_times_count() -> None:
    config = RepoConfig(project="p", point_in_time="event")
    with FeatureTest(OBJECTS, config) as features:
        features.given("limits", card_id="a", amount=1.0, at="2026-03-01 10:00", seen="2026-03-01 11:00")
        features.at("2026-03-01 10:59")
        with pytest.raises(AssertionError, match=r"is None served, expected 1\.0"):
            features.expect({"limits:amount": 1.0}, card_id="a")


def test_pushed_facts_join_those_of_the_history(features: FeatureTest) -> None:
    features.at("2026-03-01 12:00").given("spent", card_id="a", amount=2.0)
    features.at("2026-03-01 12:30").pushed("paid", card_id="a", amount=3.0)
    both = {"spent:sum_1h": 5.0, "spent:count_1h": 2}
    features.expect(both, card_id="a")
    features.at("2026-03-01 13:29").expect({"spent:sum_1h": 3.0, "spent:count_1h": 1}, card_id="a")
    features.at("2026-03-01 12:29").expect({"spent:sum_1h": 2.0}, card_id="a")
    features.at("2026-03-01 12:59").expect(both, card_id="a")


def test_view_without_a_history_is_tested_online_alone(features: FeatureTest) -> None:
    features.at("2026-03-01 12:00").pushed("seen_online", card_id="a", risk=0.25)
    features.expect({"pushed_only:risk": 0.25}, card_id="a")
    with pytest.raises(RequestError, match="has no history"):
        features.given("pushed_only", card_id="a", risk=0.5)


def test_function_of_request_data(features: FeatureTest) -> None:
    features.at("2026-03-01 12:00").given("limits", card_id="a", amount=4.0)
    features.expect({"share:share": 0.5}, card_id="a", price=2.0)
    features.expect({"share:share": pytest.approx(1 / 12)}, card_id="a", price=1 / 3)
    features.expect({"share:share": None}, card_id="b", price=2.0)


def test_values_of_a_service(features: FeatureTest) -> None:
    features.at("2026-03-01 12:00").given("limits", card_id="a", amount=4.0, shop="x")
    found = features.values("model", card_id="a")
    assert found == {"limits__amount": 4.0, "limits__shop": "x", "spent__sum_1h": 4.0, "spent__count_1h": 1}


def test_wrong_value_is_told_with_what_it_is_on_both_ways(features: FeatureTest) -> None:
    features.at("2026-03-01 12:00").given("limits", card_id="a", amount=4.0)
    with pytest.raises(AssertionError) as caught:
        features.expect({"limits:amount": 5.0, "limits:shop": None}, card_id="a")
    text = str(caught.value)
    assert "2026-03-01T12:00:00Z" in text
    assert "'card_id': 'a'" in text
    assert "limits:amount is 4.0 served, expected 5.0" in text
    assert "limits:amount is 4.0 in training, expected 5.0" in text
    assert "limits:shop" not in text


def test_training_that_differs_from_serving_fails(features: FeatureTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the whole thing is for: a fault on one of the two ways is seen."""
    features.at("2026-03-01 12:00").given("limits", card_id="a", amount=4.0)
    monkeypatch.setattr(features, "_trained", lambda names, entity: {"limits:amount": 3.0})
    with pytest.raises(AssertionError, match=r"is 3\.0 in training, expected 4\.0"):
        features.expect({"limits:amount": 4.0}, card_id="a")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: f.given("limit", card_id="a"), NotFoundError, "limits"),
        (lambda f: f.pushed("pay", card_id="a"), NotFoundError, "paid"),
        (lambda f: f.values(["limitz:amount"], card_id="a"), NotFoundError, "limits"),
        (
            lambda f: f.given("limits", card_id="a", amount="many").values(["limits:amount"], card_id="a"),
            TypeMismatchError,
            "eur",
        ),
    ],
)
def test_mistakes_are_told(features: FeatureTest, call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(features)


def test_scratch_folder_is_gone_at_the_end() -> None:
    with FeatureTest(OBJECTS) as features:
        features.given("limits", card_id="a", amount=1.0)
        features.values(["limits:amount"], card_id="a")
        scratch = Path(features._scratch.name)
        assert scratch.exists()
    assert not scratch.exists()
