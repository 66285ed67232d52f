"""Structured logs: a line of JSON for every event, written a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from tiffin.time import SECOND_US, Clock, format_us

_FLUSH_SECONDS = 0.1
_FLUSH_LINES = 200


class JsonLog:
    """Writes lines to a stream, soon; all of them before ``flush`` returns.

    Args:
        stream: binary; ``None`` writes nothing.
        clock: tells when something happened.
    """

    def __init__(self, stream: IO[bytes] | None, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._lines: list[bytes] = []
        self._is_planned = False
        self._second, self._second_text = -1, ""
        self._encode = msgspec.json.Encoder().encode

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        """Log an event."""
        if self._stream is None:
            return
        self._lines.append(self._encode({"time": self._time(), "event": event, **fields}))
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif not self._is_planned:
            self._plan()

    def flush(self) -> None:
        """Write what waits."""
        self._is_planned = False
        lines, self._lines = self._lines, []
        if self._stream is None or not lines:
            return
        try:
            self._stream.write(b"\n".join([*lines, b""]))
            self._stream.flush()
        except OSError:
            # A log that cannot be written must not end the serving; there is nowhere to say so.
            self._stream = None

    def _time(self) -> str:
        """Now, in RFC 3339; what is the same for all lines of a second is written once."""
        second, us = divmod(self._clock.now_us(), SECOND_US)
        if second != self._second:
            self._second, self._second_text = second, format_us(second * SECOND_US).removesuffix("Z")
        return f"{self._second_text}.{us:06d}Z" if us else f"{self._second_text}Z"

    def _plan(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._is_planned = True
        loop.call_later(_FLUSH_SECONDS, self.flush)
