"""STR-1 with real processes and a real broker: killed, paused and restarted workers leave an undisturbed state."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from brokers import Kafka, shared_broker
from faults.checking import check, wait_for
from faults.clicks import NOW_US, SECOND_US, message, repository, troubled, views
from servers import free_port, redis_server, wait_until
from tiffin.operations.stream import run_stream, stream_status

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("kafka")]
PARTITIONS = 4
#: New ones for each life of a worker that is to be killed, about.
MESSAGES = 1_000
#: Those of `stream_process.py`.
MOMENTS = "before", "after", "unappended", "appended", "committed", "time"


@pytest.fixture(scope="module")
def kafka() -> Kafka:
    return shared_broker()


def process(role: str, folder: Path, *more: int) -> subprocess.Popen[str]:
    """A process of `stream_process.py` that has said that it is ready."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, str(here / "stream_process.py"), role, str(folder), *map(str, more)]
    started = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


@pytest.mark.parametrize("kills", [20, pytest.param(1_000, marks=[pytest.mark.deep, pytest.mark.timeout(3600)])])
def test_killed_workers_leave_an_undisturbed_state(kafka: Kafka, tmp_path: Path, kills: int) -> None:
    """STR-1: SIGKILL before and after a write is durable, after a commit, and at any time, again and again."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    topic, messages = kafka.topic(PARTITIONS), troubled(kills * MESSAGES, seed)
    share = -(-len(messages) // kills)
    repository(tmp_path, views(tmp_path, kafka.address, topic, is_strict=True)).close()
    died = 0
    with process("lives", tmp_path) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for life in range(kills + 50):
            # New ones for each life: one that its moment never reached would leave nothing to those after it.
            kafka.send(topic, messages[life * share : (life + 1) * share])
            moment = chance.choice(MOMENTS) if died < kills else "never"
            at = chance.randrange(1, 60) if moment == "time" else chance.randrange(1, 4)
            parent.stdin.write(f"{moment} {at} {chance.randrange(MESSAGES // 8, MESSAGES // 4)}\n")
            parent.stdin.flush()
            code = int(parent.stdout.readline())
            assert code in (0, -signal.SIGKILL), f"life {life} ended with {code}"
            died += code != 0
            if code == 0 and life + 1 >= kills:
                break
        parent.stdin.close()
    print(f"{died} died")
    assert died >= kills // 2
    check(tmp_path, kafka, topic, messages)


def test_paused_workers_and_restarted_brokers_leave_an_undisturbed_state(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1: of two workers one is paused until its partitions are gone, and wakes; then the broker is killed."""
    topic, messages = kafka.topic(PARTITIONS), troubled(4_500, seed=5)
    parts = [messages[:2_000], messages[2_000:4_000], messages[4_000:]]
    ctx = repository(tmp_path, views(tmp_path, kafka.address, topic, is_strict=True))
    (status,) = stream_status(ctx, history=True)
    with ExitStack() as stack:
        workers = [stack.enter_context(process("worker", tmp_path, 100)) for _ in range(2)]
        for worker in workers:
            stack.callback(worker.kill)
        wait_until(lambda: kafka.readers(status.group) == 2, "both workers")
        kafka.send(topic, parts[0])
        # More than one of them has in its partitions.
        wait_for(ctx, len(parts[0]) * 3 // 4)
        workers[0].send_signal(signal.SIGSTOP)
        kafka.send(topic, parts[1])
        # Longer than a session. It may hold SQLite's lock meanwhile, so the other one need not get on before it wakes.
        threading.Event().wait(2)
        workers[0].send_signal(signal.SIGCONT)
        wait_for(ctx, len(parts[0]) + len(parts[1]))
        kafka.restart()
        kafka.send(topic, parts[2])
        wait_for(ctx, len(messages))
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            out, _ = worker.communicate(timeout=100)
            assert worker.returncode == 0
            assert json.loads(out)["messages"] > 0
    ctx.close()
    check(tmp_path, kafka, topic, messages)


def test_store_that_is_away_for_a_while_is_waited_for(kafka: Kafka, tmp_path: Path) -> None:
    """STR-1, WR-7: the store goes in the middle of the stream, for longer than a session of the group."""
    topic, messages = kafka.topic(PARTITIONS), troubled(3_000, seed=6)
    with redis_server("--appendonly", "yes") as redis:
        online = {
            "type": "redis",
            "connection_string": f"redis://127.0.0.1:{redis.port}",
            "write_deadline_seconds": 0.3,
            "breaker_seconds": 0.1,
        }
        session = {"session_timeout_seconds": 2.0}
        ctx = repository(tmp_path, views(tmp_path, kafka.address, topic, is_strict=True), online=online, kafka=session)
        stop, found = threading.Event(), []
        thread = threading.Thread(target=lambda: found.extend(run_stream(ctx, stop=stop)))
        kafka.send(topic, messages[:1_000])
        thread.start()
        watcher = repository(tmp_path, None, online=online)

        wait_for(watcher, 1_000, is_kept=False)
        redis.stop()
        kafka.send(topic, messages[1_000:])
        threading.Event().wait(4)
        redis.start()
        wait_for(watcher, len(messages), is_kept=False)
        stop.set()
        thread.join(100)
        assert [each.messages for each in found] == [len(messages)]
        watcher.close()
        ctx.close()
        check(tmp_path, kafka, topic, messages, is_kept=False, online=online)


def test_worker_that_is_asked_to_end_drains_and_says_what_it_did(kafka: Kafka, tmp_path: Path) -> None:
    """The command itself: SIGTERM ends it after its batch, with its positions committed."""
    topic = kafka.topic(PARTITIONS)
    now = repository(tmp_path, views(tmp_path, kafka.address, topic))
    (tmp_path / "feature_store.yaml").write_text("project: tests\nregistry: registry.db\nonline_store: sqlite\n")
    kafka.send(topic, [message(n, NOW_US - n * SECOND_US, n) for n in range(500)])
    words = [sys.executable, "-m", "tiffin.cli", "-c", str(tmp_path), "stream"]
    port = free_port()

    def is_told() -> bool:
        with suppress(URLError), urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return 'tiffin_stream_messages_total{source="clicks"} 500.0' in answer.read().decode()
        return False

    with subprocess.Popen(
        [*words, "run", "--json", "--metrics-port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        wait_for(now, 500, is_kept=False)
        wait_until(is_told, "metrics")
        worker.send_signal(signal.SIGTERM)
        out, errors = worker.communicate(timeout=100)
    assert (worker.returncode, errors) == (0, "")
    (source,) = json.loads(out)["sources"]
    assert (source["messages"], source["written"], source["lag"]) == (500, 500, 0)
    # The command goes by the machine's clock, for which they are too old for every window.
    assert source["expired"] == 500
    shown = subprocess.run([*words, "status", "--json"], capture_output=True, text=True, check=True)
    (source,) = json.loads(shown.stdout)["sources"]
    assert sum(part["messages"] for part in source["partitions"]) == 500
    plain = subprocess.run([*words, "status"], capture_output=True, text=True, check=True)
    assert "clicks feeds clicks, spending; watermark: " in plain.stdout
    now.close()
