"""Streams on an engine that stays in this process: what is carried to it, what comes back, where it goes on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from brokers import Kafka
from faults.clicks import (
    NOW_US,
    SECOND_US,
    click_view,
    expected,
    history,
    message,
    newest,
    poisoned,
    repository,
    troubled,
    usable,
    views,
    windows,
)
from tiffin.backends.kafka.config import KafkaOptions
from tiffin.contracts.stream import Start, Until
from tiffin.definitions import Entity, FeatureView, Field, KinesisSource, StreamFeatureView
from tiffin.errors import (
    BackendNotFoundError,
    ConfigError,
    RequestError,
    StreamError,
    StreamUnavailableError,
    UnsupportedError,
)
from tiffin.operations.apply import apply
from tiffin.operations.online import read_online
from tiffin.operations.quarantine import read_quarantine
from tiffin.operations.repository import import_file
from tiffin.operations.stream import run_stream, stream_status
from tiffin.operations.stream_counts import PartitionCount
from tiffin.operations.stream_engine import feed
from tiffin.types import Float64, Int64, ValueType

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka")]
HERE = {"type": "engines.HereEngine"}
NOW = Until()
MORE = Field(name="more", dtype=Int64)


def counts(ctx: Any) -> dict[str, PartitionCount]:
    """What is kept with the positions, without what tells of the time of the run."""
    (status,) = stream_status(ctx)
    found = {part.partition: part.count for part in status.partitions}
    for count in found.values():
        count.rate = 0.0
    return found


def rows(ctx: Any) -> dict[bytes, bytes]:
    return dict(ctx.online.scan_all(f"{ctx.project}.clicks.1"))


def served(ctx: Any, users: Sequence[int]) -> dict[str, list[Any]]:
    features = [f"spending:{name}" for name in ("hour_sum", "hour_max", "day_count")]
    return read_online(ctx, features, {"user": list(users)}).to_dict()


def test_engine_leaves_what_a_worker_leaves(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1, STR-3: rows, windows, dead letters and counts, though every message is worked off twice."""
    topic, messages = kafka.topic(3), troubled(3_000, seed=11)
    kafka.send(topic, messages)
    calm = repository(tmp_path / "calm", views(tmp_path / "calm", kafka.address, topic), project="calm")
    (worker,) = run_stream(calm, until=NOW)
    ctx = repository(tmp_path, views(tmp_path, kafka.address, topic), engine=HERE)
    told: list[Any] = []
    (found,) = feed(ctx, until=NOW, progress=told.append)
    assert told[-1] == [found]
    assert rows(ctx) == rows(calm)
    users = list(newest(messages))
    assert served(ctx, users) == served(calm, users)
    spent = windows(messages)
    columns = served(ctx, list(spent))
    held = zip(columns["hour_sum"], columns["hour_max"], columns["day_count"], strict=True)
    assert dict(zip(spent, held, strict=True)) == spent
    assert (found.messages, found.dead, found.late, found.lag) == (len(messages), poisoned(messages), worker.late, 0)
    assert (found.reasons, found.watermark_us) == (worker.reasons, worker.watermark_us)
    assert counts(ctx) == counts(calm)
    ctx.close()
    calm.close()


def test_engine_and_workers_go_on_where_the_other_has_stopped(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1, STR-5: there is one position, and one count, whoever works."""
    topic, messages = kafka.topic(2), troubled(1_500, seed=12)
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    engine = repository(tmp_path, None, engine=HERE)
    done = []
    for number, opened in enumerate((ctx, engine, ctx, engine)):
        kafka.send(topic, messages[number::4])
        (found,) = feed(opened, until=NOW)
        done.append(found.messages)
    assert done == [len(messages[number::4]) for number in range(4)]
    assert sum(count.messages for count in counts(ctx).values()) == len(messages)
    (again,) = feed(engine, until=NOW, start=Start("earliest"))
    assert (again.messages, again.written) == (len(messages), 0)
    ctx.close()
    engine.close()


def test_engine_ends_at_a_time_and_a_worker_goes_on_from_there(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    times = [1_700_000_000_000 + number * 1_000 for number in range(10)]
    kafka.send(topic, [{"value": message(n, NOW_US, n), "timestamp": time} for n, time in enumerate(times)])
    ctx = repository(tmp_path, click_view(kafka.address, topic), engine=HERE)
    until = Until(times[5] * 1000)
    assert feed(ctx, start=Start("time", times[3] * 1000), until=until)[0].messages == 2
    # There is nothing to do, and it ends all the same.
    assert feed(ctx, until=until)[0].messages == 0
    (found,) = run_stream(ctx, until=NOW)
    assert (found.messages, found.lag) == (5, 0)
    ctx.close()


def test_engine_that_would_read_on_is_stopped_at_the_end(kafka: Kafka, tmp_path: Path) -> None:
    """What came later than the end may be much, and some engines have no ends of their own."""
    topic = kafka.topic()
    kafka.send(topic, [message(n, NOW_US - n, n) for n in range(5)])
    ctx = repository(tmp_path, click_view(kafka.address, topic), engine={"type": "engines.EndlessEngine"})
    (found,) = feed(ctx, until=NOW)
    assert (found.messages, found.lag) == (5, 0)
    ctx.close()


def test_engine_appends_each_message_to_the_history_once(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1: every task runs twice, all is read again, and a worker goes on from the same position."""
    topic, messages = kafka.topic(2), troubled(1_500, seed=13)
    ctx = repository(tmp_path, views(tmp_path, kafka.address, topic, is_strict=True), engine=HERE)
    worker = repository(tmp_path, None)
    kafka.send(topic, messages[:1_000])
    (found,) = feed(ctx, until=NOW, history=True)
    assert (found.messages, found.group) == (1_000, "tiffin.tests.clicks+history")
    assert history(tmp_path) == usable(expected(messages[:1_000]))
    kafka.send(topic, messages[1_000:])
    assert run_stream(worker, until=NOW, history=True)[0].messages == len(messages) - 1_000
    feed(ctx, until=NOW, history=True, start=Start("earliest"))
    assert history(tmp_path) == usable(expected(messages))
    apart = len(messages) - len(expected(messages))
    assert read_quarantine(ctx, "clicks").num_rows == read_quarantine(ctx, "spending").num_rows == apart
    worker.close()
    ctx.close()


def test_history_of_an_engine_follows_its_definitions(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    plain, _ = views(tmp_path, kafka.address, topic)
    ctx = repository(tmp_path, plain, engine=HERE)
    empty = pq.read_table(tmp_path / "clicks.parquet")
    pq.write_table(empty, tmp_path / "more.parquet")
    stop = threading.Event()

    def change(found: Any) -> None:
        if found[0].messages == 1 and not (tmp_path / "told").exists():
            (tmp_path / "told").touch()
            moved = replace(plain.batch_source, path="more.parquet")
            apply(ctx, [click_view(kafka.address, topic, batch_source=moved)])
            kafka.send(topic, [message(2, NOW_US, 2)])
        if found[0].messages == 2:
            stop.set()

    kafka.send(topic, [message(1, NOW_US - SECOND_US, 1)])
    feed(ctx, stop=stop, progress=change, history=True)
    assert [user for user, *_ in history(tmp_path)] == [1]
    (path,) = (tmp_path / "more.parquet.appended").glob("*.parquet")
    assert pq.read_table(path)["user"].to_pylist() == [2]
    ctx.close()


def test_engine_ends_after_its_batch_when_it_is_told_to(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    kafka.send(topic, [message(n, NOW_US - n * SECOND_US, n) for n in range(300)])
    ctx = repository(tmp_path, click_view(kafka.address, topic), engine=HERE)
    stop = threading.Event()

    def tell(found: Any) -> None:
        if found[0].messages == 300:
            stop.set()

    (found,) = feed(ctx, stop=stop, progress=tell)
    assert (found.messages, found.lag) == (300, 0)
    ctx.close()


def test_error_of_a_task_comes_back_whole_and_nothing_is_taken_for_done(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1: the error keeps its class and its words across processes, and the position stays."""
    topic = kafka.topic()
    kafka.send(topic, [message(1, NOW_US, 1), b"{"])
    ctx = repository(tmp_path, click_view(kafka.address, topic), engine=HERE)
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="dead letters cannot be written to") as raised:
        feed(ctx, until=NOW, dead_letters="file")
    assert raised.value.code == "store"
    with pytest.raises(StreamError, match="has more than 0 dead letters; the last reason: Input data was truncated"):
        feed(ctx, until=NOW, max_dead_letters=0)
    (status,) = stream_status(ctx)
    assert [part.committed for part in status.partitions] == [None]
    (found,) = feed(ctx, until=NOW, max_dead_letters=1)
    assert (found.messages, found.dead) == (2, 1)
    ctx.close()


FEATURES = """
import pandas as pd


def halved(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(half=df["amount"] / 2)
"""


def test_functions_are_found_where_the_messages_are_and_dead_letters_go_to_a_topic(
    kafka: Kafka, tmp_path: Path
) -> None:
    """DEF-6: what is carried is data; the function is the file's, and one with another hash is refused."""
    topic, dead = kafka.topic(), kafka.topic()
    (tmp_path / "engine_features.py").write_text(FEATURES)
    module = import_file(tmp_path / "engine_features.py", tmp_path)
    plain = click_view(kafka.address, topic)
    view = StreamFeatureView(
        name="halves",
        source=plain.source,
        entities=plain.entities,
        schema=[Field(name="half", dtype=Float64)],
        input_schema=[Field(name="user", dtype=Int64), Field(name="amount", dtype=Float64)],
        mode="pandas",
        udf=module.halved,
    )
    ctx = repository(tmp_path, view, engine=HERE)
    kafka.send(topic, [message(1, NOW_US, 6), b"{"])
    (found,) = feed(ctx, until=NOW, dead_letters=f"topic:{dead}")
    assert (found.messages, found.dead) == (2, 1)
    assert read_online(ctx, ["halves:half"], {"user": [1]}).to_dict()["half"] == [0.75]
    # Every task ran twice; the place tells that it is the same letter.
    assert {dict(letter.headers())["tiffin.offset"] for letter in kafka.messages(dead)} == {b"1"}
    ctx.close()


def test_engine_goes_by_the_newest_definitions(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    ctx = repository(tmp_path, click_view(kafka.address, topic), engine=HERE)
    told: list[str] = []
    stop = threading.Event()

    def change(found: Any) -> None:
        if found[0].messages == 1 and not told:
            told.append("once")
            apply(ctx, [replace(click_view(kafka.address, topic), schema=[Field(name="n", dtype=Int64), MORE])])
            kafka.send(topic, [message(1, NOW_US, 2, more=5)])
        if found[0].messages == 2:
            stop.set()

    kafka.send(topic, [message(1, NOW_US - SECOND_US, 1)])
    feed(ctx, stop=stop, progress=change)
    assert read_online(ctx, ["clicks:n", "clicks:more"], {"user": [1]}).to_dict() == {
        "user": [1],
        "n": [2],
        "more": [5],
    }
    ctx.close()


def test_positions_are_not_moved_from_outside_while_workers_hold_them(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    kafka.send(topic, [message(1, NOW_US, 1)])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    stop, ready = threading.Event(), threading.Event()
    worker = threading.Thread(
        target=lambda: run_stream(ctx, stop=stop, progress=lambda found: found[0].messages and ready.set())
    )
    worker.start()
    try:
        assert ready.wait(100)
        engine = repository(tmp_path, None, engine=HERE)
        with pytest.raises(StreamError, match="has workers of its own"):
            feed(engine, until=NOW, start=Start("earliest"))
        engine.close()
    finally:
        stop.set()
        worker.join()
    ctx.close()


def test_messages_that_are_gone_before_they_were_read_are_an_error(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    ctx = repository(tmp_path, click_view(kafka.address, topic), engine=HERE)
    kafka.send(topic, [message(1, NOW_US, n) for n in range(4)])
    feed(ctx, until=NOW)
    kafka.send(topic, [message(1, NOW_US, n) for n in range(4)])
    kafka.delete_before(topic, 6)
    with pytest.raises(StreamError, match="the position of the group is not in the topic any more"):
        feed(ctx, until=NOW)
    ctx.close()


def test_what_an_engine_cannot_do_is_refused_before_anything_runs(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    ctx = repository(tmp_path, click_view(kafka.address, topic), engine=HERE)
    with pytest.raises(RequestError, match="has no history to append to"):
        feed(ctx, until=NOW, history=True)
    ctx.close()
    shards = FeatureView(
        name="shards",
        source=KinesisSource(
            name="shards", region="eu-west-1", stream_name="s", timestamp_field="at", record_format={"json": {}}
        ),
        entities=[Entity(name="user", value_type=ValueType.INT64)],
        schema=[Field(name="n", dtype=Int64)],
    )
    ctx = repository(tmp_path, shards, engine=HERE, project="kinesis")
    with pytest.raises(UnsupportedError, match="cannot be read by the stream engine 'here', which reads kafka"):
        feed(ctx, until=NOW)
    ctx.close()
    wrong = repository(tmp_path, None, engine="sparc")
    with pytest.raises(BackendNotFoundError, match="there is no stream_engine backend 'sparc'"):
        feed(wrong, until=NOW)
    wrong.close()
    away = click_view("127.0.0.1:1", "t")
    gone = repository(tmp_path, away, kafka={"timeout_seconds": 0.5}, engine=HERE, project="gone")
    with pytest.raises(StreamUnavailableError, match="cannot be reached"):
        feed(gone, until=NOW)
    gone.close()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        (
            {
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_username": "u",
                "sasl_password": 'a"b\\c',
                "properties": {"client.rack": "a", "allow.auto.create.topics": False, "fetch.min.bytes": 5},
            },
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
                'username="u" password="a\\"b\\\\c";',
                "client.rack": "a",
                "allow.auto.create.topics": "False",
                "fetch.min.bytes": "5",
            },
        ),
        ({"sasl_mechanism": "OAUTHBEARER", "sasl_username": "u"}, {"sasl.mechanism": "OAUTHBEARER"}),
    ],
)
def test_options_of_kafka_for_programs_in_java(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert KafkaOptions(**options).java_client() == expected


def test_certificates_for_programs_in_java_are_text(tmp_path: Path) -> None:
    for name in ("ca", "own", "key"):
        (tmp_path / name).write_text(f"the {name}")
    options = KafkaOptions(
        security_protocol="SSL",
        ssl_ca_location=str(tmp_path / "ca"),
        ssl_certificate_location=str(tmp_path / "own"),
        ssl_key_location=str(tmp_path / "key"),
        ssl_key_password="p",
    )
    assert options.java_client() == {
        "security.protocol": "SSL",
        "ssl.truststore.certificates": "the ca",
        "ssl.truststore.type": "PEM",
        "ssl.keystore.certificate.chain": "the own",
        "ssl.keystore.key": "the key",
        "ssl.keystore.type": "PEM",
        "ssl.key.password": "p",
    }
    with pytest.raises(ConfigError, match="ssl_ca_location: /nowhere cannot be read"):
        KafkaOptions(ssl_ca_location="/nowhere").java_client()
    with pytest.raises(ConfigError, match="always checks certificates"):
        KafkaOptions(ssl_verify=False).java_client()
