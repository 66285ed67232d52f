"""A process that pushes the facts of a few keys, for `test_windowed_races.py`: `windowed_writer.py CONFIG SEED`.

CONFIG is the settings as JSON. It says `pushing` when it begins to, and ends when it has pushed every fact.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa

from parity.windowed import LIMITS
from tiffin import FeatureStore, ManualClock
from tiffin.config import RepoConfig
from tiffin.operations import timelines

FACTS, KEYS, BATCH = 400, 3, 25
NOW_US = 1_000_000_000


def all_facts() -> pa.Table:
    """Facts with their times, and a value that tells each."""
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "k": pa.array(rng.integers(0, KEYS, FACTS), pa.int64()),
            "ts": pa.array(rng.integers(0, FACTS // 2, FACTS), pa.timestamp("us", "UTC")),
            "x": pa.array(rng.permutation(FACTS), pa.int64()),
        }
    )


def opened(config: str) -> FeatureStore:
    """The store, which makes tiles after a few facts."""
    timelines.Limits = lambda: LIMITS  # type: ignore[misc, assignment]
    return FeatureStore(config=RepoConfig(**json.loads(config)), clock=ManualClock(NOW_US))


def main(config: str, seed: str) -> None:
    """Push every fact, about in order, and many of them twice."""
    rng = np.random.default_rng(int(seed))
    facts = all_facts()
    places = np.concatenate([np.arange(FACTS), rng.integers(0, FACTS, FACTS // 4)])
    event = facts["ts"].cast(pa.int64()).to_numpy()
    places = places[np.argsort(event[places] + rng.uniform(0, 60, len(places)))]
    store = opened(config)
    store.context.initialize()
    print("pushing", flush=True)
    for start in range(0, len(places), BATCH):
        store.push("pushed", facts.take(pa.array(places[start : start + BATCH])))
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
