"""A command line to call, and repositories to call it in."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.repositories import DEFINITIONS, NOW, Answer, Tiffin, write_sales
from tiffin.cli import main


@pytest.fixture
def tiffin(monkeypatch: pytest.MonkeyPatch) -> Tiffin:
    """Calls the command line: ``tiffin("apply", "--json")``, and checks the exit code."""
    for name in ("TIFFIN_FS_YAML_FILE_PATH", "FEAST_FS_YAML_FILE_PATH"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str, code: int = 0, input: str | None = None) -> Answer:
        result = CliRunner().invoke(main, list(words), input=input)
        assert result.exit_code == code, result.output
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository, not applied yet, as the working directory.

    Shop 007 has a fact of an hour ago; shop b one of three days ago, which is expired, and one that is null.
    """
    folder = tmp_path / "repository"
    folder.mkdir()
    settings = "project: retail\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
    (folder / "feature_store.yaml").write_text(settings + "point_in_time: known\n")
    (folder / "definitions.py").write_text(DEFINITIONS)
    write_sales(folder / "sales.parquet")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def applied(repository: Path, tiffin: Tiffin) -> Path:
    """The small repository, applied."""
    tiffin("apply")
    return repository


@pytest.fixture
def loaded(applied: Path, tiffin: Tiffin) -> Path:
    """The small repository, applied and loaded up to now."""
    tiffin("materialize", "2000-01-01", NOW.isoformat())
    return applied
