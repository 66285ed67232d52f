"""Views with aggregations at ``apply``: types found or checked, changes shown, stored values never mixed up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from tiffin.definitions import Aggregation, FeatureView, Field, PushSource
from tiffin.errors import DefinitionError, DefinitionTypeError, SourceError, UnsupportedError
from tiffin.planning.storage import NEW_TABLE
from tiffin.types import Array, Float32, Float64, Int32, Int64, String, Struct
from unit.planning.plans import COLUMNS, changed, plan, view

HOUR = timedelta(hours=1)


def windows(*aggregations: Aggregation, **arguments: Any) -> FeatureView:
    return view(aggregations=list(aggregations), **{"schema": None, **arguments})


def test_types_are_those_that_the_functions_give() -> None:
    made = plan(
        windows(
            Aggregation("trips", "sum"),
            Aggregation("rate", "sum", HOUR),
            Aggregation("trips", "mean"),
            Aggregation("city", "max"),
            Aggregation("city", "last_n", n=2),
            Aggregation("city", "top_k", n=2, name="cities"),
            Aggregation("*", "count", filter="city <> 'x' AND trips > 1"),
        )
    )
    stored = made.snapshot.view("stats")
    assert {field.name: field.dtype for field in stored.features} == {
        "sum_trips": Int64,
        "sum_rate_3600s": Float64,
        "mean_trips": Float64,
        "max_city": String,
        "last_n_city": Array(String),
        "cities": Array(Struct({"value": String, "count": Int64})),
        "count_all": Int64,
    }
    assert [(field.name, field.dtype) for field in stored.inputs or ()] == [
        ("trips", Int32),
        ("rate", Float64),
        ("city", String),
    ]
    assert plan(windows(*stored.aggregations or ()), made.snapshot).is_empty


def test_declared_types_are_checked_and_the_rest_is_found() -> None:
    aggregations = [Aggregation("trips", "sum"), Aggregation("rate", "sum")]
    made = plan(windows(*aggregations, schema=[Field(name="sum_rate", dtype=Float32, default_value=0.0)]))
    found = made.snapshot.view("stats").features
    assert [(field.name, field.dtype, field.default_value) for field in found] == [
        ("sum_rate", Float32, 0.0),
        ("sum_trips", Int64, None),
    ]
    with pytest.raises(DefinitionTypeError, match=r"'sum_trips' is declared as Array\(String\), but"):
        plan(windows(*aggregations, schema=[Field(name="sum_trips", dtype=Array(String))]))


REFUSED = {
    "sum of strings": (Aggregation("city", "sum"), DefinitionTypeError, "sum cannot be computed from column 'city'"),
    "percentile of strings": (
        Aggregation("city", "approx_percentile", p=0.5),
        DefinitionTypeError,
        "approx_percentile cannot be computed from column 'city'",
    ),
    "unknown column": (Aggregation("trip", "sum"), SourceError, r"(?s)no column 'trip'.*did you mean trips"),
    "filter by no column": (Aggregation("trips", "sum", filter="cty = 'a'"), DefinitionError, "did you mean city"),
    "filter in no SQL": (Aggregation("trips", "sum", filter="trips >"), DefinitionError, "cannot be read"),
    "filter with a function": (Aggregation("trips", "sum", filter="abs(trips) > 1"), DefinitionError, "not part of a"),
    "filter with LIKE": (Aggregation("trips", "sum", filter="city LIKE 'a%'"), DefinitionError, "not part of a filter"),
    "filter with a query": (Aggregation("trips", "sum", filter="trips IN (SELECT 1)"), DefinitionError, "filter"),
    "filter of two kinds": (Aggregation("trips", "sum", filter="trips = 'a'"), DefinitionError, "int with text"),
    "filter that is a value": (Aggregation("trips", "sum", filter="trips"), DefinitionError, "condition is expected"),
    "filter with a bad time": (Aggregation("trips", "sum", filter="ts > 'soon'"), DefinitionError, "not a time"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_computed_is_refused_at_apply(case: str) -> None:
    aggregation, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as caught:
        plan(windows(aggregation))
    assert "test_apply_aggregations.py" in caught.value.location or "plans.py" in caught.value.location


def test_pushed_facts_alone_have_no_columns_to_aggregate() -> None:
    with pytest.raises(DefinitionError, match="no columns to read"):
        plan(windows(Aggregation("trips", "sum"), source=PushSource(name="pushed"), entities=[]))


def test_a_changed_aggregation_is_shown_and_gets_a_new_table() -> None:
    """DEF-1, DEF-4: stored values of another window are not read as those of this one."""
    snapshot = plan(windows(Aggregation("trips", "sum", HOUR, name="t"))).snapshot
    before = snapshot.storage("stats")
    made = plan(windows(Aggregation("trips", "sum", 2 * HOUR, name="t")), snapshot)
    assert changed(made) == {"aggregations.t": ("sum(trips) over 1h", "sum(trips) over 2h")}
    assert made.changes[0].storage == NEW_TABLE
    assert made.snapshot.storage("stats").table != before.table


def test_a_view_that_gets_aggregations_gets_a_new_table() -> None:
    """DEF-4"""
    snapshot = plan(view()).snapshot
    made = plan(windows(Aggregation("rate", "sum", name="rate")), snapshot)
    assert made.changes[0].storage == NEW_TABLE
    assert changed(made)["aggregations.rate"] == (None, "sum(rate) over forever")


def test_the_columns_of_a_fact_id_are_read_and_change_what_is_kept() -> None:
    """DEF-1, DEF-4: what tells facts apart decides how many there are."""
    made = plan(windows(Aggregation("trips", "sum"), fact_id=["city", "trips"]))
    stored = made.snapshot.view("stats")
    assert [(field.name, field.dtype) for field in stored.inputs or ()] == [("trips", Int32), ("city", String)]
    assert plan(windows(Aggregation("trips", "sum"), fact_id=["city", "trips"]), made.snapshot).is_empty
    without = plan(windows(Aggregation("trips", "sum")))
    added = plan(windows(Aggregation("trips", "sum"), fact_id="city"), without.snapshot)
    assert changed(added) == {"fact_id": (None, ["city"]), "inputs.city": (None, "String")}
    assert added.changes[0].storage == NEW_TABLE


def test_a_fact_id_that_is_read_anyway_leaves_what_is_kept() -> None:
    snapshot = plan(windows(Aggregation("trips", "sum"))).snapshot
    made = plan(windows(Aggregation("trips", "sum"), fact_id="trips"), snapshot)
    assert changed(made) == {"fact_id": (None, ["trips"])}
    assert not made.changes[0].storage


def test_a_fact_id_has_to_be_a_column_that_can_be_kept() -> None:
    with pytest.raises(SourceError, match=r"(?s)no column 'cty', which is part of its fact_id.*did you mean city"):
        plan(windows(Aggregation("trips", "sum"), fact_id="cty"))
    columns = {"rides": {**COLUMNS, "odd": pa.month_day_nano_interval()}}
    with pytest.raises(UnsupportedError, match="column 'odd'"):
        plan(windows(Aggregation("trips", "sum"), fact_id="odd"), columns=columns)
    columns = {"rides": {**COLUMNS, "tags": pa.list_(pa.string())}}
    made = plan(windows(Aggregation("trips", "sum"), fact_id="tags"), columns=columns)
    assert [field.dtype for field in made.snapshot.view("stats").inputs or ()] == [Int32, Array(String)]
