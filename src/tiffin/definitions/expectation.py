"""Expectations: what has to be true of the facts of a view before they are served. Data, without code (DEF-6)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tiffin.definitions.base import caller
from tiffin.errors import DefinitionError, DefinitionTypeError, nearest
from tiffin.time import duration_us, format_duration, format_us, to_us

#: What becomes of facts that are not as expected: they are counted and used; they go to the quarantine instead; nothing
#: is written at all.
WARN, QUARANTINE, FAIL = "warn", "quarantine", "fail"
ACTIONS = (WARN, QUARANTINE, FAIL)

#: The kinds that are about one fact, and those that are about all facts of a load or push together.
ROW_KINDS = ("not_null", "between", "one_of", "matches", "where")
WHOLE_KINDS = ("unique", "fresh", "row_count")


@dataclass(frozen=True)
class Expectation:
    """Something that is expected of facts; made by the methods that are called like the kinds.

    Null is as expected by everything but ``not_null``.

    Attributes:
        kind: ``not_null``, ``between``, ``one_of``, ``matches``, ``where``, ``unique``, ``fresh`` or ``row_count``.
        columns: what it is about; of an expectation of a field, the field, added by itself.
        arguments: what the kind needs, as JSON has it.
        on_failure: ``warn``, ``quarantine`` or ``fail``.
        location: ``file:line`` of the declaration; not part of its value.

    >>> str(Expectation.between(0, 1, column="share"))
    'share between 0 and 1'
    """

    kind: str
    columns: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    on_failure: str = FAIL
    location: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.location:
            object.__setattr__(self, "location", caller())
        if self.kind not in (*ROW_KINDS, *WHOLE_KINDS):
            raise self.error(f"there is no expectation {self.kind!r}", nearest(self.kind, (*ROW_KINDS, *WHOLE_KINDS)))
        if self.on_failure not in ACTIONS:
            raise self.error(f"on_failure is {self.on_failure!r}", nearest(str(self.on_failure), ACTIONS))
        if self.on_failure == QUARANTINE and self.is_whole:
            hint = f"pass on_failure={WARN!r} or {FAIL!r}"
            raise self.error(f"{self.kind} is about all facts together, so none of them can be put apart", hint)
        for column in self.columns:
            if not isinstance(column, str) or not column:
                raise self.error(f"{self.kind} is about the column {column!r}", "name columns by text")

    def __hash__(self) -> int:
        return hash((self.kind, self.columns, self.on_failure))

    @classmethod
    def not_null(cls, column: str = "", *, on_failure: str = FAIL) -> Expectation:
        """No value is null."""
        return cls("not_null", _columns(column), {}, on_failure)

    @classmethod
    def between(
        cls, low: Any = None, high: Any = None, column: str = "", *, strict: bool = False, on_failure: str = FAIL
    ) -> Expectation:
        """Numbers and times lie between two ends, both included unless ``strict``; NaN does not.

        Args:
            low: a number or a time; ``None`` for no end on this side.
            high: the other end.
            column: which; a field's own when it is an expectation of a field.
            strict: whether the ends themselves are out.
            on_failure: what becomes of a fact that is not so.
        """
        arguments = {"low": _plain_end(low), "high": _plain_end(high), "strict": strict}
        arguments = {name: value for name, value in arguments.items() if value is not None and value is not False}
        found = cls("between", _columns(column), arguments, on_failure)
        ends = [value for value in (low, high) if value is not None]
        if not ends:
            raise found.error("between has neither low nor high", "pass one of them, or both")
        for end in ends:
            is_number = isinstance(end, int | float) and not isinstance(end, bool)
            if not is_number and not isinstance(end, str | datetime):
                raise found.error(f"between has the end {end!r}", "pass a number, or a time")
            if isinstance(end, float) and math.isnan(end):
                raise found.error("between has the end NaN, which nothing is below or above", "pass a number")
        if len(ends) == 2 and _is_turned(arguments["low"], arguments["high"], strict):
            raise found.error(f"nothing lies between {low!r} and {high!r}", "swap the two")
        return found

    @classmethod
    def one_of(cls, values: Sequence[Any], column: str = "", *, on_failure: str = FAIL) -> Expectation:
        """Every value is one of some texts, whole numbers or truth values."""
        found = cls("one_of", _columns(column), {"values": list(values)}, on_failure)
        if isinstance(values, str) or not values:
            raise found.error(f"one_of has the values {values!r}", "pass a list of values")
        for value in values:
            if not isinstance(value, str | int):
                raise found.error(f"one_of has the value {value!r}", "pass texts, whole numbers or truth values")
        return found

    @classmethod
    def matches(cls, pattern: str, column: str = "", *, on_failure: str = FAIL) -> Expectation:
        """Every text matches a regular expression as a whole.

        Args:
            pattern: in the syntax of RE2: that of Python without what looks around or back.
            column: which.
            on_failure: what becomes of a fact that is not so.
        """
        found = cls("matches", _columns(column), {"pattern": pattern}, on_failure)
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise found.error(f"the pattern {pattern!r} cannot be read: {error}", "correct it") from None
        return found

    @classmethod
    def where(cls, condition: str, *, on_failure: str = FAIL) -> Expectation:
        """A condition in SQL is not false, such as ``"paid <= amount OR currency = 'EUR'"``; unknown is as expected.

        Conditions are those of the filters of aggregations, over the columns of a fact.
        """
        found = cls("where", (), {"condition": condition}, on_failure)
        if not isinstance(condition, str) or not condition.strip():
            raise found.error(f"where has the condition {condition!r}", 'pass a text such as "amount > 0"')
        return found

    @classmethod
    def unique(cls, columns: str | Sequence[str] = (), *, on_failure: str = FAIL) -> Expectation:
        """No two facts of a load or push have the same values in some columns; rows with a null in them are left out.

        Hashes of 8 bytes are compared. A load has the newest fact of each key.
        """
        return cls("unique", _columns(columns), {}, on_failure)

    @classmethod
    def fresh(cls, max_age: timedelta, *, on_failure: str = FAIL) -> Expectation:
        """The newest fact of a load is at most so old at the end of the load's range.

        A load without facts says nothing about it, and a push says nothing.
        """
        found = cls("fresh", (), {}, on_failure)
        if not isinstance(max_age, timedelta) or duration_us(max_age) <= 0:
            raise found.error(f"fresh has the max_age {max_age!r}", "pass a timedelta that is not zero")
        return replace(found, arguments={"max_age_us": duration_us(max_age)})

    @classmethod
    def row_count(cls, low: int | None = None, high: int | None = None, *, on_failure: str = FAIL) -> Expectation:
        """A load has at least ``low`` and at most ``high`` facts, the newest of each key; a push says nothing."""
        ends = {name: value for name, value in (("low", low), ("high", high)) if value is not None}
        found = cls("row_count", (), ends, on_failure)
        if not ends or any(isinstance(end, bool) or not isinstance(end, int) or end < 0 for end in ends.values()):
            raise found.error(f"row_count has low {low!r} and high {high!r}", "pass whole numbers, one or both")
        if low is not None and high is not None and low > high:
            raise found.error(f"no number of rows is between {low} and {high}", "swap the two")
        return found

    def __str__(self) -> str:
        """The expectation as people read it, without what becomes of the rest."""
        subject, given = ", ".join(self.columns), self.arguments
        if self.kind == "between":
            return f"{subject} {_words_of_ends(given)}".strip()
        if self.kind == "one_of":
            return f"{subject} one of {', '.join(map(repr, given['values']))}".strip()
        if self.kind == "matches":
            return f"{subject} matches {given['pattern']}".strip()
        if self.kind == "where":
            return str(given["condition"])
        if self.kind == "fresh":
            return f"newest at most {format_duration(timedelta(microseconds=given['max_age_us']))} old"
        if self.kind == "row_count":
            return f"number of rows {_words_of_ends(given)}"
        return f"{subject} {self.kind.replace('_', ' ')}".strip()

    @property
    def is_whole(self) -> bool:
        """Whether it is about all facts together."""
        return self.kind in WHOLE_KINDS

    @property
    def words(self) -> str:
        """The expectation and what becomes of facts that are not as expected."""
        return f"{self}, else {self.on_failure}"

    def of_column(self, column: str) -> Expectation:
        """The same about the column of the field that it belongs to.

        Raises:
            DefinitionError: it is about another column, or about none.
        """
        if self.kind in ("where", "fresh", "row_count"):
            raise self.error(f"{self.kind} is not about one column", "pass it to the view, not to a field")
        if self.columns not in ((), (column,)):
            raise self.error(
                f"field {column!r} has an expectation about {', '.join(self.columns)}", "pass it to the view"
            )
        return replace(self, columns=(column,))

    def error(self, message: str, hint: str = "") -> DefinitionError:
        """An error about this object, with its place in the user's file."""
        return DefinitionError(message, subject=f"expectation {self.kind}", location=self.location, hint=hint)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec: dict[str, Any] = {"kind": self.kind, "on_failure": self.on_failure}
        if self.columns:
            spec["columns"] = list(self.columns)
        return spec | ({"arguments": dict(self.arguments)} if self.arguments else {})

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], location: str = "") -> Expectation:
        """Build it again from ``to_spec``'s data."""
        arguments, columns = spec.get("arguments", {}), tuple(spec.get("columns", ()))
        return cls(spec["kind"], columns, arguments, spec["on_failure"], location or "registry")


def check_expectations(
    value: object, error: Callable[..., DefinitionError], *, column: str = ""
) -> tuple[Expectation, ...]:
    """The expectations of a view or field, checked; schemas of pandera as expectations.

    Args:
        value: what was passed: a list of expectations and schemas, or one of them.
        error: makes the error about the object that has them.
        column: of the field that they are about; empty for those of a view.
    """
    from tiffin.definitions.pandera_schemas import expectations_of, is_schema

    given = value if isinstance(value, list | tuple) else [value]
    found: list[Expectation] = []
    for item in given:
        if is_schema(item):
            found += expectations_of(item, error)
        elif isinstance(item, Expectation):
            found.append(item)
        else:
            wrong = error(f"expectations has {item!r}", hint="pass Expectation.not_null() and the like")
            raise DefinitionTypeError(wrong.message, subject=wrong.subject, location=wrong.location, hint=wrong.hint)
    if column:
        return tuple(item.of_column(column) for item in found)
    for item in found:
        if item.kind in ("not_null", "between", "one_of", "matches", "unique") and not item.columns:
            raise item.error(f"{item.kind} says no column", "pass column=, or pass it to a field")
    return tuple(found)


def _columns(given: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,) if given else ()
    return tuple(given)


def _plain_end(end: Any) -> Any:
    """An end as JSON has it: a time as text."""
    return format_us(to_us(end)) if isinstance(end, datetime) else end


def _is_turned(low: Any, high: Any, strict: bool) -> bool:
    if isinstance(low, str) and isinstance(high, str):
        low, high = to_us(low), to_us(high)
    elif isinstance(low, str) or isinstance(high, str):
        return True
    return bool(low >= high if strict else low > high)


def _words_of_ends(ends: Mapping[str, Any]) -> str:
    low, high, strict = ends.get("low"), ends.get("high"), ends.get("strict")
    if high is None:
        return f"above {low}" if strict else f"at least {low}"
    if low is None:
        return f"below {high}" if strict else f"at most {high}"
    return f"strictly between {low} and {high}" if strict else f"between {low} and {high}"
