"""The raw limit of online storage in SQLite: prepared statements over blobs, packed and unpacked by hand.

A row is a 16-byte stamp (event time, created time) and a fixed block of numbers. There are no nulls, no statuses,
no schema versions and no ages in it; the writer never asks whether a newer row is there.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import data_path, feature_names, features_of, work_folder
from benchmarks.keys import asked_keys, sampled_keys
from benchmarks.work import Work

_STAMP = 2
_TEN = struct.Struct("<qq" + "dq" * 5).unpack


def row_type(features: int) -> np.dtype[Any]:
    """The layout of a row: floats and integers by turns."""
    columns = [(f"f{i}", "<i8" if i % 2 else "<f8") for i in range(features)]
    return np.dtype([("event_us", "<i8"), ("created_us", "<i8"), *columns])


def pack_rows(table: pa.Table, names: list[str]) -> list[bytes]:
    """One blob per row, packed in bulk."""
    layout = row_type(len(names))
    rows = np.empty(table.num_rows, layout)
    rows["event_us"] = table["event_timestamp"].cast(pa.int64()).to_numpy()
    rows["created_us"] = table["created"].cast(pa.int64()).to_numpy()
    for index, name in enumerate(names):
        rows[f"f{index}"] = table[name].to_numpy()
    packed, width = rows.tobytes(), layout.itemsize
    return [packed[start : start + width] for start in range(0, len(packed), width)]


def connect(path: Path) -> sqlite3.Connection:
    """SQLite as one sets it up for a store that survives a crash of the process."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA mmap_size = 1073741824")
    return connection


class RawReads(Work):
    """Reads the features of some keys into a dict of lists.

    With `one_table` all views lie in one table, ordered by key and view, and one statement fetches them; else each
    view has a table and a statement of its own.
    """

    def __init__(self, facts: list[str], keys: int, *, one_table: bool) -> None:
        self._connection = connect(work_folder() / "online.db")
        self._one_table, self._views = one_table, len(facts)
        self._names = [features_of(name, view) for view, name in enumerate(facts)]
        self._layout = row_type(len(self._names[0]))
        self._unpack = struct.Struct("<qq" + "dq" * (len(self._names[0]) // 2)).unpack
        for view, name in enumerate(facts):
            self._fill(view, pq.read_table(data_path(name)))
        holes = ", ".join("?" * keys)
        tables = ["rows"] if one_table else [f"rows{view}" for view in range(self._views)]
        columns = "key, view, row" if one_table else "key, row"
        self._statements = [f"SELECT {columns} FROM {table} WHERE key IN ({holes})" for table in tables]
        self._keys = asked_keys(facts[0], keys)

    def run(self, index: int) -> dict[str, list[Any]]:
        """Selects the blobs and decodes them."""
        keys = self._keys[index]
        answer: dict[str, list[Any]] = {"key": keys}
        if len(keys) == 1:
            for view, names in enumerate(self._names):
                answer.update(zip(names, ([value] for value in self._one(keys, view)), strict=True))
            return answer
        blobs = self._blobs(keys)
        for view, names in enumerate(self._names):
            rows = np.frombuffer(b"".join([blobs[view][key] for key in keys]), self._layout)
            for index_, name in enumerate(names):
                answer[name] = rows[f"f{index_}"].tolist()
        return answer

    def answer(self, last: Any) -> pa.Table:
        """The answer to the first question."""
        return pa.table(self.run(0))

    def close(self) -> None:
        """Closes the store."""
        self._connection.close()

    def _one(self, keys: list[int], view: int) -> tuple[Any, ...]:
        if self._one_table:
            if view == 0:
                self._fetched = {view: row for _, view, row in self._connection.execute(self._statements[0], keys)}
            return self._unpack(self._fetched[view])[_STAMP:]
        ((_, row),) = self._connection.execute(self._statements[view], keys)
        return self._unpack(row)[_STAMP:]

    def _blobs(self, keys: list[int]) -> list[dict[int, bytes]]:
        if not self._one_table:
            return [dict(self._connection.execute(statement, keys).fetchall()) for statement in self._statements]
        blobs: list[dict[int, bytes]] = [{} for _ in range(self._views)]
        for key, view, row in self._connection.execute(self._statements[0], keys):
            blobs[view][key] = row
        return blobs

    def _fill(self, view: int, table: pa.Table) -> None:
        run = self._connection.execute
        values: list[tuple[Any, ...]]
        keys, packed = table["key"].to_pylist(), pack_rows(table, self._names[view])
        if self._one_table:
            columns = "key INTEGER, view INTEGER, row BLOB, PRIMARY KEY (key, view)"
            run(f"CREATE TABLE IF NOT EXISTS rows ({columns}) WITHOUT ROWID")
            insert = "INSERT INTO rows VALUES (?, ?, ?)"
            values = [(key, view, row) for key, row in zip(keys, packed, strict=True)]
        else:
            run(f"CREATE TABLE rows{view} (key INTEGER PRIMARY KEY, row BLOB)")
            insert = f"INSERT INTO rows{view} VALUES (?, ?)"
            values = list(zip(keys, packed, strict=True))
        run("BEGIN")
        self._connection.executemany(insert, values)
        run("COMMIT")


class RawInserts(Work):
    """Inserts rows into an empty store, in the order of their keys.

    With `ready` the blobs are packed beforehand and the insert alone is timed; else the newest fact of every key is
    first taken from the file with DuckDB, and packed.
    """

    def __init__(self, facts: str, *, ready: bool) -> None:
        import duckdb

        self._connection = connect(work_folder() / "online.db")
        self._connection.execute("CREATE TABLE rows (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")
        self._duckdb = duckdb.connect()
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self._facts = facts
        self._ready = self._pack(self._newest()) if ready else None

    def run(self, index: int) -> int:
        """Fills the store; one transaction."""
        rows = self._ready or self._pack(self._newest())
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")
        return len(rows)

    def answer(self, last: Any) -> pa.Table:
        """The rows of some keys, read back."""
        keys = sampled_keys(self._facts)
        found = [
            _TEN(self._connection.execute("SELECT row FROM rows WHERE key = ?", [_pack_key(key)]).fetchone()[0])
            for key in keys
        ]
        features = zip(feature_names(0), list(zip(*found, strict=True))[_STAMP:], strict=True)
        return pa.table({"key": keys, **{name: list(values) for name, values in features}})

    def close(self) -> None:
        """Closes the store."""
        self._connection.close()

    def _newest(self) -> pa.Table:
        # Numbers of rows, not rows, go through the aggregate: about four times faster than the newest struct of each
        # key.
        source = f"read_parquet('{data_path(self._facts)}', file_row_number = true)"
        columns = ", ".join(["key", "event_timestamp", "created", *feature_names(0)])
        order = "epoch_us(event_timestamp) * 10_000_000_000_000_000::HUGEINT + epoch_us(created)"
        newest = f"SELECT arg_max(file_row_number, {order}) FROM {source} GROUP BY key"
        query = f"SELECT {columns} FROM {source} WHERE file_row_number IN ({newest}) ORDER BY key"
        return self._duckdb.sql(query).to_arrow_table()

    def _pack(self, table: pa.Table) -> list[tuple[bytes, bytes]]:
        keys = [_pack_key(key) for key in table["key"].to_pylist()]
        return list(zip(keys, pack_rows(table, feature_names(0)), strict=True))


def _pack_key(key: int) -> bytes:
    return struct.pack(">q", key)


def reads(**arguments: Any) -> Work:
    """A filled store, ready to be read."""
    return RawReads(**arguments)


def inserts(**arguments: Any) -> Work:
    """An empty store, ready to be filled."""
    return RawInserts(**arguments)
