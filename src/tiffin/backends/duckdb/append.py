"""Append rows to a file source: a new Parquet file, nothing is rewritten."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from tiffin.backends.duckdb.relation import APPENDED, local_path
from tiffin.definitions import DataSource, FileSource
from tiffin.errors import StoreError, UnsupportedError

if TYPE_CHECKING:
    import pyarrow as pa


def append_rows(source: DataSource, rows: pa.Table, base_path: str) -> None:
    """Append rows to a Parquet source.

    They go into a file of their own: into the folder of a source that is one, else into ``<file>.appended``, which is
    read together with the file. The file gets its name when it is whole, so that nobody ever reads a part of it.

    Raises:
        UnsupportedError: the source is a glob, or not in Parquet.
        StoreError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(source, FileSource) or source.format_name != "parquet" or any(s in source.path for s in "*?["):
        raise UnsupportedError(
            f"{source.subject} cannot be appended to",
            subject=source.subject,
            location=source.location,
            hint="use a Parquet file or a folder of Parquet files",
        )
    if rows.num_rows == 0:
        return
    path = local_path(source, base_path)
    folder = path if os.path.isdir(path) else path + APPENDED
    name = f"{uuid.uuid4().hex}.parquet"
    partial = os.path.join(folder, f".{name}.partial")
    try:
        os.makedirs(folder, exist_ok=True)
        pq.write_table(rows, partial)
        os.replace(partial, os.path.join(folder, name))
    except (OSError, pa.ArrowException) as error:
        if os.path.exists(partial):
            os.remove(partial)
        raise StoreError(
            f"rows cannot be appended to {source.subject}: {error}",
            subject=source.subject,
            hint="check the folder and the free space; nothing was appended",
        ) from error
