"""Plans of ``apply``, without any I/O: changes, stored rows, and what is refused (DEF-1 to DEF-4)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from tiffin.definitions import (
    DataSource,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
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
from tiffin.planning.apply import ApplyPlan, gather, plan_apply, plan_rollback
from tiffin.planning.inference import sources_to_read
from tiffin.planning.storage import NEW_FEATURES, NEW_TABLE, SAME_TABLE
from tiffin.registry.snapshot import Snapshot
from tiffin.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    Struct,
    UnixTimestamp,
    ValueType,
    ZonedTimestamp,
)

TIME = pa.timestamp("us", "UTC")
COLUMNS = {
    "driver_id": pa.int64(),
    "ts": TIME,
    "created": TIME,
    "rate": pa.float64(),
    "trips": pa.int32(),
    "city": pa.string(),
}
EMPTY = Snapshot("p")


def plan(
    objects: Definition | Iterable[Definition],
    current: Snapshot = EMPTY,
    *,
    partial: bool = True,
    remove: Iterable[Definition] = (),
    columns: Mapping[str, Mapping[str, pa.DataType]] | None = None,
) -> ApplyPlan:
    """A plan against sources that all have ``COLUMNS``, unless ``columns`` says otherwise."""
    wish = gather(current, objects, list(remove), partial=partial)
    schemas = {source.name: (columns or {}).get(source.name, COLUMNS) for source in sources_to_read(wish.declared)}
    return plan_apply(wish, schemas)


def source(**arguments: Any) -> FileSource:
    return FileSource(
        **{
            "name": "rides",
            "path": "rides.parquet",
            "timestamp_field": "ts",
            "created_timestamp_column": "created",
            **arguments,
        }
    )


def fields(**types: FeatureType) -> list[Field]:
    return [Field(name=name, dtype=dtype) for name, dtype in types.items()]


def view(**arguments: Any) -> FeatureView:
    defaults = {
        "name": "stats",
        "source": source(),
        "entities": [Entity(name="driver", join_keys=["driver_id"])],
        "schema": fields(rate=Float64),
        "ttl": timedelta(days=1),
    }
    return FeatureView(**{**defaults, **arguments})


def changed(made: ApplyPlan) -> dict[str, tuple[Any, Any]]:
    return {item.field: (item.old, item.new) for change in made.changes for item in change.fields}


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


# What becomes of stored rows (DEF-4)


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


# Rollback


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


# What a source tells


def test_an_open_schema_gets_the_columns_that_are_no_keys_and_no_times() -> None:
    made = plan(view(schema=None, source=source(field_mapping={"city": "town"})))
    assert [(f.name, f.dtype) for f in made.snapshot.view("stats").features] == [
        ("rate", Float64),
        ("trips", Int32),
        ("town", String),
    ]


def test_the_only_time_column_is_the_time() -> None:
    only = {name: type_ for name, type_ in COLUMNS.items() if name != "created"}
    open_source = FileSource(name="rides", path="a.parquet")
    made = plan(view(source=open_source), columns={"rides": only})
    assert made.snapshot.sources["rides"].timestamp_field == "ts"
    made = plan(view(source=FileSource(name="rides", path="a.parquet", created_timestamp_column="created")))
    assert made.snapshot.sources["rides"].timestamp_field == "ts"


def test_pushed_facts_have_the_times_of_their_history() -> None:
    made = plan(view(source=PushSource(name="push", batch_source=source())))
    push = made.snapshot.sources["push"]
    assert (push.timestamp_field, push.created_timestamp_column) == ("ts", "created")


@pytest.mark.parametrize(
    ("columns", "message"),
    [(COLUMNS, "there are several: ts, created"), ({"driver_id": pa.int64()}, "none of driver_id is")],
)
def test_a_time_column_that_cannot_be_told_is_asked_for(columns: dict[str, pa.DataType], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        plan(view(source=FileSource(name="rides", path="a.parquet")), columns={"rides": columns})


@pytest.mark.parametrize(("column", "kept"), [(pa.int32(), Int64), (pa.int64(), Int64), (pa.string(), String)])
def test_the_type_of_a_key_comes_from_its_column(column: pa.DataType, kept: FeatureType) -> None:
    made = plan(view(), columns={"rides": {**COLUMNS, "driver_id": column}})
    assert made.snapshot.entities["driver"].key_type == kept
    assert made.snapshot.view("stats").key_types == (kept,)


def test_narrow_and_wide_integer_keys_are_one() -> None:
    other = view(name="other", source=source(name="s2"), schema=fields(driver_id=Int32, rate=Float64))
    made = plan([view(), other], columns={"s2": {**COLUMNS, "driver_id": pa.int32()}})
    assert made.snapshot.view("stats").key_types == made.snapshot.view("other").key_types == (Int64,)


def test_an_entity_with_keys_of_two_types_is_refused() -> None:
    other = view(name="other", source=source(name="s2"))
    columns = {"s2": {**COLUMNS, "driver_id": pa.string()}}
    message = "'driver_id' has several types: Int64 in feature view stats, String in feature view other"
    with pytest.raises(DefinitionError, match=message):
        plan([view(), other], columns=columns)
    with pytest.raises(DefinitionError, match="String in feature view other, Int64 in what was applied before"):
        plan(other, plan(view()).snapshot, columns=columns)


def test_a_source_that_is_used_by_many_views_is_read_once() -> None:
    wish = gather(EMPTY, [view(name=f"v{i}") for i in range(5)], [], partial=True)
    assert [each.name for each in sources_to_read(wish.declared)] == ["rides"]


# What is refused


def field(dtype: FeatureType, column: pa.DataType, **arguments: Any) -> ApplyPlan:
    declared = view(schema=[Field(name="x", dtype=dtype, **arguments)])
    return plan(declared, columns={"rides": {**COLUMNS, "x": column}})


FITS = [
    (Int64, pa.uint8()),
    (Int32, pa.int64()),
    (Float32, pa.float64()),
    (Float64, pa.int64()),
    (Float64, pa.decimal128(9, 2)),
    (String, pa.dictionary(pa.int32(), pa.large_string())),
    (String, pa.int64()),
    (UnixTimestamp, pa.date32()),
    (UnixTimestamp, pa.string()),
    (Decimal, pa.decimal128(20, 18)),
    (Decimal, pa.int64()),
    (Bytes, pa.large_binary()),
    (Array(Int64), pa.list_(pa.int32())),
    (Struct({"a": Int64}), pa.struct([("a", pa.int32())])),
    (Map, pa.map_(pa.string(), pa.string())),
    (Int64, pa.null()),
]
MISFITS = [
    (Int64, pa.string()),
    (Int64, pa.float64()),
    (Int64, pa.bool_()),
    (Bool, pa.int64()),
    (Float64, pa.string()),
    (String, pa.float64()),
    (String, pa.binary()),
    (UnixTimestamp, pa.int64()),
    (Decimal, pa.float64()),
    (Decimal, pa.decimal256(40, 20)),
    (Array(Int64), pa.int64()),
    (Array(Int64), pa.list_(pa.string())),
    (Struct({"a": Int64}), pa.struct([("b", pa.int64())])),
    (Map, pa.map_(pa.string(), pa.int64())),
]


@pytest.mark.parametrize(("dtype", "column"), FITS)
def test_a_column_that_fits_its_declared_type_is_accepted(dtype: FeatureType, column: pa.DataType) -> None:
    assert field(dtype, column).snapshot.view("stats").features[0].dtype == dtype


@pytest.mark.parametrize(("dtype", "column"), MISFITS)
def test_a_column_that_cannot_be_kept_in_its_declared_type_is_refused(dtype: FeatureType, column: pa.DataType) -> None:
    with pytest.raises(DefinitionTypeError, match=r"field 'x' is declared as .* cannot be kept in it") as caught:
        field(dtype, column)
    assert "test_apply_plan.py:" in caught.value.location


@pytest.mark.parametrize("default", ["a", 1.5, True, [1], 1 << 70])
def test_a_default_of_another_type_is_refused(default: Any) -> None:
    with pytest.raises(DefinitionTypeError, match="is no Int64"):
        field(Int64, pa.int64(), default_value=default)


def test_a_default_that_the_registry_cannot_keep_is_refused() -> None:
    with pytest.raises(DefinitionError, match="holds a value that the registry cannot keep"):
        plan([view(schema=[Field(name="rate", dtype=Float64, default_value=object())]), view()])


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
