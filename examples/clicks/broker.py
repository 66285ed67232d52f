"""A Kafka broker for the example: one that is given, or a real one of its own, or one that librdkafka plays."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
_SECONDS = 30


@dataclass
class Topic:
    """A topic of the example's own at a broker.

    Attributes:
        address: of the broker.
        kind: which broker it is, in words.
        name: of the topic.
    """

    address: str
    kind: str
    name: str

    def __post_init__(self) -> None:
        self._producer = Producer(_client(self.address) | {"linger.ms": 5, "acks": "all"})
        # The broker that librdkafka plays makes topics when it is asked about them, with four partitions.
        self._producer.list_topics(self.name, timeout=_SECONDS)

    def send(self, messages: Iterable[dict[str, Any]]) -> None:
        """Send messages; they are on their way when it returns."""
        for message in messages:
            self._producer.produce(self.name, **message)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        left = self._producer.flush(_SECONDS)
        if left:
            sys.exit(f"{self.kind} does not take {left} messages")


def _client(address: str) -> dict[str, Any]:
    return {"bootstrap.servers": address, "log_level": 0}


@contextmanager
def topic(address: str) -> Iterator[Topic]:
    """A new topic at a broker.

    Args:
        address: of a broker that is there; when empty, one is started.
    """
    name = f"clicks-{uuid.uuid4().hex[:8]}"
    if address:
        with _made(address, name):
            yield Topic(address, f"the broker at {address}", name)
        return
    command = [sys.executable, str(ROOT / "tools" / "kafka_broker.py")]
    broker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert broker.stdout is not None
        started = broker.stdout.readline().strip()
        if started:
            with _made(started, name):
                yield Topic(started, f"a Kafka of its own at {started}", name)
            return
    finally:
        broker.terminate()
        broker.wait()
    played = AdminClient(_client("127.0.0.1") | {"test.mock.num.brokers": 1})
    (one,) = played.list_topics(timeout=_SECONDS).brokers.values()
    yield Topic(f"{one.host}:{one.port}", "a broker that librdkafka plays", name)


@contextmanager
def _made(address: str, name: str) -> Iterator[None]:
    """A topic that is there meanwhile."""
    admin = AdminClient(_client(address))
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(_SECONDS)
    try:
        yield
    finally:
        admin.delete_topics([name])[name].result(_SECONDS)
