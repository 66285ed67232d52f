"""Backends are found by their short names; what is missing is named with what to do about it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tiffin.backends.duckdb.offline import DuckDBEngine
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.config import RepoConfig
from tiffin.errors import BackendNotFoundError, ConfigError
from tiffin.operations import loader
from tiffin.operations.context import Context


def config(tmp_path: Path, **settings: object) -> RepoConfig:
    return RepoConfig(**{"project": "p", "repo_path": tmp_path, **settings})


def test_built_in_backends_are_found(tmp_path: Path) -> None:
    assert isinstance(loader.open_online(config(tmp_path, online_store="memory")), MemoryOnlineStore)
    for name in ("duckdb", "file", "dask"):
        assert isinstance(loader.open_offline(config(tmp_path, offline_store=name)), DuckDBEngine)


def test_a_type_may_be_the_path_of_a_class(tmp_path: Path) -> None:
    path = "tiffin.backends.memory.online.MemoryOnlineStore"
    assert isinstance(loader.open_online(config(tmp_path, online_store=path)), MemoryOnlineStore)
    for name in (
        "feast.infra.offline_stores.dask.DaskOfflineStore",
        "feast.infra.offline_stores.duckdb.DuckDBOfflineStore",
    ):
        assert isinstance(loader.open_offline(config(tmp_path, offline_store=name)), DuckDBEngine)
    for name, cls in (
        ("feast.infra.online_stores.redis.RedisOnlineStore", "RedisOnlineStore"),
        ("feast.infra.online_stores.dynamodb.DynamoDBOnlineStore", "DynamoDBOnlineStore"),
        ("feast.infra.online_stores.postgres_online_store.postgres.PostgreSQLOnlineStore", "PostgresOnlineStore"),
    ):
        options = {"region": "eu-west-1"} if cls.startswith("Dynamo") else {}
        assert type(loader.open_online(config(tmp_path, online_store={"type": name, **options}))).__name__ == cls
    for wrong in (
        "no_such_package.Store",
        "tiffin.backends.memory.online.NoStore",
        "feast.infra.online_stores.x.Store",
    ):
        with pytest.raises(BackendNotFoundError):
            loader.open_online(config(tmp_path, online_store=wrong))


def test_an_unknown_backend_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(BackendNotFoundError, match=r"there is no online backend 'sqlit'\n.*did you mean sqlite"):
        loader.open_online(config(tmp_path, online_store="sqlit"))
    with pytest.raises(BackendNotFoundError, match="there is no offline backend 'hive'"):
        loader.open_offline(config(tmp_path, offline_store="hive"))


def test_a_backend_whose_package_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("redis", "no_package_of_this_name:Store", "tiffin.backends.online")
    monkeypatch.setattr(loader, "_declared", lambda kind: {"redis": point})
    with pytest.raises(BackendNotFoundError, match=r"pip install 'tiffin\[redis\]'"):
        loader.open_online(config(tmp_path, online_store="redis"))


@pytest.mark.parametrize(
    "settings",
    [
        {"online_store": {"type": "sqlite", "pth": "a"}},
        {"offline_store": {"type": "duckdb", "memory": "1GB"}},
        {"registry": "s3://bucket/registry.pb"},
        {"online_store": None},
    ],
)
def test_wrong_options_are_refused_when_a_backend_is_opened(tmp_path: Path, settings: dict[str, object]) -> None:
    context = Context(config(tmp_path, **settings))
    with pytest.raises(ConfigError):
        _ = (context.online, context.offline, context.registry)


def test_a_closed_context_opens_its_backends_again(tmp_path: Path) -> None:
    context = Context(config(tmp_path))
    first = context.registry
    context.close()
    assert context.registry is not first
    assert context.snapshot().version == 0
    context.close()
