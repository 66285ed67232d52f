"""HTTP as uvicorn does it, but the head of an answer and its body leave in one packet.

uvicorn hands them to the transport one after the other, and uvloop sends what it is handed at once: two calls of the
system for every answer, and two packets, each of which wakes the client.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


class JoiningTransport:
    """Stands before a transport, and hands on together what is written in one turn of the event loop.

    Args:
        transport: the transport behind, which does everything else.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send it with what else is written before ``flush``, which comes by itself at the end of the turn."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            if not self._transport.is_closing():
                self._transport.writelines(waiting)

    def close(self) -> None:
        """Send what was written, then close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class JoiningProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """What uvicorn writes from now on goes through here."""
        super().connection_made(transport)
        self.transport = JoiningTransport(transport)

    def on_response_complete(self) -> None:
        """An answer is whole: it goes out now, before others get their turn."""
        self.transport.flush()
        super().on_response_complete()
