"""Places among rising numbers are those of a binary search, however the numbers are spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.windows.places import KeyTimes, RisingNumbers

SPREADS = {
    "even": lambda rng, count: rng.integers(0, 10**9, count),
    "few": lambda rng, count: rng.integers(0, 5, count),
    "equal": lambda rng, count: np.full(count, 77),
    "one far away": lambda rng, count: np.append(rng.integers(0, 1000, count), (1 << 62) - 1),
    "in heaps": lambda rng, count: (1 << rng.integers(0, 61, count)) + rng.integers(0, 3, count),
}


@pytest.mark.parametrize("spread", SPREADS)
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([0, 1, 2, 50, 3000]))
@settings(max_examples=20, deadline=None)
def test_places_are_those_of_a_search(spread: str, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.sort(SPREADS[spread](rng, count))
    near = rng.choice(numbers, 1000) + rng.integers(-1, 2, 1000) if len(numbers) else np.arange(1000)
    wanted = np.maximum(np.concatenate([near, rng.integers(0, (1 << 62) - 1, 500), [0]]), 0)
    expected = np.searchsorted(numbers, wanted, side="right")
    found = RisingNumbers(numbers)
    assert (found.after(wanted) == expected).all()
    assert (found.after(wanted[:3]) == expected[:3]).all()


@given(seed=st.integers(0, 2**32 - 1), wide=st.booleans())
@settings(max_examples=40, deadline=None)
def test_keys_and_times_are_found_as_one_number(seed: int, wide: bool) -> None:
    rng = np.random.default_rng(seed)
    codes, times = np.sort(rng.integers(0, 20, 500)), rng.integers(-50, 50, 500) * (1 << 55 if wide else 1)
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    packing = KeyTimes(codes, times)
    asked, moments = rng.integers(0, 21, 1200), rng.choice(times, 1200) + rng.integers(-1, 2, 1200)
    found = RisingNumbers(packing.pack(codes, times)).after(packing.pack(asked, moments))
    facts = list(zip(codes.tolist(), times.tolist(), strict=True))
    rows = zip(asked.tolist(), moments.tolist(), found.tolist(), strict=True)
    assert all(place == sum(fact <= (code, moment) for fact in facts) for code, moment, place in rows)
