"""Every declared object is checked when it is built, and its error names the file and the line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tiffin.definitions import (
    CsvFormat,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileLoggingDestination,
    FileSource,
    JsonFormat,
    KafkaSource,
    KinesisSource,
    LabelView,
    LoggingConfig,
    Project,
    PushSource,
    RequestSource,
)
from tiffin.errors import DefinitionError, DefinitionTypeError, NotFoundError, UnsupportedError
from tiffin.types import Array, Float32, Int64, String, ValueType

SOURCE = FileSource(path="stats.parquet", timestamp_field="ts")
DRIVER = Entity(name="driver", join_keys=["driver_id"])
RATE = Field(name="rate", dtype=Float32)


def view(**arguments: Any) -> FeatureView:
    return FeatureView(**{"name": "stats", "source": SOURCE, "entities": [DRIVER], "schema": [RATE], **arguments})


WRONG: dict[str, tuple[Callable[[], Definition], str]] = {
    "name empty": (lambda: Entity(name=" "), "entity has the name ' '"),
    "name no text": (lambda: Entity(name=3), "argument name is 3 (int), where str is expected"),  # type: ignore[arg-type]
    "tags no map": (lambda: Entity(name="e", tags=["a"]), "argument tags is ['a']"),  # type: ignore[arg-type]
    "tag no text": (lambda: Entity(name="e", tags={"a": 1}), "argument tags['a'] is 1"),  # type: ignore[dict-item]
    "two keys": (lambda: Entity(name="e", join_keys=["a", "b"]), "has 2 join keys, where one is expected"),
    "no keys": (lambda: Entity(name="e", join_keys=[]), "has 0 join keys"),
    "key no text": (lambda: Entity(name="e", join_keys=[1]), "argument join_keys[0] is 1"),  # type: ignore[list-item]
    "key of floats": (lambda: Entity(name="e", value_type=ValueType.DOUBLE), "cannot be a key"),
    "key of a type": (lambda: Entity(name="e", value_type=Int64), "argument value_type is Int64"),  # type: ignore[arg-type]
    "dtype no type": (lambda: Field(name="f", dtype=int), "dtype is <class 'int'>, which is not a type"),  # type: ignore[arg-type]
    "vector no flag": (lambda: Field(name="f", dtype=Int64, vector_index=1), "argument vector_index is 1"),  # type: ignore[arg-type]
    "no path": (lambda: FileSource(name="s", path=""), "data source s has no path"),
    "bad format": (lambda: FileSource(path="a", file_format="avro"), "file_format 'avro' is not supported"),  # type: ignore[arg-type]
    "same times": (
        lambda: FileSource(path="a", timestamp_field="t", created_timestamp_column="t"),
        "timestamp_field and created_timestamp_column are both 't'",
    ),
    "mapping clash": (
        lambda: FileSource(path="a", field_mapping={"a": "x", "b": "x"}),
        "field_mapping gives two columns the name 'x'",
    ),
    "batch no source": (lambda: PushSource(name="p", batch_source="s"), "argument batch_source is 's'"),  # type: ignore[arg-type]
    "no request fields": (lambda: RequestSource(name="r", schema=[]), "data source r has no fields"),
    "request twice": (lambda: RequestSource(name="r", schema=[RATE, RATE]), "declares the field 'rate' twice"),
    "no source": (lambda: view(source=None), "feature view stats has no source"),
    "source no source": (lambda: view(source="stats.parquet"), "argument source is 'stats.parquet'"),
    "entity as text": (lambda: view(entities=["driver"]), "entities[0] is the text 'driver'"),
    "entity no entity": (lambda: view(entities=[RATE]), "argument entities[0] is"),
    "same key twice": (
        lambda: view(entities=[DRIVER, Entity(name="d", join_keys=["driver_id"])]),
        "two entities with the join key 'driver_id'",
    ),
    "negative ttl": (lambda: view(ttl=timedelta(seconds=-1)), "has ttl -1 day, 23:59:59, which is negative"),
    "ttl no duration": (lambda: view(ttl=60), "argument ttl is 60 (int), where timedelta is expected"),
    "field twice": (lambda: view(schema=[RATE, RATE]), "declares the field 'rate' twice"),
    "field no field": (lambda: view(schema=["rate"]), "argument schema[0] is 'rate'"),
    "key as list": (lambda: view(schema=[RATE, Field(name="driver_id", dtype=Array(Int64))]), "cannot be the type"),
    "key otherwise": (
        lambda: view(
            entities=[Entity(name="d", join_keys=["driver_id"], value_type=ValueType.INT64)],
            schema=[RATE, Field(name="driver_id", dtype=String)],
        ),
        "declares 'driver_id' as String, but entity d declares it as Int64",
    ),
    "renamed field": (
        lambda: view(source=FileSource(path="a", field_mapping={"rate": "other"})),
        "field 'rate' is renamed by the source",
    ),
    "flag no flag": (lambda: view(online="yes"), "argument online is 'yes'"),
    "sign in name": (lambda: view(name="a:b"), "has the name 'a:b', which is not allowed"),
    "no features": (lambda: FeatureService(name="s", features=[]), "feature service s has no features"),
    "no feature": (lambda: FeatureService(name="s", features=[3]), "3 is neither a feature view nor a reference"),  # type: ignore[list-item]
    "half reference": (lambda: FeatureService(name="s", features=["stats:"]), "'stats:' is neither"),
    "logging": (
        lambda: FeatureService(name="s", features=["stats"], logging_config=object()),
        "argument logging_config",
    ),  # type: ignore[arg-type]
    "labeler": (lambda: LabelView(name="l", source=SOURCE, schema=[RATE]), "its schema has no labeler_field 'labeler'"),
    "no topic": (lambda: KafkaSource(name="k", message_format={"json": {}}), "data source k has no topic"),
    "no stream": (lambda: KinesisSource(name="k", record_format=JsonFormat()), "data source k has no stream_name"),
    "no format": (lambda: KafkaSource(name="k", topic="t"), "message_format is None"),
    "format": (lambda: KafkaSource(name="k", topic="t", message_format={"jsn": {}}), "message_format 'jsn' is unknown"),
    "format option": (
        lambda: KafkaSource(name="k", topic="t", message_format={"json": {"x": 1}}),
        "message_format 'json'",
    ),
    "project name": (lambda: Project(name="a b"), "project name 'a b' is not allowed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_definition_is_refused_with_its_place(case: str) -> None:
    build, message = WRONG[case]
    with pytest.raises(DefinitionError) as caught:
        build()
    assert message in caught.value.message
    file, _, line = caught.value.location.rpartition(":")
    assert file.endswith("test_definitions.py")
    assert int(line) > 0


def test_the_place_is_the_line_of_the_declaration() -> None:
    frame = inspect.currentframe()
    assert frame is not None
    entity = Entity(name="driver")
    assert entity.location.endswith(f"test_definitions.py:{frame.f_lineno - 1}")


def test_a_wrong_type_is_a_type_error_and_a_wrong_value_a_value_error() -> None:
    with pytest.raises(TypeError):
        Entity(name=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 0 join keys"):
        Entity(name="e", join_keys=[])


def test_the_place_is_no_part_of_the_value() -> None:
    first = Entity(name="driver")
    second = Entity(name="driver")
    assert first.location != second.location
    assert first == second
    assert hash(first) == hash(second)


def test_a_definition_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        DRIVER.name = "other"  # type: ignore[misc]


def test_an_entity_is_known_by_its_name_unless_it_says_otherwise() -> None:
    assert Entity(name="driver").join_key == "driver"
    assert DRIVER.join_key == "driver_id"
    assert Entity(name="e", value_type=ValueType.UNKNOWN).key_type is None


def test_a_zero_ttl_is_no_limit() -> None:
    assert view(ttl=timedelta(0)).ttl is None
    assert view(ttl=None).ttl_us is None
    assert view(ttl=timedelta(seconds=1)).ttl_us == 1_000_000


def test_keys_in_the_schema_are_no_features() -> None:
    declared = view(schema=[Field(name="driver_id", dtype=Int64), RATE])
    assert declared.feature_names == ("rate",)
    assert declared.key_types == (Int64,)


def test_selecting_a_feature_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean rate"):
        view()[["rat"]]
    with pytest.raises(DefinitionTypeError, match=r"takes a list of feature names"):
        view()["rate"]  # type: ignore[index]


def test_a_join_key_map_names_join_keys() -> None:
    with pytest.raises(DefinitionError, match="has no join key 'driver'"):
        view().with_join_key_map({"driver": "x"})


def test_text_in_a_service_is_a_reference() -> None:
    service = FeatureService(name="s", features=["stats:rate", "other", view().with_name("again")[["rate"]]])
    assert [(use.view, use.projection.features, use.projection.alias) for use in service.uses] == [
        ("stats", ("rate",), ""),
        ("other", None, ""),
        ("stats", ("rate",), "again"),
    ]


def test_the_older_name_of_the_time_column_is_accepted() -> None:
    assert FileSource(path="a", event_timestamp_column="ts").timestamp_field == "ts"


@pytest.mark.parametrize(
    ("path", "file_format", "name"),
    [("a.parquet", None, "parquet"), ("a.csv", None, "csv"), ("folder", None, "parquet"), ("a.x", CsvFormat(), "csv")],
)
def test_the_format_comes_from_the_ending_unless_it_is_declared(path: str, file_format: Any, name: str) -> None:
    assert FileSource(path=path, file_format=file_format).format_name == name


@pytest.mark.parametrize(
    "build",
    [
        lambda: FileSource(path="a", connection_ref=object()),
    ],
)
def test_an_argument_that_is_not_supported_yet_is_refused_and_not_dropped(build: Callable[[], object]) -> None:
    with pytest.raises(UnsupportedError, match="is not supported yet") as caught:
        build()
    assert "test_definitions.py" in caught.value.location


@pytest.mark.parametrize("rate", [0.0, 2.0, -0.5])
def test_a_share_of_requests_is_above_0_and_up_to_1(rate: float) -> None:
    with pytest.raises(DefinitionError, match=f"sample_rate is {rate}"):
        LoggingConfig(FileLoggingDestination(path="a"), rate)
