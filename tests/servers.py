"""Real servers for tests, started on free ports of the loopback and stopped afterwards; missing ones skip the test."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

#: What a machine that does other things at the same time may add to a deadline. A client without one waits for ever, or
#: for as many minutes as its library likes.
SLACK_SECONDS = 5.0
#: Options of a store, or of a server, for tests of what it answers, not of when.
PATIENT = {"deadline_seconds": 60.0, "write_deadline_seconds": 60.0}
_START_SECONDS = 60.0
_MOTO = Path(__file__).with_name("moto_at_one_moment.py")
#: Below the ports that the system hands out to connections.
_PORTS = range(20_000, 32_000)
_held: list[socket.socket] = []


def free_port() -> int:
    """A port that nobody listens on now, and that nobody takes before the server does which it is for.

    The system gives it to no connection, and a socket of UDP with its number tells other processes of tests.
    """
    while True:
        port = secrets.choice(_PORTS)
        held = socket.socket(type=socket.SOCK_DGRAM)
        try:
            held.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            continue
        _held.append(held)
        return port


def skip(reason: str) -> NoReturn:
    """Skip the test that runs. Benchmarks start servers too, in environments without pytest."""
    import pytest

    pytest.skip(reason)


def need(program: str, package: str) -> str:
    """The path of a program, else a skip that says what provides it."""
    found = shutil.which(program)
    if found is None:
        skip(f"{program} is not installed; apt-get install {package} provides it")
    return found


def need_module(module: str, extra: str) -> None:
    """Skip when a Python package is missing, and say what provides it."""
    if importlib.util.find_spec(module) is None:
        skip(f"{module} is not installed; pip install 'tiffin[{extra}]' provides it")


def wait_until(
    is_ready: Callable[[], bool], what: str, *, seconds: float = _START_SECONDS, pause_seconds: float = 0.01
) -> None:
    """Wait for a server that was just started, or for what it does."""
    until = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not start within {seconds:g} s")
        time.sleep(pause_seconds)


def answers(port: int) -> bool:
    """Whether something listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Server:
    """A server process of a test's own, which can be hung, killed and started again on the same port.

    One that ``leads_group`` is killed together with the processes that it has started.
    """

    command: list[str]
    port: int
    home: Path
    is_ready: Callable[[int], bool] = answers
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    leads_group: bool = False

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.home, stdout=log, stderr=log, start_new_session=self.leads_group
            )
        wait_until(lambda: self.is_ready(self.port), self.command[0])

    def pause(self) -> None:
        """Stop it where it stands; connections stay open and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            if self.leads_group:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def redis_server(*options: str, is_tls: bool = False) -> Iterator[Server]:
    """A Redis of its own, without persistence.

    Args:
        options: further words of its command line, such as ``--requirepass``, ``x``.
        is_tls: it speaks nothing but TLS; the options then name its certificate.
    """
    program, port = need("redis-server", "redis-server"), free_port()
    need_module("redis", "redis")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        ports = ["--port", "0", "--tls-port", str(port)] if is_tls else ["--port", str(port)]
        plain = ["--bind", "127.0.0.1", *ports, "--save", "", "--appendonly", "no", "--dir", name]
        server = Server([program, *plain, *options], port, Path(name))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@dataclass(frozen=True)
class Watched:
    """A Redis with a replica, and a sentinel that makes this the master when the first one is gone."""

    master: Server
    replica: Server
    sentinel: Server


@contextmanager
def watched_redis(*options: str, auth: Sequence[str] = (), watcher: Sequence[str] = ()) -> Iterator[Watched]:
    """A Redis, its replica and its sentinel, which calls them ``mymaster``.

    Args:
        options: further words of the command line of master and replica.
        auth: lines for the sentinel's file, which let it in at the others, such as ``sentinel auth-pass mymaster x``.
        watcher: lines for the sentinel's file about itself, such as ``requirepass y``.
    """
    with ExitStack() as stack:
        master = stack.enter_context(redis_server("--repl-diskless-sync-delay", "0", *options))
        replica = stack.enter_context(redis_server("--replicaof", f"127.0.0.1 {master.port}", *options))
        home, port = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))), free_port()
        # It learns of the replica when it first asks the master, and then only after ten seconds again.
        wait_until(lambda: b"MASTER <-> REPLICA sync: Finished" in (replica.home / "log").read_bytes(), "replication")
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {home}",
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 2000",
            *auth,
            *watcher,
        ]
        (home / "sentinel.conf").write_text("".join(f"{line}\n" for line in lines))
        sentinel = Server([need("redis-server", "redis-server"), "sentinel.conf", "--sentinel"], port, home)
        stack.callback(sentinel.stop)
        sentinel.start()
        wait_until(lambda: b"+slave" in (home / "log").read_bytes(), "the sentinel's watch")
        yield Watched(master, replica, sentinel)


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL of a test's own: database ``postgres``, user ``tests``, no password."""

    port: int
    home: Path
    call: Callable[..., None]

    @property
    def url(self) -> str:
        """Where it is, as libpq reads it."""
        return f"postgresql://tests@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -k {self.home} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.call("pg_ctl", "-D", self.home / "data", "-o", options, "-l", self.home / "log", "-w", "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self.call("pg_ctl", "-D", self.home / "data", "-m", "immediate", "-w", "stop")

    def postmaster(self) -> int:
        """The process that all of its processes descend from."""
        return int((self.home / "data" / "postmaster.pid").read_text().split()[0])


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL of its own. It does not run as the superuser, so it is given to Debian's user."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        skip("PostgreSQL is not installed; apt-get install postgresql provides it")
    need_module("psycopg", "postgres")
    folder, port = folders[-1], free_port()
    user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        home = Path(name)
        if user is not None:
            os.chown(home, user, -1)

        def call(program: str, *words: object) -> None:
            command = [str(folder / program), *map(str, words)]
            subprocess.run(command, user=user, check=True, cwd=home, stdout=subprocess.DEVNULL)

        call("initdb", "-D", home / "data", "-A", "trust", "-U", "tests")
        server = Postgres(port, home, call)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def moto_server() -> Iterator[Server]:
    """AWS's services as moto plays them, by HTTP, in a process of its own."""
    need_module("moto", "dev")
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        server = Server([sys.executable, str(_MOTO), "-H", "127.0.0.1", "-p", str(port)], port, Path(name))
        try:
            server.start()
            yield server
        finally:
            server.stop()
