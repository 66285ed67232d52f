"""Views fed from Kinesis, as moto plays it: shards, their splits and merges, positions, and what is refused."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from faults.clicks import NOW_US, SECOND_US, TABLE, message, repository
from servers import moto_server, need_module, wait_until
from tiffin.contracts.stream import Start, Until
from tiffin.definitions import Entity, FeatureView, Field, JsonFormat, KinesisSource
from tiffin.errors import StreamError, StreamUnavailableError, UnsupportedError
from tiffin.operations.apply import apply
from tiffin.operations.online import read_online
from tiffin.operations.stream import run_stream, stream_status
from tiffin.operations.stream_counts import SourceProgress
from tiffin.time import to_us
from tiffin.types import Float64, Int64, String, ValueType

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kinesis")]
NOW = Until()
REGION = "eu-west-1"


class Kinesis:
    """A stream of a test's own."""

    def __init__(self, client: Any, url: str, name: str) -> None:
        self.client, self.url, self.name = client, url, name

    def send(self, values: list[bytes], key: str = "") -> None:
        records = [{"Data": value, "PartitionKey": key or str(n)} for n, value in enumerate(values)]
        self.client.put_records(StreamName=self.name, Records=records)

    def open_shards(self) -> list[dict[str, Any]]:
        shards = self.client.list_shards(StreamName=self.name)["Shards"]
        return [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[Any, str]]:
    need_module("botocore", "kinesis")
    with pytest.MonkeyPatch.context() as patch, moto_server() as server:
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-tests")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.delenv("AWS_PROFILE", raising=False)
        url = f"http://127.0.0.1:{server.port}"
        client = botocore.session.get_session().create_client("kinesis", region_name=REGION, endpoint_url=url)
        yield client, url
        client.close()


@pytest.fixture
def kinesis(moto: tuple[Any, str], request: pytest.FixtureRequest) -> Kinesis:
    name = f"clicks-{abs(hash(request.node.name))}"
    moto[0].create_stream(StreamName=name, ShardCount=2)
    return Kinesis(*moto, name)


def opened(folder: Path, kinesis: Kinesis, name: str = ""):
    source = KinesisSource(
        name="clicks",
        region=REGION,
        stream_name=name or kinesis.name,
        timestamp_field="at",
        record_format=JsonFormat(),
        field_mapping={"@key": "shard_key"},
    )
    schema = [Field(name="amount", dtype=Float64), Field(name="n", dtype=Int64), Field(name="shard_key", dtype=String)]
    user = Entity(name="user", value_type=ValueType.INT64)
    options = {"endpoint_url": kinesis.url, "reads_per_second": 50.0, "session_timeout_seconds": 0.8}
    ctx = repository(folder, None, kinesis=options)
    apply(ctx, [FeatureView(name="clicks", source=source, entities=[user], schema=schema)])
    return ctx


def served(ctx, users):
    return read_online(ctx, ["clicks:n"], {"user": list(users)}).to_dict()["n"]


def test_records_of_all_shards_arrive_and_positions_are_kept(kinesis: Kinesis, tmp_path: Path) -> None:
    """STR-1, STR-3."""
    ctx = opened(tmp_path, kinesis)
    kinesis.send([message(n, NOW_US - n, n) for n in range(50)] + [b"{"])
    (found,) = run_stream(ctx, until=NOW)
    assert (found.messages, found.dead) == (51, 1)
    assert served(ctx, range(50)) == list(range(50))
    assert read_online(ctx, ["clicks:shard_key"], {"user": [7]}).to_dict()["shard_key"] == ["7"]
    (letter,) = map(json.loads, (tmp_path / "data/dead_letters/clicks.jsonl").read_text().splitlines())
    assert letter["partition"].startswith("shardId-")
    assert run_stream(ctx, until=NOW)[0].messages == 0
    kinesis.send([message(1, NOW_US, 99)])
    assert run_stream(ctx, until=NOW)[0].messages == 1
    assert served(ctx, [1]) == [99]
    (status,) = stream_status(ctx)
    assert sum(part.count.messages for part in status.partitions) == 52
    assert sum(part.count.dead for part in status.partitions) == 1
    ctx.close()


def test_reading_again_changes_nothing(kinesis: Kinesis, tmp_path: Path) -> None:
    """STR-1: from the beginning, or by a second worker that knows nothing of the first one's positions."""
    ctx = opened(tmp_path, kinesis)
    kinesis.send([message(n % 9, NOW_US - n * SECOND_US, n) for n in range(100)])
    run_stream(ctx, until=NOW)
    before = dict(ctx.online.scan_all(TABLE))
    (again,) = run_stream(ctx, start=Start("earliest"), until=NOW)
    assert (again.messages, again.written) == (100, 0)
    assert dict(ctx.online.scan_all(TABLE)) == before
    ctx.close()


def test_splits_and_merges_are_followed(kinesis: Kinesis, tmp_path: Path) -> None:
    """STR-1: parents are done before their children are read, whatever moment the run begins at."""
    ctx = opened(tmp_path, kinesis)
    kinesis.send([message(n, NOW_US - n, n) for n in range(20)])
    run_stream(ctx, until=NOW)
    kinesis.send([message(n, NOW_US - n, n) for n in range(20, 40)])
    shard = kinesis.open_shards()[0]
    low, high = (int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
    kinesis.client.split_shard(
        StreamName=kinesis.name, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2)
    )
    kinesis.send([message(n, NOW_US - n, n) for n in range(40, 60)])
    (found,) = run_stream(ctx, until=NOW)
    assert found.messages == 40
    one, other = (each["ShardId"] for each in kinesis.open_shards() if each.get("ParentShardId") == shard["ShardId"])
    kinesis.client.merge_shards(StreamName=kinesis.name, ShardToMerge=one, AdjacentShardToMerge=other)
    kinesis.send([message(n, NOW_US - n, n) for n in range(60, 80)])
    assert run_stream(ctx, until=NOW)[0].messages == 20
    assert served(ctx, range(80)) == list(range(80))
    (again,) = run_stream(ctx, start=Start("earliest"), until=NOW)
    assert (again.messages, again.written) == (80, 0)
    ctx.close()


def test_workers_share_the_shards_and_take_over_where_one_leaves(kinesis: Kinesis, tmp_path: Path) -> None:
    """STR-1: whoever reads a shard goes on where the others have got to."""
    contexts = [opened(tmp_path, kinesis), opened(tmp_path, kinesis)]
    stops = [threading.Event(), threading.Event()]
    seen = [0, 0]
    sent = itertools.count()

    def work(number: int) -> None:
        def tell(found: Sequence[SourceProgress]) -> None:
            seen[number] = found[0].messages

        run_stream(contexts[number], stop=stops[number], progress=tell)

    def are_served(count: int) -> bool:
        return served(contexts[0], range(count)) == list(range(count))

    def send(count: int) -> int:
        last = next(sent)
        numbers = [last, *(next(sent) for _ in range(count - 1))]
        kinesis.send([message(n, NOW_US - n, n) for n in numbers])
        return numbers[-1] + 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    try:
        for thread in threads:
            thread.start()
        # Of fewer keys all belong to one shard, and the worker of the other one sees nothing.
        wait_until(lambda: send(8) > 0 and min(seen) > 0, "both workers", seconds=100, pause_seconds=0.1)
        stops[0].set()
        threads[0].join(100)
        total = send(50)
        wait_until(lambda: are_served(total), "all of it", pause_seconds=0.05)
    finally:
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join(100)
    (status,) = stream_status(contexts[0])
    assert sum(part.count.messages for part in status.partitions) >= total
    for ctx in contexts:
        ctx.close()


def test_reading_begins_and_ends_where_it_is_told_to(kinesis: Kinesis, tmp_path: Path) -> None:
    ctx = opened(tmp_path, kinesis)
    kinesis.send([message(1, NOW_US - 3, 1)], key="same")
    assert run_stream(ctx, start=Start("latest"), until=NOW)[0].messages == 0
    (first,) = arrivals(kinesis)
    assert run_stream(ctx, start=Start("time", first), until=Until(first))[0].messages == 0
    assert run_stream(ctx, start=Start("time", first), until=Until(first + SECOND_US))[0].messages == 1
    assert served(ctx, [1]) == [1]
    ctx.close()


def arrivals(kinesis: Kinesis) -> list[int]:
    found = []
    for shard in kinesis.open_shards():
        place = {"StreamName": kinesis.name, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.client.get_shard_iterator(**place)["ShardIterator"]
        records = kinesis.client.get_records(ShardIterator=iterator)["Records"]
        found += [to_us(record["ApproximateArrivalTimestamp"]) for record in records]
    return found


def test_stream_that_is_not_there_is_refused_with_the_nearest(kinesis: Kinesis, tmp_path: Path) -> None:
    ctx = opened(tmp_path, kinesis, name=f"{kinesis.name}x")
    for call in (run_stream, stream_status):
        with pytest.raises(StreamError, match=rf"there is no Kinesis stream {kinesis.name}x(.|\n)*{kinesis.name}"):
            call(ctx)
    ctx.close()


def test_missing_credentials_are_said(kinesis: Kinesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    ctx = opened(tmp_path, kinesis)
    with pytest.raises(StreamError, match=r"credentials(.|\n)*AWS's own tools"):
        run_stream(ctx)
    ctx.close()


class Refusing(BaseHTTPRequestHandler):
    """Answers as Kinesis does to keys that it does not know; moto takes any."""

    def do_POST(self) -> None:
        told = b'{"__type": "UnrecognizedClientException", "message": "The security token is invalid."}'
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        pass


def test_wrong_credentials_are_told_without_them(
    kinesis: Kinesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end the run: waiting does not mend them."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wr0ng")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ctx = opened(tmp_path, Kinesis(None, f"http://127.0.0.1:{server.server_port}", kinesis.name))
        try:
            for call in (run_stream, stream_status):
                with pytest.raises(StreamError, match=r"refuses: The security(.|\n)*check the credentials") as caught:
                    call(ctx)
                assert not isinstance(caught.value, StreamUnavailableError)
                assert "wr0ng" not in str(caught.value) + repr(caught.value.__cause__)
        finally:
            server.shutdown()
            thread.join()
    ctx.close()


def test_bad_records_are_set_aside_whole_and_the_others_go_on(kinesis: Kinesis, tmp_path: Path) -> None:
    """STR-3, WR-5: a schema that drifts, a time in another unit, a clock that is ahead, and no message at all."""
    bad = {
        b'{"user": 1, "at": "2024-06-01T11:00:00Z", "amount": {"value": 1}}': "Expected `float | null`, got `object`",
        b'{"user": 1, "at": 1717243200000, "n": 8}': "in 'ms' it is 2024-06-01T12:00:00Z",
        message(1, NOW_US + 3600 * SECOND_US, 9): "ahead of now by more than max_future_skew_seconds",
        b"x" * 900_000: "JSON is malformed",
    }
    kinesis.send([message(1, NOW_US - 2, 1), *bad, message(2, NOW_US - 1, 2)])
    ctx = opened(tmp_path, kinesis)
    (found,) = run_stream(ctx, until=Until())
    assert (found.messages, found.dead) == (len(bad) + 2, len(bad))
    assert served(ctx, [1, 2]) == [1, 2]
    lines = (tmp_path / "data" / "dead_letters" / "clicks.jsonl").read_text().splitlines()
    letters = {letter["value"].encode(): letter["reason"] for letter in map(json.loads, lines)}
    assert letters.keys() == bad.keys()
    assert [value for value, reason in letters.items() if bad[value] not in reason] == []
    ctx.close()


def test_dead_letters_cannot_go_to_a_topic(kinesis: Kinesis, tmp_path: Path) -> None:
    ctx = opened(tmp_path, kinesis)
    with pytest.raises(UnsupportedError, match="no topics for dead letters"):
        run_stream(ctx, dead_letters="topic:graves")
    ctx.close()
