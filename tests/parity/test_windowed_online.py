"""Windows online equal windows for training and the reference, at now, whatever came in whatever order (STR-4)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parity.windowed import LIMITS, SPREAD_US, TIME, World
from tiffin import Aggregation, Entity, FeatureStore, FeatureView, FileSource, ManualClock, PushMode
from tiffin.config import RepoConfig
from tiffin.operations import timelines
from tiffin.types import ValueType


@pytest.fixture(autouse=True)
def tiles_after_a_few_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "Limits", lambda: LIMITS)


class Windows(RuleBasedStateMachine):
    """Pushes early, late and again, loads of any interval, deletes, full refreshes, other processes, and time."""

    online = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())

    @initialize(seed=st.integers(0, 2**32 - 1))
    def begin(self, seed: int) -> None:
        self.world = World(self.folder, {"type": self.online}, seed)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()
        shutil.rmtree(self.folder)

    places = st.lists(st.integers(0, 79), min_size=1, max_size=20)

    @rule(places=places, to=st.sampled_from([PushMode.ONLINE, PushMode.ONLINE, PushMode.ONLINE_AND_OFFLINE]))
    def push(self, places: list[int], to: PushMode) -> None:
        self.world.push(places, to)

    @rule(first=st.integers(0, 60))
    def push_in_order(self, first: int) -> None:
        self.world.push(np.argsort(self.world.case.event, kind="stable")[first : first + 20].tolist())

    @rule(places=places)
    def record(self, places: list[int]) -> None:
        self.world.record(places)

    @rule(ago=st.integers(-2, 30), length=st.integers(0, 30))
    def materialize(self, ago: int, length: int) -> None:
        end_us = self.world.now_us - ago * SPREAD_US
        self.world.materialize(end_us - length * SPREAD_US, end_us)

    @rule(ago=st.integers(-2, 10))
    def materialize_incremental(self, ago: int) -> None:
        self.world.materialize_incremental(self.world.now_us - ago * SPREAD_US)

    @precondition(lambda self: self.world.history)
    @rule()
    def refresh(self) -> None:
        self.world.refresh()

    @rule(keys=st.lists(st.integers(0, 2), min_size=1, max_size=2, unique=True))
    def delete(self, keys: list[int]) -> None:
        self.world.delete(keys)

    @rule(spreads=st.integers(0, 20), more=st.integers(-1, 1))
    def advance(self, spreads: int, more: int) -> None:
        self.world.advance(spreads * SPREAD_US + more)

    @rule()
    def reopen(self) -> None:
        self.world.reopen()

    @invariant()
    def all_are_equal(self) -> None:
        if hasattr(self, "world"):
            self.world.check()


class WindowsInSqlite(Windows):
    online = "sqlite"


FEW = settings(max_examples=6, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
TestWindows = Windows.TestCase
TestWindows.settings = FEW
TestWindowsInSqlite = WindowsInSqlite.TestCase
TestWindowsInSqlite.settings = FEW


def test_every_store_serves_what_the_rules_say(section: dict[str, object], tmp_path: Path) -> None:
    world = World(tmp_path, section, 11)
    for _ in range(12 if section["type"] == "dynamodb" else 25):
        world.step()
    world.close()


def test_no_keys_have_no_values(tmp_path: Path) -> None:
    facts = {"k": [1], "ts": pa.array([0], TIME), "x": [1.0]}
    pq.write_table(pa.table(facts), tmp_path / "facts.parquet")
    source = FileSource(path="facts.parquet", timestamp_field="ts")
    entity = Entity(name="k", value_type=ValueType.INT64)
    sums = [Aggregation("x", "sum", name="total"), Aggregation("x", "count", name="times")]
    config = RepoConfig(project="none", repo_path=tmp_path, online_store={"type": "memory"})
    with FeatureStore(config=config, clock=ManualClock(0)) as store:
        store.apply([entity, FeatureView(name="v", entities=[entity], source=source, aggregations=sums)])
        answer = store.get_online_features(["v"], [])
        assert answer.to_dict() == {"k": [], "total": [], "times": []}
        assert answer.to_arrow().num_rows == 0


@pytest.mark.deep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("worker", range(2))
def test_a_million_cells_online_equal_the_reference(worker: int, tmp_path: Path) -> None:
    """At least half a million cells (window, key, now) per worker, 0 different; a tenth of them for training too."""
    wanted = int(os.environ.get("TIFFIN_DEEP_CELLS", "500_000"))
    cells = number = 0
    while cells < wanted:
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder, {"type": "memory"}, number * 2 + worker, facts=150, asks=15)
        for step in range(80):
            world.step(offline=step % 10 == 0)
            for _ in range(4):
                world.advance(int(world.rng.integers(0, 3)) * SPREAD_US // 2 + int(world.rng.integers(-1, 2)))
                world.check(offline=False)
        cells += world.cells
        number += 1
        world.close()
    print(f"{cells} cells compared in {number} runs, 0 different")
