"""Conditions on the columns of a fact, as a tree, with the three values of SQL: true, false and unknown.

A fact counts where its condition is true. The tree is made from text by ``tiffin.sql.conditions``, which also writes it
as SQL; here it is evaluated over Arrow columns. Both follow these rules, which leave nothing to an engine:

- an operation on a null is null; ``AND``, ``OR`` and ``NOT`` are those of SQL;
- whole numbers are int64, and one that does not fit is an error; with a fraction they are float64;
- ``/`` always divides as float64, and dividing by zero gives null;
- NaN equals itself and is greater than every other number;
- texts are compared by their code points, times by their microseconds.
"""

from __future__ import annotations

import operator as operator_module
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values, single_chunk, valid_mask
from tiffin.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_EXACTLY: Mapping[str, Any] = {"+": operator_module.add, "-": operator_module.sub, "*": operator_module.mul}
#: What a value is: int64, float64, text, a truth value, or a time as int64 microseconds.
Kind = Literal["int", "float", "text", "bool", "time"]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Constant:
    """A value that is written down; of a time, its microseconds."""

    kind: Kind
    value: Any


@dataclass(frozen=True)
class ColumnValue:
    """The value of a column of the fact."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Arithmetic:
    """``left operator right`` with one of ``+ - * /``; both of the kind of the result."""

    kind: Kind
    operator: str
    left: Value
    right: Value


@dataclass(frozen=True)
class AsFloat:
    """A whole number as float64."""

    item: Value
    kind: Kind = "float"


Value = Constant | ColumnValue | Arithmetic | AsFloat


@dataclass(frozen=True)
class Comparison:
    """``left operator right`` with one of ``= <> < <= > >=``; both of one kind."""

    operator: str
    left: Value
    right: Value


@dataclass(frozen=True)
class Among:
    """``item IN (values)``."""

    item: Value
    values: tuple[Constant, ...]


@dataclass(frozen=True)
class IsNull:
    """``item IS NULL``; never unknown."""

    item: Value


@dataclass(frozen=True)
class Truth:
    """A value that is a truth value itself."""

    item: Value


@dataclass(frozen=True)
class Not:
    """``NOT item``."""

    item: Condition


@dataclass(frozen=True)
class Junction:
    """``left AND right``, or ``left OR right``."""

    operator: Literal["AND", "OR"]
    left: Condition
    right: Condition


Condition = Comparison | Among | IsNull | Truth | Not | Junction


def values_of(node: Condition | Value) -> tuple[ColumnValue, ...]:
    """The columns that a condition reads, each once, in order of first use."""
    if isinstance(node, ColumnValue):
        return (node,)
    if isinstance(node, Constant):
        return ()
    parts = (node.left, node.right) if isinstance(node, Arithmetic | Comparison | Junction) else (node.item,)
    return tuple(dict.fromkeys(value for part in parts for value in values_of(part)))


def is_true(condition: Condition, columns: Mapping[str, pa.Array], count: int) -> BoolArray:
    """(count,) where a condition is true.

    Args:
        condition: the condition.
        columns: name to (count,) column.
        count: how many facts there are.

    Raises:
        InputError: a whole number does not fit into int64.
    """
    held, known = _condition(condition, _Columns(columns, count))
    return held & known


@dataclass(frozen=True)
class _Columns:
    by_name: Mapping[str, Any]
    count: int


def _condition(node: Condition, columns: _Columns) -> tuple[BoolArray, BoolArray]:
    """(count,) whether it holds, meaningful where (count,) it is known."""
    if isinstance(node, Not):
        held, known = _condition(node.item, columns)
        return ~held, known
    if isinstance(node, Junction):
        return _junction(node, columns)
    if isinstance(node, IsNull):
        _, valid = _value(node.item, columns)
        return ~valid, np.ones(columns.count, np.bool_)
    if isinstance(node, Truth):
        values, valid = _value(node.item, columns)
        return values.astype(np.bool_), valid
    if isinstance(node, Comparison):
        left, left_valid = _value(node.left, columns)
        right, right_valid = _value(node.right, columns)
        return _compare(node.operator, left, right, node.left.kind), left_valid & right_valid
    values, valid = _value(node.item, columns)
    found = np.zeros(columns.count, np.bool_)
    for constant in node.values:
        found |= _compare("=", values, _value(constant, columns)[0], node.item.kind)
    return found, valid


def _junction(node: Junction, columns: _Columns) -> tuple[BoolArray, BoolArray]:
    left, left_known = _condition(node.left, columns)
    right, right_known = _condition(node.right, columns)
    both = left_known & right_known
    if node.operator == "AND":
        return left & right, both | (left_known & ~left) | (right_known & ~right)
    held = (left & left_known) | (right & right_known)
    return held, both | held


def _value(node: Value, columns: _Columns) -> tuple[NDArray[Any], BoolArray]:
    """(count,) values and (count,) whether each is there; what stands where it is not is undefined."""
    if isinstance(node, Constant):
        dtype: Any = {"int": np.int64, "time": np.int64, "float": np.float64, "bool": np.bool_}.get(node.kind, object)
        return np.full(columns.count, node.value, dtype), np.ones(columns.count, np.bool_)
    if isinstance(node, ColumnValue):
        return _column(single_chunk(columns.by_name[node.name]), node.kind)
    if isinstance(node, AsFloat):
        values, valid = _value(node.item, columns)
        return values.astype(np.float64), valid
    left, left_valid = _value(node.left, columns)
    right, right_valid = _value(node.right, columns)
    valid = left_valid & right_valid
    if node.kind == "int":
        return _whole(node.operator, left, right, valid), valid
    with np.errstate(all="ignore"):
        if node.operator == "/":
            return np.divide(left, right), valid & (right != 0)
        operation: Any = {"+": np.add, "-": np.subtract, "*": np.multiply}[node.operator]
        return operation(left, right), valid


def _column(column: pa.Array, kind: Kind) -> tuple[NDArray[Any], BoolArray]:
    import pyarrow as pa

    valid = valid_mask(column)
    if kind == "text":
        values = np.empty(len(column), object)
        values[:] = column.cast(pa.string()).fill_null("").to_pylist()
        return values, valid
    if kind == "bool":
        bits = column.cast(pa.uint8())
        return numpy_values(bits, np.uint8).astype(np.bool_), valid
    if kind == "float":
        return numpy_values(column.cast(pa.float64()), np.float64), valid
    return numpy_values(column if kind == "time" else column.cast(pa.int64())), valid


def _whole(operator: str, left: NDArray[Any], right: NDArray[Any], valid: BoolArray) -> NDArray[Any]:
    """int64 arithmetic that does not wrap round."""
    operation: Any = {"+": np.add, "-": np.subtract, "*": np.multiply}[operator]
    with np.errstate(all="ignore"):
        found: NDArray[Any] = operation(left, right)
        near = operation(left.astype(np.float64), right.astype(np.float64))
    risky = np.flatnonzero(valid & (np.abs(near) > 2.0**62))
    for row in risky.tolist():
        exact = _EXACTLY[operator](int(left[row]), int(right[row]))
        if not -(2**63) <= exact < 2**63:
            raise InputError(
                f"in a filter, {left[row]} {operator} {right[row]} does not fit into 64 bits",
                hint="write one of the numbers with a fraction, such as 1.0, to compute with floats",
            )
    return found


def _compare(operator: str, left: NDArray[Any], right: NDArray[Any], kind: Kind) -> BoolArray:
    if kind == "float":
        # NaN equals itself and is greater than all others.
        left_nan, right_nan = np.isnan(left), np.isnan(right)
        same: BoolArray = (left == right) | (left_nan & right_nan)
        less: BoolArray = (left < right) | (~left_nan & right_nan)
    else:
        same, less = np.asarray(left == right, np.bool_), np.asarray(left < right, np.bool_)
    found = {"=": same, "<>": ~same, "<": less, "<=": less | same, ">": ~(less | same), ">=": ~less}
    return found[operator]
