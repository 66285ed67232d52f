"""Training sets held to what a function expects of them, in terms of great_expectations."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tiffin.definitions import FunctionCode, GEProfiler, ValidationReference, ge_profiler
from tiffin.errors import (
    BackendNotFoundError,
    DefinitionError,
    FunctionError,
    RequestError,
    UnsupportedError,
    ValidationError,
)
from tiffin.operations.retrieve import check_like
from tiffin.transforms import suites
from unit.offline.test_saved_datasets import FEATURES, MADE, changed, saved
from unit.on_demand.project import frame, opened

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("great_expectations") is None,
    reason="great_expectations is not installed: pip install 'tiffin[ge]'",
)


@ge_profiler
def by_methods(dataset: Any) -> Any:
    """As functions were written before 1.0."""
    mean = dataset["out"].mean()
    assert isinstance(dataset, pd.DataFrame)
    result = dataset.expect_column_mean_to_be_between("out", mean * 0.9, max_value=np.float64(mean * 1.1))
    assert result.success
    dataset.expect_column_values_to_be_in_set("city", list(dataset["city"].dropna()), mostly=0.5, result_format="BASIC")
    # Not met by the dataset itself, and so not expected of others.
    assert not dataset.expect_table_row_count_to_be_between(min_value=np.int64(100)).success
    return dataset.get_expectation_suite()


@ge_profiler(with_feature_metadata=True)
def by_classes(dataset: Any) -> Any:
    """As they are written now."""
    import great_expectations as gx

    mean = gx.expectations.ExpectColumnMeanToBeBetween(column="out", min_value=float(dataset["out"].min()))
    return gx.ExpectationSuite(name="mine", expectations=[mean])


@ge_profiler
def failing(dataset: Any) -> Any:
    return dataset["gone"]


@ge_profiler
def without_result(dataset: Any) -> Any:
    dataset.expect_column_to_exist("out")


@ge_profiler
def misspelt(dataset: Any) -> Any:
    dataset.expect_column_means_to_be_between("out", 0, 1)


@ge_profiler
def with_other_arguments(dataset: Any) -> Any:
    dataset.expect_column_mean_to_be_between("out", lowest=0)


@ge_profiler
def with_too_many(dataset: Any) -> Any:
    dataset.expect_column_to_exist("out", column="city")


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """PySpark, which great_expectations imports where it is installed, ends a process whose main module has no file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
        suites.great_expectations()


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Callable[[GEProfiler], ValidationReference]]:
    """Makes a reference of a dataset of three rows."""
    store = opened(tmp_path, MADE)
    dataset = saved(store)
    yield lambda profiler: dataset.as_reference("r", profiler)
    store.close()


def rows(reference: ValidationReference) -> pa.Table:
    assert reference.dataset is not None
    return reference.dataset.to_arrow()


@pytest.mark.parametrize("profiler", [by_methods, by_classes])
def test_what_meets_the_expectations_passes(reference: Any, profiler: GEProfiler) -> None:
    found = reference(profiler)
    check_like(rows(found), found)


def test_what_is_not_met_is_said(reference: Any) -> None:
    found = reference(by_methods)
    table = changed(changed(rows(found), "out", [1000, 1, 1]), "city", ["Bern", "Lima", None])
    with pytest.raises(ValidationError, match="not like saved dataset first") as raised:
        check_like(table, found)
    report = raised.value.validation_report
    assert not report.is_success
    mean, values = sorted(report.errors, key=lambda error: error.check_name)
    assert (mean.check_name, mean.column_name, mean.observed_value) == (
        "expect_column_mean_to_be_between",
        "out",
        334.0,
    )
    assert (values.check_name, values.unexpected_count) == ("expect_column_values_to_be_in_set", 2)
    assert values.check_config["mostly"] == 0.5
    assert "out: expect_column_mean_to_be_between(min_value=" in str(raised.value)
    assert report.to_dict()["errors"][0].keys() == mean.to_dict().keys()


def test_classes_of_today_are_taken_too(reference: Any) -> None:
    found = reference(by_classes)
    with pytest.raises(ValidationError, match=r"found: 0\.0"):
        check_like(changed(rows(found), "out", [0, 0, 0]), found)


def test_a_column_that_is_gone_is_said(reference: Any) -> None:
    found = reference(by_classes)
    with pytest.raises(ValidationError, match=r"out: expect_column_mean_to_be_between.*out.*"):
        check_like(rows(found).drop_columns(["out"]), found)


@pytest.mark.parametrize(
    ("profiler", "message"),
    [
        (failing, "failing fails: KeyError: 'gone'"),
        (without_result, "without_result gives a NoneType, where an ExpectationSuite is expected"),
    ],
)
def test_a_function_that_is_wrong(reference: Any, profiler: GEProfiler, message: str) -> None:
    found = reference(profiler)
    with pytest.raises(FunctionError, match=message):
        check_like(rows(found), found)


def test_an_expectation_that_is_not_there(reference: Any) -> None:
    found = reference(misspelt)
    with pytest.raises(ValueError, match=r"(?s)has no expect_column_means_to_be_between.*expectcolumnmeantobebetween"):
        check_like(rows(found), found)
    found = reference(with_other_arguments)
    with pytest.raises(ValueError, match=r"(?s)expect_column_mean_to_be_between\(column, lowest\).*it takes column"):
        check_like(rows(found), found)
    found = reference(with_too_many)
    with pytest.raises(ValueError, match="expect_column_to_exist gets too many arguments"):
        check_like(rows(found), found)


def test_the_context_of_the_process_stays(reference: Any) -> None:
    import great_expectations as gx
    from great_expectations.data_context.data_context.context_factory import project_manager

    own = gx.get_context(mode="ephemeral")
    found = reference(by_methods)
    check_like(rows(found), found)
    assert project_manager.get_current_project() is own
    assert not own.data_sources.all()


def test_it_is_kept_as_a_path_and_a_hash(tmp_path: Path) -> None:
    store = opened(tmp_path, MADE)
    store.apply(saved(store).as_reference("like_first", by_methods))
    kept = store.get_validation_reference("like_first")
    assert kept.profiler == by_methods
    assert kept.function is not None
    assert (kept.function.module, kept.function.name) == (__name__, "by_methods")
    assert "dataset.get_expectation_suite()" in kept.function.source
    job = store.get_historical_features(frame(), FEATURES)
    assert job.to_df(validation_reference=kept).shape == (3, 6)
    version = store.context.snapshot().version
    store.apply(ValidationReference(name="like_first", dataset_name="first", profiler=by_methods))
    assert store.context.snapshot().version == version
    store.apply(ValidationReference(name="like_first", dataset_name="first", profiler=by_classes))
    assert store.context.snapshot().version == version + 1


def test_a_function_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path, MADE)
    store.apply(saved(store).as_reference("like_first", by_methods))
    (listed,) = store.list_validation_references()
    monkeypatch.setattr("tiffin.definitions.function._KNOWN", {})
    job = store.get_historical_features(frame(), FEATURES[:1])
    with pytest.raises(RequestError, match="does not have its function with it"):
        job.to_df(validation_reference=listed.with_dataset(store.get_saved_dataset("first")))
    # As when the file was edited since.
    monkeypatch.setattr(sys.modules[__name__], "by_methods", GEProfiler(lambda dataset: dataset))
    with pytest.raises(FunctionError, match="by_methods is another function than was applied"):
        store.get_validation_reference("like_first")


def test_without_the_package_the_way_that_needs_nothing_is_named(
    reference: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "great_expectations", None)
    monkeypatch.setattr(suites, "great_expectations", suites.great_expectations.__wrapped__)
    found = reference(by_methods)
    with pytest.raises(BackendNotFoundError, match=r"(?s)tiffin\[ge\].*TableProfiler"):
        check_like(rows(found), found)


def test_a_suite_that_feast_keeps_is_made_when_it_is_needed(reference: Any) -> None:
    found = reference(by_methods)
    for read in (lambda: found.profile, lambda: found.dataset.get_profile(by_methods)):
        with pytest.raises(UnsupportedError, match=r"(?s)rofile is not supported yet.*validation_reference"):
            read()


@pytest.mark.parametrize("given", [3, "profile", len])
def test_what_is_no_function(given: Any) -> None:
    with pytest.raises(DefinitionError, match="is no function"):
        GEProfiler(given)


def test_a_decorated_function_is_a_profiler() -> None:
    assert isinstance(by_methods, GEProfiler)
    assert by_classes.with_feature_metadata
    assert isinstance(by_methods.function, FunctionCode)
    assert by_methods.udf is not None
    assert by_methods.udf.__name__ == "by_methods"
