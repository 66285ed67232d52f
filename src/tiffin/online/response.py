"""What an online read gives: values, statuses and event times, by column; decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from tiffin.columns import pandas_type
from tiffin.compat.gaps import ONLINE_RESPONSE, WithGaps
from tiffin.online.defaults import fill_nulls
from tiffin.online.found import FieldStatus, FoundRows
from tiffin.online.keys import key_values
from tiffin.time import SECOND_US, EventTime, from_us, to_us
from tiffin.types import FeatureType, Int32, Int64, UnixTimestamp, arrow_type

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    import pyarrow as pa

    from tiffin.online.computed import ComputedValues
    from tiffin.online.found_windows import FoundTimelines
    from tiffin.planning.online import AnswerColumn, OnlinePlan, TimelineRead, ViewRead
    from tiffin.transforms.column import Column

_NAMES = {int(status): status.name for status in FieldStatus}


class OnlineResponse(WithGaps):
    """The answer to an online read. Columns come in request order: keys, then features as asked (ONL-1).

    ``to_dict`` gives keys as they went in, and features as Python objects: times are aware datetimes, decimals
    ``Decimal``, UUIDs ``uuid.UUID``, JSON what it says, maps and structs ``dict``, sets ``set`` where their values can
    be in one. ``to_arrow`` gives the types of the definitions, whatever the values are (TYP-2), and every stored value
    exactly (TYP-1).
    """

    __slots__ = ("_computed", "_entities", "_found", "_plan", "now_us")
    _gaps = ONLINE_RESPONSE

    def __init__(
        self,
        plan: OnlinePlan,
        entities: dict[str, list[Any]],
        found: Sequence[FoundRows | FoundTimelines],
        now_us: int,
        computed: ComputedValues | None = None,
    ) -> None:
        self._plan = plan
        self._entities = entities
        self._found = found
        self._computed = computed
        #: The moment that the answer is of: ages were judged by it, and functions and windows got it.
        self.now_us = now_us

    @property
    def computed_views(self) -> tuple[str, ...]:
        """The on-demand views whose functions the answer needs."""
        return tuple(view.name for view in self._plan.computed)

    def compute(self) -> None:
        """Run the functions now, instead of when a value is first asked for.

        Raises:
            FunctionError: a function fails, or gives something else than it declares.
            TypeMismatchError: a value of the request is not of its type; names the row.
        """
        if self._computed is not None:
            self._computed.run()

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Column name to values, one per entity row.

        Args:
            include_event_timestamps: add ``<name>__ts`` columns of whole seconds since 1970, 0 where there is no fact.
        """
        answer = _Answer(self._entities)
        answer.event_times = self._newest_times
        answer.update(zip(self._plan.names, self.columns(), strict=True))
        if include_event_timestamps:
            answer.update(self._seconds())
        return answer

    def columns(self) -> list[list[Any]]:
        """The values of each of the plan's columns, as ``to_dict`` has them."""
        plan, found = self._plan, self._found
        if plan.as_read:
            return list(chain.from_iterable([rows.values() for rows in found]))
        used = {column.view for column in plan.columns if not column.computed}
        stored = {view: found[view].values() for view in used}
        columns = []
        for column in plan.columns:
            if column.computed:
                cells = list(self._computed_column(column).python())
            else:
                cells = stored[column.view][column.feature]
            if column.default is not None:
                cells = [column.default if value is None else value for value in cells]
            columns.append(cells)
        return columns

    def to_arrow(self, include_event_timestamps: bool = False) -> pa.Table:
        """The answer as a table.

        Args:
            include_event_timestamps: as in ``to_dict``.
        """
        import pyarrow as pa

        keys = self._plan.keys
        columns: dict[str, Any] = {
            name: _key_array(values, keys[name], name) if name in keys else pa.array(values)
            for name, values in self._entities.items()
        }
        arrays = [rows.arrays() for rows in self._found]
        for column in self._plan.columns:
            cells = self._computed_column(column).arrow() if column.computed else arrays[column.view][column.feature]
            default = column.default_column
            columns[column.name] = cells if default is None else fill_nulls(cells, default)
        if include_event_timestamps:
            columns |= {name: pa.array(values, pa.int64()) for name, values in self._seconds().items()}
        return pa.table(columns)

    def to_df(self, include_event_timestamps: bool = False) -> pd.DataFrame:
        """The answer as a pandas frame; integers and booleans get pandas' nullable types (TYP-2).

        Args:
            include_event_timestamps: as in ``to_dict``.
        """
        frame: pd.DataFrame = self.to_arrow(include_event_timestamps).to_pandas(types_mapper=pandas_type)
        return frame

    def statuses(self) -> dict[str, list[str]]:
        """Feature column to the name of each value's ``FieldStatus`` (ONL-3); a default does not change it.

        A value that a function computes is there, or null. Columns may share one list.
        """
        return dict(zip(self._plan.names, self.column_statuses(), strict=True))

    def column_statuses(self) -> list[list[str]]:
        """For each of the plan's columns what ``statuses`` has of it."""
        found = [None if rows.are_present() else rows.statuses() for rows in self._found]
        present = [[FieldStatus.PRESENT.name] * len(rows) for rows in self._found]
        columns = []
        for column in self._plan.columns:
            if column.computed:
                values = self._computed_column(column).python()
                statuses = [FieldStatus.NULL_VALUE if value is None else FieldStatus.PRESENT for value in values]
            elif (known := found[column.view]) is None:
                columns.append(present[column.view])
                continue
            else:
                statuses = known[:, column.feature].tolist()
            columns.append([_NAMES[status] for status in statuses])
        return columns

    def are_present(self) -> bool:
        """Whether every value is there, as far as that is known without a look at each; ``statuses`` then has no news.

        Never for values that functions compute.
        """
        return self._computed is None and all([rows.are_present() for rows in self._found])  # noqa: C419 - faster

    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """Feature column to the event time of each value's fact, also of an expired one; ``None`` without a fact.

        A computed value is as old as the oldest fact that it is computed from.
        """
        return {name: [None if us is None else from_us(us) for us in times] for name, times in self.event_us().items()}

    @property
    def plan(self) -> OnlinePlan:
        """What was asked for."""
        return self._plan

    @property
    def with_inputs(self) -> OnlineResponse:
        """The same answer with what functions compute from, and is not asked for, as further columns.

        They are called by their references, ``view:feature``. Nothing is read for them: they are decoded from what the
        answer was computed from.
        """
        plan = self._plan.with_inputs
        if plan is self._plan:
            return self
        return OnlineResponse(plan, self._entities, self._found, self.now_us, self._computed)

    @property
    def types(self) -> Mapping[str, FeatureType]:
        """Feature column to its type."""
        return self._plan.types

    @property
    def view_of(self) -> Mapping[str, str]:
        """Feature column to the name of its view."""
        return self._plan.view_of

    @property
    def references(self) -> dict[str, str]:
        """Feature column to the feature behind it, ``view:feature``."""
        return dict(zip(self._plan.names, self._plan.references, strict=True))

    @property
    def definitions_version(self) -> int:
        """The version of the definitions that it was read by."""
        return self._plan.version

    def keys(self) -> list[tuple[Any, ...]]:
        """For each entity row its key in the types of the definitions, all key columns in the order of their names."""
        columns = [key_values(self._entities[name], dtype, name) for name, dtype in sorted(self._plan.keys.items())]
        return list(zip(*columns, strict=True))

    @property
    def entities(self) -> dict[str, list[Any]]:
        """The columns of the entity rows, as they went in; features are not among them."""
        return self._entities

    def event_us(self) -> dict[str, list[int | None]]:
        """``event_timestamps`` as int64 microseconds; columns of one view share a list that stays as it is."""
        return dict(zip(self._plan.names, self.column_event_us(), strict=True))

    def column_event_us(self) -> list[list[int | None]]:
        """For each of the plan's columns what ``event_us`` has of it."""
        stored = self.stored_event_us()
        computed = [] if self._computed is None else self._computed.event_us(stored)
        return [(computed if column.computed else stored)[column.view] for column in self._plan.columns]

    def stored_event_us(self) -> list[list[int | None]]:
        """For each of the plan's views the event times of its facts, one per entity row."""
        return [rows.event_us() for rows in self._found]

    def newest_us(self) -> dict[str, int]:
        """View to the event time of its newest fact in the answer; views without a fact are left out."""
        newest = ((view.name, max(filter(None, rows.event_us()), default=None)) for view, rows in self._read_views())
        return {name: us for name, us in newest if us is not None}

    def _read_views(self) -> Iterable[tuple[ViewRead | TimelineRead, FoundRows | FoundTimelines]]:
        return zip(self._plan.views, self._found, strict=True)

    def _seconds(self) -> dict[str, list[int]]:
        times = self.event_us().items()
        return {f"{name}__ts": [0 if us is None else us // SECOND_US for us in each] for name, each in times}

    def _computed_column(self, column: AnswerColumn) -> Column:
        assert self._computed is not None
        return self._computed.column(column)

    def _newest_times(self) -> list[EventTime | None]:
        """Per entity row the event time of the newest fact of all views."""
        rows = zip(*(found.event_us() for found in self._found), strict=True)
        newest = [max((us for us in times if us is not None), default=None) for times in rows]
        return [None if us is None else EventTime.of(us) for us in newest]


class _Answer(dict[str, list[Any]]):
    """Columns by name. ``event_timestamp`` is no column of it, but can be asked for: the newest fact of each row."""

    event_times: Callable[[], list[EventTime | None]]

    def __missing__(self, name: str) -> list[Any]:
        if name != "event_timestamp":
            raise KeyError(name)
        return self.event_times()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _key_array(values: list[Any], dtype: FeatureType, name: str) -> pa.Array:
    """A key column in its type; all integers are int64, since keys of 32 and 64 bits are one (TYP-3)."""
    import pyarrow as pa

    typed = key_values(values, dtype, name)
    if dtype is UnixTimestamp:
        typed = [None if value is None else to_us(value) for value in typed]
    return pa.array(typed, pa.int64() if dtype in (Int32, Int64) else arrow_type(dtype))
