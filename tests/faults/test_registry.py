"""The registry under fire: many writers, kill -9 at every step, a full disk, no permission. Nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from faults.registry_process import PROJECT, commit_entities, open_registry, open_store
from tiffin.errors import RegistryError

PROGRAM = Path(__file__).with_name("registry_process.py")


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(PROGRAM), *(str(argument) for argument in arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROGRAM.parent.parent)}


def run(*arguments: object) -> list[str]:
    finished = subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def check_whole(folder: Path) -> int:
    """Check that every version can be read and is made of one piece, and return the newest."""
    with sqlite3.connect(folder / "registry.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    registry = open_registry(folder)
    newest = registry.version(PROJECT)
    assert [commit.version for commit in registry.history(PROJECT)] == list(range(newest, 0, -1))
    for version in range(1, newest + 1):
        snapshot = registry.load(PROJECT, at=version)
        words = {entity.description for entity in snapshot.entities.values()}
        assert words == {(f"version {version} " * 20)}
    return newest


def test_eight_processes_that_apply_at_once_lose_nothing(tmp_path: Path) -> None:
    run("apply_at_once", tmp_path, 8, 5)
    with open_store(tmp_path) as store:
        assert {view.name for view in store.list_feature_views()} == {
            f"view_{p}_{n}" for p in range(8) for n in range(5)
        }
        assert [commit.version for commit in store.history()] == list(range(40, 0, -1))
        tables = [storage.storage.table for storage in store.context.snapshot().entries if storage.storage]
        assert len(set(tables)) == 40


def test_a_process_killed_at_any_statement_leaves_the_old_or_the_new_version(tmp_path: Path) -> None:
    lines = [[int(word) for word in line.split()] for line in run("die_at_every_statement", tmp_path, 300)]
    *killed, (_, base, after, code) = lines
    assert code == 0
    assert after == base + 1
    assert len(killed) > 8, "the commit takes more statements than that"
    assert all(after == base and code == -signal.SIGKILL for _, base, after, code in killed)
    assert check_whole(tmp_path) == after


@pytest.mark.parametrize("seed", range(3))
def test_a_process_killed_at_any_moment_leaves_the_old_or_the_new_version(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(4):
        with subprocess.Popen(
            command("commit_for_ever", tmp_path, chance.choice([1, 50, 400])),
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            last = ""
            for _ in range(chance.randrange(1, 14)):
                last = process.stdout.readline()
            # Somewhere within the next commit, or between two: the process does not wait for us.
            sum(range(chance.randrange(1_000_000)))
            process.kill()
            said = [last, *process.stdout.readlines()]
        promised = [int(line.split()[1]) for line in said if line.startswith("done") and line.endswith("\n")]
        begun = [int(line.split()[1]) for line in said if line.startswith("begin") and line.endswith("\n")]
        newest = check_whole(tmp_path)
        assert newest >= max(promised, default=0)
        assert newest <= max([*begun, *promised])


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    commit_entities(open_registry(tmp_path), 0, 100)
    size = (tmp_path / "registry.db").stat().st_size
    message, *rest = run("fill_the_disk", tmp_path, size + 20_000)
    assert message.startswith(f"RegistryError: the registry {tmp_path / 'registry.db'} cannot be written: ")
    assert "hint: " in rest[0]
    assert "nothing was written" in rest[0]
    assert rest[1] == "version 1"
    assert check_whole(tmp_path) == 1
    commit_entities(open_registry(tmp_path), 1, 2000)
    assert check_whole(tmp_path) == 2


def test_a_database_that_may_not_grow_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    registry = open_registry(tmp_path)
    commit_entities(registry, 0, 1)

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 20").fetchall()

    event.listen(registry._engine, "connect", limit)
    with pytest.raises(RegistryError, match=r"database or disk is full\n.*the disk is full: nothing was written"):
        commit_entities(registry, 1, 2000)
    assert check_whole(tmp_path) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def test_a_registry_that_may_only_be_read_is_read_and_not_written(open_folder: Path) -> None:
    commit_entities(open_registry(open_folder), 0, 3)
    message, hint, version = run("write_without_permission", open_folder)
    assert message.startswith(f"RegistryError: the registry {open_folder / 'registry.db'} cannot be written: ")
    assert "may not be written; nothing was changed" in hint
    assert version == "version 1 3"
    open_folder.chmod(0o755)
    assert check_whole(open_folder) == 1


def test_a_lock_that_is_never_released_is_reported(tmp_path: Path) -> None:
    registry = open_registry(tmp_path)
    commit_entities(registry, 0, 1)

    def hurry(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA busy_timeout = 1")

    event.listen(registry._engine, "connect", hurry)
    holder = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RegistryError, match=r"database is locked\n.*another process holds it") as caught:
        commit_entities(registry, 1, 1)
    assert caught.value.retryable
    assert registry.version(PROJECT) == 1
    holder.close()
    commit_entities(registry, 1, 1)
    assert check_whole(tmp_path) == 2
