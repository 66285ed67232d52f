"""Labels of several people: each one's newest counts, and the policy of the view says which one holds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import ConflictPolicy, Entity, FeatureStore, Field, FileSource, LabelView, ManualClock
from tiffin.config import RepoConfig
from tiffin.errors import DefinitionError, DefinitionTypeError, RequestError, UnsupportedError
from tiffin.time import to_us
from tiffin.types import Array, Float64, Int64, String, ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
MINUTE_US = 60_000_000
PAYMENT = Entity(name="payment", value_type=ValueType.INT64)
FIELDS = [Field(name="fraud", dtype=Int64), Field(name="note", dtype=String), Field(name="labeler", dtype=String)]
UTC_US = pa.timestamp("us", "UTC")
VOTE, PRIORITY = ConflictPolicy.MAJORITY_VOTE, ConflictPolicy.LABELER_PRIORITY

#: payment, minutes after noon, known minutes after noon, labeler, fraud, note
Label = tuple[int, int, int, str, int | None, str | None]
LABELS: list[Label] = [
    (1, 0, 0, "ann", 1, "a"),
    (1, 1, 1, "bob", 0, "b"),
    (1, 2, 2, "cem", 0, None),
    (1, 3, 9, "ann", 0, "late"),
    (2, 0, 0, "bob", 1, "x"),
    (2, 5, 5, "cem", 0, "y"),
    (3, 0, 0, "dee", None, "only"),
]


def labels(policy: ConflictPolicy, **arguments: Any) -> LabelView:
    source = FileSource(path="labels.parquet", timestamp_field="ts", created_timestamp_column="known")
    entities = arguments.pop("entities", [PAYMENT])
    return LabelView(
        name="labels", entities=entities, source=source, schema=FIELDS, conflict_policy=policy, **arguments
    )


def opened(folder: Path, view: LabelView, facts: list[Label] = LABELS, **options: Any) -> FeatureStore:
    payment, at, known, labeler, fraud, note = (list(column) for column in zip(*facts, strict=True))
    table = pa.table(
        {
            "payment": pa.array(payment, pa.int64()),
            "ts": pa.array([NOON_US + minute * MINUTE_US for minute in at], UTC_US),
            "known": pa.array([NOON_US + minute * MINUTE_US for minute in known], UTC_US),
            "labeler": labeler,
            "fraud": pa.array(fraud, pa.int64()),
            "note": pa.array(note, pa.string()),
        }
    )
    pq.write_table(table, folder / "labels.parquet")
    store = FeatureStore(config=RepoConfig(project="tests", repo_path=folder, **options), clock=ManualClock(NOON_US))
    store.apply([PAYMENT, view])
    return store


def asked(
    store: FeatureStore, rows: list[tuple[int | None, int]], *names: str, **options: Any
) -> list[tuple[Any, ...]]:
    """The labels of payments at minutes after noon."""
    spine = pa.table(
        {
            "payment": pa.array([payment for payment, _ in rows], pa.int64()),
            "event_timestamp": pa.array([NOON_US + minute * MINUTE_US for _, minute in rows], UTC_US),
        }
    )
    features = [f"labels:{name}" for name in names or ("fraud", "note", "labeler")]
    table = store.get_historical_features(spine, features, **options).to_arrow()
    return list(zip(*[table[name].to_pylist() for name in names or ("fraud", "note", "labeler")], strict=True))


def test_first_of_the_listed_people_counts_whatever_others_say_later(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(PRIORITY, labeler_priorities=["bob", "ann"]))
    rows: list[tuple[int | None, int]] = [(1, 0), (1, 2), (1, 3), (2, 9), (3, 0), (1, -1), (9, 9), (None, 9)]
    assert asked(store, rows) == [
        (1, "a", "ann"),
        (0, "b", "bob"),
        (0, "b", "bob"),
        (1, "x", "bob"),
        (None, "only", "dee"),
        (None, None, None),
        (None, None, None),
        (None, None, None),
    ]


def test_people_who_are_not_listed_come_last_the_newest_first(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(PRIORITY, labeler_priorities=["nobody"]))
    assert asked(store, [(1, 2), (1, 3), (2, 4), (2, 5)]) == [
        (0, None, "cem"),
        (0, "late", "ann"),
        (1, "x", "bob"),
        (0, "y", "cem"),
    ]


def test_value_of_most_people_counts_and_of_several_the_newest(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(VOTE))
    assert asked(store, [(1, 0), (1, 1), (1, 2), (1, 3), (2, 5), (3, 0), (4, 0)]) == [
        (1, "a", "majority_vote"),
        (0, "b", "majority_vote"),
        (0, "b", "majority_vote"),
        (0, "late", "majority_vote"),
        (0, "y", "majority_vote"),
        (None, "only", "majority_vote"),
        (None, None, None),
    ]


def test_label_counts_from_the_moment_it_was_known_when_asked_so(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(VOTE), point_in_time="known")
    assert asked(store, [(1, 8), (1, 9)], "note") == [("b",), ("late",)]
    store = opened(tmp_path, labels(VOTE))
    assert asked(store, [(1, 8), (1, 9)], "note") == [("late",), ("late",)]


def test_old_labels_have_no_vote(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(VOTE, ttl=timedelta(minutes=2)))
    spine = pa.table(
        {"payment": [1, 1, 1, 9], "event_timestamp": pa.array([NOON_US + m * MINUTE_US for m in (2, 5, 6, 6)], UTC_US)}
    )
    job = store.get_historical_features(spine, ["labels:fraud", "labels:note"])
    table = job.to_arrow()
    assert table["fraud"].to_pylist() == [0, 0, None, None]
    assert table["note"].to_pylist() == ["b", "late", None, None]
    (report,) = job.report.views
    assert (report.rows, report.matched, report.expired, report.missing) == (4, 2, 1, 1)


def test_view_without_entities_is_asked_for_every_row(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(VOTE, entities=[]))
    assert asked(store, [(None, 2), (7, 9)], "fraud") == [(0,), (0,)]


def expected(facts: list[Label], payment: int, minute: int, policy: ConflictPolicy, listed: list[str]) -> Any:
    """The label by the words of the policy, from a list of facts."""
    newest: dict[str, Label] = {}
    for fact in sorted(facts, key=lambda f: (f[1], f[2])):
        if fact[0] == payment and fact[1] <= minute:
            newest[fact[3]] = fact
    ballots = sorted(newest.values(), key=lambda f: (f[1], f[2], f[3]), reverse=True)
    if policy is PRIORITY:
        ranks = {name: number for number, name in enumerate(listed)}
        ballots.sort(key=lambda f: ranks.get(f[3], len(ranks)))
        return ballots[0][4] if ballots else None
    votes = Counter(f[4] for f in ballots if f[4] is not None)
    return max(votes, key=lambda value: votes[value], default=None)  # the first, so the newest, of several


@pytest.mark.parametrize("policy", [VOTE, PRIORITY])
@pytest.mark.parametrize("seed", range(5))
def test_many_labels_are_resolved_by_the_words_of_the_policy(tmp_path: Path, policy: ConflictPolicy, seed: int) -> None:
    chance = random.Random(seed)
    people, listed = ["ann", "bob", "cem", "dee"], ["cem", "ann"]
    # No two facts of one payment have the same times, so that their order is told by these.
    moments = {payment: chance.sample(range(1000), 12) for payment in range(10)}
    facts: list[Label] = [
        (payment, at, at + chance.randrange(50), chance.choice(people), chance.choice([0, 1, 2, None]), None)
        for payment, times in moments.items()
        for at in times
    ]
    chance.shuffle(facts)
    store = opened(tmp_path, labels(policy, labeler_priorities=listed if policy is PRIORITY else None), facts)
    rows: list[tuple[int | None, int]] = [(chance.randrange(11), chance.randrange(1100)) for _ in range(300)]
    assert asked(store, rows, "fraud") == [
        (expected(facts, payment or 0, minute, policy, listed),) for payment, minute in rows
    ]


def test_resolved_labels_are_not_served_and_not_loaded(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(VOTE))
    assert not store.get_label_view("labels").online
    assert store.materialize(NOON_US - MINUTE_US, NOON_US).rows == 0
    with pytest.raises(UnsupportedError, match="MAJORITY_VOTE, which holds for training sets"):
        store.get_online_features(["labels:fraud"], [{"payment": 1}])
    with pytest.raises(RequestError, match="not online"):
        store.write_to_online_store("labels", [])
    spine = pa.table({"payment": [1], "event_timestamp": pa.array([NOON_US], UTC_US)})
    job = store.get_historical_features(spine, ["labels:fraud"])
    with pytest.raises(UnsupportedError, match="not put into SQL"):
        job.to_sql()
    assert "each of labeler apart, then MAJORITY_VOTE" in job.explain()


def test_policy_is_kept_in_the_registry(tmp_path: Path) -> None:
    store = opened(tmp_path, labels(PRIORITY, labeler_priorities=["bob"]))
    with FeatureStore(config=store.config, clock=ManualClock(NOON_US)) as again:
        found = again.get_label_view("labels")
        assert (found.conflict_policy, found.labeler_priorities) == (PRIORITY, ("bob",))
        assert asked(again, [(2, 9)], "labeler") == [("bob",)]


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: labels(PRIORITY), DefinitionError, "has no labeler_priorities"),
        (lambda: labels(VOTE, labeler_priorities=["ann"]), DefinitionError, "without their policy"),
        (lambda: labels(PRIORITY, labeler_priorities="ann"), DefinitionTypeError, "labeler_priorities"),
        (lambda: labels(PRIORITY, labeler_priorities=[1]), DefinitionTypeError, "labeler_priorities"),
        (lambda: labels(VOTE, labeler_field="fraud"), DefinitionTypeError, "must be String"),
        (
            lambda: LabelView(
                name="l",
                source=FileSource(path="a", timestamp_field="ts"),
                schema=[Field(name="labeler", dtype=String), Field(name="tags", dtype=Array(Float64))],
                conflict_policy=VOTE,
            ),
            DefinitionTypeError,
            "no majority",
        ),
    ],
)
def test_policy_that_cannot_hold_is_refused(build: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build()
