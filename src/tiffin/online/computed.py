"""What the on-demand views of a request compute, when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiffin.errors import TypeMismatchError
from tiffin.online.defaults import default_column, fill_nulls
from tiffin.online.keys import key_values
from tiffin.transforms.column import Column, Misfit, held_to
from tiffin.transforms.run import compute

if TYPE_CHECKING:
    from tiffin.definitions import Field
    from tiffin.online.found import FoundRows
    from tiffin.online.found_windows import FoundTimelines
    from tiffin.planning.online import AnswerColumn, OnlinePlan
    from tiffin.planning.references import FunctionInput


class ComputedValues:
    """The on-demand views of one answer.

    Args:
        plan: what is answered.
        entities: the entity rows, by column.
        found: the rows of each view.
        functions: the functions of ``plan.computed``.
        now_us: the moment of the request.
        count: how many entity rows there are.
    """

    def __init__(
        self,
        plan: OnlinePlan,
        entities: Mapping[str, list[Any]],
        found: Sequence[FoundRows | FoundTimelines],
        functions: Sequence[Callable[..., Any]],
        now_us: int,
        count: int,
    ) -> None:
        self._plan = plan
        self._entities = entities
        self._found = found
        self._functions = functions
        self._now_us = now_us
        self._count = count
        self._columns: list[list[Column]] | None = None

    def column(self, column: AnswerColumn) -> Column:
        """The values of one feature.

        Raises:
            TiffinError: as ``run``.
        """
        return self.run()[column.view][column.feature]

    def run(self) -> list[list[Column]]:
        """The values of all views and features, computed once.

        Raises:
            FunctionError: a function fails, or gives something else than it declares.
            TypeMismatchError: a value of the request is not of its type; names the row.
        """
        if self._columns is None:
            self._columns = self._compute()
        return self._columns

    def event_us(self, stored: Sequence[Sequence[int | None]]) -> list[list[int | None]]:
        """Per on-demand view and entity row, the event time of the oldest fact that it is computed from."""
        times: list[list[int | None]] = []
        for view in self._plan.computed:
            used = {(item.computed, item.place[0]) for item in view.inputs if item.place}
            rows = zip(*((times if computed else stored)[number] for computed, number in used), strict=True)
            oldest = [min((us for us in row if us is not None), default=None) for row in rows]
            times.append(oldest if used else [None] * self._count)
        return times

    def _compute(self) -> list[list[Column]]:
        stored = [self._stored(number, rows) for number, rows in enumerate(self._found)]
        entities: dict[str, Column] = {}
        computed: list[list[Column]] = []
        now_us = [self._now_us] * self._count
        for view, function in zip(self._plan.computed, self._functions, strict=True):
            inputs = []
            for item in view.inputs:
                if item.place is None:
                    if item.column not in entities:
                        entities[item.column] = self._entity(item)
                    inputs.append(entities[item.column])
                else:
                    inputs.append((computed if item.computed else stored)[item.place[0]][item.place[1]])
            columns = compute(view, function, inputs, now_us, self._count)
            computed.append([_with_default(c, field) for c, field in zip(columns, view.features, strict=True)])
        return computed

    def _stored(self, number: int, rows: FoundRows | FoundTimelines) -> list[Column]:
        """What was read of one view; functions see the defaults, as everybody does (ONL-5)."""
        columns = []
        for values, column in zip(rows.values(), self._plan.values[number], strict=True):
            default = column.default
            cells = values if default is None else [default if value is None else value for value in values]
            columns.append(Column(column.dtype, python=cells))
        return columns

    def _entity(self, item: FunctionInput) -> Column:
        """A column of the entity rows."""
        values = self._entities[item.column]
        if item.is_key:
            return Column(item.dtype, python=key_values(values, item.dtype, item.column))
        try:
            return held_to(values, item.dtype)
        except Misfit as misfit:
            raise TypeMismatchError(
                f"entity row {misfit.row}: {misfit.value!r} in column {item.column!r} is no {item.dtype!r}",
                subject=item.column,
                hint="the request source declares the type",
            ) from None


def _with_default(column: Column, field: Field) -> Column:
    if field.default_value is None:
        return column
    default = default_column(field.default_value, field.dtype, field.name)
    return Column(field.dtype, arrow=fill_nulls(column.arrow(), default))
