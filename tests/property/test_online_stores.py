"""Stores hold what a dict with the greatest row per key would hold, after any writes in any order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.backends.sqlite.online import SqliteOnlineStore
from tiffin.contracts.online import OnlineLocation, OnlineStore, ReadRequest, WriteBatch

#: Among them keys that are one number, which a store may keep in another way, and keys that only look like one.
KEYS = st.one_of(
    st.binary(min_size=1, max_size=2),
    st.sampled_from([0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]).map(lambda number: b"i" + number.to_bytes(8, "big")),
    st.sampled_from([b"s" + bytes(8), b"i" + bytes(7), b"i" + bytes(9)]),
)
ROWS = st.binary(min_size=1, max_size=3)
BATCHES = st.lists(st.lists(st.tuples(KEYS, ROWS), max_size=12), max_size=6)
NUMBERS = count()


@pytest.fixture(params=[MemoryOnlineStore, SqliteOnlineStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    store = request.param.from_config({}, OnlineLocation("p", str(tmp_path)))
    yield store
    store.close()


@given(batches=BATCHES, wanted=st.lists(KEYS, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_store_equals_a_dict_of_the_greatest_rows(
    store: OnlineStore, batches: list[list[tuple[bytes, bytes]]], wanted: list[bytes]
) -> None:
    table = f"t{next(NUMBERS)}"
    store.ensure([table])
    held: dict[bytes, bytes] = {}
    for batch in batches:
        before = dict(held)
        for key, row in batch:
            held[key] = max(row, held.get(key, b""))
        changed = sum(before.get(key) != row for key, row in held.items())
        result = store.write(WriteBatch(table, [key for key, _ in batch], [row for _, row in batch]))
        assert (result.written, result.stale) == (changed, len(batch) - changed)
    assert sorted(store.scan_all(table)) == sorted(held.items())
    assert store.read([ReadRequest(table, wanted)]) == [[held.get(key) for key in wanted]]
