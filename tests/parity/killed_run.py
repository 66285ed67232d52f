"""A materializing process that kills itself, for `test_materialization.py`: `killed_run.py FOLDER WRITES BEFORE`.

It is killed by SIGKILL at its n-th write, before or after the store has made it durable, so no handler runs.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from parity.loads import END_US, NOW_US, big_view, small_batches
from parity.repository import open_repository
from tiffin.backends.sqlite.online import SqliteOnlineStore
from tiffin.contracts.online import OnlineLocation, WriteBatch, WriteResult
from tiffin.operations.materialize import materialize_incremental
from tiffin.time import ManualClock


class KilledStore(SqliteOnlineStore):
    """Kills the process at a write."""

    writes = 0
    last = 0
    before = False

    def write(self, batch: WriteBatch) -> WriteResult:
        self.writes += 1
        if self.writes == self.last and self.before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = super().write(batch)
        if self.writes == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def main(folder: Path, last: int, before: bool) -> None:
    store = KilledStore.from_config({"path": "online.db"}, OnlineLocation("tests", str(folder)))
    assert isinstance(store, KilledStore)
    store.last, store.before = last, before
    small_batches()
    repository = open_repository(folder, [big_view()], clock=ManualClock(NOW_US), online=store)
    materialize_incremental(repository, END_US)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "before")
