"""A driver for `test_cluster.py`: `driver.py FOLDER SETTINGS UNTIL` feeds the views of a repository on a cluster.

SETTINGS are arguments of `repository` as JSON. With UNTIL `now` or a time it ends by itself, with `never` on SIGTERM;
either way it prints what it did with each source as JSON. The history is appended to.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import threading
from pathlib import Path

from faults.clicks import repository
from tiffin.operations.stream import until_of
from tiffin.operations.stream_engine import feed


def main(folder: str, settings: str, until: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    opened = repository(Path(folder), None, **json.loads(settings))
    found = feed(opened, until=until_of(None if until == "never" else until), stop=stop, history=True)
    print(json.dumps([dataclasses.asdict(each) for each in found]), flush=True)
    opened.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
