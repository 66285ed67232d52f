"""As-of search over a stream of facts, in memory that depends on the entity rows alone.

The entity rows of one view are sorted by (key, t); each is a *slot*. A fact can be seen from the first slot of its key
whose time is not before the moment at which the fact may be seen, and from every later slot of that key. So each fact
falls into one slot, each slot keeps the newest fact that fell into it (ORD), and one pass over the slots at the end
carries the newest fact forward. Facts are never sorted and never kept: they stream through in batches, in any order,
which leaves the answer independent of file order and of the number of facts.

The moment from which a fact may be seen is its event time, or, where facts count only once they are known, the later
of event time and known time.

Source: the search is the usual merge of an as-of join, turned around so that only the smaller side is sorted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64Array: TypeAlias = NDArray[np.int64]
IndexArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]

#: Fewer values than this are sorted in one thread; of more, so many are looked at to find the middle.
_FEW, _SAMPLED = 100_000, 1_001

NEVER_US = np.iinfo(np.int64).min


class SlotIndex:
    """Entity rows sorted by (key, t), searchable by (key, moment).

    Args:
        codes: (n,) key of each row as a number from 0; rows without a key are left out by the caller.
        times_us: (n,) time of each row.
    """

    #: Facts are brought into this many groups of neighbouring keys before the search, so that each group's part of
    #: the index stays in the processor's cache; numpy sorts 16-bit numbers by radix, in linear time.
    _GROUP_BITS = 16

    def __init__(self, codes: Int64Array, times_us: Int64Array) -> None:
        self.size = len(codes)
        self.first_us = int(times_us.min()) if self.size else 0
        self.last_us = int(times_us.max()) if self.size else -1
        code_bits = int(codes.max(initial=0)).bit_length()
        self._group_shift = max(0, code_bits - self._GROUP_BITS)
        self._shift = (self.last_us - self.first_us + 1).bit_length()
        #: Distinct times, only where (key, time) does not fit into one 63-bit number.
        self._times: Int64Array | None = None
        if code_bits + self._shift > 62:
            self._times = np.unique(times_us)
            self._shift = len(self._times).bit_length()
        packed = self._pack(codes, times_us)
        self.order: IndexArray = _argsort_halves(packed)
        self._packed = packed[self.order]
        self.codes = self._packed >> self._shift
        self.times_us = times_us[self.order]

    def _pack(self, codes: Int64Array, moments_us: Int64Array) -> Int64Array:
        """(key, moment) as one number that sorts alike; a moment between two times counts as the later one."""
        if self._times is None:
            offset = np.maximum(moments_us, self.first_us)
            offset -= self.first_us
        else:
            offset = np.searchsorted(self._times, moments_us, side="left").astype(np.int64)
        packed = np.left_shift(codes, self._shift, dtype=np.int64)
        packed |= offset
        return packed

    @property
    def middle_group(self) -> int:
        """The group of the key in the middle of the slots."""
        return int(self.codes[self.size // 2] >> self._group_shift) if self.size else 0

    def grouped(self, codes: Int64Array) -> tuple[NDArray[np.uint16], IndexArray]:
        """(m,) groups of keys, rising, and (m,) the order of facts that brings them so; no finer order is needed."""
        groups = (codes >> self._group_shift).astype(np.uint16)
        order = np.argsort(groups, kind="stable")
        return groups[order], order

    def find(self, codes: Int64Array, moments_us: Int64Array) -> tuple[IndexArray, BoolArray]:
        """The slot from which each fact is seen first, and whether there is one.

        Args:
            codes: (m,) keys as numbers.
            moments_us: (m,) the moments, none after ``last_us``.
        """
        slots = np.searchsorted(self._packed, self._pack(codes, moments_us), side="left")
        found = slots < self.size
        slots[~found] = 0
        found &= self.codes[slots] == codes
        return slots, found


def _argsort_halves(values: Int64Array) -> IndexArray:
    """The order that sorts the values: the smaller and the larger half, each in a thread of its own."""
    if len(values) < _FEW:
        return np.argsort(values)
    pivot = np.median(values[:: len(values) // _SAMPLED])
    smaller = values < pivot
    with ThreadPoolExecutor(2) as pool:
        halves = pool.map(lambda half: half[np.argsort(values[half])], map(np.flatnonzero, (smaller, ~smaller)))
        return np.concatenate(list(halves))


class SlotFacts:
    """The newest fact that fell into each slot so far; feed it batches, then ``carry_forward``.

    Attributes:
        event_us, known_us: (n,) stamps of the newest fact; ``NEVER_US`` where there is none.
        address: (n,) where to find that fact; -1 where there is none.
        tied: (n,) whether another fact has the same stamps, so that only the payload can decide.
    """

    def __init__(self, index: SlotIndex) -> None:
        self._index = index
        self.event_us = np.full(index.size, NEVER_US, np.int64)
        self.known_us = np.full(index.size, NEVER_US, np.int64)
        self.address = np.full(index.size, -1, np.int64)
        self.tied = np.zeros(index.size, np.bool_)

    def add(
        self,
        codes: Int64Array,
        event_us: Int64Array,
        known_us: Int64Array | None,
        address: Int64Array,
        *,
        only_known: bool,
    ) -> None:
        """Take in a batch of facts.

        Args:
            codes: (m,) keys as numbers.
            event_us: (m,) event times.
            known_us: (m,) known times; ``None`` where they equal the event times.
            address: (m,) where to find each fact.
            only_known: facts count only once they are known.
        """
        groups, order = self._index.grouped(codes)
        middle = np.searchsorted(groups, self._index.middle_group)
        halves = [order[:middle], order[middle:]]

        def add(part: IndexArray) -> None:
            if len(part):
                known = None if known_us is None else known_us[part]
                self._add(codes[part], event_us[part], known, address[part], only_known=only_known)

        # The halves touch different keys, so different slots: they need no lock.
        with ThreadPoolExecutor(len(halves)) as pool:
            list(pool.map(add, halves))

    def _add(
        self,
        codes: Int64Array,
        event_us: Int64Array,
        known_us: Int64Array | None,
        address: Int64Array,
        *,
        only_known: bool,
    ) -> None:
        moments = event_us if known_us is None or not only_known else np.maximum(event_us, known_us)
        slots, keep = self._index.find(codes, moments)
        if not keep.all():
            slots, event_us, address = slots[keep], event_us[keep], address[keep]
            known_us = None if known_us is None else known_us[keep]
        top = self._raise(self.event_us, slots, event_us, reset_known=True)
        slots, address = slots[top], address[top]
        if known_us is not None:
            top = self._raise(self.known_us, slots, known_us[top], reset_known=False)
            slots, address = slots[top], address[top]
        taken = self.address[slots] >= 0
        self.tied[slots[taken]] = True
        self.address[slots] = address
        self.tied[slots[self.address[slots] != address]] = True

    def _raise(self, best: Int64Array, slots: IndexArray, values: Int64Array, *, reset_known: bool) -> BoolArray:
        """Raise ``best`` to the greatest value per slot; returns which values are the greatest of their slot."""
        before = best[slots]
        np.maximum.at(best, slots, values)
        after = best[slots]
        raised = slots[after > before]
        self.address[raised] = -1
        self.tied[raised] = False
        if reset_known:
            self.known_us[raised] = NEVER_US
        top: BoolArray = values == after
        return top

    def carry_forward(self, *, only_known: bool) -> IndexArray:
        """For each slot, the slot whose fact is the newest one visible there; -1 where there is none.

        Without ``only_known``, a later slot's facts are newer by construction, so the last filled slot wins. With it,
        a fact that became known late may be older than one that was seen before, so ORD decides.
        """
        n = self._index.size
        filled = self.address >= 0
        positions = np.arange(n)
        if not only_known:
            carried = np.maximum.accumulate(np.where(filled, positions, -1))
        else:
            rank = np.zeros(n, np.int64)
            (where,) = np.nonzero(filled)
            by_age = where[np.lexsort((self.known_us[where], self.event_us[where]))]
            rank[by_age] = np.arange(1, len(by_age) + 1)
            score = self._index.codes * (n + 1) + rank
            best = np.maximum.accumulate(score)
            carried = np.maximum.accumulate(np.where(filled & (score == best), positions, -1))
        same_key = (carried >= 0) & (self._index.codes[np.maximum(carried, 0)] == self._index.codes)
        carried[~same_key] = -1
        return carried
