"""The newest event time of files: from what Parquet says about itself, so that no row is read."""

from __future__ import annotations

import json

from tiffin.backends.duckdb.asof import Facts

#: How many of a unit are a microsecond, or how many microseconds it is.
_SCALES = {"milliseconds": (1000, 1), "microseconds": (1, 1), "nanoseconds": (1, 1000)}


def footer_newest_us(file: str, column: str) -> int | None:
    """The greatest time of a column by the statistics of a Parquet file.

    Returns:
        ``None`` where these do not tell: a part of the file has none, the column is no timestamp, or the file cannot be
        read, which is said by whoever reads it then.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(file)
    except (OSError, pa.ArrowInvalid):
        return None
    paths = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    if column not in paths or not metadata.num_row_groups:
        return None
    number = paths.index(column)
    kind = json.loads(metadata.schema.column(number).logical_type.to_json())
    scale = _SCALES.get(kind.get("timeUnit", ""))
    if kind.get("Type") != "Timestamp" or scale is None:
        return None
    newest = []
    for group in range(metadata.num_row_groups):
        told = metadata.row_group(group).column(number).statistics
        if told is None or not told.has_min_max:
            return None
        newest.append(int(told.max_raw))
    return max(newest) * scale[0] // scale[1]


def read_newest_us(facts: Facts, until_us: int) -> int | None:
    """The greatest event time that is not after a moment, by reading the column.

    Raises:
        SourceError: the source cannot be read.
    """
    bound = facts.event.bound("<=", until_us)
    found = facts.read(f"SELECT max({facts.event.us}) AS newest FROM {facts.relation.sql} f WHERE {bound}")
    newest: int | None = found["newest"][0].as_py()
    return newest
