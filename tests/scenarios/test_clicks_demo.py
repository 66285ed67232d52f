"""The clicks example in small: from Kafka into features, through a kill, and equal to the training set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brokers import shared_broker
from servers import need_module

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka"), pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


def demo(folder: Path, *words: str, **environment: str) -> dict[str, Any]:
    """The example's result."""
    command = [
        sys.executable,
        "-m",
        "examples.clicks.demo",
        "--json",
        "--output",
        str(folder),
        "--users",
        "200",
        *words,
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(result: dict[str, Any]) -> None:
    """Every message is accounted for, and nothing that is served differs."""
    assert result["worked_off"] == result["sent"]
    assert result["dead"] == result["broken"]
    assert result["history"] == result["sent"] - result["dead"]
    served = result["served"]
    assert served["nulls"] < served["cells"] / 2
    assert served["mismatches"] == 0
    assert served["mismatches_without_stream"] > served["cells"] / served["moments"] / 20


def test_what_is_served_is_what_the_history_gives_though_a_worker_was_killed(tmp_path: Path) -> None:
    result = demo(tmp_path, "--kafka", shared_broker().address, "--rate", "400", "--seconds", "6")
    check(result)
    assert result["kafka"].startswith("the broker at ")
    assert (result["workers"], result["killed"]) == (2, 1)
    assert min(result["late"], result["twice"], result["both_ways"], result["broken"]) > 0


def test_librdkafka_plays_the_broker_where_there_is_no_java(tmp_path: Path) -> None:
    need_module("confluent_kafka", "kafka")
    (tmp_path / "bin").mkdir()
    result = demo(tmp_path, "--rate", "200", "--seconds", "3", "--workers", "1", PATH=str(tmp_path / "bin"))
    check(result)
    assert result["kafka"] == "a broker that librdkafka plays"


@pytest.mark.parametrize("words", [["--rate", "1"], ["--users", "0"], ["--workers", "0"], ["--seconds", "0"]])
def test_what_cannot_be_shown_is_refused(words: list[str]) -> None:
    need_module("confluent_kafka", "kafka")
    command = [sys.executable, "-m", "examples.clicks.demo", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "choose" in done.stderr
