"""A real Kafka broker for tests: one node, started on free ports of the loopback, from its published jars."""

from __future__ import annotations

import atexit
import runpy
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from servers import Server, free_port, need_module, skip, wait_until

ROOT = Path(__file__).parents[1]


@cache
def _jars() -> str | None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "kafka_jars.py"], capture_output=True, text=True)
    if done.returncode:
        return None
    return done.stdout.strip()


@dataclass
class Kafka:
    """A broker of a test's own.

    Attributes:
        server: its process, which can be stopped and started again; what was sent to it stays.
        guarded_port: where it asks for a password: user `tests`, password `right`.
    """

    server: Server
    guarded_port: int
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it is, for everybody."""
        return f"127.0.0.1:{self.server.port}"

    @property
    def guarded_address(self) -> str:
        """Where it is, for those who know the password."""
        return f"127.0.0.1:{self.guarded_port}"

    def settings(self) -> dict[str, str]:
        """What a client needs."""
        return {"bootstrap.servers": self.address, "log_level": "0"}

    def topic(self, partitions: int = 1, name: str = "") -> str:
        """A new topic; returns its name."""
        from confluent_kafka.admin import NewTopic

        name = name or f"topic-{uuid.uuid4().hex[:8]}"
        self._admin().create_topics([NewTopic(name, partitions, 1)])[name].result(100)
        return name

    def _admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return self._clients.setdefault("admin", AdminClient(self.settings()))

    def is_ready(self) -> bool:
        """Whether it answers as a broker, not only as a port."""
        from confluent_kafka import KafkaException

        try:
            self._admin().list_topics(timeout=1)
        except KafkaException:
            return False
        return True

    def send(self, topic: str, values: Iterable[Any], **more: Any) -> None:
        """Send messages and wait until the broker has them.

        Args:
            topic: where to.
            values: bytes; or mappings of `produce`'s arguments, such as `key` and `partition`.
            more: arguments for all of them.
        """
        from confluent_kafka import Producer

        settings = self.settings() | {"linger.ms": "5", "message.max.bytes": "20000000"}
        producer = self._clients.setdefault("producer", Producer(settings))
        for number, value in enumerate(values):
            given = value if isinstance(value, Mapping) else {"value": value}
            while True:
                try:
                    producer.produce(topic, **{**more, **given})
                    break
                except BufferError:
                    producer.poll(0.1)  # The queue is full; let some of it go.
            if number % 1000 == 0:
                producer.poll(0)
        assert producer.flush(100) == 0

    def messages(self, topic: str) -> list[Any]:
        """Everything that is in a topic."""
        from confluent_kafka import Consumer, KafkaError, TopicPartition

        consumer = Consumer(self.settings() | {"group.id": uuid.uuid4().hex, "enable.partition.eof": "true"})
        partitions = consumer.list_topics(topic, timeout=100).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found, ended = [], 0
        while ended < len(partitions):
            message = consumer.poll(100)
            assert message is not None
            if message.error() is None:
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended += 1
        consumer.close()
        return found

    def readers(self, group: str) -> int:
        """How many members of a group have partitions."""
        described = self._admin().describe_consumer_groups([group])[group].result(100)
        return sum(bool(member.assignment.topic_partitions) for member in described.members)

    def delete_before(self, topic: str, offset: int, partition: int = 0) -> None:
        """Delete the messages before an offset, as time does elsewhere."""
        from confluent_kafka import TopicPartition

        place = TopicPartition(topic, partition, offset)
        self._admin().delete_records([place])[place].result(100)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.server.stop()
        self.server.start()
        wait_until(self.is_ready, "Kafka")


@contextmanager
def kafka_broker() -> Iterator[Kafka]:
    """A broker of its own; sessions of its groups may be as short as a test wants them."""
    need_module("confluent_kafka", "kafka")
    jars = _jars()
    if jars is None:
        skip("there is no Kafka broker here; `python tools/kafka_jars.py` says what is missing")
    port, guarded, controller = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        home = Path(name)
        configured = runpy.run_path(str(ROOT / "tools" / "kafka_broker.py"))["configured"]
        server = Server(configured(jars, home, port, guarded, controller), port, home)
        try:
            server.start()
            kafka = Kafka(server, guarded)
            wait_until(kafka.is_ready, "Kafka")
            yield kafka
        finally:
            server.stop()


@cache
def shared_broker() -> Kafka:
    """The one broker of this process, for all tests that bear with one another's topics; stopped when it ends."""
    context = kafka_broker()
    broker = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    return broker
