"""Starting up: the import of a package and the first command, each in a Python that has loaded nothing yet."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.work import Reading, Work

_HEAVY = ("pandas", "pyarrow", "duckdb", "sqlalchemy", "numpy", "polars", "sqlglot", "pydantic", "rich", "click")
_IMPORT = """
import sys, time
before, start = set(sys.modules), time.perf_counter()
__import__(sys.argv[1])
seconds, loaded = time.perf_counter() - start, set(sys.modules) - before
import json
from benchmarks.child import peak_resident_bytes
heavy = [name for name in sys.argv[2:] if name in loaded]
facts = {"modules": len(loaded), "heavy_modules": heavy, "peak_bytes": peak_resident_bytes()}
print(json.dumps({"seconds": seconds, **facts}))
"""


class Import(Work):
    """Imports a module in a new Python and times the import statement alone."""

    def __init__(self, module: str) -> None:
        self._command = [sys.executable, "-c", _IMPORT, module, *_HEAVY]

    def run(self, index: int) -> Reading:
        """One import; the facts tell how many modules it loaded and which heavy ones are among them."""
        facts = json.loads(_run(self._command))
        return Reading(facts.pop("seconds"), facts)


class Command(Work):
    """Runs a command to its end and times the whole process."""

    def __init__(self, command: list[str]) -> None:
        program, *rest = command
        found = sys.executable if program == "python" else str(Path(sys.executable).parent / program)
        self._command = [found, *rest]

    def run(self, index: int) -> Reading:
        """One run."""
        start = time.perf_counter()
        _run(self._command)
        return Reading(time.perf_counter() - start)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def import_module(**arguments: Any) -> Work:
    """Ready to import."""
    return Import(**arguments)


def run_command(**arguments: Any) -> Work:
    """Ready to run."""
    return Command(**arguments)
