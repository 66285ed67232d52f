"""Sources that cannot be read: one clear error each, with a hint, and nothing lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from backends.duckdb.small_views import FRAME, UTC_US, facts, opened, training_set, view_of, write
from parity.repository import open_repository
from tiffin.backends.duckdb.asof import Facts
from tiffin.definitions import FeatureView, PushSource
from tiffin.errors import (
    MaterializationError,
    NameCollisionError,
    NotFoundError,
    SourceError,
    TiffinError,
    UnsupportedError,
)
from tiffin.operations.materialize import materialize, materialize_incremental
from tiffin.operations.retrieve import retrieve
from tiffin.time import MAX_US, MIN_US
from tiffin.types import Int64


def missing(folder: Path) -> None:
    """Nothing is there."""


def empty_folder(folder: Path) -> None:
    (folder / "stats.parquet").mkdir()
    (folder / "stats.parquet" / "notes.txt").write_text("no data here")


def zero_bytes(folder: Path) -> None:
    (folder / "stats.parquet").write_bytes(b"")


def truncated(folder: Path) -> None:
    file = write(facts(), folder / "stats.parquet")
    file.write_bytes(file.read_bytes()[:-20])


def torn(folder: Path) -> None:
    """The end of the file is whole, its middle is not."""
    file = write(pa.table({**columns(500), "x": pa.array(range(500), pa.int64())}), folder / "stats.parquet")
    content = bytearray(file.read_bytes())
    content[10:800] = b"\xff" * 790
    file.write_bytes(bytes(content))


def columns(count: int) -> dict[str, pa.Array]:
    stamps = pa.array([10] * count, UTC_US)
    return {"driver": pa.array([1] * count, pa.int64()), "ts": stamps, "created": stamps}


def other_format(folder: Path) -> None:
    (folder / "stats.parquet").write_text("driver,ts,created,x\n1,2024-01-01,2024-01-01,1\n")


def without(column: str, instead: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        table = facts()
        write(
            table.rename_columns([instead if n == column else n for n in table.column_names]), folder / "stats.parquet"
        )

    make.__name__ = f"without_{column}"
    return make


def null_time(folder: Path) -> None:
    write(facts(ts=pa.array([5, None, 10], UTC_US)), folder / "stats.parquet")


def number_for_a_time(folder: Path) -> None:
    write(facts(ts=pa.array([5, 10, 10])), folder / "stats.parquet")


def text_that_is_no_time(folder: Path) -> None:
    write(facts(ts=pa.array(["2024-01-01", "yesterday", "2024-01-02"])), folder / "stats.parquet")


BAD: list[tuple[Callable[[Path], None], list[str]]] = [
    (missing, ["no file stats.parquet", "stats_files"]),
    (empty_folder, ["stats.parquet", "holds no parquet file"]),
    (zero_bytes, ["stats.parquet", "parquet"]),
    (truncated, ["stats.parquet", "parquet"]),
    (torn, ["stats_files", "cannot be read"]),
    (other_format, ["stats.parquet", "parquet"]),
    (without("x", "xx"), ["no column 'x'", "feature 'x'", "stats"]),
    (without("driver", "drivr"), ["no column 'driver'", "join key", "did you mean drivr"]),
    (without("ts", "tss"), ["no column 'ts'", "timestamp_field", "did you mean tss"]),
    (without("created", "creatd"), ["no column 'created'", "created_timestamp_column", "did you mean creatd"]),
    (null_time, ["1 row", "'ts'", "no time"]),
    (number_for_a_time, ["'ts'", "BIGINT", "a time is expected"]),
    (text_that_is_no_time, ["stats_files", "yesterday"]),
]


@pytest.mark.parametrize(("make", "says"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_bad_source_is_one_clear_error(make: Callable[[Path], None], says: list[str], tmp_path: Path) -> None:
    """Offline, from retrieval and from a spine of facts."""
    make(tmp_path)
    repository = opened(tmp_path)
    for frame, dates in ((FRAME, {}), (None, {"start_date": 0, "end_date": 99})):
        with pytest.raises(SourceError) as caught:
            retrieve(repository, frame, ["stats:x"], **dates).to_arrow()
        assert [word for word in says if word not in str(caught.value)] == []
        assert caught.value.hint
    repository.close()


@pytest.mark.parametrize(("make", "says"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_bad_source_leaves_the_store_as_it_was(make: Callable[[Path], None], says: list[str], tmp_path: Path) -> None:
    """Neither a load nor an incremental run loses what was loaded before, or claims anything."""
    file = write(facts(), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    materialize_incremental(repository, MAX_US)
    before = list(repository.online.scan_all("tests.stats.1"))
    cursor = repository.online.get_cursor("tests.stats.1")
    assert before
    file.unlink()
    make(tmp_path)
    for load in (lambda: materialize(repository, MIN_US, MAX_US), lambda: materialize_incremental(repository, MAX_US)):
        with pytest.raises((SourceError, MaterializationError)) as caught:
            load()
        assert [word for word in says if word not in str(caught.value)] == []
        assert caught.value.hint
    assert list(repository.online.scan_all("tests.stats.1")) == before
    assert repository.online.get_cursor("tests.stats.1") == cursor
    repository.close()


def test_null_time_that_was_cured_is_read_without_a_restart(tmp_path: Path) -> None:
    null_time(tmp_path)
    repository = opened(tmp_path)
    with pytest.raises(SourceError):
        training_set(repository).to_arrow()
    write(facts(), tmp_path / "stats.parquet")
    assert training_set(repository).to_arrow()["x"].to_pylist() == [2, 3, None]
    repository.close()


@pytest.mark.parametrize("how", ["replaced", "removed", "rewritten"])
def test_file_that_changes_while_it_is_read_is_an_error(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the pass that finds the facts and the one that fetches their features, the file is another one."""
    file = write(facts(), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    read = Facts.read

    def change(facts_: Facts, sql: str) -> pa.Table:
        if "tiffin_wanted" in sql:
            other = facts(x=pa.array([7, 8, 9]))
            if how == "removed":
                file.unlink(missing_ok=True)
            elif how == "replaced":
                os.replace(write(pa.concat_tables([other.slice(1), other]), tmp_path / "new.parquet"), file)
            else:
                write(other.slice(0, 1), file)
        return read(facts_, sql)

    monkeypatch.setattr(Facts, "read", change)
    with pytest.raises(SourceError) as caught:
        training_set(repository).to_arrow()
    assert "stats_files" in str(caught.value)
    assert caught.value.hint
    monkeypatch.undo()
    repository.close()


@pytest.mark.parametrize(
    ("features", "error", "says"),
    [
        (["stts:x"], NotFoundError, ["no feature view 'stts'", "did you mean stats"]),
        (["stats:xy"], NotFoundError, ["no feature 'xy'", "did you mean x"]),
        (["stats:driver"], NotFoundError, ["no feature 'driver'"]),
        ([], TiffinError, ["no features"]),
        ("stats:x", TiffinError, ["'stats:x'", "list"]),
        (["stats:"], TiffinError, ["'stats:'", "view:feature"]),
        ([7], TiffinError, ["7", "view:feature"]),
        (["stats:x", "stats:x"], TiffinError, ["'stats:x'", "twice"]),
    ],
)
def test_unknown_or_malformed_reference_is_refused(
    features: object, error: type[TiffinError], says: list[str], tmp_path: Path
) -> None:
    write(facts(), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    with pytest.raises(error) as caught:
        retrieve(repository, FRAME, features)  # type: ignore[arg-type]
    assert [word for word in says if word not in str(caught.value)] == []
    assert caught.value.hint
    repository.close()


def test_feature_named_as_an_entity_column_is_refused(tmp_path: Path) -> None:
    write(facts(), tmp_path / "stats.parquet")
    repository = opened(tmp_path)
    frame = FRAME.append_column("x", pa.array([0, 0, 0]))
    with pytest.raises(NameCollisionError, match="full_feature_names"):
        training_set(repository, frame)
    answer = retrieve(repository, frame, ["stats:x"], full_feature_names=True).to_arrow()
    assert answer.column_names == ["driver", "event_timestamp", "x", "stats__x"]
    repository.close()


def test_view_without_history_says_so(tmp_path: Path) -> None:
    stats = view_of("stats.parquet", schema={"x": Int64})
    pushed = FeatureView(
        name="stats", source=PushSource(name="push"), entities=list(stats.entity_list), schema=list(stats.schema or ())
    )
    repository = open_repository(tmp_path, [pushed])
    with pytest.raises(UnsupportedError, match="no history") as caught:
        training_set(repository)
    assert "batch_source" in caught.value.hint
    repository.close()


def test_path_on_a_remote_store_is_refused_before_anything_runs(tmp_path: Path) -> None:
    repository = opened(tmp_path, "s3://bucket/stats.parquet")
    with pytest.raises(UnsupportedError, match="s3://"):
        training_set(repository).to_arrow()
    repository.close()


def test_nothing_applied_yet_says_what_to_do(tmp_path: Path) -> None:
    repository = open_repository(tmp_path)
    with pytest.raises(NotFoundError, match="tiffin apply"):
        training_set(repository)
    repository.close()
