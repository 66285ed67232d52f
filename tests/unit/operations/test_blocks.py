"""Facts by ranges of their keys: every fact and every row is in one block, that of its key."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tiffin.operations.blocks import KeyRanges


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1000, 5000])
@pytest.mark.parametrize("size", [1, 300, 10**6])
def test_every_fact_and_row_is_in_the_block_of_its_key(count: int, size: int) -> None:
    rng = np.random.default_rng(count)
    first = 7
    ranges = KeyRanges(first, count)
    facts = [first + rng.integers(0, count, facts) for facts in (500, 0, 1, 400)]
    number = 0
    for codes in facts:
        ranges.add(pa.record_batch({"__code": codes, "n": np.arange(number, number + len(codes))}))
        number += len(codes)
    rows = np.sort(first + rng.integers(0, count, 600))
    blocks = ranges.blocks(rows, size)
    assert [block.end for block in blocks[:-1]] == [block.first for block in blocks[1:]]
    assert (blocks[0].first, blocks[-1].end) == (first, first + count)
    assert np.concatenate([np.arange(600)[block.rows] for block in blocks]).tolist() == list(range(600))
    numbers = [number for block in blocks for number in block.facts["n"].to_pylist()]
    assert sorted(numbers) == list(range(901))
    for block in blocks:
        for codes in (block.facts["__code"].to_numpy(), rows[block.rows]):
            assert ((codes >= block.first) & (codes < block.end)).all()
        held = block.facts["n"].to_pylist()
        assert block.facts["__code"].to_pylist() == np.concatenate(facts)[held].tolist()
    if size == 10**6:
        assert len(blocks) == 1


def test_rows_without_facts_are_in_blocks_too() -> None:
    (block,) = KeyRanges(0, 3).blocks(np.array([0, 2, 2]), 10)
    assert (block.facts.num_rows, block.rows) == (0, slice(0, 3))
