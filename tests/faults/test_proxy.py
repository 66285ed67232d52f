"""The proxy spoils what it is told to spoil, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from faults.proxy import Faults, Proxy, proxy_of

SAID = bytes(range(256)) * 400


class Echo:
    """A server that says everything again."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with proxy_of(echo.port) as proxy:
        yield proxy


def said_again(proxy: Proxy, said: bytes, *, wait_seconds: float = 10.0) -> bytes:
    """What comes back through the proxy, up to the length of what was said."""
    heard = b""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=wait_seconds) as connection:
        connection.sendall(said)
        while len(heard) < len(said) and (data := connection.recv(65_536)):
            heard += data
    return heard


def test_everything_comes_back_when_nothing_is_wrong(proxy: Proxy) -> None:
    assert said_again(proxy, SAID) == SAID


def test_delayed_pieces_come_late_and_whole(proxy: Proxy) -> None:
    proxy.faults = Faults(delay_seconds=0.01, drip_bytes=10)
    began = time.monotonic()
    assert said_again(proxy, SAID[:100]) == SAID[:100]
    assert time.monotonic() - began >= 0.1


def test_connection_is_reset_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.faults = Faults(reset_after_bytes=1000)
    with pytest.raises(ConnectionResetError):
        said_again(proxy, SAID)
    proxy.faults = Faults()
    assert said_again(proxy, SAID) == SAID


def test_connection_is_reset_once(proxy: Proxy) -> None:
    proxy.faults = Faults(reset_after_bytes=1000, once=True)
    with pytest.raises(ConnectionResetError):
        said_again(proxy, SAID)
    assert said_again(proxy, SAID) == SAID


def test_hanging_replies_come_when_the_fault_is_gone(proxy: Proxy) -> None:
    proxy.faults = Faults(hangs=True)
    with pytest.raises(TimeoutError):
        said_again(proxy, SAID, wait_seconds=0.1)
    proxy.faults = Faults()
    assert said_again(proxy, SAID) == SAID


def test_nobody_is_let_in_while_it_refuses(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        said_again(proxy, SAID)
    proxy.listen()
    assert said_again(proxy, SAID) == SAID


def test_proxy_outlives_its_target(echo: Echo, proxy: Proxy) -> None:
    echo.close()
    for _ in range(3):
        with pytest.raises(ConnectionError):
            said_again(proxy, SAID)
    again = Echo()
    proxy.target = again.port
    assert said_again(proxy, SAID) == SAID
    again.close()
