"""The command line, called by the examples as a person would."""

from __future__ import annotations

import subprocess
import sys


def tiffin(*arguments: str) -> None:
    """Run the command line; what it says is shown only when it fails."""
    done = subprocess.run([sys.executable, "-m", "tiffin.cli", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"tiffin {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
