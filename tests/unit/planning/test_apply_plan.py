"""What a plan of ``apply`` says: every change, with old and new; nothing when nothing changes (DEF-1, DEF-3)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tiffin.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    Project,
    PushSource,
)
from tiffin.planning.storage import NEW_TABLE
from tiffin.types import (
    Float32,
    Float64,
    Int32,
)
from unit.planning.plans import changed, fields, plan, source, view


def test_what_a_view_refers_to_comes_along() -> None:
    made = plan(view(source=PushSource(name="push", batch_source=source())))
    assert [(c.action, c.kind, c.name) for c in made.changes] == [
        ("added", "entity", "driver"),
        ("added", "data source", "push"),
        ("added", "data source", "rides"),
        ("added", "feature view", "stats"),
    ]
    assert (made.base_version, made.version, made.snapshot.version) == (0, 1, 1)


@pytest.mark.parametrize("partial", [True, False])
def test_applying_the_same_twice_changes_nothing(partial: bool) -> None:
    def objects() -> list[Definition]:
        open_view = view(
            name="all", schema=None, source=FileSource(path="x.parquet", created_timestamp_column="created")
        )
        push = view(name="pushed", source=PushSource(name="push", batch_source=source()))
        return [view(), open_view, push, FeatureService(name="s", features=[view()[["rate"]]]), Project(name="p")]

    first = plan(objects(), partial=partial).snapshot
    again = plan(objects(), first, partial=partial)
    assert again.is_empty
    assert again.changes == ()
    assert again.snapshot is first
    assert again.version == 1


CHANGES: dict[str, tuple[FeatureView, dict[str, tuple[Any, Any]]]] = {
    "ttl": (view(ttl=timedelta(hours=2)), {"ttl": ("1d", "2h")}),
    "no ttl": (view(ttl=None), {"ttl": ("1d", None)}),
    "description": (view(description="words"), {"description": (None, "words")}),
    "tag": (view(tags={"a": "b"}), {"tags.a": (None, "b")}),
    "owner": (view(owner="me"), {"owner": (None, "me")}),
    "online": (view(online=False), {"online": (None, False)}),
    "type": (view(schema=fields(rate=Float32)), {"schema.rate": ("Float64", "Float32")}),
    "default": (
        view(schema=[Field(name="rate", dtype=Float64, default_value=0.5)]),
        {"schema.rate": ("Float64", {"dtype": "Float64", "default_value": 0.5})},
    ),
    "feature": (view(schema=fields(rate=Float64, trips=Int32)), {"schema.trips": (None, "Int32")}),
    "path": (view(source=source(path="b.parquet")), {"path": ("rides.parquet", "b.parquet")}),
    "created": (
        view(source=source(created_timestamp_column="")),
        {"created_timestamp_column": ("created", None)},
    ),
    "mapping": (view(source=source(field_mapping={"city": "town"})), {"field_mapping.city": (None, "town")}),
    "entity": (
        view(entities=[Entity(name="driver", join_keys=["driver_id"], description="d")]),
        {"description": (None, "d")},
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_of_any_argument_shows_with_old_and_new(case: str) -> None:
    new, expected = CHANGES[case]
    made = plan(new, plan(view()).snapshot)
    assert changed(made) == expected
    assert json.loads(json.dumps(made.to_dict()))["is_empty"] is False


def test_the_order_of_features_is_a_change() -> None:
    before = plan(view(schema=fields(rate=Float64, trips=Int32))).snapshot
    made = plan(view(schema=fields(trips=Int32, rate=Float64)), before)
    assert changed(made) == {"schema order": (["rate", "trips"], ["trips", "rate"])}


def test_the_place_in_a_file_is_no_change() -> None:
    first = plan(view(location="a.py:1")).snapshot
    assert plan(view(location="b.py:2"), first).is_empty


def test_a_plan_reads_well() -> None:
    before = plan([view(), Entity(name="old")]).snapshot
    made = plan([view(ttl=timedelta(days=2), schema=fields(rate=Float32)), Project(name="p")], before, partial=False)
    assert made.lines() == [
        "+ project p",
        "- entity old",
        "~ feature view stats",
        "    schema.rate: Float64 -> Float32",
        "    ttl: 1d -> 2d",
        f"    ({NEW_TABLE})",
        "1 added, 1 changed, 1 removed",
    ]
