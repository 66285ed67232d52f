"""Servers of features under load: tiffin's, and bare applications that do the same read.

Each side starts a Redis of its own, fills it, and starts one worker that reads from it. A run is some seconds of load
by wrk over sixteen connections, all asking for different keys; the time of a request is one second by the requests a
second. wrk and the worker share the machine, for all sides alike.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.data import data_path, features_of, work_folder
from benchmarks.keys import asked_keys
from benchmarks.process import ROOT
from benchmarks.sides.raw_online import pack_rows
from benchmarks.sides.raw_stores import RawRedis
from benchmarks.sides.store import RANGE, define_views, open_store, start_server, write_repository
from benchmarks.work import Reading, Work

_CONNECTIONS, _QUESTIONS = 16, 1_000
_TICKS = os.sysconf("SC_CLK_TCK")
_LUA = """
local bodies = {{}}
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
local number = math.random(#bodies)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  number = number % #bodies + 1
  return wrk.format(nil, "{path}", nil, bodies[number])
end
"""


class Loaded(Work):
    """A worker that answers, and wrk that asks it.

    Args:
        command: starts the worker; ``{port}`` is where it is to listen.
        path: the route.
        facts: the data set.
        keys: entities of a request.
        features: how many features.
        seconds: how long a run asks.
    """

    def __init__(
        self, command: list[str], env: dict[str, str], path: str, facts: str, keys: int, features: int, seconds: float
    ) -> None:
        from tests.servers import free_port, need, wait_until

        self._wrk = need("wrk", "wrk")
        self._seconds = seconds
        self._port = free_port()
        folder = work_folder()
        names = [f"v0:{name}" for name in features_of(facts, 0)[:features]]
        questions = asked_keys(facts, keys)[:_QUESTIONS]
        (folder / "bodies").write_text(
            "\n".join(json.dumps({"features": names, "entities": {"key": asked}}) for asked in questions)
        )
        (folder / "ask.lua").write_text(_LUA.format(bodies=folder / "bodies", path=path))
        self._script = folder / "ask.lua"
        began = time.perf_counter()
        with (folder / "worker.log").open("wb") as log:
            filled = [word.replace("{port}", str(self._port)) for word in command]
            self._worker = subprocess.Popen(filled, cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log)
        wait_until(lambda: self._answers(questions[0], names, path), "the worker")
        self._ready_seconds = time.perf_counter() - began

    def run(self, index: int) -> Reading:
        """Some seconds of load."""
        before = self._cpu_seconds()
        command = [self._wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{self._seconds:g}s", "--latency", "-s", str(self._script)]
        done = subprocess.run([*command, f"http://127.0.0.1:{self._port}"], capture_output=True, text=True, check=True)
        cpu = self._cpu_seconds() - before
        if "Non-2xx" in done.stdout:
            raise RuntimeError(f"answers are errors: {done.stdout}")
        count = int(_find(r"(\d+) requests in", done.stdout))
        rate = float(_find(r"Requests/sec:\s+([\d.]+)", done.stdout))
        facts = {
            "cpu_seconds": cpu / count,
            "resident_bytes": self._resident_bytes(),
            "ready_seconds": self._ready_seconds,
            "latency": {share: _find(rf"{share}%\s+(\S+)", done.stdout) for share in (50, 99)},
        }
        return Reading(1 / rate, facts)

    def close(self) -> None:
        """Stops the worker."""
        self._worker.terminate()
        self._worker.wait()

    def _answers(self, asked: list[int], names: list[str], path: str) -> bool:
        from urllib.error import URLError
        from urllib.request import Request, urlopen

        body = json.dumps({"features": names, "entities": {"key": asked}}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            with urlopen(Request(f"http://127.0.0.1:{self._port}{path}", body, headers), timeout=5) as answer:
                return bool(answer.status == 200)
        except URLError as error:
            if self._worker.poll() is not None:
                raise RuntimeError(f"the worker has ended: {error}") from error
            return False

    def _cpu_seconds(self) -> float:
        words = Path(f"/proc/{self._worker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / _TICKS

    def _resident_bytes(self) -> int:
        return int(_find(r"VmRSS:\s+(\d+)", Path(f"/proc/{self._worker.pid}/status").read_text())) * 1024


class TiffinServer(Loaded):
    """`tiffin serve`, as it comes, with its access log."""

    def __init__(self, facts: str, path: str = "/get-online-features", **question: Any) -> None:
        self._open = ExitStack()
        folder = work_folder()
        write_repository(folder, "tiffin", online=start_server("redis", self._open))
        store = open_store("tiffin", folder)
        store.apply(define_views("tiffin", [facts], created=True, online=True))
        store.materialize(*RANGE)
        store.close()
        command = [sys.executable, "-m", "tiffin.cli", "-c", str(folder), "serve", "--port", "{port}"]
        super().__init__(command, {}, path, facts, **question)

    def close(self) -> None:
        """Stops both servers."""
        super().close()
        self._open.close()


class BareServer(Loaded):
    """An application under uvicorn that reads the same rows by one MGET, unpacks them and answers JSON."""

    def __init__(self, facts: str, app: str, **question: Any) -> None:
        self._raw = RawRedis()
        table = pq.read_table(data_path(facts)).sort_by("key")
        names = features_of(facts, 0)
        self._raw.write(0, table["key"].to_pylist(), pack_rows(table, names))
        port = self._raw.client.connection_pool.connection_kwargs["port"]
        words = ["--port", "{port}", "--no-access-log", "--log-level", "warning"]
        env = {"BARE_REDIS": str(port), "BARE_NAMES": ",".join(names)}
        super().__init__([sys.executable, "-m", "uvicorn", app, *words], env, "/read", facts, **question)

    def close(self) -> None:
        """Stops both servers."""
        super().close()
        self._raw.open.close()


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"{pattern!r} is not in {text!r}")
    return found[1]


def tiffin(**arguments: Any) -> Work:
    """The server of tiffin, ready."""
    return TiffinServer(**arguments)


def bare(**arguments: Any) -> Work:
    """A bare application, ready."""
    return BareServer(**arguments)
