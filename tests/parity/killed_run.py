"""A materializing process that comes to harm, for `test_materialization.py`: `killed_run.py FOLDER STORE [WRITE WHEN]`.

STORE is the `online_store` section as JSON. The process says `loading` when it begins to. With WRITE and WHEN it kills
itself by SIGKILL at its n-th write, `before` or `after` the store has made it durable, so that no handler runs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import count
from pathlib import Path

from parity.loads import END_US, NOW_US, big_view, small_batches
from parity.repository import open_repository
from tiffin.contracts.online import OnlineStore, WriteBatch, WriteResult
from tiffin.operations.materialize import materialize_incremental
from tiffin.time import ManualClock


def die_at(store: OnlineStore, last: int, when: str) -> None:
    """Make a store kill its process at a write."""
    write, numbers = store.write, count(1)

    def killing(batch: WriteBatch) -> WriteResult:
        is_last = next(numbers) == last
        if is_last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = write(batch)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    store.write = killing  # type: ignore[method-assign]


def main(folder: Path, section: str, last: str = "0", when: str = "") -> None:
    small_batches()
    repository = open_repository(folder, [big_view()], clock=ManualClock(NOW_US), online=json.loads(section))
    die_at(repository.online, int(last), when)
    print("loading", flush=True)
    materialize_incremental(repository, END_US)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
