"""MAT-5 and WR-4 for views with aggregations: a full refresh goes by facts, and deletes outlast it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.windowed import LIMITS
from tiffin import Aggregation, Entity, FeatureStore, FeatureView, FileSource, ManualClock, PushSource
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.config import RepoConfig
from tiffin.contracts.online import SwapBatch
from tiffin.errors import MaterializationError, StoreUnavailableError
from tiffin.online.timeline import is_tile
from tiffin.operations import timelines
from tiffin.time import MINUTE_US, to_us
from tiffin.types import ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
TIME = pa.timestamp("us", "UTC")
DAY = timedelta(days=1)


def table(facts: list[tuple[int, float, float]]) -> pa.Table:
    """Facts as (card, minutes before noon, amount)."""
    times = [NOON_US - round(ago * MINUTE_US) for _, ago, _ in facts]
    return pa.table(
        {
            "card": pa.array([card for card, _, _ in facts], pa.int64()),
            "ts": pa.array(times, TIME),
            "amount": pa.array([amount for _, _, amount in facts], pa.float64()),
        }
    )


def write_source(folder: Path, facts: list[tuple[int, float, float]]) -> None:
    pq.write_table(table(facts), folder / "payments.parquet")


def spending(**arguments: Any) -> FeatureView:
    history = FileSource(path="payments.parquet", timestamp_field="ts")
    return FeatureView(
        name="spending",
        entities=[CARD],
        source=PushSource(name="paid", batch_source=history),
        aggregations=[Aggregation("amount", "sum", DAY, name="s"), Aggregation("*", "count", name="n")],
        **arguments,
    )


CARD = Entity(name="card", value_type=ValueType.INT64)
MANY = [(1, float(ago), 1.0) for ago in range(100)]


@pytest.fixture(autouse=True)
def tiles_after_a_few_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "Limits", lambda: LIMITS)


def opened(folder: Path, online: str = "memory") -> FeatureStore:
    config = RepoConfig(project="tests", repo_path=folder, registry="registry.db", online_store={"type": online})
    return FeatureStore(config=config, clock=ManualClock(NOON_US))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureStore]:
    """Card 1 has a hundred facts, most of them in tiles, and card 2 has one."""
    write_source(tmp_path, [*MANY, (2, 5, 20.0)])
    with opened(tmp_path, request.param) as opened_store:
        opened_store.apply([CARD, spending()])
        load(opened_store)
        yield opened_store
        opened_store.teardown()


def load(store: FeatureStore, **arguments: Any) -> None:
    store.materialize(None, None, disable_event_timestamp=True, **arguments)


def refresh(store: FeatureStore) -> None:
    load(store, full_refresh=True)


def read(store: FeatureStore, *cards: int) -> list[tuple[Any, ...]]:
    """Sum and number of the facts of some cards."""
    found = store.get_online_features(["spending:s", "spending:n"], {"card": list(cards)}).to_dict()
    return list(zip(found["s"], found["n"], strict=True))


def table_of(store: FeatureStore) -> str:
    return store.context.snapshot().storage("spending").table


def during(store: FeatureStore, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something when the refresh has written its first rows."""
    online, left = store.context.online, [act]
    swap = online.swap

    def swapping(batch: SwapBatch) -> list[bool]:
        found = swap(batch)
        if left and batch.table != table_of(store):
            left.pop()()
        return found

    monkeypatch.setattr(online, "swap", swapping)


def test_facts_gone_from_the_source_are_gone_and_new_ones_there(store: FeatureStore, tmp_path: Path) -> None:
    assert read(store, 1, 2, 3) == [(100.0, 100), (20.0, 1), (None, 0)]
    write_source(tmp_path, [*MANY[10:], (1, 0.5, 7.0), (3, 1, 30.0)])
    before = table_of(store)
    refresh(store)
    assert table_of(store) != before
    assert read(store, 1, 2, 3) == [(97.0, 91), (None, 0), (30.0, 1)]


def test_what_was_only_ever_pushed_goes(store: FeatureStore) -> None:
    store.push("paid", table([(1, 0.25, 1000.0)]))
    assert read(store, 1) == [(1100.0, 101)]
    refresh(store)
    assert read(store, 1) == [(100.0, 100)]


@pytest.mark.parametrize("ago", [0.25, 50.5, 99.5])
def test_what_is_pushed_while_it_runs_stays_however_late(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, ago: float
) -> None:
    """The fact lands in the newest facts, in a tile, or in the oldest tile of the table that is replaced."""
    during(store, monkeypatch, lambda: store.push("paid", table([(1, ago, 1000.0), (3, ago, 30.0)])) and None)
    refresh(store)
    assert read(store, 1, 2, 3) == [(1100.0, 101), (20.0, 1), (30.0, 1)]


def test_what_is_pushed_while_it_runs_and_is_in_the_source_too_counts_once(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_source(tmp_path, [*MANY, (1, 0.5, 7.0)])
    during(store, monkeypatch, lambda: store.push("paid", table([(1, 0.5, 7.0)])) and None)
    refresh(store)
    assert read(store, 1) == [(107.0, 101)]


def test_deleted_card_stays_deleted_and_later_facts_stay(store: FeatureStore) -> None:
    store.delete_entities({"card": [1]})
    store.context.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
    refresh(store)
    assert read(store, 1, 2) == [(None, 0), (20.0, 1)]
    load(store)
    assert read(store, 1, 2) == [(None, 0), (20.0, 1)]
    store.push("paid", table([(1, -0.5, 5.0)]))
    assert read(store, 1, 2) == [(5.0, 1), (20.0, 1)]


def test_card_that_is_deleted_while_it_runs_is_deleted(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    during(store, monkeypatch, lambda: store.delete_entities({"card": [1]}) and None)
    refresh(store)
    assert read(store, 1, 2) == [(None, 0), (20.0, 1)]
    load(store)
    assert read(store, 1, 2) == [(None, 0), (20.0, 1)]


def test_incremental_load_goes_on_where_the_refresh_ended(store: FeatureStore, tmp_path: Path) -> None:
    refresh(store)
    (run,) = store.materialize_incremental(NOON_US).runs
    # The fact of noon itself, where the one ended and the other begins.
    assert (run.rows, run.written, run.stale) == (1, 0, 1)
    write_source(tmp_path, [*MANY, (2, 5, 20.0), (2, 0.5, 7.0)])
    store.materialize_incremental(NOON_US)
    assert read(store, 1, 2) == [(100.0, 100), (27.0, 2)]


def test_what_another_process_pushed_to_the_old_table_is_carried_over_before_it_is_dropped(
    store: FeatureStore, tmp_path: Path
) -> None:
    other = FeatureStore(config=store.config, clock=store.context.clock)
    assert read(other, 2) == [(20.0, 1)]
    refresh(store)
    store.context.clock.advance(timedelta(minutes=2))  # type: ignore[attr-defined]
    other.push("paid", table([(2, -1, 5.0), (1, -1, 5.0)]))
    other.delete_entities({"card": [1]})
    assert read(store, 1, 2) == [(100.0, 100), (20.0, 1)]
    store.context.clock.advance(timedelta(minutes=12))  # type: ignore[attr-defined]
    store.materialize_incremental(NOON_US)
    assert [info.table for info in store.context.online.tables("tests.spending.")] == [table_of(store)]
    assert read(store, 1, 2) == [(None, 0), (25.0, 2)]
    assert read(other, 1, 2) == [(None, 0), (25.0, 2)]
    other.close()


def test_refresh_is_the_same_as_loading_into_an_empty_store(store: FeatureStore) -> None:
    before = dict(store.context.online.scan_all(table_of(store)))
    refresh(store)
    after = dict(store.context.online.scan_all(table_of(store)))
    plain = [{key: row for key, row in rows.items() if not is_tile(row)} for rows in (before, after)]
    assert plain[0].keys() == plain[1].keys()
    assert len(before) == len(after) > 10


def test_tiles_of_a_killed_writer_are_swept(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are left behind in the table that is replaced, which may be in use for a while."""
    old = table_of(store)

    def killed(batch: SwapBatch) -> list[bool]:
        raise StoreUnavailableError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(store.context.online, "swap", killed)
        with pytest.raises(StoreUnavailableError):
            store.push("paid", table([(1, ago / 64, 1.0) for ago in range(1, 30)]))
    rows = len(list(store.context.online.scan_all(old)))
    refresh(store)
    assert len(list(store.context.online.scan_all(old))) < rows
    assert read(store, 1) == [(100.0, 100)]


class Failing(MemoryOnlineStore):
    """Loses its connection at a swap."""

    fails = False

    def swap(self, batch: SwapBatch) -> list[bool]:
        if self.fails:
            raise StoreUnavailableError("the store is gone")
        return super().swap(batch)


def test_refresh_that_fails_replaces_nothing(tmp_path: Path) -> None:
    write_source(tmp_path, MANY)
    store = opened(tmp_path)
    store.apply([CARD, spending()])
    online = Failing()
    online.ensure([table_of(store)])
    store.context._online = online
    load(store)
    online.fails = True
    with pytest.raises(MaterializationError, match="the store is gone"):
        refresh(store)
    online.fails = False
    store.refresh_registry()
    assert [info.table for info in online.tables("tests.")] == [table_of(store)]
    assert read(store, 1) == [(100.0, 100)]
    store.close()
