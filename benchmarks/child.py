"""Runs one case inside a fresh process: reads the case from a JSON file, writes times and peak memory to another.

Started by `benchmarks.process`; it runs under tiffin's Python or under Feast's, which have other versions of
everything.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.work import Reading, Work

_LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow.dataset",
    "duckdb",
    "pydantic",
    "sqlalchemy.dialects.sqlite",
    "sqlglot",
)


def peak_resident_bytes() -> int:
    """The largest resident memory of this process so far."""
    try:
        # VmHWM starts anew at exec. ru_maxrss does not: it would also count the runner from which this process was
        # forked.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    factor = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor


def load_libraries() -> None:
    """Loads what the sides stand on, so that no first run pays for it; tiffin imports most of it only when it is used.

    pandas is among them because pyarrow imports it by itself, where it is installed, amid the first conversion.
    """
    for name in _LIBRARIES:
        with contextlib.suppress(ModuleNotFoundError):  # Feast's environment has no use for all of them
            importlib.import_module(name)


def open_work(task: str, arguments: dict[str, Any]) -> Work:
    """Imports `module:function` and calls it."""
    module, function = task.split(":")
    work = getattr(importlib.import_module(module), function)(**arguments)
    assert isinstance(work, Work), f"{task} gave a {type(work).__name__}"
    return work


def measure(work: Work, request: dict[str, Any]) -> tuple[list[float], dict[str, Any], Any]:
    """Repeats the work; returns the seconds of every run, the facts of the last one and what it gave."""
    seconds: list[float] = []
    facts: dict[str, Any] = {}
    last: Any = None
    clock = time.perf_counter
    used = 0.0
    for index in range(request["repeats"]):
        last = None  # the answer before is let go first, so that two of them never count as one peak
        start = clock()
        last = work.run(index)
        elapsed = clock() - start
        if isinstance(last, Reading):
            elapsed, facts = last.seconds, last.facts
        seconds.append(elapsed)
        used += elapsed
        if index + 1 >= request["min_repeats"] and used > request["budget_seconds"]:
            break
    return seconds, facts, last


def save_answer(work: Work, last: Any, path: Path) -> bool:
    """Writes the answer as an Arrow file, to be compared in yet another process."""
    table = work.answer(last)
    if table is None:
        return False
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return True


def main(request_path: str, reply_path: str) -> None:
    """Measures the case of the request and writes the reply; the answer is saved after peak memory was read."""
    request = json.loads(Path(request_path).read_text())
    load_libraries()
    work = open_work(request["task"], request["arguments"])
    try:
        seconds, facts, last = measure(work, request)
        # A run that started a process of its own reports that one's memory, if any.
        peak_bytes = facts.pop("peak_bytes", 0) if isinstance(last, Reading) else peak_resident_bytes()
        answered = save_answer(work, last, Path(request["answer_path"])) if request["answer_path"] else False
    finally:
        work.close()
    reply = {"seconds": seconds, "facts": facts, "peak_bytes": peak_bytes, "answered": answered}
    Path(reply_path).write_text(json.dumps(reply))


if __name__ == "__main__":
    main(*sys.argv[1:])
