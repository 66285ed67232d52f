"""A day lived again: at each departure the clock is set, news is loaded, and features are read online."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tiffin import FeatureService, FeatureStore, ManualClock

KEYS = ("carrier", "tailnum", "origin")


@dataclass(frozen=True)
class Moment:
    """One moment of the day: the flights that are due to leave, and what the store said about them.

    Attributes:
        flights: rows of the training set.
        response: what the store said, row by row the same flights.
        answer: the same as a table.
        loaded: facts that became known since the moment before.
        read_ms: how long the online read took.
    """

    now: datetime
    flights: pa.Table
    response: Any
    answer: pa.Table
    loaded: int
    read_ms: float


def moments_of(day: pa.Table, limit: int) -> list[pa.Table]:
    """The flights of a day by moment of departure; of more than ``limit`` moments the busiest ones, in their order."""
    counted = day["event_timestamp"].value_counts()
    times = counted.field("values")
    if limit and len(times) > limit:
        times = times.take(pc.sort_indices(counted.field("counts"), sort_keys=[("", "descending")])[:limit])
    return [day.filter(pc.equal(day["event_timestamp"], moment)) for moment in times.sort()]


def replay(
    store: FeatureStore, clock: ManualClock, service: FeatureService, moments: list[pa.Table], *, load: bool = True
) -> Iterator[Moment]:
    """Go through the moments in order; without ``load`` the store stays as it is."""
    for flights in moments:
        now = flights["event_timestamp"][0].as_py()
        clock.set(now)
        loaded = sum(run.written for run in store.materialize_incremental(now).runs) if load else 0
        rows: dict[str, list[Any]] = {key: flights[key].to_pylist() for key in KEYS}
        start = time.perf_counter()
        response = store.get_online_features(service, rows)
        read_ms = (time.perf_counter() - start) * 1e3
        yield Moment(now, flights, response, response.to_arrow(), loaded, read_ms)


def time_single_reads(store: FeatureStore, service: FeatureService, flights: pa.Table, reads: int) -> list[float]:
    """Milliseconds of online reads for one flight each, with their values as a dict."""
    rows = flights.select(list(KEYS)).slice(0, reads).to_pylist()
    took = []
    for index in range(reads):
        start = time.perf_counter()
        store.get_online_features(service, [rows[index % len(rows)]]).to_dict()
        took.append((time.perf_counter() - start) * 1e3)
    return took
