"""Whole repositories, with files that know nothing but `feast`: applied, trained on, loaded, read and pushed to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

REPOSITORIES = Path(__file__).parent / "repositories"


def _tiffin(folder: Path, *arguments: str) -> str:
    """What a command prints that is run in a folder, in UTC as in most containers."""
    command = [sys.executable, "-m", "tiffin.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def _shown(printed: str) -> dict[str, Any]:
    """The values that a workflow shows, by name."""
    return {name: values for line in printed.splitlines() for name, values in json.loads(line).items()}


def _ago(**units: int) -> datetime:
    return datetime.now(UTC) - timedelta(**units)


def _write(file: Path, rows: list[tuple[Any, ...]], columns: str) -> None:
    file.parent.mkdir(exist_ok=True)
    names = columns.split()
    pq.write_table(pa.table([pa.array(values) for values in zip(*rows, strict=True)], names), file)


@pytest.fixture
def driver_stats(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(REPOSITORIES / "driver_stats", tmp_path / "feature_repo"))
    early, late, stale = _ago(hours=3), _ago(hours=1), _ago(days=2)
    rows = [
        (1001, early, early, 0.25, 0.5, 100),
        (1001, late, late, 0.5, 0.5, 200),
        (1002, early, early, 0.75, 0.5, 300),
        (1002, early, late, 0.875, 0.5, 310),
        (1003, stale, stale, 0.125, 0.5, 400),
    ]
    columns = "driver_id event_timestamp created conv_rate acc_rate avg_daily_trips"
    _write(folder / "data" / "driver_stats.parquet", rows, columns)
    return folder


@pytest.fixture
def credit_scoring(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(REPOSITORIES / "credit_scoring", tmp_path / "feature_repo"))
    long_ago, old, new = _ago(days=1000), _ago(days=60), _ago(days=20)
    places = [
        (94109, long_ago, long_ago, "SAN FRANCISCO", "CA", 50_000, 1_000_000_000),
        (10001, long_ago, long_ago, "NEW YORK", "NY", 20_000, 1_000_000_000),
    ]
    columns = "zip event_timestamp created_timestamp city state pop total_wages"
    _write(folder / "data" / "zipcode_table.parquet", places, columns)
    people = [
        ("19530219_5179", old, old, 1_000, 20_000, 1, 0),
        ("19530219_5179", old, new, 1_000, 24_000, 1, 0),
        ("19781116_7723", new, new, 500, 48_500, 0, 1),
    ]
    columns = "dob_ssn event_timestamp created_timestamp credit_card_due mortgage_due missed_payments_1y bankruptcies"
    _write(folder / "data" / "credit_history.parquet", people, columns)
    return folder


def test_the_repository_of_drivers_trains_and_serves_the_same(driver_stats: Path) -> None:
    assert "Created feature view driver_hourly_stats_fresh" in _tiffin(driver_stats, "apply")
    shown = _shown(_tiffin(driver_stats, "run", "workflow.py"))
    earlier, now, online = shown["two hours ago"], shown["now"], shown["online"]
    assert earlier["conv_rate"] == [0.25, 0.875, None, None]
    assert earlier["avg_daily_trips"] == [100, 310, None, None]
    assert now.pop("label") == [1, 0, 1, 0]
    assert now["conv_rate"] == [0.5, 0.875, None, None]
    assert now["conv_rate_plus_val1"] == [1.5, 2.875, None, None]
    assert now["conv_rate_plus_val2"] == [10.5, 20.875, None, None]
    assert online == now
    assert shown["online, full names"]["driver_hourly_stats__avg_daily_trips"] == [200]
    assert "did you mean driver_hourly_stats" in shown["not found"]


def test_what_is_pushed_to_the_repository_of_drivers_is_trained_on_and_served(driver_stats: Path) -> None:
    _tiffin(driver_stats, "apply")
    shown = _shown(_tiffin(driver_stats, "run", "workflow.py"))
    served, trained = shown["pushed"], shown["trained on what was pushed"]
    assert served["avg_daily_trips"] == [1000, 310, None, None], "the older event of 1002 undid nothing"
    assert served["conv_rate_plus_val1"] == [2.0, 2.875, None, None]
    assert trained.pop("label") == [1, 0, 1, 0]
    assert trained == served


def test_the_repository_of_loans_trains_and_serves_the_same(credit_scoring: Path) -> None:
    assert "Created on-demand feature view burden" in _tiffin(credit_scoring, "apply")
    shown = _shown(_tiffin(credit_scoring, "run", "workflow.py"))
    assert shown["earlier"]["mortgage_due"] == [24_000, None, None]
    assert shown["as known earlier"]["mortgage_due"] == [20_000, None, None]
    assert shown["as known earlier"]["debt_to_wages"] == [2.8, None, None]
    assert shown["now"]["city"] == ["SAN FRANCISCO", "NEW YORK", "SAN FRANCISCO"]
    assert shown["now"]["population"] == [50_000, 20_000, 50_000]
    assert shown["now"]["debt"] == [60_000, 50_000, None]
    assert shown["now"]["debt_to_wages"] == [3.0, 1.0, None]
    assert shown["now"]["risky"] == [True, False, None]
    assert shown["online"] == shown["now"]
    pushed = shown["pushed"]
    assert (pushed["credit_history__mortgage_due"], pushed["burden__debt"]) == ([15_000], [20_000])


def test_the_repositories_know_nothing_but_feast() -> None:
    files = list(REPOSITORIES.rglob("*.py"))
    assert files
    assert not [file for file in files if "tiffin" in file.read_text()]
