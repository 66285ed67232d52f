"""Workers of a Kinesis stream divide its shards by a list, without a lock."""

from __future__ import annotations

import pytest

from servers import need_module
from tiffin.errors import StoreUnavailableError
from tiffin.time import SECOND_US, ManualClock

need_module("botocore", "kinesis")

from tiffin.backends.kinesis.roster import Roster  # noqa: E402

SHARDS = [f"shard-{number}" for number in range(7)]


class Kept:
    """Cursors in memory."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.is_away = False

    def get_cursor(self, table: str) -> bytes | None:
        if self.is_away:
            raise StoreUnavailableError("the store is away")
        return self.held.get(table)

    def put_cursor(self, table: str, cursor: bytes) -> None:
        self.held[table] = cursor


class Group:
    """Workers by one clock, which the test moves."""

    def __init__(self, count: int) -> None:
        self.clock = ManualClock(0)
        self.kept = Kept()
        self.workers = [self.joined() for _ in range(count)]

    def joined(self) -> Roster:
        return Roster(self.kept, "g", 10.0, self.clock)

    def enter_all(self) -> None:
        self.clock.set(self.clock.now_us() + 3 * SECOND_US)
        for worker in self.workers:
            assert worker.enter()

    def divided(self) -> list[set[str]]:
        return [worker.own(SHARDS) for worker in self.workers]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9])
def test_every_shard_is_read_by_one_worker_once_all_know_of_each_other(count: int) -> None:
    group = Group(count)
    group.enter_all()
    group.enter_all()
    parts = group.divided()
    assert sorted(name for part in parts for name in part) == SHARDS
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_worker_that_leaves_or_is_lost_leaves_its_shards_to_the_others() -> None:
    group = Group(3)
    for _ in range(2):
        group.enter_all()
    group.workers.pop().leave()
    group.enter_all()
    group.enter_all()
    assert sorted(name for part in group.divided() for name in part) == SHARDS
    lost = group.workers.pop()
    for _ in range(4):
        group.enter_all()
    assert group.divided() == [set(SHARDS)]
    assert lost.own(SHARDS) < set(SHARDS)


def test_entry_that_another_one_has_written_over_is_made_again() -> None:
    """Two read the list before either has written."""
    group = Group(2)
    group.enter_all()
    first, second = group.workers
    group.clock.set(group.clock.now_us() + 3 * SECOND_US)
    before = dict(group.kept.held)
    first.enter()
    group.kept.held = before
    second.enter()
    for _ in range(2):
        group.enter_all()
    assert sorted(name for part in group.divided() for name in part) == SHARDS


def test_store_that_is_away_leaves_the_shards_as_they_are_divided() -> None:
    group = Group(2)
    for _ in range(2):
        group.enter_all()
    before = group.divided()
    group.kept.is_away = True
    group.clock.set(group.clock.now_us() + 60 * SECOND_US)
    assert [worker.enter() for worker in group.workers] == [False, False]
    assert group.divided() == before


def test_list_is_read_now_and_then() -> None:
    group = Group(1)
    group.enter_all()
    group.clock.set(group.clock.now_us() + SECOND_US)
    assert not group.workers[0].enter()
