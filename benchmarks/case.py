"""The records of a benchmark: a cell of a table, the sides measured in it, and what one side gave.

Everything here is plain data, because a case crosses a process border and a result is kept as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.targets import Target

GIGABYTE = 10**9
Role = Literal["limit", "tiffin", "peer"]


@dataclass(frozen=True)
class Case:
    """One side of one cell, run in a fresh process.

    Attributes:
        side: The name in the table.
        role: `limit` is code written by hand, the best of a cell is its raw limit; `peer` is another feature store.
        task: `module:function`; called with `arguments` it does the set-up, which is not timed, and returns a `Work`.
        processes: How many fresh processes; the sides of a cell take turns, so that a slow minute hits all of them.
        repeats: Runs in each process, at most; after `min_repeats` it stops when `budget_seconds` are used up.
        max_seconds: The whole process, set-up included; it is ended when it takes longer.
        max_bytes: Resident memory at which the process is ended.
    """

    side: str
    role: Role
    task: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1
    repeats: int = 5
    min_repeats: int = 3
    budget_seconds: float = 20.0
    max_seconds: float = 300.0
    max_bytes: int = 14 * GIGABYTE


@dataclass(frozen=True)
class Cell:
    """One line of a suite's table: the same question put to several sides.

    Attributes:
        needs: Data sets, as names of `benchmarks.data` (`facts-10M-v0`), made before anything is timed.
        order_by: The column that brings two answers into one order before they are compared.
        rows: Rows worked on, for rows per second; None where that means nothing.
    """

    name: str
    cases: tuple[Case, ...]
    targets: tuple[Target, ...] = ()
    needs: tuple[str, ...] = ()
    order_by: str = "row_id"
    rows: int | None = None


@dataclass(frozen=True)
class Suite:
    """A benchmark: its cells, and the words that stand over its table."""

    name: str
    title: str
    about: str
    cells: tuple[Cell, ...]
    unit: Literal["s", "us", "rows/s"] = "s"


@dataclass
class Result:
    """What one side gave in one cell.

    Attributes:
        outcome: `ok`, or in words why there is no number (`over 300 s`, `out of memory past 14 GB`, `failed: ...`).
        seconds: p50, p99, first, best and the number of runs.
        peak_bytes: The largest resident memory of any of its processes, set-up included, before answers were saved.
        values: `reference`, `equal`, or in words how they differ or why they were not compared.
    """

    side: str
    role: Role
    outcome: str = "ok"
    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    rows_per_second: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    values: str = "not compared"

    @property
    def is_measured(self) -> bool:
        """Whether there is a time; a result with other values than the reference is still measured."""
        return self.outcome == "ok"
