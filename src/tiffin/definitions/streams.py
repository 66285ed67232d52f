"""Facts that come over a message broker: read by ``tiffin stream run``, or pushed by a program.

A column of such a source is a field of the message, a nested one by its path (``user.id``). What stands around a
message has names of its own: ``@key``, ``@timestamp`` (the broker's time) and ``@header.NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.sources import StreamSource
from tiffin.errors import DefinitionError, DefinitionTypeError, nearest
from tiffin.time import TIME_UNITS, duration_us


@dataclass(frozen=True)
class _Format:
    """What all formats have.

    Attributes:
        timestamp_unit: what a time that is a number counts, ``s``, ``ms``, ``us`` or ``ns`` since 1970; empty when
            times are text in ISO 8601, or when the format has a type for them.
    """

    name: ClassVar[str] = ""

    timestamp_unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if self.timestamp_unit not in ("", *TIME_UNITS):
            raise DefinitionError(
                f"{type(self).__name__}: timestamp_unit {self.timestamp_unit!r} is unknown",
                hint=f"units are {', '.join(TIME_UNITS)}",
            )


@dataclass(frozen=True)
class JsonFormat(_Format):
    """Messages that are one JSON object each; ``schema_json`` is kept for readers that need one."""

    name: ClassVar[str] = "json"

    schema_json: str = ""


@dataclass(frozen=True)
class AvroFormat(_Format):
    """Messages in Avro, without the header of a file.

    Attributes:
        schema_json: the schema that they are written with; with a registry, the one that they are read as.
        schema_registry: the address of a schema registry; each message then names its schema there, after a byte 0.
    """

    name: ClassVar[str] = "avro"

    schema_json: str = ""
    schema_registry: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class ProtoFormat(_Format):
    """Messages in Protobuf of the generated class at a path, such as ``shop.events_pb2.Click``."""

    name: ClassVar[str] = "proto"

    class_path: str = ""


StreamFormat = JsonFormat | AvroFormat | ProtoFormat
_FORMATS: dict[str, type[Any]] = {"json": JsonFormat, "avro": AvroFormat, "proto": ProtoFormat}


@dataclass(frozen=True, kw_only=True)
class KafkaSource(StreamSource):
    """Facts from a Kafka topic.

    Args:
        kafka_bootstrap_servers: the brokers, ``host:port`` with commas between.
        bootstrap_servers: its older name.
        topic: the topic.
        message_format: how a message is written; also as ``{"json": {}}``.
        watermark_delay_threshold: how late a message may be before it is counted as late; nothing is dropped for it.
    """

    broker: ClassVar[str] = "kafka"

    kafka_bootstrap_servers: str = ""
    bootstrap_servers: str = ""
    topic: str = ""
    message_format: StreamFormat | Mapping[str, Any] | None = None
    watermark_delay_threshold: timedelta | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("kafka_bootstrap_servers", self.kafka_bootstrap_servers or self.bootstrap_servers)
        self._set("bootstrap_servers", "")
        self._set("message_format", _format(self, "message_format", self.message_format))
        self._set(
            "watermark_delay_threshold", self._duration("watermark_delay_threshold", self.watermark_delay_threshold)
        )
        if not self.topic:
            raise self.error(f"{self.subject} has no topic", hint="pass topic=")

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = super().to_spec() | {
            "kafka_bootstrap_servers": self.kafka_bootstrap_servers,
            "topic": self.topic,
            "message_format": _format_spec(self.message_format),
        }
        if self.watermark_delay_threshold is not None:
            spec["watermark_us"] = duration_us(self.watermark_delay_threshold)
        return spec


@dataclass(frozen=True, kw_only=True)
class KinesisSource(StreamSource):
    """Facts from a Kinesis stream.

    Args:
        region: of the stream.
        stream_name: its name.
        record_format: how a record is written; also as ``{"json": {}}``.
    """

    broker: ClassVar[str] = "kinesis"

    region: str = ""
    stream_name: str = ""
    record_format: StreamFormat | Mapping[str, Any] | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("record_format", _format(self, "record_format", self.record_format))
        if not self.stream_name:
            raise self.error(f"{self.subject} has no stream_name", hint="pass stream_name=")

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return super().to_spec() | {
            "region": self.region,
            "stream_name": self.stream_name,
            "record_format": _format_spec(self.record_format),
        }


def _format(owner: Definition, argument: str, given: Any) -> StreamFormat:
    """A format from the object, or from ``{"json": {options}}``."""
    if isinstance(given, JsonFormat | AvroFormat | ProtoFormat):
        return given
    if isinstance(given, Mapping) and len(given) == 1:
        ((name, options),) = given.items()
        if name in _FORMATS and isinstance(options, Mapping):
            try:
                found: StreamFormat = _FORMATS[name](**options)
                return found
            except DefinitionError as error:
                raise owner.error(f"{owner.subject}: {argument}: {error.message}", hint=error.hint) from None
            except TypeError as error:
                raise owner.error(f"{owner.subject}: {argument} {name!r}: {error}") from None
        raise owner.error(f"{owner.subject}: {argument} {name!r} is unknown", hint=nearest(str(name), _FORMATS))
    raise DefinitionTypeError(
        f"{owner.subject}: {argument} is {given!r}",
        subject=owner.subject,
        location=owner.location,
        hint='pass JsonFormat(), AvroFormat(...), ProtoFormat(...), or {"json": {}}',
    )


def _format_spec(given: Any) -> dict[str, Any]:
    return {given.name: {name: value for name, value in vars(given).items() if value}}
