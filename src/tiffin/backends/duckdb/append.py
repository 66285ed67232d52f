"""Append rows to a file source: a new Parquet file, nothing is rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.backends.duckdb.relation import APPENDED, local_path
from tiffin.definitions import DataSource, FileSource
from tiffin.errors import StoreError, UnsupportedError

if TYPE_CHECKING:
    import pyarrow as pa

#: Where a file of messages keeps the offsets, between its first and its last, that it does not hold.
_LEFT_OUT = b"tiffin.left_out"


def append_rows(source: DataSource, rows: pa.Table, base_path: str) -> None:
    """Append rows to a Parquet source.

    They go into a file of their own: into the folder of a source that is one, else into ``<file>.appended``, which is
    read together with the file. The file gets its name when it is whole, so that nobody ever reads a part of it.

    Raises:
        UnsupportedError: the source is a glob, or not in Parquet.
        StoreError: the file cannot be written.
    """
    folder = appended_folder(source, base_path)
    if rows.num_rows:
        _write(source, rows, folder, f"{uuid.uuid4().hex}.parquet")


def append_messages(
    source: DataSource,
    rows: pa.Table,
    base_path: str,
    stream: str,
    partition: str,
    offsets: Sequence[int],
    left_out: Sequence[int],
) -> int:
    """Append rows of messages that were not appended before, as ``OfflineEngine.append_messages`` says.

    A file is called by its stream, its partition, and the offsets of its first and its last message. It stands for all
    messages between these but those that it says it left out. What such files stand for is not appended again.
    """
    import pyarrow as pa

    folder = appended_folder(source, base_path)
    stream_id = hashlib.blake2b(stream.encode(), digest_size=6).hexdigest()
    prefix = f"stream-{stream_id}-{re.sub(r'[^A-Za-z0-9_]', '_', partition)}-"
    places = np.array(offsets)
    is_new = np.ones(len(places), np.bool_)
    try:
        for path, first, last in _ranges(folder, prefix):
            within = (places >= first) & (places <= last)
            if within.any():
                is_new &= ~(within & ~np.isin(places, _left_out(path)))
    except (OSError, pa.ArrowException) as error:
        raise _failed(source, error) from error
    new: NDArray[np.int64] = places[is_new]
    if len(new):
        told = [offset for offset in left_out if new[0] < offset < new[-1]]
        rows = rows.filter(pa.array(is_new)).replace_schema_metadata({_LEFT_OUT: json.dumps(told)})
        _write(source, rows, folder, f"{prefix}{new[0]}-{new[-1]}.parquet")
    return len(new)


def appended_folder(source: DataSource, base_path: str) -> str:
    """The folder that files are put into.

    Raises:
        UnsupportedError: the source is a glob, or not in Parquet.
    """
    if not isinstance(source, FileSource) or source.format_name != "parquet" or any(s in source.path for s in "*?["):
        raise UnsupportedError(
            f"{source.subject} cannot be appended to",
            subject=source.subject,
            location=source.location,
            hint="use a Parquet file or a folder of Parquet files",
        )
    path = local_path(source, base_path)
    return path if os.path.isdir(path) else path + APPENDED


def _write(source: DataSource, rows: pa.Table, folder: str, name: str) -> None:
    """Write a file that is there as a whole or not at all, and durable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = os.path.join(folder, f".{uuid.uuid4().hex}.partial")
    try:
        os.makedirs(folder, exist_ok=True)
        pq.write_table(rows, partial)
        _sync(partial)
        os.replace(partial, os.path.join(folder, name))
        _sync(folder)
    except (OSError, pa.ArrowException) as error:
        if os.path.exists(partial):
            os.remove(partial)
        raise _failed(source, error) from error


def _sync(path: str) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ranges(folder: str, prefix: str) -> Iterator[tuple[str, int, int]]:
    """The files of a partition, and the offsets of the first and the last message of each."""
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                first, last = entry.name.removeprefix(prefix).removesuffix(".parquet").split("-")
                yield entry.path, int(first), int(last)


def _left_out(path: str) -> list[int]:
    import pyarrow.parquet as pq

    found: list[int] = json.loads((pq.read_schema(path).metadata or {}).get(_LEFT_OUT, b"[]"))
    return found


def _failed(source: DataSource, error: Exception) -> StoreError:
    return StoreError(
        f"rows cannot be appended to {source.subject}: {error}",
        subject=source.subject,
        hint="check the folder and the free space; nothing was appended",
    )
