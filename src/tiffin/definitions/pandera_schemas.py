"""Schemas of pandera as expectations. They are only read, so that pandera itself is not imported.

What pandera checks by calling a function cannot be kept as data, and is refused. Types are left to the fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tiffin.definitions.expectation import FAIL, WARN, Expectation
from tiffin.errors import DefinitionError, UnsupportedError

#: Of pandera's checks: how their statistics become the arguments of ``Expectation.between``.
_BOUNDS: Mapping[str, tuple[tuple[str, str], bool]] = {
    "greater_than": (("min_value", "low"), True),
    "greater_than_or_equal_to": (("min_value", "low"), False),
    "less_than": (("max_value", "high"), True),
    "less_than_or_equal_to": (("max_value", "high"), False),
}


def is_schema(value: Any) -> bool:
    """Whether it is a schema of pandera: an object, or a class of a model."""
    kind = value if isinstance(value, type) else type(value)
    return any(base.__module__.split(".")[0] == "pandera" for base in kind.__mro__)


def expectations_of(schema: Any, error: Callable[..., DefinitionError]) -> list[Expectation]:
    """A schema as expectations; a check with ``raise_warning`` warns, every other one fails.

    Raises:
        UnsupportedError: it checks something that cannot be kept as data.
        DefinitionError: it is no schema of a table.
    """
    if isinstance(schema, type):
        schema = getattr(schema, "to_schema", schema)()
    columns = getattr(schema, "columns", None)
    if not isinstance(columns, Mapping):
        raise error(f"{type(schema).__name__} is no schema of a table", hint="pass a DataFrameSchema or a model")
    if schema.checks:
        raise _refused("the schema", schema.checks[0].name, error)
    found: list[Expectation] = []
    for name, column in columns.items():
        if getattr(column, "regex", False):
            raise _refused(f"column {name!r}", "a name that is a pattern", error)
        if not column.nullable:
            found.append(Expectation.not_null(name))
        if column.unique:
            found.append(Expectation.unique(name))
        found += [_of_check(name, check, error) for check in column.checks]
    if schema.unique:
        found.append(Expectation.unique([schema.unique] if isinstance(schema.unique, str) else list(schema.unique)))
    return found


def _of_check(column: str, check: Any, error: Callable[..., DefinitionError]) -> Expectation:
    given, action = check.statistics or {}, WARN if check.raise_warning else FAIL
    if check.name in _BOUNDS:
        (statistic, argument), strict = _BOUNDS[check.name]
        return Expectation.between(**{argument: given[statistic]}, column=column, strict=strict, on_failure=action)
    if check.name == "in_range" and given["include_min"] == given["include_max"]:
        ends, strict = (given["min_value"], given["max_value"]), not given["include_min"]
        return Expectation.between(*ends, column, strict=strict, on_failure=action)
    if check.name == "equal_to":
        return Expectation.one_of([given["value"]], column, on_failure=action)
    if check.name == "isin":
        return Expectation.one_of(list(given["allowed_values"]), column, on_failure=action)
    patterns = {
        "str_matches": lambda: f"(?:{given['pattern']})(?s:.*)",
        "str_contains": lambda: f"(?s:.*)(?:{given['pattern']})(?s:.*)",
        "str_startswith": lambda: f"{re.escape(given['string'])}(?s:.*)",
        "str_endswith": lambda: f"(?s:.*){re.escape(given['string'])}",
    }
    if check.name in patterns:
        return Expectation.matches(patterns[check.name](), column, on_failure=action)
    raise _refused(f"column {column!r}", check.name, error)


def _refused(where: str, what: str, error: Callable[..., DefinitionError]) -> UnsupportedError:
    wrong = error(f"{where} of the pandera schema has {what}, which cannot be kept as data")
    return UnsupportedError(
        f"{wrong.subject}: {wrong.message}",
        subject=wrong.subject,
        location=wrong.location,
        hint="write it as Expectation.where(...), or check it in the source",
    )
