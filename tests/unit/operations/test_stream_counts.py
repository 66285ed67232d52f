"""Counts of a partition: late facts and notes, which depend on the messages and not on how they came in batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.operations.stream_counts import PartitionCount, watermark_us
from tiffin.time import MAX_US, MIN_US


def counted(batches, delay_us) -> PartitionCount:
    count = PartitionCount()
    for batch in batches:
        count.add(len(batch), 0, np.asarray(batch, np.int64), delay_us)
        count = PartitionCount.from_note(count.note())
    return count


times = st.lists(st.one_of(st.integers(0, 100), st.sampled_from([MIN_US, MAX_US])), max_size=30)


@given(times, st.lists(st.integers(0, 30), max_size=4), st.one_of(st.none(), st.integers(0, 50)))
def test_batches_and_restarts_change_no_count(all_times, cuts, delay_us) -> None:
    """STR-2: a fact is late when it is older than the newest before it by more than is allowed."""
    ends = [0, *sorted(cut for cut in cuts if cut < len(all_times)), len(all_times)]
    count = counted([all_times[a:b] for a, b in pairwise(ends)], delay_us)
    late = sum(
        delay_us is not None and number > 0 and time < max(all_times[:number]) - delay_us
        for number, time in enumerate(all_times)
    )
    assert (count.messages, count.late) == (len(all_times), late)
    assert count.newest_us == max(all_times, default=MIN_US)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"messages": "x"}', "another program's note"])
def test_note_of_another_program_is_no_count(text) -> None:
    assert PartitionCount.from_note(text) == PartitionCount()


def test_watermark_is_that_of_the_slowest_partition_that_had_a_message() -> None:
    counts = [counted([[50]], None), counted([[30, 70]], None), PartitionCount()]
    assert watermark_us(counts, 10) == 40
    assert watermark_us([PartitionCount()], 10) is None
