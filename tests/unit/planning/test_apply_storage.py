"""What becomes of stored rows when a definition changes, and on the way back (DEF-4)."""

from __future__ import annotations

import pytest

from tiffin.definitions import (
    Entity,
    Field,
    PushSource,
)
from tiffin.errors import (
    SourceError,
)
from tiffin.planning.apply import plan_rollback
from tiffin.planning.storage import NEW_FEATURES, NEW_TABLE, SAME_TABLE
from tiffin.types import (
    Float32,
    Float64,
    Int32,
    Int64,
    ValueType,
)
from unit.planning.plans import COLUMNS, changed, fields, plan, source, view


def test_a_new_view_gets_a_table_of_its_own() -> None:
    storage = plan(view(schema=fields(rate=Float64, trips=Int32))).snapshot.storage("stats")
    assert (storage.version, storage.table) == (1, "p.stats.1")
    assert storage.layouts == ((("rate", "Float64"), ("trips", "Int32")),)


def test_features_may_come_go_and_move_within_a_table() -> None:
    snapshot = plan(view()).snapshot
    steps = [
        (fields(rate=Float64, trips=Int32), NEW_FEATURES),
        (fields(trips=Int32, rate=Float64), SAME_TABLE),
        (fields(trips=Int32), SAME_TABLE),
        (fields(trips=Int32, rate=Float64), NEW_FEATURES),
    ]
    for number, (schema, words) in enumerate(steps, start=2):
        made = plan(view(schema=schema), snapshot)
        snapshot = made.snapshot
        assert made.changes[0].storage == words
        storage = snapshot.storage("stats")
        assert (storage.version, storage.table, len(storage.layouts)) == (number, "p.stats.1", number)
        assert storage.layouts[-1] == tuple((field.name, repr(field.dtype)) for field in schema)


OTHER_MEANING = {
    "type": view(schema=fields(rate=Float32)),
    "key": view(entities=[Entity(name="driver", join_keys=["city"])]),
    "key type": view(entities=[Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.STRING)]),
    "fewer keys": view(entities=[]),
    "path": view(source=source(path="other.parquet")),
    "time column": view(source=source(timestamp_field="created", created_timestamp_column="")),
    "created column": view(source=source(created_timestamp_column="")),
    "renamed column": view(source=source(field_mapping={"trips": "rate"}), schema=fields(rate=Float64)),
}


@pytest.mark.parametrize("case", OTHER_MEANING)
def test_another_meaning_is_a_new_table_and_a_new_version(case: str) -> None:
    before = plan(view()).snapshot
    made = plan(OTHER_MEANING[case], before)
    storage = made.snapshot.storage("stats")
    assert (storage.version, storage.table, len(storage.layouts)) == (2, "p.stats.2", 1)
    assert before.storage("stats").table == "p.stats.1"
    assert made.changes[-1].storage == NEW_TABLE


SAME_MEANING = {
    "ttl": view(ttl=None),
    "words": view(description="d", tags={"a": "b"}, source=source(description="d")),
    "default": view(schema=[Field(name="rate", dtype=Float64, default_value=0.0)]),
    "key type spelled out": view(schema=fields(driver_id=Int32, rate=Float64)),
    "name of the source": view(source=source(name="renamed")),
    "pushed as well": view(source=PushSource(name="push", batch_source=source())),
}


@pytest.mark.parametrize("case", SAME_MEANING)
def test_stored_rows_stay_when_their_meaning_does(case: str) -> None:
    before = plan(view()).snapshot
    made = plan(SAME_MEANING[case], before)
    assert made.snapshot.storage("stats") == before.storage("stats")
    assert not made.is_empty


def test_a_feature_that_comes_back_with_another_type_gets_a_new_table() -> None:
    one = plan(view(schema=fields(rate=Float64, trips=Int32))).snapshot
    two = plan(view(), one).snapshot
    three = plan(view(schema=fields(rate=Float64, trips=Int64)), two).snapshot
    assert two.storage("stats").table == "p.stats.1"
    assert three.storage("stats").table == "p.stats.3"


def test_a_view_that_comes_back_gets_a_new_table() -> None:
    one = plan(view()).snapshot
    two = plan([], one, remove=[view()]).snapshot
    three = plan(view(), two).snapshot
    assert three.storage("stats").table == "p.stats.3"


def test_a_change_of_the_source_alone_moves_the_views_that_read_it() -> None:
    before = plan([view(), view(name="other", source=source(name="s2", path="s2.parquet"))]).snapshot
    made = plan(source(path="moved.parquet"), before)
    assert [(c.kind, c.name, c.storage) for c in made.changes] == [
        ("data source", "rides", ""),
        ("feature view", "stats", NEW_TABLE),
    ]
    assert made.snapshot.storage("other") == before.storage("other")


def test_a_change_of_the_source_alone_is_checked_against_its_views() -> None:
    before = plan(view()).snapshot
    columns = {"rides": {name: type_ for name, type_ in COLUMNS.items() if name != "rate"}}
    with pytest.raises(SourceError, match="feature view stats: data source rides has no column 'rate'"):
        plan(source(path="moved.parquet"), before, columns=columns)


def test_a_batch_source_that_changes_alone_reaches_views_of_pushed_facts() -> None:
    before = plan(view(source=PushSource(name="push", batch_source=source()))).snapshot
    made = plan(source(path="moved.parquet"), before)
    assert made.snapshot.storage("stats").table == "p.stats.2"


def test_a_rollback_gives_the_old_table_back_with_every_layout_it_got() -> None:
    one = plan(view()).snapshot
    two = plan(view(schema=fields(rate=Float64, trips=Int32)), one).snapshot
    three = plan(view(schema=fields(rate=Float32)), two).snapshot
    made = plan_rollback(three, one, [three, two])
    storage = made.snapshot.storage("stats")
    assert made.version == 4
    assert storage.table == "p.stats.1"
    assert [[name for name, _ in layout] for layout in storage.layouts] == [["rate"], ["rate", "trips"], ["rate"]]
    assert storage.version > two.storage("stats").version
    assert "back to its online table of version 1" in str(made)
    assert changed(made) == {"schema.rate": ("Float32", "Float64")}


def test_a_rollback_to_what_is_there_changes_nothing() -> None:
    one = plan(view()).snapshot
    two = plan(view(ttl=None), one).snapshot
    three = plan(view(), two).snapshot
    assert plan_rollback(three, one, [three, two]).is_empty
