"""`tiffin serve` as a process: it starts, answers, is stopped and killed, and large bodies hold up nobody."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from cli.repositories import DEFINITIONS, NOW, write_sales
from server.apps import process
from servers import wait_until
from tiffin.cli import main

#: One for all: making one takes longer than most requests.
CLIENT = httpx.Client(verify=False, timeout=20)
READ = {"features": ["sales:orders"], "rows": [{"shop_id": "007"}]}


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    CLIENT.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "feature_store.yaml").write_text(
        "project: retail\nregistry: registry.db\nonline_store: {type: sqlite, path: o.db}\n"
        # As long as a machine with other work may need, and as short as a test may wait for it.
        "feature_server: {deadline_seconds: 6}\n"
    )
    (folder / "definitions.py").write_text(DEFINITIONS)
    write_sales(folder / "sales.parquet")
    for words in (["apply"], ["materialize", "2000-01-01", NOW.isoformat()]):
        result = CliRunner().invoke(main, ["-c", str(folder), *words])
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[str]:
    with process(project) as (url, _):
        yield url


def test_it_answers(server: str) -> None:
    answer = CLIENT.post(f"{server}/v1/features", json=READ)
    assert answer.json()["rows"] == [{"shop_id": "007", "orders": 3}]
    assert CLIENT.get(f"{server}/health").status_code == 200
    assert CLIENT.get(f"{server}/docs").headers["content-type"].startswith("text/html")


def test_it_loads(server: str) -> None:
    body = {"start_ts": "2000-01-01T00:00:00", "end_ts": NOW.isoformat()}
    assert CLIENT.post(f"{server}/materialize", json=body).json() is None
    accepted = CLIENT.post(f"{server}/materialize-incremental?async=true", json={"end_ts": NOW.isoformat()})
    assert (accepted.status_code, accepted.json()["status"]) == (202, "accepted")


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = "POST /v1/features HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_client_that_sends_slowly_holds_up_nobody(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/features HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert CLIENT.post(f"{server}/v1/features", json=READ).status_code == 200
        slow.settimeout(30)
        assert slow.recv(100).startswith(b"HTTP/1.1 504")


def test_logs_are_lines_of_json(project: Path, server: str) -> None:
    CLIENT.post(f"{server}/v1/features", json=READ, headers={"x-request-id": "find-me"})
    wait_until(lambda: "find-me" in (project / "server.log").read_text(), "the log")
    line = next(line for line in (project / "server.log").read_text().splitlines() if "find-me" in line)
    assert json.loads(line)["status"] == 200


def test_a_stop_loses_no_request(project: Path) -> None:
    with process(project, "--drain-seconds", "3") as (url, running):
        failed: list[Any] = []
        stopped = threading.Event()

        def ask() -> None:
            with httpx.Client(verify=False, timeout=20) as client:
                while not stopped.is_set():
                    try:
                        answer = client.post(f"{url}/v1/features", json=READ)
                    except httpx.TransportError as error:
                        if running.poll() is None and not stopped.is_set():
                            failed.append(error)
                        return
                    if answer.status_code != 200:
                        failed.append(answer.text)
                    ready = client.get(f"{url}/health/ready").status_code
                    if ready == 503:
                        # As a load balancer does: no more requests to a server that says so.
                        drained.append(ready)
                        return

        drained: list[int] = []
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: CLIENT.get(f"{url}/health/live").status_code == 200, "it")
        running.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        stopped.set()
        assert running.wait(60) in (0, -signal.SIGTERM)
        assert (failed, drained) == ([], [503] * 4)


def test_a_worker_that_is_killed_under_load_takes_only_its_requests_along(project: Path) -> None:
    with process(project, "--workers", "2") as (url, running):
        wait_until(lambda: len(workers(running.pid)) >= 2 and is_up(url), "two workers")
        before = set(workers(running.pid))
        stopped = threading.Event()
        statuses: list[list[int]] = [[] for _ in range(4)]

        def ask(found: list[int]) -> None:
            with httpx.Client(verify=False, timeout=20) as client:
                while not stopped.is_set():
                    try:
                        found.append(client.post(f"{url}/v1/features", json=READ).status_code)
                    except httpx.TransportError:
                        # One that was with the dead worker.
                        found.append(0)

        threads = [threading.Thread(target=ask, args=(found,)) for found in statuses]
        for thread in threads:
            thread.start()
        wait_until(lambda: all(len(found) > 10 for found in statuses), "requests")
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(set(workers(running.pid)) - before) > 0, "a new worker")
        asked = [len(found) for found in statuses]
        wait_until(lambda: all(len(f) > n + 10 for f, n in zip(statuses, asked, strict=True)), "more requests")
        stopped.set()
        for thread in threads:
            thread.join()
        assert {status for found in statuses for status in found} <= {0, 200}
        # A client has one request at a time, and loses no more than that.
        assert all(found.count(0) <= 1 for found in statuses)
        metrics = CLIENT.get(f"{url}/metrics").text
        assert 'tiffin_requests_total{route="/v1/features",status="200"}' in metrics


def test_a_million_entities_are_refused_while_others_are_served(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    ids = [str(number) for number in range(1_000_000, 2_000_000)]
    body = json.dumps({"features": READ["features"], "columns": {"shop_id": ids}}).encode()
    assert len(body) > 10_000_000
    head = b"POST /v1/features HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port))) as large:
        large.sendall(head + b"%x\r\n" % len(body) + body[:1_000_000])
        assert CLIENT.post(f"{server}/v1/features", json=READ).status_code == 200
        # The server closes when it has seen enough, perhaps before all is sent.
        with contextlib.suppress(ConnectionError):
            large.sendall(body[1_000_000:] + b"\r\n0\r\n\r\n")
        large.settimeout(20)
        assert large.recv(100).startswith(b"HTTP/1.1 413")
    assert CLIENT.post(f"{server}/v1/features", json=READ).status_code == 200


def is_up(url: str) -> bool:
    try:
        return CLIENT.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def workers(parent: int) -> list[int]:
    """The processes of a server that answer; multiprocessing's tracker is none."""
    found = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "everybody who reaches it"),
        (["--workers", "0"], "workers"),
        (["--port", "70000"], "port"),
    ],
)
def test_a_wrong_start_says_what_is_wrong(project: Path, words: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["-c", str(project), "serve", *words])
    assert result.exit_code != 0
    assert message in result.output


def test_keys_and_audit_logs_on_the_command_line(tmp_path: Path) -> None:
    made = json.loads(CliRunner().invoke(main, ["new-api-key", "model-a", "--role", "reader", "--json"]).stdout)
    assert made["key"].startswith("tiffin_model-a_")
    shown = CliRunner().invoke(main, ["new-api-key", "model-a", "--role", "reader"]).stdout
    assert "type: api_key" in shown
    assert CliRunner().invoke(main, ["new-api-key", "Model A"]).exit_code == 1
    (tmp_path / "audit.jsonl").write_text('{"hash": "x", "previous": "y"}\n')
    assert CliRunner().invoke(main, ["verify-audit-log", str(tmp_path / "audit.jsonl")]).exit_code == 1


def test_it_starts_without_what_it_does_not_need() -> None:
    heavy = ("duckdb", "fastapi", "pandas", "pyarrow", "jwt")
    code = f"import sys, tiffin.server.app; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
