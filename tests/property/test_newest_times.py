"""Stamps of several writers against plain Python: never newer than what was written, and equal to it in the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.online import WriteBatch, WriteResult
from tiffin.errors import StoreUnavailableError
from tiffin.operations.newest import NewestTimes
from tiffin.time import MAX_US, MIN_US

TABLES = ("shop.a.1", "shop.b.1")
#: Who writes, into which table, up to when; and whether the stamp may be written, and whether the writer then rests.
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(TABLES), st.integers(MIN_US + 1, MAX_US), st.booleans(), st.booleans())
)


class Sometimes(MemoryOnlineStore):
    """A store that is away when it is told to."""

    is_away = False

    def write(self, batch: WriteBatch) -> WriteResult:
        if self.is_away:
            raise StoreUnavailableError("away")
        return super().write(batch)


def project(store: MemoryOnlineStore) -> Any:
    return SimpleNamespace(project="shop", online=store)


@given(STEPS)
def test_stamps_are_never_newer_than_what_was_written_and_equal_to_it_in_the_end(
    steps: list[tuple[int, str, int, bool, bool]],
) -> None:
    store = Sometimes()
    writers = [NewestTimes(project(store)) for _ in range(3)]
    written: dict[str, int] = {}
    for writer, table, us, is_away, rests in steps:
        store.is_away = is_away
        written[table] = max(us, written.get(table, us))
        writers[writer].note(table, us)
        if rests:
            writers[writer].flush()
        store.is_away = False
        # A reader of its own, which has nothing to write.
        for name, seen in NewestTimes(project(store)).read(TABLES).items():
            assert seen <= written[name]
    for each in writers:
        each.flush()
    assert NewestTimes(project(store)).read(TABLES) == written
