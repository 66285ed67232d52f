"""An audit log that shows when it was changed: each line has the hash of the line before it.

A line is JSON without line breaks, with ``previous`` and ``hash``: SHA-256 of the line without its hash. Whoever
changes, removes or inserts a line has to write all later ones anew; who keeps the newest hash elsewhere sees that too.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tiffin.errors import StoreError
from tiffin.time import Clock, format_us

#: What the first line has for the hash of the line before it.
START = "0" * 64
_TAIL_BYTES = 1 << 16


class AuditLog:
    """Appends to an audit log; several processes may do so at once.

    Args:
        path: the file; made with the first line, and readable by its owner only.
        clock: tells when something happened.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()

    def append(self, event: Mapping[str, Any]) -> str:
        """Write down an event, durably, and give the hash of its line.

        Raises:
            StoreError: it cannot be written; what was about to happen had better not.
        """
        try:
            with self._lock, self._locked() as file:
                line = {"time": format_us(self._clock.now_us()), **event, "previous": _last_hash(file)}
                digest = _hash(line)
                file.seek(0, os.SEEK_END)
                file.write(_text({**line, "hash": digest}).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the audit log {self._path} cannot be written: {error}",
                subject="audit log",
                hint="look at the file, its folder and the room on the disk",
            ) from error
        return digest

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        import fcntl

        self._path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(number, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def verify_audit_log(path: Path, newest_hash: str = "") -> int:
    """Check that an audit log is as it was written.

    Args:
        path: the file.
        newest_hash: the hash of its last line, as it was kept elsewhere; without it lines that were cut off at the end
            are not missed.

    Returns:
        How many lines it has.

    Raises:
        StoreError: it was changed, or cannot be read; names the line.
    """
    previous, count = START, 0
    try:
        with path.open(encoding="utf-8") as file:
            for count, text in enumerate(file, start=1):
                line = json.loads(text)
                digest = line.pop("hash")
                if line["previous"] != previous or _hash(line) != digest:
                    raise _changed(path, count)
                previous = digest
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _changed(path, count) from error
    except OSError as error:
        raise StoreError(f"the audit log {path} cannot be read: {error}", subject="audit log") from error
    if newest_hash and newest_hash != previous:
        raise _changed(path, count + 1)
    return count


def _last_hash(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    if not size:
        return START
    wanted = _TAIL_BYTES
    while True:
        file.seek(max(0, size - wanted))
        tail = file.read()
        if not tail.endswith(b"\n"):
            raise ValueError("its last line is not whole; move the file away")
        _, line_break, last = tail[:-1].rpartition(b"\n")
        if line_break or wanted >= size:
            return str(json.loads(last)["hash"])
        wanted *= 2


def _hash(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(line).encode()).hexdigest()


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, sort_keys=True, separators=(",", ":"))


def _changed(path: Path, line: int) -> StoreError:
    return StoreError(
        f"the audit log {path} was changed: line {line} does not follow from the one before it",
        subject="audit log",
        location=f"{path}:{line}",
        hint="compare it with a copy",
    )
