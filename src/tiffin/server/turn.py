"""One load at a time, among all workers of a server."""

from __future__ import annotations

from pathlib import Path
from typing import IO


class Turn:
    """Whose turn it is to load. The system takes it from a worker that dies.

    Args:
        file: known to all workers of a server; ``None`` where there is one.
    """

    def __init__(self, file: Path | None) -> None:
        self._path = file
        self._locked: IO[bytes] | None = None
        self._is_taken = False

    def take(self) -> bool:
        """Take it, and say whether it was free."""
        if self._is_taken:
            return False
        if self._path is not None:
            import fcntl

            file = self._path.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return False
            self._locked = file
        self._is_taken = True
        return True

    def give_back(self) -> None:
        """Let another one have it."""
        self._is_taken = False
        if self._locked is not None:
            self._locked.close()
            self._locked = None
