"""Facts that come over a message broker. They are declared and pushed; a reader of the broker is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.sources import StreamSource
from tiffin.errors import DefinitionTypeError, nearest
from tiffin.time import duration_us


@dataclass(frozen=True)
class JsonFormat:
    """Messages in JSON; ``schema_json`` is kept for readers that need one."""

    name: ClassVar[str] = "json"

    schema_json: str = ""


@dataclass(frozen=True)
class AvroFormat:
    """Messages in Avro with the given schema."""

    name: ClassVar[str] = "avro"

    schema_json: str = ""


@dataclass(frozen=True)
class ProtoFormat:
    """Messages in Protobuf of the class at the given path."""

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
        watermark_delay_threshold: how late a message may be.
    """

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
