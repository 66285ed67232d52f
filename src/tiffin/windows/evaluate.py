"""Many windows over the facts of many keys, in numpy.

Facts stand sorted by key and ORD, so that the facts of a window are a range, found by binary search. All windows of one
function and column are asked at once. Where facts count only once they are known, a range may hold facts that were not
known yet at its moment; these are found one by one, but only from the first such fact of the key on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.definitions.aggregation import ALL_FACTS
from tiffin.types import FeatureType, arrow_type
from tiffin.windows.aggregate import evaluate
from tiffin.windows.functions import make_aggregate
from tiffin.windows.places import KeyTimes, RisingNumbers
from tiffin.windows.ranges import Ranges, known_ranges
from tiffin.windows.window import Window

if TYPE_CHECKING:
    import pyarrow as pa

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Facts that are looked at one by one because they may not have been known, at once.
_BLOCK_FACTS = 1 << 23


@dataclass(frozen=True)
class Asked:
    """An aggregate over a window.

    Attributes:
        function: its name, not another one for it.
        column: what it is computed from; ``"*"`` for the facts themselves.
        dtype: the type of that column.
        window: the window.
        condition: which of the facts' conditions has to hold; ``None`` where all facts count.
        params: as pairs, so that two of the same function and column are found to be alike.
    """

    function: str
    column: str
    dtype: FeatureType
    window: Window
    condition: int | None = None
    params: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class SortedFacts:
    """Facts in the order of (key, ORD).

    Attributes:
        codes: (facts,) the key of each as a number from 0.
        event_us: (facts,) event times.
        known_us: (facts,) when each became known; ``None`` where that is its event time.
        columns: name to (facts,) values.
        conditions: for each condition, (facts,) where it is true.
        tied: (facts,) whether only the payload, which is another one, puts a fact behind the one before it.
    """

    codes: Int64Array
    event_us: Int64Array
    known_us: Int64Array | None
    columns: Mapping[str, pa.Array]
    conditions: Sequence[BoolArray] = ()
    tied: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def slice(self, start: int, stop: int) -> SortedFacts:
        """Facts that stand side by side."""
        return SortedFacts(
            codes=self.codes[start:stop],
            event_us=self.event_us[start:stop],
            known_us=None if self.known_us is None else self.known_us[start:stop],
            columns={name: column.slice(start, stop - start) for name, column in self.columns.items()},
            conditions=[condition[start:stop] for condition in self.conditions],
            tied=None if self.tied is None else self.tied[start:stop],
        )

    @cached_property
    def _times(self) -> KeyTimes:
        return KeyTimes(self.codes, self.event_us)

    @cached_property
    def _places(self) -> RisingNumbers:
        return RisingNumbers(self._times.pack(self.codes, self.event_us))

    def places_after(self, codes: Int64Array, moments_us: Int64Array) -> Int64Array:
        """(n,) for each key and moment the place of the key's first fact after it."""
        return self._places.after(self._times.pack(codes, moments_us))

    @cached_property
    def _known_times(self) -> KeyTimes:
        assert self.known_us is not None
        return KeyTimes(self.codes, self.known_us)

    @cached_property
    def _all_known(self) -> Int64Array:
        """(facts,) the latest known time among a key's facts so far, with its key, as one number; never falling."""
        assert self.known_us is not None
        return np.maximum.accumulate(self._known_times.pack(self.codes, self.known_us))

    def places_unknown(self, codes: Int64Array, moments_us: Int64Array) -> Int64Array:
        """(n,) for each key and moment the place of the key's first fact that was not known by then."""
        return np.searchsorted(self._all_known, self._known_times.pack(codes, moments_us), side="right")


def sorted_order(codes: Int64Array, event_us: Int64Array, known_us: Int64Array | None) -> NDArray[np.intp]:
    """The order of facts by key, event time and known time; facts equal in all stay as they are.

    Sorting numbers is several times faster than finding the order that sorts them. So the key, the upper bits of the
    event time and the place of a fact are sorted as one number, and what the lower bits change is put right afterwards.
    """
    count = len(codes)
    place_bits = count.bit_length()
    code_bits = int(codes.max(initial=0)).bit_length()
    if not count or place_bits + code_bits > 62:
        stamps = (event_us,) if known_us is None else (known_us, event_us)
        return np.lexsort((*stamps, codes))
    since = event_us - event_us.min()
    time_bits = int(since.max()).bit_length()
    left_out = max(0, time_bits - (63 - place_bits - code_bits))
    packed = codes << (time_bits - left_out + place_bits)
    packed |= (since >> left_out) << place_bits
    packed |= np.arange(count)
    packed.sort()
    order = packed & ((1 << place_bits) - 1)
    packed >>= place_bits
    alike = np.flatnonzero(packed[1:] == packed[:-1])
    if not len(alike) or (not left_out and known_us is None):
        return order
    return _put_right(order, packed, alike, event_us, known_us)


def _put_right(
    order: NDArray[np.intp],
    groups: Int64Array,
    alike: NDArray[np.intp],
    event_us: Int64Array,
    known_us: Int64Array | None,
) -> NDArray[np.intp]:
    """Sort the facts within groups by their times.

    Args:
        order: (facts,) sorted by group.
        groups: (facts,) the group of each.
        alike: the places whose next fact is of the same group.
        event_us: event times, in the order of the facts as they came.
        known_us: known times.
    """
    one, next_one = order[alike], order[alike + 1]
    wrong = event_us[one] > event_us[next_one]
    if known_us is not None:
        wrong |= (event_us[one] == event_us[next_one]) & (known_us[one] > known_us[next_one])
    if not wrong.any():
        return order
    groups_wrong = groups[alike[wrong]]
    in_group = np.zeros(len(order), np.bool_)
    in_group[alike] = in_group[alike + 1] = True
    places = np.flatnonzero(in_group)
    nearest = np.searchsorted(groups_wrong, groups[places])
    nearest[nearest == len(groups_wrong)] = 0
    places = places[groups_wrong[nearest] == groups[places]]
    facts = order[places]
    stamps = (event_us[facts],) if known_us is None else (known_us[facts], event_us[facts])
    order[places] = facts[np.lexsort((*stamps, groups[places]))]
    return order


@dataclass(frozen=True)
class Found:
    """The values of some windows, per row.

    Attributes:
        columns: for each aggregate that was asked for, (rows,) its values.
        filled: (rows,) whether any of the windows holds a fact.
        known_later: (rows,) whether any of the windows holds a fact that was known only after the row's time.
        tied: (rows,) whether the order of facts in a window was decided by their payload alone.
    """

    columns: Sequence[pa.Array]
    filled: BoolArray
    known_later: BoolArray
    tied: BoolArray


def evaluate_windows(
    facts: SortedFacts, codes: Int64Array, times_us: Int64Array, asked: Sequence[Asked], *, only_known: bool
) -> Found:
    """The aggregates of rows, each a key and a time.

    Args:
        facts: the facts of all keys.
        codes: (rows,) the key of each row; rows are sorted by key and time.
        times_us: (rows,) its time.
        asked: what is wanted.
        only_known: facts count only once they are known.
    """
    if facts.known_us is not None and bool((facts.known_us <= facts.event_us).all()):
        # Known in time, all of them: the known times have done their part in the order.
        facts = replace(facts, known_us=None)
    return _joined(_part(_facts_of(facts, codes), codes, times_us, asked, only_known=only_known))


def _facts_of(facts: SortedFacts, codes: Int64Array) -> SortedFacts:
    """The facts between the first and the last of some keys, which rise."""
    if not len(codes):
        return facts.slice(0, 0)
    start, stop = np.searchsorted(facts.codes, [codes[0], codes[-1] + 1])
    return facts.slice(int(start), int(stop))


def _part(
    facts: SortedFacts, codes: Int64Array, times_us: Int64Array, asked: Sequence[Asked], *, only_known: bool
) -> list[Found]:
    """Some rows, in blocks of a bounded number of facts that have to be looked at."""
    if facts.known_us is None or not only_known or not len(codes):
        return [_block(facts, codes, times_us, asked, only_known=only_known)]
    last = facts.places_after(codes, times_us)
    work = np.cumsum(np.maximum(last - facts.places_unknown(codes, times_us), 0) * max(1, len(_windows(asked))))
    cuts = np.flatnonzero(np.diff(work // _BLOCK_FACTS)) + 1
    found = []
    for some in np.split(np.arange(len(codes)), cuts):
        mine = _facts_of(facts, codes[some])
        found.append(_block(mine, codes[some], times_us[some], asked, only_known=True))
    return found


def _windows(asked: Sequence[Asked]) -> dict[Window, None]:
    return dict.fromkeys(each.window for each in asked)


def _block(
    facts: SortedFacts, codes: Int64Array, times_us: Int64Array, asked: Sequence[Asked], *, only_known: bool
) -> Found:
    """All aggregates of some rows."""
    import pyarrow as pa

    ranges = _ranges(facts, codes, times_us, _windows(asked), only_known=only_known)
    alike: dict[tuple[Any, ...], list[int]] = {}
    for number, each in enumerate(asked):
        alike.setdefault((each.function, each.column, each.dtype, each.condition, each.params), []).append(number)
    columns: list[Any] = [None] * len(asked)
    # Functions over the same windows share what is known of them together.
    joined: dict[tuple[Window, ...], Ranges] = {}
    count = len(codes)
    for (function, column, dtype, condition, params), numbers in alike.items():
        aggregate = make_aggregate(function, dtype, dict(params))
        everything = column == ALL_FACTS
        values = pa.array(np.ones(len(facts), np.bool_)) if everything else facts.columns[column]
        chosen = None if condition is None else facts.conditions[condition]
        windows = tuple(asked[number].window for number in numbers)
        if windows not in joined:
            joined[windows] = _concatenated([ranges[window] for window in windows])
        found = evaluate(aggregate, values, joined[windows], chosen)
        for position, number in enumerate(numbers):
            columns[number] = found.slice(position * count, count)
    filled, later, tied = (np.zeros(count, np.bool_) for _ in range(3))
    for held in ranges.values():
        filled |= held.sizes > 0
        if facts.known_us is not None and not only_known:
            later |= (held.sizes > 0) & (~held.smallest(~facts.known_us) > times_us)
        if facts.tied is not None:
            tied |= held.sums(facts.tied.astype(np.int64)) > 0
    return Found(columns, filled, later, tied)


def _ranges(
    facts: SortedFacts, codes: Int64Array, times_us: Int64Array, windows: Iterable[Window], *, only_known: bool
) -> dict[Window, Ranges]:
    """The facts of each window of each row."""
    lasts: dict[int, Int64Array] = {}
    certain = None
    found = {}
    for window in windows:
        after, until = window.bounds_of(times_us)
        if window.offset_us not in lasts:
            lasts[window.offset_us] = facts.places_after(codes, until)
        last = lasts[window.offset_us]
        first = np.searchsorted(facts.codes, codes) if after is None else facts.places_after(codes, after)
        if facts.known_us is None or not only_known:
            found[window] = Ranges(first, last)
            continue
        certain = facts.places_unknown(codes, times_us) if certain is None else certain
        found[window] = known_ranges(first, last, certain, facts.known_us, times_us)
    return found


def _concatenated(ranges: Sequence[Ranges]) -> Ranges:
    """The windows of several, one after the other."""
    if len(ranges) == 1:
        return ranges[0]
    first, last = (np.concatenate([getattr(each, end) for each in ranges]) for end in ("first", "last"))
    if all(each.hole_windows is None for each in ranges):
        return Ranges(first, last)
    windows, places, start = [], [], 0
    for each in ranges:
        if each.hole_windows is not None:
            assert each.hole_places is not None
            windows.append(each.hole_windows + start)
            places.append(each.hole_places)
        start += len(each)
    return Ranges(first, last, np.concatenate(windows), np.concatenate(places))


def _joined(found: Sequence[Found]) -> Found:
    """The pieces one after the other."""
    import pyarrow as pa

    if len(found) == 1:
        return found[0]
    columns = [pa.concat_arrays(parts) for parts in zip(*(one.columns for one in found), strict=True)]
    masks = [np.concatenate([getattr(one, name) for one in found]) for name in ("filled", "known_later", "tied")]
    return Found(columns, *masks)


def result_type(function: str, dtype: FeatureType, params: Mapping[str, Any]) -> FeatureType:
    """The type of the values of a function.

    Raises:
        UnsupportedError: it cannot be computed from values of that type.
    """
    return make_aggregate(function, dtype, params).result


def empty_values(asked: Sequence[Asked], count: int) -> list[pa.Array]:
    """(count,) nulls for each aggregate: what rows without a key have (PIT-8)."""
    import pyarrow as pa

    return [pa.nulls(count, arrow_type(result_type(each.function, each.dtype, dict(each.params)))) for each in asked]
