"""Entity rows from files, from the standard input and from JSON text; training sets to files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tiffin.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_CSV = (".csv", ".csv.gz", ".tsv")
_PARQUET = (".parquet", ".pq")


def read_frame(text: str, *, text_columns: Collection[str] = ()) -> pa.Table:
    """Read entity rows.

    Args:
        text: a parquet or CSV file, ``-`` for CSV on the standard input, or JSON: a list of rows, or columns.
        text_columns: columns of a CSV that are text whatever they look like, such as the key ``007``.

    Raises:
        InputError: there is no such file, it is of another kind, or it cannot be read.
    """
    import pyarrow as pa

    if text.lstrip().startswith(("[", "{")):
        return _from_json(text)
    if text == "-":
        return _read_csv(sys.stdin.buffer, "the standard input", ",", text_columns)
    path = Path(text)
    if not path.is_file():
        there = "is a folder" if path.is_dir() else "is not there"
        raise InputError(f"the file of entity rows {text} {there}", hint="pass a .parquet or .csv file, or - for CSV")
    if path.name.lower().endswith(_CSV):
        with pa.input_stream(path) as stream:
            return _read_csv(stream, text, "\t" if path.suffix == ".tsv" else ",", text_columns)
    if path.suffix.lower() not in _PARQUET:
        endings = ", ".join((*_PARQUET, *_CSV))
        raise InputError(f"entity rows cannot be read from {text}", hint=f"use a file that ends in {endings}")
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{text} is not a parquet file that can be read: {error}") from error


def _read_csv(stream: BinaryIO | Any, name: str, delimiter: str, text_columns: Collection[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    types = {column: pa.string() for column in text_columns}
    try:
        return csv.read_csv(
            stream,
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(column_types=types),
        )
    except pa.ArrowException as error:
        raise InputError(f"{name} is not a CSV that can be read: {error}") from error


def _from_json(text: str) -> pa.Table:
    import pyarrow as pa

    try:
        data = json.loads(text)
        return pa.Table.from_pylist(data) if isinstance(data, list) else pa.table(data)
    except (ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        hint = """write '[{"driver_id": 1001, "event_timestamp": "2024-01-31T12:00:00"}]'"""
        raise InputError(f"the entity rows are not JSON rows or columns: {error}", hint=hint) from error


def check_output(text: str) -> None:
    """Refuse, before anything runs, an output file of a kind that cannot be written.

    Raises:
        InputError: with the kinds that can.
    """
    if not text.lower().endswith((".csv", *_PARQUET)):
        raise InputError(
            f"the training set cannot be written to {text}", hint="use a file that ends in .parquet or .csv"
        )
    if not Path(text).absolute().parent.is_dir():
        raise InputError(f"the folder of {text} is not there", hint="create it, or choose another file")


def python_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as Python values; nanoseconds, which Python lacks, are floored to microseconds."""
    import pyarrow as pa

    fields = [
        field.with_type(pa.timestamp("us", field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    rows: list[dict[str, Any]] = table.cast(pa.schema(fields), safe=False).to_pylist()
    return rows


def write_csv(table: pa.Table, text: str) -> None:
    """Write a table to a CSV file, whole or not at all; a file that is there is replaced.

    Raises:
        InputError: a column has a type that CSV cannot hold.
    """
    import pyarrow as pa
    from pyarrow import csv

    unfinished = Path(f"{text}.part")
    try:
        csv.write_csv(table, unfinished)
        os.replace(unfinished, text)
    except pa.ArrowException as error:
        raise InputError(f"{text} cannot hold this training set: {error}", hint="write a .parquet file") from error
    finally:
        unfinished.unlink(missing_ok=True)
