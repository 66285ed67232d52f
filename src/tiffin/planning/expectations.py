"""Expectations as checks: each one made out against the types of the columns that it reads, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiffin.definitions import Expectation, FeatureView
from tiffin.definitions.expectation import FAIL
from tiffin.errors import DefinitionError, DefinitionTypeError, InputError, nearest
from tiffin.time import to_us
from tiffin.types import (
    KEY_TYPES,
    Bool,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    arrow_type,
)

if TYPE_CHECKING:
    from tiffin.windows.conditions import Condition

_WHOLE = (Int32, Int64)
_NUMBERS = (*_WHOLE, Float32, Float64, Decimal)
_TEXTS = (String, Json, Uuid, TimeUuid)
#: The types whose columns an expectation may be about; ``None`` for all.
_ACCEPTED: Mapping[str, tuple[FeatureType, ...] | None] = {
    "not_null": None,
    "between": (*_NUMBERS, UnixTimestamp),
    "one_of": (*_WHOLE, *_TEXTS, Bool),
    "matches": (String, Json),
    "unique": (*KEY_TYPES, Float32, Float64),
}


@dataclass(frozen=True)
class Check:
    """An expectation, ready to be evaluated.

    Attributes:
        expectation: as it was declared.
        dtype: of its column, where it is about one.
        low, high: of ``between``: of times, as microseconds.
        condition: of ``where``.
        values: of ``one_of``, as an Arrow array of the column's type.
    """

    expectation: Expectation
    dtype: FeatureType | None = None
    low: Any = None
    high: Any = None
    condition: Condition | None = None
    values: Any = None

    @property
    def column(self) -> str:
        """The column that it is about."""
        return self.expectation.columns[0]


@dataclass(frozen=True)
class Checks:
    """All that is expected of the facts of a view.

    Attributes:
        of_rows: about one fact each.
        of_all: about all of them together.
        event_column: the name under which they read the event time.
    """

    of_rows: tuple[Check, ...]
    of_all: tuple[Check, ...]
    event_column: str

    def __bool__(self) -> bool:
        return bool(self.of_rows or self.of_all)

    @property
    def may_fail(self) -> bool:
        """Whether one of them keeps everything from being written."""
        return any(check.expectation.on_failure == FAIL for check in (*self.of_rows, *self.of_all))


def plan_checks(view: FeatureView) -> Checks:
    """The checks of a view whose schema is known.

    Raises:
        DefinitionError: an expectation is about a column that is not there, or cannot be of its type.
    """
    event = view.time_columns[0]
    if not view.all_expectations:
        return Checks((), (), event)
    for item in view.features if view.aggregations else ():
        if item.expectations:
            columns = ", ".join(field.name for field in view.payload)
            hint = f"what is aggregated is checked: pass it to the view, about a column of {columns}"
            raise view.error(f"{view.subject}: {item.name!r} is an aggregate, which is not loaded", hint=hint)
    types: dict[str, FeatureType] = {field.name: field.dtype for field in view.payload}
    keys = zip(view.join_keys, view.key_types, strict=True)
    types |= {key: dtype for key, dtype in keys if dtype is not None} | {event: UnixTimestamp}
    checks = [_check(item, types, view) for item in dict.fromkeys(view.all_expectations)]
    of_rows = tuple(check for check in checks if not check.expectation.is_whole)
    return Checks(of_rows, tuple(check for check in checks if check.expectation.is_whole), event)


def _check(item: Expectation, types: Mapping[str, FeatureType], view: FeatureView) -> Check:
    for column in item.columns:
        if column not in types:
            raise _error(item, view, f"there is no column {column!r}", nearest(column, types))
        accepted = _ACCEPTED[item.kind]
        if accepted is not None and types[column] not in accepted:
            listed = ", ".join(repr(dtype) for dtype in accepted)
            what = f"column {column!r} is {types[column]!r}"
            raise _error(item, view, what, f"{item.kind} is about {listed}", DefinitionTypeError)
    if item.kind == "between":
        return _between(item, types[item.columns[0]], view)
    if item.kind == "one_of":
        return _one_of(item, types[item.columns[0]], view)
    if item.kind == "matches":
        _check_pattern(item, view)
    if item.kind == "where":
        return Check(item, condition=_condition(item, types, view))
    return Check(item, types[item.columns[0]] if len(item.columns) == 1 else None)


def _between(item: Expectation, dtype: FeatureType, view: FeatureView) -> Check:
    ends = {}
    for name in ("low", "high"):
        end = item.arguments.get(name)
        if end is not None and isinstance(end, str) != (dtype is UnixTimestamp):
            wanted = "a time" if dtype is UnixTimestamp else "a number"
            raise _error(item, view, f"{name} is {end!r}, where {wanted} is expected", f"pass {wanted}")
        try:
            ends[name] = to_us(end) if isinstance(end, str) else end
        except InputError as error:
            raise _error(item, view, error.message, error.hint) from None
    return Check(item, dtype, ends["low"], ends["high"])


def _one_of(item: Expectation, dtype: FeatureType, view: FeatureView) -> Check:
    import pyarrow as pa

    wanted = bool if dtype is Bool else int if dtype in _WHOLE else str
    for value in item.arguments["values"]:
        if type(value) is not wanted:
            raise _error(item, view, f"{value!r} is no value of {dtype!r}", f"pass values of type {wanted.__name__}")
    try:
        return Check(item, dtype, values=pa.array(item.arguments["values"], arrow_type(dtype)))
    except (pa.ArrowInvalid, OverflowError) as error:
        raise _error(item, view, f"a value does not fit into {dtype!r}: {error}", "leave it out") from None


def _check_pattern(item: Expectation, view: FeatureView) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), whole_pattern(item))
    except pa.ArrowInvalid as error:
        hint = "patterns are those of RE2, which looks neither around nor back"
        raise _error(item, view, f"the pattern cannot be used: {str(error).splitlines()[0]}", hint) from None


def whole_pattern(item: Expectation) -> str:
    """The pattern of ``matches`` so that it is found where the whole text matches."""
    return rf"\A(?:{item.arguments['pattern']})\z"


def _condition(item: Expectation, types: Mapping[str, FeatureType], view: FeatureView) -> Condition:
    from tiffin.sql.conditions import parse_condition

    try:
        return parse_condition(item.arguments["condition"], types)
    except DefinitionError as error:
        raise _error(item, view, error.message, error.hint) from None


def _error(
    item: Expectation, view: FeatureView, what: str, hint: str, kind: type[DefinitionError] = DefinitionError
) -> DefinitionError:
    location = item.location if item.location != "registry" else view.location
    return kind(f"{view.subject} expects that {item}, but {what}", subject=view.subject, location=location, hint=hint)
