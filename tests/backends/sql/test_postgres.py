"""The registry in a real PostgreSQL, which the test starts for itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from faults.registry_process import commit_entities, view
from servers import need_module, postgres_server
from tiffin.backends.sql.registry import SqlRegistryStore
from tiffin.backends.sql.tables import SNAPSHOTS
from tiffin.config import RegistryConfig, RepoConfig
from tiffin.contracts.registry import MaterializationRun
from tiffin.errors import RegistryConflictError, RegistryError
from tiffin.store import FeatureStore

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("postgres")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server() as server:
        yield server.url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def registry(url: str) -> Iterator[SqlRegistryStore]:
    opened = SqlRegistryStore.from_config(RegistryConfig(path=url), ".")
    opened.forget("p")
    yield opened
    opened.close()


def test_what_is_committed_comes_back(registry: SqlRegistryStore, url: str) -> None:
    base = registry.version("p")
    commit_entities(registry, base, 3000)
    fresh = SqlRegistryStore.from_config(RegistryConfig(path=url), ".")
    assert len(fresh.load("p").entries) == 3000
    assert fresh.load("p").version == base + 1
    fresh.close()


def test_a_stale_commit_is_a_conflict(registry: SqlRegistryStore) -> None:
    base = registry.version("p")
    commit_entities(registry, base, 1)
    with pytest.raises(RegistryConflictError):
        commit_entities(registry, base, 2)
    assert len(registry.load("p").entries) == 1


def test_runs_come_newest_first(registry: SqlRegistryStore) -> None:
    runs = [MaterializationRun("v", 1, 0, 1, i, i, 0, 0.5, i) for i in range(3)]
    for run in runs:
        registry.record_run("p", run)
    assert registry.runs("p") == runs[::-1]


def test_writers_that_apply_at_once_lose_nothing(url: str, registry: SqlRegistryStore, tmp_path: Path) -> None:
    base = registry.version("p")

    def work(number: int) -> None:
        config = RepoConfig(project="p", registry=url, repo_path=tmp_path, online_store="memory")
        with FeatureStore(config=config) as store:
            for each in range(3):
                store.apply(view(f"view_{number}_{each}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert [commit.version for commit in registry.history("p")] == list(range(base + 24, base, -1))
    assert len(registry.load("p").names("feature view")) == 24


def test_a_project_that_is_begun_while_it_is_read_is_not_taken_for_an_empty_one(
    registry: SqlRegistryStore, url: str
) -> None:
    from sqlalchemy import event

    base, other = registry.version("p"), SqlRegistryStore.from_config(RegistryConfig(path=url), ".")
    begun: list[str] = []

    def begin(*arguments: Any) -> None:
        if not begun and SNAPSHOTS.name in arguments[2]:
            begun.append(arguments[2])
            commit_entities(other, base, 1)

    event.listen(registry._engine, "after_cursor_execute", begin)
    found = registry.load("p")
    event.remove(registry._engine, "after_cursor_execute", begin)
    assert begun
    assert (found.version, len(found.entries)) == (base, 0)
    assert len(registry.load("p").entries) == 1
    other.close()


def test_tables_that_are_created_at_once_are_created_once(url: str) -> None:
    from sqlalchemy import create_engine, text

    with (admin := create_engine(url)).begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    admin.dispose()

    def work(number: int) -> None:
        store = SqlRegistryStore.from_config(RegistryConfig(path=url), ".")
        store.record_run(f"project_{number}", MaterializationRun("v", 1, 0, 1, 1, 1, 0, 0.5, 0))
        assert len(store.runs(f"project_{number}")) == 1
        store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    need_module("psycopg", "postgres")
    path = "postgresql+psycopg://user:secret@127.0.0.1:1/db"
    registry = SqlRegistryStore.from_config(RegistryConfig(path=path), ".")
    with pytest.raises(RegistryError, match=r"user:\*\*\*@127\.0\.0\.1") as caught:
        registry.load("p")
    assert "secret" not in str(caught.value)
