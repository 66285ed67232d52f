"""The rows that a store found for one view of a request: judged by state and age, then decoded in bulk."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.online.rows import TOMBSTONE, all_event_us, event_us, stamp_prefix

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.planning.online import LayoutRead, ViewRead

_FLAGS = 24
_STATE = slice(24, 27)
_LAYOUT = slice(25, 27)
_OLDEST_US = -(1 << 63)


class FieldStatus(enum.IntEnum):
    """What a value of an answer is; four cases that are kept apart (ONL-3)."""

    INVALID = 0
    PRESENT = 1
    NULL_VALUE = 2
    NOT_FOUND = 3
    OUTSIDE_MAX_AGE = 4


class FoundRows:
    """One view's rows, one per entity row.

    A row may be missing, a tombstone, expired, or written under an older layout. All of these are replaced by a blank
    row of the current layout, so that everything is decoded at once; then the older rows are put in their places.

    Args:
        view: how the view is read.
        rows: what the store found, ``None`` where nothing.
        now_us: the moment at which ages are judged (ONL-2).
    """

    __slots__ = ("_live", "_older", "_rows", "_states", "_view", "is_readable")

    def __init__(self, view: ViewRead, rows: Sequence[bytes | None], now_us: int) -> None:
        self._view = view
        self._rows = rows
        #: Whether every layout is known; not so when a row was written under definitions newer than the plan's.
        self.is_readable = True
        self._states: list[FieldStatus] | None = None
        self._older: dict[int, list[int]] = {}
        current = view.layouts[-1].state
        oldest = b"" if view.ttl_us is None else stamp_prefix(max(now_us - view.ttl_us, _OLDEST_US))
        self._live: Sequence[bytes] = self._all_current(rows, current, oldest) or self._sort_out(rows, current, oldest)

    @staticmethod
    def _all_current(rows: Sequence[bytes | None], current: bytes, oldest: bytes) -> Sequence[bytes]:
        """The rows themselves when all are values of the current layout and young enough, else none."""
        if None in rows or (oldest and rows and min(rows) < oldest):  # type: ignore[type-var, operator]
            return ()
        # A list is faster than a generator.
        if any([row[_STATE] != current for row in rows]):  # type: ignore[index]  # noqa: C419
            return ()
        return rows  # type: ignore[return-value]

    def _sort_out(self, rows: Sequence[bytes | None], current: bytes, oldest: bytes) -> list[bytes]:
        states, live = [FieldStatus.PRESENT] * len(rows), [self._view.blank] * len(rows)
        for place, row in enumerate(rows):
            if row is None or row[_FLAGS] & TOMBSTONE:
                states[place] = FieldStatus.NOT_FOUND
            elif row < oldest:
                states[place] = FieldStatus.OUTSIDE_MAX_AGE
            elif row[_STATE] == current:
                live[place] = row
            else:
                self._older.setdefault(int.from_bytes(row[_LAYOUT], "big"), []).append(place)
        self._states = states
        self.is_readable = all(number < len(self._view.layouts) for number in self._older)
        return live

    def __len__(self) -> int:
        return len(self._rows)

    def values(self) -> list[list[Any]]:
        """For each wanted feature its values as Python objects, ``None`` for null."""
        live = self._live
        if len(live) == 1 and not self._older:
            return [[value] for value in self._view.layouts[-1].reader.values(live[0])]
        columns = self._view.layouts[-1].reader.columns(self._live)
        for layout, places in self._older_rows():
            decoded = layout.reader.columns([self._rows[place] for place in places])  # type: ignore[misc]
            for feature, values in zip(layout.places, decoded, strict=True):
                column = columns[feature]
                for place, value in zip(places, values, strict=True):
                    column[place] = value
        return columns

    def arrays(self) -> list[pa.Array]:
        """For each wanted feature its values as an Arrow array of its type (TYP-2)."""
        import pyarrow as pa

        columns = self._view.layouts[-1].reader.arrays(self._live)
        for layout, places in self._older_rows():
            decoded = layout.reader.arrays([self._rows[place] for place in places])  # type: ignore[misc]
            for feature, values in zip(layout.places, decoded, strict=True):
                take = np.arange(len(self._live))
                take[places] = np.arange(len(places)) + len(self._live)
                columns[feature] = pa.concat_arrays([columns[feature], values]).take(pa.array(take))
        return columns

    def are_present(self) -> bool:
        """Whether every value is there; ``statuses`` then has nothing else to say."""
        return self._states is None and not self._older and self._view.layouts[-1].reader.are_full(self._live)

    def statuses(self) -> NDArray[np.int8]:
        """(entity rows, wanted features) the ``FieldStatus`` of each value."""
        states = self._states or [FieldStatus.PRESENT] * len(self._live)
        found = np.repeat(np.array(states, np.int8)[:, None], len(self._view.types), axis=1)
        self._mark(found, np.arange(len(states)), self._live, self._view.layouts[-1])
        for layout, places in self._older_rows():
            found[places] = FieldStatus.NOT_FOUND
            found[np.ix_(places, layout.places)] = FieldStatus.PRESENT
            self._mark(found, np.array(places), [self._rows[p] for p in places], layout)  # type: ignore[misc]
        return found

    @staticmethod
    def _mark(found: NDArray[np.int8], places: NDArray[np.intp], rows: Sequence[bytes], layout: LayoutRead) -> None:
        """Turn PRESENT into NULL_VALUE where a row has a null."""
        where = np.ix_(places, np.array(layout.places, np.intp))
        states = found[where]
        states[(states == FieldStatus.PRESENT) & ~layout.reader.valid(rows)] = FieldStatus.NULL_VALUE
        found[where] = states

    def event_us(self) -> list[int | None]:
        """Per entity row the event time of its fact, also of an expired one; ``None`` where there is none."""
        if self._states is None:
            return list(all_event_us(self._live))
        states = self._states
        return [
            None if row is None or state is FieldStatus.NOT_FOUND else event_us(row)
            for row, state in zip(self._rows, states, strict=True)
        ]

    def _older_rows(self) -> Iterator[tuple[LayoutRead, list[int]]]:
        return ((self._view.layouts[number], places) for number, places in self._older.items())
