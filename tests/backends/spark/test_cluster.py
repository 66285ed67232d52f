"""Streams on a real Spark, with a real Kafka that asks for a password."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from brokers import Kafka, shared_broker
from faults.checking import check, wait_for
from faults.clicks import NOW_US, SECOND_US, poisoned, repository, troubled, views
from servers import redis_server
from spark_cluster import spark_cluster, spark_conf
from tiffin.contracts.stream import Until
from tiffin.definitions import Entity, FeatureView, Field, FileSource, KafkaSource
from tiffin.operations.online import read_online
from tiffin.operations.stream import run_stream
from tiffin.types import Int64, String, ValueType

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka"), pytest.mark.timeout(900)]
SECONDS = 300
PASSWORD = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_username": "tests",
    "sasl_password": "right",
}


@contextmanager
def driver(home: Path, folder: Path, settings: dict[str, Any], until: str) -> Iterator[subprocess.Popen[str]]:
    """A driver in a process of its own; it is gone afterwards, and its JVM with it. What it says is in `home`."""
    here = Path(__file__).parent
    path = [str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYSPARK_PYTHON": sys.executable}
    words = [sys.executable, str(here / "driver.py"), str(folder), json.dumps(settings), until]
    with (home / "drivers").open("ab") as log:
        started = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    with started:
        try:
            yield started
        finally:
            started.kill()


def says_the_password(home: Path) -> bool:
    """Whether it is in anything that Spark has said, which is not little."""
    said = [path.read_bytes() for path in home.rglob("*") if path.is_file() and path.suffix != ".jar"]
    assert sum(map(len, said)) > 1_000
    return any(b'password="right"' in text for text in said)


def tenants(kafka: Kafka, folder: Path) -> FeatureView:
    """A view of a topic of its own, with two messages, most of which is around them, and an empty history."""
    columns = {"at": pa.timestamp("us", "UTC"), "user": pa.int64(), "tenant": pa.string(), "n": pa.int64()}
    pq.write_table(pa.table({name: pa.array([], type_) for name, type_ in columns.items()}), folder / "tenants.parquet")
    topic = kafka.topic()
    sent = {"key": "7", "value": b'{"n": 1}', "headers": [("tenant", b"a"), ("tenant", b"b")]}
    kafka.send(topic, [sent, {"key": "8", "value": b'{"n": 2}'}], timestamp=NOW_US // 1000)
    source = KafkaSource(
        name="tenants",
        kafka_bootstrap_servers=kafka.guarded_address,
        topic=topic,
        timestamp_field="@timestamp",
        field_mapping={"@key": "user", "@header.tenant": "tenant"},
        message_format={"json": {}},
        batch_source=FileSource(path="tenants.parquet", timestamp_field="at"),
    )
    schema = [Field(name="tenant", dtype=String), Field(name="n", dtype=Int64)]
    return FeatureView(
        name="tenants", source=source, entities=[Entity(name="user", value_type=ValueType.INT64)], schema=schema
    )


def test_spark_leaves_what_a_worker_leaves(tmp_path: Path) -> None:
    """STR-1, STR-3: out of order, late, tied, repeated and unreadable messages, in several batches, up to a time.

    A worker goes on from there. What both appended to the history is each message, once.
    """
    conf = spark_conf()
    kafka: Kafka = shared_broker()
    topic, messages = kafka.topic(2), troubled(2_000, seed=20)
    engine = {"type": "spark", "master": "local[2]", "max_messages_per_batch": 800, "conf": conf}
    ctx = repository(
        tmp_path, [*views(tmp_path, kafka.guarded_address, topic, is_strict=True), tenants(kafka, tmp_path)]
    )
    kafka.send(topic, messages[:1_500], timestamp=NOW_US // 1000)
    kafka.send(topic, messages[1_500:], timestamp=NOW_US // 1000 + 1_000)
    home = tmp_path / "spark"
    home.mkdir()
    with driver(home, tmp_path, {"engine": engine, "kafka": PASSWORD}, "2024-06-01T12:00:01Z") as process:
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, (home / "drivers").read_text()
    found = {each["source"]: (each["messages"], each["dead"], each["lag"]) for each in json.loads(out)}
    waiting = len(messages) - 1_500
    assert found == {"clicks": (1_500, poisoned(messages[:1_500]), waiting), "tenants": (2, 0, 0)}
    read = read_online(ctx, ["tenants:tenant", "tenants:n"], {"user": [7, 8]}).to_dict(include_event_timestamps=True)
    assert (read["tenant"], read["n"], read["n__ts"]) == (["b", None], [1, 2], [NOW_US // SECOND_US] * 2)
    ctx.close()
    (path,) = (tmp_path / "tenants.parquet.appended").glob("*.parquet")
    assert pq.read_table(path, columns=["user", "tenant"]).to_pydict() == {"user": [7, 8], "tenant": ["b", None]}
    worker = repository(tmp_path, None, kafka=PASSWORD)
    assert run_stream(worker, ["clicks", "spending"], until=Until(), history=True)[0].messages == waiting
    worker.close()
    check(tmp_path, kafka, topic, messages, kafka=PASSWORD)
    assert not says_the_password(home)


@pytest.mark.deep
def test_lost_machines_and_drivers_leave_an_undisturbed_state(tmp_path: Path) -> None:
    """STR-1: one of two machines is killed, then the driver, by SIGKILL; another driver goes on and is asked to end.

    The messages are out of order, late, tied, sent twice and some unreadable. An undisturbed worker over the same topic
    and plain Python over the messages tell what has to be there.
    """
    kafka: Kafka = shared_broker()
    topic, messages = kafka.topic(4), troubled(6_000, seed=21)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        spark = stack.enter_context(spark_cluster(2))
        online = {"type": "redis", "connection_string": f"redis://127.0.0.1:{redis.port}"}
        engine = {"type": "spark", "master": spark.url, "max_messages_per_batch": 400, "conf": spark_conf()}
        settings = {"engine": engine, "kafka": PASSWORD, "online": online}
        repository(tmp_path, views(tmp_path, kafka.guarded_address, topic, is_strict=True), online=online).close()
        watcher = repository(tmp_path, None, kafka=PASSWORD, online=online)
        stack.callback(watcher.close)

        kafka.send(topic, messages[:4_000])
        with driver(spark.home, tmp_path, settings, "never") as first:
            wait_for(watcher, 400, seconds=SECONDS)
            spark.workers[0].stop()
            wait_for(watcher, 4_000, seconds=SECONDS)
            kafka.send(topic, messages[4_000:])
            wait_for(watcher, 4_400, seconds=SECONDS)
            first.kill()
        spark.workers[0].start()
        with driver(spark.home, tmp_path, settings, "never") as second:
            wait_for(watcher, len(messages), seconds=SECONDS)
            second.send_signal(signal.SIGTERM)
            out, _ = second.communicate(timeout=SECONDS)
        (found,) = json.loads(out)
        assert second.returncode == 0
        assert 0 < found["messages"] <= len(messages) - 4_400
        assert found["lag"] == 0
        check(tmp_path, kafka, topic, messages, kafka=PASSWORD, online=online)
        assert not says_the_password(spark.home)
