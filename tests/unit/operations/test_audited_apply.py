"""Applies go into the audit log before they are done, whoever makes them and however many do so at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.repositories import DEFINITIONS, write_sales
from tiffin import Entity, FeatureStore
from tiffin.cli import main
from tiffin.config import RepoConfig
from tiffin.errors import RegistryConflictError, StoreError
from tiffin.governance.audit import AuditLog, verify_audit_log
from tiffin.operations.apply import author
from tiffin.time import SystemClock

SECTION = {"audit_log": "logs/audit.jsonl"}


def opened(folder: Path, section: Any = SECTION) -> FeatureStore:
    return FeatureStore(config=RepoConfig(project="p", repo_path=folder, feature_server=section))


def lines(folder: Path, file: str = "logs/audit.jsonl") -> list[dict[str, Any]]:
    count = verify_audit_log(folder / file)
    found = [json.loads(line) for line in (folder / file).read_text().splitlines()]
    assert len(found) == count
    return found


def test_what_changes_is_written_down_and_what_does_not_is_not(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        driver = Entity(name="driver")
        store.apply([driver])
        store.apply([driver])
        store.apply([Entity(name="driver", description="who drives"), Entity(name="car")])
        store.rollback(1)
        store.teardown()
    found = [{name: line.get(name) for name in ("event", "version", "message", "changes")} for line in lines(tmp_path)]
    assert found == [
        {
            "event": "apply",
            "version": 1,
            "message": "1 added, 0 changed, 0 removed",
            "changes": ["added entity driver"],
        },
        {
            "event": "apply",
            "version": 2,
            "message": "1 added, 1 changed, 0 removed",
            "changes": ["added entity car", "changed entity driver"],
        },
        {
            "event": "apply",
            "version": 3,
            "message": "rollback to version 1",
            "changes": ["removed entity car", "changed entity driver"],
        },
        {"event": "teardown", "version": None, "message": None, "changes": None},
    ]
    assert {(line["user"], line["project"]) for line in lines(tmp_path)} == {(author(), "p")}


def test_an_apply_that_fails_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        plan = store.plan([Entity(name="driver")])
        store.apply([Entity(name="car")])
        with pytest.raises(RegistryConflictError):
            store.apply(plan)
    assert [(line["event"], line.get("error")) for line in lines(tmp_path)] == [
        ("apply", None),
        ("apply", None),
        ("apply_failed", "RegistryConflictError"),
    ]


def test_what_cannot_be_written_down_is_not_applied(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "audit.jsonl").write_text("{half a line")
    with opened(tmp_path) as store:
        with pytest.raises(StoreError, match="not whole"):
            store.apply([Entity(name="driver")])
        assert store.list_entities() == []


def test_a_line_of_any_length_is_followed_by_another(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.apply([Entity(name=f"entity_{number}") for number in range(3_000)])
        store.apply([Entity(name="driver")])
    first, second = lines(tmp_path)
    assert len(first["changes"]) == 3_000
    assert second["previous"] == first["hash"]


@pytest.mark.parametrize(
    ("section", "file"),
    [
        ({"audit_logging": {"enabled": True}}, "feast_audit.log"),
        ({"audit_logging": {"enabled": True, "file_path": "a.log"}}, "a.log"),
        ({"audit_logging": {"enabled": False, "file_path": "a.log"}}, ""),
        ({"audit_log": "b.log", "audit_logging": {"enabled": True}}, "b.log"),
        (None, ""),
    ],
)
def test_where_it_is_written(tmp_path: Path, section: Any, file: str) -> None:
    with opened(tmp_path, section) as store:
        store.apply([Entity(name="driver")])
    assert {path.name for path in tmp_path.glob("*.log")} == ({file} if file else set())


def test_the_command_line_writes_it_and_proves_it(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(
        "project: retail\nregistry: registry.db\nfeature_server: {audit_log: audit.jsonl}\n"
    )
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    write_sales(tmp_path / "sales.parquet")
    file = tmp_path / "audit.jsonl"
    for words in (["apply"], ["verify-audit-log", str(file)]):
        result = CliRunner().invoke(main, ["-c", str(tmp_path), *words])
        assert result.exit_code == 0, result.output
    (line,) = lines(tmp_path, "audit.jsonl")
    assert (line["event"], line["project"], len(line["changes"])) == ("apply", "retail", 4)
    file.write_text(file.read_text().replace("retail", "retaiI", 1))
    assert CliRunner().invoke(main, ["verify-audit-log", str(file)]).exit_code == 1


WRITER = """
import sys
from pathlib import Path
from tiffin import Entity, FeatureStore
from tiffin.governance.audit import AuditLog
from tiffin.time import SystemClock

folder, name = Path(sys.argv[1]), sys.argv[2]
log = AuditLog(folder / "logs" / "audit.jsonl", SystemClock())
with FeatureStore(repo_path=folder) as store:
    for number in range(5):
        store.apply([Entity(name=f"{name}_{number}")])
        for _ in range(10):
            log.append({"event": "push", "user": name})
"""


def test_the_chain_holds_when_several_processes_write_at_once(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(
        "project: p\nregistry: registry.db\nfeature_server: {audit_log: logs/audit.jsonl}\n"
    )
    names = ["one", "two", "three"]
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in names]
    log = AuditLog(tmp_path / "logs" / "audit.jsonl", SystemClock())
    for _ in range(50):
        log.append({"event": "push", "user": "here"})
    assert [each.wait(100) for each in running] == [0, 0, 0]
    events = [line["event"] for line in lines(tmp_path)]
    assert events.count("push") == 50 + 3 * 5 * 10
    with FeatureStore(repo_path=tmp_path) as store:
        assert events.count("apply") - events.count("apply_failed") == len(store.history()) == 15
