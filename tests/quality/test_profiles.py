"""Profiles against what Python counts, and their history."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quality.conftest import ROWS, readings_table
from tiffin import FeatureStore
from tiffin.errors import NotFoundError, RequestError, StoreError
from tiffin.quality import texts as texts_module
from tiffin.quality.profiles import ColumnProfile, profile_columns
from tiffin.quality.texts import Texts

#: Under load, threads take their time.
patient = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

values = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float), st.just(math.nan)))


def profiled(column: pa.Array, parts: int = 1) -> ColumnProfile:
    table = pa.table({"c": column})
    size = max(1, -(-len(column) // parts))
    batches = [table.slice(start, size) for start in range(0, max(1, len(column)), size)]
    return profile_columns(batches, table.schema)[0]


@patient
@given(values, st.integers(1, 4))
def test_numbers_are_counted_as_python_counts_them(numbers: list[float | None], parts: int) -> None:
    found = profiled(pa.array(numbers, pa.float64()), parts)
    present = [number for number in numbers if number is not None and not math.isnan(number)]
    assert found.rows == len(numbers)
    assert found.nulls == numbers.count(None)
    assert found.nans == len(numbers) - found.nulls - len(present)
    assert found.distinct == len(set(present))
    assert found.buckets.total == len(present)
    if present:
        assert (found.minimum, found.maximum) == (min(present), max(present))
        assert found.mean == pytest.approx(math.fsum(present) / len(present), rel=1e-9, abs=1e-9)
        assert found.quantiles([0.5])[0] == pytest.approx(sorted(present)[(len(present) - 1) // 2], rel=1 / 64)
    if len(present) > 1:
        assert found.std == pytest.approx(statistics.stdev(present), rel=1e-6, abs=1e-6)
    if present:
        assert sum(count for _, _, count in found.histogram()) == len(present)


@patient
@given(st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "ä"]))), st.integers(1, 4))
def test_texts_are_counted_as_python_counts_them(texts: list[str | None], parts: int) -> None:
    found = profiled(pa.array(texts, pa.string()), parts)
    counted = Counter(text for text in texts if text is not None)
    assert dict(found.texts.counts) == counted
    assert found.distinct == len(counted)
    assert (found.texts.rest, found.texts.lost) == (0, 0)


def test_frequent_texts_are_kept_and_nearly_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_module, "_MOST_TEXTS", 5)
    random = np.random.default_rng(3)
    drawn = [f"t{number}" for number in random.geometric(0.3, 5_000)]
    found = Texts()
    for start in range(0, len(drawn), 500):
        part = pa.array(drawn[start : start + 500]).value_counts()
        found = found.with_counts(part.field(0), part.field(1))
    assert found.total == 5_000
    assert found.lost <= 5_000 / 6
    true = Counter(drawn)
    for text, count in found.counts:
        assert true[text] - found.lost <= count <= true[text]
    assert {text for text, count in true.items() if count > found.lost} <= set(dict(found.counts))


def test_many_distinct_values_are_estimated() -> None:
    random = np.random.default_rng(5)
    for count in (10_000, 300_000):
        found = profiled(pa.array(random.permutation(np.arange(count, dtype=np.int64))), parts=3)
        assert found.distinct == pytest.approx(count, rel=0.06)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([True, False, None]), "text"),
        (pa.array([[1], None, [2, 3]]), "other"),
        (pa.array([b"x", None, b""]), "other"),
        (pa.array(["a", None, "b"]).dictionary_encode(), "text"),
        (pa.array([datetime(2024, 1, 1, tzinfo=UTC), None, datetime(2024, 1, 2, tzinfo=UTC)]), "time"),
        (pa.array([1, None, 2], pa.decimal128(20, 3)), "number"),
        (pa.array([1, None, 2], pa.int32()), "number"),
        (pa.array([1.5, None, 2.5], pa.float32()), "number"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
)
def test_every_type_has_a_profile(column: pa.Array, kind: str) -> None:
    found = profiled(column)
    assert (found.kind, found.rows, found.nulls) == (kind, 3, 1)
    assert found.to_dict()["null_share"] == pytest.approx(1 / 3)
    if kind != "other":
        assert found.distinct == 2


def test_infinite_numbers_are_counted_and_not_averaged() -> None:
    found = profiled(pa.array([1.0, 3.0, math.inf, -math.inf]))
    assert (found.mean, found.minimum, found.maximum) == (2.0, -math.inf, math.inf)
    assert found.histogram() == []


def test_all_null_column_has_a_profile() -> None:
    found = profiled(pa.array([None, None], pa.float64()))
    assert (found.null_share, found.distinct, found.buckets.total) == (1.0, 0, 0)
    assert found.to_dict()["min"] is None


def test_view_is_profiled_in_a_period(open_store: Callable[..., FeatureStore]) -> None:
    store = open_store()
    found = store.profile("machines", since="2024-01-01T01:00", until="2024-01-01T02:00")
    assert found.rows == 60
    assert set(found.columns) == {"machine_id", "heat", "state", "errors", "ts"}
    assert found.column("machine_id").distinct == 60
    assert found.column("state").null_share == pytest.approx(0.1)
    heat = readings_table()["heat"].to_pylist()[60:120]
    assert found.column("heat").mean == pytest.approx(sum(heat) / 60)
    with pytest.raises(NotFoundError, match="heta"):
        found.column("heta")


def test_history_keeps_profiles_as_they_were(open_store: Callable[..., FeatureStore]) -> None:
    store = open_store()
    days = [store.profile("machines", f"2024-01-0{day}", f"2024-01-0{day + 1}", keep=True) for day in (2, 1)]
    kept = store.profiles("machines")
    assert [profile.to_dict() for profile in kept] == [days[1].to_dict(), days[0].to_dict()]
    for mine, theirs in zip(kept[0].columns.values(), days[1].columns.values(), strict=True):
        assert mine.buckets.places.tolist() == theirs.buckets.places.tolist()
        assert mine.texts == theirs.texts
    assert store.profiles("machines", of="online") == []


def test_damaged_profile_is_named(open_store: Callable[..., FeatureStore]) -> None:
    store = open_store()
    store.profile("machines", keep=True)
    (path,) = (store.config.repo_path / "data/quality/profiles/machines").glob("*.parquet")
    path.write_bytes(b"no parquet")
    with pytest.raises(StoreError, match=path.name):
        store.profiles("machines")


def test_period_without_facts_is_an_error(open_store: Callable[..., FeatureStore]) -> None:
    store = open_store()
    with pytest.raises(RequestError, match="no facts between 2023-01-01"):
        store.profile("machines", since="2023-01-01", until="2023-02-01")
    with pytest.raises(RequestError, match="is empty"):
        store.profile("machines", since="2024-02-01", until="2024-01-01")
    with pytest.raises(NotFoundError, match="machine"):
        store.profile("machine")


def test_what_is_served_is_profiled(open_store: Callable[..., FeatureStore]) -> None:
    store = open_store()
    store.materialize("2024-01-01", "2024-03-01")
    found = store.profile("machines", online=True, sample=500)
    assert (found.of, found.rows) == ("online", 500)
    assert found.column("heat").nulls == 0
    again = store.profile("machines", online=True, sample=500)
    assert again.to_dict() == found.to_dict()
    every = store.profile("machines", online=True)
    assert every.rows == ROWS
    assert every.column("heat").mean == pytest.approx(store.profile("machines").column("heat").mean)
    of_keys = store.profile("machines", online=True, keys={"machine_id": [1, 2, -5]})
    assert (of_keys.rows, of_keys.column("heat").nulls) == (3, 1)


def test_training_set_is_profiled(open_store: Callable[..., FeatureStore]) -> None:
    store = open_store()
    found = store.profile_table(readings_table().to_pandas(), "a training set")
    assert (found.subject, found.of, found.rows) == ("a training set", "table", ROWS)
    assert found.column("errors").distinct == 7
    with pytest.raises(RequestError, match="no rows"):
        store.profile_table(readings_table(0))
