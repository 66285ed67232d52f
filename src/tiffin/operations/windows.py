"""Aggregates over windows for entity rows: exact at the time of each row.

Every engine can do it: the facts of the wanted keys are streamed from it, brought into order and evaluated here. When
they are more than fit, the keys are halved and each half is read by itself, so that memory depends on neither the
number of keys nor that of the rows; the facts of one key have to fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, key_codes, nullable_column, numpy_values, single_chunk, valid_mask
from tiffin.contracts.offline import JoinedView, OfflineEngine, ViewReport
from tiffin.online.rows import payload_ranks
from tiffin.planning.casting import cast_exactly
from tiffin.planning.retrieval import TIME_COLUMN, ScanPlan, ViewJoin
from tiffin.time import MAX_US, MIN_US
from tiffin.types import arrow_type
from tiffin.windows.evaluate import Asked, FactIndex, Found, SortedFacts, empty_values, evaluate_sorted, sorted_order
from tiffin.windows.functions import FUNCTIONS

if TYPE_CHECKING:
    import pyarrow as pa

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Facts held at once: with a few columns, some hundred MB in all the forms that they take on the way.
_MOST_FACTS = 16_000_000
_FEW_FACTS = 100_000


def join_windows(
    engine: OfflineEngine,
    view: ViewJoin,
    spine: pa.Table,
    *,
    only_known: bool,
    most_facts: int = _MOST_FACTS,
    few_facts: int = _FEW_FACTS,
) -> JoinedView:
    """The aggregates of a view for entity rows.

    Args:
        engine: reads the facts.
        view: the view, with its ``aggregates``.
        spine: the entity rows, as ``OfflineEngine.join`` takes them.
        only_known: whether a fact counts only from the moment at which it was known.
        most_facts: how many facts are held at once, unless one key has more.
        few_facts: so many are not worth a second thread.

    Raises:
        InputError: a sum of whole numbers does not fit into 64 bits.
        TypeMismatchError: a value cannot be kept in the type that its feature is declared with.
    """
    import pyarrow as pa

    codes, valid, keys = key_codes(spine, [key.entity_column for key in view.keys])
    rows = np.flatnonzero(valid)
    asked = _asked(view)
    join = _Join(engine, view, asked, only_known, most_facts, few_facts)
    times_us = numpy_values(spine[TIME_COLUMN])
    found = list(join.parts(keys, codes[rows], times_us[rows])) if len(rows) else []
    order = [rows[part] for part, _ in found]
    without_key = np.flatnonzero(~valid)
    back = np.empty(spine.num_rows, np.int64)
    back[np.concatenate([*order, without_key])] = np.arange(spine.num_rows)
    nulls = empty_values(asked, len(without_key))
    columns = {}
    for number, feature in enumerate(view.features):
        whole = pa.concat_arrays([*(part.columns[number] for _, part in found), nulls[number]])
        columns[feature.name] = cast_exactly(_taken(whole, back), feature.dtype, feature.name)
    filled, later, tied = (
        sum(int(getattr(part, name).sum()) for _, part in found) for name in ("filled", "known_later", "tied")
    )
    report = ViewReport(
        view=view.name,
        rows=spine.num_rows,
        matched=filled,
        expired=0,
        missing=spine.num_rows - filled,
        ties=tied,
        known_later=later,
    )
    return JoinedView(pa.table(columns), report)


def _asked(view: ViewJoin) -> list[Asked]:
    conditions = {condition: number for number, condition in enumerate(view.conditions)}
    return [
        Asked(
            function=each.function,
            column=each.column,
            dtype=each.column_type,
            window=each.window,
            condition=None if each.condition is None else conditions[each.condition],
            params=each.params,
        )
        for each in view.aggregates
    ]


@dataclass(frozen=True)
class _Join:
    engine: OfflineEngine
    view: ViewJoin
    asked: Sequence[Asked]
    only_known: bool
    most_facts: int
    few_facts: int

    def parts(self, keys: pa.Table, codes: Int64Array, times_us: Int64Array) -> Iterator[tuple[Int64Array, Found]]:
        """The values of rows, in pieces: (m,) the places of some rows, and their values.

        Args:
            keys: the keys, with their numbers as ``code``.
            codes: (rows,) the key of each row, each among ``keys``.
            times_us: (rows,) its time.
        """
        waiting = [keys]
        while waiting:
            part = waiting.pop()
            batches = self._batches(part, times_us)
            if batches is None:
                half = part.num_rows // 2
                waiting += [part.slice(half), part.slice(0, half)]
                continue
            first = part["code"][0].as_py()
            ends = [first, first + part.num_rows]
            if part.num_rows > 1 and sum(batch.num_rows for batch in batches) > self.few_facts:
                ends.insert(1, first + part.num_rows // 2)
            work = partial(self._part, batches, codes, times_us)
            with ThreadPoolExecutor(len(ends) - 1) as pool:
                yield from pool.map(work, ends[:-1], ends[1:])

    def _part(
        self, batches: Sequence[pa.RecordBatch], codes: Int64Array, times_us: Int64Array, first: int, end: int
    ) -> tuple[Int64Array, Found]:
        """The rows whose keys are from one number on and before another."""
        rows = np.flatnonzero((codes >= first) & (codes < end))
        facts = self._sorted(batches, first, end)
        order, found = evaluate_sorted(facts, codes[rows], times_us[rows], self.asked, only_known=self.only_known)
        return rows[order], found

    def _batches(self, keys: pa.Table, times_us: Int64Array) -> list[pa.RecordBatch] | None:
        """The facts of some keys; ``None`` when they are too many and the keys can be halved."""
        batches = []
        count = 0
        for batch in self.engine.scan(self._plan(times_us), keys):
            batches.append(batch)
            count += batch.num_rows
            if count > self.most_facts and keys.num_rows > 1:
                return None
        return batches

    def _plan(self, times_us: Int64Array) -> ScanPlan:
        first, last = int(times_us.min()), int(times_us.max())
        windows = {each.window for each in self.asked}
        starts = [None if window.length_us is None else window.bounds(first)[0] for window in windows]
        known = [start for start in starts if start is not None]
        return ScanPlan(
            facts=self.view.facts,
            keys=self.view.keys,
            conditions=self.view.conditions,
            first_us=max(MIN_US, min(known)) if len(known) == len(starts) else None,
            last_us=min(MAX_US, max(window.bounds(last)[1] for window in windows)),
            known_until_us=last if self.only_known else None,
        )

    def _sorted(self, batches: Sequence[pa.RecordBatch], first: int, end: int) -> SortedFacts:
        """The facts of the keys from one number on and before another, in order."""
        import pyarrow as pa

        has_known = bool(self.view.facts.known_column)
        if not batches:
            nothing = np.empty(0, np.int64)
            none = [np.empty(0, np.bool_)] * len(self.view.conditions)
            return SortedFacts(nothing, nothing, nothing if has_known else None, _no_columns(self.view), none)
        table = pa.Table.from_batches([_of_keys(batch, first, end) for batch in batches])
        codes, event = (numpy_values(table[name]) for name in ("__code", "__event_us"))
        known = numpy_values(table["__known_us"]) if has_known else None
        index = FactIndex.of(codes, event)
        order = sorted_order(codes, event, known)
        order, repeated, tied = self._decide_ties(table, index.packed, known, order)
        if repeated.any():
            kept = ~repeated
            order, tied, index = order[kept], tied[kept], FactIndex(index.times, index.packed[kept])
        matters = any(FUNCTIONS[each.function].needs_order for each in self.asked) and tied.any()
        # Sorting and unpacking numbers is faster than picking them one by one.
        sorted_codes, sorted_event = index.times.unpack(index.packed)
        return SortedFacts(
            codes=sorted_codes,
            event_us=sorted_event,
            known_us=None if known is None else known[order],
            columns={name: _taken(table[name], order) for name in self._columns},
            conditions=[_mask(table[f"__if{number}"])[order] for number in range(len(self.view.conditions))],
            tied=tied if matters else None,
            index=index,
        )

    @property
    def _columns(self) -> set[str]:
        return {each.column for each in self.asked} & {column.name for column in self.view.facts.payload}

    def _decide_ties(
        self, table: pa.Table, packed: Int64Array, known: Int64Array | None, order: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], BoolArray, BoolArray]:
        """Facts of one key and equal times by their payload (ORD).

        Args:
            table: the facts.
            packed: (facts,) their keys and event times, in order.
            known: (facts,) their known times.
            order: the places of the facts by key and times.

        Returns:
            The order by payload too; (facts,) whether a fact is equal to the one before it in all; and (facts,) whether
            only its payload, which is another one, puts it behind that.
        """
        behind = np.zeros(len(order), np.bool_)
        np.equal(packed[1:], packed[:-1], out=behind[1:])
        if known is not None:
            alike = np.flatnonzero(behind)
            behind[alike] = known[order[alike]] == known[order[alike - 1]]
        if not behind.any():
            return order, behind, behind
        in_tie = behind.copy()
        in_tie[:-1] |= behind[1:]
        places = np.flatnonzero(in_tie)
        facts = order[places]
        # Ties are numbered; within each, the greater payload comes later.
        ranks = np.cumsum(~behind[places]) * len(facts) + self._payload_ranks(table, facts)
        by_payload = np.argsort(ranks)
        ranks, follows = ranks[by_payload], behind[places]
        order = order.copy()
        order[places] = facts[by_payload]
        follows[1:] &= ranks[1:] == ranks[:-1]
        repeated = np.zeros(len(order), np.bool_)
        repeated[places[follows]] = True
        return order, repeated, behind & ~repeated

    def _payload_ranks(self, table: pa.Table, facts: NDArray[np.intp]) -> Int64Array:
        """(n,) numbers that are in the order of the payloads of some facts."""
        payload = self.view.facts.payload
        if not payload:
            return np.zeros(len(facts), np.int64)
        rows = table.select([column.name for column in payload]).take(arrow_column(facts.astype(np.int64, copy=False)))
        return payload_ranks(tuple((column.name, repr(column.dtype)) for column in payload), rows)


def _of_keys(batch: pa.RecordBatch, first: int, end: int) -> pa.RecordBatch:
    """The facts of the keys from one number on and before another."""
    import pyarrow as pa

    codes = numpy_values(batch.column("__code"))
    wanted = (codes >= first) & (codes < end)
    return batch if wanted.all() else batch.filter(pa.array(wanted))


def _taken(column: Any, places: NDArray[np.intp]) -> pa.Array:
    """The values at some places; of numbers and times by numpy, which is faster."""
    import pyarrow as pa

    type_ = column.type
    if not (pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_timestamp(type_)):
        return single_chunk(column).take(arrow_column(places.astype(np.int64, copy=False)))
    kind = "f" if pa.types.is_floating(type_) else "i"
    values = numpy_values(column, np.dtype(f"{kind}{type_.bit_width // 8}"))[places]
    return (
        nullable_column(values, valid_mask(column)[places], type_) if column.null_count else arrow_column(values, type_)
    )


def _mask(column: Any) -> NDArray[np.bool_]:
    import pyarrow as pa

    values: NDArray[np.bool_] = numpy_values(single_chunk(column).cast(pa.uint8()), np.uint8).astype(np.bool_)
    return values & valid_mask(column)


def _no_columns(view: ViewJoin) -> dict[str, Any]:
    import pyarrow as pa

    return {column.name: pa.array([], arrow_type(column.dtype)) for column in view.facts.payload}
