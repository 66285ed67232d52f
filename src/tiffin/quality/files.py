"""Files that are replaced whole, or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tiffin.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.operations.context import Context


def monitor_file(ctx: Context, ending: str) -> Path:
    """Where it is kept what was seen or told of a project; a folder may have several projects."""
    return ctx.config.quality_path / "monitor" / f"{ctx.project}.{ending}"


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in the place of another one, durably; a reader sees the one or the other.

    Raises:
        StoreError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a file which one it is that cannot be written.

    Raises:
        StoreError: the operating system refuses.
    """
    try:
        yield
    except OSError as error:
        hint = "look at the folder and the free space, or set quality.folder"
        raise StoreError(f"{path} cannot be written: {error}", subject=str(path), hint=hint) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold others back who lock the same file, on this machine, until it is done or the process ends."""
    import fcntl

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(number, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
