"""Definitions that contradict one another or what has been applied are refused, with names and places."""

from __future__ import annotations

from typing import Any

import pytest

from tiffin.definitions import (
    DataSource,
    Definition,
    Entity,
    FeatureService,
    Project,
    PushSource,
    RequestSource,
)
from tiffin.errors import (
    DefinitionError,
    DefinitionTypeError,
    NotFoundError,
    RequestError,
    SourceError,
    UnsupportedError,
)
from tiffin.types import (
    Float64,
    Int32,
    Int64,
    ValueType,
    ZonedTimestamp,
)
from unit.planning.plans import fields, plan, source, view

REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "type": (view(schema=fields(rate=ZonedTimestamp)), UnsupportedError, "field 'rate': type ZonedTimestamp"),
    "column": (view(schema=fields(rat=Float64)), SourceError, r"no column 'rat'.*\n.*\n.*did you mean rate"),
    "key column": (
        view(entities=[Entity(name="e", join_keys=["driver"])]),
        SourceError,
        "has no column 'driver', which is the join key of entity e",
    ),
    "time column": (view(source=source(timestamp_field="tz")), SourceError, "no column 'tz', which is its timestamp"),
    "created column": (
        view(source=source(created_timestamp_column="x")),
        SourceError,
        "no column 'x', which is its c",
    ),
    "time type": (view(source=source(timestamp_field="rate")), SourceError, "'rate' has type double, where a time"),
    "mapped column": (view(source=source(field_mapping={"x": "y"})), SourceError, "no column 'x', which field_mapping"),
    "key of floats": (
        view(entities=[Entity(name="e", join_keys=["rate"])], schema=fields(trips=Int32)),
        DefinitionError,
        "has type Float64 in data source rides, which cannot be a key",
    ),
    "key of text": (
        view(entities=[Entity(name="e", join_keys=["city"], value_type=ValueType.INT64)]),
        DefinitionTypeError,
        "the join key 'city' is declared as Int64, but column 'city' of data source rides has type string",
    ),
    "no features": (view(schema=fields(driver_id=Int64)), DefinitionError, "has no features"),
    "pushed only, no schema": (
        view(source=PushSource(name="s"), schema=None, entities=[]),
        DefinitionError,
        "has no schema",
    ),
    "pushed only, no key type": (
        view(source=PushSource(name="s")),
        DefinitionError,
        "type of the join key 'driver_id'",
    ),
    "request": (
        view(source=RequestSource(name="r", schema=fields(a=Int64))),
        DefinitionError,
        "has data source r as its source",
    ),
    "no definition": ([view(), "stats"], DefinitionTypeError, r"'stats' \(str\) cannot be applied"),
    "bare source": (DataSource(name="s"), DefinitionTypeError, "cannot be applied"),
    "other project": (Project(name="q"), DefinitionError, "project q is declared, but this repository's project is p"),
    "two views": ([view(), view(ttl=None)], DefinitionError, "two different objects called feature view stats: at .*:"),
    "two sources": (
        [view(), view(name="b", source=source(path="c"))],
        DefinitionError,
        "two different objects called data source rides: at .*py:.* and at .*py:",
    ),
    "two entities": (
        [view(), Entity(name="driver")],
        DefinitionError,
        "two different objects called entity driver",
    ),
    "view case": ([view(), view(name="Stats")], DefinitionError, "feature view Stats at .* differ only by case"),
    "source case": (
        [view(), view(name="b", source=source(name="Rides"))],
        DefinitionError,
        "data source Rides at .* differ only by case",
    ),
    "unknown view": (
        [view(), FeatureService(name="s", features=["stat:rate"])],
        NotFoundError,
        "feature service s uses feature view 'stat', which does not exist\n.*\n.*did you mean stats",
    ),
    "unknown feature": (
        [view(), FeatureService(name="s", features=["stats:rat"])],
        NotFoundError,
        "uses feature 'rat' of feature view stats, which has no such feature\n.*\n.*did you mean rate",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_definitions_that_contradict_themselves_are_refused(case: str) -> None:
    objects, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        plan(objects)


def test_a_name_that_differs_by_case_from_an_applied_one_is_refused() -> None:
    with pytest.raises(DefinitionError, match="differ only by case"):
        plan(view(name="STATS"), plan(view()).snapshot)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (source(), "data source rides cannot be removed: feature view stats uses it"),
        (Entity(name="driver"), "entity driver cannot be removed: feature view stats uses it"),
        (view(), "feature view stats cannot be removed: feature service s uses it"),
    ],
)
def test_what_is_used_cannot_be_removed(removed: Definition, message: str) -> None:
    current = plan([view(), FeatureService(name="s", features=["stats"])]).snapshot
    with pytest.raises(DefinitionError, match=message):
        plan([], current, remove=[removed])


def test_a_feature_that_a_service_uses_cannot_go() -> None:
    schema = fields(rate=Float64, trips=Int32)
    current = plan([view(schema=schema), FeatureService(name="s", features=["stats:trips"])]).snapshot
    with pytest.raises(NotFoundError, match="feature service s uses feature 'trips'"):
        plan(view(), current)


def test_an_entity_cannot_change_under_a_view_that_declares_its_type() -> None:
    current = plan(view(schema=fields(driver_id=Int64, rate=Float64))).snapshot
    with pytest.raises(DefinitionError, match="declares 'driver_id' as Int64, but entity driver declares it as String"):
        plan(Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.STRING), current)


def test_removing_what_is_not_there_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean stats"):
        plan([], plan(view()).snapshot, remove=[view(name="stat")])


def test_an_object_is_either_applied_or_removed() -> None:
    current = plan(view()).snapshot
    with pytest.raises(RequestError, match="to be applied and to be removed"):
        plan(view(), current, remove=[view()])


def test_what_is_not_declared_goes_when_everything_is_replaced() -> None:
    current = plan([view(), FeatureService(name="s", features=["stats"])]).snapshot
    made = plan([Entity(name="driver", join_keys=["driver_id"])], current, partial=False)
    assert [(c.action, c.name) for c in made.changes if c.action == "removed"] == [
        ("removed", "rides"),
        ("removed", "stats"),
        ("removed", "s"),
    ]


def test_objects_may_be_removed_together_with_what_uses_them() -> None:
    current = plan([view(), FeatureService(name="s", features=["stats"])]).snapshot
    service = current.service("s")
    made = plan([], current, remove=[service, view(), source()])
    assert made.snapshot.names("entity") == ["driver"]
    assert made.count("removed") == 3
