"""Who reads which shard: workers enter themselves in one list, and each sees from it which shards are its own.

Kinesis has no groups of readers. The list is kept by the online store, without a lock: what two workers enter at the
same moment is entered by one of them, and by the other one the next time. So for a moment a shard may be read by two
workers or by nobody. Neither loses anything: positions are kept with the shards, and a fact that comes twice is one.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence

import msgspec

from tiffin.contracts.stream import Cursors
from tiffin.errors import StoreUnavailableError
from tiffin.time import SECOND_US, Clock, SystemClock

log = logging.getLogger("tiffin.kinesis")

#: A worker enters itself so often within the time after which it is taken for lost.
_ENTRIES = 4


class Roster:
    """The workers of one group, as one of them sees them.

    Args:
        cursors: keeps the list.
        group: of the workers.
        lost_seconds: a worker that has not entered itself for so long is taken for lost.
        clock: that of the machine; those of all workers agree somewhat.
    """

    def __init__(self, cursors: Cursors, group: str, lost_seconds: float, clock: Clock | None = None) -> None:
        self._cursors = cursors
        self._name = f"{group}.workers"
        self._me = uuid.uuid4().hex
        self._lost_us = int(lost_seconds * SECOND_US)
        self._clock = clock or SystemClock()
        self._entered_us: int | None = None
        self._workers: list[str] = [self._me]

    def enter(self) -> bool:
        """Enter this worker, when it is time to; whether the list was read."""
        now_us = self._clock.now_us()
        if self._entered_us is not None and now_us < self._entered_us + self._lost_us // _ENTRIES:
            return False
        self._entered_us = now_us
        try:
            there = {name: at_us for name, at_us in self._read().items() if abs(now_us - at_us) < self._lost_us}
            there[self._me] = now_us
            self._write(there)
        except StoreUnavailableError as error:
            log.warning("%s; the shards stay as they are divided", error.message)
            return False
        self._workers = sorted(there)
        return True

    def leave(self) -> None:
        """Strike this worker out, so that nobody waits for it."""
        there = self._read()
        if there.pop(self._me, None) is not None:
            self._write(there)

    def own(self, shards: Sequence[str]) -> set[str]:
        """Those of some shards that this worker reads; every worker has as many as any other, or one more."""
        return set(sorted(shards)[self._workers.index(self._me) :: len(self._workers)])

    def _read(self) -> dict[str, int]:
        """Worker to when it entered itself last."""
        kept = self._cursors.get_cursor(self._name)
        return {} if kept is None else msgspec.json.decode(kept, type=dict[str, int])

    def _write(self, there: dict[str, int]) -> None:
        self._cursors.put_cursor(self._name, msgspec.json.encode(there))
