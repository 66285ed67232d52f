"""Workers that come to harm, for `test_streams.py`.

`stream_process.py lives FOLDER BATCH` reads lines of `MOMENT NUMBER` from its input. For each it forks a worker, which
feeds the views of the repository until everything is done, or dies by SIGKILL: at its NUMBER-th write, `before` or
`after` the store has made it durable, after the positions of its NUMBER-th batch were handed over (`committed`), or
NUMBER milliseconds after its first write (`time`). How the worker ended is printed. A fork saves the start of an
interpreter for each life.

`stream_process.py worker FOLDER BATCH` is one worker that goes on until SIGTERM; it prints what it did as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from faults.clicks import repository
from parity.repository import Repository
from tiffin.backends.kafka.reader import KafkaReader
from tiffin.contracts.stream import Until
from tiffin.operations import stream


def die() -> None:
    """End this process so that no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def harm(opened: Repository, moment: str, number: int) -> None:
    """Make a worker die at a moment of its life."""
    writes, dones = count(1), count(1)

    def killing(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(batch: Any) -> Any:
            at = next(writes)
            if moment == "time" and at == 1:
                threading.Timer(number / 1000, die).start()
            if moment == "before" and at == number:
                die()
            result = write(batch)
            if moment == "after" and at == number:
                die()
            return result

        return call

    done = KafkaReader.done

    def dying(reader: KafkaReader, notes: dict[int, str], *, flush: bool = False) -> None:
        done(reader, notes, flush=flush or moment == "committed")
        if notes and moment == "committed" and next(dones) == number:
            die()

    opened.online.write = killing(opened.online.write)  # type: ignore[method-assign]
    opened.online.swap = killing(opened.online.swap)  # type: ignore[method-assign]
    KafkaReader.done = dying  # type: ignore[assignment]


def live(folder: Path, moment: str, number: int) -> None:
    """One life."""
    opened = repository(folder, None)
    harm(opened, moment, number)
    stream.run_stream(opened, until=Until())
    opened.close()


def lives(folder: Path) -> None:
    """Fork a worker for each line."""
    print("ready", flush=True)
    for line in sys.stdin:
        moment, number = line.split()
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
    opened = repository(folder, None)
    print("ready", flush=True)
    (found,) = stream.run_stream(opened, stop=stop)
    print(json.dumps(dataclasses.asdict(found)), flush=True)
    opened.close()


def main(role: str, folder: str, batch: str) -> None:
    stream._BATCH_MESSAGES = int(batch)
    {"lives": lives, "worker": worker}[role](Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
