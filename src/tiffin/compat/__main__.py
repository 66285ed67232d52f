"""``python -m tiffin.compat script.py [arguments]``: run a script that was written for Feast."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tiffin.compat.finder import feast_means_tiffin


def run_script(script: str, arguments: list[str]) -> None:
    """Run a script in which ``import feast`` means tiffin."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        with feast_means_tiffin():
            runpy.run_path(script, run_name="__main__")
    finally:
        sys.argv, sys.path[:] = argv, path


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tiffin.compat script.py [arguments]")
    run_script(sys.argv[1], sys.argv[2:])
