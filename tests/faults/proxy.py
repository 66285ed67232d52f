"""A TCP proxy that does to a connection what networks do: delay, drip, hang, cut, reset, refuse."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Faults:
    """What happens to replies from now on, of connections that are open too; nothing when all is as it is here.

    Attributes:
        delay_seconds: before each piece of a reply.
        drip_bytes: how many bytes at once, with the delay before each; all when 0.
        reset_after_bytes: a connection is reset once so many bytes of replies have passed; ``None`` for never.
        once: all is well again after the first reset.
        hangs: replies are kept back.
    """

    delay_seconds: float = 0.0
    drip_bytes: int = 0
    reset_after_bytes: int | None = None
    once: bool = False
    hangs: bool = False


@dataclass
class Proxy:
    """Listens on ``port`` and passes everything on to ``target``; resets who comes while nobody listens there."""

    target: int
    faults: Faults = field(default_factory=Faults)
    port: int = 0

    def __post_init__(self) -> None:
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()

    def listen(self) -> None:
        """Take connections; on the same port again after ``refuse``."""
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Take no connections, and reset those that are open."""
        if self._listener is not None:
            # Closing alone does not wake the thread that waits in accept.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            opened, self._open = self._open, []
        for each in opened:
            _reset(each)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._open += [client, server]
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self._replies, args=(server, client), daemon=True).start()

    @staticmethod
    def _requests(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                while data:
                    faults = self.faults
                    if faults.hangs:
                        time.sleep(0.01)
                        continue
                    time.sleep(faults.delay_seconds)
                    piece = data[: faults.drip_bytes or len(data)]
                    if faults.reset_after_bytes is not None:
                        piece = piece[: max(faults.reset_after_bytes - passed, 0)]
                    client.sendall(piece)
                    passed += len(piece)
                    data = data[len(piece) :]
                    if faults.reset_after_bytes is not None and passed >= faults.reset_after_bytes:
                        if faults.once:
                            self.faults = Faults()
                        _reset(client)
                        _reset(server)
                        return
        _close(client)
        _close(server)


@contextmanager
def proxy_of(target: int) -> Iterator[Proxy]:
    """A proxy before a port of the loopback."""
    proxy = Proxy(target)
    proxy.listen()
    try:
        yield proxy
    finally:
        proxy.faults = Faults()
        proxy.refuse()


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)
    _close(connection)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.close()
