"""Workers of a stream as processes of the command line: how fast, how large, how soon a click is served, and how soon
one goes on after another was killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.data import work_folder
from benchmarks.process import ROOT
from benchmarks.sides.streams import Streams, user_of
from benchmarks.work import Reading, Work

#: Workers that are stopped while the messages are sent may be unheard of so long.
_PATIENCE_SECONDS = 900.0
_PATIENCE = {"max.poll.interval.ms": int(_PATIENCE_SECONDS * 1000)}
_START_SECONDS, _LONGEST_SECONDS = 60.0, 900.0
_TICK_SECONDS = 0.005
#: The user whose clicks are waited for, who is nobody else's.
_MARKED = 1_000_000


class _Workers(Streams):
    """Workers that are there and have nothing to do yet."""

    def __init__(self, online: str, workers: int, session_seconds: float, *, history: bool = False) -> None:
        from confluent_kafka.admin import AdminClient

        from benchmarks.sides.store import start_server
        from tiffin import FeatureStore

        super().__init__(0)
        folder = work_folder()
        config = {
            "project": "bench",
            "registry": "registry.db",
            "online_store": start_server(online, self.open) or {"type": "sqlite"},
            "streams": {
                "history_seconds": 2.0,
                "kafka": {"session_timeout_seconds": session_seconds, "properties": _PATIENCE},
            },
        }
        (folder / "feature_store.yaml").write_text(json.dumps(config))
        self.store = FeatureStore(repo_path=folder)
        self.store.apply(self.definitions(folder))
        self._history = history
        self._command = [sys.executable, "-m", "tiffin.cli", "-c", str(folder), "stream", "run", "--json"]
        self._command += ["--history"] if history else []
        self.workers: list[subprocess.Popen[bytes]] = []
        self._admin = AdminClient(self.kafka.settings())
        try:
            for _ in range(workers):
                self.start()
            # The partitions have to be divided before there is anything to do.
            self._wait(lambda: self._members() == workers, "workers")
            self.send(range(1_000), datetime.now(UTC))
            self._wait(lambda: self.waiting() == 0, "the first messages")
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """One more worker."""
        with Path(os.devnull).open("wb") as nothing:
            self.workers.append(subprocess.Popen(self._command, cwd=ROOT, stdout=nothing))

    def waiting(self) -> int:
        """Messages that are not done, as the broker tells."""
        (status,) = self.store.stream_status(history=self._history)
        return sum(part.lag or 0 for part in status.partitions)

    def _members(self) -> int:
        """Workers that have partitions."""
        from confluent_kafka import KafkaException

        group = "tiffin.bench.clicks" + ("+history" if self._history else "")
        try:
            told = self._admin.describe_consumer_groups([group])[group].result(30)
        except KafkaException:
            return 0  # The first one has not come yet.
        return sum(bool(member.assignment.topic_partitions) for member in told.members)

    def _wait(self, is_done: Callable[[], bool], what: str, seconds: float = _START_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not is_done():
            for worker in self.workers:
                if worker.poll() not in (None, -signal.SIGKILL):
                    raise RuntimeError(f"a worker has ended with {worker.returncode}")
            if time.monotonic() > until:
                raise RuntimeError(f"{what}: not there within {seconds:g} s")
            time.sleep(0.1)

    def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.store.close()
        super().close()


class Catching(_Workers):
    """Workers are stopped, messages are sent, workers go on: from then until all of it is done.

    So their start, and the producer, are not in the time. Positions are committed twice a second, which is how exact
    the time is.
    """

    def __init__(self, messages: int, online: str = "sqlite", workers: int = 1, history: bool = False) -> None:
        super().__init__(online, workers, _PATIENCE_SECONDS, history=history)
        self.count = messages
        for worker in self.workers:
            worker.send_signal(signal.SIGSTOP)
        self.send(range(messages), datetime.now(UTC))

    def run(self, index: int) -> Reading:
        """Everything once."""
        before, began = sum(map(_cpu_seconds, self.workers)), time.perf_counter()
        for worker in self.workers:
            worker.send_signal(signal.SIGCONT)
        self._wait(lambda: self.waiting() == 0, f"{self.count} messages", _LONGEST_SECONDS)
        seconds = time.perf_counter() - began
        cpu = sum(map(_cpu_seconds, self.workers)) - before
        peak = max(int(_told(worker, "VmHWM")) for worker in self.workers)
        return Reading(seconds, {"cpu_seconds": cpu / self.count, "peak_bytes": peak})


class Fresh(_Workers):
    """From the moment at which a click is sent until it is served, while others come at a steady rate."""

    def __init__(self, rate: int, seconds: float, online: str = "sqlite") -> None:
        super().__init__(online, 1, 10.0)
        self._rate, self._seconds = rate, seconds
        self._measured: list[float] = []

    def run(self, index: int) -> Reading:
        """One of many: the first run takes them all."""
        if not index:
            self._measured = self._measure()
            random.Random(0).shuffle(self._measured)
            if self.waiting() > self._rate:
                raise RuntimeError(f"{self.waiting():,} messages wait in the end: {self._rate:,} a second are too many")
        measured = self._measured
        peak = int(_told(self.workers[0], "VmHWM"))
        return Reading(measured[index % len(measured)], {"peak_bytes": peak, "samples": len(measured)})

    def _measure(self) -> list[float]:
        """Seconds until clicks were served; in the first tenth of the time nothing is measured."""
        line = _Line(self)
        found: list[float] = []
        while line.passed < self._seconds:
            line.tick(self._rate)
            served = line.served()
            found += served if line.passed > self._seconds / 10 else []
        return found


class Recovering(_Workers):
    """From the moment at which the only worker is killed until a click of that moment is served by another one."""

    def __init__(self, rate: int, online: str = "sqlite") -> None:
        super().__init__(online, 1, 10.0)
        self._rate = rate

    def run(self, index: int) -> Reading:
        """One kill, and another worker at once."""
        line = _Line(self)
        while not line.served():
            line.tick(self._rate)
        self.workers[-1].kill()
        self.workers[-1].wait()
        killed = time.perf_counter()
        self.start()
        mark = line.mark()
        while line.waits_for(mark):
            line.tick(self._rate)
            line.served()
        return Reading(time.perf_counter() - killed, {"peak_bytes": 0})


class _Line:
    """A producer that keeps a rate, and marks clicks that are looked for."""

    def __init__(self, work: _Workers) -> None:
        from confluent_kafka import Producer

        self._work = work
        self._producer = Producer(work.kafka.settings() | {"linger.ms": "1"})
        self._began = time.perf_counter()
        self._made = 0
        self._marks: dict[int, float] = {}

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._began

    def tick(self, rate: int) -> None:
        """Send what is due, and a marked click."""
        at = datetime.now(UTC).isoformat()
        due = int(self.passed * rate)
        for number in range(self._made, due):
            self._send(user_of(number), number, at)
        self._made = due
        self.mark()
        self._producer.poll(_TICK_SECONDS)

    def mark(self) -> int:
        """Send a click that is looked for; returns its number."""
        now = time.perf_counter()
        # Later than those before, to the microsecond, or it would not be the newest.
        number = int(now * 1e6)
        self._marks[number] = now
        self._send(_MARKED, number, datetime.now(UTC).isoformat())
        return number

    def served(self) -> list[float]:
        """Seconds that marked clicks took which can be read now and could not before."""
        answer = self._work.store.get_online_features(["clicks:n"], {"user": [_MARKED]}).to_dict()["n"][0]
        now = time.perf_counter()
        done = [number for number in self._marks if answer is not None and number <= answer]
        return [now - self._marks.pop(number) for number in done]

    def waits_for(self, number: int) -> bool:
        """Whether a marked click was not served yet."""
        return number in self._marks

    def _send(self, user: int, number: int, at: str) -> None:
        value = b'{"user": %d, "at": "%s", "amount": 0.5, "page": "/page/7", "n": %d, "agent": "of no use to anybody"}'
        self._producer.produce(self._work.topic, value % (user, at.encode(), number), b"%d" % user)


def _told(worker: subprocess.Popen[bytes], what: str) -> int:
    """Bytes that the system tells of a process."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) * 1024


def _cpu_seconds(worker: subprocess.Popen[bytes]) -> float:
    words = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def catching(messages: int, online: str = "sqlite", workers: int = 1, history: bool = False) -> Work:
    """Throughput and memory."""
    return Catching(messages, online, workers, history)


def fresh(rate: int, seconds: float, online: str = "sqlite") -> Work:
    """From sent to served."""
    return Fresh(rate, seconds, online)


def recovering(rate: int, online: str = "sqlite") -> Work:
    """From killed to served."""
    return Recovering(rate, online)
