"""The text of a filter as a tree, and a tree as SQL.

Filters are a small part of SQL: comparisons, ``AND``, ``OR``, ``NOT``, ``IN``, ``BETWEEN``, ``IS NULL``, numbers,
texts, columns and ``+ - * /``. What else SQL has is refused, because it could not be computed alike everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp

from tiffin.errors import DefinitionError, InputError, nearest
from tiffin.time import to_us
from tiffin.types import Bool, FeatureType, Float32, Float64, Int32, Int64, Json, String, TimeUuid, UnixTimestamp, Uuid
from tiffin.windows.conditions import (
    Among,
    Arithmetic,
    AsFloat,
    ColumnValue,
    Comparison,
    Condition,
    Constant,
    IsNull,
    Junction,
    Kind,
    Not,
    Truth,
    Value,
)

_KINDS: Mapping[FeatureType, Kind] = {
    Int32: "int",
    Int64: "int",
    Float32: "float",
    Float64: "float",
    String: "text",
    Json: "text",
    Uuid: "text",
    TimeUuid: "text",
    Bool: "bool",
    UnixTimestamp: "time",
}
_COMPARISONS: Mapping[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: Mapping[type[exp.Expression], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}


def parse_condition(text: str, types: Mapping[str, FeatureType]) -> Condition:
    """The tree of a filter.

    Args:
        text: the filter.
        types: the columns that there are.

    Raises:
        DefinitionError: it is no filter, names a column that is not there, or compares what cannot be compared.
    """
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        first = str(error).split("\n", 1)[0]
        raise DefinitionError(f"the filter {text!r} cannot be read: {first}", hint="write one condition") from None
    return _Parser(text, types).condition(tree)  # type: ignore[arg-type]


class _Parser:
    def __init__(self, text: str, types: Mapping[str, FeatureType]) -> None:
        self._text = text
        self._types = types

    def condition(self, node: exp.Expression) -> Condition:
        """A node as a condition."""
        if isinstance(node, exp.Paren):
            return self.condition(node.this)
        if isinstance(node, exp.Not):
            return Not(self.condition(node.this))
        if isinstance(node, exp.And | exp.Or):
            operator: Any = "AND" if isinstance(node, exp.And) else "OR"
            return Junction(operator, self.condition(node.this), self.condition(node.expression))
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
            return IsNull(self.value(node.this))
        if type(node) in _COMPARISONS:
            return self._comparison(_COMPARISONS[type(node)], self.value(node.this), self.value(node.expression))
        if isinstance(node, exp.Between) and not node.args.get("symmetric"):
            item = self.value(node.this)
            low = self._comparison(">=", item, self.value(node.args["low"]))
            return Junction("AND", low, self._comparison("<=", item, self.value(node.args["high"])))
        if isinstance(node, exp.In) and node.expressions:
            return self._among(node)
        value = self.value(node)
        if value.kind != "bool":
            raise self._refused(node, "is a value, where a condition is expected")
        return Truth(value)

    def value(self, node: exp.Expression) -> Value:
        """A node as a value."""
        if isinstance(node, exp.Paren):
            return self.value(node.this)
        if isinstance(node, exp.Literal | exp.Boolean) or (
            isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal)
        ):
            return self._constant(node)
        if isinstance(node, exp.Column) and not node.table:
            return self._column(node.name)
        if isinstance(node, exp.Neg):
            return self._arithmetic("-", Constant("int", 0), self.value(node.this), node)
        if type(node) in _ARITHMETIC:
            operator = _ARITHMETIC[type(node)]
            return self._arithmetic(operator, self.value(node.this), self.value(node.expression), node)
        raise self._refused(node, "is not part of a filter")

    def _column(self, name: str) -> ColumnValue:
        if name not in self._types:
            hint = nearest(name, self._types)
            raise DefinitionError(f"the filter {self._text!r} reads {name!r}, which is no column", hint=hint)
        kind = _KINDS.get(self._types[name])
        if kind is None:
            what = f"reads {name!r}, which is a {self._types[name]!r}"
            raise DefinitionError(f"the filter {self._text!r} {what}", hint="filter by numbers, texts and times")
        return ColumnValue(kind, name)

    def _constant(self, node: exp.Expression) -> Constant:
        sign = -1 if isinstance(node, exp.Neg) else 1
        literal = node.this if isinstance(node, exp.Neg) else node
        if isinstance(literal, exp.Boolean):
            return Constant("bool", bool(literal.this))
        if literal.is_string:
            if sign < 0:
                raise self._refused(node, "is no number")
            return Constant("text", literal.this)
        if literal.this.isdigit():
            whole = sign * int(literal.this)
            if not -(2**63) <= whole < 2**63:
                raise self._refused(node, "does not fit into 64 bits")
            return Constant("int", whole)
        try:
            return Constant("float", sign * float(literal.this))
        except ValueError:
            raise self._refused(node, "is no number") from None

    def _arithmetic(self, operator: str, left: Value, right: Value, node: exp.Expression) -> Value:
        if not {left.kind, right.kind} <= {"int", "float"}:
            raise self._refused(node, "computes with what are no numbers")
        if operator == "/" or "float" in (left.kind, right.kind):
            return Arithmetic("float", operator, _as_float(left), _as_float(right))
        return Arithmetic("int", operator, left, right)

    def _comparison(self, operator: str, left: Value, right: Value) -> Comparison:
        return Comparison(operator, *self._alike(left, right))

    def _alike(self, left: Value, right: Value) -> tuple[Value, Value]:
        """Two values in one kind."""
        if left.kind == right.kind:
            return left, right
        if {left.kind, right.kind} == {"int", "float"}:
            return _as_float(left), _as_float(right)
        if {left.kind, right.kind} == {"time", "text"}:
            return self._as_time(left), self._as_time(right)
        raise DefinitionError(
            f"the filter {self._text!r} compares {left.kind} with {right.kind}",
            hint="write texts and times in quotes, numbers without",
        )

    def _as_time(self, value: Value) -> Value:
        if value.kind == "time":
            return value
        if not isinstance(value, Constant):
            raise DefinitionError(f"the filter {self._text!r} compares a time with a column of texts")
        try:
            return Constant("time", to_us(value.value))
        except InputError as error:
            raise DefinitionError(f"in the filter {self._text!r}, {error.message}", hint=error.hint) from None

    def _among(self, node: exp.In) -> Among:
        item = self.value(node.this)
        values = []
        for each in node.expressions:
            constant = self.value(each)
            if not isinstance(constant, Constant):
                raise self._refused(each, "is no number or text, where IN takes a list of these")
            item, other = self._alike(item, constant)
            values.append(other)
        # An integer item becomes a float at the first float of the list, so the ones before it have to follow.
        return Among(item, tuple(_folded(self._alike(item, value)[1]) for value in values))

    def _refused(self, node: exp.Expression, why: str) -> DefinitionError:
        part = node.sql(dialect="duckdb")
        return DefinitionError(
            f"in the filter {self._text!r}, {part} {why}",
            hint="filters have comparisons, AND, OR, NOT, IN, BETWEEN, IS NULL, numbers, texts, columns and + - * /",
        )


def _as_float(value: Value) -> Value:
    if value.kind == "float":
        return value
    return Constant("float", float(value.value)) if isinstance(value, Constant) else AsFloat(value)


def _folded(value: Value) -> Constant:
    assert isinstance(value, Constant)
    return value


def condition_sql(node: Condition | Value, columns: Mapping[str, str]) -> str:
    """A tree as SQL of DuckDB.

    Args:
        node: the tree.
        columns: column to an expression of the kind that the tree takes it for: BIGINT (times too), DOUBLE, VARCHAR or
            BOOLEAN.
    """

    def sql(part: Condition | Value) -> str:
        return condition_sql(part, columns)

    if isinstance(node, Constant):
        return _constant_sql(node)
    if isinstance(node, ColumnValue):
        return columns[node.name]
    if isinstance(node, AsFloat):
        return f"CAST({sql(node.item)} AS DOUBLE)"
    if isinstance(node, Arithmetic):
        left, right = sql(node.left), sql(node.right)
        if node.operator == "/":
            return f"CASE WHEN {right} <> 0 THEN {left} / {right} END"
        return f"({left} {node.operator} {right})"
    if isinstance(node, Comparison | Junction):
        return f"({sql(node.left)} {node.operator} {sql(node.right)})"
    if isinstance(node, Among):
        return f"({sql(node.item)} IN ({', '.join(sql(value) for value in node.values)}))"
    if isinstance(node, IsNull):
        return f"({sql(node.item)} IS NULL)"
    return f"(NOT {sql(node.item)})" if isinstance(node, Not) else sql(node.item)


def _constant_sql(node: Constant) -> str:
    if node.kind == "text":
        return "'" + str(node.value).replace("'", "''") + "'"
    if node.kind == "bool":
        return "true" if node.value else "false"
    return f"CAST('{node.value!r}' AS {'DOUBLE' if node.kind == 'float' else 'BIGINT'})"
