"""A view may stand in the place of a source: it has the same facts, under a ttl, types and keys of its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tiffin import FeatureView, Field
from tiffin.errors import DefinitionError, UnsupportedError
from tiffin.registry.snapshot import Snapshot, entry_of
from tiffin.types import Float32, Int64
from unit.on_demand.project import DRIVER, SOURCE, STATS, frame, opened


def derived(name: str = "short", source: object = STATS, **arguments: object) -> FeatureView:
    given = {"entities": [DRIVER], "schema": [Field(name="rating", dtype=Float32)], "ttl": timedelta(minutes=30)}
    return FeatureView(**{"name": name, "source": source, **given, **arguments})  # type: ignore[arg-type]


def test_it_has_the_facts_of_its_source_view_under_its_own_ttl(tmp_path: Path) -> None:
    store = opened(tmp_path, derived())
    table = store.get_historical_features(frame(), ["stats:rating", "short:rating"], full_feature_names=True).to_arrow()
    assert table["stats__rating"].to_pylist() == [4.5, 2.0, None]
    assert table["short__rating"].to_pylist() == [None, None, None]
    assert store.get_online_features(["short:rating"], [{"driver_id": 1}]).statuses() == {"rating": ["OUTSIDE_MAX_AGE"]}


def test_its_source_view_comes_along_and_cannot_be_removed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.apply([], [STATS])
    assert store.list_feature_views() == []
    store.apply([derived(source=[STATS])])
    assert [view.name for view in store.list_feature_views()] == ["short", "stats"]
    assert store.get_feature_view("short").source_view == "stats"
    with pytest.raises(DefinitionError, match="stats cannot be removed: feature view short uses it"):
        store.delete_feature_view("stats")


def test_views_in_a_circle_are_refused(tmp_path: Path) -> None:
    store = opened(tmp_path, derived())
    circle = FeatureView(name="stats", source=derived(), entities=[DRIVER], schema=[Field(name="trips", dtype=Int64)])
    with pytest.raises(DefinitionError):
        store.apply([circle])
    itself = FeatureView(
        name="stats", source=SOURCE, entities=[DRIVER], schema=[Field(name="trips", dtype=Int64)], source_view="short"
    )
    with pytest.raises(DefinitionError, match=r"comes from itself: (stats -> short -> stats|short -> stats -> short)"):
        store.apply([itself])


def test_several_views_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="several views"):
        derived(source=[STATS, STATS.with_name("other")])


def test_it_comes_back_from_the_registry() -> None:
    view = derived()
    snapshot = Snapshot("p", 1, tuple(entry_of(item) for item in (DRIVER, SOURCE, STATS, view)))
    assert snapshot.view("short") == view
