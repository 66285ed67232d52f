"""Processes that push the same facts of the same keys at once, some of them killed at any moment and run again.

Whatever they do to one another, what is there in the end is the set of the facts, and no tile is lost (STR-1).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.windowed_writer import FACTS, KEYS, all_facts, opened
from servers import PATIENT, need_module, postgres_server, redis_server
from tiffin import Aggregation, Entity, FeatureView, FileSource, PushSource
from tiffin.operations import timelines
from tiffin.operations.online import timelines_of
from tiffin.operations.timeline_tables import all_timelines, sweep_tiles
from tiffin.types import ValueType

WRITERS = 4
SERVERS = [
    pytest.param(kind, marks=[pytest.mark.service, pytest.mark.xdist_group(f"raced windows on {kind}")])
    for kind in ("redis", "postgres")
]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    # ``opened`` makes it smaller in the process that it runs in; it is put back afterwards.
    monkeypatch.setattr(timelines, "Limits", timelines.Limits)


@pytest.fixture(params=["sqlite", "lmdb", *SERVERS])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The settings of a project whose store many processes use."""

    def settings(section: dict[str, object]) -> str:
        registry = str(tmp_path / "registry.db")
        return json.dumps(
            {"project": "raced", "repo_path": str(tmp_path), "registry": registry, "online_store": section}
        )

    if request.param == "redis":
        with redis_server() as server:
            yield settings({"type": "redis", "connection_string": f"127.0.0.1:{server.port}", **PATIENT})
    elif request.param == "postgres":
        with postgres_server() as postgres:
            yield settings({"type": "postgres", "connection_string": postgres.url, **PATIENT})
    else:
        if request.param == "lmdb":
            need_module("lmdb", "lmdb")
        yield settings({"type": request.param, "path": "online"})


def started(config: str, seed: int) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, str(here / "windowed_writer.py"), config, str(seed)]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process


def killed(config: str, seed: int, seconds: float) -> None:
    """A writer that is killed so long after it began to push, if it is not done by then."""
    with started(config, seed) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "pushing\n"
        try:
            assert process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            process.kill()


def race(config: str, folder: Path, kills: int) -> None:
    pq.write_table(all_facts().slice(0, 0), folder / "facts.parquet")
    store = opened(config)
    key = Entity(name="k", value_type=ValueType.INT64)
    source = PushSource(name="pushed", batch_source=FileSource(path="facts.parquet", timestamp_field="ts"))
    aggregations = [Aggregation("x", "sum", name="s"), Aggregation("*", "count", name="n")]
    store.apply([key, FeatureView(name="v", entities=[key], source=source, aggregations=aggregations)])
    chance = random.Random(kills)
    writers = [started(config, seed) for seed in range(WRITERS)]
    try:
        for number in range(kills):
            killed(config, 100 + number, chance.uniform(0, 0.5))
        # What was killed is run again; here by the others, who push every fact as well.
        assert [process.wait(100) for process in writers] == [0] * WRITERS
    finally:
        for process in writers:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()
    context = store.context
    table = context.snapshot().storage("v").table
    codec = timelines_of(context, context.snapshot().view("v")).codec
    expected: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    facts = all_facts()
    columns = (facts["k"], facts["ts"].cast(pa.int64()), facts["x"])
    for k, us, x in zip(*(column.to_pylist() for column in columns), strict=True):
        expected[k].add((us, x))
    found = []
    named = 0
    for _, timeline, held in all_timelines(context.online, table, codec):
        assert timeline.tiles
        named += 1 + len(timeline.tiles)
        rows = list(zip(held.event.tolist(), codec.array(held, "x").to_pylist(), strict=True))
        assert len(rows) == len(set(rows))
        found.append(set(rows))
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected.values()))
    answer = store.get_online_features(["v"], {"k": list(range(KEYS))}).to_dict()
    assert answer["n"] == [len(expected[k]) for k in range(KEYS)]
    assert answer["s"] == [sum(x for _, x in expected[k]) for k in range(KEYS)]
    assert sum(answer["n"]) == FACTS
    left = sum(1 for _ in context.online.scan_all(table)) - named
    assert sweep_tiles(context.online, table) == left
    assert sum(1 for _ in context.online.scan_all(table)) == named
    store.close()


def test_raced_and_killed_writers_leave_the_set_of_the_facts(config: str, tmp_path: Path) -> None:
    race(config, tmp_path, 3)


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_many_killed_writers_leave_the_set_of_the_facts(config: str, tmp_path: Path) -> None:
    race(config, tmp_path, 100)
