"""Why served values differ from recomputed ones: each cause is told by evidence, and what has none is unexplained.

The evidence is in the log (event times beside values, statuses, the moment, the version of the definitions), in the
facts of the history with the times at which they became known, in the loads that were recorded, and in other columns.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column
from tiffin.equality import same_values
from tiffin.online.found import FieldStatus
from tiffin.planning.retrieval import ViewJoin
from tiffin.quality.skew import MISMATCHING, MISSING, Difference
from tiffin.quality.skew_facts import NO_TIME, BoolArray, Evidence
from tiffin.quality.skew_lossy import is_lossy
from tiffin.time import SECOND_US

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.windows.window import Window

#: An age that is so near to the ttl that two clocks, or a read that took a moment, tell it differently.
_EDGE_US = SECOND_US
#: Corrections of one fact that are compared with what was served.
_MOST_CORRECTIONS = 8


class Cause(enum.IntEnum):
    """Why a cell differs. The names are those of reports."""

    UNKNOWN = 0
    LATE_FACT = 1
    STORE_LAG = 2
    LOST_WRITE = 3
    NOT_IN_HISTORY = 4
    TTL_EDGE = 5
    WRONG_TTL = 6
    NULL_FOR_VALUE = 7
    SWAPPED_COLUMNS = 8
    LOSSY_TYPE = 9
    CLOCK_SHIFT = 10
    DEFINITION_CHANGED = 11
    FUNCTION_CHANGED = 12
    OUTDATED_DEFINITION = 13
    TRANSFORMATION_DIFFERS = 14
    FALLBACK = 15
    UNEXPLAINED = 16

    @property
    def label(self) -> str:
        """The name in reports."""
        return self.name.lower()


#: What a cause means, and the evidence for it.
EXPLANATIONS: Mapping[Cause, str] = {
    Cause.LATE_FACT: "the fact that training takes became known after the request, and counts by its event time",
    Cause.STORE_LAG: "the fact was known before the request, and the store did not have it yet",
    Cause.LOST_WRITE: "the fact was known before the request, the store had read past it, and never served it",
    Cause.NOT_IN_HISTORY: "what was served is not in the history: it was pushed online only, or the history is shorter",
    Cause.TTL_EDGE: "the same fact, whose age was within a second of the ttl",
    Cause.WRONG_TTL: "the same fact, judged by another ttl than the definition's",
    Cause.NULL_FOR_VALUE: "the same fact, which has a value in the history and a null in the store",
    Cause.SWAPPED_COLUMNS: "the same fact, with the values of two features exchanged",
    Cause.LOSSY_TYPE: "the same fact, with its value rounded, cut off or cast on the way",
    Cause.CLOCK_SHIFT: "what was served had not happened, or was not known, at the moment of the request",
    Cause.DEFINITION_CHANGED: "the definition has changed since the request",
    Cause.FUNCTION_CHANGED: "the function has changed since the request",
    Cause.OUTDATED_DEFINITION: "the request was answered by a definition that had been replaced already",
    Cause.TRANSFORMATION_DIFFERS: "the function got the same inputs and is the same, and gave something else",
    Cause.FALLBACK: "the store did not answer, and something else was served in its place",
    Cause.UNEXPLAINED: "there is no evidence for any of the others, or too many keys differ to look at each",
}


def evidence(label: str) -> str:
    """What a cause means, by its name in reports."""
    return EXPLANATIONS[Cause[label.upper()]]


class Causes:
    """The causes of some cells. The first one that is put stays.

    Args:
        count: how many cells.
    """

    def __init__(self, count: int) -> None:
        self.codes: NDArray[np.int8] = np.zeros(count, np.int8)

    def put(self, where: BoolArray, cause: Cause) -> None:
        """Name the cause of cells that have none yet."""
        self.codes[where & (self.codes == Cause.UNKNOWN)] = cause

    def take(self, codes: NDArray[np.int8]) -> None:
        """Take over causes, cell by cell, where there are none yet."""
        self.codes = np.where(self.codes == Cause.UNKNOWN, codes, self.codes)

    @property
    def open(self) -> BoolArray:
        """Which cells have no cause yet."""
        return np.asarray(self.codes == Cause.UNKNOWN)


def explain_times(causes: Causes, seen: Evidence) -> None:
    """What the event times tell: what was served was of the future, is unknown to the history, or too old.

    Args:
        causes: of the cells that differ.
        seen: the evidence at their rows.
    """
    is_same = is_same_fact(seen)
    has_served, has_fact = seen.served_us != NO_TIME, seen.fact_us != NO_TIME
    not_yet = (seen.served_us > seen.moment_us) | (seen.in_history & (seen.served_known_us > seen.moment_us))
    causes.put(has_served & ~is_same & not_yet, Cause.CLOCK_SHIFT)
    missed = has_fact & (~has_served | (seen.served_us < seen.fact_us))
    _explain_missed(causes, seen, missed)
    newer = has_served & (~has_fact | (seen.served_us > seen.fact_us)) & seen.is_examined
    causes.put(newer & ~seen.in_history, Cause.NOT_IN_HISTORY)


def is_same_fact(seen: Evidence) -> BoolArray:
    """Whether the fact that was served is the one that training takes, by their event times."""
    return np.asarray((seen.served_us != NO_TIME) & (seen.served_us == seen.fact_us))


def _explain_missed(causes: Causes, seen: Evidence, missed: BoolArray) -> None:
    """Why the store did not have a fact that training takes."""
    causes.put(missed & (seen.known_us > seen.moment_us), Cause.LATE_FACT)
    causes.put(missed & seen.lost & ~seen.arrived, Cause.LOST_WRITE)
    causes.put(missed, Cause.STORE_LAG)


def explain_rows(
    causes: Causes,
    seen: Evidence,
    view: ViewJoin,
    difference: Difference,
    feature: str,
    status: NDArray[np.int32],
    others: Sequence[tuple[pa.Array, pa.Array]],
) -> None:
    """The cells of a feature that is read off the newest fact.

    Args:
        causes: of the cells.
        seen: the evidence at their rows.
        view: the view.
        difference: the cells.
        feature: its name in the view.
        status: (m,) what the log says of each cell; -1 where it says nothing.
        others: (m,) what was served and what is expected of the other features of the view that have the same type.
    """
    is_same = is_same_fact(seen)
    _explain_ttl(causes, seen, view.ttl_us, status, is_same)
    if difference.is_typed:
        _explain_corrections(causes, seen, difference, feature, is_same)
    causes.put(
        is_same & (difference.kinds == MISSING) & (status == FieldStatus.NULL_VALUE),
        Cause.NULL_FOR_VALUE,
    )
    _explain_values(causes, difference, is_same, others)
    explain_times(causes, seen)


def _explain_ttl(
    causes: Causes, seen: Evidence, ttl_us: int | None, status: NDArray[np.int32], is_same: BoolArray
) -> None:
    was_expired = status == FieldStatus.OUTSIDE_MAX_AGE
    age = np.where(is_same, seen.moment_us - seen.served_us, 0)
    is_expired = np.zeros(len(age), np.bool_) if ttl_us is None else age > ttl_us
    judged = is_same & (status >= 0) & (was_expired != is_expired)
    if ttl_us is not None:
        causes.put(judged & (np.abs(age - ttl_us) <= _EDGE_US), Cause.TTL_EDGE)
    causes.put(judged, Cause.WRONG_TTL)


def _explain_corrections(
    causes: Causes, seen: Evidence, difference: Difference, feature: str, is_same: BoolArray
) -> None:
    """Cells that have the value of another fact of the same event time, which was corrected."""
    column = seen.facts.columns.get(feature)
    if column is None or column.type != difference.served.type or not len(seen.facts):
        return
    corrected = np.zeros(len(is_same), np.bool_)
    for number in range(min(_MOST_CORRECTIONS, int((seen.end - seen.first).max(initial=0)))):
        place = seen.first + number
        there = is_same & (place < seen.end)
        values = column.take(arrow_column(np.where(there, place, 0)))
        corrected |= there & same_values(values, difference.served)
    _explain_missed(causes, seen, corrected & ((seen.end - seen.first) > 1))


def _explain_values(
    causes: Causes, difference: Difference, is_same: BoolArray, others: Sequence[tuple[pa.Array, pa.Array]]
) -> None:
    """Cells of the same fact with another value, told by the values."""
    candidates = is_same & (difference.kinds == MISMATCHING)
    if difference.is_typed:
        for served, expected in others:
            if served.type == expected.type == difference.served.type:
                exchanged = same_values(difference.served, expected) & same_values(served, difference.expected)
                causes.put(candidates & exchanged, Cause.SWAPPED_COLUMNS)
    causes.put(candidates & is_lossy(difference.served, difference.expected), Cause.LOSSY_TYPE)


def explain_windows(
    causes: Causes,
    seen: Evidence,
    window: Window,
    difference: Difference,
    others: Sequence[tuple[pa.Array, pa.Array]],
) -> None:
    """The cells of a feature that is computed from the facts of a window.

    Args:
        causes: of the cells.
        seen: the evidence at their rows; its times are those of the newest fact of the key.
        window: the window.
        difference: the cells.
        others: as for ``explain_rows``.
    """
    explain_times(causes, seen)
    if not seen.only_known:
        causes.put(_has_late(seen, window), Cause.LATE_FACT)
    _explain_values(causes, difference, is_same_fact(seen), others)


def _has_late(seen: Evidence, window: Window) -> BoolArray:
    """Whether a fact that became known only after the moment lies in the window, for the keys that were examined."""
    late = np.zeros(len(seen.rows), np.bool_)
    if seen.facts.known_us is None or not len(seen.facts):
        return late
    start_us, until_us = window.bounds_of(seen.moment_us)
    start_us = np.full(len(late), NO_TIME) if start_us is None else start_us
    rows = np.flatnonzero(seen.is_examined & (seen.codes <= seen.facts.codes[-1]))
    first, end = (seen.facts.places_after(seen.codes[rows], each[rows]) for each in (start_us, until_us))
    rows, first, end = (each[end > first] for each in (rows, first, end))
    if len(rows):
        bounds = np.stack([first, end], axis=1).ravel()
        known = np.append(seen.facts.known_us, NO_TIME)
        late[rows] = np.maximum.reduceat(known, bounds)[::2] > seen.moment_us[rows]
    return late


@dataclass(frozen=True)
class Input:
    """One feature that an on-demand view computes from, at some rows.

    Attributes:
        is_compared: whether it was logged, so that it is known to be the same where it has no cause.
        codes: (m,) the causes of the cells that differ; 0 where they are the same.
    """

    is_compared: bool
    codes: NDArray[np.int8]


def explain_computed(causes: Causes, inputs: Sequence[Input], seen: Evidence | None, changed: BoolArray) -> None:
    """The cells of an on-demand feature: by what its inputs are, else by the fact that it is as old as.

    Args:
        causes: of the cells.
        inputs: the features that it computes from.
        seen: the evidence of the view that these are read from, at the rows of the cells; ``None`` when they are of
            several.
        changed: (m,) whether the cell was computed by another definition.
    """
    for each in inputs:
        causes.take(each.codes)
    if all(each.is_compared for each in inputs):
        causes.put(~changed, Cause.TRANSFORMATION_DIFFERS)
    elif seen is not None:
        explain_times(causes, seen)
