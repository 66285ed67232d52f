"""The cells of one part of a log that differ, each with the evidence for its cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import numpy_values, single_chunk
from tiffin.operations.feature_log import FALLBACK, LOGGED_AT, STATUS, VERSION, full_name
from tiffin.planning.references import OutputColumn
from tiffin.planning.retrieval import RetrievalPlan
from tiffin.quality.skew import Difference, IndexArray, find_differences
from tiffin.quality.skew_causes import Cause, Causes, Input, explain_computed, explain_rows, explain_windows
from tiffin.quality.skew_facts import BoolArray, Evidence, Int64Array, ServedTimes, gather_evidence
from tiffin.quality.skew_versions import OlderDefinitions

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

Codes = NDArray[np.int8]


def entity_rows(part: pa.Table, plan: RetrievalPlan) -> pa.Table:
    """The rows of a log as a training set wants them: at the moment of each answer."""
    columns = [*plan.keys, *plan.request_columns]
    return part.select([*columns, LOGGED_AT]).rename_columns([*columns, "event_timestamp"])


@dataclass
class PartDifferences:
    """The differences of one part of the log, and the evidence for their causes.

    Attributes:
        ctx: the opened project.
        older: the definitions of before.
        part: the rows of the log.
        plan: what was recomputed.
        names: full name to column, all features of the service; and reference to column, what they are computed from.
        expected: what was recomputed.
        found: name to what differs.
    """

    ctx: Context
    older: OlderDefinitions
    part: pa.Table
    plan: RetrievalPlan
    names: Mapping[str, OutputColumn]
    expected: pa.Table
    found: Mapping[str, Difference]
    _codes: dict[str, Codes] = field(default_factory=dict)

    def causes(self) -> dict[str, tuple[Codes, Evidence | None]]:
        """Name to the cause of each of its cells that differ, and the evidence at their rows."""
        # What is read first, then what is computed from it, in an order in which inputs are there.
        order = sorted(self.found, key=lambda name: (self.names[name].computed, self.names[name].view))
        explained = {}
        for name in order:
            causes = Causes(len(self.found[name].rows))
            causes.put(self._fallback[self.found[name].rows], Cause.FALLBACK)
            unproven = self._explain_change(name, causes)
            seen = self._explain(name, causes, unproven.codes != 0)
            causes.take(unproven.codes)
            causes.put(causes.open, Cause.UNEXPLAINED)
            self._codes[name] = causes.codes
            explained[name] = causes.codes, seen
        return explained

    @cached_property
    def _fallback(self) -> BoolArray:
        import pyarrow.compute as pc

        return numpy_values(pc.not_equal(self.part[FALLBACK], "").cast("uint8"), np.uint8).astype(np.bool_)

    @cached_property
    def _versions(self) -> Int64Array:
        return numpy_values(self.part[VERSION])

    def _explain(self, name: str, causes: Causes, changed: BoolArray) -> Evidence | None:
        """By the facts and by other columns; gives the evidence of the view where there is one view."""
        column, difference = self.names[name], self.found[name]
        if column.computed:
            return self._explain_computed(name, causes, changed)
        view = self.plan.views[column.view]
        seen = self._evidence(column.view).at(difference.rows)
        others = self._others(name)
        if view.aggregates:
            explain_windows(causes, seen, view.aggregates[column.feature].window, difference, others)
        else:
            status = self._status(name)[difference.rows]
            explain_rows(causes, seen, view, difference, view.features[column.feature].name, status, others)
        return seen

    def _status(self, name: str) -> NDArray[np.int32]:
        return numpy_values(single_chunk(self.part[name + STATUS]).fill_null(-1), np.int32)

    def _others(self, name: str) -> list[tuple[pa.Array, pa.Array]]:
        """What was served and is expected of the other differing features of the view, at the rows of one."""
        import pyarrow as pa

        view, rows = self.names[name].view, pa.array(self.found[name].rows.astype(np.int64))
        others = [each for each in self.found if each != name and not self.names[each].computed]
        return [
            (single_chunk(self.part[each]).take(rows), single_chunk(self.expected[each]).take(rows))
            for each in others
            if self.names[each].view == view
        ]

    def _explain_computed(self, name: str, causes: Causes, changed: BoolArray) -> Evidence | None:
        column, rows = self.names[name], self.found[name].rows
        inputs, views = list[Input](), set[int]()
        for place, is_computed in self._places_read(column.view):
            logged = [
                each
                for each, there in self.names.items()
                if (there.view, there.feature, there.computed) == (*place, is_computed)
                and each in self.part.column_names
            ]
            if not is_computed:
                views.add(place[0])
            inputs.append(
                Input(bool(logged), self._codes_at(logged[0], rows) if logged else np.zeros(len(rows), np.int8))
            )
        # With several views it cannot be told which of them the oldest event time, which is the logged one, is of.
        seen = self._evidence(views.pop(), name).at(rows) if len(views) == 1 else None
        explain_computed(causes, inputs, seen, changed)
        return seen

    def _places_read(self, number: int) -> Iterator[tuple[tuple[int, int], bool]]:
        """The features that an on-demand view computes from."""
        for item in self.plan.computed[number].inputs:
            if item.place is not None:
                yield item.place, item.computed

    def _codes_at(self, name: str, rows: IndexArray) -> Codes:
        """The causes of a feature at some rows; 0 where it does not differ."""
        codes = np.zeros(self.part.num_rows, np.int8)
        if name in self._codes:
            codes[self.found[name].rows] = self._codes[name]
        return codes[rows]

    def _evidence(self, number: int, computed: str = "") -> Evidence:
        """The evidence of a view, at every row at which something of it, or computed from it, differs.

        Args:
            number: the view.
            computed: a column that is computed from this view alone, and has its event times; used where no feature of
                the view itself was logged.
        """
        if number not in self._seen:
            self._seen[number] = self._gathered(number, computed)
        return self._seen[number]

    @cached_property
    def _seen(self) -> dict[int, Evidence]:
        return {}

    def _gathered(self, number: int, computed: str) -> Evidence:
        view = self.plan.views[number]
        own = [
            name
            for name, column in self.names.items()
            if column.view == number and not column.computed and name in self.part.column_names
        ]
        readers = [name for name in self.found if self._reads(self.names[name], number)]
        rows = np.unique(np.concatenate([self.found[name].rows for name in readers]))
        served = ServedTimes.of(self.part, own or [computed])
        payload = [view.features[self.names[name].feature].name for name in own if name in self.found]
        runs = self.ctx.registry.runs(self.ctx.project, view=view.facts.view)
        return gather_evidence(
            self.ctx.offline,
            view,
            self.part,
            rows,
            served,
            [] if view.aggregates else payload,
            runs,
            only_known=self.plan.only_known,
        )

    def _reads(self, column: OutputColumn, number: int) -> bool:
        """Whether a column is of a view, or computed from features of it."""
        if not column.computed:
            return column.view == number
        return any(not computed and place[0] == number for place, computed in self._places_read(column.view))

    def _explain_change(self, name: str, causes: Causes) -> Causes:
        """Name what older definitions give the very value that was served for.

        Returns:
            Cells whose definition has changed as well, but for which the older one cannot be run any more: they are
            explained by that when nothing else is found.
        """
        difference = self.found[name]
        versions, unproven = self._versions[difference.rows], Causes(len(difference.rows))
        view = self._view_name(self.names[name])
        for version in np.unique(versions).tolist():
            change = self.older.change(version, view)
            if change is None:
                continue
            mine = versions == version
            late = numpy_values(self.part[LOGGED_AT])[difference.rows] > change.changed_us
            served_by_it = self._as_before(version, view, name, mine)
            explained = unproven if served_by_it is None else causes
            where = mine if served_by_it is None else mine & served_by_it
            explained.put(where & late, Cause.OUTDATED_DEFINITION)
            explained.put(where & ~late, change.cause)
        return unproven

    def _view_name(self, column: OutputColumn) -> str:
        return (self.plan.computed if column.computed else self.plan.views)[column.view].name

    def _as_before(self, version: int, view: str, name: str, mine: BoolArray) -> BoolArray | None:
        """(m,) whether a version gives what was served; ``None`` when it cannot be run."""
        import pyarrow as pa

        difference = self.found[name]
        key = version, view
        if key not in self._recomputed:
            rows = np.flatnonzero(self._versions == version)
            table = entity_rows(self.part.take(pa.array(rows.astype(np.int64))), self.plan)
            self._recomputed[key] = rows, self.older.recomputed(version, view, table)
        rows, before = self._recomputed[key]
        full = full_name(name)
        if before is None or full not in before.column_names:
            return None
        places = np.searchsorted(rows, difference.rows[mine])
        then = single_chunk(before[full]).take(pa.array(places.astype(np.int64)))
        served = single_chunk(self.part[name]).take(pa.array(difference.rows[mine].astype(np.int64)))
        same = np.zeros(len(difference.rows), np.bool_)
        differing = find_differences(name, served, then).rows
        same[mine] = ~np.isin(np.arange(len(places)), differing)
        return same

    @cached_property
    def _recomputed(self) -> dict[tuple[int, str], tuple[IndexArray, pa.Table | None]]:
        return {}
