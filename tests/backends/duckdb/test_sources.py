"""Where facts may stand: one file, several, folders, globs, CSV; and how their columns may be named and typed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from backends.duckdb.small_views import FRAME, UTC_US, facts, opened, training_set, write
from tiffin.definitions import CsvFormat, ParquetFormat
from tiffin.types import Int64, String, ValueType

ANSWER = [2, 3, None]


def write_csv(table: pa.Table, file: Path) -> None:
    text = [",".join(table.column_names)]
    text += [",".join("" if v is None else str(v) for v in row.values()) for row in table.to_pylist()]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(text) + "\n")


def one_file(folder: Path) -> None:
    write(facts(), folder / "data" / "stats.parquet")


def two_files(folder: Path) -> None:
    write(facts().slice(0, 1), folder / "data" / "b.parquet")
    write(facts().slice(1), folder / "data" / "a.parquet")


def nested_folders(folder: Path) -> None:
    write(facts().slice(0, 2), folder / "data" / "day=1" / "a.parquet")
    write(facts().slice(2), folder / "data" / "day=2" / "a.parquet")
    (folder / "data" / "README.txt").write_text("not data")


def one_csv(folder: Path) -> None:
    write_csv(facts(), folder / "data" / "stats.csv")


def two_csv(folder: Path) -> None:
    write_csv(facts().slice(0, 1), folder / "data" / "a.csv")
    write_csv(facts().slice(1), folder / "data" / "b.csv")


@pytest.mark.parametrize(
    ("lay_out", "path"),
    [
        (one_file, "data/stats.parquet"),
        (one_file, "data"),
        (two_files, "data"),
        (two_files, "data/"),
        (two_files, "data/*.parquet"),
        (two_files, "data/[ab].parquet"),
        (nested_folders, "data"),
        (nested_folders, "data/*/a.parquet"),
        (nested_folders, "data/**/*.parquet"),
        (one_csv, "data/stats.csv"),
        (two_csv, "data/*.csv"),
    ],
)
@pytest.mark.parametrize("mode", ["known", "event"])
def test_facts_are_found(lay_out: Callable[[Path], None], path: str, mode: str, tmp_path: Path) -> None:
    lay_out(tmp_path)
    repository = opened(tmp_path, path, mode=mode)
    assert training_set(repository).to_arrow()["x"].to_pylist() == ANSWER
    repository.close()


def test_absolute_paths_and_file_urls_are_read(tmp_path: Path) -> None:
    file = write(facts(), tmp_path / "elsewhere" / "stats.parquet")
    for path in (str(file), f"file://{file}"):
        repository = opened(tmp_path, path)
        assert training_set(repository).to_arrow()["x"].to_pylist() == ANSWER
        repository.close()


def test_format_says_what_a_folder_or_an_odd_ending_holds(tmp_path: Path) -> None:
    two_csv(tmp_path)
    write(facts(), tmp_path / "stats.dat")
    for path, file_format in (("data", CsvFormat()), ("stats.dat", ParquetFormat())):
        repository = opened(tmp_path, path, file_format=file_format)
        assert training_set(repository).to_arrow()["x"].to_pylist() == ANSWER
        repository.close()


def test_paths_with_quotes_spaces_and_accents_are_read(tmp_path: Path) -> None:
    name = "it's a [day] in été.parquet"
    write(facts(), tmp_path / name)
    repository = opened(tmp_path, name)
    job = training_set(repository)
    assert job.to_arrow()["x"].to_pylist() == ANSWER
    assert "été" in job.to_sql()
    repository.close()


def test_files_may_have_their_columns_in_another_order_or_lack_a_feature(tmp_path: Path) -> None:
    write(facts().slice(0, 2).select(["x", "created", "ts", "driver"]), tmp_path / "data" / "a.parquet")
    write(facts(x=None).slice(2), tmp_path / "data" / "b.parquet")
    repository = opened(tmp_path, "data")
    assert training_set(repository).to_arrow()["x"].to_pylist() == [2, None, None]
    repository.close()


def test_rows_of_many_files_and_row_groups_are_fetched_from_the_right_place(tmp_path: Path) -> None:
    """Rows are found by file and number; every driver has its own value, so a mix-up shows."""
    for number in range(7):
        drivers = list(range(number * 50, number * 50 + 50))
        table = pa.table(
            {
                "driver": pa.array(drivers, pa.int64()),
                "ts": pa.array([10] * 50, UTC_US),
                "created": pa.array([10] * 50, UTC_US),
                "x": pa.array([driver * 11 for driver in drivers], pa.int64()),
            }
        )
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / f"{9 - number}.parquet", row_group_size=3)
    repository = opened(tmp_path, "data")
    wanted = [349, 0, 51, 350, 49, 50, 51]
    frame = pa.table({"driver": pa.array(wanted), "event_timestamp": pa.array([20] * 7, UTC_US)})
    assert training_set(repository, frame).to_arrow()["x"].to_pylist() == [3839, 0, 561, None, 539, 550, 561]
    repository.close()


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_every_column_may_be_renamed(ending: str, tmp_path: Path) -> None:
    """`field_mapping` renames keys, times, created times and features."""
    table = facts().rename_columns(["drv", "Happened At", "seen", "X raw"])
    if ending == "csv":
        write_csv(table, tmp_path / "stats.csv")
    else:
        write(table, tmp_path / "stats.parquet")
    repository = opened(
        tmp_path,
        f"stats.{ending}",
        timestamp_field="Happened At",
        created_timestamp_column="seen",
        field_mapping={"drv": "driver", "X raw": "x"},
    )
    job = training_set(repository)
    assert job.to_arrow()["x"].to_pylist() == ANSWER
    assert list(repository.offline.schema(repository.snapshot().sources["stats_files"])) == table.column_names
    repository.close()


def test_two_columns_may_change_names(tmp_path: Path) -> None:
    table = facts()
    swapped = {"x": "driver", "driver": "x"}
    write(table.rename_columns([swapped.get(name, name) for name in table.column_names]), tmp_path / "stats.parquet")
    repository = opened(tmp_path, field_mapping=swapped)
    assert training_set(repository).to_arrow()["x"].to_pylist() == ANSWER
    repository.close()


@pytest.mark.parametrize("renamed", ["time", "created"])
def test_time_columns_may_be_named_as_the_mapping_names_them(renamed: str, tmp_path: Path) -> None:
    """The time fields of a source may be given under the names that `field_mapping` gives them."""
    column = {"time": "ts", "created": "created"}[renamed]
    names = ["raw" if name == column else name for name in facts().column_names]
    write(facts().rename_columns(names), tmp_path / "stats.parquet")
    repository = opened(tmp_path, field_mapping={"raw": column})
    assert training_set(repository).to_arrow()["x"].to_pylist() == ANSWER
    repository.close()


DAY_FRAME = pa.table(
    {
        "driver": pa.array([1, 1, 2], pa.int64()),
        "event_timestamp": pa.array(["2024-01-01T23:59:59.999999", "2024-01-02", "2024-01-03"], pa.string()),
    }
)
DAYS = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]


@pytest.mark.parametrize(
    "times",
    [
        pa.array(DAYS, pa.date32()),
        pa.array(["2024-01-01", "2024-01-02", "2024-01-03"]),
        pa.array(["2024-01-01T00:00:00Z", "2024-01-02 01:00:00+01:00", "2024-01-03T00:00:00"]),
        pa.array(DAYS, pa.date32()).cast(pa.timestamp("s")),
        pa.array(DAYS, pa.date32()).cast(pa.timestamp("ms", "UTC")),
        pa.array(DAYS, pa.date32()).cast(pa.timestamp("us")),
        pa.array(DAYS, pa.date32()).cast(pa.timestamp("ns")),
        pa.array(DAYS, pa.date32()).cast(pa.timestamp("ns", "UTC")),
        pa.array(DAYS, pa.date32()).cast(pa.timestamp("us", "America/New_York")),
    ],
    ids=lambda times: f"{times.type}-{str(times[1])[:22]}",
)
@pytest.mark.parametrize("mode", ["known", "event"])
def test_times_of_any_type_are_the_same_instants(times: pa.Array, mode: str, tmp_path: Path) -> None:
    """DATE, text, seconds to nanoseconds, with and without a zone, as event time and as created time."""
    write(facts(ts=times, created=times), tmp_path / "stats.parquet")
    repository = opened(tmp_path, mode=mode)
    job = training_set(repository, DAY_FRAME)
    assert job.to_arrow()["x"].to_pylist() == [1, 2, 3]
    assert [(view.matched, view.known_later) for view in job.report.views] == [(3, 0)]
    repository.close()


def test_nanoseconds_in_a_source_are_floored(tmp_path: Path) -> None:
    """PIT-7, also before 1970: a fact at 999 ns counts as 0, one at -1 ns as -1 microsecond."""
    nanos = pa.array([-1, 999, 1000], pa.timestamp("ns", "UTC"))
    write(facts(ts=nanos, created=nanos, driver=pa.array([1, 1, 1], pa.int64())), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    frame = pa.table({"driver": pa.array([1] * 4), "event_timestamp": pa.array([-2, -1, 0, 1], UTC_US)})
    assert training_set(repository, frame).to_arrow()["x"].to_pylist() == [None, 1, 2, 3]
    repository.close()


def test_dictionary_columns_are_read_as_their_values(tmp_path: Path) -> None:
    """Keys, features and entity columns alike."""
    words = pa.array(["one", "two", None]).dictionary_encode()
    keys = pa.array(["a", "a", "b"]).dictionary_encode()
    write(facts(driver=keys, x=words), tmp_path / "stats.parquet")
    repository = opened(tmp_path, schema={"x": String}, key_type=ValueType.STRING)
    drivers = pa.array(["a", "b", None, "a"]).dictionary_encode()
    frame = pa.table({"driver": drivers, "event_timestamp": pa.array([20, 20, 20, 5], UTC_US)})
    table = training_set(repository, frame).to_arrow()
    assert table["x"].to_pylist() == ["two", None, None, "one"]
    assert table.schema.field("x").type == pa.string()
    assert table["driver"].combine_chunks().equals(drivers)
    repository.close()


def test_narrow_and_unsigned_keys_and_features_are_found(tmp_path: Path) -> None:
    """TYP-3: an id is the same number in whatever integer type it stands."""
    table = facts(driver=pa.array([1, 1, 2], pa.uint16()), x=pa.array([1, 2, 3], pa.int8()))
    write(table, tmp_path / "stats.parquet")
    repository = opened(tmp_path, schema={"x": Int64})
    answer = training_set(repository).to_arrow()
    assert answer["x"].to_pylist() == ANSWER
    assert answer.schema.field("x").type == pa.int64()
    repository.close()


def test_csv_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    one_csv(tmp_path)
    repository = opened(tmp_path, "data/stats.csv")
    assert training_set(repository).to_arrow()["x"].to_pylist() == ANSWER
    write_csv(facts(x=pa.array([7, 8, 9])), tmp_path / "data" / "stats.csv")
    assert training_set(repository).to_arrow()["x"].to_pylist() == [8, 9, None]
    repository.close()


def test_text_in_csv_stays_as_it_is_written(tmp_path: Path) -> None:
    """TYP-1: a column that is declared as text is no number, no date and no truth, whatever it looks like."""
    texts = ["1.50", "9223372036854775808", "2024-01-01 00:00:00+02", "007", "TRUE", "1e3"]
    for text in texts:
        lines = ["id,ts,created,word", f"{text},1970-01-01,1970-01-01,{text}"]
        (tmp_path / "stats.csv").write_text("\n".join(lines) + "\n")
        schema = {"word": String}
        repository = opened(tmp_path, "stats.csv", schema=schema, key="id", key_type=ValueType.STRING)
        frame = pa.table({"id": [text], "event_timestamp": pa.array([20], UTC_US)})
        assert training_set(repository, frame, ["stats:word"]).to_arrow()["word"].to_pylist() == [text]
        repository.close()


def test_empty_source_gives_nulls_of_the_right_type(tmp_path: Path) -> None:
    write(facts().slice(0, 0), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    table = training_set(repository).to_arrow()
    assert table["x"].to_pylist() == [None] * 3
    assert table.schema.field("x").type == pa.int64()
    repository.close()


def test_sql_reads_the_same_rows_from_every_kind_of_file(tmp_path: Path) -> None:
    two_csv(tmp_path)
    two_files(tmp_path)
    import duckdb

    for path in ("data/*.csv", "data/*.parquet"):
        repository = opened(tmp_path, path)
        sql = training_set(repository).to_sql()
        repository.close()
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("entity_df", FRAME)
            assert connection.sql(sql).to_arrow_table()["x"].to_pylist() == ANSWER
