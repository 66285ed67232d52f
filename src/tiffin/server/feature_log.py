"""What was served, kept: a sample of the answers of feature services that have a ``LoggingConfig``, as Parquet.

Whether an entity is in the sample depends on a hash of its key alone, so that all of its requests are kept or none.
Rows are written by a thread: into ``<path>/<service>/log_date=<day>/``, a file at a time, under its name only when it
is whole. Columns are called as in Feast's logs: the entity columns, ``view__feature`` with ``__timestamp`` and
``__status``, ``__log_timestamp`` and ``__request_id``; and ``__definitions_version``.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.errors import StoreError, UnsupportedError
from tiffin.online.found import FieldStatus
from tiffin.time import from_us

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.definitions import FeatureService
    from tiffin.online.response import OnlineResponse
    from tiffin.server.logs import JsonLog
    from tiffin.server.metrics import NoMetrics

_HASHES = 1 << 64
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Served:
    """Rows of one answer that are to be kept.

    Attributes:
        service: what was asked for.
        response: the answer.
        rows: the numbers of its rows that are in the sample.
        has_full_names: whether its columns are called ``view__feature`` already.
        request_id: of the request.
        served_us: when it was answered.
        version: of the definitions.
    """

    service: FeatureService
    response: OnlineResponse
    rows: Sequence[int]
    has_full_names: bool
    request_id: str
    served_us: int
    version: int


def sampled_rows(response: OnlineResponse, share: float) -> Sequence[int]:
    """The numbers of the rows whose entity is in the sample."""
    keys = response.keys()
    if share >= 1:
        return range(len(keys)) if keys else range(len(next(iter(response.entities.values()), ())))
    return [number for number, key in enumerate(keys) if _place(key) < share * _HASHES]


def _place(key: tuple[Any, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(_encode(key), digest_size=8).digest(), "big")


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


def write_rows(folder: Path, group: Sequence[Served]) -> None:
    """Write rows of one service and one version of the definitions, a file for each day.

    Raises:
        StoreError: they cannot be written.
        UnsupportedError: they are to be written elsewhere than in a folder; ``apply`` refuses that, older ones did not.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    config = group[0].service.logging_config
    assert config is not None
    root = folder / config.destination.folder / group[0].service.name
    days: dict[str, list[pa.Table]] = {}
    for served in group:
        day = from_us(served.served_us).date().isoformat()
        days.setdefault(day, []).append(log_table(served))
    try:
        for day, tables in days.items():
            part = root / f"log_date={day}" / f"{uuid.uuid4().hex}.parquet"
            part.parent.mkdir(parents=True, exist_ok=True)
            unfinished = part.with_suffix(".unfinished")
            # Columns of the request have the types that Arrow finds, which may differ from one answer to the next.
            pq.write_table(pa.concat_tables(tables, promote_options="permissive"), unfinished)
            os.replace(unfinished, part)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"served features cannot be written to {root}: {error}", subject=str(root)) from error


def log_table(served: Served) -> pa.Table:
    """The rows as they are kept."""
    import pyarrow as pa

    response = served.response
    table = response.to_arrow()
    statuses, times, views = response.statuses(), response.event_us(), response.view_of
    columns: dict[str, Any] = {name: table[name] for name in response.entities}
    moments = pa.timestamp("us", "UTC")
    for name, view in views.items():
        full = name if served.has_full_names else f"{view}__{name}"
        columns[full] = table[name]
        columns[f"{full}__timestamp"] = pa.array(times[name], moments)
        columns[f"{full}__status"] = pa.array([FieldStatus[status].value for status in statuses[name]], pa.int32())
    count = table.num_rows
    columns["__log_timestamp"] = pa.array([served.served_us] * count, moments)
    columns["__request_id"] = pa.array([served.request_id] * count, pa.string())
    columns["__definitions_version"] = pa.array([served.version] * count, pa.int64())
    return pa.table(columns).take(pa.array(served.rows, pa.int64()))


def _groups(waiting: Sequence[Served]) -> list[list[Served]]:
    """Those of one service and one version together: they have the same columns."""
    groups: dict[tuple[str, int, bool], list[Served]] = {}
    for served in waiting:
        groups.setdefault((served.service.name, served.version, served.has_full_names), []).append(served)
    return list(groups.values())
