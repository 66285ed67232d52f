"""Keeps the results and writes the tables of `docs/benchmarks.md` from them, between its markers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.case import Result
from benchmarks.process import ROOT
from benchmarks.targets import best_limit, format_measure, format_seconds, tiffin_of

RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
# From this load per core on, before a run starts, the times say as much about the neighbours as about the sides.
_BUSY_SHARE = 0.5
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def save_suite(path: Path, suite: Mapping[str, Any], *, some_cells: bool = False) -> None:
    """Puts the results of one suite in the place of its earlier ones.

    Args:
        path: The file.
        suite: The results.
        some_cells: They are of some of its cells: these take the places of their earlier ones, or come behind; the
            others stay. All sides of a cell are of one run, so its ratios are.
    """
    kept = json.loads(path.read_text()) if path.exists() else {}
    if some_cells and suite["name"] in kept:
        anew = {cell["name"]: cell for cell in suite["cells"]}
        suite = kept[suite["name"]]
        there = {cell["name"] for cell in suite["cells"]}
        suite["cells"] = [anew.get(cell["name"], cell) for cell in suite["cells"]]
        suite["cells"] += [cell for name, cell in anew.items() if name not in there]
    kept[suite["name"]] = suite
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")


def render_document() -> None:
    """Replaces what stands between the markers."""
    from benchmarks.suites import SUITES

    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    tables = "\n\n".join(render_suite(kept[name]) for name in SUITES if name in kept)
    text = DOCUMENT.read_text()
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{tables}\n\n{END}{tail}")


def render_suite(suite: Mapping[str, Any]) -> str:
    """A heading, what is measured, the machine, and two tables: against the targets, and every side."""
    cells = [
        (cell["name"], [Result(**result) for result in cell["results"]], cell["verdicts"]) for cell in suite["cells"]
    ]
    notes = " **A quick run: small sizes and few repeats, not to be quoted.**" if suite["quick"] else ""
    machine = suite["machine"]
    if machine["load_average"] > machine["cores"] * _BUSY_SHARE:
        load = f"{machine['load_average']} on {machine['cores']} cores"
        notes += f" **The machine was busy before it began (load average {load}): read the ratios, not the times.**"
    targets = [
        "| | raw limit | tiffin | ratio | peak memory | targets |",
        "|---|---|---|---|---|---|",
        *(_target_line(name, results, verdicts, suite["unit"]) for name, results, verdicts in cells),
    ]
    sides = [
        "| | side | time (median) | p99 | peak memory | values |",
        "|---|---|---|---|---|---|",
        *(_side_line(name, result, suite["unit"]) for name, results, _ in cells for result in results),
    ]
    return "\n".join(
        [
            f"### {suite['title']}",
            "",
            f"{suite['about']}{notes}",
            "",
            *targets,
            "",
            "<details><summary>Every side</summary>",
            "",
            *sides,
            "",
            f"Measured {suite['measured_at'][:10]}; {describe(suite['machine'])}",
            "",
            "</details>",
        ]
    )


def describe(machine: Mapping[str, Any]) -> str:
    """The machine in one sentence."""
    own = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    peer = ", ".join(f"{name} {version}" for name, version in machine["peer_versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB of memory; {machine['os']};"
        f" Python {machine['python']}; {own}." + (f" Feast's environment: {peer}." if peer else "")
    )


def _target_line(name: str, results: list[Result], verdicts: list[Mapping[str, Any]], unit: str) -> str:
    limit, tiffin = best_limit(results), tiffin_of(results)
    raw = f"{_speed(limit, unit)} ({limit.side})" if limit else "none"
    ours = _speed(tiffin, unit) if tiffin else "not measured"
    if tiffin and tiffin.is_measured and tiffin.values not in ("equal", "reference", "not compared"):
        ours = f"{ours}, **wrong values**"
    measured = tiffin if tiffin and tiffin.is_measured else None
    ratio = f"{measured.seconds['p50'] / limit.seconds['p50']:.2f}x" if measured and limit else ""
    peak = format_measure("peak_bytes", measured.peak_bytes) if measured and measured.peak_bytes else ""
    return f"| {name} | {raw} | {ours} | {ratio} | {peak} | {'; '.join(map(_verdict_words, verdicts))} |"


def _verdict_words(verdict: Mapping[str, Any]) -> str:
    state = {True: "met", False: "**not met**", None: "open"}[verdict["met"]]
    return f"{verdict['target']}: {state} ({verdict['words']})"


def _side_line(name: str, result: Result, unit: str) -> str:
    p99 = format_seconds(result.seconds["p99"]) if result.seconds.get("runs", 0) >= 100 else ""
    peak = format_measure("peak_bytes", result.peak_bytes) if result.peak_bytes else ""
    values = result.values
    if "modules" in result.facts:
        values = (
            f"{result.facts['modules']} modules loaded, heavy: {', '.join(result.facts['heavy_modules']) or 'none'}"
        )
    return f"| {name} | {result.side} | {_speed(result, unit)} | {p99} | {peak} | {values} |"


def _speed(result: Result, unit: str) -> str:
    if not result.is_measured:
        return result.outcome
    time = format_seconds(result.seconds["p50"])
    if unit == "rows/s" and result.rows_per_second is not None:
        return f"{time}, {result.rows_per_second:,.0f} rows/s"
    return time
