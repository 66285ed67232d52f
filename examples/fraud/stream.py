"""A day lived again: transactions arrive as a stream, shuffled and some of them twice, and payments are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tiffin import FeatureService, FeatureStore, ManualClock

#: What is asked of the store for a payment.
REQUEST = ("card", "merchant", "amount")

#: Facts in a batch, and the share of facts that come a second time.
BATCH, TWICE = 1_000, 0.05


@dataclass(frozen=True)
class Moment:
    """One moment of the day.

    Attributes:
        now: the moment, at which a payment is made.
        requests: ``card``, ``merchant`` and ``amount`` of payments that might be asked for now, and the moment as
            ``event_timestamp``, as a training set wants it.
    """

    now: datetime
    requests: pa.Table


def moments_of(day: pa.Table, count: int, requests: int, random: np.random.Generator) -> list[Moment]:
    """Moments spread over a day's transactions, each to the microsecond that of one of them.

    Args:
        day: the transactions.
        count: how many moments.
        requests: how many payments at each: three quarters are those that come next, the others are of cards and
            merchants that may never have met.
        random: chooses the strangers.
    """
    found = []
    for place in np.linspace(0, day.num_rows - requests, count, dtype=np.int64).tolist():
        coming = day.slice(place, requests * 3 // 4).select(list(REQUEST))
        strangers = requests - coming.num_rows
        anywhere = [day[name].take(pa.array(random.integers(0, day.num_rows, strangers))) for name in REQUEST]
        table = pa.concat_tables([coming, pa.table(anywhere, list(REQUEST))]).combine_chunks()
        now = day["event_timestamp"][place]
        table = table.append_column("event_timestamp", pa.array([now.as_py()] * table.num_rows, now.type))
        found.append(Moment(now.as_py(), table))
    return found


class Stream:
    """Facts on their way from their sources into the online store.

    Args:
        store: where they are pushed to.
        sources: by push source all of its facts, with their ``created``.
        start: facts known by then are there already.
        random: shuffles them.

    Attributes:
        facts: how many were pushed.
        twice: how many of them had been pushed before.
        batches: in how many calls.
        seconds: how long these took.
    """

    def __init__(
        self, store: FeatureStore, sources: Mapping[str, pa.Table], start: datetime, random: np.random.Generator
    ) -> None:
        self._store = store
        self._sources = sources
        self._until = start
        self._random = random
        self.facts = self.twice = self.batches = 0
        self.seconds = 0.0

    def deliver(self, now: datetime) -> None:
        """Push everything that became known up to now, in any order, and some of it again."""
        for source, facts in self._sources.items():
            known = facts["created"]
            new = facts.filter(pc.and_(pc.greater(known, self._until), pc.less_equal(known, now)))
            again = self._random.integers(0, max(1, new.num_rows), round(new.num_rows * TWICE))
            places = self._random.permutation(np.concatenate([np.arange(new.num_rows), again]))
            self.twice += len(again)
            for first in range(0, len(places), BATCH):
                batch = new.take(pa.array(places[first : first + BATCH]))
                began = time.perf_counter()
                self._store.push(source, batch)
                self.seconds += time.perf_counter() - began
                self.facts += batch.num_rows
                self.batches += 1
        self._until = now


def answers(
    store: FeatureStore,
    clock: ManualClock,
    service: FeatureService,
    moments: list[Moment],
    deliver: Callable[[datetime], None] | None = None,
) -> Iterator[tuple[pa.Table, list[Any], list[float]]]:
    """Go through the moments: let the stream come, then read for one payment after the other.

    Yields:
        The features of a moment's requests, row by row; the answers that they are from; and how many milliseconds each
        took.
    """
    for moment in moments:
        clock.set(moment.now)
        if deliver is not None:
            deliver(moment.now)
        tables, responses, took = [], [], list[float]()
        rows: list[dict[str, Any]] = moment.requests.select(list(REQUEST)).to_pylist()
        for row in rows:
            began = time.perf_counter()
            response = store.get_online_features(service, [row])
            response.to_dict()
            took.append((time.perf_counter() - began) * 1e3)
            tables.append(response.to_arrow())
            responses.append(response)
        yield pa.concat_tables(tables), responses, took
