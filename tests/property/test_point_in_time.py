"""The engine equals the reference: random facts and entity rows, dense in ties, nulls, duplicates and ttl edges."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.backends.duckdb.offline import DuckDBEngine
from tiffin.definitions import Entity, FeatureView, Field, FileSource
from tiffin.online.rows import payload_bytes
from tiffin.operations.entity_rows import EntityRows
from tiffin.planning.references import resolve_features
from tiffin.planning.retrieval import plan_retrieval
from tiffin.registry.snapshot import Snapshot, ViewStorage, entry_of
from tiffin.semantics.oracle import Fact, offline_cell
from tiffin.types import Float64, Int64, String, ValueType, arrow_type

FEATURES = (("x", Int64), ("y", Float64), ("word", String))
LAYOUT = tuple((name, repr(dtype)) for name, dtype in FEATURES)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Shape:
    """What a random case looks like; the content follows from the seed."""

    seed: int
    facts: int
    rows: int
    keys: int
    moments: int
    key_type: str
    two_keys: bool
    created: bool
    created_nulls: bool
    only_known: bool
    ttl: int | None
    nanoseconds: bool
    files: int
    spread: int = 1


shapes = st.builds(
    Shape,
    seed=st.integers(0, 2**32 - 1),
    facts=st.integers(0, 120),
    rows=st.integers(0, 120),
    keys=st.integers(1, 6),
    moments=st.sampled_from([1, 3, 10, 50]),
    key_type=st.sampled_from(["int", "text"]),
    two_keys=st.booleans(),
    created=st.booleans(),
    created_nulls=st.booleans(),
    only_known=st.booleans(),
    ttl=st.sampled_from([None, 1, 2, 7]),
    nanoseconds=st.booleans(),
    files=st.integers(1, 3),
    spread=st.sampled_from([1, 1_000_003, 86_400_000_000]),
)


class Case:
    """Facts in files, entity rows, and the reference's view of both."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(shape.seed)
        self.folder = folder
        self.facts = self._facts()
        self.frame = self._frame()

    def _times(self, count: int) -> np.ndarray:
        """Microseconds on few moments, around the epoch too, so that ties and ttl edges are common."""
        return (self.rng.integers(0, self.shape.moments, count) - 2) * self.shape.spread

    def _keys(self, count: int, *, nulls: bool) -> pa.Array:
        drawn = self.rng.integers(0, self.shape.keys, count)
        texts = ["", "a", "a|b", "1", "é", "longer text"]
        values: list[object] = [int(v) for v in drawn] if self.shape.key_type == "int" else [texts[v] for v in drawn]
        if nulls:
            values = [None if self.rng.random() < 0.1 else v for v in values]
        return pa.array(values, pa.int64() if self.shape.key_type == "int" else pa.string())

    def _time_column(self, micros: np.ndarray) -> pa.Array:
        if not self.shape.nanoseconds:
            return pa.array(micros, pa.timestamp("us", "UTC"))
        return pa.array(micros * 1000 + self.rng.integers(0, 1000, len(micros)), pa.timestamp("ns"))

    def _facts(self) -> pa.Table:
        n, rng = self.shape.facts, self.rng
        event = self._times(n)
        created = event + rng.integers(-1, 3, n) * self.shape.spread
        columns = {"k0": self._keys(n, nulls=True), "k1": self._keys(n, nulls=False), "ts": self._time_column(event)}
        if self.shape.created:
            mask = rng.random(n) < 0.1 if self.shape.created_nulls else np.zeros(n, bool)
            columns["created"] = pa.array(created, pa.timestamp("us", "UTC"), mask=mask)
        columns["x"] = pa.array(rng.integers(0, 3, n), pa.int64(), mask=rng.random(n) < 0.2)
        floats = rng.choice([0.0, -0.0, 1.5, np.nan, np.inf], n)
        columns["y"] = pa.array(floats, pa.float64(), mask=rng.random(n) < 0.2, from_pandas=False)
        columns["word"] = pa.array(rng.choice(["", "b", "bb"], n), pa.string(), mask=rng.random(n) < 0.2)
        table = pa.table(columns)
        for number, part in enumerate(np.array_split(rng.permutation(n), self.shape.files)):
            pq.write_table(table.take(pa.array(part)), self.folder / f"part-{number}.parquet", row_group_size=16)
        return table

    def _frame(self) -> pa.Table:
        n = self.shape.rows
        times = self._times(n) + self.rng.integers(-1, 2, n)
        return pa.table(
            {
                "k0": self._keys(n, nulls=True),
                "label": pa.array(range(n), pa.int64()),
                "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
                "k1": self._keys(n, nulls=False),
            }
        )

    def reference_facts(self) -> dict[tuple, list[Fact]]:
        """The facts by key, as the rules see them."""
        names = [name for name, _ in FEATURES]
        typed = self.facts.select(names).cast(pa.schema([(n, arrow_type(t)) for n, t in FEATURES]))
        by_key: dict[tuple, list[Fact]] = defaultdict(list)
        events = self.facts["ts"].cast(pa.int64()).to_pylist()
        known = self.facts["created"].cast(pa.int64()).to_pylist() if self.shape.created else [None] * len(events)
        keys = zip(self.facts["k0"].to_pylist(), self.facts["k1"].to_pylist(), strict=True)
        contents = zip(typed.to_pylist(), payload_bytes(LAYOUT, typed), strict=True)
        for (k0, k1), event, seen, (payload, encoded) in zip(keys, events, known, contents, strict=True):
            key = (k0, k1) if self.shape.two_keys else (k0,)
            event_us = event // 1000 if self.shape.nanoseconds else event
            by_key[key].append(Fact(key, event_us, event_us if seen is None else seen, payload, 0, encoded))
        return by_key

    @property
    def ttl_us(self) -> int | None:
        return None if self.shape.ttl is None else self.shape.ttl * self.shape.spread

    def snapshot(self) -> Snapshot:
        value_type = ValueType.INT64 if self.shape.key_type == "int" else ValueType.STRING
        entities = [Entity(name=f"e{i}", join_keys=[f"k{i}"], value_type=value_type) for i in range(2)]
        entities = entities if self.shape.two_keys else entities[:1]
        created = "created" if self.shape.created else ""
        source = FileSource(path=str(self.folder), name="s", timestamp_field="ts", created_timestamp_column=created)
        view = FeatureView(
            name="v",
            source=source,
            entities=entities,
            schema=[Field(name=name, dtype=dtype) for name, dtype in FEATURES],
            ttl=timedelta(microseconds=self.ttl_us or 0),
        )
        storage = ViewStorage(1, "v", (LAYOUT,))
        return Snapshot("p", 1, (*map(entry_of, entities), entry_of(source), entry_of(view, storage)))


def engine_answer(case: Case, frame: pa.Table | None = None):
    snapshot = case.snapshot()
    plan = plan_retrieval(snapshot, resolve_features(snapshot, ["v"]), only_known=case.shape.only_known)
    engine = DuckDBEngine.from_config({"threads": 1}, str(case.folder))
    try:
        (joined,) = engine.join(plan, EntityRows.from_any(case.frame if frame is None else frame).spine(plan.keys))
    finally:
        engine.close()
    return joined


def reference_answer(case: Case):
    facts = case.reference_facts()
    mode = "known" if case.shape.only_known else "event"
    cells = []
    times = case.frame["event_timestamp"].cast(pa.int64()).to_pylist()
    for k0, k1, t in zip(case.frame["k0"].to_pylist(), case.frame["k1"].to_pylist(), times, strict=True):
        key = (k0, k1) if case.shape.two_keys else (k0,)
        cells.append(offline_cell(facts.get(key, []), key, t, mode, case.ttl_us))
    return cells


def check(shape: Shape, folder: Path) -> int:
    """Compare one case cell by cell and count by count; returns the entity rows compared."""
    case = Case(shape, folder)
    joined, cells = engine_answer(case), reference_answer(case)
    names = [name for name, _ in FEATURES]
    expected = [repr([None if c.fact is None else c.fact.payload[n] for n in names]) for c in cells]
    found = [repr([row[n] for n in names]) for row in joined.features.to_pylist()]
    assert found == expected
    report = joined.report
    assert (report.rows, report.matched) == (len(cells), sum(c.outcome == "matched" for c in cells))
    assert report.expired == sum(c.outcome == "expired" for c in cells)
    assert report.missing == sum(c.outcome == "missing" for c in cells)
    assert report.ties == sum(c.tied for c in cells)
    assert report.known_later == sum(c.known_later for c in cells)
    return len(cells)


@given(shape=shapes)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_engine_gives_what_the_rules_say(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> None:
    check(shape, tmp_path_factory.mktemp("facts"))


@given(shape=shapes)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_after_t_moves_an_answer(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Poison the future: facts after the last entity time change neither a value nor a count (PIT-5)."""
    case = Case(shape, tmp_path_factory.mktemp("facts"))
    before = engine_answer(case)
    if not shape.facts or not shape.rows:
        return
    last = max(case.frame["event_timestamp"].cast(pa.int64()).to_pylist())
    poison = case.facts
    later = pa.array([last + 1 + i for i in range(shape.facts)], pa.timestamp("us", "UTC"))
    at = poison.schema.get_field_index("ts")
    poison = poison.set_column(at, "ts", later.cast(pa.timestamp("ns")) if shape.nanoseconds else later)
    pq.write_table(poison, case.folder / "poison.parquet")
    after = engine_answer(case)
    assert repr(after.features.to_pylist()) == repr(before.features.to_pylist())
    assert after.report == before.report


@given(shape=shapes, cut=st.integers(0, 120))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_splitting_the_entity_rows_changes_nothing(
    shape: Shape, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """PIT-5: rows in pieces and in another order give the same values."""
    case = Case(shape, tmp_path_factory.mktemp("facts"))
    whole = engine_answer(case).features.to_pylist()
    cut = min(cut, shape.rows)
    pieces = [case.frame.slice(0, cut), case.frame.slice(cut)]
    split = [row for piece in pieces for row in engine_answer(case, piece).features.to_pylist()]
    assert repr(split) == repr(whole)
    turned = engine_answer(case, case.frame.take(pa.array(range(shape.rows - 1, -1, -1), pa.int64())))
    assert repr(turned.features.to_pylist()) == repr(whole[::-1])


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("worker", range(2))
def test_ten_million_rows_equal_the_reference(worker: int, tmp_path: Path) -> None:
    """At least 5 million entity rows per worker, in cases far larger than the ones above."""
    wanted = int(os.environ.get("TIFFIN_DEEP_ROWS", "5_000_000"))
    rng = np.random.default_rng(worker)
    compared = number = 0
    while compared < wanted:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        shape = Shape(
            seed=int(rng.integers(2**32)),
            facts=int(rng.integers(1, 40)),
            rows=int(rng.integers(100_000, 400_000)),
            keys=6,
            moments=int(rng.choice([3, 10, 50])),
            key_type=str(rng.choice(["int", "text"])),
            two_keys=bool(rng.integers(2)),
            created=bool(rng.integers(2)),
            created_nulls=bool(rng.integers(2)),
            only_known=bool(rng.integers(2)),
            ttl=[None, 1, 2, 7][rng.integers(4)],
            nanoseconds=bool(rng.integers(2)),
            files=int(rng.integers(1, 4)),
            spread=int(rng.choice([1, 1_000_003, 86_400_000_000])),
        )
        compared += check(shape, folder)
    print(f"{compared} entity rows compared in {number} cases, 0 different")
