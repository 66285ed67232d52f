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

from tiffin.columns import arrow_column, key_codes, numpy_values, single_chunk, taken, valid_mask
from tiffin.contracts.offline import JoinedView, OfflineEngine, ViewReport
from tiffin.online.rows import payload_ranks
from tiffin.operations.blocks import Block, KeyRanges
from tiffin.planning.casting import cast_exactly
from tiffin.planning.retrieval import TIME_COLUMN, ScanPlan, ViewJoin
from tiffin.time import MAX_US, MIN_US
from tiffin.types import arrow_type
from tiffin.windows.evaluate import Asked, Found, SortedFacts, empty_values, evaluate_windows, sorted_order
from tiffin.windows.functions import FUNCTIONS

if TYPE_CHECKING:
    import pyarrow as pa

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Facts held at once: with a few columns, some hundred MB in all the forms that they take on the way.
_MOST_FACTS = 16_000_000
#: Facts and rows that are worked on at once: their columns stay in the processor's cache.
_BLOCK_FACTS = 1 << 16
#: The work waits for memory: more threads than this gain little, and each holds a block.
_THREADS = 2


def join_windows(
    engine: OfflineEngine,
    view: ViewJoin,
    spine: pa.Table,
    *,
    only_known: bool,
    most_facts: int = _MOST_FACTS,
    block_facts: int = _BLOCK_FACTS,
) -> JoinedView:
    """The aggregates of a view for entity rows.

    Args:
        engine: reads the facts.
        view: the view, with its ``aggregates``.
        spine: the entity rows, as ``OfflineEngine.join`` takes them.
        only_known: whether a fact counts only from the moment at which it was known.
        most_facts: how many facts are held at once, unless one key has more.
        block_facts: so many facts and rows are worked on at once by each thread.

    Raises:
        InputError: a sum of whole numbers does not fit into 64 bits.
        TypeMismatchError: a value cannot be kept in the type that its feature is declared with.
    """
    import pyarrow as pa

    codes, valid, keys = key_codes(spine, [key.entity_column for key in view.keys])
    rows = np.flatnonzero(valid)
    asked = _asked(view)
    join = _Join(engine, view, asked, only_known, most_facts, block_facts)
    times_us = numpy_values(spine[TIME_COLUMN])
    rows = rows[sorted_order(codes[rows], times_us[rows], None)]
    found = list(join.found(keys, codes[rows], times_us[rows])) if len(rows) else []
    without_key = np.flatnonzero(~valid)
    back = np.empty(spine.num_rows, np.int64)
    back[np.concatenate([rows, without_key])] = np.arange(spine.num_rows)
    nulls = empty_values(asked, len(without_key))

    def in_place(number: int) -> pa.Array:
        """A feature, each row's value at its place."""
        feature = view.features[number]
        whole = pa.concat_arrays([*(part.columns[number] for part in found), nulls[number]])
        return cast_exactly(taken(whole, back), feature.dtype, feature.name)

    with ThreadPoolExecutor(_THREADS) as pool:
        columns = list(pool.map(in_place, range(len(view.features))))
    filled, later, tied = (
        sum(int(getattr(part, name).sum()) for part in found) for name in ("filled", "known_later", "tied")
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
    return JoinedView(pa.table(columns, [feature.name for feature in view.features]), report)


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
    block_facts: int

    def found(self, keys: pa.Table, codes: Int64Array, times_us: Int64Array) -> Iterator[Found]:
        """The values of rows, in pieces that follow each other.

        Args:
            keys: the keys, with their numbers, which rise, as ``code``.
            codes: (rows,) the key of each row, each among ``keys``; rows are sorted by key and time.
            times_us: (rows,) its time.
        """
        waiting = [keys]
        work = partial(self._of_block, codes, times_us)
        with ThreadPoolExecutor(_THREADS) as pool:
            while waiting:
                part = waiting.pop()
                facts = self._facts(part, times_us)
                if facts is None:
                    half = part.num_rows // 2
                    waiting += [part.slice(half), part.slice(0, half)]
                    continue
                yield from pool.map(work, facts.blocks(codes, self.block_facts))

    def _facts(self, keys: pa.Table, times_us: Int64Array) -> KeyRanges | None:
        """The facts of some keys; ``None`` when they are too many and the keys can be halved."""
        facts = KeyRanges(keys["code"][0].as_py(), keys.num_rows)
        count = 0
        for batch in self.engine.scan(self._plan(times_us), keys):
            facts.add(batch)
            count += batch.num_rows
            if count > self.most_facts and keys.num_rows > 1:
                return None
        return facts

    def _of_block(self, codes: Int64Array, times_us: Int64Array, block: Block) -> Found:
        """The values of the rows whose keys are those of a block."""
        facts = self._sorted(block)
        rows = codes[block.rows] - block.first
        return evaluate_windows(facts, rows, times_us[block.rows], self.asked, only_known=self.only_known)

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

    def _sorted(self, block: Block) -> SortedFacts:
        """The facts of a block in order; its keys are numbered from 0."""
        has_known = bool(self.view.facts.known_column)
        if not block.facts.num_rows:
            nothing = np.empty(0, np.int64)
            none = [np.empty(0, np.bool_)] * len(self.view.conditions)
            return SortedFacts(nothing, nothing, nothing if has_known else None, _no_columns(self.view), none)
        table = block.facts.combine_chunks()
        codes, event = numpy_values(table["__code"]) - block.first, numpy_values(table["__event_us"])
        known = numpy_values(table["__known_us"]) if has_known else None
        order = sorted_order(codes, event, known)
        stamps = [codes.take(order), event.take(order), *(() if known is None else (known.take(order),))]
        order, repeated, tied = self._decide_ties(table, stamps, order)
        if repeated.any():
            order, tied, *stamps = (each[~repeated] for each in (order, tied, *stamps))
        matters = any(FUNCTIONS[each.function].needs_order for each in self.asked) and tied.any()
        return SortedFacts(
            codes=stamps[0],
            event_us=stamps[1],
            known_us=None if known is None else stamps[2],
            columns={name: taken(table[name], order) for name in self._columns},
            conditions=[_mask(table[f"__if{number}"])[order] for number in range(len(self.view.conditions))],
            tied=tied if matters else None,
        )

    @property
    def _columns(self) -> set[str]:
        return {each.column for each in self.asked} & {column.name for column in self.view.facts.payload}

    def _decide_ties(
        self, table: pa.Table, stamps: Sequence[Int64Array], order: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], BoolArray, BoolArray]:
        """Facts of one key and equal times by their payload (ORD).

        Args:
            table: the facts.
            stamps: (facts,) their keys, event times and known times, sorted.
            order: (facts,) their places in the table.

        Returns:
            The order by payload too; (facts,) whether a fact is equal to the one before it in all; and (facts,) whether
            only its payload, which is another one, puts it behind that.
        """
        behind = np.ones(len(order), np.bool_)
        behind[0] = False
        for values in stamps:
            behind[1:] &= values[1:] == values[:-1]
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


def _mask(column: Any) -> NDArray[np.bool_]:
    import pyarrow as pa

    values: NDArray[np.bool_] = numpy_values(single_chunk(column).cast(pa.uint8()), np.uint8).astype(np.bool_)
    return values & valid_mask(column)


def _no_columns(view: ViewJoin) -> dict[str, Any]:
    import pyarrow as pa

    return {column.name: pa.array([], arrow_type(column.dtype)) for column in view.facts.payload}
