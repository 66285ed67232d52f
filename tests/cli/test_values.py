"""Training sets, loading and online reads from the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.repositories import NOW, Tiffin

REPORT = ["VIEW", "ROWS", "MATCHED", "EXPIRED", "MISSING", "TIES", "KNOWN", "LATER"]


@pytest.fixture
def labels(applied: Path) -> Path:
    """Entity rows: one that matches, one that is expired, one without facts."""
    lines = [f"{shop},{NOW.isoformat()},{label}" for shop, label in (("007", 1), ("b", 2), ("nowhere", 3))]
    (applied / "labels.csv").write_text("\n".join(["shop_id,event_timestamp,label", *lines]) + "\n")
    return applied / "labels.csv"


def test_a_training_set_is_shown_with_its_report(tiffin: Tiffin, labels: Path) -> None:
    out = tiffin("get-historical-features", "-d", "labels.csv", "-f", "sales:revenue", "-f", "sales:orders").out
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["shop_id", "event_timestamp", "label", "revenue", "orders"]
    assert lines[1][0] == "007"
    assert lines[1][-2:] == ["10.5", "3"]
    assert REPORT in lines
    assert lines[-1] == ["sales", "3", "1", "1", "1", "0", "0"]


def test_a_training_set_as_json_has_rows_columns_and_report(tiffin: Tiffin, labels: Path) -> None:
    data = tiffin("get-historical-features", "-d", "labels.csv", "--service", "model", "--json").data
    assert data["row_count"] == 3
    assert [column["name"] for column in data["columns"]] == [
        "shop_id",
        "event_timestamp",
        "label",
        "revenue",
        "orders",
    ]
    assert [(row["shop_id"], row["revenue"]) for row in data["rows"]] == [("007", 10.5), ("b", None), ("nowhere", None)]
    assert data["report"]["views"][0] == {
        "view": "sales",
        "rows": 3,
        "matched": 1,
        "expired": 1,
        "missing": 1,
        "ties": 0,
        "known_later": 0,
    }


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_training_set_is_written_to_a_file(tiffin: Tiffin, labels: Path, ending: str) -> None:
    words = ["get-historical-features", "-d", "labels.csv", "--service", "model", "-o", f"out.{ending}"]
    assert f"Wrote 3 rows and 5 columns to out.{ending}" in tiffin(*words).out
    again = tiffin(*words, "--json").data
    assert again["output"] == f"out.{ending}"
    assert "rows" not in again
    written = labels.parent / f"out.{ending}"
    if ending == "parquet":
        assert pq.read_table(written)["orders"].to_pylist() == [3, None, None]
    else:
        assert written.read_text().splitlines()[0] == '"shop_id","event_timestamp","label","revenue","orders"'
    assert not list(labels.parent.glob("*.part"))


def test_entity_rows_come_from_json_the_standard_input_and_sql(tiffin: Tiffin, labels: Path) -> None:
    rows = json.dumps([{"shop_id": "007", "event_timestamp": NOW.isoformat()}])
    words = ["get-historical-features", "-f", "sales:orders", "--json"]
    assert tiffin(*words, "-d", rows).data["rows"][0]["orders"] == 3
    csv = f"shop_id,event_timestamp\n007,{NOW.isoformat()}\n"
    assert tiffin(*words, "-d", "-", input=csv).data["rows"][0]["orders"] == 3
    sql = f"SELECT '007' AS shop_id, TIMESTAMPTZ '{NOW.isoformat()}' AS event_timestamp"
    assert tiffin(*words, "--sql", sql).data["rows"][0]["orders"] == 3


def test_without_entity_rows_the_facts_of_a_range_are_the_rows(tiffin: Tiffin, applied: Path) -> None:
    start = (NOW - timedelta(hours=3)).isoformat()
    data = tiffin("get-historical-features", "-f", "sales:orders", "-s", start, "-e", NOW.isoformat(), "--json").data
    assert sorted(row["shop_id"] for row in data["rows"]) == ["007", "c"]


def test_full_feature_names_and_limit(tiffin: Tiffin, labels: Path) -> None:
    words = ["get-historical-features", "-d", "labels.csv", "-f", "sales:orders", "--full-feature-names"]
    out = tiffin(*words, "--limit", "1").out
    assert "sales__orders" in out
    assert "1 of 3 rows" in out
    assert out.count("\n007") == 1
    assert "\nb " not in out


def test_explain_runs_nothing(tiffin: Tiffin, labels: Path) -> None:
    (labels.parent / "out.csv").write_text("mine")
    words = ["get-historical-features", "-d", "labels.csv", "-f", "sales:orders", "--explain", "-o", "out.csv"]
    assert "sales" in tiffin(*words).out
    assert (labels.parent / "out.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-d", "labels.csv"], "which features are wanted"),
        (["-d", "labels.csv", "-f", "sales:orders", "--service", "model"], "which features are wanted"),
        (["-d", "labels.csv", "-f", "sales:order"], "did you mean orders?"),
        (["-d", "labels.csv", "-f", "sale:orders"], "did you mean sales?"),
        (["-d", "missing.csv", "-f", "sales:orders"], "missing.csv is not there"),
        (["-d", "labels.csv", "--sql", "SELECT 1", "-f", "sales:orders"], "pass one of them"),
        (["-d", "labels.csv", "-f", "sales:orders", "-o", "out.xlsx"], ".parquet or .csv"),
        (["--sql", "SELEKT 1", "-f", "sales:orders"], "SELEKT"),
        (["-s", "yesterday", "-f", "sales:orders"], "ISO 8601"),
    ],
    ids=["no features", "both", "feature", "view", "file", "two spines", "output", "sql", "time"],
)
def test_a_wrong_request_is_one_message(tiffin: Tiffin, labels: Path, words: list[str], text: str) -> None:
    answer = tiffin("get-historical-features", *words, code=1)
    assert text in answer.err
    assert answer.err.startswith("Error: ")


def test_materialize_says_what_was_loaded(tiffin: Tiffin, applied: Path) -> None:
    lines = tiffin("materialize", "2000-01-01", NOW.isoformat()).out.splitlines()
    assert lines[0].split() == ["VIEW", "FROM", "TO", "ROWS", "WRITTEN", "STALE", "SECONDS"]
    assert lines[1].split()[0] == "sales"
    assert lines[1].split()[3:6] == ["3", "3", "0"]
    assert lines[-1].startswith("Loaded 1 feature view: 3 of 3 rows")


def test_loading_again_writes_nothing_newer(tiffin: Tiffin, loaded: Path) -> None:
    run = tiffin("materialize", "2000-01-01", NOW.isoformat(), "-v", "sales", "--json").data["runs"][0]
    assert (run["written"], run["stale"]) == (0, 3)


def test_naive_times_are_utc(tiffin: Tiffin, applied: Path) -> None:
    run = tiffin("materialize", "2000-01-01", "2000-01-02T03:00:00", "--json").data["runs"][0]
    assert (run["start"], run["end"]) == ("2000-01-01T00:00:00Z", "2000-01-02T03:00:00Z")
    run = tiffin("materialize", "2000-01-01", "2000-01-02T03:00:00+02:00", "--json").data["runs"][0]
    assert run["end"] == "2000-01-02T01:00:00Z"


def test_materialize_incremental_loads_what_is_new(tiffin: Tiffin, applied: Path) -> None:
    assert " the beginning " in tiffin("materialize-incremental", "2000-01-01").out
    first = tiffin("materialize-incremental", NOW.isoformat(), "--json").data["runs"][0]
    second = tiffin("materialize-incremental", NOW.isoformat(), "-v", "sales", "--json").data["runs"][0]
    assert first["written"] > 0
    assert second["written"] == 0


def test_runs_keep_the_history_of_loads_newest_first(tiffin: Tiffin, loaded: Path) -> None:
    tiffin("materialize-incremental", NOW.isoformat())
    data = tiffin("runs", "--json").data
    assert [run["view"] for run in data] == ["sales", "sales"]
    assert data[0]["started"] >= data[1]["started"]
    assert tiffin("runs", "--limit", "1", "--view", "sales", "--json").data == data[:1]
    assert tiffin("runs").out.splitlines()[0].split()[:2] == ["STARTED", "VIEW"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["materialize", "soon", "2024-01-01"], "ISO 8601"),
        (["materialize", "2024-01-02", "2024-01-01"], "2024-01-02"),
        (["materialize", "2024-01-01", "2024-01-02", "-v", "sale"], "did you mean sales?"),
        (["materialize-incremental", "2024-01-02", "-v", "sale"], "did you mean sales?"),
    ],
)
def test_a_wrong_load_is_one_message(tiffin: Tiffin, applied: Path, words: list[str], text: str) -> None:
    assert text in tiffin(*words, code=1).err


def test_a_load_that_fails_says_what_is_left(tiffin: Tiffin, applied: Path) -> None:
    (applied / "sales.parquet").write_bytes(b"not parquet")
    answer = tiffin("materialize", "2000-01-01", NOW.isoformat(), "--json", code=1)
    assert answer.problem["subject"] == "feature view sales"
    assert answer.problem["hint"]


def test_online_features_are_shown_with_why_a_value_is_missing(tiffin: Tiffin, loaded: Path) -> None:
    words = [word for shop in ("007", "b", "c", "nowhere") for word in ("-e", f"shop_id={shop}")]
    lines = [line.split() for line in tiffin("get-online-features", *words, "--service", "model").out.splitlines()]
    assert lines == [
        ["shop_id", "revenue", "orders"],
        ["007", "10.5", "3"],
        ["b", "OUTSIDE_MAX_AGE", "OUTSIDE_MAX_AGE"],
        ["c", "NULL_VALUE", "NULL_VALUE"],
        ["nowhere", "NOT_FOUND", "NOT_FOUND"],
    ]


def test_online_features_as_json_have_values_statuses_and_times(tiffin: Tiffin, loaded: Path) -> None:
    words = ["-e", "shop_id=007", "-f", "sales:orders", "--full-feature-names"]
    data = tiffin("get-online-features", *words, "--json").data
    assert data["values"] == {"shop_id": ["007"], "sales__orders": [3]}
    assert data["statuses"] == {"sales__orders": ["PRESENT"]}
    hour_ago = (NOW - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert data["event_timestamps"] == {"sales__orders": [hour_ago]}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-e", "shop_id=1", "-f", "sales:order"], "did you mean orders?"),
        (["-e", "store_id=1", "-f", "sales:orders"], "shop_id"),
        (["-e", "shop_id", "-f", "sales:orders"], "key=value"),
        (["-e", "shop_id=1"], "which features are wanted"),
        (["-e", "shop_id=1", "--service", "mode"], "did you mean model?"),
    ],
)
def test_a_wrong_read_is_one_message(tiffin: Tiffin, loaded: Path, words: list[str], text: str) -> None:
    assert text in tiffin("get-online-features", *words, code=1).err


def test_training_and_serving_agree(tiffin: Tiffin, labels: Path) -> None:
    tiffin("materialize", "2000-01-01", NOW.isoformat())
    trained = tiffin("get-historical-features", "-d", "labels.csv", "--service", "model", "--json").data["rows"]
    words = [word for row in trained for word in ("-e", f"shop_id={row['shop_id']}")]
    served = tiffin("get-online-features", *words, "--service", "model", "--json").data["values"]
    for name in ("revenue", "orders"):
        assert served[name] == [row[name] for row in trained]


def test_a_training_set_that_may_leak_is_refused_on_request(tiffin: Tiffin, labels: Path) -> None:
    words = ["get-historical-features", "-d", "labels.csv", "-f", "sales:revenue", "--label", "label", "--before", "2h"]
    out = tiffin(*words).out
    assert "TELLS THE LABEL" in out
    assert "May leak: revenue: whether it is there tells 100.0% of the label" in out
    data = tiffin(*words, "--json").data
    assert [(leak["kind"], leak["subject"]) for leak in data["report"]["leaks"]] == [("presence", "revenue")]
    assert "the training set may leak: revenue" in tiffin(*words, "--check", code=1).err
    assert tiffin(*words[:5], "--check").code == 0
