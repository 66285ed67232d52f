"""Servers of features under load: tiffin's, Feast's, and bare applications that do the same read.

Each side starts a Redis of its own, fills it, and starts one worker that reads from it. A run is some seconds of load
by wrk over sixteen connections, all asking for different keys. wrk and the worker share the machine, for all sides
alike. What is told of a run is by its ``load``:

- ``full``: the time of a request, one second by the requests a second, and the processor time of the worker for one.
- ``half``: the time that 99 % of the requests do not exceed, at half of the requests a second of a full load before.
- ``changes``: the same, while the definitions are changed twenty times.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
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
#: How often definitions are changed, and how often the servers look for newer ones then.
_CHANGES, _LOOK_SECONDS = 20, 1
_START_SECONDS = 180.0
_TICKS = os.sysconf("SC_CLK_TCK")
_LUA = """
local bodies = {{}}
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
local number = math.random(#bodies)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
delay = function() return math.random(0, {most_pause_ms}) end
request = function()
  number = number % #bodies + 1
  return wrk.format(nil, "{path}", nil, bodies[number])
end
"""


@dataclass(frozen=True)
class _Load:
    """What wrk tells: how many requests, how many a second, and how long half of them and 99 % took at most."""

    count: int
    rate: float
    p50: float
    p99: float


class Loaded(Work):
    """A worker that answers, and wrk that asks it.

    Args:
        command: starts the worker; ``{port}`` is where it is to listen.
        env: what its environment has besides.
        path: the route.
        facts: the data set.
        keys: entities of a request.
        features: how many features.
        seconds: how long a run asks.
        load: as above.
    """

    def __init__(
        self,
        command: list[str],
        env: dict[str, str],
        path: str,
        facts: str,
        keys: int,
        features: int,
        seconds: float,
        load: str = "full",
    ) -> None:
        from tests.servers import free_port, need, wait_until

        self._wrk = need("wrk", "wrk")
        self._seconds, self._load, self._path = seconds, load, path
        self._port = free_port()
        self._folder = folder = work_folder()
        names = [f"v0:{name}" for name in features_of(facts, 0)[:features]]
        questions = asked_keys(facts, keys)[:_QUESTIONS]
        (folder / "bodies").write_text(
            "\n".join(json.dumps({"features": names, "entities": {"key": asked}}) for asked in questions)
        )
        began = time.perf_counter()
        with (folder / "worker.log").open("wb") as log:
            filled = [word.replace("{port}", str(self._port)) for word in command]
            self._worker = subprocess.Popen(filled, cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log)
        wait_until(lambda: self._answers(questions[0], names, path), "the worker", seconds=_START_SECONDS)
        self._ready_seconds = time.perf_counter() - began

    def run(self, index: int) -> Reading:
        """Some seconds of load."""
        before = self._cpu_seconds()
        full = self._ask()
        cpu = (self._cpu_seconds() - before) / full.count
        facts = {
            "cpu_seconds": cpu,
            "resident_bytes": self._resident_bytes(),
            "ready_seconds": self._ready_seconds,
            "latency": {"p50": full.p50, "p99": full.p99},
        }
        if self._load == "full":
            return Reading(1 / full.rate, facts)
        # Each connection pauses between two questions, by chance, so that all of them together ask half as much.
        pause_ms = max(round(1000 * _CONNECTIONS / full.rate), 1)
        stopped = Event()
        changing = Thread(target=self._keep_changing, args=(stopped,))
        if self._load == "changes":
            changing.start()
        half = self._ask(2 * pause_ms)
        stopped.set()
        if self._load == "changes":
            changing.join()
        return Reading(half.p99, {**facts, "full_rate": full.rate, "rate": half.rate, "p50": half.p50})

    def change(self, number: int) -> None:
        """Changes the definitions."""
        raise NotImplementedError(f"{type(self).__name__} has no definitions")

    def _keep_changing(self, stopped: Event) -> None:
        for number in range(_CHANGES):
            self.change(number)
            if stopped.wait(self._seconds / (_CHANGES + 1)):
                return

    def _ask(self, most_pause_ms: int = 0) -> _Load:
        script = self._folder / "ask.lua"
        script.write_text(_LUA.format(bodies=self._folder / "bodies", path=self._path, most_pause_ms=most_pause_ms))
        command = [self._wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{self._seconds:g}s", "--latency", "-s", str(script)]
        done = subprocess.run([*command, f"http://127.0.0.1:{self._port}"], capture_output=True, text=True, check=True)
        count = int(_find(r"(\d+) requests in", done.stdout))
        if "Non-2xx" in done.stdout or not count:
            raise RuntimeError(f"answers are errors, or there are none: {done.stdout}")
        return _Load(
            count=count,
            rate=float(_find(r"Requests/sec:\s+([\d.]+)", done.stdout)),
            p50=_seconds(_find(r"\n\s+50%\s+(\S+)", done.stdout)),
            p99=_seconds(_find(r"\n\s+99%\s+(\S+)", done.stdout)),
        )

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

    def _processes(self) -> list[str]:
        """The worker and those that it has started."""
        found = [str(self._worker.pid)]
        for pid in found:
            found += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return found

    def _cpu_seconds(self) -> float:
        words = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._processes()]
        return sum(int(each[11]) + int(each[12]) for each in words) / _TICKS

    def _resident_bytes(self) -> int:
        states = [Path(f"/proc/{pid}/status").read_text() for pid in self._processes()]
        return max(int(_find(r"VmRSS:\s+(\d+)", state)) for state in states) * 1024


class StoreServer(Loaded):
    """The server of a feature store, over Redis.

    Args:
        api: ``tiffin``: `tiffin serve` as it comes, with its access log; ``feast``: `feast serve` without one, and
            without new workers after some requests.
        facts: the data set.
        question: what is asked, as for ``Loaded``.
    """

    def __init__(self, api: str, facts: str, **question: Any) -> None:
        self._open = ExitStack()
        self._api, self._facts = api, facts
        self._repository = folder = work_folder()
        write_repository(folder, api, online=start_server("redis", self._open))
        if api == "tiffin":
            text = json.loads((folder / "feature_store.yaml").read_text())
            text["feature_server"] = {"registry_seconds": _LOOK_SECONDS}
            (folder / "feature_store.yaml").write_text(json.dumps(text))
        self._store = open_store(api, folder)
        self._store.apply(define_views(api, [facts], created=True, online=True))
        self._store.materialize(*RANGE)
        module = [sys.executable, "-m", "tiffin.cli"] if api == "tiffin" else [str(Path(sys.executable).parent / api)]
        options = [] if api == "tiffin" else ["--no-access-log", "--max-requests", "0", "--max-requests-jitter", "0"]
        if api == "feast":
            changes = question.get("load") == "changes"
            options += ["--registry_ttl_sec", str(_LOOK_SECONDS if changes else 3600)]
        command = [*module, "-c", str(folder), "serve", "--port", "{port}", *options]
        super().__init__(command, {}, "/get-online-features", facts, **question)

    def change(self, number: int) -> None:
        """Applies the view with another tag."""
        entity, view = define_views(self._api, [self._facts], created=True, online=True, tags={"change": str(number)})
        self._store.apply([entity, view])

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


def _seconds(text: str) -> float:
    """A time as wrk writes it."""
    number = _find(r"^([\d.]+)", text)
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[text.removeprefix(number)]


def store_server(**arguments: Any) -> Work:
    """The server of a feature store, ready."""
    return StoreServer(**arguments)


def bare(**arguments: Any) -> Work:
    """A bare application, ready."""
    return BareServer(**arguments)
