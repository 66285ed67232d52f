"""Ranges of facts, against looking at each range by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.windows.ranges import Ranges


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=200),
    wanted=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=30),
    are_short=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_smallest_of_each_range(values: list[int], wanted: list[tuple[int, int]], are_short: bool) -> None:
    ends = [sorted(min(place, len(values)) for place in pair) for pair in wanted]
    if are_short:
        ends = [[first, min(first + 2, last)] for first, last in ends]
    ranges = Ranges(*(np.array([pair[end] for pair in ends], np.int64) for end in (0, 1)))
    found = ranges.smallest(np.array(values, np.int64)).tolist()
    for (first, last), smallest in zip(ends, found, strict=True):
        assert first == last or smallest == min(values[first:last])
