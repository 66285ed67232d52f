"""DEF-4: readers of an older version keep their answers, and can ask for it by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiffin import FeatureService, FeatureStore, FeatureView, Field
from tiffin.errors import NotFoundError, RequestError
from tiffin.types import Float64, String
from unit.on_demand.project import DRIVER, NOON_US, SOURCE, frame, on_demand, opened, rows

TODAY = NOON_US - 86_400_000_000, NOON_US


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Version 2 of ``stats`` has the trips as text: another type, so another table."""
    store = opened(tmp_path)
    store.apply([view(trips=String, rating=Float64)])
    store.materialize(*TODAY)
    return store


def view(**features: object) -> FeatureView:
    fields = [Field(name=name, dtype=dtype) for name, dtype in features.items()]  # type: ignore[arg-type]
    return FeatureView(name="stats", entities=[DRIVER], source=SOURCE, schema=fields)


def answers(store: FeatureStore, features: object) -> tuple[object, object]:
    offline = store.get_historical_features(frame(), features, full_feature_names=True).to_arrow()  # type: ignore[arg-type]
    online = store.get_online_features(features, rows(), full_feature_names=True).to_dict()  # type: ignore[arg-type]
    names = offline.column_names[3:]
    return {name: offline[name].to_pylist() for name in names}, {name: online[name] for name in names}


def test_versions_are_read_side_by_side(store: FeatureStore) -> None:
    expected = {"stats@v1__trips": [3, None, None], "stats__trips": ["3", None, None]}
    assert answers(store, ["stats@v1:trips", "stats:trips"]) == (expected, expected)
    assert answers(store, ["stats@latest:trips"])[1] == {"stats__trips": ["3", None, None]}
    assert answers(store, ["stats@v2:trips"])[0] == {"stats@v2__trips": ["3", None, None]}


def test_a_service_and_a_function_may_use_an_older_version(store: FeatureStore) -> None:
    service = FeatureService(name="old", features=["stats@v1:trips"])
    store.apply([service])
    expected = {"stats@v1__trips": [3, None, None]}
    assert answers(store, store.get_feature_service("old")) == (expected, expected)
    (use,) = service.uses
    made = on_demand(lambda row: {"out": row["trips"]}, singleton=True, sources=[use])
    store.apply([made])
    assert answers(store, ["made:out"])[0] == {"made__out": [3, None, None]}


def test_versions_are_listed(store: FeatureStore) -> None:
    newest, first = store.list_feature_view_versions("stats")
    assert (newest["version"], first["version"]) == (2, 1)
    assert newest["features"] == ("trips", "rating")
    assert newest["table"] != first["table"]


def test_a_version_that_never_was_is_refused(store: FeatureStore) -> None:
    for read in (
        lambda: store.get_online_features(["stats@v3:trips"], rows()),
        lambda: store.get_historical_features(frame(), ["stats@v3:trips"]),
    ):
        with pytest.raises(NotFoundError, match=r"(?s)stats has no version 3.*v2, v1"):
            read()
    with pytest.raises(NotFoundError, match="stat"):
        store.list_feature_view_versions("stat")
    for wrong in ("stats@2:trips", "stats@:trips", "stats@v1:", "@v1:trips"):
        with pytest.raises(RequestError, match="is not a feature reference"):
            store.get_online_features([wrong], rows())


def test_a_feature_that_only_the_old_version_has(store: FeatureStore) -> None:
    with pytest.raises(NotFoundError, match="no feature 'city'"):
        store.get_online_features(["stats:city"], rows())
    assert answers(store, ["stats@v1:city"])[1] == {"stats@v1__city": ["Oslo", "Bergen", None]}
