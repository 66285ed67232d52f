"""The data sets, made once from a seed and kept in a folder.

A data set has a name that says everything (`facts-10M-v0`), so that a case can ask for it and two runs read the same
bytes:

- `facts-<rows>-v<i>`: facts of view i in the order in which they arrived; columns key (int64), event_timestamp, created
  (timestamps in microseconds, UTC), then ten features, float64 and int64 by turns.
- `shuffled-<rows>-v<i>`: the same facts in no order.
- `corrected-<rows>-v<i>`: every fifth fact repeats the key and time of an earlier one and was created later, so ties
  matter.
- `strings-<rows>-v<i>`: every second feature is a string.
- `mixed-<rows>-v<i>`: seventeen features, four of them strings; with the key and the times, twenty columns.
- `latest-<rows>-v<i>`: one fact per key.
- `wide-<rows>-v<i>`: one fact per key, with fifty features.
- `few-<rows>-v<i>`: facts of a tenth as many keys as there are otherwise.
- `spine-<rows>`: entity rows; columns key, event_timestamp, row_id, label.
- `schemas-<count>`: a folder of small files, ten features each, with a name of its own per file.

The folder is `TIFFIN_BENCH_DATA`, or `benchmarks/.data`. The full set takes about 12 GB.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

KEYS = 100_000
FEATURES, MIXED_FEATURES, WIDE_FEATURES = 10, 17, 50
START_US = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z
SPAN_US = 90 * 86_400_000_000
_CHUNK_ROWS = 1_000_000
_ROW_GROUP_ROWS = 122_880  # what DuckDB itself writes
_SIZES = {"k": 1_000, "M": 1_000_000}


def data_folder() -> Path:
    """Where data sets are kept."""
    return Path(os.environ.get("TIFFIN_BENCH_DATA", Path(__file__).resolve().parent / ".data"))


def work_folder() -> Path:
    """A new folder on the disk of the data sets, removed when the process of the case has ended."""
    folder = Path(os.environ.get("TIFFIN_BENCH_WORK", data_folder() / "work"))
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder))


def data_path(name: str) -> Path:
    """The file (or folder, for `schemas`) of a data set, whether it is there or not."""
    return data_folder() / (name if name.startswith("schemas-") else f"{name}.parquet")


def feature_names(view: int, count: int = FEATURES) -> list[str]:
    """The features of a view; no two views share one."""
    return [f"v{view}_f{index}" for index in range(count)]


def features_of(facts: str, view: int) -> list[str]:
    """The features of a data set of facts that is view number `view` of a question."""
    counts = {"wide": WIDE_FEATURES, "mixed": MIXED_FEATURES}
    return feature_names(view, counts.get(facts.split("-")[0], FEATURES))


def parse_rows(text: str) -> int:
    """A number of rows such as `10k` or `1M`."""
    return int(text[:-1]) * _SIZES[text[-1]] if text[-1] in _SIZES else int(text)


def format_rows(rows: int) -> str:
    """The shortest name of a number of rows.

    >>> format_rows(100_000), format_rows(50_000_000)
    ('100k', '50M')
    """
    for suffix, size in (("M", 1_000_000), ("k", 1_000)):
        if rows % size == 0:
            return f"{rows // size}{suffix}"
    return str(rows)


def ensure(name: str) -> Path:
    """Makes a data set unless it is there; a half-written file is never taken for a whole one."""
    path = data_path(name)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    kind, size, *rest = name.split("-")
    rows = parse_rows(size)
    if kind == "schemas":
        _write_schemas(partial, rows)
    else:
        _write_table(partial, _spine(rows) if kind == "spine" else _facts(kind, rows, int(rest[0][1:])))
    partial.rename(path)
    return path


def _write_table(path: Path, tables: Iterator[pa.Table]) -> None:
    import pyarrow.parquet as pq

    writer = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
    assert writer is not None
    writer.close()


def _spine(rows: int) -> Iterator[pa.Table]:
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng([2, rows])
    yield pa.table(
        {
            "key": rng.integers(0, KEYS, rows),
            "event_timestamp": _timestamps(rng.integers(0, SPAN_US, rows) + START_US),
            "row_id": np.arange(rows),
            "label": rng.normal(size=rows),
        }
    )


def _facts(kind: str, rows: int, view: int) -> Iterator[pa.Table]:
    """Chunks that follow each other in time, so that 50M rows need no more memory than one million."""
    import numpy as np

    chunks = -(-rows // _CHUNK_ROWS)
    for chunk in range(chunks):
        rng = np.random.default_rng([1, view, rows, chunk])
        count = min(_CHUNK_ROWS, rows - chunk * _CHUNK_ROWS)
        spans = SPAN_US // chunks
        event_us = np.sort(rng.integers(0, spans, count)) + START_US + chunk * spans
        created_us = event_us + rng.integers(0, 3_600_000_000, count)
        keys = rng.integers(0, KEYS // 10 if kind == "few" else KEYS, count)
        if kind in ("latest", "wide"):
            keys = np.arange(chunk * _CHUNK_ROWS, chunk * _CHUNK_ROWS + count)
        if kind == "shuffled":
            event_us = rng.permutation(rng.integers(0, SPAN_US, count) + START_US)
            created_us = event_us + rng.integers(0, 3_600_000_000, count)
        if kind == "corrected":
            _correct(rng, keys, event_us, created_us)
        names = features_of(f"{kind}-", view)
        strings = {"strings": 2, "mixed": 4}.get(kind, 0)
        yield _fact_table(rng, names, keys, event_us, created_us, strings=strings)


def _correct(rng: np.random.Generator, keys: Any, event_us: Any, created_us: Any) -> None:
    """Turns every fifth fact into a later word on an earlier one."""
    import numpy as np

    corrections = np.arange(4, len(keys), 5)
    corrected = corrections - rng.integers(1, 5, len(corrections))
    keys[corrections] = keys[corrected]
    event_us[corrections] = event_us[corrected]
    created_us[corrections] = created_us[corrected] + rng.integers(1, 3_600_000_000, len(corrections))


def _fact_table(
    rng: np.random.Generator, names: list[str], keys: Any, event_us: Any, created_us: Any, *, strings: int
) -> pa.Table:
    """Facts of which every so many-th feature is a string; none where that is 0."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "key": keys,
        "event_timestamp": _timestamps(event_us),
        "created": _timestamps(created_us),
    }
    words = pa.array([f"category {index:04}" for index in range(1_000)])
    for index, name in enumerate(names):
        whole = rng.integers(0, 1_000, len(keys))
        if index % 2 == 0:
            columns[name] = rng.normal(size=len(keys))
        else:
            columns[name] = words.take(pa.array(whole)) if strings and index % strings == strings - 1 else whole
    return pa.table(columns)


def _timestamps(us: Any) -> pa.Array:
    import pyarrow as pa

    return pa.array(us, pa.timestamp("us", "UTC"))


def _write_schemas(folder: Path, count: int) -> None:
    import numpy as np
    import pyarrow.parquet as pq

    folder.mkdir()
    rng = np.random.default_rng([3, count])
    for view in range(count):
        event_us = np.arange(10) * 1_000_000 + START_US
        table = _fact_table(rng, feature_names(view), np.arange(10), event_us, event_us, strings=False)
        pq.write_table(table, folder / f"{view:04}.parquet")


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        ensure(wanted)
