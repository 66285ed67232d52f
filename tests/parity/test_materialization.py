"""MAT-1 to MAT-4 and WR-7: covers of a range, the cursor, late facts, failing stores, killed runs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parity.loads import END_US, HOUR_US, KEYS, NOW_US, TABLE, big_view, content, small_batches, write_big
from parity.repository import Repository, open_repository
from servers import PATIENT, need_module, postgres_server, redis_server
from tiffin.backends.duckdb import load
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.online import WriteBatch, WriteResult
from tiffin.definitions import Entity, FeatureView, Field, FileSource
from tiffin.errors import MaterializationError, RequestError, StoreFullError
from tiffin.operations.materialize import materialize, materialize_incremental
from tiffin.operations.online import read_online
from tiffin.planning.materialization import Cursor
from tiffin.time import MIN_US, ManualClock
from tiffin.types import Int64, ValueType

UTC_US = pa.timestamp("us", "UTC")


@pytest.fixture
def batches_of_2048() -> Iterator[None]:
    """DuckDB hands out rows in vectors of 2,048; smaller batches are not to be had."""
    before = dict(load.newest_facts.__kwdefaults__)
    small_batches()
    yield
    load.newest_facts.__kwdefaults__.update(before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, bytes]:
    """What one run over everything leaves in the store."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_big(folder)
    repository = open_repository(folder, [big_view()], clock=ManualClock(NOW_US))
    materialize_incremental(repository, END_US)
    rows = content(repository.online)
    repository.close()
    return rows


def cursor_of(repository: Repository, table: str = TABLE) -> Cursor | None:
    return Cursor.from_bytes(repository.online.get_cursor(table))


# --- MAT-1 -----------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cover_of_a_range_leaves_the_same_bytes(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Intervals in any order, overlapping or repeated, over facts dense in ties."""
    folder, rng = tmp_path_factory.mktemp("cover"), random.Random(seed)
    facts = [(rng.randrange(4), rng.randrange(12), rng.randrange(3), rng.randrange(4)) for _ in range(60)]
    write_small(folder / "small.parquet", facts)
    start, end = NOW_US - 11 * HOUR_US, NOW_US
    cuts = sorted({start, end + 1, *(rng.randrange(start, end + 1) for _ in range(rng.randrange(5)))})
    cover = [(a, b - 1) for a, b in pairwise(cuts)]
    cover += [tuple(sorted((rng.randrange(start, end), rng.randrange(start, end)))) for _ in range(rng.randrange(4))]
    cover += rng.choices(cover, k=rng.randrange(3))
    rng.shuffle(cover)
    whole = loaded(folder, [(start, end)])
    assert whole
    assert loaded(folder, cover) == whole


def loaded(folder: Path, intervals: list[tuple[int, int]]) -> dict[bytes, bytes]:
    repository = open_repository(folder, [small_view()], clock=ManualClock(NOW_US))
    for start, end in intervals:
        materialize(repository, start, end)
    rows = content(repository.online, "tests.small.1")
    repository.close()
    return rows


def small_view(ttl: timedelta = timedelta(0)) -> FeatureView:
    source = FileSource(path="small*.parquet", name="small", timestamp_field="ts", created_timestamp_column="created")
    driver = Entity(name="driver", value_type=ValueType.INT64)
    return FeatureView(name="small", source=source, entities=[driver], schema=[Field(name="x", dtype=Int64)], ttl=ttl)


def write_small(file: Path, facts: list[tuple[int, int, int, int]]) -> None:
    """Facts as (driver, hours before now, hours until known, x)."""
    drivers, ages, delays, values = zip(*facts, strict=True)
    events = [NOW_US - age * HOUR_US for age in ages]
    known = [event + delay * HOUR_US for event, delay in zip(events, delays, strict=True)]
    columns = {"ts": pa.array(events, UTC_US), "created": pa.array(known, UTC_US)}
    partial = file.with_suffix(".partial")
    pq.write_table(
        pa.table({"driver": pa.array(drivers, pa.int64()), "x": pa.array(values, pa.int64())} | columns), partial
    )
    os.replace(partial, file)


def test_both_ends_of_an_interval_belong_to_it(tmp_path: Path) -> None:
    write_small(tmp_path / "small.parquet", [(1, 5, 0, 15), (2, 3, 0, 23), (3, 6, 0, 36), (4, 2, 0, 42)])
    repository = open_repository(tmp_path, [small_view()], clock=ManualClock(NOW_US))
    materialize(repository, NOW_US - 5 * HOUR_US, NOW_US - 3 * HOUR_US)
    assert values(repository, [1, 2, 3, 4]) == [15, 23, None, None]
    repository.close()


def test_interval_that_is_turned_round_is_refused(tmp_path: Path) -> None:
    write_small(tmp_path / "small.parquet", [(1, 5, 0, 15)])
    repository = open_repository(tmp_path, [small_view()], clock=ManualClock(NOW_US))
    with pytest.raises(RequestError, match="after end_date"):
        materialize(repository, NOW_US, NOW_US - 1)
    assert content(repository.online, "tests.small.1") == {}
    repository.close()


def values(repository: Repository, drivers: list[int]) -> list[object]:
    return read_online(repository, ["small:x"], {"driver": drivers}).to_dict()["x"]


# --- MAT-2, WR-7 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-HOUR_US, 0, HOUR_US])
def test_cursor_stays_within_end_and_now(ahead: int, tmp_path: Path) -> None:
    write_small(tmp_path / "small.parquet", [(1, age, 0, age) for age in (-2, -1, 0, 1, 2)])
    repository = open_repository(tmp_path, [small_view()], clock=ManualClock(NOW_US))
    assert cursor_of(repository, "tests.small.1") is None
    materialize_incremental(repository, NOW_US + ahead)
    cursor = cursor_of(repository, "tests.small.1")
    assert cursor is not None
    assert cursor.end_us == min(NOW_US + ahead, NOW_US)
    assert values(repository, [1]) == [1 if ahead < 0 else 0]
    repository.close()


def test_materialize_leaves_the_cursor_alone(tmp_path: Path) -> None:
    """A load of some interval says nothing about what is before it."""
    write_small(tmp_path / "small.parquet", [(1, 10, 0, 1), (2, 1, 0, 2)])
    repository = open_repository(tmp_path, [small_view()], clock=ManualClock(NOW_US))
    materialize(repository, NOW_US - 2 * HOUR_US, NOW_US)
    assert cursor_of(repository, "tests.small.1") is None
    materialize_incremental(repository, NOW_US)
    assert values(repository, [1, 2]) == [1, 2]
    repository.close()


class FullStore(MemoryOnlineStore):
    """Has no room left at the n-th write of facts, once."""

    def __init__(self, fails_at: int, after: bool) -> None:
        super().__init__()
        self.left, self.after = fails_at, after

    def write(self, batch: WriteBatch) -> WriteResult:
        if batch.table != TABLE:
            return super().write(batch)
        self.left -= 1
        if self.left == 0 and not self.after:
            raise StoreFullError("no room left", hint="make room")
        result = super().write(batch)
        if self.left == 0:
            raise StoreFullError("no room left", hint="make room")
        return result


@pytest.mark.usefixtures("batches_of_2048")
@pytest.mark.parametrize(("fails_at", "after"), [(1, False), (2, True), (4, False), (5, True)])
def test_store_that_fails_midway_claims_nothing_and_a_rerun_converges(
    fails_at: int, after: bool, tmp_path: Path, undisturbed: dict[bytes, bytes]
) -> None:
    write_big(tmp_path)
    store = FullStore(fails_at, after)
    repository = open_repository(tmp_path, [big_view()], clock=ManualClock(NOW_US), online=store)
    with pytest.raises(MaterializationError, match="no room left") as caught:
        materialize_incremental(repository, END_US)
    assert "running it again converges" in caught.value.hint
    assert isinstance(caught.value.__cause__, StoreFullError)
    assert cursor_of(repository) is None
    assert content(store) != undisturbed
    (run,) = repository.registry.runs("tests")
    assert (run.view, run.error) == ("big", "no room left")
    materialize_incremental(repository, END_US)
    assert content(store) == undisturbed
    assert cursor_of(repository) is not None
    runs = repository.registry.runs("tests")
    assert [run.error for run in runs] == ["", "no room left"]
    assert runs[0].written + runs[0].stale == runs[0].rows >= KEYS
    repository.close()


class ForgetfulStore(MemoryOnlineStore):
    """Fails when the cursor is put, after every row was written."""

    fails = True

    def put_cursor(self, table: str, cursor: bytes) -> None:
        if self.fails:
            raise StoreFullError("no room for a cursor")
        super().put_cursor(table, cursor)


def test_cursor_that_cannot_be_kept_is_an_error_and_a_rerun_converges(
    tmp_path: Path, undisturbed: dict[bytes, bytes]
) -> None:
    write_big(tmp_path)
    store = ForgetfulStore()
    repository = open_repository(tmp_path, [big_view()], clock=ManualClock(NOW_US), online=store)
    with pytest.raises((MaterializationError, StoreFullError), match="no room for a cursor"):
        materialize_incremental(repository, END_US)
    store.fails = False
    materialize_incremental(repository, END_US)
    assert content(store) == undisturbed
    repository.close()


def test_failing_view_names_what_is_loaded_and_what_is_not(tmp_path: Path) -> None:
    write_small(tmp_path / "small.parquet", [(1, 1, 0, 1)])
    driver = Entity(name="driver", value_type=ValueType.INT64)

    def view(name: str, path: str) -> FeatureView:
        source = FileSource(path=path, name=f"{name}_source", timestamp_field="ts", created_timestamp_column="created")
        return FeatureView(name=name, source=source, entities=[driver], schema=[Field(name="x", dtype=Int64)])

    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    views = [view("a", "small.parquet"), view("b", "broken.parquet"), view("c", "small.parquet")]
    repository = open_repository(tmp_path, views, clock=ManualClock(NOW_US))
    with pytest.raises(MaterializationError) as caught:
        materialize_incremental(repository, NOW_US, ["a", "b", "c"])
    message = str(caught.value)
    assert "feature view b" in message
    assert "loaded before: a" in message
    assert "not begun: c" in message
    assert content(repository.online, "tests.a.1")
    assert content(repository.online, "tests.b.1") == {}
    assert cursor_of(repository, "tests.b.1") is None
    assert {run.view: bool(run.error) for run in repository.registry.runs("tests")} == {"a": False, "b": True}
    repository.close()


# --- MAT-3 -----------------------------------------------------------------------------------------------------------


def test_late_fact_in_a_new_file_is_loaded_by_the_next_run(tmp_path: Path) -> None:
    """Its event time and its known time are both long past; only the file tells that it is new."""
    clock = ManualClock(NOW_US)
    write_small(tmp_path / "small.parquet", [(1, 5, 0, 1)])
    repository = open_repository(tmp_path, [small_view()], clock=clock)
    materialize_incremental(repository, clock.now_us())
    clock.advance(timedelta(hours=1))
    write_small(tmp_path / "small-late.parquet", [(1, 4, 0, 2), (2, 90, 0, 3)])
    materialize_incremental(repository, clock.now_us())
    assert values(repository, [1, 2]) == [2, 3]
    repository.close()


def test_late_fact_in_a_rewritten_file_is_loaded_by_the_next_run(tmp_path: Path) -> None:
    clock = ManualClock(NOW_US)
    write_small(tmp_path / "small.parquet", [(1, 5, 0, 1)])
    repository = open_repository(tmp_path, [small_view()], clock=clock)
    materialize_incremental(repository, clock.now_us())
    write_small(tmp_path / "small.parquet", [(1, 5, 0, 1), (1, 4, 0, 2), (2, 90, 0, 3)])
    materialize_incremental(repository, clock.now_us())
    assert values(repository, [1, 2]) == [2, 3]
    repository.close()


@pytest.mark.parametrize("changed", ["a", "b", "c"])
def test_late_fact_in_one_of_several_csv_files_is_loaded_by_the_next_run(changed: str, tmp_path: Path) -> None:
    """Rows of CSV files do not tell which file they came from, so a change of one is a change of all."""
    clock = ManualClock(NOW_US)
    for name, driver in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.csv").write_text(f"driver,ts,x\n{driver},2024-06-01T10:00:00Z,{driver}\n")
    source = FileSource(path="*.csv", name="small", timestamp_field="ts")
    driver = Entity(name="driver", value_type=ValueType.INT64)
    view = FeatureView(name="small", source=source, entities=[driver], schema=[Field(name="x", dtype=Int64)])
    repository = open_repository(tmp_path, [view], clock=clock)
    materialize_incremental(repository, clock.now_us())
    clock.advance(timedelta(hours=1))
    file = tmp_path / f"{changed}.csv"
    before = file.read_text() if file.exists() else "driver,ts,x\n"
    file.write_text(before + "3,2024-05-01T10:00:00Z,3\n")
    materialize_incremental(repository, clock.now_us())
    assert values(repository, [1, 2, 3]) == [1, 2, 3]
    repository.close()


def test_fact_that_becomes_known_later_is_loaded_then_and_not_before(tmp_path: Path) -> None:
    clock = ManualClock(NOW_US)
    write_small(tmp_path / "small.parquet", [(1, 5, 0, 1), (1, 4, 6, 2)])
    repository = open_repository(tmp_path, [small_view()], clock=clock)
    materialize_incremental(repository, clock.now_us())
    assert values(repository, [1]) == [1]
    clock.advance(timedelta(hours=2) - timedelta(microseconds=1))
    materialize_incremental(repository, clock.now_us())
    assert values(repository, [1]) == [1]
    clock.advance(timedelta(microseconds=1))
    materialize_incremental(repository, clock.now_us())
    assert values(repository, [1]) == [2]
    repository.close()


def test_late_fact_never_overwrites_a_newer_one(tmp_path: Path) -> None:
    clock = ManualClock(NOW_US)
    write_small(tmp_path / "small.parquet", [(1, 2, 0, 1)])
    repository = open_repository(tmp_path, [small_view()], clock=clock)
    materialize_incremental(repository, clock.now_us())
    write_small(tmp_path / "small-late.parquet", [(1, 3, 0, 2)])
    report = materialize_incremental(repository, clock.now_us())
    assert values(repository, [1]) == [1]
    assert [(run.written, run.stale) for run in report.runs] == [(0, report.rows)]
    repository.close()


def test_raised_ttl_serves_what_was_too_old_before(tmp_path: Path) -> None:
    """The store holds expired facts too, so reads with another ttl are what offline says."""
    write_small(tmp_path / "small.parquet", [(1, 5, 0, 1)])
    repository = open_repository(tmp_path, [small_view(timedelta(hours=1))], clock=ManualClock(NOW_US))
    materialize_incremental(repository, NOW_US)
    response = read_online(repository, ["small:x"], {"driver": [1]})
    assert response.statuses() == {"x": ["OUTSIDE_MAX_AGE"]}
    assert cursor_of(repository, "tests.small.1") is not None
    materialize(repository, MIN_US, NOW_US)
    assert read_online(repository, ["small:x"], {"driver": [1]}).statuses() == response.statuses()
    repository.close()


# --- MAT-4 -----------------------------------------------------------------------------------------------------------


SERVERS = [
    pytest.param(kind, marks=[pytest.mark.service, pytest.mark.xdist_group(f"killed runs on {kind}")])
    for kind in ("redis", "postgres")
]


@pytest.fixture(scope="module", params=["sqlite", "lmdb", *SERVERS])
def section(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """The `online_store` section of a store that outlives its processes; a server is started once for all tests."""
    if request.param == "redis":
        with redis_server() as server:
            yield {"type": "redis", "connection_string": f"127.0.0.1:{server.port}", **PATIENT}
    elif request.param == "postgres":
        with postgres_server() as postgres:
            yield {"type": "postgres", "connection_string": postgres.url, **PATIENT}
    else:
        if request.param == "lmdb":
            need_module("lmdb", "lmdb")
        yield {"type": request.param, "path": "online"}


@pytest.fixture
def emptied(section: dict[str, object], tmp_path: Path) -> dict[str, object]:
    """The same, without what another test left in it, and a folder with much to load."""
    write_big(tmp_path)
    empty(tmp_path, section)
    return section


def empty(folder: Path, section: dict[str, object]) -> None:
    repository = open_repository(folder, online=section)
    repository.online.drop([TABLE])
    repository.close()


def started(folder: Path, section: dict[str, object], *how: object) -> subprocess.Popen[str]:
    """A process that loads, up to the moment at which it begins to."""
    here = Path(__file__).parent
    words = [sys.executable, here / "killed_run.py", folder, json.dumps(section), *how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen([str(word) for word in words], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    return process


def check_converged(folder: Path, section: dict[str, object], undisturbed: dict[bytes, bytes]) -> None:
    repository = open_repository(folder, online=section)
    assert content(repository.online) == undisturbed
    assert cursor_of(repository) is not None
    repository.close()


def test_killed_run_resumes_to_the_same_bytes(
    tmp_path: Path, emptied: dict[str, object], undisturbed: dict[bytes, bytes]
) -> None:
    """SIGKILL at a write, after and before it is durable, while another one may be under way; then a run to the end."""
    for last, when in ((2, "after"), (4, "before")):
        with started(tmp_path, emptied, last, when) as process:
            assert process.wait(100) == -signal.SIGKILL
        repository = open_repository(tmp_path, online=emptied)
        assert cursor_of(repository) is None
        repository.close()
    resumed(tmp_path, emptied)
    check_converged(tmp_path, emptied, undisturbed)


def resumed(folder: Path, section: dict[str, object]) -> None:
    repository = open_repository(folder, [big_view()], clock=ManualClock(NOW_US), online=section)
    materialize_incremental(repository, END_US)
    repository.close()


@pytest.mark.deep
def test_run_killed_at_two_hundred_random_moments_converges(
    tmp_path: Path, emptied: dict[str, object], undisturbed: dict[bytes, bytes]
) -> None:
    """SIGKILL at any instant of a load, not only at its writes.

    Some runs come to their end before they are killed; each of them leaves the bytes, and the next one begins anew.
    """
    rng, killed, quickest = random.Random(17), 0, 100.0
    while killed < 200:
        with started(tmp_path, emptied) as process:
            began = time.monotonic()
            try:
                # The first run ends and tells how long one takes.
                assert process.wait(rng.uniform(0, 1.3 * quickest) if quickest < 100 else quickest) == 0
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
                continue
        quickest = min(quickest, time.monotonic() - began)
        check_converged(tmp_path, emptied, undisturbed)
        empty(tmp_path, emptied)
    resumed(tmp_path, emptied)
    check_converged(tmp_path, emptied, undisturbed)
