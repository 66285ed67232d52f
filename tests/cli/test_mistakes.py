"""A mistake is one message with a hint and an exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.repositories import Tiffin
from tiffin.errors import NotFoundError


def test_an_unknown_command_names_the_nearest() -> None:
    result = subprocess.run([sys.executable, "-m", "tiffin.cli", "aply"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "apply" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_repository_says_how_to_make_one(tiffin: Tiffin, tmp_path: Path) -> None:
    answer = tiffin("-c", str(tmp_path), "entities", "list", code=1)
    assert answer.err.startswith("Error: there is no feature_store.yaml in ")
    assert "hint: run `tiffin init`" in answer.err
    assert answer.out == ""


def test_an_error_in_json_mode_is_json_on_the_error_stream(tiffin: Tiffin, tmp_path: Path) -> None:
    answer = tiffin("-c", str(tmp_path), "entities", "list", "--json", code=1)
    assert answer.out == ""
    assert answer.problem.keys() == {"code", "message", "subject", "location", "hint"}
    assert answer.problem["code"] == "config"


def test_wrong_use_in_json_mode_is_json_too(tiffin: Tiffin) -> None:
    answer = tiffin("materialize", "--json", code=2)
    assert answer.problem["code"] == "usage"
    assert "START" in answer.problem["message"]
    assert "Usage: " in answer.problem["hint"]


def test_a_traceback_is_shown_only_at_log_level_debug(tiffin: Tiffin, tmp_path: Path) -> None:
    assert "Traceback" not in tiffin("-c", str(tmp_path), "history", code=1).err
    shown = tiffin("--log-level", "debug", "-c", str(tmp_path), "history", code=1).err
    assert "Traceback" in shown
    assert "Error: there is no feature_store.yaml" in shown


def test_a_settings_file_with_a_typo_names_the_line_and_the_nearest_key(tiffin: Tiffin, repository: Path) -> None:
    (repository / "feature_store.yaml").write_text("project: retail\nregistri: registry.db\n")
    answer = tiffin("configuration", code=1)
    assert "feature_store.yaml:2" in answer.err
    assert "did you mean registry?" in answer.err


def broken_command(error: BaseException) -> click.Command:
    @click.command("broken")
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NotFoundError("no view x", hint="did you mean y?"), 1, "Error: no view x\n  hint: did you mean y?\n"),
        (ZeroDivisionError("by zero"), 70, "Error: tiffin has a fault: ZeroDivisionError: by zero\n"),
        (
            PermissionError(13, "denied", "x.csv"),
            1,
            "Error: a file cannot be read or written: [Errno 13] denied: 'x.csv'",
        ),
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (click.Abort(), 1, "Nothing was done.\n"),
    ],
    ids=["mistake", "fault", "no permission", "interrupted", "not confirmed"],
)
def test_every_end_has_its_exit_code(
    tiffin: Tiffin, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    from tiffin.cli import main

    monkeypatch.setitem(main.commands, "broken", broken_command(error))
    answer = tiffin("broken", code=code)
    assert answer.err.lstrip().startswith(text)
    assert "Traceback" not in answer.err


def test_secrets_of_the_settings_are_not_printed(tiffin: Tiffin, repository: Path) -> None:
    (repository / "feature_store.yaml").write_text(
        "project: retail\nregistry: postgresql://me:hunter2@host/db\nonline_store: {type: redis, password: hunter2}\n"
    )
    for words in (["configuration"], ["configuration", "--json"]):
        assert "hunter2" not in tiffin(*words).out


def test_settings_are_found_by_folder_and_by_file(tiffin: Tiffin, repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("project: other\n")
    assert tiffin("-c", str(repository), "projects", "current_project").out == "retail\n"
    assert tiffin("-f", str(other), "projects", "current_project").out == "other\n"
    assert tiffin("projects", "current_project").out == "retail\n"


def test_version_is_that_of_the_package(tiffin: Tiffin) -> None:
    import tiffin as package

    assert tiffin("version").out == f"tiffin {package.__version__}\n"
    assert tiffin("version", "--json").data["tiffin"] == package.__version__
