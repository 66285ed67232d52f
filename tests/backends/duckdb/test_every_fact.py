"""Loads of every fact: all of them once, and those of a key together, in passes and by sorting."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import Aggregation, Entity, FeatureStore, FeatureView, FileSource, RepoConfig
from tiffin.backends.duckdb import load
from tiffin.planning.materialization import plan_load


@pytest.mark.parametrize("part_rows", [1, 30, 100, 1000])
def test_all_facts_of_a_key_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_rows: int) -> None:
    count = 600
    keys = [None if number % 50 == 0 else f"k{number % 37}" for number in range(count)]
    times = pa.array([number * 1000 for number in range(count)], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"k": keys, "ts": times, "x": list(range(count))}), tmp_path / "facts.parquet")
    source = FileSource(path="facts.parquet", timestamp_field="ts")
    view = FeatureView(
        name="v",
        entities=[Entity(name="k", join_keys=["k"])],
        source=source,
        aggregations=[Aggregation("x", "sum", name="s")],
    )
    store = FeatureStore(config=RepoConfig(project="p", repo_path=tmp_path))
    store.apply([view, *view.entity_list])
    now = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
    plan = plan_load(store.context.snapshot().view("v"), start_us=0, end_us=now, now_us=now)
    assert load.every_fact.__kwdefaults__ is not None
    monkeypatch.setitem(load.every_fact.__kwdefaults__, "part_rows", part_rows)
    tables = list(store.context.offline.facts(plan))
    found = [pair for table in tables for pair in zip(table["k"].to_pylist(), table["x"].to_pylist(), strict=True)]
    assert sorted(found, key=lambda pair: pair[1]) == [(k, x) for x, k in enumerate(keys) if k is not None]
    seen: set[str] = set()
    for table in tables:
        here = set(table["k"].to_pylist())
        assert not here & seen
        seen |= here
    assert (len(tables) > 1) == (part_rows < count)
