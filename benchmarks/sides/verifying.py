"""Verifying a log of served features: by the store, and by hand with the store's own retrieval."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.data import data_path, work_folder
from benchmarks.sides.store import define_views, open_store, write_repository
from benchmarks.work import Work

#: One in so many values of the log is another one than training sees, where the log is spoilt.
_SPOILT = 100
#: Rows of the log that are made at once, so that the set-up needs no more memory than what is measured.
_WRITTEN_ROWS = 100_000


class Verification(Work):
    """A log of vectors of twenty features, that are what training sees or, where `spoilt`, mostly so.

    With `by_hand` the log is read, its rows are joined by `get_historical_features`, and the bits of every column are
    compared in numpy: nothing is typed, explained, measured or kept, and all of it is in memory at once.
    """

    def __init__(self, spine: str, facts: list[str], *, spoilt: bool, by_hand: bool = False) -> None:
        from tiffin import FeatureService, FileLoggingDestination, LoggingConfig

        folder = work_folder()
        write_repository(folder, "tiffin", mode="known")
        self._store = open_store("tiffin", folder)
        definitions = define_views("tiffin", facts, created=True, ttl_days=30)
        logged = LoggingConfig(FileLoggingDestination(path="served"))
        self._service = FeatureService(name="model", features=definitions[1:], logging_config=logged)
        self._store.apply([*definitions, self._service])
        self._by_hand, self._folder = by_hand, folder / "served" / "model"
        rows = pq.read_table(data_path(spine), columns=["key", "event_timestamp"])
        for start in range(0, rows.num_rows, _WRITTEN_ROWS):
            part = rows.slice(start, _WRITTEN_ROWS)
            self._store.write_logged_features(self._log(part, spoilt), self._service)

    def _log(self, rows: pa.Table, spoilt: bool) -> pa.Table:
        served = self._store.get_historical_features(rows, self._service, full_feature_names=True).to_arrow()
        random, times = np.random.default_rng(3), rows["event_timestamp"]
        present = pa.array(np.ones(rows.num_rows, np.int32))
        columns: dict[str, Any] = {"key": rows["key"], "__log_timestamp": times}
        columns["__definitions_version"] = pa.array(np.ones(rows.num_rows, np.int64))
        for name in served.column_names[2:]:
            column = served[name].combine_chunks()
            if spoilt:
                shifted = column.take(pa.array(np.roll(np.arange(len(column)), 1)))
                wrong = pa.array(random.integers(0, _SPOILT, len(column)) == 0)
                column = pc.if_else(wrong, shifted, column)
            columns |= {name: column, f"{name}__timestamp": times, f"{name}__status": present}
        return pa.table(columns)

    def run(self, index: int) -> pa.Table:
        """Verifies the log; gives for each feature the number of values that differ."""
        if self._by_hand:
            return self._compared()
        (service,) = self._store.verify(self._service).services
        return pa.table(
            {
                "feature": [each.feature.replace(":", "__") for each in service.features],
                "different": [each.different for each in service.features],
            }
        )

    def _compared(self) -> pa.Table:
        log = pq.read_table(self._folder, partitioning=None)
        rows = log.select(["key", "__log_timestamp"]).rename_columns(["key", "event_timestamp"])
        found = self._store.get_historical_features(rows, self._service, full_feature_names=True).to_arrow()
        names = found.column_names[2:]
        return pa.table({"feature": names, "different": [_different(log[name], found[name]) for name in names]})

    def answer(self, last: pa.Table) -> pa.Table:
        """What the last run gave."""
        return last

    def close(self) -> None:
        """Closes the store."""
        self._store.close()


def _different(served: pa.ChunkedArray, expected: pa.ChunkedArray) -> int:
    one, other = (each.combine_chunks() for each in (served, expected))
    null = [each.is_null().to_numpy(zero_copy_only=False) for each in (one, other)]
    bits = [each.fill_null(0).to_numpy().view(np.int64) for each in (one, other)]
    return int(np.sum(np.where(null[0] | null[1], null[0] != null[1], bits[0] != bits[1])))


def verification(**arguments: Any) -> Work:
    """A log, ready to be verified."""
    return Verification(**arguments)
