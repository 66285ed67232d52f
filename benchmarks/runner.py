"""Runs a suite: makes its data, measures each side in fresh processes, compares the values, judges the targets."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Cell, Result, Suite
from benchmarks.data import data_folder, data_path
from benchmarks.process import ROOT, Reply, run_case
from benchmarks.targets import format_measure, format_seconds

_PERCENTILE = 0.99


def run_suite(
    suite: Suite, machine: Mapping[str, object], peers: Path | None, *, quick: bool, cells: str = "", sides: str = ""
) -> Iterator[dict[str, Any]]:
    """Runs every cell; yields the results so far as plain data after each one, so that an ended run keeps them.

    Args:
        suite: What to run.
        machine: Described before the first suite, or its load would be that of the suite before.
        peers: Feast's interpreter, or None to leave it out.
        quick: Written into the results; the sizes were chosen when the suite was made.
        cells: Runs only the cells whose name contains this.
        sides: Runs only the sides whose name contains this; the values are then compared where a reference is among
            them.
    """
    print(f"== {suite.title}{' (quick)' if quick else ''}", flush=True)
    results: dict[str, Any] = {
        "name": suite.name,
        "title": suite.title,
        "about": suite.about,
        "unit": suite.unit,
        "quick": quick,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "cells": [],
    }
    for cell in suite.cells:
        if cells in cell.name:
            results["cells"].append(_run_cell(cell, peers, sides))
            yield results


def make_data(cell: Cell) -> None:
    """Makes what is missing, in a process of its own so that the runner stays small."""
    missing = [name for name in cell.needs if not data_path(name).exists()]
    if missing:
        print(f"   making {', '.join(missing)}", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.data", *missing], cwd=ROOT, check=True)


def _run_cell(cell: Cell, peers: Path | None, sides: str) -> dict[str, Any]:
    print(f"-- {cell.name}", flush=True)
    make_data(cell)
    cases = [case for case in cell.cases if sides in case.side and (case.role != "peer" or peers is not None)]
    replies: dict[str, list[Reply]] = {case.side: [] for case in cases}
    answers_folder = data_folder() / "answers"
    answers_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=answers_folder) as folder:
        answers = _Answers(Path(folder), cell.order_by)
        results = []
        for turn in range(max((case.processes for case in cases), default=0)):
            for case in cases:
                if turn < case.processes and _can_go_on(replies[case.side]):
                    python = peers if case.role == "peer" and peers else Path(sys.executable)
                    replies[case.side].append(_run_turn(case, python, answers, turn))
        for case in cases:
            results.append(_summarize(case, replies[case.side], cell, answers.verdicts.get(case.side, "not compared")))
    verdicts = [target.judge(results).to_json() for target in cell.targets]
    return {"name": cell.name, "results": [dataclasses.asdict(result) for result in results], "verdicts": verdicts}


class _Answers:
    """The answers of a cell: the first one is the reference, the others are compared with it and thrown away."""

    def __init__(self, folder: Path, order_by: str) -> None:
        self._reference, self._other = folder / "reference.arrow", folder / "other.arrow"
        self._order_by = order_by
        self.verdicts: dict[str, str] = {}

    def path(self) -> Path:
        """Where the next answer goes."""
        return self._other if self._reference.exists() else self._reference

    def judge(self, side: str, path: Path) -> None:
        """Compares what was written to the path, if anything was."""
        if not path.exists():
            return
        if path == self._reference:
            self.verdicts[side] = "reference"
            return
        command = [sys.executable, "-m", "benchmarks.answers", str(self._reference), str(path), self._order_by]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        self.verdicts[side] = json.loads(done.stdout)
        path.unlink()


def _run_turn(case: Case, python: Path, answers: _Answers, turn: int) -> Reply:
    path = answers.path() if turn == 0 else None
    reply = run_case(case, python, path)
    if path is not None and reply.answered:
        answers.judge(case.side, path)
    what = reply.outcome
    if reply.outcome == "ok":
        what = f"{format_seconds(statistics.median(reply.seconds)):8} {format_measure('peak_bytes', reply.peak_bytes)}"
        if len(reply.seconds) >= 100:
            what += f", p99 {format_seconds(statistics.quantiles(reply.seconds, n=100)[98])}"
    print(f"   {case.side:45} {what}  {answers.verdicts.get(case.side, '')}", flush=True)
    return reply


def _can_go_on(replies: list[Reply]) -> bool:
    return all(reply.outcome == "ok" for reply in replies)


def _summarize(case: Case, replies: list[Reply], cell: Cell, values: str) -> Result:
    last = replies[-1]
    result = Result(case.side, case.role, last.outcome, facts=last.facts, values=values)
    result.peak_bytes = max(reply.peak_bytes for reply in replies)
    if last.outcome != "ok":
        return result
    seconds = [second for reply in replies for second in reply.seconds]
    ordered = sorted(seconds)
    result.seconds = {
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * _PERCENTILE))],
        "first": seconds[0],
        "best": ordered[0],
        "runs": len(ordered),
    }
    if cell.rows is not None:
        result.rows_per_second = cell.rows / result.seconds["p50"]
    return result
