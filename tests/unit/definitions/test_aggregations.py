"""Aggregations as they are declared: checked where the mistake is, named as in Feast, kept in the registry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tiffin import Aggregation, BatchFeatureView, Entity, FeatureView, Field, FileSource, LabelView, PushSource
from tiffin.definitions import StreamFeatureView, view_from_spec
from tiffin.definitions.aggregation import ALIASES, FUNCTIONS
from tiffin.errors import DefinitionError, DefinitionTypeError, UnsupportedError
from tiffin.types import Float64, Int64, String

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CARD = Entity(name="card", join_keys=["card_id"])
SOURCE = FileSource(path="payments.parquet", timestamp_field="ts")
PUSHED = PushSource(name="payments", batch_source=SOURCE)
SUM = Aggregation("amount", "sum", HOUR)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"function": "sum"}, "sum_amount"),
        ({"function": "sum", "time_window": HOUR}, "sum_amount_3600s"),
        ({"function": "STD", "time_window": DAY}, "std_amount_86400s"),
        ({"function": "sum", "time_window": HOUR, "name": "spent"}, "spent"),
        ({"function": "sum", "time_window": timedelta(milliseconds=1)}, "sum_amount_1000us"),
        ({"column": "*", "function": "count", "time_window": HOUR}, "count_all_3600s"),
    ],
)
def test_a_feature_is_called_as_in_feast(arguments: dict[str, Any], name: str) -> None:
    assert Aggregation(**{"column": "amount", **arguments}).resolved_name() == name


WRONG = {
    "no column": ({"column": ""}, "has no column"),
    "no function": ({"function": None}, "has no function"),
    "unknown function": ({"function": "summ"}, r"(?s)there is no function 'summ'.*did you mean sum"),
    "short window": ({"time_window": HOUR, "slide_interval": DAY}, "1h is shorter than the slide_interval 1d"),
    "slide without window": ({"slide_interval": DAY}, "slide_interval and no time_window"),
    "negative window": ({"time_window": -HOUR}, "time_window -1h, which is negative"),
    "empty window": ({"time_window": timedelta(0)}, "which is zero"),
    "negative slide": ({"time_window": HOUR, "slide_interval": -HOUR}, "slide_interval -1h, which is negative"),
    "negative offset": ({"offset": -HOUR}, "offset -1h, which is negative"),
    "sum of facts": ({"column": "*"}, "has no meaning"),
    "missing parameter": ({"function": "last_n"}, r"(?s)parameter n is missing.*pass n="),
    "wrong parameter": ({"function": "top_k", "n": 0}, "parameter n is 0"),
    "needless parameter": ({"n": 3}, "sum has no parameter 'n'"),
    "percentile without p": ({"function": "approx_percentile"}, r"(?s)p is missing.*pass p=, a number from 0 to 1"),
    "percentile of a hundred": ({"function": "approx_percentile", "p": 95}, r"(?s)p is 95.*a number from 0 to 1"),
    "percentile of nothing": ({"function": "approx_percentile", "p": float("nan")}, "parameter p is nan"),
    "percentile as text": ({"function": "approx_percentile", "p": "0.5"}, "parameter p is '0.5'"),
    "percentile as truth": ({"function": "approx_percentile", "p": True}, "parameter p is True"),
    "too precise": (
        {"function": "approx_count_distinct", "precision": 17},
        r"(?s)precision is 17.*pass precision=, a whole number from 4 to 16",
    ),
    "half precise": ({"function": "approx_count_distinct", "precision": 4.5}, "precision is 4.5"),
    "percentile of a distinct count": (
        {"function": "approx_count_distinct", "p": 0.5},
        r"(?s)has no parameter 'p'.*it takes precision",
    ),
    "two parameters": ({"function": "last_n", "n": 3, "params": {"n": 4}}, "n is 3 and, in params, 4"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_found_at_its_line(case: str) -> None:
    arguments, message = WRONG[case]
    with pytest.raises(DefinitionError, match=message) as caught:
        Aggregation(**{"column": "amount", "function": "sum", **arguments})
    assert "test_aggregations.py:" in caught.value.location


@pytest.mark.parametrize(
    "arguments", [{"time_window": 3600}, {"column": 3}, {"filter": 1}, {"params": [3]}, {"offset": "1h"}]
)
def test_an_argument_of_another_type_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(DefinitionTypeError, match=next(iter(arguments))):
        Aggregation(**{"column": "amount", "function": "sum", **arguments})


def test_what_an_estimate_is_made_with_is_part_of_its_definition() -> None:
    assert Aggregation("merchant", "approx_count_distinct").params == {"precision": 12}
    median = Aggregation("amount", "approx_percentile", HOUR, p=0.5)
    assert str(median) == "approx_percentile(amount, p=0.5, precision=7) over 1h"
    assert median == Aggregation("amount", "approx_percentile", HOUR, params={"p": 0.5, "precision": 7})
    assert (median.p, median.precision) == (0.5, 7)
    assert Aggregation.from_spec(median.to_spec()) == median
    assert Aggregation("amount", "approx_percentile", p=1).to_spec()["params"]["p"] == 1.0


def test_other_names_lead_to_functions() -> None:
    assert set(ALIASES.values()) <= set(FUNCTIONS)
    assert Aggregation("amount", "std").canonical_function == "stddev_samp"


def test_parameters_may_be_given_either_way() -> None:
    assert Aggregation("amount", "last_n", n=3) == Aggregation("amount", "last_n", params={"n": 3})


def test_an_aggregation_can_be_read() -> None:
    item = Aggregation(
        "amount", "last_n", DAY, timedelta(minutes=5), n=3, filter="status = 'ok'", offset=timedelta(hours=2)
    )
    words = "last_n(amount, n=3) over 1d, from a multiple of 5m, until 2h before, where status = 'ok'"
    assert str(item) == words
    assert str(Aggregation("amount", "sum")) == "sum(amount) over forever"
    assert Aggregation.from_spec(item.to_spec()).to_spec() == item.to_spec()


VIEWS = {
    "plain": lambda **a: FeatureView(name="v", source=SOURCE, entities=[CARD], aggregations=[SUM], **a),
    "batch": lambda **a: BatchFeatureView(name="v", source=SOURCE, entities=[CARD], aggregations=[SUM], **a),
    "stream": lambda **a: StreamFeatureView(name="v", source=PUSHED, entities=[CARD], aggregations=[SUM], **a),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_with_aggregations_comes_back_from_the_registry(kind: str) -> None:
    view = VIEWS[kind](
        schema=[Field(name="sum_amount_3600s", dtype=Float64)],
        inputs=[Field(name="amount", dtype=Float64)],
        fact_id=["number", "part"],
    )
    sources = {each.name: each for each in (SOURCE, PUSHED)}
    again = view_from_spec(view.to_spec(), sources, {"card": CARD})
    assert type(again) is type(view)
    assert again.to_spec() == view.to_spec()
    assert again == view
    assert again.feature_names == ("sum_amount_3600s",)
    assert again.aggregations == (SUM,)
    assert again.fact_id == ("number", "part")


@pytest.mark.parametrize(
    ("given", "columns"), [("number", ("number",)), (["b", "a"], ("b", "a")), ((), ()), ([], ()), ("", ()), (None, ())]
)
def test_a_fact_id_is_one_column_or_several(given: Any, columns: tuple[str, ...]) -> None:
    view = VIEWS["plain"](fact_id=given)
    assert view.fact_id == columns
    assert ("fact_id" in view.to_spec()) == bool(columns)
    assert (view == VIEWS["plain"]()) == (not columns)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (7, DefinitionTypeError, "argument fact_id is 7"),
        ({"number"}, DefinitionTypeError, "argument fact_id is"),
        ([7], DefinitionTypeError, r"argument fact_id\[0\] is 7"),
        (["a", ""], DefinitionError, "fact_id has a column without a name"),
        (["a", "b", "a"], DefinitionError, "fact_id has 'a' twice"),
    ],
)
def test_what_is_no_fact_id_is_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        VIEWS["plain"](fact_id=given)
    assert "test_aggregations.py:" in caught.value.location  # type: ignore[attr-defined]


def test_a_fact_id_without_aggregations_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"(?s)feature view v has a fact_id and no aggregations.*leave it out"):
        FeatureView(name="v", source=SOURCE, entities=[CARD], fact_id="number")


def test_two_aggregations_of_one_name_are_refused() -> None:
    other = Aggregation("amount", "sum", HOUR, offset=DAY)
    with pytest.raises(DefinitionError, match="two aggregations called 'sum_amount_3600s'"):
        FeatureView(name="v", source=SOURCE, aggregations=[SUM, other])


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([Field(name="amount", dtype=Float64)], "field 'amount' of its schema is a column that is aggregated"),
        ([Field(name="city", dtype=String)], "field 'city' of its schema is no aggregation"),
    ],
)
def test_plain_features_beside_aggregations_are_refused(schema: list[Field], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        FeatureView(name="v", source=SOURCE, entities=[CARD], aggregations=[SUM], schema=schema)
    FeatureView(
        name="v", source=SOURCE, entities=[CARD], aggregations=[SUM], schema=[Field(name="card_id", dtype=Int64)]
    )


def test_an_aggregation_with_the_name_of_a_key_is_refused() -> None:
    with pytest.raises(DefinitionError, match="the name of the join key 'card_id'"):
        FeatureView(name="v", source=SOURCE, entities=[CARD], aggregations=[Aggregation("x", "sum", name="card_id")])


def test_what_is_no_aggregation_is_refused() -> None:
    with pytest.raises(DefinitionTypeError, match=r"aggregations\[0\]"):
        FeatureView(name="v", source=SOURCE, aggregations=["sum"])  # type: ignore[list-item]


def test_labels_have_no_aggregations() -> None:
    with pytest.raises(DefinitionError, match="labels cannot have"):
        LabelView(name="v", source=SOURCE, aggregations=[SUM])


def test_a_view_cannot_be_made_of_windows() -> None:
    with pytest.raises(UnsupportedError, match="whose features are aggregations"):
        FeatureView(name="w", source=VIEWS["plain"]())  # type: ignore[arg-type]


def test_views_keep_the_defaults_that_they_have_in_feast() -> None:
    assert not VIEWS["batch"]().online
    assert VIEWS["stream"](enable_tiling=True, tiling_hop_size=HOUR).online


def test_a_stream_view_has_a_stream_as_its_source() -> None:
    with pytest.raises(DefinitionError, match="which is no stream"):
        StreamFeatureView(name="v", source=SOURCE)
    with pytest.raises(DefinitionError, match="timestamp_field is 'other', that of the source is 'ts'"):
        VIEWS["stream"](timestamp_field="other")
