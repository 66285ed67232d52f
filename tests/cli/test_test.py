"""``tiffin test``: pytest over a feature repository, with the fixture ``features``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.repositories import Tiffin


@pytest.fixture
def created(tiffin: Tiffin, tmp_path: Path) -> Path:
    """The repository of ``tiffin init``, with a test that fails in a folder of its own."""
    tiffin("init", "drivers", "--repo-path", str(tmp_path / "drivers"))
    folder = tmp_path / "drivers" / "feature_repo"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "test_wrong.py").write_text(
        "def test_wrong(features):\n"
        '    features.given("driver_hourly_stats", driver_id=1, conv_rate=0.5)\n'
        '    features.expect({"driver_hourly_stats:conv_rate": 0.25}, driver_id=1)\n'
    )
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tiffin.cli", "-c", str(folder), "test", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_tests_of_a_new_repository_pass_and_leave_nothing_behind(created: Path) -> None:
    before = {path.name for path in created.iterdir()}
    done = run(created, "-q", str(created))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert {path.name for path in created.iterdir()} - {"__pycache__"} == before


def test_test_that_fails_elsewhere_says_what_is_wrong(created: Path) -> None:
    done = run(created, str(created.parents[1] / "elsewhere"))
    assert done.returncode == 1
    assert "driver_hourly_stats:conv_rate is 0.5 in training, expected 0.25" in done.stdout


def test_folder_without_a_repository_is_told(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode != 0
    assert "feature_store.yaml" in done.stderr
