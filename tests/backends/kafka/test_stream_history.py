"""Messages that are appended to the history of their views, beside the online store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from brokers import Kafka
from faults.clicks import (
    NOW_US,
    SECOND_US,
    UNEXPECTED,
    click_view,
    history,
    message,
    repository,
    troubled,
    usable,
    views,
    windows,
)
from tiffin.contracts.stream import Start, Until
from tiffin.definitions import (
    Entity,
    Expectation,
    FeatureView,
    Field,
    FileSource,
    JsonFormat,
    KafkaSource,
    ParquetFormat,
)
from tiffin.errors import RequestError, UnsupportedError
from tiffin.operations.apply import apply
from tiffin.operations.online import read_online
from tiffin.operations.quarantine import count_quarantined, read_quarantine
from tiffin.operations.retrieve import retrieve
from tiffin.operations.stream import run_stream, stream_status
from tiffin.types import Float64, String, ValueType

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka")]
NOW = Until()
UTC_US = pa.timestamp("us", "UTC")


def training_set(ctx: Any, features: list[str], users: list[int]) -> dict[str, list[Any]]:
    moments = pa.array([NOW_US] * len(users), UTC_US)
    spine = pa.table({"user": users, "event_timestamp": moments})
    found: dict[str, list[Any]] = retrieve(ctx, spine, features).to_arrow().to_pydict()
    return found


def test_history_gives_what_is_served(kafka: Kafka, tmp_path: Path) -> None:
    """STR-4: nothing but the stream has filled both."""
    topic, messages = kafka.topic(3), troubled(2_000, seed=8)
    ctx = repository(tmp_path, views(tmp_path, kafka.address, topic))
    kafka.send(topic, messages)
    (found,) = run_stream(ctx, until=NOW, history=True)
    assert found.messages == len(messages)
    assert history(tmp_path) == usable(messages)
    expected = windows(messages)
    features = ["clicks:n", "spending:hour_sum", "spending:hour_max", "spending:day_count"]
    served = read_online(ctx, features, {"user": list(expected)}).to_dict()
    trained = training_set(ctx, features, list(expected))
    assert {name: trained[name] for name in served} == served
    assert served["day_count"] == [count for _, _, count in expected.values()]
    ctx.close()


def test_reading_again_appends_nothing_and_workers_without_history_have_their_own_position(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic, messages = kafka.topic(2), troubled(500, seed=9)
    ctx = repository(tmp_path, views(tmp_path, kafka.address, topic))
    kafka.send(topic, messages)
    run_stream(ctx, until=NOW)
    assert not (tmp_path / "clicks.parquet.appended").exists()
    assert run_stream(ctx, until=NOW, history=True)[0].messages == len(messages)
    files = sorted((tmp_path / "clicks.parquet.appended").iterdir())
    run_stream(ctx, until=NOW, history=True, start=Start("earliest"))
    assert sorted((tmp_path / "clicks.parquet.appended").iterdir()) == files
    for kept in (False, True):
        (status,) = stream_status(ctx, history=kept)
        assert status.group == ("tiffin.tests.clicks+history" if kept else "tiffin.tests.clicks")
        assert sum(part.count.messages for part in status.partitions) >= len(messages)
    ctx.close()


def test_message_that_was_a_dead_letter_is_appended_when_it_can_be_read(kafka: Kafka, tmp_path: Path) -> None:
    """The definitions were wrong, not the producer: all is read again with better ones."""
    topic = kafka.topic()
    (plain, _) = views(tmp_path, kafka.address, topic)
    ctx = repository(tmp_path, plain)
    kafka.send(topic, [message(n, NOW_US - n, n) for n in range(3)] + [b'{"user": 9, "at": 1717243199000, "n": 9}'])
    kafka.send(topic, [message(4, NOW_US, 4)])
    assert run_stream(ctx, until=NOW, history=True)[0].dead == 1
    with_unit = click_view(
        kafka.address, topic, message_format=JsonFormat(timestamp_unit="ms"), batch_source=plain.batch_source
    )
    apply(ctx, [with_unit])
    assert run_stream(ctx, until=NOW, history=True, start=Start("earliest"))[0].dead == 0
    assert [user for user, *_ in history(tmp_path)] == [0, 1, 2, 4, 9]
    ctx.close()


def test_fact_that_is_put_apart_stays_out_of_the_history(kafka: Kafka, tmp_path: Path) -> None:
    """As a pushed one does; each message is in one place, once, however often it comes."""
    topic = kafka.topic()
    (_, strict) = views(tmp_path, kafka.address, topic, is_strict=True)
    (plain, _) = views(tmp_path, kafka.address, topic)
    ctx = repository(tmp_path, [plain, strict])
    kafka.send(topic, [message(1, NOW_US - 9, UNEXPECTED), b"{", message(2, NOW_US - 8, 2), message(3, NOW_US - 7, 3)])
    kafka.send(topic, [message(4, NOW_US - 6, UNEXPECTED)])
    for _ in range(2):
        (found,) = run_stream(ctx, until=NOW, history=True, start=Start("earliest"))
        assert (found.messages, found.dead) == (5, 1)
        assert [user for user, *_ in history(tmp_path)] == [2, 3]
        apart = read_quarantine(ctx, "spending")
        assert apart.select(["user", "__partition", "__offset"]).to_pylist() == [
            {"user": 1, "__partition": "0", "__offset": "0"},
            {"user": 4, "__partition": "0", "__offset": "4"},
        ]
        assert count_quarantined(ctx, "spending", NOW_US) == 2
    # The view that expects nothing serves them.
    features = ["clicks:n", "spending:day_count"]
    served = read_online(ctx, features, {"user": [1, 2, 4]}).to_dict()
    assert (served["n"], served["day_count"]) == ([49, 2, 49], [0, 1, 0])
    # What is expected no more is appended when it is read again.
    (_, lenient) = views(tmp_path, kafka.address, topic)
    apply(ctx, [plain, lenient])
    run_stream(ctx, until=NOW, history=True, start=Start("earliest"))
    assert [user for user, *_ in history(tmp_path)] == [1, 2, 3, 4]
    ctx.close()


def test_history_is_that_of_all_views_whichever_are_fed(kafka: Kafka, tmp_path: Path) -> None:
    """A choice of views appends what all of them would: the others check the messages too."""
    topic = kafka.topic()
    plain, strict = views(tmp_path, kafka.address, topic, is_strict=True)
    never = Expectation.where("n <> 5")
    ctx = repository(tmp_path, [plain, replace(strict, online=False, expectations=[*strict.expectations, never])])
    kafka.send(topic, [message(1, NOW_US - 9, UNEXPECTED), message(2, NOW_US - 8, 2), message(3, NOW_US - 7, 5)])
    (found,) = run_stream(ctx, ["clicks"], until=NOW, history=True)
    assert (found.messages, found.dead, found.group) == (3, 1, "tiffin.tests.clicks+history")
    assert [user for user, *_ in history(tmp_path)] == [2]
    for view in ("clicks", "spending"):
        assert read_quarantine(ctx, view)["user"].to_pylist() == [1]
    (found,) = run_stream(ctx, ["clicks"], until=NOW)
    assert (found.messages, found.dead) == (3, 0)
    ctx.close()


def test_history_has_columns_of_its_own(kafka: Kafka, tmp_path: Path) -> None:
    """Other names, a narrower type, what no view reads, and what no message has."""
    topic = kafka.topic()
    columns = {"ts": UTC_US, "who": pa.int64(), "amount": pa.float32(), "browser": pa.string(), "never": pa.int32()}
    (tmp_path / "clicks").mkdir()
    pq.write_table(
        pa.table({name: pa.array([], type_) for name, type_ in columns.items()}), tmp_path / "clicks" / "0.parquet"
    )
    batch = FileSource(
        path="clicks",
        file_format=ParquetFormat(),
        timestamp_field="ts",
        field_mapping={"who": "user", "browser": "agent"},
    )
    source = KafkaSource(
        name="events",
        kafka_bootstrap_servers=kafka.address,
        topic=topic,
        timestamp_field="at",
        message_format=JsonFormat(),
        field_mapping={"user.id": "user", "@header.agent": "agent"},
        batch_source=batch,
    )
    user = Entity(name="user", value_type=ValueType.INT64)
    view = FeatureView(name="amounts", source=source, entities=[user], schema=[Field(name="amount", dtype=Float64)])
    ctx = repository(tmp_path, view)
    at = "2024-06-01T11:59:59Z"
    kafka.send(
        topic,
        [
            {"value": f'{{"user": {{"id": 1}}, "at": "{at}", "amount": 0.5}}'.encode(), "headers": {"agent": "x"}},
            f'{{"user": {{"id": 2}}, "at": "{at}", "amount": 0.5, "never": "no number"}}'.encode(),
            f'{{"user": {{"id": 3}}, "at": "{at}"}}'.encode(),
        ],
    )
    (found,) = run_stream(ctx, until=NOW, history=True)
    assert (found.messages, found.dead) == (3, 1)
    table = pq.read_table(tmp_path / "clicks").sort_by("who")
    assert table.drop_columns(["ts"]).to_pylist() == [
        {"who": 1, "amount": 0.5, "browser": "x", "never": None},
        {"who": 3, "amount": None, "browser": None, "never": None},
    ]
    assert training_set(ctx, ["amounts:amount"], [1, 2])["amount"] == [0.5, None]
    ctx.close()


def test_what_has_no_history_to_append_to_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    ctx = repository(tmp_path, click_view("127.0.0.1:1", "t"))
    for call in (run_stream, stream_status):
        with pytest.raises(RequestError, match="has no history to append to"):
            call(ctx, history=True)
    ctx.close()
    glob = FileSource(path="*.pq", timestamp_field="at", created_timestamp_column="known")
    user = Entity(name="user", value_type=ValueType.INT64)
    source = click_view("127.0.0.1:1", "t", batch_source=glob).source
    view = FeatureView(name="clicks", source=source, entities=[user], schema=[Field(name="page", dtype=String)])
    pq.write_table(
        pa.table(
            {
                "at": pa.array([NOW_US - SECOND_US], UTC_US),
                "known": pa.array([NOW_US], UTC_US),
                "user": [1],
                "page": ["/"],
            }
        ),
        tmp_path / "a.pq",
    )
    ctx = repository(tmp_path, view, project="globs")
    with pytest.raises(UnsupportedError, match="cannot be appended to"):
        run_stream(ctx, history=True)
    ctx.close()


def test_history_is_appended_to_now_and_then_and_in_the_end(kafka: Kafka, tmp_path: Path) -> None:
    """Batches do not make files of their own; the position waits for the file, what is online does not."""
    topic = kafka.topic()
    ctx = repository(tmp_path, views(tmp_path, kafka.address, topic), history_seconds=3600.0)
    kafka.send(topic, [message(n, NOW_US - n, n) for n in range(300)])
    (found,) = run_stream(ctx, until=NOW, history=True)
    assert found.written > 0
    assert len(list((tmp_path / "clicks.parquet.appended").iterdir())) == 1
    (status,) = stream_status(ctx, history=True)
    assert (status.partitions[0].lag, status.partitions[0].count.messages) == (0, 300)
    ctx.close()
