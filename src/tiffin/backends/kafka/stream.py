"""A topic of Kafka, its groups and dead letters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from tiffin.backends.kafka.config import KafkaOptions
from tiffin.backends.kafka.positions import KafkaPositions
from tiffin.backends.kafka.reader import KafkaReader
from tiffin.contracts.options import options_from
from tiffin.contracts.stream import (
    Cursors,
    Letter,
    PartitionStatus,
    Start,
    StreamBroker,
    StreamCapabilities,
    Until,
)
from tiffin.contracts.stream_engine import StreamAddress
from tiffin.definitions import KafkaSource, StreamSource
from tiffin.errors import StreamError, StreamUnavailableError, nearest

log = logging.getLogger("tiffin.kafka")

#: A broker that comes back is found so soon.
_RECONNECT_MS = 1_000
#: So begin the ids of the clusters that librdkafka plays for tests; their topics have no ids.
_MOCK = "mockCluster"


class KafkaBroker(StreamBroker):
    """A topic. The positions of a group are kept by the brokers, each with a note of what was counted up to it."""

    capabilities: ClassVar[StreamCapabilities] = StreamCapabilities(
        name="kafka", shares=True, publishes=True, link="https://kafka.apache.org/documentation/"
    )
    options_type: ClassVar[type] = KafkaOptions

    def __init__(self, source: KafkaSource, options: KafkaOptions) -> None:
        self._topic = source.topic
        self._servers = source.kafka_bootstrap_servers
        self._options = options
        self._subject = f"topic {source.topic} at {self._servers}"
        self._last_error: KafkaError | None = None
        self._refusal: KafkaError | None = None
        self._producer: Producer | None = None

    @classmethod
    def from_config(cls, source: StreamSource, options: Mapping[str, object], cursors: Cursors) -> Self:
        """Build it from a source and the section ``streams.kafka``.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        assert isinstance(source, KafkaSource)
        if not source.kafka_bootstrap_servers:
            hint = 'pass kafka_bootstrap_servers="host:port"'
            raise source.error(f"{source.subject} has no brokers to read from", hint=hint)
        return cls(source, options_from(KafkaOptions, "streams.kafka", options))

    def read(self, group: str, start: Start, until: Until | None) -> KafkaReader:
        """Become a member of a group."""
        partitions = self._partitions()
        session_ms = int(self._options.session_timeout_seconds * 1000)
        settings = self._settings() | {
            "group.id": group,
            "enable.auto.commit": False,
            # A position that is gone from the topic is an error: what was deleted there has not been read.
            "auto.offset.reset": "error",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": min(3_000, session_ms // 4),
            "enable.partition.eof": until is not None,
        }
        return KafkaReader(
            lambda answered: self._opened(Consumer, settings | {"on_commit": answered}),
            self._topic,
            partitions,
            start=start,
            until=until,
            timeout_seconds=self._options.timeout_seconds,
            wrap=self.wrapped,
        )

    def identity(self) -> str:
        """The topic's own id."""
        admin = self._opened(AdminClient, self._settings())
        if (self._metadata(admin).cluster_id or "").startswith(_MOCK):
            return ""
        (told,) = admin.describe_topics(
            TopicCollection([self._topic]), request_timeout=self._options.timeout_seconds
        ).values()
        try:
            return str(told.result().topic_id)
        except KafkaException as error:
            raise self.wrapped(error.args[0]) from error

    def status(self, group: str) -> list[PartitionStatus]:
        """How far a group is."""
        partitions = self._partitions()
        consumer = self._opened(Consumer, self._settings() | {"group.id": group, "enable.auto.commit": False})
        timeout = self._options.timeout_seconds
        try:
            places = [TopicPartition(self._topic, number) for number in partitions]
            found = []
            for place in consumer.committed(places, timeout=timeout):
                low, high = consumer.get_watermark_offsets(place, timeout=timeout)
                committed = place.offset if place.offset >= 0 else None
                lag = high - max(low if committed is None else committed, low)
                found.append(PartitionStatus(str(place.partition), committed, high, lag, place.metadata or ""))
            return found
        except KafkaException as error:
            raise self.wrapped(error.args[0]) from error
        finally:
            consumer.close()

    def address(self) -> StreamAddress:
        """Where the topic is, for a program in Java."""
        settings = self._options.java_client() | {"bootstrap.servers": self._servers}
        return StreamAddress("kafka", self._topic, settings)

    def positions(self, group: str) -> KafkaPositions:
        """The positions of a group whose messages are read elsewhere."""
        partitions = self._partitions()
        settings = self._settings() | {"group.id": group, "enable.auto.commit": False}
        consumer = self._opened(Consumer, settings)
        return KafkaPositions(consumer, self._topic, partitions, self._options.timeout_seconds, self.wrapped)

    def publish(self, topic: str, letters: Sequence[Letter]) -> None:
        """Send dead letters to a topic: key and value as they were, the rest in headers."""
        if self._producer is None:
            self._producer = self._opened(Producer, self._settings() | {"acks": "all", "linger.ms": 5})
        too_large = self._send(topic, letters, with_value=True)
        self._send(topic, too_large, with_value=False)

    def _send(self, topic: str, letters: Sequence[Letter], *, with_value: bool) -> list[Letter]:
        """Send letters; those that are too large come back."""
        assert self._producer is not None
        failed: list[tuple[Letter, KafkaError]] = []
        for letter in letters:
            headers = {
                "tiffin.reason": letter.reason,
                "tiffin.topic": self._topic,
                "tiffin.partition": letter.partition,
                "tiffin.offset": str(letter.offset),
            }
            if not with_value:
                headers["tiffin.left_out"] = f"the value of {len(letter.value or b'')} bytes"

            def delivered(error: KafkaError | None, _: Any, letter: Letter = letter) -> None:
                if error is not None:
                    failed.append((letter, error))

            try:
                value = letter.value if with_value else None
                self._producer.produce(topic, value, letter.key, headers=headers, on_delivery=delivered)
            except KafkaException as error:
                failed.append((letter, error.args[0]))
            except BufferError:
                self._producer.flush(self._options.timeout_seconds)
                self._producer.produce(topic, value, letter.key, headers=headers, on_delivery=delivered)
        left = self._producer.flush(self._options.timeout_seconds)
        too_large = [letter for letter, error in failed if error.code() == KafkaError.MSG_SIZE_TOO_LARGE]
        others = [error for _, error in failed if error.code() != KafkaError.MSG_SIZE_TOO_LARGE]
        if others or left or (too_large and not with_value):
            said = others[0].str() if others else "the brokers do not take them in time"
            kind = StreamUnavailableError if not others or others[0].retriable() else StreamError
            raise kind(
                f"dead letters cannot be sent to topic {topic} at {self._servers}: {said}",
                subject=f"topic {topic}",
                hint="make the topic, or let streams.dead_letters name a folder",
            )
        return too_large

    def close(self) -> None:
        """Let go of the producer."""
        if self._producer is not None:
            self._producer.flush(self._options.timeout_seconds)
            self._producer = None

    def _settings(self) -> dict[str, Any]:
        return (
            {"reconnect.backoff.max.ms": _RECONNECT_MS}
            | self._options.client()
            | {
                "bootstrap.servers": self._servers,
                "client.id": "tiffin",
                "error_cb": self._note_error,
                "logger": log,
                # It tells of every attempt to connect; what matters of that comes as an error.
                "log_level": 2,
            }
        )

    def _note_error(self, error: KafkaError) -> None:
        is_news = self._last_error is None or self._last_error.code() != error.code()
        self._last_error = error
        if error.code() in _REFUSED:
            self._refusal = error
        level = logging.WARNING if is_news and error.code() == KafkaError._ALL_BROKERS_DOWN else logging.INFO
        log.log(level, "%s: %s", self._subject, error.str())

    def _opened(self, cls: Any, settings: Mapping[str, Any]) -> Any:
        try:
            return cls(dict(settings))
        except KafkaException as error:
            hint = "check streams.kafka in feature_store.yaml"
            raise StreamError(f"{self._subject}: {error.args[0].str()}", subject=self._subject, hint=hint) from error

    def _partitions(self) -> list[int]:
        """The partitions of the topic.

        Raises:
            StreamError: there is no such topic.
            StreamUnavailableError: the brokers cannot be reached.
        """
        topics = self._metadata(self._opened(AdminClient, self._settings())).topics
        if self._topic not in topics:
            raise StreamError(
                f"there is no topic {self._topic!r} at {self._servers}",
                subject=self._subject,
                hint=nearest(self._topic, [name for name in topics if not name.startswith("__")]),
            )
        return sorted(topics[self._topic].partitions)

    def _metadata(self, admin: AdminClient) -> Any:
        """What the brokers tell of themselves and of their topics."""
        self._last_error = self._refusal = None
        try:
            return admin.list_topics(timeout=self._options.timeout_seconds)
        except KafkaException as error:
            # What librdkafka tells here is that time is up; why, it tells by the callback, and after each refusal also
            # that all brokers are down.
            admin.poll(0)
            raise self.wrapped(self._refusal or self._last_error or error.args[0]) from error

    def wrapped(self, error: KafkaError) -> StreamError:
        """An error of librdkafka, or what it told before when that says more."""
        told = self._last_error
        if told is not None and told.code() in _REFUSED:
            error = told
        code = error.code()
        if code in _REFUSED:
            hint = _REFUSED[code]
            return StreamError(f"{self._subject} refuses: {error.str()}", subject=self._subject, hint=hint)
        if code == KafkaError._AUTO_OFFSET_RESET:
            return StreamError(
                f"{self._subject}: the position of the group is not in the topic any more: {error.str()}",
                subject=self._subject,
                hint="messages were deleted before they were read; load what the batch source has of them with "
                "`tiffin materialize`, and go on with --from earliest",
            )
        return StreamUnavailableError(
            f"{self._subject} cannot be reached: {error.str()}",
            subject=self._subject,
            hint="check that the brokers run and that kafka_bootstrap_servers and streams.kafka are right",
        )


_CREDENTIALS = "check sasl_username, sasl_password and security_protocol in streams.kafka"
_RIGHTS = "the user may not do this: give it the rights at the brokers"
#: What waiting does not mend, and what to do about it.
_REFUSED: dict[int, str] = {
    KafkaError._AUTHENTICATION: _CREDENTIALS,
    KafkaError.SASL_AUTHENTICATION_FAILED: _CREDENTIALS,
    KafkaError._SSL: "check the certificates in streams.kafka",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _RIGHTS,
    KafkaError.GROUP_AUTHORIZATION_FAILED: _RIGHTS,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _RIGHTS,
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic is gone",
    KafkaError._UNKNOWN_TOPIC: "the topic is gone",
    KafkaError._UNKNOWN_PARTITION: "the topic was made anew with fewer partitions",
}
