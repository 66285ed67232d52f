"""Messages of Kafka into an online store, and the consumer alone with the same parse.

Each side starts a broker of its own and sends the messages before the clock runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import work_folder
from benchmarks.process import ROOT
from benchmarks.work import Work

_KEYS, _PARTITIONS, _BATCH = 100_000, 4, 10_000
_NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
#: Half a day of facts, a millisecond apart, before this moment.
_NOW = _NOON + timedelta(hours=1)


def user_of(number: int) -> int:
    """Whose click a message is: one of 100,000 users, in a mixed order."""
    return number * 7919 % _KEYS


def message(number: int, newest: datetime = _NOON) -> bytes:
    """A click of some 150 bytes, so many milliseconds before the newest one."""
    at = (newest - timedelta(milliseconds=number)).isoformat()
    user = user_of(number)
    row = {"user": user, "at": at, "amount": number % 1000 / 8, "page": f"/page/{number % 97}", "n": number}
    return json.dumps(row | {"agent": "of no use to anybody", "referrer": None}).encode()


class Streams(Work):
    """A broker with messages."""

    def __init__(self, messages: int) -> None:
        sys.path.insert(0, str(ROOT / "tests"))
        from brokers import kafka_broker

        self.open = ExitStack()
        self.kafka = self.open.enter_context(kafka_broker())
        self.topic = self.kafka.topic(_PARTITIONS)
        self.count = messages
        self.send(range(messages))

    def send(self, numbers: Iterable[int], newest: datetime = _NOON) -> None:
        """Send messages and wait until the broker has them."""
        self.kafka.send(self.topic, ({"value": message(n, newest), "key": b"%d" % user_of(n)} for n in numbers))

    def definitions(self, folder: Path, *, windows: bool = False) -> list[Any]:
        """The view of clicks, with an empty history in a folder."""
        from tiffin import Aggregation, Entity, FeatureView, Field, FileSource, KafkaSource
        from tiffin.types import Float64, Int64, String, ValueType

        columns = {"at": pa.timestamp("us", "UTC"), "user": pa.int64(), "amount": pa.float64(), "page": pa.string()}
        columns |= {"n": pa.int64()}
        empty = pa.table({name: pa.array([], type_) for name, type_ in columns.items()})
        pq.write_table(empty, folder / "clicks.parquet")
        source = KafkaSource(
            name="clicks",
            kafka_bootstrap_servers=self.kafka.address,
            topic=self.topic,
            timestamp_field="at",
            message_format={"json": {}},
            batch_source=FileSource(path="clicks.parquet", timestamp_field="at"),
        )
        user = Entity(name="user", value_type=ValueType.INT64)
        types = {"amount": Float64, "page": String, "n": Int64}
        plain: dict[str, Any] = {"schema": [Field(name=name, dtype=dtype) for name, dtype in types.items()]}
        hour = timedelta(hours=1)
        aggregated = [Aggregation(column="amount", function="sum", time_window=hour)]
        aggregated.append(Aggregation(column="*", function="count", time_window=hour))
        how = {"aggregations": aggregated} if windows else plain
        return [user, FeatureView(name="clicks", entities=[user], source=source, **how)]

    def close(self) -> None:
        """Stop the broker."""
        self.open.close()


class Consumer(Streams):
    """The consumer alone: batches of a member of a group, decoded as tiffin decodes them, and dropped."""

    def __init__(self, messages: int) -> None:
        import msgspec

        super().__init__(messages)
        fields = [("user", int), ("at", str), ("amount", float), ("page", str), ("n", int)]
        self.decode = msgspec.json.Decoder(msgspec.defstruct("Click", fields, gc=False)).decode

    def run(self, index: int) -> int:
        """Reads everything once."""
        import confluent_kafka

        settings = {"group.id": f"raw-{index}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
        consumer = confluent_kafka.Consumer(self.kafka.settings() | settings)
        consumer.subscribe([self.topic])
        seen = 0
        while seen < self.count:
            rows = [self.decode(message.value()) for message in consumer.consume(_BATCH, 0.05)]
            seen += len(rows)
        consumer.close()
        return seen


class Feeding(Streams):
    """`run_stream` into a store."""

    def __init__(self, messages: int, online: str = "sqlite", windows: bool = False) -> None:
        from benchmarks.sides.store import start_server
        from tiffin import FeatureStore, RepoConfig
        from tiffin.time import ManualClock

        super().__init__(messages)
        folder = work_folder()
        store_section = start_server(online, self.open) or {"type": "sqlite"}
        config = RepoConfig(project="bench", repo_path=folder, online_store=store_section)
        self.store = FeatureStore(config=config, clock=ManualClock(_NOW))
        self.store.apply(self.definitions(folder, windows=windows))

    def run(self, index: int) -> int:
        """Feeds everything once."""
        (found,) = self.store.run_stream(until="now")
        assert (found.messages, found.dead) == (self.count, 0)
        return found.messages

    def answer(self, last: Any) -> pa.Table | None:
        """Nothing to compare: the raw side keeps nothing. What arrives is checked against the messages instead."""
        if self.store.get_feature_view("clicks").aggregations:
            return None
        keys = np.arange(0, min(_KEYS, self.count), 997)
        found = self.store.get_online_features(["clicks:n"], {"user": keys.tolist()}).to_dict()["n"]
        first = {user_of(n): n for n in range(min(_KEYS, self.count))}
        assert found == [first.get(key) for key in keys.tolist()]
        return None


def consumer(messages: int) -> Work:
    """The raw limit."""
    return Consumer(messages)


def feeding(messages: int, online: str = "sqlite", windows: bool = False) -> Work:
    """The product."""
    return Feeding(messages, online, windows)
