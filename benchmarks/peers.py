"""Makes the environment of the peers, apart from tiffin's own: `python -m benchmarks.peers`.

Feast pins other versions of the same libraries, so it cannot share an environment with tiffin.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

PEER_FOLDER = Path(__file__).resolve().parent / ".peers"
REQUIREMENTS = ("feast[duckdb,redis,postgres]==0.67.0", "pandas<3")


def find_peer_python() -> Path | None:
    """The interpreter that has Feast, or None where it was not installed."""
    python = PEER_FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    return python if python.exists() and _has_feast(python) else None


def install_peers() -> Path:
    """Makes the environment, or completes it; running it again changes nothing."""
    found = find_peer_python()
    if found is not None:
        return found
    venv.create(PEER_FOLDER, with_pip=True, clear=True)
    python = PEER_FOLDER / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


def _has_feast(python: Path) -> bool:
    done = subprocess.run(
        [str(python), "-c", "import importlib.metadata as m; m.version('feast')"], capture_output=True
    )
    return done.returncode == 0


if __name__ == "__main__":
    print(f"Feast is ready: {install_peers()}")
