"""Saved datasets: written, read, and made again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import FeatureService, FeatureStore, Field
from tiffin.definitions import SavedDataset, SavedDatasetFileStorage, TableProfiler, ValidationReference
from tiffin.errors import (
    DefinitionError,
    InputError,
    NotFoundError,
    RequestError,
    SourceError,
    StoreError,
    ValidationError,
)
from tiffin.operations.retrieve import check_like
from tiffin.types import Int64
from unit.on_demand.project import NOON_US, STATS, frame, on_demand, opened

STORAGE = SavedDatasetFileStorage(path="sets/first.parquet")
MADE = on_demand(lambda row: {"out": row["amount"]}, singleton=True)
FEATURES = ["stats:rating", "made:out", "stats:city"]


def saved(store: FeatureStore, **options: object) -> SavedDataset:
    job = store.get_historical_features(frame(), FEATURES, **options)  # type: ignore[arg-type]
    return store.create_saved_dataset(job, "first", STORAGE, tags={"team": "a"})


def test_a_dataset_is_written_and_read_again(tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    dataset = saved(store)
    expected = store.get_historical_features(frame(), FEATURES).to_arrow()
    assert dataset.to_arrow() == expected
    found = store.get_saved_dataset("first")
    assert found == dataset
    assert found.to_df()["rating"].tolist()[:2] == [4.5, 2.0]
    assert found.features == ("stats:rating", "made:out", "stats:city")
    assert (found.join_keys, found.rows, found.definitions_version) == (("driver_id",), 3, 1)
    assert (found.min_event_us, found.max_event_us) == (NOON_US, NOON_US)
    assert list(found.sources) == ["stats.parquet"]
    assert [each.name for each in store.list_saved_datasets(tags={"team": "a"})] == ["first"]
    assert store.list_saved_datasets(tags={"team": "b"}) == []


@pytest.mark.parametrize("full_feature_names", [False, True])
def test_making_it_again_says_what_differs(full_feature_names: bool, tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    saved(store, full_feature_names=full_feature_names)
    names = ["stats__rating", "made__out", "stats__city"] if full_feature_names else ["rating", "out", "city"]
    same = store.compare_saved_dataset("first")
    assert same.is_same
    assert (same.rows, dict(same.different), same.changed_sources) == (3, dict.fromkeys(names, 0), ())
    table = pq.read_table(tmp_path / "stats.parquet")
    table = table.set_column(table.schema.get_field_index("rating"), "rating", pa.array([4.5, 9.0]))
    pq.write_table(table, tmp_path / "stats.parquet")
    now = store.compare_saved_dataset("first")
    assert (now.is_same, list(now.different.values()), now.changed_sources) == (False, [1, 0, 0], ("stats.parquet",))
    assert now.definitions_version == (1, 2)


def test_a_service_is_remembered(tmp_path: Path) -> None:
    service = FeatureService(name="model", features=[STATS.with_name("mine")[["trips"]]])
    store = opened(tmp_path, service)
    job = store.get_historical_features(frame(), store.get_feature_service("model"), full_feature_names=True)
    store.create_saved_dataset(job, "of_service", "set.parquet")
    assert store.get_saved_dataset("of_service").feature_service_name == "model"
    assert dict(store.compare_saved_dataset("of_service").different) == {"mine__trips": 0}


def test_nothing_is_replaced_unless_asked(tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    saved(store)
    job = store.get_historical_features(frame(drivers=(1,)), FEATURES)
    with pytest.raises(DefinitionError, match="saved dataset 'first' already"):
        store.create_saved_dataset(job, "first", "other.parquet")
    with pytest.raises(StoreError, match="is there already"):
        store.create_saved_dataset(job, "second", STORAGE)
    assert store.get_saved_dataset("first").rows == 3
    assert store.create_saved_dataset(job, "first", STORAGE, allow_overwrite=True).rows == 1
    with pytest.raises(InputError, match="names no file"):
        store.create_saved_dataset(job, "third", object())


def test_a_dataset_outlives_an_apply_of_everything_and_can_be_removed(tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    dataset = saved(store)
    store.apply([STATS], partial=False)
    assert [each.name for each in store.list_saved_datasets()] == ["first"]
    with pytest.raises(NotFoundError):
        store.compare_saved_dataset("first")
    store.apply([], [dataset])
    with pytest.raises(NotFoundError, match="no saved dataset 'first'"):
        store.get_saved_dataset("first")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    saved(store)
    (tmp_path / "sets" / "first.parquet").unlink()
    with pytest.raises(SourceError, match=r"saved dataset first: .*first\.parquet cannot be read"):
        store.get_saved_dataset("first").to_arrow()
    with pytest.raises(RequestError, match="does not know where"):
        SavedDataset(name="x", features=[], join_keys=[], storage=STORAGE).to_df()


def test_an_empty_dataset_has_no_times(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.apply([on_demand(lambda row: row, singleton=True, schema=[Field(name="out", dtype=Int64)])])
    job = store.get_historical_features(frame(drivers=()), ["stats:rating"])
    dataset = store.create_saved_dataset(job, "empty", "empty.parquet")
    assert (dataset.rows, dataset.min_event_us, dataset.max_event_us) == (0, None, None)
    assert isinstance(dataset.to_df(), pd.DataFrame)
    assert store.compare_saved_dataset("empty").is_same


# --- Validation references -------------------------------------------------------------------------------------------


def test_a_training_set_that_is_like_the_reference_passes(tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    store.apply(saved(store).as_reference("like_first"))
    reference = store.get_validation_reference("like_first")
    assert [found.name for found in store.list_validation_references()] == ["like_first"]
    job = store.get_historical_features(frame(), FEATURES)
    assert job.to_df(validation_reference=reference).shape == (3, 6)
    assert job.to_arrow(validation_reference=reference).num_rows == 3


DEVIATIONS = {
    "missing": (lambda table: table.drop_columns(["rating"]), "rating: missing is none"),
    "type": (
        lambda table: changed(table, "rating", ["a", "b", "c"]),
        "rating: type is string, in the reference double",
    ),
    "nulls": (lambda table: changed(table, "out", pa.nulls(3, pa.int64())), "out: null_share is 1, in the reference 0"),
    "mean": (lambda table: changed(table, "out", [30, 30, 30]), "out: mean is 30, in the reference 20"),
    "range": (lambda table: changed(table, "out", [0, 20, 40]), "out: range is 0 to 40, in the reference 10 to 30"),
    "values": (
        lambda table: changed(table, "city", ["Rome", "Oslo", None]),
        "city: new_values is 0.500 of the rows, such",
    ),
}


def changed(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(
        table.schema.get_field_index(name), name, values if isinstance(values, pa.Array) else [values]
    )


@pytest.mark.parametrize("case", DEVIATIONS)
def test_in_what_a_training_set_differs_is_said(case: str, tmp_path: Path) -> None:
    change, message = DEVIATIONS[case]
    reference = saved(opened(tmp_path, MADE)).as_reference("r")
    assert reference.dataset is not None
    with pytest.raises(ValidationError, match=message):
        check_like(change(reference.dataset.to_arrow()), reference)


def test_a_profiler_may_allow_more(tmp_path: Path) -> None:
    dataset = saved(opened(tmp_path, MADE))
    reference = dataset.as_reference("r", TableProfiler(mean=10.0, range=1.0))
    check_like(changed(dataset.to_arrow(), "out", [0, 20, 40]), reference)
    with pytest.raises(DefinitionError, match="mean is -1"):
        TableProfiler(mean=-1)


def test_a_reference_needs_its_dataset(tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    with pytest.raises(NotFoundError, match="saved dataset 'gone', which does not exist"):
        store.apply(ValidationReference(name="r", dataset_name="gone"))
    dataset = saved(store)
    store.apply(dataset.as_reference("r"))
    with pytest.raises(DefinitionError, match="saved dataset first cannot be removed"):
        store.apply([], [dataset])
    job = store.get_historical_features(frame(), FEATURES)
    with pytest.raises(RequestError, match="does not have its dataset"):
        job.to_df(validation_reference=ValidationReference(name="r", dataset_name="first"))
