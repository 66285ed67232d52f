"""Limits, deadlines, fallbacks, reloads, logs and metrics: how the server behaves when all is not well."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tiffin.operations.online
from parity.repository import Repository
from server.apps import add, drivers, rows, served
from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.online import ReadRequest
from tiffin.definitions import FeatureService
from tiffin.errors import ConfigError, RegistryError, StoreUnavailableError
from tiffin.registry.snapshot import Snapshot
from tiffin.server import routes_about
from tiffin.server.options import ServerOptions
from tiffin.types import Int64
from unit.online.drivers import STATS, view

READ = {"features": ["stats:trips"], "rows": rows(1)}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_about, "_NEWEST_SECONDS", 60.0)


class Store(MemoryOnlineStore):
    """A store that can be down, or hang until it is let go."""

    capabilities = replace(MemoryOnlineStore.capabilities, native_async=False)

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.go_on = threading.Event()
        self.go_on.set()

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        assert self.go_on.wait(60)
        if self.is_down:
            raise StoreUnavailableError("the store does not answer")
        return super().read(requests)

    def get_cursor(self, table: str) -> bytes | None:
        if self.is_down:
            raise StoreUnavailableError("the store does not answer")
        return super().get_cursor(table)


# --- Limits ----------------------------------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    async with served(drivers(tmp_path), max_entities=2, max_features=2, max_body_bytes=1000) as server:
        assert (await server.post("/v1/features", READ | {"rows": rows(1, 2)})).status_code == 200
        for body in (
            READ | {"rows": rows(1, 2, 3)},
            READ | {"rows": None, "columns": {"driver_id": [1, 2, 3]}},
            READ | {"features": ["stats:trips", "stats:rating", "weather:sky"]},
            READ | {"rows": [{"driver_id": 1, "x": "x" * 1000}]},
        ):
            response = await server.post("/v1/features", body)
            assert (response.status_code, response.json()["code"]) == (413, "limit")
        facts = {"driver_id": [1, 2, 3]}
        for path, push in (
            ("/push", {"push_source_name": "stats_push", "df": facts}),
            ("/v1/push", {"source": "stats_push", "columns": facts}),
        ):
            assert (await server.post(path, push)).status_code == 413


async def test_a_body_that_is_declared_too_large_is_not_read(tmp_path: Path) -> None:
    async def receive() -> Any:
        raise AssertionError("the body was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"10000000")]
    scope = {"type": "http", "method": "POST", "path": "/v1/features", "query_string": b"", "headers": headers}
    async with served(drivers(tmp_path)) as server:
        await server.app(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_a_body_without_a_length_is_read_up_to_the_limit(tmp_path: Path) -> None:
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * 100, "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/features", "query_string": b"", "headers": []}
    async with served(drivers(tmp_path), max_body_bytes=1000) as server:
        await server.app(scope, receive, send)
    assert (sent[0]["status"], read) == (413, 11)


async def test_a_body_that_never_comes_ends_at_the_deadline(tmp_path: Path) -> None:
    async def receive() -> Any:
        await asyncio.Event().wait()

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/features", "query_string": b"", "headers": []}
    async with served(drivers(tmp_path), deadline_seconds=0.05) as server:
        await server.app(scope, receive, send)
    assert sent[0]["status"] == 504


async def test_a_client_that_goes_away_is_answered_nothing(tmp_path: Path) -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "POST", "path": "/v1/features", "query_string": b"", "headers": []}
    async with served(drivers(tmp_path)) as server:
        await server.app(scope, receive, send)
        assert server.lines()[-1]["status"] == 499


async def test_a_store_that_hangs_holds_up_nobody_else(tmp_path: Path) -> None:
    store = Store()
    async with served(drivers(tmp_path, online=store), deadline_seconds=1.0, threads=1, max_waiting=1) as server:
        assert (await server.post("/v1/features", READ)).status_code == 200
        store.go_on.clear()
        try:
            answers = await asyncio.gather(*(server.post("/v1/features", READ) for _ in range(4)))
            codes = sorted(answer.status_code for answer in answers)
            assert codes == [503, 503, 504, 504]
            assert {a.json()["code"] for a in answers} == {"busy", "deadline"}
            assert (await server.get("/health/live")).status_code == 200
        finally:
            store.go_on.set()
        while (await server.post("/v1/features", READ)).status_code != 200:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"deadline_second": 1}, "deadline_seconds"),
        ({"deadline_seconds": 0}, "above 0"),
        ({"threads": "many"}, "int"),
        ({"fallback": "maybe"}, "stale"),
        ("local", "options below"),
    ],
)
def test_wrong_options_are_refused(section: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ServerOptions.from_section(section)


def test_options_of_older_repositories_are_accepted() -> None:
    section = {
        "type": "local",
        "enabled": True,
        "metrics": {"enabled": True},
        "audit_logging": {"enabled": True, "file_path": "a.log"},
    }
    assert ServerOptions.from_section(section) == ServerOptions(audit_log="a.log")


# --- A store that is down --------------------------------------------------------------------------------------------


async def test_without_a_fallback_a_store_that_is_down_is_an_error(tmp_path: Path) -> None:
    store = Store()
    async with served(drivers(tmp_path, online=store)) as server:
        store.is_down = True
        answer = await server.post("/v1/features", READ)
        assert (answer.status_code, answer.json()["retryable"]) == (503, True)
        assert (await server.get("/health/ready")).status_code == 503
        assert (await server.get("/health/live")).status_code == 200


async def test_stale_rows_are_answered_and_labelled(tmp_path: Path) -> None:
    store = Store()
    repository = drivers(tmp_path, online=store)
    async with served(repository, fallback="stale") as server:
        before = await server.post("/v1/features", READ)
        assert "fallback" not in before.json()
        store.is_down = True
        after = await server.post("/v1/features", READ | {"rows": rows(1, 2)})
        assert after.json()["rows"] == [{"driver_id": 1, "trips": 10}, {"driver_id": 2, "trips": None}]
        assert after.json()["fallback"] == after.headers["tiffin-fallback"] == "stale"
        feast = await server.post("/get-online-features", {"features": ["stats:trips"], "entities": {"driver_id": [1]}})
        assert feast.json()["metadata"]["fallback"] == "stale"
        assert (await server.get("/health/ready")).status_code == 200
        repository.clock.advance(timedelta(hours=2))  # type: ignore[attr-defined]
        expired = await server.post("/v1/features", READ | {"details": True})
        assert expired.json()["statuses"] == [{"trips": "OUTSIDE_MAX_AGE"}]
        store.is_down = False
        assert "fallback" not in (await server.post("/v1/features", READ)).json()


async def test_defaults_are_answered_and_labelled(tmp_path: Path) -> None:
    store = Store()
    async with served(drivers(tmp_path, online=store), fallback="default") as server:
        await server.post("/v1/features", READ)
        store.is_down = True
        after = (await server.post("/v1/features", READ | {"details": True})).json()
        assert (after["rows"], after["fallback"]) == ([{"driver_id": 1, "trips": None}], "default")
        assert after["statuses"] == [{"trips": "NOT_FOUND"}]


async def test_a_fallback_forgets_what_was_asked_for_longest_ago(tmp_path: Path) -> None:
    store = Store()
    async with served(drivers(tmp_path, online=store), fallback="stale", fallback_rows=1) as server:
        await server.post("/v1/features", READ)
        await server.post("/v1/features", READ | {"rows": rows(2)})
        store.is_down = True
        answer = await server.post("/v1/features", READ | {"details": True, "rows": rows(1, 2)})
        assert [row["trips"] for row in answer.json()["statuses"]] == ["NOT_FOUND", "NULL_VALUE"]


# --- Newer definitions -----------------------------------------------------------------------------------------------


async def test_a_thousand_requests_during_twenty_reloads(tmp_path: Path) -> None:
    repository = drivers(tmp_path)
    other = Repository(repository.config, repository.clock, repository.online)
    # It looks by itself so seldom that it does not come before the test does.
    async with served(repository, registry_seconds=3600) as server:
        first = repository.snapshot().version

        async def ask() -> list[int]:
            found = []
            for _ in range(250):
                response = await server.post("/v1/features", READ)
                assert response.status_code == 200, response.text
                assert response.json()["rows"] == [{"driver_id": 1, "trips": 10}]
                found.append(response.json()["definitions_version"])
            return found

        async def reload() -> None:
            for number in range(20):
                await asyncio.to_thread(add, other, view(f"view_{number}", {"x": Int64}))
                assert await server.app.serving.reloader.look()

        *answers, _ = await asyncio.gather(*(ask() for _ in range(4)), reload())
        for versions in answers:
            assert versions == sorted(versions)
        last = await server.post("/v1/features", READ)
        assert last.json()["definitions_version"] == first + 20
        assert len([line for line in server.lines() if line["event"] == "definitions_reloaded"]) == 20


async def test_newer_definitions_are_made_ready_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded, indexed and planned for: the loop has nothing to do but use them."""
    repository = drivers(tmp_path, FeatureService(name="model", features=["stats"]))
    async with served(repository, registry_seconds=3600) as server:
        await server.post("/v1/features", READ)
        add(Repository(repository.config, repository.clock, repository.online), view("more", {"x": Int64}))
        where: dict[str, set[int]] = {}

        def watch(owner: Any, name: str) -> None:
            done = getattr(owner, name)

            def watched(*arguments: Any, **named: Any) -> Any:
                where.setdefault(name, set()).add(threading.get_ident())
                return done(*arguments, **named)

            monkeypatch.setattr(owner, name, watched)

        watch(type(repository.registry), "load")
        watch(Snapshot, "index")
        watch(tiffin.operations.online, "plan_online")
        assert await server.app.serving.reloader.look()
        await server.post("/v1/features", READ)
        assert set(where) == {"load", "index", "plan_online"}
        assert threading.get_ident() not in set().union(*where.values())
        indexed = vars(repository.snapshot())
        assert {"by_key", "sources", "entities", "services", "permissions"} <= set(indexed)


async def test_plans_are_made_before_requests_need_them(tmp_path: Path) -> None:
    repository = drivers(tmp_path, FeatureService(name="model", features=["stats"]))
    async with served(repository) as server:
        await server.post("/v1/features", READ)
        await server.post("/v1/features", {"service": "model", "rows": rows(1)})
        other = Repository(repository.config, repository.clock, repository.online)
        add(other, view("more", {"x": Int64}))
        assert await server.app.serving.reloader.look()
        assert len(repository.snapshot().plans) == 2
        assert not await server.app.serving.reloader.look()


async def test_a_registry_that_fails_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = drivers(tmp_path)
    async with served(repository) as server:
        assert (await server.get("/health")).status_code == 200

        def fail(_: str) -> int:
            raise RegistryError("the registry does not answer")

        with monkeypatch.context() as patch:
            patch.setattr(repository.registry, "version", fail)
            assert not await server.app.serving.reloader.look()
            assert (await server.get("/health")).status_code == 503
            assert (await server.post("/v1/features", READ)).status_code == 200
            assert "registry" in (await server.get("/health/ready")).json()
        await server.app.serving.reloader.look()
        assert (await server.get("/health")).status_code == 200


# --- What can be seen from outside -----------------------------------------------------------------------------------


async def test_request_ids_and_the_access_log(tmp_path: Path) -> None:
    async with served(drivers(tmp_path)) as server:
        own = await server.post("/v1/features", READ, x_request_id="abc-1")
        other = await server.post("/v1/features", READ, x_request_id='"; drop\t')
        assert own.headers["x-request-id"] == "abc-1"
        assert other.headers["x-request-id"] not in ("", '"; drop\t')
        line = server.lines()[0]
        assert line | {"time": 0, "milliseconds": 0} == {
            "time": 0,
            "event": "request",
            "request_id": "abc-1",
            "method": "POST",
            "path": "/v1/features",
            "status": 200,
            "milliseconds": 0,
            "user": "anybody",
            "rows": 1,
        }
        assert line["time"] == "2024-06-01T12:00:00Z"


async def test_metrics(tmp_path: Path) -> None:
    async with served(drivers(tmp_path)) as server:
        await server.post("/v1/features", READ)
        await server.post("/v1/features", {"features": ["nope:x"], "rows": rows(1)})
        await server.get("/nowhere")
        text = (await server.get("/metrics")).text
        for line in (
            'tiffin_requests_total{route="/v1/features",status="200"} 1.0',
            'tiffin_requests_total{route="/v1/features",status="404"} 1.0',
            'tiffin_requests_total{route="unknown",status="404"} 1.0',
            'tiffin_online_read_seconds_count{store="memory",view="stats"} 1.0',
            'tiffin_feature_age_seconds{view="stats"} 3600.0',
            'tiffin_newest_event_timestamp_seconds{view="stats"} 1.7172396e+09',
            "tiffin_definitions_version 1.0",
            "tiffin_entity_rows_total 1.0",
        ):
            assert line in text


async def test_metrics_have_what_views_declare_and_wait_for_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    repository = drivers(tmp_path, replace(STATS, freshness=timedelta(hours=2)), online=store)
    async with served(repository) as server:
        text = (await server.get("/metrics")).text
        assert 'tiffin_freshness_target_seconds{view="stats"} 7200.0' in text
        monkeypatch.setattr(routes_about, "_NEWEST_SECONDS", 0.05)
        store.go_on.clear()
        try:
            answer = await server.get("/metrics")
        finally:
            store.go_on.set()
        assert answer.status_code == 200
        assert "tiffin_requests_total" in answer.text


async def test_a_fault_is_a_500_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(drivers(tmp_path)) as server:

        def fail() -> int:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(server.app.serving.ctx, "now_us", fail)
        response = await server.post("/v1/features", READ)
        assert response.status_code == 500
        assert "secret" not in response.text


async def test_draining_says_not_ready_and_answers_on(tmp_path: Path) -> None:
    async with served(drivers(tmp_path)) as server:
        server.app.drain()
        assert (await server.get("/health/ready")).status_code == 503
        assert (await server.get("/health/live")).status_code == 200
        assert (await server.post("/v1/features", READ)).status_code == 200


async def test_unknown_paths_and_methods(tmp_path: Path) -> None:
    async with served(drivers(tmp_path)) as server:
        assert (await server.get("/nowhere")).status_code == 404
        assert (await server.get("/v1/features")).status_code == 405
        assert (
            await server.client.request("OPTIONS", "/v1/features", headers={"origin": "http://a"})
        ).status_code == 405


async def test_no_answer_has_headers_for_other_sites(tmp_path: Path) -> None:
    async with served(drivers(tmp_path)) as server:
        response = await server.post("/v1/features", READ, origin="http://elsewhere")
        assert not [name for name in response.headers if name.startswith("access-control")]
