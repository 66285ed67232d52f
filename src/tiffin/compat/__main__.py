"""``python -m tiffin.compat script.py [arguments]``: run a script that was written for Feast."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tiffin.compat.finder import feast_means_tiffin


def run_script(script: str, arguments: list[str]) -> None:
    """Run a script in which ``import feast`` means tiffin, and so does the command ``feast`` that it may start."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        with feast_means_tiffin(), _feast_command():
            runpy.run_path(script, run_name="__main__")
    finally:
        sys.argv, sys.path[:] = argv, path


@contextmanager
def _feast_command() -> Iterator[None]:
    """Put a command ``feast`` before all others that child processes find."""
    before = os.environ.get("PATH", os.defpath)
    with TemporaryDirectory(prefix="tiffin") as folder:
        command = Path(folder) / ("feast.cmd" if os.name == "nt" else "feast")
        line = '@"{}" -m tiffin.cli %*' if os.name == "nt" else '#!/bin/sh\nexec "{}" -m tiffin.cli "$@"\n'
        command.write_text(line.format(sys.executable), encoding="utf-8")
        command.chmod(0o755)
        os.environ["PATH"] = os.pathsep.join([folder, before])
        try:
            yield
        finally:
            os.environ["PATH"] = before


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tiffin.compat script.py [arguments]")
    run_script(sys.argv[1], sys.argv[2:])
