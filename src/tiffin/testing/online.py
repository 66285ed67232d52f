"""The conformance suite of online stores: subclass it, name the class and its options, and run pytest.

    class TestSqlite(OnlineStoreSuite):
        backend = SqliteOnlineStore

        def options(self, tmp_path):
            return {"path": str(tmp_path / "online.db")}

Its invariant is that a test knows nothing of a store but the contract.
"""

# ruff: noqa: D102 - the name of a test says what it says

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tiffin.contracts.online import ExtendBatch, OnlineLocation, OnlineStore, ReadRequest, SwapBatch, WriteBatch
from tiffin.errors import StoreError
from tiffin.online.rows import tombstone
from tiffin.online.tails import NEVER_US, Room, extended, tail_heads
from tiffin.testing.races import OnlineStoreRaces

TABLE = "suite.driver_stats.1"


def row(stamp: int, content: bytes = b"") -> bytes:
    """A row of the suite: a stamp that orders it, and content."""
    return stamp.to_bytes(8, "big") + content


#: Bytes of a fact of the suite, and event times whose bytes order otherwise than the numbers.
_WIDTH = 24
_EVENTS = (-(1 << 62), -(1 << 33), -3, -2, 0, 255, 256, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 53) + 1, (1 << 53) + 2)


def facts_row(chance: random.Random, count: int, first: int | None = None) -> bytes:
    """A row of facts of the suite, with contents; from a random event time on, or from a chosen one."""
    first = chance.randrange(len(_EVENTS) - count + 1) if first is None else first
    events = _EVENTS[first : first + count]
    head = tail_heads(chance.randbytes(16), np.array([count]), np.array([max(events) + chance.randrange(2)]))[0]
    facts = [event.to_bytes(8, "little", signed=True) + chance.randbytes(_WIDTH - 8) for event in events]
    return b"".join([head, *facts, chance.randbytes(chance.randrange(9))])


def key(number: int) -> bytes:
    """A key of the suite."""
    return b"k%06d" % number


class OnlineStoreSuite(OnlineStoreRaces):
    """What every online store keeps, by rule number."""

    backend: ClassVar[type[OnlineStore]]
    #: How many processes write at once, and as many threads.
    writers: ClassVar[int] = 8
    #: The most keys that one read asks for.
    most_keys: ClassVar[int] = 5000
    #: About the largest row that is tried.
    most_row_bytes: ClassVar[int] = 600_000

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        """The store's options, for a store of its own that is empty."""
        return {}

    def open(self, tmp_path: Path) -> OnlineStore:
        """Open the store; a second call opens the same rows again."""
        return open_store(self.backend, self.options(tmp_path), str(tmp_path))

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[OnlineStore]:
        """A store with one empty table."""
        store = self.open(tmp_path)
        store.ensure([TABLE])
        yield store
        store.close()

    # --- Swaps -------------------------------------------------------------------------------------------------------

    def test_row_is_put_where_none_is(self, store: OnlineStore) -> None:
        assert store.swap(SwapBatch(TABLE, [key(1)], [b""], [row(5)])) == [True]
        assert store.swap(SwapBatch(TABLE, [key(1)], [b""], [row(6)])) == [False]
        assert read(store, key(1)) == row(5)

    def test_row_is_put_in_the_place_of_the_expected_one_only(self, store: OnlineStore) -> None:
        store.write(WriteBatch(TABLE, [key(1)], [row(5, b"old")]))
        for expected in (row(4), row(5, b"other"), row(5, b"older")):
            assert store.swap(SwapBatch(TABLE, [key(1)], [expected], [row(9)])) == [False]
        assert read(store, key(1)) == row(5, b"old")
        # An older stamp, too: here the writer says what goes, not the order.
        assert store.swap(SwapBatch(TABLE, [key(1)], [row(5)], [row(2, b"new")])) == [True]
        assert read(store, key(1)) == row(2, b"new")

    def test_row_that_is_gone_takes_no_swap(self, store: OnlineStore) -> None:
        assert store.swap(SwapBatch(TABLE, [key(1)], [row(5)], [row(6)])) == [False]
        assert read(store, key(1)) is None

    def test_swap_that_is_made_again_says_the_same(self, store: OnlineStore) -> None:
        """As after a reply that was lost."""
        for expected in (b"", row(5)):
            batch = SwapBatch(TABLE, [key(1)], [expected], [row(6 if expected else 5)])
            assert [store.swap(batch) for _ in range(3)] == [[True]] * 3
        assert store.swap(SwapBatch(TABLE, [key(1)], [b""], [row(5)])) == [False]
        assert read(store, key(1)) == row(6)

    def test_each_key_of_a_swap_stands_for_itself(self, store: OnlineStore) -> None:
        count = min(3000, self.most_keys)
        keys = [key(n) for n in range(count)]
        random.Random(1).shuffle(keys)
        there = {each: row(1, each) for each in keys[::2]}
        store.write(WriteBatch(TABLE, list(there), list(there.values())))
        # Of every four: one that is as expected, one that is not there as expected, and one of each that is not.
        expected = [(row(1), b"", row(2), row(1))[n % 4] for n in range(count)]
        done = store.swap(SwapBatch(TABLE, keys, expected, [row(3, each) for each in keys]))
        assert done == [n % 4 < 2 for n in range(count)]
        found = dict(zip(keys, store.read([ReadRequest(TABLE, keys)])[0], strict=True))
        assert found == {each: row(3, each) if ok else there.get(each) for each, ok in zip(keys, done, strict=True)}

    def test_long_and_short_keys_and_rows_are_swapped(self, store: OnlineStore) -> None:
        keys = [b"i" + bytes(8), b"", b"x" * 700, b"y" * 100]
        rows = [row(1), row(2, b"\x00" * 50), row(3, bytes(range(256)) * 20), row(4, b"\xff" * 10_000)]
        assert store.swap(SwapBatch(TABLE, keys, [b""] * 4, rows)) == [True] * 4
        assert store.read([ReadRequest(TABLE, keys)]) == [rows]
        newer = [b"\xff" * 16 + each for each in rows]
        assert store.swap(SwapBatch(TABLE, keys, rows, newer)) == [True] * 4
        assert store.read([ReadRequest(TABLE, keys)]) == [newer]
        # What begins with the highest bytes has no upper bound.
        assert store.swap(SwapBatch(TABLE, keys, [b"\xff" * 17] * 4, rows)) == [False] * 4
        assert store.swap(SwapBatch(TABLE, keys, [b"\xff" * 16] * 4, rows)) == [True] * 4

    def test_swap_of_nothing_changes_nothing(self, store: OnlineStore) -> None:
        assert store.swap(SwapBatch(TABLE, [], [], [])) == []

    def test_swap_in_a_table_that_was_never_ensured_is_an_error(self, store: OnlineStore) -> None:
        for keys in ([], [key(1)]):
            with pytest.raises(StoreError, match=r"suite\.none"):
                store.swap(SwapBatch("suite.none", keys, [b""] * len(keys), [row(1)] * len(keys)))

    def test_facts_are_put_behind_by_the_rule(self, store: OnlineStore) -> None:
        chance = random.Random(3)
        room = Room(_WIDTH, 12, 64 + 12 * _WIDTH + 40, gone_us=_EVENTS[2])
        keys = [key(n) for n in range(min(2000, self.most_keys))]
        for _ in range(4):
            rows = [facts_row(chance, chance.randint(1, 4)) for _ in keys]
            held = store.read([ReadRequest(TABLE, keys)])[0]
            expected = [extended(old, row, room) for old, row in zip(held, rows, strict=True)]
            for _ in range(2):  # a second time as after a reply that was lost
                done = store.extend(ExtendBatch(TABLE, keys, rows, room))
                assert done == [new is not None for new in expected]
                stay = [new or old for new, old in zip(expected, held, strict=True)]
                assert store.read([ReadRequest(TABLE, keys)]) == [stay]
        assert 0 < sum(done) < len(keys)

    def test_timelines_that_are_more_than_their_facts_take_none(self, store: OnlineStore) -> None:
        chance = random.Random(4)
        old, new = facts_row(chance, 2, first=0), facts_row(chance, 1, first=5)
        room = Room(_WIDTH, 100, 10_000, gone_us=NEVER_US)
        changed = [old[:at] + b"\x01" + old[at + 1 :] for at in range(24, 56)]
        keys = [key(n) for n in range(len(changed) + 1)]
        assert all(store.swap(SwapBatch(TABLE, keys, [b""] * len(keys), [*changed, old])))
        done = store.extend(ExtendBatch(TABLE, keys, [new] * len(keys), room))
        assert done == [False] * len(changed) + [True]
        assert store.read([ReadRequest(TABLE, keys)]) == [[*changed, extended(old, new, room)]]

    def test_facts_put_behind_nothing_change_nothing(self, store: OnlineStore) -> None:
        room = Room(_WIDTH, 100, 10_000, gone_us=NEVER_US)
        assert store.extend(ExtendBatch(TABLE, [], [], room)) == []
        with pytest.raises(StoreError, match=r"suite\.none"):
            store.extend(ExtendBatch("suite.none", [key(1)], [facts_row(random.Random(1), 1)], room))

    # --- WR-1: newest wins -------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
    def test_newest_row_stays_in_any_order_of_batches(self, store: OnlineStore, order: tuple[int, ...]) -> None:
        for stamp in order:
            store.write(WriteBatch(TABLE, [key(1)], [row(stamp)]))
        assert read(store, key(1)) == row(3)

    @pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
    def test_newest_row_stays_in_any_order_within_a_batch(self, store: OnlineStore, order: tuple[int, ...]) -> None:
        store.write(WriteBatch(TABLE, [key(1)] * 3, [row(stamp) for stamp in order]))
        assert read(store, key(1)) == row(3)

    def test_rows_are_compared_as_unsigned_bytes(self, store: OnlineStore) -> None:
        store.write(WriteBatch(TABLE, [key(1), key(2)], [b"\x80\x00", b"\x7f\xff"]))
        store.write(WriteBatch(TABLE, [key(1), key(2)], [b"\x7f\xff", b"\x80\x00"]))
        assert read(store, key(1)) == read(store, key(2)) == b"\x80\x00"

    def test_longer_row_is_newer_than_its_own_beginning(self, store: OnlineStore) -> None:
        store.write(WriteBatch(TABLE, [key(1)], [row(1, b"ab")]))
        store.write(WriteBatch(TABLE, [key(1)], [row(1, b"a")]))
        assert read(store, key(1)) == row(1, b"ab")

    def test_result_counts_changed_keys_and_the_rest(self, store: OnlineStore) -> None:
        first = store.write(WriteBatch(TABLE, [key(1), key(2), key(1)], [row(5), row(5), row(6)]))
        assert (first.written, first.stale) == (2, 1)
        second = store.write(WriteBatch(TABLE, [key(1), key(2), key(3)], [row(6), row(7), row(1)]))
        assert (second.written, second.stale) == (2, 1)

    # --- WR-2: again, in any order and split -------------------------------------------------------------------------

    def test_writing_again_changes_nothing(self, store: OnlineStore) -> None:
        batch = WriteBatch(TABLE, [key(n) for n in range(100)], [row(n, b"x" * n) for n in range(100)])
        store.write(batch)
        before = dict(store.scan_all(TABLE))
        again = store.write(batch)
        assert (again.written, again.stale) == (0, 100)
        assert dict(store.scan_all(TABLE)) == before

    @pytest.mark.parametrize("seed", range(3))
    def test_order_and_split_leave_the_same_bytes(self, store: OnlineStore, seed: int) -> None:
        facts = history(seed)
        chance = random.Random(seed + 100)
        shuffled = facts + chance.sample(facts, len(facts) // 3)
        chance.shuffle(shuffled)
        while shuffled:
            size = chance.randint(1, 60)
            part, shuffled = shuffled[:size], shuffled[size:]
            store.write(WriteBatch(TABLE, [k for k, _ in part], [r for _, r in part]))
        assert dict(store.scan_all(TABLE)) == newest(facts)

    # --- WR-3, WR-4 --------------------------------------------------------------------------------------------------

    def test_tombstone_outlasts_a_replay_of_older_rows(self, store: OnlineStore) -> None:
        gone = tombstone(10, 10)
        older = tombstone(9, 9)[:24] + b"\x00\x00\x00value"
        store.write(WriteBatch(TABLE, [key(1)], [older]))
        store.write(WriteBatch(TABLE, [key(1)], [gone]))
        store.write(WriteBatch(TABLE, [key(1)], [older]))
        assert read(store, key(1)) == gone

    def test_readers_see_whole_rows_while_threads_write(self, store: OnlineStore) -> None:
        keys = [key(n) for n in range(20)]
        stop = threading.Event()
        torn: list[bytes] = []

        def watch() -> None:
            while not stop.is_set():
                for found in store.read([ReadRequest(TABLE, keys)])[0]:
                    if found is not None and len(set(found[8:])) > 1:
                        torn.append(found)

        watchers = [threading.Thread(target=watch) for _ in range(2)]
        for watcher in watchers:
            watcher.start()
        try:
            for stamp in range(40):
                store.write(WriteBatch(TABLE, keys, [row(stamp, bytes([stamp]) * 5000)] * len(keys)))
        finally:
            stop.set()
            for watcher in watchers:
                watcher.join()
        assert not torn
        assert read(store, keys[0]) == row(39, bytes([39]) * 5000)

    # --- Many writers ------------------------------------------------------------------------------------------------

    def test_threads_writing_the_same_facts_in_any_order_agree(self, store: OnlineStore) -> None:
        facts = history(7)
        failures: list[BaseException] = []

        def work(seed: int) -> None:
            try:
                write_shuffled(store, facts, seed)
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(self.writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert dict(store.scan_all(TABLE)) == newest(facts)

    def test_processes_writing_the_same_facts_in_any_order_agree(self, tmp_path: Path) -> None:
        if not self.backend.capabilities.multi_process:
            pytest.skip("this store belongs to one process")
        where = (self.backend, dict(self.options(tmp_path)), str(tmp_path))
        spawn = multiprocessing.get_context("spawn")
        processes = [spawn.Process(target=_write_history, args=(*where, seed)) for seed in range(self.writers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * self.writers
        store = self.open(tmp_path)
        assert dict(store.scan_all(TABLE)) == newest(history(7))
        store.close()

    # --- WR-7: durable, and converging after a crash -----------------------------------------------------------------

    def test_rows_outlive_the_store_object(self, store: OnlineStore, tmp_path: Path) -> None:
        if not self.backend.capabilities.durable:
            pytest.skip("this store does not outlive its process")
        store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
        store.put_cursor(TABLE, b"here")
        store.close()
        again = self.open(tmp_path)
        assert read(again, key(1)) == row(1)
        assert again.get_cursor(TABLE) == b"here"
        again.close()

    def test_killed_writer_leaves_what_it_acknowledged_and_a_replay_converges(
        self, store: OnlineStore, tmp_path: Path
    ) -> None:
        if not (self.backend.capabilities.durable and self.backend.capabilities.multi_process):
            pytest.skip("this store does not outlive its process")
        acknowledged = self._kill_a_writer(tmp_path, after=3)
        facts = history(7)
        held = dict(store.scan_all(TABLE))
        best = newest(facts[:acknowledged])
        assert all(held[k] >= r for k, r in best.items())
        assert set(held.items()) <= {(k, r) for k, r in facts}
        write_shuffled(store, facts, seed=1)
        assert dict(store.scan_all(TABLE)) == newest(facts)

    def _kill_a_writer(self, tmp_path: Path, after: int) -> int:
        """Kill a writing process once it has acknowledged some batches; how many facts it had acknowledged."""
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        where = (self.backend, dict(self.options(tmp_path)), str(tmp_path))
        process = spawn.Process(target=_write_and_tell, args=(*where, theirs))
        process.start()
        theirs.close()
        acknowledged: int = max(ours.recv() for _ in range(after))
        process.kill()
        process.join()
        # What was told between the last look and the kill counts as well.
        with contextlib.suppress(EOFError):
            while ours.poll():
                acknowledged = max(acknowledged, ours.recv())
        assert process.exitcode == -signal.SIGKILL
        return acknowledged

    # --- Reading -----------------------------------------------------------------------------------------------------

    def test_read_keeps_the_order_of_keys_and_of_tables(self, store: OnlineStore) -> None:
        other = "suite.other.1"
        store.ensure([other])
        store.write(WriteBatch(TABLE, [key(1), key(2)], [row(1), row(2)]))
        store.write(WriteBatch(other, [key(1)], [row(9)]))
        requests = [ReadRequest(other, [key(2), key(1)]), ReadRequest(TABLE, [key(2), key(3), key(1), key(2)])]
        assert store.read(requests) == [[None, row(9)], [row(2), None, row(1), row(2)]]

    def test_read_of_no_keys_and_of_no_tables(self, store: OnlineStore) -> None:
        assert store.read([ReadRequest(TABLE, [])]) == [[]]
        assert store.read([ReadRequest(TABLE, []), ReadRequest(TABLE, [key(1)])]) == [[], [None]]
        assert store.read([]) == []

    @pytest.mark.parametrize("count", [1, 2, 16, 17, 511, 512, 513, 5000])
    def test_read_of_many_keys(self, store: OnlineStore, count: int) -> None:
        count = min(count, self.most_keys)
        store.write(WriteBatch(TABLE, [key(n) for n in range(0, count, 2)], [row(n) for n in range(0, count, 2)]))
        wanted = [key(n) for n in range(count)]
        expected = [row(n) if n % 2 == 0 else None for n in range(count)]
        assert store.read([ReadRequest(TABLE, wanted)]) == [expected]
        assert store.read([ReadRequest(TABLE, wanted), ReadRequest(TABLE, wanted[:1])]) == [expected, expected[:1]]

    def test_read_of_many_tables(self, store: OnlineStore) -> None:
        tables = [f"suite.t{n}.1" for n in range(120)]
        store.ensure(tables)
        for n, table in enumerate(tables):
            store.write(WriteBatch(table, [key(1)], [row(n)]))
        found = store.read([ReadRequest(table, [key(1)]) for table in tables])
        assert found == [[row(n)] for n in range(120)]

    async def test_async_twins_equal_the_plain_calls(self, store: OnlineStore) -> None:
        result = await store.write_async(WriteBatch(TABLE, [key(1), key(1)], [row(1), row(2)]))
        assert (result.written, result.stale) == (1, 1)
        requests = [ReadRequest(TABLE, [key(1), key(2)])]
        assert await store.read_async(requests) == store.read(requests) == [[row(2), None]]
        await store.close_async()

    @pytest.mark.parametrize("content", [b"\x00", b"a\x00b", b"\xff" * 300, bytes(range(256))])
    def test_any_bytes_are_kept(self, store: OnlineStore, content: bytes) -> None:
        large = row(1, content * min(2000, self.most_row_bytes // len(content)))
        store.write(WriteBatch(TABLE, [content, content + b"\x00"], [large, row(2, content)]))
        assert store.read([ReadRequest(TABLE, [content, content + b"\x00"])]) == [[large, row(2, content)]]

    # --- Tables ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", ['a"b', "50%_x", "a'b;-", "Größe.1", "select", "sqlite_x", "^^a^A_", "x" * 300])
    def test_any_name_of_a_table_works(self, store: OnlineStore, name: str) -> None:
        store.ensure([name])
        store.write(WriteBatch(name, [key(1)], [row(1)]))
        assert store.read([ReadRequest(name, [key(1)])]) == [[row(1)]]
        assert [info.table for info in store.tables(name)] == [name]
        store.drop([name])
        assert store.tables(name) == []

    def test_tables_that_differ_in_case_only_are_apart(self, store: OnlineStore) -> None:
        names = ["A.b.1", "a.B.1", "a.b.1"]
        store.ensure(names)
        for number, name in enumerate(names):
            store.write(WriteBatch(name, [key(1)], [row(number)]))
        assert store.read([ReadRequest(name, [key(1)]) for name in names]) == [[row(0)], [row(1)], [row(2)]]
        assert [info.table for info in store.tables("a.")] == ["a.B.1", "a.b.1"]

    def test_table_that_was_never_ensured_is_an_error_that_names_it(self, store: OnlineStore) -> None:
        with pytest.raises(StoreError, match=r"nowhere(.|\n)*tiffin apply"):
            store.read([ReadRequest("nowhere", [key(1)])])
        with pytest.raises(StoreError, match=r"nowhere(.|\n)*tiffin apply"):
            store.read([ReadRequest(TABLE, [key(1)]), ReadRequest("nowhere", [key(1)])])
        with pytest.raises(StoreError, match=r"nowhere(.|\n)*tiffin apply"):
            store.write(WriteBatch("nowhere", [key(1)], [row(1)]))

    def test_ensuring_again_keeps_the_rows(self, store: OnlineStore) -> None:
        store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
        store.ensure([TABLE, "suite.new.1"])
        assert read(store, key(1)) == row(1)

    def test_dropping_removes_rows_and_cursor_of_that_table_only(self, store: OnlineStore) -> None:
        other = "suite.other.1"
        store.ensure([other])
        for table in (TABLE, other):
            store.write(WriteBatch(table, [key(1)], [row(1)]))
            store.put_cursor(table, table.encode())
        store.drop([TABLE, "never.there"])
        assert store.get_cursor(TABLE) is None
        assert store.get_cursor(other) == other.encode()
        store.ensure([TABLE])
        assert read(store, key(1)) is None
        assert store.read([ReadRequest(other, [key(1)])]) == [[row(1)]]

    def test_tables_are_listed_by_prefix_with_their_sizes(self, store: OnlineStore) -> None:
        store.ensure(["b.x.1", "a.y.1", "a.x.1"])
        store.write(WriteBatch("a.x.1", [key(1), key(2)], [row(1), tombstone(1, 1)]))
        store.put_cursor("a.x.1", b"cursor")
        assert [info.table for info in store.tables()] == ["a.x.1", "a.y.1", "b.x.1", TABLE]
        found = store.tables("a.")
        assert [(info.table, info.rows) for info in found] == [("a.x.1", 2), ("a.y.1", 0)]
        assert found[0].size_bytes in (None, len(key(1) + key(2) + row(1) + tombstone(1, 1)))

    # --- Audits, deletes, cursors ------------------------------------------------------------------------------------

    @pytest.mark.parametrize("count", [0, 1, 25])
    def test_scan_gives_every_pair_once_page_by_page(self, store: OnlineStore, count: int) -> None:
        other = "suite.other.1"
        store.ensure([other])
        store.write(WriteBatch(other, [key(1)], [row(9)]))
        pairs = {key(n): row(n) for n in range(count)}
        store.write(WriteBatch(TABLE, list(pairs), list(pairs.values())))
        found = [pair for page in store.scan(TABLE, page_rows=10) for pair in page]
        assert sorted(found) == sorted(pairs.items())
        assert sorted(store.scan_all(TABLE)) == sorted(pairs.items())

    def test_scan_of_a_table_that_was_never_ensured_is_an_error(self, store: OnlineStore) -> None:
        with pytest.raises(StoreError, match="nowhere"):
            list(store.scan("nowhere"))

    def test_delete_removes_rows_and_counts_them(self, store: OnlineStore) -> None:
        store.write(WriteBatch(TABLE, [key(1), key(2)], [row(1), row(2)]))
        assert store.delete(TABLE, [key(1), key(3)]) == 1
        assert [k for k, _ in store.scan_all(TABLE)] == [key(2)]

    def test_cursor_is_what_was_kept_last(self, store: OnlineStore) -> None:
        assert store.get_cursor(TABLE) is None
        store.put_cursor(TABLE, b"one")
        store.put_cursor(TABLE, b"\x00two\xff")
        assert store.get_cursor(TABLE) == b"\x00two\xff"
        assert store.get_cursor("another") is None


def read(store: OnlineStore, wanted: bytes) -> bytes | None:
    """The row of one key."""
    return store.read([ReadRequest(TABLE, [wanted])])[0][0]


def history(seed: int) -> list[tuple[bytes, bytes]]:
    """Facts of few keys with many ties, the same for the same seed."""
    chance = random.Random(seed)
    return [
        (key(chance.randrange(40)), row(chance.randrange(30), chance.randbytes(chance.randrange(3))))
        for _ in range(600)
    ]


def newest(facts: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """What a store holds after the facts, in any order."""
    found: dict[bytes, bytes] = {}
    for k, r in facts:
        found[k] = max(r, found.get(k, b""))
    return found


def write_shuffled(store: OnlineStore, facts: list[tuple[bytes, bytes]], seed: int) -> None:
    """Write facts in an order of their own, some twice, in small batches."""
    chance = random.Random(seed)
    mine = facts + chance.sample(facts, len(facts) // 4)
    chance.shuffle(mine)
    for start in range(0, len(mine), 50):
        part = mine[start : start + 50]
        store.write(WriteBatch(TABLE, [k for k, _ in part], [r for _, r in part]))


def open_store(backend: type[OnlineStore], options: Mapping[str, object], base_path: str) -> OnlineStore:
    """Open a store for the suite."""
    return backend.from_config(options, OnlineLocation("suite", base_path))


def _write_history(backend: type[OnlineStore], options: Mapping[str, object], base_path: str, seed: int) -> None:
    """One of several processes that write the same facts."""
    store = open_store(backend, options, base_path)
    store.ensure([TABLE])
    write_shuffled(store, history(7), seed)
    store.close()


def _write_and_tell(
    backend: type[OnlineStore], options: Mapping[str, object], base_path: str, tell: Connection
) -> None:
    """Write facts one batch after the other, over and over, and tell how many are acknowledged."""
    store = open_store(backend, options, base_path)
    store.ensure([TABLE])
    facts = history(7)
    for start in itertools.cycle(range(0, len(facts), 20)):
        part = facts[start : start + 20]
        store.write(WriteBatch(TABLE, [k for k, _ in part], [r for _, r in part]))
        tell.send(min(start + 20, len(facts)))
