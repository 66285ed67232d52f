"""Servers for tests: an application in this process, asked without a network; and one in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx

from parity.repository import Repository, open_repository
from servers import PATIENT, answers, free_port, wait_until
from tiffin.config import StoreConfig
from tiffin.definitions import Definition
from tiffin.server.app import FeatureServer
from tiffin.server.options import ServerOptions
from tiffin.server.serving import Serving
from tiffin.server.traces import Traces
from unit.online.drivers import ROUTE, STATS, WEATHER, WORLD, push


@dataclass
class Served:
    """A server in this process."""

    app: FeatureServer
    client: httpx.AsyncClient
    logs: BytesIO

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return await self.client.post(path, content=body, headers=named)
        return await self.client.post(path, json=body, headers=named)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={name.replace("_", "-"): v for name, v in headers.items()})

    def lines(self) -> list[dict[str, Any]]:
        self.app.serving.logs.flush()
        return [json.loads(line) for line in self.logs.getvalue().splitlines()]


@asynccontextmanager
async def served(
    repository: Repository, traces: Traces | None = None, load_file: Path | None = None, **options: Any
) -> AsyncIterator[Served]:
    """A server of a repository."""
    logs = BytesIO()
    app = FeatureServer(Serving(repository, ServerOptions(**{**PATIENT, **options}), logs, traces, load_file))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        try:
            yield Served(app, client, logs)
        finally:
            await app.close()


def drivers(
    folder: Path, *more: Definition, auth: Mapping[str, Any] | None = None, online: Any = "memory"
) -> Repository:
    """Drivers 1 (with everything), 2 (with a null), and 3 (whose fact is too old); the clock stands at noon."""
    repository = open_repository(folder, [STATS, WEATHER, ROUTE, WORLD], online=online)
    if more:
        add(repository, *more)
    if auth is not None:
        repository.config = repository.config.model_copy(update={"auth": StoreConfig(**auth)})
    push(repository, "stats", driver_id=[1, 2], trips=[10, None], rating=[0.5, 4.5])
    push(repository, "stats", hours_ago=3, driver_id=[3], trips=[30], rating=[3.5])
    push(repository, "weather", city=["Oslo"], sky=["grey"])
    return repository


def add(repository: Repository, *definitions: Definition) -> None:
    """Make definitions the next version, beside those that are there."""
    from tiffin.operations.apply import apply

    apply(repository, list(definitions), None, partial=True)


@contextmanager
def process(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``tiffin serve`` in a process of its own, ready; its address and the process."""
    port = free_port()
    command = [sys.executable, "-m", "tiffin.cli", "-c", str(folder), "serve", "--port", str(port), *words]
    with (folder / "server.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})
    try:
        wait_until(lambda: answers(port) or running.poll() is not None, "tiffin serve")
        assert running.poll() is None, (folder / "server.log").read_text()
        yield f"http://127.0.0.1:{port}", running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
        running.wait()


def rows(*ids: int) -> Sequence[dict[str, int]]:
    return [{"driver_id": each} for each in ids]
