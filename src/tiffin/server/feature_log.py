"""What was served, kept in the background: rows wait in memory until a thread has written them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tiffin.errors import StoreError, UnsupportedError
from tiffin.operations.feature_log import Served, write_rows

if TYPE_CHECKING:
    from tiffin.server.logs import JsonLog
    from tiffin.server.metrics import NoMetrics


class FeatureLog:
    """Keeps served rows until a thread has written them.

    Args:
        folder: that relative paths are relative to.
        most_rows: how many rows may wait; those above are counted and dropped, so that serving never waits for a disk.
        seconds: how often they are written.
        logs, metrics: where it says what became of them.
    """

    def __init__(self, folder: Path, most_rows: int, seconds: float, logs: JsonLog, metrics: NoMetrics) -> None:
        self._folder = folder
        self._most_rows = most_rows
        self._seconds = seconds
        self._logs = logs
        self._metrics = metrics
        self._waiting: list[Served] = []
        self._rows = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def take(self, served: Served) -> bool:
        """Keep rows, and say whether there was room."""
        with self._lock:
            if self._is_closing or self._rows + len(served.rows) > self._most_rows:
                self._metrics.logged(0, len(served.rows))
                return False
            self._waiting.append(served)
            self._rows += len(served.rows)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="feature-log", daemon=True)
                self._thread.start()
        if self._rows * 2 > self._most_rows:
            self._wake.set()
        return True

    def close(self) -> None:
        """Write what waits, and end."""
        with self._lock:
            self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def flush(self) -> None:
        """Write what waits, now."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        try:
            for group in _groups(waiting):
                self._write(group)
        finally:
            with self._lock:
                self._rows -= sum(len(served.rows) for served in waiting)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(self._seconds)
            self._wake.clear()
            self.flush()
        self.flush()

    def _write(self, group: list[Served]) -> None:
        """Write the rows of one service and version; when that fails they are counted, and serving goes on."""
        rows = sum(len(served.rows) for served in group)
        try:
            write_rows(self._folder, group)
        except (StoreError, UnsupportedError) as error:
            self._metrics.logged(0, rows)
            self._logs.write("feature_log_failed", {"message": error.message, "rows": rows})
        else:
            self._metrics.logged(rows, 0)


def _groups(waiting: Sequence[Served]) -> list[list[Served]]:
    """Those of one service and one version together: they have the same columns."""
    groups: dict[tuple[str, int], list[Served]] = {}
    for served in waiting:
        groups.setdefault((served.service.name, served.response.definitions_version), []).append(served)
    return list(groups.values())
