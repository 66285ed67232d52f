"""The feature stores: tiffin and Feast, through the same names and the same calls.

`api` is the package that is imported, `tiffin` or `feast`; the definitions, the requests and the words are the same
for both, which is what their compatible surfaces are for. They differ in the configuration, and in the entity rows:
tiffin takes the Arrow table as it was read, Feast needs pandas.
"""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import data_folder, data_path, feature_names, features_of, work_folder
from benchmarks.keys import asked_keys, key_count, sampled_keys
from benchmarks.work import Reading, Work

RANGE = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 4, 2, tzinfo=UTC))


def write_repository(
    folder: Path,
    api: str,
    offline: dict[str, Any] | None = None,
    mode: str = "event",
    online: dict[str, Any] | None = None,
) -> None:
    """Writes `feature_store.yaml` (JSON is YAML).

    Args:
        folder: Where the registry and the online store go, too.
        api: `tiffin` or `feast`.
        offline: The `offline_store` setting; None leaves it out, and the store takes its default.
        mode: tiffin's `point_in_time`; `event` is the only one that Feast has.
        online: The `online_store` setting; None is a SQLite file in the folder.
    """
    config: dict[str, Any] = {
        "project": "bench",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "online_store": online or {"type": "sqlite", "path": str(folder / "online.db")},
        "entity_key_serialization_version": 3,
    }
    if offline is not None:
        config["offline_store"] = offline
    if api == "tiffin":
        config["point_in_time"] = mode
    (folder / "feature_store.yaml").write_text(json.dumps(config))


def start_server(kind: str, open_: ExitStack) -> dict[str, Any] | None:
    """Starts what an online store needs, until `open_` is closed; the `online_store` setting for it."""
    if kind == "sqlite":
        return None
    if kind == "lmdb":
        return {"type": "lmdb", "path": str(work_folder() / "online.lmdb")}
    from tests.servers import postgres_server, redis_server

    if kind == "redis":
        return {"type": "redis", "connection_string": f"127.0.0.1:{open_.enter_context(redis_server()).port}"}
    server = open_.enter_context(postgres_server())
    where = {"host": "127.0.0.1", "port": server.port, "database": "postgres", "db_schema": "public"}
    return {"type": "postgres", **where, "user": "tests", "password": "none", "sslmode": "disable"}


def open_store(api: str, folder: Path) -> Any:
    """A store of a folder that has a configuration."""
    logging.disable(logging.INFO)
    return importlib.import_module(api).FeatureStore(repo_path=str(folder))


def define_views(
    api: str,
    facts: list[str],
    *,
    created: bool = False,
    ttl_days: int | None = None,
    online: bool = False,
    tags: dict[str, str] | None = None,
) -> list[Any]:
    """The entity and one view per data set of facts, named v0, v1 ..."""
    package, types = importlib.import_module(api), importlib.import_module(f"{api}.types")
    entity = package.Entity(name="key", join_keys=["key"], value_type=package.ValueType.INT64)
    views = []
    for view, name in enumerate(facts):
        path = data_path(name)
        columns = {field.name: field.type for field in pq.read_schema(path)}
        source = package.FileSource(
            name=f"source{view}",
            path=str(path),
            timestamp_field="event_timestamp",
            created_timestamp_column="created" if created else None,
        )
        kinds = {pa.int64(): types.Int64, pa.float64(): types.Float64, pa.string(): types.String}
        schema = [package.Field(name=feature, dtype=kinds[columns[feature]]) for feature in features_of(name, view)]
        views.append(
            package.FeatureView(
                name=f"v{view}",
                entities=[entity],
                ttl=timedelta(days=ttl_days or 0),
                schema=[package.Field(name="key", dtype=types.Int64), *schema],
                source=source,
                online=online,
                tags=tags or {},
            )
        )
    return [entity, *views]


def feature_references(facts: list[str]) -> list[str]:
    """Every feature of the views over some data sets, as `view:feature`."""
    return [f"v{view}:{feature}" for view, name in enumerate(facts) for feature in features_of(name, view)]


class HistoricalFeatures(Work):
    """A training set: entity rows from a parquet file, features by `get_historical_features`, an Arrow table."""

    def __init__(
        self,
        api: str,
        spine: str,
        facts: list[str],
        *,
        created: bool = False,
        ttl_days: int | None = None,
        offline: dict[str, Any] | None = None,
        mode: str = "event",
    ) -> None:
        folder = work_folder()
        write_repository(folder, api, offline, mode)
        self._store = open_store(api, folder)
        self._store.apply(define_views(api, facts, created=created, ttl_days=ttl_days))
        self._spine, self._features = data_path(spine), feature_references(facts)
        self._is_feast = api == "feast"

    def run(self, index: int) -> pa.Table:
        """Reads the entity rows and retrieves."""
        rows = pq.read_table(self._spine)
        job = self._store.get_historical_features(
            entity_df=rows.to_pandas() if self._is_feast else rows, features=self._features
        )
        return job.to_arrow()

    def answer(self, last: pa.Table) -> pa.Table:
        """The training set."""
        return last


class OnlineFeatures(Work):
    """Reads from a filled online store by `get_online_features(...).to_dict()`."""

    def __init__(
        self, api: str, facts: list[str], keys: int, offline: dict[str, Any] | None = None, online: str = "sqlite"
    ) -> None:
        self._open = ExitStack()
        is_kept = api == "feast" and online == "sqlite"
        folder = data_folder() / f"online-{api}-{'-'.join(facts)}" if is_kept else work_folder()
        # Filling takes Feast minutes and is not measured here, so that its filled store is kept.
        if not (folder / "filled").exists():
            self._fill(folder, api, facts, offline, start_server(online, self._open))
        self._store = open_store(api, folder)
        self._features = feature_references(facts)
        self._rows = [[{"key": key} for key in asked] for asked in asked_keys(facts[0], keys)]

    def run(self, index: int) -> dict[str, list[Any]]:
        """One request."""
        answer: dict[str, list[Any]] = self._store.get_online_features(
            features=self._features, entity_rows=self._rows[index]
        ).to_dict()
        return answer

    def answer(self, last: Any) -> pa.Table:
        """The answer to the first question."""
        return pa.table(self.run(0))

    def close(self) -> None:
        """Stops the server."""
        self._open.close()

    def _fill(
        self,
        folder: Path,
        api: str,
        facts: list[str],
        offline: dict[str, Any] | None,
        online: dict[str, Any] | None,
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_repository(folder, api, offline, online=online)
        store = open_store(api, folder)
        store.apply(define_views(api, facts, created=True, online=True))
        store.materialize(*RANGE)
        (folder / "filled").touch()


class Materialize(Work):
    """Fills an empty online store from a parquet file by `materialize`."""

    def __init__(self, api: str, facts: str, offline: dict[str, Any] | None = None, online: str = "sqlite") -> None:
        folder = work_folder()
        self._open = ExitStack()
        write_repository(folder, api, offline, online=start_server(online, self._open))
        self._store = open_store(api, folder)
        self._store.apply(define_views(api, [facts], created=True, online=True))
        self._facts = facts

    def run(self, index: int) -> None:
        """One run over the whole range."""
        self._store.materialize(*RANGE)

    def answer(self, last: Any) -> pa.Table:
        """The features of some keys, read back."""
        rows = [{"key": key} for key in sampled_keys(self._facts)]
        return pa.table(
            self._store.get_online_features(features=feature_references([self._facts]), entity_rows=rows).to_dict()
        )

    def close(self) -> None:
        """Stops the server."""
        self._open.close()


class RedisSpace(Work):
    """Loads Redis, and asks it how much memory its data takes."""

    def __init__(self, api: str, facts: str, offline: dict[str, Any] | None = None) -> None:
        self._open = ExitStack()
        folder, online = work_folder(), start_server("redis", self._open)
        assert online is not None
        self._port = int(online["connection_string"].split(":")[1])
        write_repository(folder, api, offline, online=online)
        self._store = open_store(api, folder)
        self._store.apply(define_views(api, [facts], created=True, online=True))
        self._keys = key_count(facts)

    def run(self, index: int) -> Reading:
        """Loads, and takes the difference."""
        before, began = self._used_bytes(), time.perf_counter()
        self._store.materialize(*RANGE)
        seconds = time.perf_counter() - began
        return Reading(seconds, {"entity_bytes": (self._used_bytes() - before) / self._keys})

    def close(self) -> None:
        """Stops the server."""
        self._open.close()

    def _used_bytes(self) -> int:
        import redis

        client = redis.Redis(port=self._port)
        used = int(client.info("memory")["used_memory_dataset"])
        client.close()
        return used


class Push(Work):
    """Pushes one row of ten features; when the call returns, it can be read."""

    def __init__(self, api: str, facts: str, online: str, offline: dict[str, Any] | None = None) -> None:
        self._open = ExitStack()
        folder = work_folder()
        write_repository(folder, api, offline, online=start_server(online, self._open))
        self._store = open_store(api, folder)
        package = importlib.import_module(api)
        entity, view = define_views(api, [facts], online=True)
        source = package.PushSource(name="pushed", batch_source=view.batch_source)
        view = package.FeatureView(
            name="v0", entities=[entity], schema=view.schema, source=source, ttl=timedelta(days=0), online=True
        )
        self._store.apply([entity, view])
        self._names = features_of(facts, 0)
        self._is_feast = api == "feast"

    def run(self, index: int) -> None:
        """One row of one key, newer than the one before."""
        moment = RANGE[0] + timedelta(seconds=index)
        row = {"key": 7, "event_timestamp": moment, **dict(zip(self._names, self._values(index), strict=True))}
        if self._is_feast:
            import pandas as pd

            self._store.push("pushed", pd.DataFrame([row]))
        else:
            self._store.push("pushed", [row])

    def answer(self, last: Any) -> pa.Table:
        """The row that was pushed last, read back."""
        self.run(9_999)
        return pa.table(
            self._store.get_online_features(
                features=[f"v0:{name}" for name in self._names], entity_rows=[{"key": 7}]
            ).to_dict()
        )

    def close(self) -> None:
        """Stops the server."""
        self._open.close()

    def _values(self, index: int) -> list[float | int]:
        return [index + number if number % 2 else index / 8 + number for number in range(len(self._names))]


class Apply(Work):
    """Applies many views at once to an empty registry, each over a file of its own."""

    def __init__(self, api: str, schemas: str, *, again: bool = False) -> None:
        folder = work_folder()
        write_repository(folder, api)
        self._store = open_store(api, folder)
        package, types = importlib.import_module(api), importlib.import_module(f"{api}.types")
        entity = package.Entity(name="key", join_keys=["key"], value_type=package.ValueType.INT64)
        self._objects = [entity]
        for view, path in enumerate(sorted(data_path(schemas).iterdir())):
            self._objects.append(_small_view(package, types, entity, view, path))
        if again:
            self._store.apply(self._objects)

    def run(self, index: int) -> None:
        """Applies all of them."""
        self._store.apply(self._objects)

    def answer(self, last: Any) -> pa.Table:
        """The names of the views that a new store finds."""
        return pa.table({"name": sorted(view.name for view in self._store.list_feature_views())})


def _small_view(package: Any, types: Any, entity: Any, view: int, path: Path) -> Any:
    source = package.FileSource(
        name=f"source{view}", path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created"
    )
    schema = [
        package.Field(name=feature, dtype=types.Int64 if index % 2 else types.Float64)
        for index, feature in enumerate(feature_names(view))
    ]
    return package.FeatureView(
        name=f"v{view}", entities=[entity], ttl=timedelta(days=1), schema=schema, source=source, online=False
    )


def historical_features(**arguments: Any) -> Work:
    """An applied repository, ready to retrieve."""
    return HistoricalFeatures(**arguments)


def online_features(**arguments: Any) -> Work:
    """A filled store, ready to be read."""
    return OnlineFeatures(**arguments)


def materialize(**arguments: Any) -> Work:
    """An applied repository with an empty online store."""
    return Materialize(**arguments)


def redis_space(**arguments: Any) -> Work:
    """An applied repository with an empty Redis."""
    return RedisSpace(**arguments)


def push(**arguments: Any) -> Work:
    """An applied repository with a view that is pushed to."""
    return Push(**arguments)


def apply_views(**arguments: Any) -> Work:
    """An empty registry, and the definitions."""
    return Apply(**arguments)
