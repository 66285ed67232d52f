"""Queries over rows: an expression for each row, that can see nothing but it.

A query is kept in the registry as text, so it must be no program (DEF-6). It is parsed before it is used, and only what
is computed from one row is let through; it then runs in a database of its own that is closed to files, networks and
other tables. What one row gives can therefore not depend on another (ODF-2), nor on the clock (ODF-3).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from tiffin.definitions.transformed_view import ROWS
from tiffin.errors import DefinitionError, FunctionError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: Parts of a query that compute something from one row.
_EXPRESSIONS = frozenset(
    ("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION")
).union(("LAMBDA", "LAMBDA_REF", "OPERATOR", "STAR", "TYPE"))

#: Parts of a query that would put rows together or choose among them.
_MANY_ROWS = ("group_expressions", "group_sets", "having", "qualify", "sample", "modifiers")

#: Functions that are written with the help of others and compute from their arguments alone.
_MACROS = frozenset(("date_add", "days_in_month", "fdiv", "if", "nullif", "split_part"))

#: Values of the session that are written like columns, and are columns where there are such.
_SESSION = frozenset(
    ("current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp")
).union(("current_user", "localtime", "localtimestamp", "session_user", "user"))

_HINT = f"write one SELECT ... FROM {ROWS}, with WHERE if rows are to be left out; each row is computed by itself"


def run_query(query: str, rows: pa.Table) -> pa.Table:
    """The rows that a query makes of some rows, which it calls ``source``.

    Raises:
        DefinitionError: it is no query over single rows.
        FunctionError: it fails.
    """
    import duckdb

    check_query(query, tuple(rows.column_names))
    with _connection().cursor() as cursor:
        cursor.register(ROWS, rows)
        try:
            return cursor.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise FunctionError(str(error).strip().split("\n", 1)[0]) from error


def query_columns(query: str, columns: Mapping[str, pa.DataType]) -> Mapping[str, pa.DataType]:
    """The columns that a query gives, with their types, when it gets rows with some columns.

    Raises:
        DefinitionError: it is no query over single rows.
        FunctionError: it reads a column that is not there, or computes something from a wrong type.
    """
    import pyarrow as pa

    nothing = pa.table({name: pa.array([], type_) for name, type_ in columns.items()})
    return {field.name: field.type for field in run_query(query, nothing).schema}


@lru_cache(maxsize=256)
def check_query(query: str, columns: tuple[str, ...] = ()) -> None:
    """Check that a query computes each row by itself, and from nothing else.

    Args:
        query: the query.
        columns: the columns of the rows, of which one may be called like a value of the session.

    Raises:
        DefinitionError: it does not; says what stands in the way.
    """
    with _connection().cursor() as cursor:
        found = cursor.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    assert found is not None
    parsed = json.loads(found[0])
    if parsed["error"]:
        hint = f"{_HINT}; names that SQL has a meaning for, such as at, stand in double quotes"
        raise DefinitionError(f"the query cannot be read: {parsed['error_message']}", hint=hint)
    if len(parsed["statements"]) != 1:
        raise DefinitionError("the query is several statements", hint=_HINT)
    node = parsed["statements"][0]["node"]
    table = node.get("from_table") or {}
    if node["type"] != "SELECT_NODE" or node["cte_map"]["map"] or table.get("type") != "BASE_TABLE":
        raise DefinitionError(f"the query reads something else than {ROWS}", hint=_HINT)
    if table["qualified_name"]["path"] != [ROWS] or table.get("at_clause") or table.get("sample"):
        raise DefinitionError(f"the query reads {'.'.join(table['qualified_name']['path'])}, not {ROWS}", hint=_HINT)
    for part in _MANY_ROWS:
        if node.get(part):
            named = node[part][0]["type"] if part == "modifiers" else part
            word = named.removesuffix("_MODIFIER").replace("_", " ").lower()
            raise DefinitionError(f"the query puts rows together, or chooses among them: {word}", hint=_HINT)
    for expression in _parts([node["select_list"], node["where_clause"]]):
        _check_expression(expression, columns)


def _check_expression(expression: Mapping[str, Any], columns: tuple[str, ...]) -> None:
    kind = expression["class"]
    if kind == "COLUMN_REF" and len(expression["column_names"]) == 1:
        (name,) = expression["column_names"]
        if name.lower() in _SESSION and name.lower() not in map(str.lower, columns):
            raise DefinitionError(f"the query reads {name}, which is no value of a row", hint=_HINT)
    if kind not in _EXPRESSIONS:
        raise DefinitionError(f"the query has a {kind.lower()}, which looks at more than one row", hint=_HINT)
    if kind != "FUNCTION":
        return
    name = expression["function_name"].lower()
    if not _is_of_one_row(name) or (name == "age" and len(expression["arguments"]) == 1):
        hint = "use functions that compute a value from the values of one row; sums belong into aggregations"
        raise DefinitionError(f"the query calls {name}, which needs more than the values of one row", hint=hint)


def _parts(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every expression below a node."""
    if isinstance(node, list):
        for item in node:
            yield from _parts(item)
    elif isinstance(node, dict):
        if "class" in node:
            yield node
        for item in node.values():
            yield from _parts(item)


def _is_of_one_row(function: str) -> bool:
    """Whether a function gives the same for the same arguments, whenever and among whatever rows it is called."""
    return function in _scalars() or function in _MACROS or function.startswith(("list_", "array_"))


@cache
def _scalars() -> frozenset[str]:
    """The functions of one row, by what the database itself says of them.

    What depends on the time zone only counts as dependent on the session there; the session here is always in UTC.
    """
    with _connection().cursor() as cursor:
        found = cursor.execute(
            "SELECT function_name FROM duckdb_functions() GROUP BY 1 HAVING bool_and(function_type = 'scalar') "
            "AND bool_or(stability = 'CONSISTENT') AND NOT bool_or(stability = 'VOLATILE')"
        ).fetchall()
    return frozenset(name for (name,) in found)


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """A database in memory that nothing leads out of."""
    import duckdb

    closed = ("enable_external_access", "autoinstall_known_extensions", "autoload_known_extensions")
    connection = duckdb.connect(":memory:", config=dict.fromkeys((*closed, "python_enable_replacements"), "false"))
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET GLOBAL lock_configuration = true")
    return connection
