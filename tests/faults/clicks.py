"""A stream of clicks for tests: definitions, messages with every trouble, and what the store must hold in the end."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from parity.repository import Repository
from tiffin.config import RepoConfig
from tiffin.definitions import Aggregation, Entity, Expectation, FeatureView, Field, FileSource, JsonFormat, KafkaSource
from tiffin.operations.apply import apply
from tiffin.time import ManualClock, duration_us, format_us, to_us
from tiffin.types import Float64, Int64, String, ValueType

NOW = "2024-06-01T12:00:00Z"
NOW_US = to_us(NOW)
SECOND_US = 1_000_000
TABLE = "tests.clicks.1"
HOUR = timedelta(hours=1)
#: For workers that are lost on purpose. One that the machine holds up for so long loses its partitions, too.
SHORT_SESSION = {"session_timeout_seconds": 0.6}
UNEXPECTED = 49


def click_source(address: str, topic: str, **more: Any) -> KafkaSource:
    """The source of clicks in a topic."""
    return KafkaSource(
        name="clicks",
        kafka_bootstrap_servers=address,
        topic=topic,
        timestamp_field="at",
        created_timestamp_column="known",
        message_format=more.pop("message_format", JsonFormat()),
        watermark_delay_threshold=timedelta(minutes=5),
        **more,
    )


def click_view(address: str, topic: str, **more: Any) -> FeatureView:
    """A view of users, fed by a topic."""
    formats = {name: more.pop(name) for name in ("message_format", "batch_source") if name in more}
    return FeatureView(
        name="clicks",
        source=click_source(address, topic, **formats),
        entities=[Entity(name="user", value_type=ValueType.INT64)],
        schema=[Field(name="amount", dtype=Float64), Field(name="page", dtype=String), Field(name="n", dtype=Int64)],
        **more,
    )


def views(folder: Path, address: str, topic: str, *, is_strict: bool = False) -> list[FeatureView]:
    """The view of the newest clicks and one of windows, on one source; its history is there, and empty.

    With ``is_strict`` both put clicks into their quarantine that are not `expected`.
    """
    columns: dict[str, Any] = {name: pa.array([], pa.timestamp("us", "UTC")) for name in ("at", "known")}
    columns |= {"user": pa.array([], pa.int64()), "n": pa.array([], pa.int64())}
    columns |= {"amount": pa.array([], pa.float64()), "page": pa.array([], pa.string())}
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "clicks.parquet")
    history = FileSource(path="clicks.parquet", timestamp_field="at", created_timestamp_column="known")
    strict = [Expectation.where(f"n <> {UNEXPECTED}", on_failure="quarantine")] if is_strict else []
    plain = click_view(address, topic, batch_source=history, expectations=strict)
    windows = FeatureView(
        name="spending",
        source=plain.source,
        entities=plain.entities,
        aggregations=[
            Aggregation(column="amount", function="sum", time_window=HOUR, name="hour_sum"),
            Aggregation(column="n", function="max", time_window=HOUR, name="hour_max"),
            Aggregation(column="*", function="count", time_window=timedelta(days=1), name="day_count"),
        ],
        expectations=strict,
    )
    return [plain, windows]


def repository(
    folder: Path,
    view: FeatureView | Sequence[FeatureView] | None,
    *,
    kafka: Mapping[str, object] | None = None,
    **more: Any,
) -> Repository:
    """A repository at noon of a day in 2024, with the views applied where some are given."""
    config = RepoConfig(
        project=more.pop("project", "tests"),
        repo_path=folder,
        registry="registry.db",
        online_store=more.pop("online", {"type": "sqlite"}),
        streams={
            "history_seconds": more.pop("history_seconds", 0.05),
            "kafka": {"session_timeout_seconds": 6.0, "timeout_seconds": 30.0, **(kafka or {})},
            "kinesis": more.pop("kinesis", {}),
            "schema_registry": more.pop("registry", {}),
        },
        stream_engine=more.pop("engine", "worker"),
    )
    opened = Repository(config, ManualClock(NOW_US), more.pop("store", None))
    if view is not None:
        apply(opened, [view] if isinstance(view, FeatureView) else view)
    return opened


def message(user: Any, at_us: int, n: int, known_us: int | None = None, **more: Any) -> bytes:
    """A click; equal arguments give equal bytes."""
    row = {
        "user": user,
        "at": format_us(at_us),
        "known": format_us(known_us or at_us),
        "amount": n / 4,
        "page": f"/{n % 7}",
    }
    return json.dumps(row | {"n": n} | more).encode()


def troubled(count: int, seed: int, *, users: int = 300, poison: float = 0.002) -> list[dict[str, Any]]:
    """Messages of a day: out of order, late, tied, sent twice, and some that nobody can read.

    Returns:
        Arguments for the producer. A user's messages go to one partition, as producers send them, but for some.
    """
    chance = random.Random(seed)
    found: list[dict[str, Any]] = []
    for number in range(count):
        user = chance.randrange(users)
        # Few moments, so that facts of a user tie in event time, in both times, and altogether.
        at_us = NOW_US - (count - number) * SECOND_US // 10 - chance.choice([0, 0, 1, 5, 3600]) * SECOND_US
        at_us -= at_us % (20 * SECOND_US)
        value = message(user, at_us, chance.randrange(50), at_us + chance.choice([0, 0, SECOND_US]))
        if chance.random() < poison:
            value = chance.choice(
                [b"{", b"", b'{"user": 1}', message("x", at_us, 1), message(1, at_us, 1, amount="many")]
            )
        found.append({"value": value, "key": str(user).encode()})
        if chance.random() < 0.05:
            found.append(found[chance.randrange(max(0, len(found) - 50), len(found))])
    return found


def newest(messages: Sequence[Mapping[str, Any]]) -> dict[int, set[tuple[float, str, int]]]:
    """For each user the values of the newest fact; several where they tie in both times."""
    times: dict[int, tuple[str, str]] = {}
    found: dict[int, set[tuple[float, str, int]]] = {}
    for each in messages:
        if _is_usable(each["value"]):
            row = json.loads(each["value"])
            user, time = row["user"], (row["at"], row["known"])
            if time > times.get(user, ("", "")):
                times[user], found[user] = time, set()
            if time == times[user]:
                found[user].add((row["amount"], row["page"], row["n"]))
    return found


def windows(messages: Sequence[Mapping[str, Any]]) -> dict[int, tuple[float, int, int]]:
    """For each user the sum and the greatest within an hour before now and the count within a day.

    Facts are a set: a message that was sent twice counts once, as do two that agree in all that is aggregated.
    """
    facts = set()
    for each in messages:
        if _is_usable(each["value"]):
            row = json.loads(each["value"])
            facts.add((row["user"], row["at"], row["known"], row["amount"], row["n"]))
    found: dict[int, tuple[float, int, int]] = {}
    for user in {fact[0] for fact in facts}:
        own = [(to_us(at), amount, n) for who, at, _, amount, n in facts if who == user]
        hour = [(amount, n) for at, amount, n in own if NOW_US - duration_us(HOUR) < at <= NOW_US]
        day = sum(NOW_US - 24 * duration_us(HOUR) < at <= NOW_US for at, _, _ in own)
        total = sum(amount for amount, _ in hour) if hour else None
        found[user] = (total, max((n for _, n in hour), default=None), day)  # type: ignore[assignment]
    return found


def history(folder: Path) -> list[tuple[Any, ...]]:
    """The rows of the history of `views`, sorted."""
    tables = [pq.read_table(path) for path in (folder / "clicks.parquet.appended").glob("*.parquet")]
    columns = [[value for table in tables for value in table[name].to_pylist()] for name in ("user", "n", "amount")]
    times = [[us for table in tables for us in table[name].cast(pa.int64()).to_pylist()] for name in ("at", "known")]
    return sorted(zip(*columns, *times, strict=True))


def usable(messages: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """The messages that can be used as rows of the history, sorted; one that was sent twice is there twice."""
    rows = [json.loads(each["value"]) for each in messages if _is_usable(each["value"])]
    return sorted((row["user"], row["n"], row["amount"], to_us(row["at"]), to_us(row["known"])) for row in rows)


def expected(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The messages without those that can be used and that strict `views` put apart."""
    return [each for each in messages if not _is_usable(each["value"]) or json.loads(each["value"])["n"] != UNEXPECTED]


def poisoned(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many messages cannot be used."""
    return sum(not _is_usable(each["value"]) for each in messages)


def _is_usable(value: bytes) -> bool:
    try:
        row = json.loads(value)
    except ValueError:
        return False
    return row.keys() >= {"user", "at"} and isinstance(row["user"], int) and isinstance(row["amount"], float)
