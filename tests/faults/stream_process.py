"""Workers that come to harm, for `test_streams.py`.

`stream_process.py lives FOLDER` reads lines of `MOMENT NUMBER BATCH` from its input. For each it forks a worker, which
feeds the views of the repository and their history until everything is done, in batches of BATCH messages, or dies by
SIGKILL: at its NUMBER-th write, `before` or `after` the store has made it durable, `unappended` or `appended` likewise
for the history, after the positions of its NUMBER-th batch were handed over (`committed`), or NUMBER milliseconds after
its first write (`time`). How the worker ended is printed. A fork saves the start of an interpreter for each life.

`stream_process.py worker FOLDER BATCH` is one worker that goes on until SIGTERM; it prints what it did as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from faults.clicks import SHORT_SESSION, repository
from parity.repository import Repository
from tiffin.backends.kafka.reader import KafkaReader
from tiffin.contracts.stream import Until
from tiffin.operations import stream


def die() -> None:
    """End this process so that no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def harm(opened: Repository, moment: str, number: int) -> None:
    """Make a worker die at a moment of its life."""
    writes, appends, dones = count(1), count(1), count(1)

    def killing(write: Callable[..., Any], before: str, after: str, calls: Iterator[int]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            at = next(calls)
            if moment == "time" and at == 1:
                threading.Timer(number / 1000, die).start()
            if moment == before and at == number:
                die()
            result = write(*given)
            if moment == after and at == number:
                die()
            return result

        return call

    done = KafkaReader.done

    def dying(reader: KafkaReader, *, flush: bool = False) -> None:
        is_new = reader._done != reader._polled
        done(reader, flush=flush or moment == "committed")
        if is_new and moment == "committed" and next(dones) == number:
            die()

    online, offline = opened.online, opened.offline
    online.write = killing(online.write, "before", "after", writes)  # type: ignore[method-assign]
    online.swap = killing(online.swap, "before", "after", writes)  # type: ignore[method-assign]
    offline.append_messages = killing(  # type: ignore[method-assign]
        offline.append_messages, "unappended", "appended", appends
    )
    KafkaReader.done = dying  # type: ignore[assignment]


def live(folder: Path, moment: str, number: int) -> None:
    """One life."""
    opened = repository(folder, None, kafka=SHORT_SESSION)
    harm(opened, moment, number)
    stream.run_stream(opened, until=Until(), history=True)
    opened.close()


def lives(folder: Path) -> None:
    """Fork a worker for each line."""
    print("ready", flush=True)
    for line in sys.stdin:
        moment, number, batch = line.split()
        stream._BATCH_MESSAGES = int(batch)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                live(folder, moment, int(number))
                code = 0
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def worker(folder: Path) -> None:
    """Work until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    opened = repository(folder, None, kafka=SHORT_SESSION)
    print("ready", flush=True)
    (found,) = stream.run_stream(opened, stop=stop, history=True)
    print(json.dumps(dataclasses.asdict(found)), flush=True)
    opened.close()


def main(role: str, folder: str, batch: str = "") -> None:
    if batch:
        stream._BATCH_MESSAGES = int(batch)
    {"lives": lives, "worker": worker}[role](Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
