"""A file source as something DuckDB can read, with an address for each of its rows.

Rows are addressed so that a first, narrow pass can decide which rows are wanted and a second pass can fetch them.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import duckdb

from tiffin.definitions import DataSource, FileSource
from tiffin.errors import SourceError, UnsupportedError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

#: What is appended to a file lies in a folder that is called like it, with this behind.
APPENDED = ".appended"

#: A row's address is its file's number in the upper bits and its number within the file in the lower ones.
_ROW_BITS = 40

#: The part of every row where rows do not tell which file they came from.
ONE_PART = "0"

_TIME_TYPES = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE", "DATE"}
_NANOSECONDS = {"TIMESTAMP_NS", "TIMESTAMPTZ_NS"}
_ENDINGS = {"parquet": ("parquet", "pq", "parq"), "csv": ("csv", "csv.gz", "tsv")}


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class TimeColumn:
    """A time column: how to read it as microseconds, and how to bound it so that files can be pruned."""

    sql: str
    type_name: str

    @property
    def us(self) -> str:
        """The column as int64 microseconds; nanoseconds are floored, text without a zone is UTC."""
        if self.type_name in _NANOSECONDS:
            nanos = f"epoch_ns({self.sql})"
            return f"(({nanos} - (({nanos} % 1000) + 1000) % 1000) // 1000)"
        if self.type_name == "DATE":
            return f"epoch_us(CAST({self.sql} AS TIMESTAMP))"
        if self.type_name == "VARCHAR":
            return f"epoch_us(CAST({self.sql} AS TIMESTAMPTZ))"
        return f"epoch_us({self.sql})"

    def bound(self, operator: str, us: int) -> str:
        """A condition ``column operator us`` that is exact and, where the type allows it, prunes row groups."""
        if self.type_name == "TIMESTAMP WITH TIME ZONE":
            return f"{self.sql} {operator} make_timestamptz({us}::BIGINT)"
        if self.type_name == "TIMESTAMP":
            return f"{self.sql} {operator} make_timestamp({us}::BIGINT)"
        return f"{self.us} {operator} {us}"


@dataclass(frozen=True)
class Relation:
    """A source as DuckDB reads it.

    Attributes:
        subject: how messages call the source.
        location: where it was declared.
        sql: what stands behind FROM.
        address: an expression for the address of a row.
        files: the files, in the order of their numbers.
        schema: the columns with their Arrow types.
        types: the columns with DuckDB's names of their types.
        part: an expression for the number of the file of a row; ``ONE_PART`` where that cannot be told.
    """

    subject: str
    location: str
    sql: str
    address: str
    files: tuple[str, ...]
    schema: Mapping[str, pa.DataType]
    types: Mapping[str, str]
    part: str

    def require(self, column: str, *, why: str) -> str:
        """A column as an SQL identifier.

        Raises:
            SourceError: the source has no such column; lists the nearest names.
        """
        if column not in self.types:
            raise SourceError(
                f"{self.subject} has no column {column!r}, which is {why}",
                subject=self.subject,
                location=self.location,
                hint=nearest(column, self.types),
            )
        return "f." + quote(column)

    def time(self, column: str, *, why: str) -> TimeColumn:
        """A time column.

        Raises:
            SourceError: it is missing, or its type is no time.
        """
        sql = self.require(column, why=why)
        type_name = self.types[column]
        if type_name not in _TIME_TYPES | _NANOSECONDS and type_name != "VARCHAR":
            raise SourceError(
                f"{self.subject}: column {column!r} has type {type_name}, where a time is expected",
                subject=self.subject,
                location=self.location,
                hint="store it as a timestamp, or as text in ISO 8601",
            )
        return TimeColumn(sql, type_name)


def local_files(source: DataSource, base_path: str) -> tuple[str, ...]:
    """The files of a source, sorted by path.

    Raises:
        UnsupportedError: the source is not in local files.
        SourceError: there is no such file, or none in the folder.
    """
    if not isinstance(source, FileSource):
        raise UnsupportedError(
            f"the duckdb engine cannot read {type(source).__name__} {source.name!r}",
            subject=source.subject,
            location=source.location,
            hint="use a FileSource",
        )
    path = local_path(source, base_path)
    endings = _ENDINGS[source.format_name]
    if os.path.isdir(path):
        found = [f for e in endings for f in glob.glob(os.path.join(glob.escape(path), "**", f"*.{e}"), recursive=True)]
        missing = f"the folder {source.path} holds no {source.format_name} file"
    elif os.path.isfile(path):
        return (path, *sorted(glob.glob(os.path.join(glob.escape(path + APPENDED), "*.parquet"))))
    else:
        found = [f for f in glob.glob(path, recursive=True) if os.path.isfile(f)]
        missing = f"there is no file {source.path}" + (f" in {base_path}" if not os.path.isabs(source.path) else "")
    if not found:
        raise SourceError(
            f"{source.subject}: {missing}",
            subject=source.subject,
            location=source.location,
            hint="paths are relative to the folder of feature_store.yaml; write the data there, or correct the path",
        )
    return tuple(sorted(set(found)))


def local_path(source: FileSource, base_path: str) -> str:
    """The path of a source on this machine.

    Raises:
        UnsupportedError: it lies elsewhere.
    """
    path = source.path
    scheme = urlparse(path).scheme
    if scheme == "file":
        path = urlparse(path).path
    elif len(scheme) > 1:
        raise UnsupportedError(
            f"{source.subject}: paths with {scheme}:// cannot be read yet",
            subject=source.subject,
            location=source.location,
            hint="copy the files to a local folder or mount the bucket",
        )
    return path if os.path.isabs(path) else os.path.join(base_path, path)


def fingerprints(files: tuple[str, ...]) -> dict[str, str]:
    """File to what changes when its content does: size, time of the last change, and inode (a new one by renaming)."""
    found = {}
    for file in files:
        status = os.stat(file)
        found[file] = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    return found


def open_relation(
    connection: duckdb.DuckDBPyConnection,
    source: DataSource,
    base_path: str,
    *,
    addressed: bool = True,
    texts: Collection[str] = (),
) -> Relation:
    """Make a source readable on a connection.

    CSV files are loaded into a temporary table first when rows are to be addressed: their rows have no numbers. Of
    their columns those in ``texts`` are read as they are written, the types of the others are found from the content.

    Raises:
        SourceError: missing, corrupt or empty of columns.
    """
    files = local_files(source, base_path)
    assert isinstance(source, FileSource)
    listed = "[" + ", ".join(literal(file) for file in files) + "]"
    if source.format_name == "csv":
        sql, address, part = "", "f.rowid", ONE_PART
    else:
        sql = f"read_parquet({listed}, union_by_name=true)" if len(files) > 1 else f"read_parquet({listed})"
        part = "f.file_index::BIGINT" if len(files) > 1 else ONE_PART
        address = f"({part} * {1 << _ROW_BITS} + f.file_row_number)" if len(files) > 1 else "f.file_row_number"
    try:
        if source.format_name == "csv":
            sql = _read_csv(connection, listed, texts)
        if source.format_name == "csv" and addressed:
            table = quote(f"csv_{abs(hash(files))}")
            connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table} AS SELECT * FROM {sql}")
            sql = table
        empty = connection.sql(f"SELECT * FROM {sql} LIMIT 0")
        types = dict(zip(empty.columns, (str(t) for t in empty.types), strict=True))
        schema = empty.to_arrow_table().schema
    except duckdb.Error as error:
        raise SourceError(
            f"{source.subject}: {source.path} cannot be read as {source.format_name}: {first_line(error)}",
            subject=source.subject,
            location=source.location,
            hint="the file is empty, corrupt or of another format; write it again",
        ) from error
    columns = {field.name: field.type for field in schema}
    return Relation(source.subject, source.location, sql, address, files, columns, types, part)


def _read_csv(connection: duckdb.DuckDBPyConnection, listed: str, texts: Collection[str]) -> str:
    """CSV files as DuckDB reads them; a type may be given only for a column that is there."""
    sql = f"read_csv({listed}, union_by_name=true)"
    there = connection.sql(f"SELECT * FROM {sql} LIMIT 0").columns if texts else ()
    typed = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in there if column in texts)
    return f"read_csv({listed}, union_by_name=true, types={{{typed}}})" if typed else sql


def first_line(error: Exception) -> str:
    """The first line of a vendor's message."""
    return str(error).strip().split("\n", 1)[0]
