"""Answers without the store: every kind of view, every way in which a store fails, and what the answer then is."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parity.repository import Repository, open_repository
from parity.windowed import LIMITS
from server.apps import Served, add, rows, served
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.guard import CallOptions, Guard
from tiffin.contracts.online import OnlineStore, ReadRequest
from tiffin.definitions import (
    Aggregation,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    LabelView,
    PushSource,
    on_demand_feature_view,
)
from tiffin.errors import StoreUnavailableError
from tiffin.operations import timelines
from tiffin.operations.online import write_online
from tiffin.operations.vectors import precompute
from tiffin.server.forwarding import ForwardingStore
from tiffin.time import MINUTE_US
from tiffin.types import Int64, String
from unit.online.drivers import DRIVER, NOON_US, STATS

RIDES = FeatureView(
    name="rides",
    entities=[DRIVER],
    source=PushSource(name="rides_push", batch_source=FileSource(path="rides.parquet", timestamp_field="ts")),
    aggregations=[
        Aggregation("km", "sum", timedelta(minutes=50), name="km"),
        Aggregation("*", "count", timedelta(minutes=50), name="n"),
    ],
)
LABELS = LabelView(
    name="labels",
    entities=[DRIVER],
    source=PushSource(name="labels_push", timestamp_field="ts"),
    schema=[Field(name="is_fraud", dtype=Int64), Field(name="who", dtype=String)],
    labeler_field="who",
)


@on_demand_feature_view(sources=[STATS, RIDES], schema=[Field(name="both", dtype=Int64)], mode="python", singleton=True)
def made(row: dict[str, Any]) -> dict[str, Any]:
    return {"both": (row["trips"] or 0) + (row["n"] or 0)}


FEATURES = ["stats:trips", "rides:km", "rides:n", "labels:is_fraud", "made:both"]
#: Of driver 1, who has a hundred rides, most of them in tiles; of driver 2, who has one; of driver 3, who has nothing.
KNOWN = [[10, 50.0, 50, 1, 60], [20, 1.0, 1, None, 21], [None, None, 0, None, 0]]
NOTHING = [None, None, 0, None, 0]


class Store(MemoryOnlineStore):
    """A store of which a test says, read by read, whether it answers; one that hangs is told by its guard."""

    def __init__(self, is_native: bool) -> None:
        super().__init__()
        self.capabilities = dataclasses.replace(self.capabilities, native_async=is_native)  # type: ignore[misc]
        self.fails: Iterable[bool] = ()
        self.hangs = False
        self.reads = 0
        self._guard = Guard("the store", CallOptions(deadline_seconds=0.05, breaker_failures=0))

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        self._may_fail()
        return super().read(requests)

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        self._may_fail()
        if self.hangs:
            await self._guard.read_async(lambda _: asyncio.Event().wait())
        return super().read(requests)

    def _may_fail(self) -> None:
        self.reads += 1
        self.fails = iter(self.fails)
        if next(self.fails, False):
            raise StoreUnavailableError("the store does not answer")


@pytest.fixture(autouse=True)
def tiles_after_a_few_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "Limits", lambda: LIMITS)


def write_rides(folder: Path, drivers: Sequence[int]) -> None:
    """The history of rides: one of each driver, as often as it comes, all at noon."""
    times = pa.array([NOON_US] * len(drivers), pa.timestamp("us", "UTC"))
    rides = {"driver_id": pa.array(drivers, pa.int64()), "km": pa.array(map(float, drivers), pa.float64()), "ts": times}
    pq.write_table(pa.table(rides), folder / "rides.parquet")


def repository(folder: Path, store: Store) -> Repository:
    opened = open_repository(folder, [STATS], online=store)
    write_rides(folder, [])
    add(opened, DRIVER, RIDES, LABELS, made)

    def put(view: str, minutes_ago: Sequence[int], **columns: Sequence[Any]) -> None:
        times = pa.array([NOON_US - ago * MINUTE_US for ago in minutes_ago], pa.timestamp("us", "UTC"))
        more = {"created": times} if view == "stats" else {}
        write_online(opened, view, pa.table({**columns, "ts": times, **more}))

    put("stats", [30, 30], driver_id=[1, 2], trips=[10, 20], rating=[0.5, 0.5])
    put("rides", range(100), driver_id=[1] * 100, km=[1.0] * 100)
    put("rides", [5], driver_id=[2], km=[1.0])
    put("labels", [5], driver_id=[1], is_fraud=[1], who=["ann"])
    return opened


async def ask(server: Served, *ids: int) -> tuple[list[list[Any]], str]:
    """The values of each driver, and the label of the answer."""
    body = {"features": FEATURES, "rows": [{"driver_id": each} for each in ids]}
    response = await server.post("/v1/features", body)
    assert response.status_code == 200, response.text
    answer = response.json()
    names = [feature.partition(":")[2] for feature in FEATURES]
    return [[row[name] for name in names] for row in answer["rows"]], answer.get("fallback", "")


@pytest.mark.parametrize("is_native", [True, False], ids=["async", "threads"])
@pytest.mark.parametrize("mode", ["stale", "default"])
@pytest.mark.parametrize(
    "fails",
    [[True] * 99, [True], [False, True], [False, True, False, True]],
    ids=["down", "first", "tiles", "flapping"],
)
async def test_every_kind_of_view_is_answered_without_the_store(
    tmp_path: Path, mode: str, fails: list[bool], is_native: bool
) -> None:
    store = Store(is_native)
    async with served(repository(tmp_path, store), fallback=mode) as server:
        assert await ask(server, 1, 2, 3) == (KNOWN, "")
        store.fails = fails
        values, label = await ask(server, 1, 2, 3)
        assert label == mode
        if mode == "stale":
            assert values == KNOWN
        elif fails[0]:
            assert values == [NOTHING] * 3
        else:
            # The rows were there and the tiles were not: who has some in the window counts as never seen.
            assert values == [[10, None, 0, 1, 10], *KNOWN[1:]]
        store.fails = ()
        assert await ask(server, 1, 2, 3) == (KNOWN, "")


@pytest.mark.parametrize("mode", ["stale", "default"])
async def test_a_precomputed_service_is_answered_without_the_store(tmp_path: Path, mode: str) -> None:
    """Drivers 1 and 2 have vectors; for driver 3, who has none, rows are read, too."""
    store = Store(is_native=True)
    opened = repository(tmp_path, store)
    add(opened, FeatureService(name="fast", features=[STATS[["trips"]], LABELS[["is_fraud"]]], precompute_online=True))
    precompute(opened, "fast")
    async with served(opened, fallback=mode) as server:

        async def ask_service() -> tuple[list[list[Any]], str]:
            response = await server.post("/v1/features", {"service": "fast", "rows": rows(1, 2, 3)})
            assert response.status_code == 200, response.text
            answer = response.json()
            return [[row["trips"], row["is_fraud"]] for row in answer["rows"]], answer.get("fallback", "")

        known = [[10, 1], [20, None], [None, None]]
        assert await ask_service() == (known, "")
        for fails in ([True] * 99, [True], [False, True]):
            store.fails = fails
            has_vectors = mode == "stale" or not fails[0]
            assert await ask_service() == (known if has_vectors else [[None, None]] * 3, mode)
        store.fails = ()
        assert await ask_service() == (known, "")


@pytest.mark.parametrize("mode", ["stale", "default"])
async def test_a_request_waits_once_for_a_store_that_hangs(tmp_path: Path, mode: str) -> None:
    """Rows and tiles are two reads; waiting for both could take longer than the request may."""
    store = Store(is_native=True)
    async with served(repository(tmp_path, store), fallback=mode) as server:
        await ask(server, 1, 2, 3)
        store.hangs, store.reads = True, 0
        assert await ask(server, 1, 2, 3) == (KNOWN if mode == "stale" else [NOTHING] * 3, mode)
        assert store.reads == 1


async def test_a_part_of_the_tiles_is_as_good_as_nothing(tmp_path: Path) -> None:
    """Later the window begins in a tile that nobody has read; a part of the facts gives a number that never was."""
    store = Store(is_native=True)
    opened = repository(tmp_path, store)
    async with served(opened, fallback="stale") as server:
        await ask(server, 1, 2)
        store.fails = [True] * 99
        opened.clock.advance(timedelta(minutes=20))  # type: ignore[attr-defined]
        assert await ask(server, 1, 2) == ([[10, None, 0, 1, 10], KNOWN[1]], "stale")


async def test_a_tile_that_was_forgotten_is_as_good_as_nothing(tmp_path: Path) -> None:
    store = Store(is_native=True)
    async with served(repository(tmp_path, store), fallback="stale") as server:
        await ask(server, 1, 2)
        kept = server.app.serving.ctx.online
        for name in [name for name in kept._seen if len(name[1]) > 20]:
            del kept._seen[name]
        store.fails = [True] * 99
        assert await ask(server, 1, 2) == ([[10, None, 0, 1, 10], KNOWN[1]], "stale")


async def test_without_a_fallback_it_is_an_error_whichever_read_fails(tmp_path: Path) -> None:
    store = Store(is_native=True)
    async with served(repository(tmp_path, store)) as server:
        for fails in ([True], [False, True]):
            store.fails = fails
            response = await server.post("/v1/features", {"features": FEATURES, "rows": [{"driver_id": 1}]})
            assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")


def test_a_store_that_stands_before_another_hands_everything_on() -> None:
    """A method of the contract that is forgotten would be the slow one that every store can have."""
    own = {"from_config", "scan_all", "stands_in"}
    methods = {name for name, member in vars(OnlineStore).items() if callable(member) or isinstance(member, property)}
    assert {name for name in methods if not name.startswith("_")} - own <= vars(ForwardingStore).keys()
