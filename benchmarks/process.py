"""Starts the process of a case, watches its time and memory, and ends it when it passes a limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from benchmarks.data import data_folder

ROOT = Path(__file__).resolve().parent.parent
_POLL_SECONDS = 0.05


@dataclass
class Reply:
    """What came back from one process: `outcome` is `ok`, or says in words why there is nothing else."""

    outcome: str
    seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    peak_bytes: int = 0
    answered: bool = False


def run_case(case: Case, python: Path, answer_path: Path | None) -> Reply:
    """Runs a case once in a process of its own.

    Args:
        case: What to run.
        python: The interpreter, tiffin's or Feast's.
        answer_path: Where the process leaves its answer as an Arrow file; None when it need not.
    """
    work = data_folder() / "work"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        request_path, reply_path, log_path = (Path(folder, name) for name in ("request", "reply", "log"))
        request_path.write_text(json.dumps(_request(case, answer_path)))
        command = [str(python), "-m", "benchmarks.child", str(request_path), str(reply_path)]
        with log_path.open("wb") as log:
            stopped, peak_bytes = run_watched(command, log.fileno(), folder, case.max_seconds, case.max_bytes)
        if stopped is not None:
            return Reply(stopped, peak_bytes=peak_bytes)
        if not reply_path.exists():
            return Reply(f"failed: {_last_line(log_path)}", peak_bytes=peak_bytes)
        return Reply("ok", **json.loads(reply_path.read_text()))


def run_watched(
    command: list[str], log: int, folder: str, max_seconds: float, max_bytes: int
) -> tuple[str | None, int]:
    """Runs a command from the project's folder; returns why it was ended (None: by itself) and the most memory seen."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True, env=_environment(folder)
    )
    deadline = time.monotonic() + max_seconds
    peak_bytes = 0
    try:
        while process.poll() is None:
            peak_bytes = max(peak_bytes, _resident_bytes(process.pid))
            if peak_bytes > max_bytes:
                return f"out of memory past {max_bytes / 1e9:g} GB", peak_bytes
            if time.monotonic() > deadline:
                return f"over {max_seconds:g} s", peak_bytes
            time.sleep(_POLL_SECONDS)
    finally:
        # Also when the runner is interrupted: the case leads a session of its own and would go on without it.
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return None, peak_bytes


def _request(case: Case, answer_path: Path | None) -> Mapping[str, Any]:
    return {
        "task": case.task,
        "arguments": dict(case.arguments),
        "repeats": case.repeats,
        "min_repeats": case.min_repeats,
        "budget_seconds": case.budget_seconds,
        "answer_path": str(answer_path) if answer_path else None,
    }


def _environment(folder: str) -> dict[str, str]:
    environment = {
        **os.environ,
        "TIFFIN_BENCH_WORK": folder,
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
        "FEAST_USAGE": "False",
    }
    # An installed package has its bytecode; without it every start would compile the sources, which is seconds for
    # Feast.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process and its children; a watchdog on it holds for memory maps too, unlike RLIMIT_AS."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident_bytes(int(child)) for child in children)


def _last_line(log_path: Path) -> str:
    lines = [line for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"
