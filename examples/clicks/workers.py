"""Workers of the stream, as processes of the command line that are killed and started again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_SECONDS = 60


class Workers:
    """Some workers that share a stream.

    Args:
        repository: the feature repository.
        count: how many.
    """

    def __init__(self, repository: Path, count: int) -> None:
        self._command = [sys.executable, "-m", "tiffin.cli", "--chdir", str(repository)]
        self._command += ["stream", "run", "--history", "--json"]
        self._running = [self._started() for _ in range(count)]
        self.killed = 0

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def check(self) -> None:
        """End the example when one of them has ended by itself."""
        for worker in self._running:
            if worker.poll() is not None:
                sys.exit(f"a worker has ended: {worker.communicate()[1]}")

    def kill_one(self) -> None:
        """Kill the first one where it stands, and start another in its place."""
        killed = self._running.pop(0)
        killed.kill()
        killed.communicate()
        self.killed += 1
        self._running.append(self._started())

    def end(self) -> list[dict[str, Any]]:
        """Ask all of them to end; what each did since it was started."""
        for worker in self._running:
            worker.terminate()
        found = []
        for worker in self._running:
            out, errors = worker.communicate(timeout=_SECONDS)
            if worker.returncode:
                sys.exit(f"a worker has failed: {errors}")
            found += json.loads(out)["sources"]
        self._running = []
        return found

    def close(self) -> None:
        """Kill those that still run."""
        for worker in self._running:
            worker.kill()
            worker.communicate()
