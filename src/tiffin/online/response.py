"""What an online read gives: values, statuses and event times, by column."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiffin.time import SECOND_US, from_us
from tiffin.types import FeatureType, Json, arrow_type

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    import pyarrow as pa

    from tiffin.planning.online import OnlinePlan


class FieldStatus(enum.IntEnum):
    """What a value of an answer is; four cases that are kept apart (ONL-3)."""

    INVALID = 0
    PRESENT = 1
    NULL_VALUE = 2
    NOT_FOUND = 3
    OUTSIDE_MAX_AGE = 4


@dataclass(frozen=True, slots=True)
class ViewRows:
    """The decoded rows of one view.

    Attributes:
        values: for each wanted feature a list of values, one per request row; ``None`` for null.
        states: per request row, whether its fact is there (PRESENT), was never there, or is too old.
        event_us: per request row, the event time of its fact, ``None`` where there is none.
        absent: (feature, row) pairs that the fact was written without, before the feature was added.
    """

    values: list[list[Any]]
    states: list[FieldStatus]
    event_us: list[int | None]
    absent: frozenset[tuple[int, int]] = frozenset()


class OnlineResponse:
    """The answer to an online read. Columns come in request order: keys, then features as asked (ONL-1)."""

    def __init__(self, plan: OnlinePlan, entities: dict[str, list[Any]], rows: Sequence[ViewRows], count: int) -> None:
        self._plan = plan
        self._entities = entities
        self._rows = rows
        self._count = count

    def __len__(self) -> int:
        """How many entity rows were asked for."""
        return self._count

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Column name to values, one per entity row.

        Args:
            include_event_timestamps: add ``<name>__ts`` columns of whole seconds since 1970, 0 where there is no fact.
        """
        answer = dict(self._entities)
        rows = self._rows
        for column in self._plan.columns:
            values = rows[column.view].values[column.feature]
            if column.default is not None:
                values = [column.default if value is None else value for value in values]
            answer[column.name] = values
        if include_event_timestamps:
            for column in self._plan.columns:
                times = rows[column.view].event_us
                answer[f"{column.name}__ts"] = [0 if us is None else us // SECOND_US for us in times]
        return answer

    def statuses(self) -> dict[str, list[str]]:
        """Feature column to the name of each value's status."""
        found: dict[str, list[str]] = {}
        for column in self._plan.columns:
            rows = self._rows[column.view]
            found[column.name] = [
                self._status(rows, column.feature, row, value).name
                for row, value in enumerate(rows.values[column.feature])
            ]
        return found

    @staticmethod
    def _status(rows: ViewRows, feature: int, row: int, value: Any) -> FieldStatus:
        state = rows.states[row]
        if state is not FieldStatus.PRESENT or value is not None:
            return state
        return FieldStatus.NOT_FOUND if (feature, row) in rows.absent else FieldStatus.NULL_VALUE

    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """Feature column to the event time of each value's fact; ``None`` where there is no fact."""
        return {
            column.name: [None if us is None else from_us(us) for us in self._rows[column.view].event_us]
            for column in self._plan.columns
        }

    def to_arrow(self, include_event_timestamps: bool = False) -> pa.Table:
        """The answer as a table; types come from the definitions, never from the values (TYP-2)."""
        import pyarrow as pa

        answer = self.to_dict(include_event_timestamps)
        types: dict[str, FeatureType] = {column.name: column.dtype for column in self._plan.columns}
        types.update(self._plan.keys)
        arrays = {}
        for name, values in answer.items():
            if name not in types:
                arrays[name] = pa.array(values, pa.int64()) if name.endswith("__ts") else pa.array(values)
            elif name in self._plan.keys:
                arrays[name] = _key_array(values, types[name])
            else:
                arrays[name] = pa.array(_storable(values, types[name]), arrow_type(types[name]))
        return pa.table(arrays)

    def to_df(self, include_event_timestamps: bool = False) -> pd.DataFrame:
        """The answer as a pandas frame; integers and booleans get pandas' nullable types."""
        import pandas as pd
        import pyarrow as pa

        types = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        frame: pd.DataFrame = self.to_arrow(include_event_timestamps).to_pandas(types_mapper=types.get)
        return frame


def _key_array(values: list[Any], dtype: FeatureType) -> pa.Array:
    import pyarrow as pa

    from tiffin.online.keys import key_value

    typed = [None if value is None else key_value(value, dtype, "key") for value in values]
    return pa.array(typed, arrow_type(dtype))


def _storable(values: list[Any], dtype: FeatureType) -> list[Any]:
    """Python values in the form that Arrow takes for the type."""
    import json
    from uuid import UUID

    if dtype is Json:
        return [None if value is None else json.dumps(value) for value in values]

    def plain(value: Any) -> Any:
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, set):
            return list(value)
        return value

    return [plain(value) for value in values]
