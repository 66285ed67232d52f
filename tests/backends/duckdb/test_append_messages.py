"""Messages appended to files: each once, however they come again (STR-1)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.backends.duckdb.offline import DuckDBEngine
from tiffin.definitions import FileSource, ParquetFormat
from tiffin.errors import StoreError, UnsupportedError

FOLDER = FileSource(path="clicks", file_format=ParquetFormat(), timestamp_field="at")
#: A run of messages, and which of them gave no row.
RUNS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 12), st.sets(st.integers(0, 42), max_size=4)), min_size=1, max_size=12
)


def engine(folder: Path) -> DuckDBEngine:
    (folder / "clicks").mkdir(exist_ok=True)
    return DuckDBEngine.from_config({}, str(folder))


def append(folder: Path, offsets, left_out=(), *, stream="s", partition="0", source=FOLDER) -> int:
    rows = pa.table({"n": pa.array(offsets)})
    return engine(folder).append_messages(source, rows, stream, partition, list(offsets), list(left_out))


def held(folder: Path) -> list[int]:
    tables = [pq.read_table(path) for path in sorted((folder / "clicks").glob("*.parquet"))]
    return sorted(n for table in tables for n in table["n"].to_pylist())


@settings(deadline=None)
@given(runs=RUNS, scale=st.sampled_from([1, 10**40]))
def test_every_message_that_gave_a_row_is_there_once(tmp_path_factory, runs, scale: int) -> None:
    """Runs that overlap in any way, as after crashes with other batches; what gave no row once may give one later."""
    folder, expected = tmp_path_factory.mktemp("history"), Counter[int]()
    for first, count, bad in runs:
        all_ = range(first, first + count)
        offsets, left_out = [n for n in all_ if n not in bad], [n for n in all_ if n in bad]
        if not offsets:
            continue
        rows = pa.table({"n": pa.array(offsets)})
        scaled = [[n * scale for n in part] for part in (offsets, left_out)]
        added = engine(folder).append_messages(FOLDER, rows, "s", "shard-0", *scaled)
        before = len(expected)
        expected.update(set(offsets) - set(expected))
        assert added == len(expected) - before
    assert held(folder) == sorted(expected)


def test_streams_and_partitions_are_apart(tmp_path: Path) -> None:
    """A topic that was made anew counts from 0 again."""
    assert append(tmp_path, [1, 2]) == 2
    assert append(tmp_path, [1, 2], partition="1") == 2
    assert append(tmp_path, [1, 2], stream="made anew") == 2
    assert append(tmp_path, [1, 2]) == 0
    assert held(tmp_path) == [1, 1, 1, 2, 2, 2]


def test_file_gets_what_is_appended_beside_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [0]}), tmp_path / "one.parquet")
    source = FileSource(path="one.parquet", timestamp_field="at")
    assert append(tmp_path, [5, 6], source=source) == 2
    assert append(tmp_path, [6, 7], source=source) == 1
    assert len(list((tmp_path / "one.parquet.appended").glob("stream-*.parquet"))) == 2
    assert engine(tmp_path).query(f"SELECT n FROM '{tmp_path}/one.parquet.appended/*.parquet'").num_rows == 3


@pytest.mark.parametrize("path", ["clicks/*.parquet", "clicks.csv"])
def test_source_that_cannot_be_appended_to_is_refused_before_anything_is_read(tmp_path: Path, path: str) -> None:
    source = FileSource(path=path, timestamp_field="at")
    with pytest.raises(UnsupportedError, match="cannot be appended to"):
        engine(tmp_path).check_appends_messages(source)


def test_write_that_fails_leaves_nothing_and_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            append(tmp_path, [1, 2])
    assert list((tmp_path / "clicks").iterdir()) == []
    assert append(tmp_path, [1, 2]) == 2
