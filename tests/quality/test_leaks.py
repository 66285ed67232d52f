"""Leaks in training sets, and the measures of association by which features are suspected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import contingency, spearmanr
from sklearn.metrics import roc_auc_score

from tiffin import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from tiffin.config import RepoConfig
from tiffin.errors import InputError, RequestError, ValidationError
from tiffin.operations.retrieve import RetrievalJob
from tiffin.quality.association import association, presence
from tiffin.quality.leaks import LeakLimits, check_leaks
from tiffin.time import from_us
from tiffin.types import Float64, String

HOUR_US = 3_600_000_000
START_US = 1_767_261_600_000_000
COUNT = 400


def column(values: object, type_: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, type_)])


# --- Measures against other people's ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60))
@settings(max_examples=200, deadline=None)
def test_numbers_and_two_classes_are_by_the_area_under_the_curve(pairs: list[tuple[int, bool]]) -> None:
    numbers, classes = map(list, zip(*pairs, strict=True))
    found = association(column(numbers), column(classes))
    if len(set(classes)) < 2 or len(set(numbers)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(abs(2 * roc_auc_score(classes, numbers) - 1), abs=1e-12)


def test_of_several_classes_the_one_that_is_told_best_counts() -> None:
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 4, 500)
    numbers = rng.normal(size=500) + 3.0 * (classes == 2)
    areas = [abs(2 * roc_auc_score(classes == each, numbers) - 1) for each in range(4)]
    assert association(column(numbers), column(classes)) == pytest.approx(max(areas))
    names = np.array(["a", "b", "c", "d"])[classes]
    assert association(column(numbers), column(names)) == pytest.approx(max(areas))


def test_numbers_and_a_label_of_numbers_are_by_ranks() -> None:
    rng = np.random.default_rng(2)
    label = rng.normal(size=500)
    numbers = np.exp(-label) + rng.normal(size=500).round(1)
    found = association(column(numbers), column(label))
    assert found == pytest.approx(abs(spearmanr(numbers, label).statistic))


def test_texts_and_classes_are_by_the_corrected_v() -> None:
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 3, 2_000)
    texts = np.where(rng.random(2_000) < 0.7, classes, rng.integers(0, 5, 2_000))
    table = np.zeros((5, 3), int)
    np.add.at(table, (texts, classes), 1)
    plain = contingency.association(table, method="cramer")
    phi2 = max(0.0, plain**2 * 2 - 4 * 2 / 1_999)
    expected = np.sqrt(phi2 / min(5 - 16 / 1_999 - 1, 3 - 4 / 1_999 - 1))
    assert association(column([f"t{each}" for each in texts]), column(classes)) == pytest.approx(expected)


def test_texts_that_are_all_different_tell_nothing() -> None:
    classes = column(np.random.default_rng(4).random(300) < 0.5)
    assert association(column([f"id{n}" for n in range(300)]), classes) is None
    assert association(column([f"id{n // 2}" for n in range(300)]), classes) == pytest.approx(0.0, abs=0.3)


def test_nulls_and_nan_do_not_count_and_being_there_does() -> None:
    label = [True, True, True, False, False, False]
    values = column([1.0, None, float("nan"), 1.0, 2.0, None])
    assert association(values, column(label)) == pytest.approx(0.5)
    assert presence(column([1.0, 1.0, 1.0, None, None, None]), column(label)) == pytest.approx(1.0)
    assert presence(column([1.0] * 6), column(label)) is None


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ([[1], [2], [3]], [True, False, True]),
        ([1, 2, 3], [[1], [2], [3]]),
        ([None, None, 1.0], [True, False, True]),
        ([], []),
        (["a", "b", "c"], [0.1 * n for n in range(3)] * 0 + [0.5, 0.5, 0.5]),
    ],
)
def test_where_nothing_can_be_said_nothing_is(values: list[object], label: list[object]) -> None:
    types = (pa.float64(), pa.bool_()) if not values else (None, None)
    assert association(column(values, types[0]), column(label, types[1])) is None


# --- Training sets ---------------------------------------------------------------------------------------------------

card = Entity(name="card", join_keys=["card_id"], value_type=ValueType.INT64)
rng = np.random.default_rng(7)
LABEL = (rng.random(COUNT) < 0.3).tolist()
TIMES = [from_us(START_US + n * HOUR_US) for n in range(COUNT)]


def moments(us: np.ndarray) -> pa.Array:
    return pa.array(us, pa.timestamp("us", "UTC"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Each card has a fact of a day before its row, and one of the row's moment that knows the label."""
    now, day = START_US + np.arange(COUNT) * HOUR_US, 24 * HOUR_US
    honest = rng.normal(size=COUNT) + np.array(LABEL)
    facts = {
        "card_id": np.tile(np.arange(COUNT), 2),
        "at": moments(np.concatenate([now - day, now])),
        "known": moments(np.concatenate([now - day, now + np.where(np.arange(COUNT) < 40, day, 0)])),
        "honest": np.tile(honest, 2),
        "outcome": np.concatenate([rng.normal(size=COUNT), np.array(LABEL) + 0.0]),
        "reason": [None] * COUNT + ["refund" if each else None for each in LABEL],
    }
    pq.write_table(pa.table(facts), tmp_path / "facts.parquet")
    source = FileSource(path="facts.parquet", timestamp_field="at", created_timestamp_column="known")
    fields = [
        Field(name="honest", dtype=Float64),
        Field(name="outcome", dtype=Float64),
        Field(name="reason", dtype=String),
    ]
    config = RepoConfig(project="p", registry="registry.db", online_store="memory", repo_path=tmp_path)
    with FeatureStore(config=config) as opened:
        opened.apply([FeatureView(name="v", entities=[card], source=source, ttl=timedelta(hours=36), schema=fields)])
        yield opened


def job_of(store: FeatureStore, names: list[str], **more: object) -> RetrievalJob:
    rows = {"card_id": list(range(COUNT)), "event_timestamp": TIMES, "fraud": LABEL, **more}
    return store.get_historical_features(pa.table(rows), [f"v:{name}" for name in names])


def test_facts_known_later_are_found_and_only_they(store: FeatureStore) -> None:
    found = store.check_leaks(job_of(store, ["honest"]))
    assert [(leak.kind, leak.subject, leak.found) for leak in found.leaks] == [("known_later", "v", 0.1)]
    assert check_leaks(job_of(store, ["honest"]), limits=LeakLimits(known_later=0.1)).leaks == ()
    known = store.get_historical_features(
        pa.table({"card_id": list(range(COUNT)), "event_timestamp": TIMES}),
        ["v:honest"],
        filter_by_created_timestamp=True,
    )
    assert check_leaks(known).leaks == ()


def test_feature_that_knows_the_label_is_found_by_its_strength_and_its_jump(store: FeatureStore) -> None:
    job = job_of(store, ["honest", "outcome", "reason"])
    found = store.check_leaks(job, "fraud", before=timedelta(hours=2))
    kinds = {(leak.kind, leak.subject) for leak in found.leaks}
    assert kinds == {("known_later", "v"), ("strength", "outcome"), ("jump", "outcome"), ("presence", "reason")}
    outcome = next(each for each in found.features if each.feature == "outcome")
    assert outcome.strength == pytest.approx(1.0)
    assert outcome.before is not None and outcome.before < 0.3  # noqa: PT018
    with pytest.raises(ValidationError, match="outcome: tells 100"):
        found.raise_if_leaking()


def test_coverage_is_held_against_limits(store: FeatureStore) -> None:
    rows = pa.table({"card_id": [0, 1, 2, 9_999], "event_timestamp": [TIMES[0], TIMES[90], TIMES[91], TIMES[0]]})
    job = store.get_historical_features(rows, ["v:honest"])
    limits = LeakLimits(known_later=1, expired=0.4, missing=0.2)
    assert [(leak.kind, leak.found) for leak in check_leaks(job, limits=limits).leaks] == [
        ("expired", 0.5),
        ("missing", 0.25),
    ]


def test_rows_of_the_earlier_join_are_as_of_their_earlier_times(store: FeatureStore) -> None:
    job = job_of(store, ["outcome"])
    rows = {
        "card_id": list(range(COUNT)),
        "event_timestamp": [each - timedelta(hours=2) for each in TIMES],
        "fraud": LABEL,
    }
    by_hand = store.get_historical_features(pa.table(rows), ["v:outcome"]).to_arrow()
    assert job.earlier(timedelta(hours=2)).to_arrow()["outcome"].equals(by_hand["outcome"])


def test_retrievals_are_logged_with_what_became_of_their_cells(
    store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "tiffin.retrieval"):
        job_of(store, ["honest"]).to_arrow()
    assert "known later" in caplog.text


@pytest.mark.parametrize(
    ("label", "before", "error", "words"),
    [
        ("frauds", None, InputError, "did you mean fraud"),
        ("honest", None, InputError, "is a feature"),
        ("same", None, InputError, "one value only"),
        (None, timedelta(hours=1), RequestError, "name the label"),
        ("fraud", timedelta(0), RequestError, "positive"),
    ],
)
def test_mistakes_are_told(
    store: FeatureStore, label: str | None, before: timedelta | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        store.check_leaks(job_of(store, ["honest"], same=[1] * COUNT), label, before=before)


def test_limits_are_shares() -> None:
    with pytest.raises(RequestError, match="expired is 2"):
        LeakLimits(expired=2)
