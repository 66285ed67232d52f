"""The contract of a reader, on a real broker: what was not said to be done is delivered again, and partitions move."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest

from brokers import Kafka
from faults.clicks import click_source
from servers import wait_until
from tiffin.backends.kafka.stream import KafkaBroker
from tiffin.contracts.stream import Messages, Start, StreamReader, Until

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka")]


class NoCursors:
    """Kafka keeps positions itself."""

    def get_cursor(self, table: str, /) -> bytes | None:
        raise AssertionError(table)

    def put_cursor(self, table: str, cursor: bytes, /) -> None:
        raise AssertionError(table)


def broker(kafka: Kafka, topic: str) -> KafkaBroker:
    options = {"session_timeout_seconds": 3.0}
    return KafkaBroker.from_config(click_source(kafka.address, topic), options, NoCursors())


class Seen:
    """A reader and what it was given."""

    def __init__(self, reader: StreamReader) -> None:
        self.reader = reader
        self.values: Counter[bytes | None] = Counter()

    def poll(self) -> Messages | None:
        found = self.reader.poll(100, 1 << 20, 0.05)
        if found is not None:
            self.values.update(found.values)
        return found


@pytest.mark.parametrize("until", [None, Until()], ids=["for good", "to an end"])
def test_what_is_not_done_comes_again_wherever_its_partition_moves(kafka: Kafka, until: Until | None) -> None:
    """STR-1: a partition goes to another worker, which leaves again; nothing of it was said to be done."""
    topic = kafka.topic(2)
    values = [f"{partition}{n}".encode() for partition in range(2) for n in range(5)]
    kafka.send(topic, [{"value": value, "partition": int(value[:1])} for value in values])
    source = broker(kafka, topic)
    with ExitStack() as stack:
        check_moves(source, until, stack)


def check_moves(source: KafkaBroker, until: Until | None, stack: ExitStack) -> None:
    first = Seen(source.read("g", Start(), until))
    stack.callback(first.reader.close)
    wait_until(lambda: first.poll() is None and len(first.values) == 10, "all messages")
    second = Seen(source.read("g", Start(), until))
    stack.callback(second.reader.close)
    wait_until(lambda: first.poll() is None and second.poll() is None and len(second.values) == 5, "half of them")
    moved = set(second.values)
    second.reader.close()
    before = first.values.copy()
    wait_until(lambda: first.poll() is None and (first.values - before).keys() == moved, "those that came back")
    first.reader.mark({0: "note of 0", 1: "note of 1"})
    first.reader.done(flush=True)
    assert first.reader.is_finished() == (until is not None)
    first.reader.close()
    status = source.status("g")
    assert [(part.committed, part.lag, part.note) for part in status] == [(5, 0, "note of 0"), (5, 0, "note of 1")]
    again = source.read("g", Start(), Until())
    stack.callback(again.close)
    assert again.poll(100, 1 << 20, 0.05) is None
    wait_until(lambda: again.poll(100, 1 << 20, 0.05) is None and again.is_finished(), "the end")


def test_a_batch_is_as_large_as_it_may_be(kafka: Kafka, request: pytest.FixtureRequest) -> None:
    topic = kafka.topic()
    kafka.send(topic, [b"x" * 1_000] * 5_000)
    source = broker(kafka, topic)
    reader = source.read("g", Start(), None)
    request.addfinalizer(reader.close)
    sizes: list[int] = []

    def has_polled(messages: int, size: int) -> bool:
        found = reader.poll(messages, size, 1.0)
        sizes.append(0 if found is None else len(found))
        return found is not None

    wait_until(lambda: has_polled(10, 1 << 30), "a small batch")
    assert 1 <= sizes[-1] <= 10
    wait_until(lambda: has_polled(4_000, 1 << 30), "a large batch")
    assert sizes[-1] <= 4_000
    wait_until(lambda: has_polled(4_000, 1), "a batch of few bytes")
    assert sizes[-1] == 1
