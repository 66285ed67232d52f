"""What the history has to say about rows of the log: which facts there were, and which of them was served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import key_codes, numpy_values, taken
from tiffin.contracts.offline import OfflineEngine
from tiffin.operations.feature_log import LOGGED_AT
from tiffin.planning.retrieval import ScanPlan, ViewJoin
from tiffin.quality.skew import IndexArray
from tiffin.quality.verify_log import event_times
from tiffin.time import MAX_US, SECOND_US
from tiffin.windows.evaluate import SortedFacts, sorted_order

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.contracts.registry import MaterializationRun

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Keys whose facts are looked at, for one view in one part of the log; those of more keys are not examined.
_MOST_KEYS = 50_000
#: Where there is no time.
NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class ServedTimes:
    """What the log says of one view, for every row of a part.

    Attributes:
        logged_us: (n,) the moment of each row.
        event_us: (n,) the event time of the fact that was served; ``NO_TIME`` where there was none.
    """

    logged_us: Int64Array
    event_us: Int64Array

    @classmethod
    def of(cls, part: pa.Table, columns: Sequence[str]) -> ServedTimes:
        """From the columns of a view's features, all of which have the times of one fact."""
        logged = numpy_values(part[LOGGED_AT])
        if not columns:
            return cls(logged, np.full(len(logged), NO_TIME))
        times, there = event_times(part, columns[0])
        return cls(logged, np.where(there, times, NO_TIME))


@dataclass(frozen=True)
class Evidence:
    """What is known of one view at some rows; every array has a value for each of them.

    Attributes:
        rows: (m,) their numbers in the part, rising.
        moment_us: when they were served.
        served_us: the event time of the fact that was served; ``NO_TIME`` where there was none.
        fact_us, known_us: the event time of the fact that training takes, a ttl aside, and when it became known;
            ``NO_TIME`` where there is none.
        in_history: whether the key has a fact of the event time that was served.
        served_known_us: when the first of these became known; the end of time where there is none.
        arrived: whether the fact that training takes was served at another row of the part.
        lost: whether the store had loaded what became known after that fact, by the moment of the row.
        is_examined: whether the facts of the key were looked at.
        facts: the facts of the keys, in order.
        first, end: the places of the facts of the event time that was served.
        codes: the keys as numbers.
        only_known: whether training takes only what was known.
    """

    rows: IndexArray
    moment_us: Int64Array
    served_us: Int64Array
    fact_us: Int64Array
    known_us: Int64Array
    in_history: BoolArray
    served_known_us: Int64Array
    arrived: BoolArray
    lost: BoolArray
    is_examined: BoolArray
    facts: SortedFacts
    first: Int64Array
    end: Int64Array
    codes: Int64Array
    only_known: bool

    def at(self, rows: IndexArray) -> Evidence:
        """The same for some of the rows.

        Args:
            rows: numbers in the part, each of them among ``self.rows``.
        """
        places = np.searchsorted(self.rows, rows)
        arrays: dict[str, Any] = {n: each[places] for n, each in vars(self).items() if isinstance(each, np.ndarray)}
        return replace(self, **arrays)


def gather_evidence(
    engine: OfflineEngine,
    view: ViewJoin,
    part: pa.Table,
    rows: IndexArray,
    served: ServedTimes,
    payload: Sequence[str],
    runs: Sequence[MaterializationRun],
    *,
    only_known: bool,
) -> Evidence:
    """Look at the facts of a view for the keys of some rows.

    Args:
        engine: reads the facts.
        view: the view.
        part: the log.
        rows: (m,) rows that differ, rising.
        served: what the log says of the view.
        payload: columns of the facts whose values are wanted.
        runs: loads of the view.
        only_known: whether a fact counts only from the moment at which it was known.
    """
    all_codes, valid, keys = key_codes(part, [key.entity_column for key in view.keys])
    wanted = np.unique(all_codes[rows][valid[rows]])[:_MOST_KEYS]
    codes, moment = all_codes[rows], served.logged_us[rows]
    examined = valid[rows] & np.isin(codes, wanted)
    facts = _facts(engine, view, keys, wanted, payload, max(moment.max(), served.event_us[rows].max()))
    # A key without facts may have a number beyond those of the facts, which must not be packed with them.
    last = facts.codes[-1] if len(facts) else -1
    searched = np.where(examined & (codes <= last), codes, 0)
    has_facts = examined & (codes <= last)

    place = _places_after(facts, searched, moment) - 1
    found = has_facts & _is_of(facts, place, searched)
    known = _known(facts)
    while only_known and (late := found & (_picked(known, place) > moment)).any():
        place = place - late
        found &= _is_of(facts, place, searched)
    fact_us = np.where(found, _picked(facts.event_us, place), NO_TIME)
    known_us = np.where(found, _picked(known, place), NO_TIME)

    served_us = served.event_us[rows]
    end = np.where(has_facts, _places_after(facts, searched, served_us), 0)
    first = np.where(has_facts, _places_after(facts, searched, served_us - (served_us != NO_TIME)), 0)
    in_history = (end > first) & (served_us != NO_TIME)
    return Evidence(
        rows=rows,
        moment_us=moment,
        served_us=served_us,
        fact_us=fact_us,
        known_us=known_us,
        in_history=in_history,
        served_known_us=np.where(in_history, _picked(known, first), MAX_US),
        arrived=_were_served(served, all_codes, valid, codes, fact_us),
        lost=_had_later(served, moment, fact_us, known_us) | _were_covered(runs, moment, fact_us, known_us),
        is_examined=examined,
        facts=facts,
        first=first,
        end=end,
        codes=codes,
        only_known=only_known,
    )


def _facts(
    engine: OfflineEngine, view: ViewJoin, keys: pa.Table, wanted: Int64Array, payload: Sequence[str], last_us: Any
) -> SortedFacts:
    """The facts of some keys, in order."""
    import pyarrow as pa

    columns = tuple(column for column in view.facts.payload if column.name in payload)
    facts = replace(view.facts, payload=columns)
    plan = ScanPlan(facts, view.keys, (), first_us=None, last_us=min(int(last_us), MAX_US), known_until_us=None)
    batches = list(engine.scan(plan, keys.take(pa.array(wanted)))) if len(wanted) else []
    if not batches:
        nothing = np.empty(0, np.int64)
        return SortedFacts(nothing, nothing, None, {})
    table = pa.Table.from_batches(batches).combine_chunks()
    codes, event = numpy_values(table["__code"]), numpy_values(table["__event_us"])
    known = numpy_values(table["__known_us"]) if "__known_us" in table.column_names else None
    order = sorted_order(codes, event, known)
    return SortedFacts(
        codes[order],
        event[order],
        None if known is None else known[order],
        {column.name: taken(table[column.name], order) for column in columns},
    )


def _places_after(facts: SortedFacts, codes: Int64Array, moments_us: Int64Array) -> Int64Array:
    return facts.places_after(codes, moments_us) if len(facts) else np.zeros(len(codes), np.int64)


def _known(facts: SortedFacts) -> Int64Array:
    return facts.event_us if facts.known_us is None else facts.known_us


def _is_of(facts: SortedFacts, place: Int64Array, codes: Int64Array) -> BoolArray:
    """Whether the fact at a place is one of a key; place -1 is none."""
    return np.asarray((place >= 0) & (_picked(facts.codes, place) == codes))


def _picked(values: Int64Array, place: Int64Array) -> Int64Array:
    """The values at some places, anything where a place is none."""
    return values[np.clip(place, 0, len(values) - 1)] if len(values) else np.full(len(place), NO_TIME)


def _were_served(
    served: ServedTimes, all_codes: Int64Array, valid: BoolArray, codes: Int64Array, fact_us: Int64Array
) -> BoolArray:
    """Whether facts were served at any row of the part."""
    there = valid & (served.event_us != NO_TIME)
    order = np.lexsort((served.event_us[there], all_codes[there]))
    times = SortedFacts(all_codes[there][order], served.event_us[there][order], None, {})
    place = _places_after(times, codes, fact_us) - 1
    return np.asarray(_is_of(times, place, codes) & (_picked(times.event_us, place) == fact_us))


def _had_later(served: ServedTimes, moment: Int64Array, fact_us: Int64Array, known_us: Int64Array) -> BoolArray:
    """Whether the store had, for any key, a fact that happened after some fact was known: so it had read past that."""
    past = served.event_us <= served.logged_us
    order = np.argsort(served.logged_us[past], kind="stable")
    if not len(order):
        return np.zeros(len(moment), np.bool_)
    times = served.logged_us[past][order]
    newest = np.maximum.accumulate(served.event_us[past][order])
    place = np.searchsorted(times, moment, side="right") - 1
    had = np.where(place >= 0, newest[np.maximum(place, 0)], NO_TIME)
    return np.asarray((fact_us != NO_TIME) & (had > np.maximum(fact_us, known_us)))


def _were_covered(
    runs: Sequence[MaterializationRun], moment: Int64Array, fact_us: Int64Array, known_us: Int64Array
) -> BoolArray:
    """Whether a load that began when a fact was known, and ended before the moment, was to load it."""
    covered = np.zeros(len(moment), np.bool_)
    for run in runs:
        if not run.error:
            ended_us = run.started_us + int(run.seconds * SECOND_US)
            covered |= (
                (run.start_us <= fact_us)
                & (fact_us <= run.end_us)
                & (known_us <= run.started_us)
                & (ended_us <= moment)
            )
    return covered
