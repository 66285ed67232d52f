"""What is printed, and what is read from files and from words."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tiffin.cli import frames, output
from tiffin.cli.commands.online import parse_entities
from tiffin.errors import InputError, RequestError


def test_json_has_no_value_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2024, 1, 31, 12, tzinfo=UTC)
    output.print_json({"nan": float("nan"), "up": float("inf"), "at": moment, "x": Decimal("1.50"), "b": b"\x00"})
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"nan": "NaN", "up": "Infinity", "at": "2024-01-31T12:00:00Z", "x": "1.50", "b": "AA=="}


def test_json_keeps_large_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json([2**63 - 1])
    assert json.loads(capsys.readouterr().out) == [2**63 - 1]


def test_a_piped_table_is_plain_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME", "ROWS"], [["a", 5], ["long name", 12345]], thousands=True)
    assert capsys.readouterr().out == "NAME         ROWS\na               5\nlong name  12,345\n"


def test_a_table_without_rows_says_so_on_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["NAME"], [], empty="There are no views.")
    assert capsys.readouterr() == ("", "There are no views.\n")


def test_on_a_terminal_a_table_shows_brackets_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    output.print_table(["NAME"], [["[bold]a"]])
    assert "[bold]a" in capsys.readouterr().out


def test_data_too_wide_for_a_terminal_has_a_line_per_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    names = [f"feature_{number}" for number in range(9)]
    output.print_rows(names, [list(range(9)), [None] * 9])
    lines = capsys.readouterr().out.splitlines()
    assert ["feature_8", "8"] in [line.split() for line in lines]
    assert all(len(line) <= 40 for line in lines)


def test_data_that_is_piped_has_a_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"feature_{number}" for number in range(99)]
    output.print_rows(names, [list(range(99))])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [names, [str(n) for n in range(99)]]


def test_entities_repeat_into_rows() -> None:
    assert parse_entities(("a=1", "a=2", "b=x=y", "b=")) == [{"a": "1", "b": "x=y"}, {"a": "2", "b": ""}]


@pytest.mark.parametrize("texts", [("a",), ("=1",), ("a=1", "a=2", "b=x")])
def test_entities_that_make_no_rows_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(RequestError, match="-e "):
        parse_entities(texts)


TABLE = pa.table({"id": ["007", "8"], "event_timestamp": pa.array([0, 1], pa.timestamp("us", "UTC"))})
CSV = "id,event_timestamp\n007,1970-01-01T00:00:00Z\n8,1970-01-01T00:00:00.000001Z\n"


def test_entity_rows_come_from_parquet_as_they_are(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "rows.parquet")
    assert frames.read_frame(str(tmp_path / "rows.parquet")).equals(TABLE)


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.tsv"])
def test_text_keys_of_a_csv_keep_their_zeros(tmp_path: Path, name: str) -> None:
    text = CSV.replace(",", "\t") if name.endswith("tsv") else CSV
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    table = frames.read_frame(str(tmp_path / name), text_columns=["id"])
    assert table["id"].to_pylist() == ["007", "8"]
    assert table["event_timestamp"].to_pylist() == TABLE["event_timestamp"].to_pylist()


def test_entity_rows_come_from_json_rows_and_columns() -> None:
    assert frames.read_frame('[{"id": 1}, {"id": 2}]').to_pydict() == {"id": [1, 2]}
    assert frames.read_frame('{"id": [1, 2]}').to_pydict() == {"id": [1, 2]}


def test_entity_rows_that_cannot_be_read_are_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.parquet").write_text("no")
    (tmp_path / "rows.xlsx").write_text("no")
    for name in ("empty.csv", "broken.parquet", "rows.xlsx", "missing.csv", ""):
        with pytest.raises(InputError):
            frames.read_frame(str(tmp_path / name))
    for text in ("[1, 2]", '[{"id": 1}, 2]', "{", '{"id": 1}'):
        with pytest.raises(InputError, match="JSON"):
            frames.read_frame(text)


def test_nanoseconds_are_shown_as_microseconds() -> None:
    times = pa.array([1_999], pa.timestamp("ns", "UTC"))
    rows = frames.python_rows(pa.table({"at": times, "day": pa.array([1_999], pa.timestamp("ns"))}))
    assert rows[0]["at"] == datetime(1970, 1, 1, microsecond=1, tzinfo=UTC)
    assert rows[0]["day"] == datetime(1970, 1, 1, microsecond=1)


def test_a_csv_that_cannot_hold_a_column_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="parquet"):
        frames.write_csv(pa.table({"a": [[1, 2]]}), str(tmp_path / "out.csv"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.xlsx", "out", "missing/out.csv"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        frames.check_output(str(tmp_path / name))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell: str) -> None:
    from tiffin.cli import main

    answer = CliRunner().invoke(main, ["completion", shell])
    assert answer.exit_code == 0
    assert "_TIFFIN_COMPLETE" in answer.output
