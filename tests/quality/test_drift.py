"""Drift: between periods, training sets and what is served, from all numbers and from profiles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from quality.conftest import ROWS, hotter, machine, readings, readings_table
from tiffin import Aggregation, FeatureStore, FeatureView, Field
from tiffin.errors import NotFoundError, RequestError
from tiffin.quality.drift import Thresholds
from tiffin.types import Float64, UnixTimestamp


@pytest.fixture
def store(open_store: Callable[..., FeatureStore]) -> FeatureStore:
    return open_store(table=pa.concat_tables([readings_table(), hotter()]))


def test_drifted_features_are_found(store: FeatureStore) -> None:
    found = store.drift("machines", ("2024-01-01", "2024-01-31"), ("2024-02-01", "2024-02-29"))
    assert found.drifted == ("heat", "state")
    by_name = {each.column: each for each in found.columns}
    assert set(by_name) == {"heat", "state", "errors"}
    assert "psi" in by_name["heat"].beyond
    assert by_name["state"].distances["null_share"].value == pytest.approx(0.4)
    assert by_name["errors"].distances["psi"].value == 0


def test_frames_are_compared_exactly(store: FeatureStore) -> None:
    one, two = readings_table(), hotter()
    (heat,) = store.drift("machines", one, two.to_pandas(), columns=["heat"]).columns
    a, b = (table["heat"].to_numpy() for table in (one, two))
    assert heat.distances["kolmogorov_smirnov"].value == pytest.approx(scipy.stats.ks_2samp(a, b).statistic)
    expected = scipy.stats.wasserstein_distance(a, b) / a.std(ddof=1)
    assert heat.distances["wasserstein"].value == pytest.approx(expected)
    assert heat.distances["wasserstein"].bound == heat.distances["kolmogorov_smirnov"].bound == 0


def test_profiles_are_compared_within_their_bound(store: FeatureStore) -> None:
    (exact,) = store.drift("machines", readings_table(), hotter(), columns=["heat"]).columns
    periods = ("2024-01-01", "2024-01-31"), ("2024-02-01", "2024-02-29")
    (kept,) = store.drift("machines", *periods, columns=["heat"]).columns
    for name in ("kolmogorov_smirnov", "wasserstein"):
        distance = kept.distances[name]
        assert distance.bound < 0.05
        assert distance.value == pytest.approx(exact.distances[name].value, abs=distance.bound + 1e-9)
    assert kept.distances["psi"].value == pytest.approx(exact.distances["psi"].value, rel=0.05)


def test_training_set_is_compared_with_what_is_served(store: FeatureStore) -> None:
    store.materialize("2024-01-01", "2024-03-01")
    labels = readings_table().select(["machine_id", "ts"]).rename_columns(["machine_id", "event_timestamp"])
    features = ["machines:heat", "machines:errors"]
    job = store.get_historical_features(labels, features, full_feature_names=True)
    store.create_saved_dataset(job, "training", "training.parquet")
    found = store.drift("machines", "training", "online")
    assert found.drifted == ("heat",)
    assert (found.reference.of, found.current.of) == ("table", "online")


def test_trend_shows_each_kept_profile(store: FeatureStore) -> None:
    for since, until in (("2024-01-01", "2024-01-31"), ("2024-02-01", "2024-02-29")):
        store.profile("machines", since, until, keep=True)
    first, second = store.drift_trend("machines", readings_table(), ["heat"])
    assert (first.drifted, second.drifted) == ((), ("heat",))


def test_thresholds_decide_what_is_drift(store: FeatureStore) -> None:
    none = Thresholds(psi=None, null_share=None)
    assert store.drift("machines", readings_table(), hotter(), thresholds=none).drifted == ()
    strict = Thresholds(psi=None, null_share=None, chi_square=0.01, wasserstein=1.0)
    (heat,) = store.drift("machines", readings_table(), hotter(), ["heat"], strict).columns
    assert heat.beyond == ("chi_square", "wasserstein")
    with pytest.raises(RequestError, match="threshold psi is -1"):
        Thresholds(psi=-1)


def test_few_values_are_not_judged(store: FeatureStore) -> None:
    (heat,) = store.drift("machines", readings_table(20), hotter(20), ["heat"]).columns
    assert heat.beyond == ()
    assert "only 20 values" in heat.note


def test_null_column_is_told(store: FeatureStore) -> None:
    empty = readings_table().set_column(2, "heat", pa.nulls(ROWS, pa.float64()))
    (heat,) = store.drift("machines", readings_table(), empty, ["heat"]).columns
    assert heat.beyond == ("null_share",)
    assert "no values now" in heat.note


def test_other_type_is_drift(store: FeatureStore) -> None:
    texts = readings_table().set_column(2, "heat", pa.array(["warm"] * ROWS))
    (heat,) = store.drift("machines", readings_table(), texts, ["heat"]).columns
    assert heat.beyond == ("type",)


def test_numbers_that_became_nan_are_drift(store: FeatureStore) -> None:
    broken = readings_table().set_column(2, "heat", pa.array(np.full(ROWS, np.nan)))
    (heat,) = store.drift("machines", readings_table(), broken, ["heat"]).columns
    assert "psi" in heat.beyond


def test_mistakes_are_named(store: FeatureStore) -> None:
    with pytest.raises(NotFoundError, match="no column 'heet'"):
        store.drift("machines", readings_table(), hotter(), ["heet"])
    with pytest.raises(RequestError, match="no column in common"):
        store.drift("machines", pa.table({"other": [1]}))
    with pytest.raises(RequestError, match="no profile of"):
        store.drift_trend("machines", readings_table())
    with pytest.raises(NotFoundError, match="no saved dataset"):
        store.drift("machines", "unknown")
    with pytest.raises(RequestError, match="no period"):
        store.drift("machines", ("2024-01-01",))


def test_times_and_ids_of_facts_are_compared_when_they_are_named(open_store: Callable[..., FeatureStore]) -> None:
    schema = [Field(name="ts", dtype=UnixTimestamp), Field(name="heat", dtype=Float64)]
    counted = [Aggregation(column="heat", function="count", time_window=timedelta(days=1))]
    store = open_store(table=pa.concat_tables([readings_table(), hotter()]))
    by_time = FeatureView(name="by_time", entities=[machine], source=readings, schema=schema)
    by_id = FeatureView(
        name="by_id", entities=[machine], source=readings, aggregations=counted, fact_id=["errors", "state"]
    )
    store.apply([by_time, by_id])
    periods = ("2024-01-01", "2024-01-31"), ("2024-02-01", "2024-02-29")
    assert [each.column for each in store.drift("by_time", *periods).columns] == ["heat"]
    assert [each.column for each in store.drift("by_id", *periods).columns] == ["heat"]
    assert store.drift("by_time", *periods, columns=["ts"]).drifted == ("ts",)
    assert [each.column for each in store.drift("by_id", *periods, columns=["errors"]).columns] == ["errors"]
