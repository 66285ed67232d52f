"""Views fed from a real Kafka: what arrives, where reading begins and ends, what is refused, and what is said of it."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from brokers import Kafka
from faults.clicks import (
    NOW_US,
    SECOND_US,
    TABLE,
    click_view,
    message,
    newest,
    poisoned,
    repository,
    troubled,
    views,
    windows,
)
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.stream import Start, Until
from tiffin.definitions import (
    Aggregation,
    Entity,
    FeatureView,
    Field,
    JsonFormat,
    KafkaSource,
    PushSource,
    StreamFeatureView,
)
from tiffin.errors import FunctionError, NotFoundError, RequestError, StreamError, StreamUnavailableError
from tiffin.operations.apply import apply
from tiffin.operations.materialize import materialize
from tiffin.operations.online import read_online
from tiffin.operations.stream import run_stream, stream_status
from tiffin.quality.freshness import freshness
from tiffin.time import to_us
from tiffin.types import Float64, Int64, String, ValueType

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka")]
NOW = Until()
UTC_US = pa.timestamp("us", "UTC")


def values(ctx, users):
    """What is served: (amount, page, n) for each user."""
    features = [f"clicks:{name}" for name in ("amount", "page", "n")]
    found = read_online(ctx, features, {"user": list(users)}).to_dict()
    return list(zip(found["amount"], found["page"], found["n"], strict=True))


def assert_newest(ctx, messages):
    """Each user has the newest fact; of those that tie in both times one, the same in every run."""
    expected = newest(messages)
    found = values(ctx, expected)
    assert [(user, value) for user, value in zip(expected, found, strict=True) if value not in expected[user]] == []


def letters(folder: Path, source: str = "clicks"):
    path = folder / "data" / "dead_letters" / f"{source}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_newest_fact_of_each_key_is_served_and_poison_is_set_aside(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1, STR-3: out of order, late, tied and repeated messages, against plain Python over all of them."""
    topic, messages = kafka.topic(3), troubled(5_000, seed=1)
    kafka.send(topic, messages)
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    (found,) = run_stream(ctx, until=NOW)
    assert_newest(ctx, messages)
    assert (found.messages, found.dead, found.lag) == (len(messages), poisoned(messages), 0)
    assert found.late > 0
    assert len(letters(tmp_path)) == found.dead
    assert {letter["reason"] for letter in letters(tmp_path)} == set(found.reasons)
    (status,) = stream_status(ctx)
    assert [part.lag for part in status.partitions] == [0, 0, 0]
    assert sum(part.count.messages for part in status.partitions) == len(messages)
    assert sum(part.count.dead for part in status.partitions) == found.dead
    assert sum(part.count.late for part in status.partitions) == found.late
    assert status.watermark_us == found.watermark_us
    ctx.close()


def test_reading_again_from_the_beginning_changes_nothing(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1, WR-2."""
    topic = kafka.topic(2)
    kafka.send(topic, troubled(1_000, seed=2))
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    run_stream(ctx, until=NOW)
    before = dict(ctx.online.scan_all(TABLE))
    assert run_stream(ctx, until=NOW)[0].messages == 0
    (again,) = run_stream(ctx, start=Start("earliest"), until=NOW)
    assert (again.messages > 1_000, again.written) == (True, 0)
    assert dict(ctx.online.scan_all(TABLE)) == before
    ctx.close()


def test_reading_goes_on_where_it_stopped(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    for number in range(3):
        kafka.send(topic, [message(1, NOW_US - 10 + number, number)])
        assert run_stream(ctx, until=NOW)[0].messages == 1
        assert values(ctx, [1]) == [(number / 4, f"/{number}", number)]
    ctx.close()


def test_reading_begins_and_ends_where_it_is_told_to(kafka: Kafka, tmp_path: Path) -> None:
    topic, second = kafka.topic(), 1_000
    times = [1_700_000_000_000 + number * second for number in range(10)]
    kafka.send(topic, [{"value": message(n, NOW_US, n), "timestamp": time} for n, time in enumerate(times)])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    assert run_stream(ctx, start=Start("latest"), until=NOW)[0].messages == 0
    start, until = Start("time", times[3] * 1000), Until(times[5] * 1000)
    assert run_stream(ctx, start=start, until=until)[0].messages == 2
    assert [n for _, _, n in values(ctx, range(10))] == [None, None, None, 3, 4, *[None] * 5]
    # The next run goes on behind the end of the one before.
    assert run_stream(ctx, until=NOW)[0].messages == 5
    ctx.close()


def test_two_workers_share_the_messages(kafka: Kafka, tmp_path: Path) -> None:
    topic, messages = kafka.topic(4), troubled(3_000, seed=3)
    kafka.send(topic, messages)
    view = click_view(kafka.address, topic)
    first, second = repository(tmp_path, view), repository(tmp_path, None)
    found = {}

    def work(name, ctx):
        found[name] = run_stream(ctx, until=NOW)[0]

    threads = [threading.Thread(target=work, args=pair) for pair in (("first", first), ("second", second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_newest(first, messages)
    (status,) = stream_status(first)
    assert [part.lag for part in status.partitions] == [0] * 4
    first.close()
    second.close()


def test_windows_online_equal_windows_of_the_history(kafka: Kafka, tmp_path: Path) -> None:
    """STR-4, STR-5: part of the facts come by a load, part by the stream, some both ways."""
    topic, messages = kafka.topic(2), troubled(2_000, seed=4, poison=0)
    (plain, spending) = views(tmp_path, kafka.address, topic)
    ctx = repository(tmp_path, [plain, spending])
    rows = list({each["value"]: json.loads(each["value"]) for each in messages}.values())
    ctx.offline.append(plain.batch_source, history(rows))
    materialize(ctx, NOW_US - 150 * SECOND_US, NOW_US)
    kafka.send(topic, messages[: len(messages) // 2])
    run_stream(ctx, until=NOW)
    kafka.send(topic, messages[len(messages) // 2 :])
    run_stream(ctx, until=NOW)
    features = [f"spending:{name}" for name in ("hour_sum", "hour_max", "day_count")]
    expected = windows(messages)
    online = read_online(ctx, features, {"user": list(expected)}).to_dict()
    found = zip(online["hour_sum"], online["hour_max"], online["day_count"], strict=True)
    assert dict(zip(expected, found, strict=True)) == expected
    ctx.close()


def history(rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    times = {name: pa.array([to_us(text) for text in columns.pop(name)], UTC_US) for name in ("at", "known")}
    return pa.table(columns | times).select(["at", "known", "user", "n", "amount", "page"])


def test_messages_go_through_the_function_of_a_view(kafka: Kafka, tmp_path: Path) -> None:
    """The function gets the columns of the history, and may leave a row out; no dead letter is made of that."""
    topic = kafka.topic()
    (plain, _) = views(tmp_path, kafka.address, topic)
    doubled = StreamFeatureView(
        name="doubled",
        source=plain.source,
        entities=plain.entities,
        mode="sql",
        udf="SELECT *, amount * 2 AS twice FROM source WHERE page <> '/3'",
        schema=[Field(name="twice", dtype=Float64)],
    )
    ctx = repository(tmp_path, doubled)
    kafka.send(topic, [message(1, NOW_US, 1), message(2, NOW_US, 3), b"{"])
    (found,) = run_stream(ctx, until=NOW)
    assert (found.messages, found.written, found.dead) == (3, 1, 1)
    assert read_online(ctx, ["doubled:twice"], {"user": [1, 2]}).to_dict()["twice"] == [0.5, None]
    ctx.close()


def divided(row):
    return {**row, "ratio": 1 / row["n"]}


def read_as_numbers(rows):
    return {**rows, "ratio": [float(page) for page in rows["page"]]}


def total(rows):
    return {**rows, "ratio": [float(sum(rows["n"]))] * len(rows["n"])}


def ratio_view(folder: Path, kafka: Kafka, topic: str, udf: Any, **more: Any) -> StreamFeatureView:
    (plain, _) = views(folder, kafka.address, topic)
    schema = [Field(name="ratio", dtype=Float64)]
    return StreamFeatureView(
        name="ratios", source=plain.source, entities=plain.entities, mode="python", udf=udf, schema=schema, **more
    )


@pytest.mark.parametrize(
    ("udf", "singleton", "said"),
    [
        (divided, True, "ZeroDivisionError: division by zero"),
        (read_as_numbers, False, "ValueError: could not convert string to float: 'c'"),
    ],
)
def test_message_on_which_a_function_fails_is_set_aside(
    kafka: Kafka, tmp_path: Path, udf: Any, singleton: bool, said: str
) -> None:
    """STR-3: the others of its batch go through the function, and the stream goes on."""
    topic = kafka.topic()
    ctx = repository(tmp_path, ratio_view(tmp_path, kafka, topic, udf, singleton=singleton))
    wrong = 7, 30
    kafka.send(
        topic,
        [
            message(n, NOW_US - 1, 0 if n in wrong else n + 1, page="c" if n in wrong else "12"[n % 2])
            for n in range(40)
        ],
    )
    (found,) = run_stream(ctx, until=NOW)
    assert (found.messages, found.written, found.dead) == (40, 38, 2)
    assert [(letter["offset"], said in letter["reason"]) for letter in letters(tmp_path)] == [(7, True), (30, True)]
    read = read_online(ctx, ["ratios:ratio"], {"user": [6, 7, 8]}).to_dict()["ratio"]
    assert read == ([1 / 7, None, 1 / 9] if singleton else [1.0, None, 1.0])
    ctx.close()


def test_function_that_mixes_rows_is_an_error_and_no_fault_of_the_messages(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    ctx = repository(tmp_path, ratio_view(tmp_path, kafka, topic, total))
    kafka.send(topic, [message(n, NOW_US, n) for n in range(4)])
    with pytest.raises(FunctionError, match="among other rows than for the row alone"):
        run_stream(ctx, until=NOW)
    assert letters(tmp_path) == []
    ctx.close()


def test_function_that_is_not_found_ends_the_run_before_a_message_is_touched(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.topic()
    ctx = repository(tmp_path, ratio_view(tmp_path, kafka, topic, divided, singleton=True))
    kafka.send(topic, [message(1, NOW_US, 1)])
    monkeypatch.setattr("tiffin.definitions.function._KNOWN", {})
    monkeypatch.setattr(sys.modules[divided.__module__], "divided", total)
    with pytest.raises(FunctionError, match="another function than was applied"):
        run_stream(ctx, until=NOW)
    assert letters(tmp_path) == []
    ctx.close()


class NarrowStore(MemoryOnlineStore):
    """Takes short rows, as DynamoDB does, only shorter."""

    capabilities = replace(MemoryOnlineStore.capabilities, name="narrow", max_row_bytes=4_000)


def test_fact_that_is_too_large_for_the_store_is_set_aside(kafka: Kafka, tmp_path: Path) -> None:
    """STR-3: in a plain view and in windows; no view takes a part of the message."""
    topic = kafka.topic()
    (plain, windows) = views(tmp_path, kafka.address, topic)
    pages = FeatureView(
        name="pages",
        source=plain.source,
        entities=plain.entities,
        aggregations=[Aggregation(column="page", function="last", time_window=timedelta(hours=1), name="last_page")],
    )
    ctx = repository(tmp_path, [plain, windows, pages], store=NarrowStore())
    kafka.send(topic, [message(n, NOW_US - 1, n, page="x" * length) for n, length in enumerate([9, 5_000, 3_000, 90])])
    (found,) = run_stream(ctx, until=NOW)
    assert (found.messages, found.dead) == (4, 2)
    first, second = letters(tmp_path)
    assert "a fact of feature view clicks has 5," in first["reason"]
    assert "narrow has room for 4,000" in first["reason"]
    assert "a fact of feature view pages has 3," in second["reason"]
    assert [n for _, _, n in values(ctx, range(4))] == [0, None, None, 3]
    read = read_online(ctx, ["pages:last_page", "spending:day_count"], {"user": [0, 1, 2, 3]}).to_dict()
    assert [None if page is None else len(page) for page in read["last_page"]] == [9, None, None, 90]
    assert read["day_count"] == [1, 0, 0, 1]
    ctx.close()


def test_views_of_one_source_are_fed_by_one_pass(kafka: Kafka, tmp_path: Path) -> None:
    """Fields by path, headers and keys; a view leaves out messages that lack its own key, and the others take them."""
    topic = kafka.topic()
    source = KafkaSource(
        name="events",
        kafka_bootstrap_servers=kafka.address,
        topic=topic,
        timestamp_field="@timestamp",
        message_format=JsonFormat(),
        field_mapping={"who.id": "user", "@key": "shop", "@header.from": "origin", "who.name": "name"},
    )
    user, shop = (Entity(name=name, value_type=ValueType.INT64) for name in ("user", "shop"))
    users = FeatureView(name="users", source=source, entities=[user], schema=[Field(name="name", dtype=String)])
    schema = [Field(name="origin", dtype=String), Field(name="amount", dtype=Float64)]
    shops = FeatureView(name="shops", source=source, entities=[shop], schema=schema)
    ctx = repository(tmp_path, None)
    apply(ctx, [users, shops])
    time = {"timestamp": NOW_US // 1000}
    kafka.send(
        topic,
        [
            {"value": b'{"who": {"id": 1, "name": "a"}, "amount": 2}', "key": b"7", "headers": {"from": "web"}, **time},
            {"value": b'{"who": null, "amount": 3}', "key": b"8", **time},
            {"value": b'{"who": {"id": 2, "name": "b"}}', **time},
            {"value": b"{}", **time},
        ],
    )
    (found,) = run_stream(ctx, until=NOW)
    read = read_online(ctx, ["users:name"], {"user": [1, 2]}).to_dict()
    assert read["name"] == ["a", "b"]
    read = read_online(ctx, ["shops:origin", "shops:amount"], {"shop": [7, 8]}).to_dict()
    assert (read["origin"], read["amount"]) == (["web", None], [2.0, 3.0])
    assert found.dead == 1
    assert "the key of no view, which is '@key' or 'who.id'" in letters(tmp_path, "events")[0]["reason"]
    ctx.close()


def test_a_choice_of_views_has_a_position_of_its_own(kafka: Kafka, tmp_path: Path) -> None:
    """A position says what all of its views have got, so another choice may not move it."""
    topic = kafka.topic()
    view = click_view(kafka.address, topic)
    other = FeatureView(name="other", source=view.source, entities=view.entities, schema=[Field(name="n", dtype=Int64)])
    ctx = repository(tmp_path, None)
    apply(ctx, [view, other])
    kafka.send(topic, [message(1, NOW_US, 5)])
    assert run_stream(ctx, ["clicks"], until=NOW)[0].messages == 1
    assert read_online(ctx, ["other:n"], {"user": [1]}).to_dict()["n"] == [None]
    assert run_stream(ctx, until=NOW)[0].messages == 1
    assert read_online(ctx, ["other:n"], {"user": [1]}).to_dict()["n"] == [5]
    ctx.close()


def test_fact_too_far_ahead_of_now_is_a_dead_letter(kafka: Kafka, tmp_path: Path) -> None:
    """WR-5: a producer whose clock is ahead does not hide what comes after."""
    topic, ahead = kafka.topic(), message(1, NOW_US + 301 * SECOND_US, 2)
    kafka.send(topic, [message(1, NOW_US + 299 * SECOND_US, 1), ahead])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    (found,) = run_stream(ctx, until=NOW)
    assert found.dead == 1
    assert "ahead of now" in next(iter(found.reasons))
    assert [letter["value"].encode() for letter in letters(tmp_path)] == [ahead]
    ctx.clock.set(NOW_US + 400 * SECOND_US)
    assert values(ctx, [1]) == [(0.25, "/1", 1)]
    ctx.close()


def test_times_in_the_wrong_unit_are_told(kafka: Kafka, tmp_path: Path) -> None:
    topic, wrong = kafka.topic(), b'{"user": 1, "at": 1717243200, "known": 1717243200, "n": 1}'
    kafka.send(topic, [wrong])
    view = click_view(kafka.address, topic, message_format=JsonFormat(timestamp_unit="ms"))
    ctx = repository(tmp_path, view)
    (found,) = run_stream(ctx, until=NOW)
    assert found.dead == 1
    assert "in 's' it is 2024-06-01T12:00:00Z" in next(iter(found.reasons))
    assert [letter["value"].encode() for letter in letters(tmp_path)] == [wrong]
    ctx.close()


def test_schema_that_drifts_in_mid_stream_costs_only_its_messages(kafka: Kafka, tmp_path: Path) -> None:
    """STR-3."""
    topic = kafka.topic()
    drifted = b'{"user": 2, "at": "2024-06-01T11:00:00Z", "amount": {"value": 1, "currency": "EUR"}}'
    kafka.send(topic, [message(1, NOW_US - 2, 1), drifted, message(3, NOW_US - 1, 3, added=[1, 2])])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    (found,) = run_stream(ctx, until=NOW)
    assert [n for _, _, n in values(ctx, [1, 2, 3])] == [1, None, 3]
    assert found.reasons == {"Expected `float | null`, got `object` - at `$.amount`": 1}
    assert [letter["value"].encode() for letter in letters(tmp_path)] == [drifted]
    ctx.close()


def test_message_of_ten_megabytes_is_like_any_other(kafka: Kafka, tmp_path: Path) -> None:
    topic, large = kafka.topic(), "x" * 10_000_000
    kafka.send(topic, [message(1, NOW_US - 3, 1, unused=large), large.encode(), message(2, NOW_US - 2, 2)])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    (found,) = run_stream(ctx, until=NOW)
    assert [n for _, _, n in values(ctx, [1, 2])] == [1, 2]
    assert found.dead == 1
    (letter,) = letters(tmp_path)
    assert (letter["value_bytes"], letter["offset"]) == (10_000_000, 1)
    assert len(letter["value"]) == 1 << 20
    ctx.close()


def test_dead_letters_can_go_to_a_topic(kafka: Kafka, tmp_path: Path) -> None:
    """STR-3: key and value as they were, the reason in a header; one that is too large comes without its value."""
    topic, graves = kafka.topic(), kafka.topic()
    kafka.send(topic, [{"value": b"{", "key": b"k"}, message(1, NOW_US, 1), b"x" * 3_000_000])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    run_stream(ctx, until=NOW, dead_letters=f"topic:{graves}")
    first, second = kafka.messages(graves)
    assert (first.key(), first.value()) == (b"k", b"{")
    assert dict(first.headers())["tiffin.offset"] == b"0"
    assert dict(first.headers())["tiffin.reason"] == b"Input data was truncated"
    assert second.value() is None
    assert dict(second.headers())["tiffin.left_out"] == b"the value of 3000000 bytes"
    ctx.close()


def test_too_many_dead_letters_end_the_run_and_leave_their_messages_undone(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    kafka.send(topic, [message(1, NOW_US, 1), b"{", b"{"])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    with pytest.raises(StreamError, match="more than 1 dead letters; the last reason: Input data was truncated"):
        run_stream(ctx, until=NOW, max_dead_letters=1)
    assert run_stream(ctx, until=NOW, max_dead_letters=2)[0].messages == 3
    ctx.close()


def test_freshness_knows_what_waits_and_what_was_written(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    kafka.send(topic, [message(1, NOW_US - 60_000_000, 1), message(2, NOW_US - 90_000_000, 1)])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    run_stream(ctx, until=NOW)
    kafka.send(topic, [message(1, NOW_US, 2)])
    (found,) = freshness(ctx).views
    assert (found.online_us, found.lag, found.problems) == (NOW_US - 60_000_000, 1, ())
    run_stream(ctx, until=NOW)
    (found,) = freshness(ctx).views
    assert (found.online_us, found.lag) == (NOW_US, 0)
    ctx.close()


def test_topic_that_is_not_there_is_refused_with_the_nearest(kafka: Kafka, tmp_path: Path) -> None:
    kafka.topic(name="clicks-of-users")
    ctx = repository(tmp_path, click_view(kafka.address, "clicks-of-user"))
    for call in (run_stream, stream_status):
        with pytest.raises(
            StreamError, match=r"there is no topic 'clicks-of-user' (.|\n)*did you mean clicks-of-users"
        ):
            call(ctx)
    ctx.close()


def test_broker_that_is_not_there_is_said(tmp_path: Path) -> None:
    ctx = repository(tmp_path, click_view("127.0.0.1:1", "t"), kafka={"timeout_seconds": 0.5})
    assert "127.0.0.1:1" in "".join(freshness(ctx).views[0].problems)
    with pytest.raises(StreamUnavailableError, match=r"topic t at 127\.0\.0\.1:1 cannot be reached"):
        run_stream(ctx)
    ctx.close()


def test_position_that_is_gone_from_the_topic_is_an_error(kafka: Kafka, tmp_path: Path) -> None:
    """Messages that were deleted before they were read are not passed over in silence."""
    topic = kafka.topic()
    kafka.send(topic, [message(1, NOW_US - 2, 1)])
    ctx = repository(tmp_path, click_view(kafka.address, topic))
    run_stream(ctx, until=NOW)
    kafka.send(topic, [message(1, NOW_US - 1, n) for n in range(5)])
    kafka.delete_before(topic, 4)
    with pytest.raises(StreamError, match="not in the topic any more"):
        run_stream(ctx, until=NOW)
    assert run_stream(ctx, start=Start("earliest"), until=NOW)[0].messages == 2
    ctx.close()


@pytest.mark.parametrize(("name", "error"), [("clicks_of", NotFoundError), ("pushed", RequestError)])
def test_views_that_no_stream_feeds_are_refused(tmp_path: Path, name: str, error: type[Exception]) -> None:
    user = Entity(name="user", value_type=ValueType.INT64)
    pushed = FeatureView(
        name="pushed", source=PushSource(name="p"), entities=[user], schema=[Field(name="n", dtype=Int64)]
    )
    ctx = repository(tmp_path, pushed)
    for names in ([name], [] if error is RequestError else [name]):
        with pytest.raises(error):
            run_stream(ctx, names)
    ctx.close()


def test_password_opens_the_broker_and_a_wrong_one_is_told_without_it(kafka: Kafka, tmp_path: Path) -> None:
    topic = kafka.topic()
    kafka.send(topic, [message(1, NOW_US, 1), b"{"])
    access = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "tests"}
    ctx = repository(tmp_path, click_view(kafka.guarded_address, topic), kafka=access | {"sasl_password": "right"})
    (found,) = run_stream(ctx, until=NOW, dead_letters=f"topic:{kafka.topic()}")
    assert (found.messages, found.dead) == (2, 1)
    ctx.close()
    ctx = repository(tmp_path, None, kafka=access | {"sasl_password": "wr0ng", "timeout_seconds": 5.0})
    with pytest.raises(StreamError, match=r"refuses: (.|\n)*check sasl_username") as caught:
        run_stream(ctx)
    assert "wr0ng" not in str(caught.value) + repr(ctx.config) + repr(caught.value.__cause__)
    assert not isinstance(caught.value, StreamUnavailableError)
    ctx.close()


def test_lateness_is_counted_against_the_watermark(kafka: Kafka, tmp_path: Path) -> None:
    """STR-2: late facts are counted, and written all the same."""
    topic, minute = kafka.topic(), 60 * SECOND_US
    start = NOW_US - 60 * minute
    ages = [0, 10, 5, 4, 20, 14]
    kafka.send(topic, [message(n, start + age * minute, n) for n, age in enumerate(ages)])
    ctx = repository(tmp_path, click_view(kafka.address, topic, ttl=timedelta(days=1)))
    (found,) = run_stream(ctx, until=NOW)
    assert found.late == 2
    assert found.watermark_us == start + 15 * minute
    assert [n for _, _, n in values(ctx, range(6))] == list(range(6))
    ctx.close()
