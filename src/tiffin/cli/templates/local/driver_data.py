"""The generated history of the drivers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tiffin.time import HOUR_US, MINUTE_US

DRIVERS = (1001, 1002, 1003, 1004, 1005)
HOURS = 15 * 24
#: How many hours ago the row of the first driver was that a later row corrects.
CORRECTED_HOURS_AGO = 30
#: Rows are known some minutes after their hour.
DELAY_US = 10 * MINUTE_US
CORRECTION_DELAY_US = 30 * MINUTE_US


def write_driver_stats(path: Path, now_us: int, *, seed: int = 20_130_907) -> int:
    """Write ``driver_stats.parquet``: a row per driver and hour up to ``now_us``, and one correction.

    Args:
        path: the file.
        now_us: the moment at which the history ends, rounded down to the hour.
        seed: the same seed and time give the same file.

    Returns:
        The rows written.
    """
    random = np.random.default_rng(seed)
    last = now_us - now_us % HOUR_US - HOUR_US
    hours = last - HOUR_US * np.arange(HOURS - 1, -1, -1, dtype=np.int64)
    event_us = np.repeat(hours, len(DRIVERS))
    drivers = np.tile(np.array(DRIVERS, np.int64), HOURS)
    known_us = event_us + DELAY_US

    corrected = (HOURS - CORRECTED_HOURS_AGO) * len(DRIVERS)
    event_us = np.append(event_us, event_us[corrected])
    drivers = np.append(drivers, drivers[corrected])
    known_us = np.append(known_us, event_us[corrected] + CORRECTION_DELAY_US)

    rows = len(drivers)
    table = pa.table(
        {
            "event_timestamp": pa.array(event_us, pa.timestamp("us", "UTC")),
            "driver_id": pa.array(drivers, pa.int64()),
            "conv_rate": pa.array(random.random(rows, np.float32)),
            "acc_rate": pa.array(random.random(rows, np.float32)),
            "avg_daily_trips": pa.array(random.integers(0, 1000, rows, np.int64)),
            "created": pa.array(known_us, pa.timestamp("us", "UTC")),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return rows
