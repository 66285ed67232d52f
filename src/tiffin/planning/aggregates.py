"""Views with aggregations: what is found out about them at ``apply``, and what is planned for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiffin.definitions import Aggregation, FeatureView, Field
from tiffin.definitions.aggregation import ALL_FACTS
from tiffin.errors import DefinitionError, DefinitionTypeError, UnsupportedError
from tiffin.planning.casting import can_keep
from tiffin.types import Bool, FeatureType, arrow_type
from tiffin.windows.window import Window

if TYPE_CHECKING:
    from tiffin.windows.conditions import Condition


@dataclass(frozen=True)
class AggregateColumn:
    """A feature that is computed from the facts of a window.

    Attributes:
        name: of the feature.
        function: its name, not another one for it.
        params: its parameters.
        column: what it is computed from; ``"*"`` for the facts themselves.
        column_type: the type of that column.
        window: which facts.
        condition: what has to be true of a fact; ``None`` where all count.
        dtype: the type of the feature.
        words: the definition as people read it.
    """

    name: str
    function: str
    params: tuple[tuple[str, Any], ...]
    column: str
    column_type: FeatureType
    window: Window
    condition: Condition | None
    dtype: FeatureType
    words: str


def plan_aggregates(view: FeatureView, features: Sequence[Field]) -> tuple[AggregateColumn, ...]:
    """The aggregates behind some features of a view that has been applied; none for a view of plain features."""
    if not view.aggregations:
        return ()
    types = {field.name: field.dtype for field in view.inputs or ()}
    by_name = {item.resolved_name(): item for item in view.aggregations}
    found = []
    for field in features:
        item = by_name[field.name]
        found.append(
            AggregateColumn(
                name=field.name,
                function=item.canonical_function,
                params=tuple(sorted((item.params or {}).items())),
                column=item.column,
                column_type=column_type(item, types),
                window=Window(item.window_us, item.slide_us, item.offset_us),
                condition=None if item.filter is None else parse_filter(item, types),
                dtype=field.dtype,
                words=str(item),
            )
        )
    return tuple(found)


def column_type(item: Aggregation, types: Mapping[str, FeatureType]) -> FeatureType:
    """The type that a function computes from; a fact itself is true."""
    return Bool if item.column == ALL_FACTS else types[item.column]


def parse_filter(item: Aggregation, types: Mapping[str, FeatureType]) -> Condition:
    """The filter of an aggregation as a tree.

    Raises:
        DefinitionError: it cannot be read; with the place of the aggregation.
    """
    from tiffin.sql.conditions import parse_condition

    assert item.filter is not None
    try:
        return parse_condition(item.filter, types)
    except DefinitionError as error:
        raise item.error(f"{item.subject}: {error.message}", hint=error.hint) from None


def filter_columns(item: Aggregation, types: Mapping[str, FeatureType]) -> tuple[str, ...]:
    """The columns that the filter of an aggregation reads."""
    from tiffin.windows.conditions import values_of

    return () if item.filter is None else tuple(value.name for value in values_of(parse_filter(item, types)))


def with_aggregates(view: FeatureView, inputs: Sequence[Field], keys: Sequence[str]) -> tuple[Field, ...]:
    """The schema of a view with aggregations: as declared, and for the rest as the functions say.

    Args:
        view: the view.
        inputs: the columns that it is computed from, with their types.
        keys: its join keys.

    Raises:
        DefinitionTypeError: a function cannot be computed from its column, or its values not kept in the declared type.
    """
    types = {field.name: field.dtype for field in inputs}
    declared = {field.name: field for field in view.schema or ()}
    fields = {name: field for name, field in declared.items() if name in keys}
    results = {item.resolved_name(): (item, _result(item, types, view)) for item in view.aggregations or ()}
    for name, field in declared.items():
        if name in results:
            item, dtype = results[name]
            if not _keeps(dtype, field.dtype):
                raise DefinitionTypeError(
                    f"{view.subject}: field {name!r} is declared as {field.dtype!r}, but {item} gives {dtype!r}",
                    subject=view.subject,
                    location=view.location,
                    hint=f"declare {dtype!r}, or leave the field out",
                )
            fields[name] = field
    for name, (_, dtype) in results.items():
        if name not in fields:
            fields[name] = Field(name=name, dtype=dtype, location=view.location)
    return tuple(fields.values())


def _result(item: Aggregation, types: Mapping[str, FeatureType], view: FeatureView) -> FeatureType:
    from tiffin.windows.evaluate import result_type

    dtype = column_type(item, types)
    try:
        result = result_type(item.canonical_function, dtype, item.params or {})
        arrow_type(result)
    except UnsupportedError as error:
        raise DefinitionTypeError(
            f"{view.subject}: {item.function} cannot be computed from column {item.column!r}, which has type {dtype!r}",
            subject=view.subject,
            location=item.location if item.location != "registry" else view.location,
            hint=error.hint or "cast the column in the source",
        ) from None
    return result


def _keeps(result: FeatureType, declared: FeatureType) -> bool:
    return result == declared or can_keep(arrow_type(result), declared)
