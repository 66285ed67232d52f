"""One small view over files that a test writes in its own way, and its training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from parity.repository import Repository, open_repository
from tiffin.definitions import Entity, FeatureView, Field, FileSource
from tiffin.operations.retrieve import RetrievalJob, retrieve
from tiffin.types import FeatureType, Int64, ValueType

UTC_US = pa.timestamp("us", "UTC")
FRAME = pa.table({"driver": pa.array([1, 2, 404], pa.int64()), "event_timestamp": pa.array([20, 20, 20], UTC_US)})


def facts(**changes: Any) -> pa.Table:
    """Three facts of two drivers; a keyword argument puts another column in its place, `None` takes it out."""
    columns: dict[str, Any] = {
        "driver": pa.array([1, 1, 2], pa.int64()),
        "ts": pa.array([5, 10, 10], UTC_US),
        "created": pa.array([5, 10, 10], UTC_US),
        "x": pa.array([1, 2, 3], pa.int64()),
    }
    columns |= changes
    return pa.table({name: column for name, column in columns.items() if column is not None})


def view_of(
    path: str,
    *,
    schema: Mapping[str, FeatureType] | None = None,
    key: str = "driver",
    key_type: ValueType = ValueType.INT64,
    **source: Any,
) -> FeatureView:
    """The view `stats` over a path; `source` goes to the `FileSource`."""
    options = {"timestamp_field": "ts", "created_timestamp_column": "created"} | source
    return FeatureView(
        name="stats",
        source=FileSource(path=path, name="stats_files", **options),
        entities=[Entity(name=key, value_type=key_type)],
        schema=[Field(name=name, dtype=dtype) for name, dtype in (schema or {"x": Int64}).items()],
    )


def write(table: pa.Table, file: Path) -> Path:
    """A table as a Parquet file; the folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


def opened(folder: Path, path: str = "stats.parquet", *, mode: str = "known", **options: Any) -> Repository:
    """A repository with the view `stats` over a path."""
    return open_repository(folder, [view_of(path, **options)], mode=mode)


def training_set(repository: Repository, frame: Any = FRAME, features: Sequence[str] = ("stats",)) -> RetrievalJob:
    """The features of a frame."""
    return retrieve(repository, frame, list(features))
