"""What a repository of Feast's may name and tiffin cannot use is refused in words, and left as it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from tiffin.cli import main

DEFINITIONS = """
from feast import Entity, FeatureView, FileSource

driver = Entity(name="driver", join_keys=["driver_id"])
source = FileSource(path="stats.csv", timestamp_field="at")
stats = FeatureView(name="stats", entities=[driver], source=source)
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "stats.csv").write_text("driver_id,at,trips\n1,2024-01-01T00:00:00Z,7\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _set(repository: Path, line: str) -> None:
    (repository / "feature_store.yaml").write_text(f"project: drivers\n{line}\n")


def _refused(*words: str) -> str:
    """What the command line says that ends in an error, which is no traceback."""
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.mark.parametrize(
    ("line", "problem", "near"),
    [
        ("online_store: {type: sqlit}", "there is no online backend 'sqlit'", "did you mean sqlite?"),
        ("online_store: dynamo_db", "there is no online backend 'dynamo_db'", "did you mean dynamodb?"),
        ("online_store: {type: cassandra}", "there is no online backend 'cassandra'", "known: dynamodb, lmdb"),
        ("offline_store: {type: duckbd}", "there is no offline backend 'duckbd'", "did you mean duckdb?"),
        ("provider: lokal", "there is no provider 'lokal'", "did you mean local?"),
        ("registry: {registry_type: snowflake.registry}", "registry.registry_type", "'sql' or 'file'"),
        ("registry: s3://bucket/registry.pb", "a registry cannot be kept at s3://", "write a path"),
        ("online_stor: sqlite", "unknown key 'online_stor'", "did you mean online_store"),
    ],
)
def test_what_nobody_has_is_refused_with_the_nearest_name(repository: Path, line: str, problem: str, near: str) -> None:
    _set(repository, line)
    said = _refused("apply")
    assert problem in said
    assert near in said
    assert not list(repository.rglob("*.db")), "nothing was made"


def _message(number: int, *parts: bytes) -> bytes:
    """A field of bytes, text or another message, as protobuf writes it; shorter than 128 bytes."""
    payload = b"".join(parts)
    return bytes([number << 3 | 2, len(payload)]) + payload


ENTITY = _message(1, _message(1, _message(1, b"driver"), _message(4, b"driver_id")), _message(2))
SCHEMA_VERSION = _message(3, b"1")


@pytest.mark.parametrize("count", [1, 3, 500])
@pytest.mark.parametrize("words", [("plan",), ("apply",), ("entities", "list"), ("history",), ("teardown",)])
def test_a_registry_file_of_feast_is_refused_and_left_as_it_is(
    repository: Path, count: int, words: tuple[str, ...]
) -> None:
    _set(repository, "registry: registry.db")
    content = ENTITY * count + SCHEMA_VERSION
    (repository / "registry.db").write_bytes(content)
    said = _refused(*words)
    assert "registry.db cannot be read" in said
    assert "if Feast wrote it, give `registry` another path and run `tiffin apply`" in said
    assert (repository / "registry.db").read_bytes() == content


def test_an_online_store_of_feast_may_stay_beside_that_of_tiffin(repository: Path) -> None:
    _set(repository, "registry: registry.db\nonline_store: {type: sqlite, path: online.db}")
    with sqlite3.connect("online.db") as database:
        database.execute("CREATE TABLE drivers_stats (entity_key BLOB, feature_name TEXT, value BLOB)")
        database.execute("INSERT INTO drivers_stats VALUES (x'01', 'trips', x'02')")
    for words in (["apply"], ["materialize-incremental", "2024-02-01"], ["teardown"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    assert database.execute("SELECT * FROM drivers_stats").fetchall() == [(b"\1", "trips", b"\2")]
    database.close()


def test_a_registry_of_feast_in_a_database_may_stay_beside_that_of_tiffin(repository: Path) -> None:
    _set(repository, "registry: {registry_type: sql, path: sqlite:///feast.db}")
    with sqlite3.connect("feast.db") as database:
        database.execute("CREATE TABLE entities (entity_name TEXT, project_id TEXT, entity_proto BLOB)")
        database.execute("INSERT INTO entities VALUES ('driver', 'drivers', x'01')")
    for words in (["apply"], ["materialize-incremental", "2024-02-01"], ["teardown"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    assert database.execute("SELECT * FROM entities").fetchall() == [("driver", "drivers", b"\1")]
    database.close()
