"""The fraud example in small: windows help, a leak shows, and a stream serves what training saw."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(find_spec("sklearn") is None, reason="sklearn not installed: pip install 'tiffin[demo]'"),
    pytest.mark.xdist_group("fraud_demo"),  # one process, so that the example runs once
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).parents[2]
SIZE = 40_000


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Read at four moments of the last day."""
    command = [sys.executable, "-m", "examples.fraud.demo", "--json", "--size", str(SIZE)]
    command += ["--moments", "4", "--requests", "40", "--output", str(tmp_path_factory.mktemp("fraud"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_online_values_equal_the_training_set(result: dict[str, Any]) -> None:
    served = result["served"]
    assert (served["moments"], served["requests"]) == (4, 160)
    assert served["cells"] > 160 * result["features"]  # the moment of the last transaction is compared as well
    assert served["nulls"] < served["cells"] / 2
    assert served["mismatches"] == 0
    assert (served["verified"], served["verified_different"]) == (served["cells"], 0)


def test_the_comparison_notices_a_day_without_the_stream(result: dict[str, Any]) -> None:
    served = result["served"]
    assert served["pushed"] > SIZE / 60 / 2
    assert served["pushed_twice"] > 0
    assert served["mismatches_without_stream"] > served["cells"] / 20


def test_only_the_careless_training_set_reads_the_future(result: dict[str, Any]) -> None:
    known, event = result["known_later"]["known"], result["known_later"]["event"]
    assert set(known.values()) == {0}
    assert min(event.values()) > 0


def test_windows_find_frauds_that_a_payment_alone_does_not_show(result: dict[str, Any]) -> None:
    models = result["models"]
    for name in ("payment alone", "and windows", "and reports"):
        assert models[name]["backtest"] == models[name]["service"]
    alone, windows = (models[name]["service"]["average_precision"] for name in ("payment alone", "and windows"))
    assert windows > alone + 0.1


def test_a_leak_promises_what_it_does_not_keep(result: dict[str, Any]) -> None:
    leak, honest = result["models"]["by event time"], result["models"]["and reports"]
    assert leak["backtest"]["average_precision"] > honest["backtest"]["average_precision"] + 0.05
    assert leak["service"]["average_precision"] < honest["service"]["average_precision"] - 0.2


@pytest.mark.parametrize("words", [["--size", "10"], ["--moments", "0"], ["--moments", "999", "--size", "10000"]])
def test_what_cannot_be_generated_is_refused(words: list[str]) -> None:
    command = [sys.executable, "-m", "examples.fraud.demo", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "choose" in done.stderr
