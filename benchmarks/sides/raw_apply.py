"""The raw limit of applying many views: read the columns of every file and keep one text, in one transaction."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq

from benchmarks.data import data_path, work_folder
from benchmarks.sides.raw_online import connect
from benchmarks.work import Work


class RawApply(Work):
    """Reads the schema of every file of a folder and writes them all into SQLite."""

    def __init__(self, schemas: str) -> None:
        self._folder = work_folder()
        self._files = sorted(data_path(schemas).iterdir())

    def run(self, index: int) -> int:
        """Reads and writes."""
        views = [
            {"name": file.stem, "schema": {field.name: str(field.type) for field in pq.read_schema(file)}}
            for file in self._files
        ]
        connection = connect(self._folder / f"registry{index}.db")
        connection.execute("CREATE TABLE log (version INTEGER PRIMARY KEY, snapshot TEXT)")
        connection.execute("INSERT INTO log VALUES (1, ?)", [json.dumps(views)])
        connection.close()
        return len(views)


def apply_views(**arguments: Any) -> Work:
    """Ready to read."""
    return RawApply(**arguments)
