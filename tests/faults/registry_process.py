"""Processes that use a registry and come to harm, for ``test_registry.py``: ``registry_process.py WHAT FOLDER ...``.

Children are forked from one process that has imported everything, so that many of them can be started at once.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import NoReturn

from sqlalchemy import event

from tiffin.backends.sql.registry import SqlRegistryStore
from tiffin.config import RegistryConfig, RepoConfig
from tiffin.definitions import Entity, FeatureView, Field, PushSource
from tiffin.errors import TiffinError
from tiffin.registry.snapshot import Snapshot, entry_of
from tiffin.store import FeatureStore
from tiffin.types import Int64, ValueType

PROJECT = "p"


def open_registry(folder: Path) -> SqlRegistryStore:
    return SqlRegistryStore.from_config(RegistryConfig(path="registry.db"), str(folder))


def open_store(folder: Path) -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(project=PROJECT, registry="registry.db", repo_path=folder, online_store="memory")
    )


def view(name: str) -> FeatureView:
    driver = Entity(name="driver", value_type=ValueType.INT64)
    return FeatureView(
        name=name, source=PushSource(name="push"), entities=[driver], schema=[Field(name="x", dtype=Int64)]
    )


def commit_entities(registry: SqlRegistryStore, base: int, count: int) -> None:
    """Commit version ``base + 1`` with ``count`` entities whose words are those of this version alone."""
    entities = (Entity(name=f"e{i}", description=f"version {base + 1} " * 20) for i in range(count))
    snapshot = Snapshot(PROJECT, base + 1, tuple(entry_of(entity) for entity in entities))
    registry.commit(snapshot, base, created_us=0, author="", message="")


def apply_at_once(folder: Path, processes: str, views: str) -> None:
    """Fork processes that wait for one another and then apply their views, one by one."""
    FeatureStore(config=RepoConfig(project="warm", repo_path=folder, registry="warm.db")).plan(view("warm"))
    start, go = os.pipe()
    children = []
    for process in range(int(processes)):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(start, 1)
            with open_store(folder) as store:
                for number in range(int(views)):
                    store.apply(view(f"view_{process}_{number}"))
            os._exit(0)
        children.append(child)
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * len(children), codes


def die_at_every_statement(folder: Path, count: str) -> None:
    """Kill a committing process before its first statement, before its second, and so on, the COMMIT included.

    Prints what the registry held afterwards: the newest version, and how many statements the process got through.
    """
    statement = 0
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        statement += 1
        base = open_registry(folder).version(PROJECT)
        child = os.fork()
        if child == 0:
            registry = open_registry(folder)
            _kill_before(registry, statement)
            commit_entities(registry, base, int(count))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(statement, base, open_registry(folder).version(PROJECT), code, flush=True)


def _kill_before(registry: SqlRegistryStore, last: int) -> None:
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(registry._engine, "before_cursor_execute", count)
    event.listen(registry._engine, "commit", count)


def commit_for_ever(folder: Path, count: str) -> NoReturn:
    """Commit version after version, saying before and after each."""
    registry = open_registry(folder)
    version = registry.version(PROJECT)
    while True:
        print("begin", version + 1, flush=True)
        commit_entities(registry, version, int(count))
        version += 1
        print("done", version, flush=True)


def fill_the_disk(folder: Path, limit: str) -> None:
    """Commit while no file may grow beyond a limit; prints the error, and what is there without the limit."""
    registry = open_registry(folder)
    version = registry.version(PROJECT)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), hard))
    try:
        commit_entities(registry, version, 2000)
    except TiffinError as error:
        message = f"{type(error).__name__}: {error}"
    else:
        message = "it went through"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(message)
    print("version", registry.version(PROJECT))


def write_without_permission(folder: Path) -> None:
    """Commit to a registry that this process may only read; prints the error, and what it can read."""
    registry = open_registry(folder)
    version = registry.version(PROJECT)
    commit_entities(open_registry(folder / "elsewhere"), 0, 1)
    for path in (folder, folder / "registry.db"):
        path.chmod(path.stat().st_mode & 0o555 | 0o444)
    if os.geteuid() == 0:
        # The superuser may write anywhere; what is needed is imported by now.
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    try:
        commit_entities(registry, version, 1)
    except TiffinError as error:
        print(f"{type(error).__name__}: {error}")
    print("version", registry.version(PROJECT), len(registry.load(PROJECT).entries))


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    globals()[what](Path(where), *rest)
