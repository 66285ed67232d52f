"""``tiffin monitor``: profiles, their history and drift, on the small repository."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cli.repositories import NOW, Tiffin, edit

PROFILE = ("monitor", "profile", "sales")
HISTORY = ("monitor", "history", "sales")
DRIFT = ("monitor", "drift", "sales")


def write_two_months() -> str:
    """120 sales now and 120 of long ago, when revenue was a tenth of it; returns the moment in between."""
    ages = [timedelta(hours=1)] * 120 + [timedelta(days=300)] * 120
    times = pa.array([NOW - age for age in ages], pa.timestamp("us", "UTC"))
    revenue = [100.0 + number for number in range(120)]
    columns = {"shop_id": [f"{number}" for number in range(240)], "event_timestamp": times, "created": times}
    columns |= {"revenue": [*revenue, *(value / 10 for value in revenue)], "orders": [*range(120), *range(120)]}
    pq.write_table(pa.table(columns), "sales.parquet")
    return (NOW - timedelta(days=30)).isoformat()


def test_profile_is_shown_and_kept(applied: Path, tiffin: Tiffin) -> None:
    shown = tiffin(*PROFILE).out
    assert "COLUMN" in shown
    assert "4 rows, from the beginning to" in shown
    data = tiffin(*PROFILE, "--no-keep", "--json").data
    assert (data["rows"], data["of"]) == (4, "offline")
    assert [column["name"] for column in data["columns"]] == ["shop_id", "revenue", "orders", "event_timestamp"]
    assert data["columns"][1]["nulls"] == 1
    (kept,) = tiffin(*HISTORY, "--json").data
    assert kept["columns"] == data["columns"]
    assert "MEDIAN" in tiffin(*HISTORY, "--column", "revenue").out
    assert "no column 'nothing'" in tiffin(*HISTORY, "--column", "nothing", code=1).err


def test_history_without_profiles_says_what_to_do(applied: Path, tiffin: Tiffin) -> None:
    assert "tiffin monitor profile" in tiffin(*HISTORY).err
    assert "there is no feature view 'nothing'" in tiffin("monitor", "history", "nothing", code=1).err


def test_what_is_served_is_profiled(loaded: Path, tiffin: Tiffin) -> None:
    assert "3 rows, served at" in tiffin(*PROFILE, "--online").out
    assert "1 rows, served at" in tiffin(*PROFILE, "--online", "--sample", "1").out
    assert "keys and sample go with" in tiffin(*PROFILE, "--sample", "1", code=1).err


def test_drift_is_told_by_the_exit_status(applied: Path, tiffin: Tiffin) -> None:
    middle = write_two_months()
    words = (*DRIFT, "--reference", f"..{middle}")
    answer = tiffin(*words, "--since", middle, code=1).out
    assert "psi" in answer
    assert "Compared with sales, from the beginning to" in answer
    assert tiffin(*words, "--since", middle, "--json", code=1).data["drifted"] == ["revenue"]
    assert tiffin(*words, "--since", middle, "--psi", "100", "--json").data["drifted"] == []
    assert tiffin(*words, "--since", middle, "--column", "orders", "--json").data["drifted"] == []
    tiffin(*PROFILE, "--since", middle)
    (only,) = tiffin(*words, "--trend", "--json", code=1).data
    assert only["drifted"] == ["revenue"]


def test_mistakes_are_told(applied: Path, tiffin: Tiffin) -> None:
    assert "no saved dataset 'nothing'" in tiffin(*DRIFT, "--reference", "nothing", code=1).err
    assert "either" in tiffin(*DRIFT, "--reference", "online", "--online", "--trend", code=2).err
    assert "no facts between" in tiffin(*DRIFT, "--reference", "1990-01-01..1991-01-01", code=1).err
    assert "threshold psi" in tiffin(*DRIFT, "--reference", "online", "--psi", "-1", code=1).err
    assert "no profile of feature view sales" in tiffin(*DRIFT, "--reference", "..", "--trend", code=1).err


def test_load_says_what_is_not_as_expected(repository: Path, tiffin: Tiffin) -> None:
    edit(repository, "dtype=Float64)", 'dtype=Float64, expectations=[Expectation.not_null(on_failure="quarantine")])')
    edit(repository, "import Entity,", "import Entity, Expectation,")
    tiffin("apply")
    answer = tiffin("materialize", "2000-01-01", NOW.isoformat()).out
    assert "Not as expected (quarantine, 1 rows): sales: expected that revenue not null; shop_id 'c'" in answer
    report = tiffin("materialize", "2000-01-01", NOW.isoformat(), "--json").data
    assert report["quarantined"] == 1
    assert report["unmet"][0]["expectation"] == "revenue not null"
