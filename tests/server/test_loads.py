"""One load at a time, in one worker and among all of them, and no turn that is never given back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from server.apps import Served, drivers, served
from tiffin.errors import StoreError
from tiffin.governance.access import ANYBODY
from tiffin.server.http import Call
from tiffin.server.turn import Turn

END = {"end_ts": "2024-06-01T12:00:00"}


async def nothing() -> Any:
    raise AssertionError("there is no body")


def begin(server: Served, load: Any) -> asyncio.Task[Any]:
    return server.app.serving.begin_load(Call("POST", "/materialize", "", {}, "id", nothing, ANYBODY), [], load)


@pytest.mark.parametrize("is_shared", [True, False])
async def test_two_workers_load_one_after_the_other(tmp_path: Path, is_shared: bool) -> None:
    async with AsyncExitStack() as stack:
        servers = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            file = tmp_path / "load" if is_shared else None
            servers.append(await stack.enter_async_context(served(drivers(tmp_path / name), load_file=file)))
        here, there = servers
        for server in servers:
            assert (await server.post("/materialize-incremental", END)).status_code == 200
        go_on = threading.Event()
        task = begin(here, go_on.wait)
        try:
            refused = await here.post("/materialize-incremental", END)
            assert (refused.status_code, refused.json()["error"]) == (409, "another load is under way")
            other = await there.post("/materialize-incremental", END)
            assert other.status_code == (409 if is_shared else 200)
            assert (await there.post("/v1/materialize", {"end": END["end_ts"]})).status_code == other.status_code
        finally:
            go_on.set()
        await task
        for server in servers:
            assert (await server.post("/materialize-incremental", END)).status_code == 200


async def test_a_load_that_fails_gives_its_turn_back(tmp_path: Path) -> None:
    def fail() -> None:
        raise StoreError("the store is gone")

    async with served(drivers(tmp_path), load_file=tmp_path / "load") as server:
        with pytest.raises(StoreError):
            await begin(server, fail)
        assert (await server.post("/materialize-incremental", END)).status_code == 200


def test_a_turn_is_free_again_when_its_process_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "load"
    code = (
        "import sys, pathlib, tiffin.server.turn as t\n"
        "turn = t.Turn(pathlib.Path(sys.argv[1])); print(turn.take(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        turn = Turn(file)
        assert not turn.take()
        other.kill()
        other.wait()
        assert turn.take()
        assert not turn.take()
        turn.give_back()
        assert turn.take()
        turn.give_back()
