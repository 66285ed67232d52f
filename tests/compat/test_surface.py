"""What Feast's objects have is there, or is refused with what to use instead; never a bare error of Python's."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    KafkaSource,
    ManualClock,
    OnDemandFeatureView,
    PushSource,
    RepoConfig,
)
from tiffin.compat.gaps import DEFINITION, FEATURE_STORE, FEATURE_VIEW, ONLINE_RESPONSE, RETRIEVAL_JOB
from tiffin.definitions import SavedDatasetFileStorage
from tiffin.errors import (
    DefinitionError,
    DefinitionTypeError,
    MissingAttributeError,
    NotFoundError,
    UnsupportedError,
)
from tiffin.types import Float64

TEN = datetime(2024, 6, 1, 10, tzinfo=UTC)
NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
FEATURES = ["stats:rate"]


def view(name: str = "stats", **arguments: Any) -> FeatureView:
    source = FileSource(name="rides", path="rides.parquet", timestamp_field="ts")
    driver = Entity(name="driver", join_keys=["driver_id"])
    defaults = {"source": source, "entities": [driver], "schema": [Field(name="rate", dtype=Float64)]}
    return FeatureView(name=name, **{**defaults, **arguments})


def open_store(folder: Path, **settings: Any) -> FeatureStore:
    config = RepoConfig(**{"project": "p", "repo_path": folder, "registry": "registry.db", **settings})
    return FeatureStore(config=config, clock=ManualClock(NOON))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    table = pa.table({"driver_id": [1, 2], "ts": [TEN, TEN + timedelta(hours=1)], "rate": [0.5, 0.25]})
    pq.write_table(table, tmp_path / "rides.parquet")
    with open_store(tmp_path) as opened:
        opened.apply([view()])
        yield opened


def _rows() -> pd.DataFrame:
    return pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [NOON, TEN]})


#: How the objects are got whose gaps are tested.
OBJECTS: dict[str, tuple[Callable[[FeatureStore], Any], dict[str, str]]] = {
    "store": (lambda store: store, FEATURE_STORE),
    "view": (lambda store: store.get_feature_view("stats"), FEATURE_VIEW),
    "entity": (lambda store: store.get_entity("driver"), DEFINITION),
    "answer": (lambda store: store.get_online_features(FEATURES, [{"driver_id": 1}]), ONLINE_RESPONSE),
    "job": (lambda store: store.get_historical_features(_rows(), FEATURES), RETRIEVAL_JOB),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_what_an_object_lacks_is_refused_with_what_to_use_instead(store: FeatureStore, kind: str) -> None:
    get, gaps = OBJECTS[kind]
    found = get(store)
    for name, hint in gaps.items():
        with pytest.raises(UnsupportedError, match=rf"^{type(found).__name__}\.{name} is not supported yet") as refused:
            getattr(found, name)
        assert refused.value.hint == hint
        assert not hasattr(found, name), "code that asks before it uses something goes on"


def test_a_mistyped_name_gets_the_nearest_one(store: FeatureStore) -> None:
    untyped: Any = store
    with pytest.raises(MissingAttributeError, match=r"(?s)no FeatureStore\.get_online_feature\n.*get_online_features"):
        _ = untyped.get_online_feature
    with pytest.raises(MissingAttributeError) as refused:
        _ = untyped.xyzzy
    assert refused.value.hint == ""
    with pytest.raises(AttributeError, match="_hidden") as private:
        _ = untyped._hidden
    assert not isinstance(private.value, UnsupportedError)


def test_a_property_that_fails_keeps_its_own_error() -> None:
    class Broken(FeatureStore):
        @property
        def project(self) -> str:
            return "".no_such_method()  # type: ignore[attr-defined,no-any-return]

    with pytest.raises(AttributeError, match="'str' object has no attribute 'no_such_method'"):
        _ = Broken.__new__(Broken).project


def test_definitions_can_be_copied() -> None:
    stats = view()
    assert copy.deepcopy(stats) == copy.copy(stats) == stats


def test_a_store_can_be_made_ready_and_closed_in_an_event_loop(store: FeatureStore) -> None:
    async def served() -> Any:
        await store.initialize()
        row = {"driver_id": [1], "ts": [NOON], "rate": [0.75]}
        await store.write_to_online_store_async("stats", inputs=row)
        answer = await store.get_online_features_async(FEATURES, [{"driver_id": 1}])
        await store.close()
        return answer.to_dict()

    assert asyncio.run(served()) == {"driver_id": [1], "rate": [0.75]}


def test_stream_views_are_those_whose_source_is_a_stream(store: FeatureStore) -> None:
    history = FileSource(name="rides", path="rides.parquet", timestamp_field="ts")
    kafka = KafkaSource(name="k", topic="t", timestamp_field="ts", message_format={"json": {}}, batch_source=history)
    pushed = PushSource(name="pushed", batch_source=history)
    store.apply([view("live", source=kafka), view("fresh", source=pushed)])
    assert [each.name for each in store.list_stream_feature_views()] == ["live"]
    assert [each.name for each in store.list_batch_feature_views()] == ["fresh", "stats"]
    assert len(store.list_feature_views()) == 3
    assert store.get_stream_feature_view("live").name == "live"
    with pytest.raises(NotFoundError, match="is no stream feature view"):
        store.get_stream_feature_view("fresh")


def test_a_retrieval_is_saved_and_read_in_one_call_each(store: FeatureStore) -> None:
    storage = SavedDatasetFileStorage(path="saved.parquet")
    saved = store.create_dataset_from_retrieval("saved", _rows(), FEATURES, storage)
    assert (saved.name, saved.rows) == ("saved", 2)
    assert store.retrieve_dataset_data("saved", limit=1)["rate"].tolist() == [0.25]


def test_a_retrieval_says_what_it_is_about(store: FeatureStore) -> None:
    job = store.get_historical_features(_rows(), FEATURES)
    about = job.metadata
    assert (about.features, about.keys) == (["stats:rate"], ["driver_id"])
    assert (about.min_event_timestamp, about.max_event_timestamp) == (TEN, NOON)
    assert not job.supports_remote_storage_export()
    empty = store.get_historical_features(_rows().head(0), FEATURES).metadata
    assert (empty.min_event_timestamp, empty.max_event_timestamp) == (None, None)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda store: store.materialize(TEN, NOON, version="v2"), r"materialize: version='v2'"),
        (lambda store: store.materialize(TEN, NOON, run_async=True), "materialize: run_async"),
        (lambda store: store.materialize_incremental(NOON, version="v2"), "materialize_incremental: version='v2'"),
        (lambda store: store.materialize_incremental(NOON, run_async=True), "materialize_incremental: run_async"),
        (lambda store: store.apply([view()], no_promote=True), "apply: no_promote"),
        (lambda store: FeatureStore(config=store.config, embedding_provider=object()), "embedding_provider"),
    ],
)
def test_an_argument_that_cannot_be_done_is_refused(
    store: FeatureStore, call: Callable[[FeatureStore], object], what: str
) -> None:
    with pytest.raises(UnsupportedError, match=rf"{what} is not supported yet\n"):
        call(store)
    assert store.materialization_runs() == []


def test_arguments_that_change_nothing_are_accepted(store: FeatureStore) -> None:
    store.plan([view()], skip_feature_view_validation=True)
    store.apply([view()], skip_feature_view_validation=True, no_promote=False)
    common: dict[str, Any] = {"full_feature_names": True, "version": "latest", "force": True, "run_async": False}
    assert store.materialize(TEN, NOON, ["stats"], False, **common).rows == 2
    assert store.materialize_incremental(NOON, ["stats"], **common).rows == 2


def test_a_version_is_the_latest_or_refused(store: FeatureStore) -> None:
    assert view(version="Latest") == view()
    for wrong in ("junk", "1", "", "v", "v1.2"):
        with pytest.raises(DefinitionError, match=f"has the version '{wrong}'"):
            view(version=wrong)
    with pytest.raises(DefinitionTypeError, match="version"):
        view(version=1)
    for pin in ("v1", "v99", "version0"):
        with pytest.raises(UnsupportedError, match=rf"(?s)stats cannot be pinned to version '{pin}'.*view@v1:feature"):
            store.plan([view(version=pin)])


def test_an_on_demand_view_is_not_pinned_either(store: FeatureStore) -> None:
    def double(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"twice": inputs["rate"]}

    computed = OnDemandFeatureView(
        name="computed",
        sources=[view()],
        schema=[Field(name="twice", dtype=Float64)],
        udf=double,
        mode="python",
        version="v1",
    )
    with pytest.raises(UnsupportedError, match="computed cannot be pinned"):
        store.plan([computed])


def test_the_mode_of_a_view_is_text_that_the_registry_keeps(store: FeatureStore) -> None:
    store.apply([view(mode="python", enable_validation=True)])
    assert store.get_feature_view("stats").mode == "python"
    with pytest.raises(DefinitionTypeError, match="mode"):
        view(mode=3)


def test_a_service_that_is_to_be_computed_beforehand_gives_the_same(store: FeatureStore) -> None:
    store.apply([FeatureService(name="m", features=[view()], precompute_online=True)])
    store.materialize(TEN, NOON)
    rows = [{"driver_id": 1}]
    asked = store.get_online_features(store.get_feature_service("m"), rows)
    assert asked.to_dict() == store.get_online_features(FEATURES, rows).to_dict()
