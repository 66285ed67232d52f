"""Servers that are stopped and started again under readers: answers are right or errors, and reading goes on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from faults.stores import POSTGRES, REDIS, ROWS, Kind, fill, read
from servers import SLACK_SECONDS, postgres_server, redis_server, wait_until
from tiffin.contracts.online import OnlineStore
from tiffin.errors import StoreUnavailableError

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("network faults")]
RESTARTS = 2


class Reader(threading.Thread):
    """Reads all the time, and remembers how it went."""

    def __init__(self, store: OnlineStore, seed: int) -> None:
        super().__init__(daemon=True)
        self.store, self.chance = store, random.Random(seed)
        self.answered = self.failed = 0
        self.slowest_seconds = 0.0
        self.wrong: list[object] = []
        self.is_done = False

    def run(self) -> None:
        while not self.is_done and not self.wrong:
            keys = self.chance.sample(sorted(ROWS), self.chance.randrange(1, 50))
            began = time.monotonic()
            try:
                found = read(self.store, *keys)
            except StoreUnavailableError:
                self.failed += 1
            except Exception as error:  # noqa: BLE001 - of whatever kind, it is not what a caller should see
                self.wrong.append(error)
            else:
                self.answered += 1
                self.wrong += [] if found == [ROWS[key] for key in keys] else [(keys, found)]
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)


@pytest.fixture(params=[REDIS, POSTGRES], ids=lambda kind: kind.name)
def restarted(request: pytest.FixtureRequest) -> Iterator[tuple[Kind, int, Callable[[], None], Callable[[], None]]]:
    """A filled server that keeps its rows: its kind and port, how it is stopped, and how it is started again."""
    if request.param is REDIS:
        with redis_server("--appendonly", "yes") as redis:
            yield REDIS, redis.port, redis.stop, redis.start
    else:
        with postgres_server() as postgres:
            yield POSTGRES, postgres.port, postgres.stop, postgres.start


def test_reading_goes_on_after_restarts(
    restarted: tuple[Kind, int, Callable[[], None], Callable[[], None]],
) -> None:
    kind, port, stop, start = restarted
    fill(kind, port)
    store = kind.open(port)
    readers = [Reader(store, seed) for seed in range(2)]

    def are_heard(count: Callable[[Reader], int]) -> None:
        """Wait until every reader has had some more answers, or failures."""
        before = [count(reader) for reader in readers]
        wait_until(
            lambda: all(r.wrong or count(r) > b + 2 for r, b in zip(readers, before, strict=True)), "what readers see"
        )

    for reader in readers:
        reader.start()
    for _ in range(RESTARTS):
        are_heard(lambda reader: reader.answered)
        stop()
        are_heard(lambda reader: reader.failed)
        start()
    are_heard(lambda reader: reader.answered)
    for reader in readers:
        reader.is_done = True
        reader.join()
    assert [reader.wrong for reader in readers] == [[], []]
    assert max(reader.slowest_seconds for reader in readers) < kind.deadline_seconds + SLACK_SECONDS
    store.close()
