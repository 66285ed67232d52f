"""Rows of a source after a function of the user's: made batch by batch and kept in a temporary table.

The table stands in the place of the files, so everything that reads facts reads these alike. DuckDB spills it when it
outgrows the memory limit; of the rows as they are, one batch is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import duckdb

from tiffin.backends.duckdb.asof import Facts, cast_feature
from tiffin.backends.duckdb.relation import ONE_PART, Relation
from tiffin.transforms.rows import transformed

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.planning.retrieval import RowTransform

#: Rows that a function gets at once; what it makes of one does not depend on the others.
_BATCH_ROWS = 100_000

_TABLE = "tiffin_transformed"


def transformed_relation(
    connection: duckdb.DuckDBPyConnection, rows: Facts, transform: RowTransform, condition: str
) -> Relation:
    """The rows of a source as a function makes them.

    Args:
        connection: where the table is made; it goes with the connection. Another one than that of ``rows``.
        rows: the rows as they stand in the source.
        transform: the function.
        condition: which of the rows are wanted.

    Raises:
        FunctionError: the function fails, or breaks a promise.
        SourceError: the source cannot be read.
    """
    import pyarrow as pa

    inputs = transform.rows.payload
    selected = ", ".join(f"{rows.feature(column)} AS f{number}" for number, column in enumerate(inputs))
    none = {column.name: cast_feature(pa.nulls(0), column, rows) for column in inputs}
    made = transformed(transform.view, pa.table(none))
    _write(connection, f"CREATE TEMP TABLE {_TABLE} AS SELECT * FROM tiffin_rows", made)
    for batch in rows.stream(f"SELECT {selected} FROM {rows.relation.sql} f WHERE {condition}", _BATCH_ROWS):
        columns = {column.name: cast_feature(batch.column(n), column, rows) for n, column in enumerate(inputs)}
        made = transformed(transform.view, pa.table(columns))
        if made.num_rows:
            _write(connection, f"INSERT INTO {_TABLE} SELECT * FROM tiffin_rows", made)
    return Relation(
        subject=rows.relation.subject,
        location=rows.relation.location,
        sql=_TABLE,
        address="f.rowid",
        files=rows.relation.files,
        schema={field.name: field.type for field in made.schema},
        types=_types(connection),
        part=ONE_PART,
    )


def _write(connection: duckdb.DuckDBPyConnection, sql: str, rows: pa.Table) -> None:
    connection.register("tiffin_rows", rows)
    connection.execute(sql)
    connection.unregister("tiffin_rows")


def _types(connection: duckdb.DuckDBPyConnection) -> Mapping[str, str]:
    found = connection.table(_TABLE)
    return dict(zip(found.columns, (str(each) for each in found.types), strict=True))
