"""Messages in Protobuf: presence, nested messages, lists, maps, times, and classes that are not there."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2

from tiffin.definitions import ProtoFormat
from tiffin.errors import RequestError
from tiffin.messages.column import MessageColumn
from tiffin.types import Array, Int64, Map, String, UnixTimestamp
from unit.messages.batches import AMOUNT, AT, USER, WORD, take

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
FORMAT = ProtoFormat("clicks_pb2_for_tests.Click")


@pytest.fixture(scope="module")
def click() -> Iterator[type]:
    """A generated class, importable under the path of `FORMAT`."""
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="clicks.proto", package="clicks", syntax="proto3")
    file.dependency.extend(["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"])
    page = file.message_type.add(name="Page")
    page.field.add(name="path", number=1, type=9, label=1)
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="NONE", number=0)
    kind.value.add(name="BUY", number=1)
    message = file.message_type.add(name="Click")
    message.oneof_decl.add(name="_amount")
    message.field.add(name="user", number=1, type=3, label=1)
    message.field.add(name="at", number=2, type=11, label=1, type_name=".google.protobuf.Timestamp")
    message.field.add(name="amount", number=3, type=1, label=1, proto3_optional=True, oneof_index=0)
    message.field.add(name="word", number=4, type=9, label=1)
    message.field.add(name="page", number=5, type=11, label=1, type_name=".clicks.Page")
    message.field.add(name="codes", number=6, type=3, label=3)
    message.field.add(name="kind", number=7, type=14, label=1, type_name=".clicks.Kind")
    message.field.add(name="maybe", number=8, type=11, label=1, type_name=".google.protobuf.StringValue")
    entry = message.nested_type.add(name="TagsEntry")
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=9, label=1)
    entry.options.map_entry = True
    message.field.add(name="tags", number=9, type=11, label=3, type_name=".clicks.Click.TagsEntry")
    pool.Add(file)
    cls = message_factory.GetMessageClass(pool.FindMessageTypeByName("clicks.Click"))
    module = types.ModuleType("clicks_pb2_for_tests")
    module.Click = cls
    sys.modules[module.__name__] = module
    yield cls
    del sys.modules[module.__name__]


def test_messages_become_rows(click) -> None:
    full = click(user=1, amount=0.0, word="é", codes=[1, 2], kind=1, tags={"a": "b"})
    full.at.FromDatetime(NOON)
    full.page.path = "/"
    full.maybe.value = ""
    bare = click()
    bare.at.FromDatetime(NOON)
    columns = (
        *(USER, AT, AMOUNT, WORD),
        MessageColumn("page.path", String),
        MessageColumn("codes", Array(Int64)),
        MessageColumn("kind", String),
        MessageColumn("maybe", String),
        MessageColumn("tags", Map),
    )
    found = take(FORMAT, columns, [full.SerializeToString(), bare.SerializeToString()])
    assert found.table.to_pylist() == [
        {"user": 1, "at": NOON, "amount": 0.0, "word": "é", "page.path": "/", "codes": [1, 2], "kind": "BUY"}
        | {"maybe": "", "tags": [("a", "b")]},
        {"user": 0, "at": NOON, "amount": None, "word": "", "page.path": None, "codes": [], "kind": "NONE"}
        | {"maybe": None, "tags": []},
    ]


def test_what_is_no_such_message_is_a_dead_letter(click) -> None:
    """STR-3."""
    good = click(user=1)
    good.at.FromDatetime(NOON)
    values = [good.SerializeToString(), b"\xff\xff", None, b"", good.SerializeToString()]
    found = take(FORMAT, (USER, AT), values)
    assert found.numbers.tolist() == [0, 4]
    assert sorted(found.dead) == [1, 2, 3]


@pytest.mark.parametrize(
    ("path", "match"),
    [("usr", "has no field 'usr'\n.*did you mean user"), ("user.x", "no fields below"), ("codes.x", "no fields below")],
)
def test_field_that_the_class_does_not_have_is_refused(click, path, match) -> None:
    with pytest.raises(RequestError, match=match):
        take(FORMAT, (AT, MessageColumn(path, UnixTimestamp)), [])


@pytest.mark.parametrize("path", ["", "Click", "no_such_module.Click", "json.JSONDecoder", "json.Click"])
def test_class_that_is_not_there_is_refused(path) -> None:
    with pytest.raises(RequestError):
        take(ProtoFormat(path), (AT,), [])
