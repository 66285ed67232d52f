"""What is read of which stream for which views, and under which group."""

from __future__ import annotations

import pytest

from tiffin.definitions import Entity, FeatureView, Field, JsonFormat, KafkaSource
from tiffin.errors import NotFoundError, RequestError
from tiffin.planning.stream import plan_stream
from tiffin.types import Float32, Float64, Int32, Int64, String, ValueType
from unit.planning.plans import fields, plan, view

USER = Entity(name="user", value_type=ValueType.INT32)


def stream(name: str = "events", **more) -> KafkaSource:
    more = {"field_mapping": {"who.id": "user"}, "timestamp_field": "at"} | more
    return KafkaSource(name=name, kafka_bootstrap_servers="b:1", topic="t", message_format=JsonFormat(), **more)


def fed(name: str, source: KafkaSource, schema, **more) -> FeatureView:
    return FeatureView(name=name, source=source, entities=[USER], schema=schema, **more)


def snapshot(*views):
    return plan(list(views)).snapshot


def test_columns_of_all_views_are_read_once_and_wide() -> None:
    source = stream(created_timestamp_column="known")
    (found,) = plan_stream(snapshot(fed("a", source, fields(x=Int32, y=Float32)), fed("b", source, fields(x=Int64))))
    columns = {column.path: column for column in found.columns}
    assert {path: column.dtype for path, column in columns.items() if not column.is_time} == {
        "who.id": Int64,
        "x": Int64,
        "y": Float64,
    }
    assert (columns["who.id"].is_key, columns["at"].is_required, columns["known"].is_required) == (True, True, False)
    assert (found.time, found.keys) == ("at", (("who.id",), ("who.id",)))


def test_each_source_has_a_plan_of_its_own() -> None:
    state = snapshot(fed("a", stream("one"), fields(x=Int64)), fed("b", stream("two"), fields(x=Int64)), view())
    assert [(each.source.name, each.group) for each in plan_stream(state)] == [
        ("one", "tiffin.p.one"),
        ("two", "tiffin.p.two"),
    ]


def test_a_choice_of_views_is_another_group() -> None:
    source = stream()
    state = snapshot(fed("a", source, fields(x=Int64)), fed("b", source, fields(x=Int64)))
    assert plan_stream(state, ["b"])[0].group == "tiffin.p.events.b"
    assert plan_stream(state, ["b", "a", "b"])[0].group == plan_stream(state)[0].group == "tiffin.p.events"


def test_views_that_are_not_served_are_left_out_and_refused_by_name() -> None:
    source = stream()
    off = fed("off", source, fields(x=Int64), online=False)
    state = snapshot(fed("a", source, fields(x=Int64)), off, fed("disabled", source, fields(x=Int64), enabled=False))
    assert [each.name for each in plan_stream(state)[0].views] == ["a"]
    with pytest.raises(RequestError, match="off is not online"):
        plan_stream(state, ["off"])
    with pytest.raises(RequestError, match="disabled is not enabled"):
        plan_stream(state, ["disabled"])


def test_a_field_with_two_types_is_refused() -> None:
    source = stream()
    state = snapshot(fed("a", source, fields(x=Int64)), fed("b", source, fields(x=String)))
    with pytest.raises(RequestError, match="reads the field 'x' as String; it is read as Int64 as well"):
        plan_stream(state)


def test_views_without_a_stream_are_refused() -> None:
    with pytest.raises(RequestError, match="no feature view is fed by a stream"):
        plan_stream(snapshot(view()))
    with pytest.raises(RequestError, match="is loaded by `tiffin materialize`; no stream feeds it"):
        plan_stream(snapshot(view()), [view().name])
    with pytest.raises(NotFoundError):
        plan_stream(snapshot(view()), ["nothing"])


def test_field_of_a_feature_may_be_renamed() -> None:
    source = stream(field_mapping={"who.id": "user", "@header.x": "x"})
    state = snapshot(fed("a", source, [Field(name="x", dtype=String)]))
    assert {column.path for column in plan_stream(state)[0].columns} == {"who.id", "@header.x", "at"}
