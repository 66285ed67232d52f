"""Messages from Kafka into an online store: how many a second, how soon, in how much memory, and after a kill."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Case, Cell, Suite
from benchmarks.targets import AheadOf, AtLeast, AtMost, Target, WithinLimit

_SIDES, _WORKERS = "benchmarks.sides.streams", "benchmarks.sides.stream_workers"
#: More a worker may take, what is sent before included.
_LONGEST_SECONDS = 1_500.0


def suite(quick: bool) -> Suite:
    """JSON into rows of SQLite and Redis, and into windows."""
    messages = 50_000 if quick else 1_000_000
    many = 100_000 if quick else 10_000_000
    rate, seconds = (2_000, 5.0) if quick else (10_000, 30.0)
    return Suite(
        "streams",
        "Stream from Kafka",
        "JSON messages of 150 bytes from four partitions of a real broker on the same machine, which has the other"
        " core to itself, written by one worker; 100,000 keys. Joining the group is in the time. The raw limit is the"
        " consumer alone, as a member of a group, with the same parse of every message, and keeps nothing."
        " From `workers` on, `tiffin stream run` is a process of its own, which is there before the clock runs: peak"
        " memory is that of the largest worker, and the processor time that of all, without broker and store."
        " `From click to feature` is the time from when a click is sent to when it is read online, while others come at"
        " the rate that is said and one process sends and reads; `after kill -9` is that of a click sent when the only"
        " worker is killed and another one started, with Kafka's session of 10 s in it.",
        (
            _cell("rows into SQLite", messages, [AtLeast("rows_per_second", 80_000), WithinLimit(4.0)]),
            _cell("rows into Redis", messages, [AtLeast("rows_per_second", 80_000), WithinLimit(4.0)], online="redis"),
            _cell("windows in SQLite", messages, [AtLeast("rows_per_second", 80_000), WithinLimit(4.0)], windows=True),
            _workers("workers, rows into SQLite", many, [AtMost("peak_bytes", 500_000_000)]),
            _workers(
                "workers, rows and history",
                messages,
                [AtLeast("rows_per_second", 40_000), AtMost("peak_bytes", 1_000_000_000)],
                history=True,
            ),
            _shared(messages),
            _fresh("from click to feature, SQLite", rate, seconds, "sqlite"),
            _fresh("from click to feature, Redis", rate, seconds, "redis"),
            _recovery(quick),
        ),
        unit="rows/s",
    )


def _cell(name: str, messages: int, targets: list[Target], **how: Any) -> Cell:
    once: dict[str, Any] = {"processes": 3, "repeats": 1, "min_repeats": 1, "max_seconds": 600.0}
    cases = (
        Case("consumer and parse", "limit", f"{_SIDES}:consumer", {"messages": messages}, **once),
        Case("tiffin", "tiffin", f"{_SIDES}:feeding", {"messages": messages, **how}, **once),
    )
    return Cell(name, cases, tuple(targets), rows=messages)


def _workers(name: str, messages: int, targets: list[Target], **how: Any) -> Cell:
    """Workers of the command line, over many messages."""
    case = Case("tiffin", "tiffin", f"{_WORKERS}:catching", {"messages": messages, **how}, **_once())
    return Cell(name, (case,), (*targets, AtMost("cpu_seconds", 20e-6)), rows=messages)


def _shared(messages: int) -> Cell:
    """Two workers beside one."""
    cases = [
        Case(
            "one worker" if count == 1 else "two workers",
            "tiffin",
            f"{_WORKERS}:catching",
            {"messages": messages, "online": "redis", "workers": count},
            **_once(processes=3),
        )
        for count in (2, 1)
    ]
    targets = AheadOf("one worker", 1.2), AtMost("cpu_seconds", 20e-6)
    return Cell("two workers, rows into Redis", tuple(cases), targets, rows=messages)


def _fresh(name: str, rate: int, seconds: float, online: str) -> Cell:
    """Some hundreds of samples from one process."""
    samples = int(seconds * 20)
    how = {"rate": rate, "seconds": seconds, "online": online}
    sampling: dict[str, Any] = _once() | {"repeats": samples, "min_repeats": samples}
    case = Case("tiffin", "tiffin", f"{_WORKERS}:fresh", how, **sampling)
    return Cell(f"{name}, {rate:,} a second", (case,), (AtMost("p99", 0.15),))


def _recovery(quick: bool) -> Cell:
    repeats = 1 if quick else 3
    more: dict[str, Any] = _once() | {"repeats": repeats, "min_repeats": repeats}
    case = Case("tiffin", "tiffin", f"{_WORKERS}:recovering", {"rate": 1_000}, **more)
    return Cell("from click to feature, after kill -9", (case,), (AtMost("p50", 20.0),))


def _once(processes: int = 1) -> dict[str, Any]:
    return {"processes": processes, "repeats": 1, "min_repeats": 1, "max_seconds": _LONGEST_SECONDS}
