"""``tiffin materialize``, ``tiffin materialize-incremental`` and ``tiffin runs``: loading the online store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation, views_option
from tiffin.cli.output import print_json, print_table, say
from tiffin.time import MIN_US, format_us

if TYPE_CHECKING:
    from tiffin.contracts.registry import MaterializationRun
    from tiffin.operations.materialize import MaterializationReport

Progress = Callable[[str, int], None]


@click.command()
@click.argument("start", metavar="START", required=False)
@click.argument("end", metavar="END", required=False)
@views_option
@click.option("--disable-event-timestamp", is_flag=True, help="Load everything up to now; START and END are left out.")
@click.option(
    "--full-refresh",
    is_flag=True,
    help="Load everything into a new table and put it in the old one's place; START and END are left out.",
)
@json_option
@pass_invocation
def materialize(
    invocation: Invocation,
    start: str | None,
    end: str | None,
    views: tuple[str, ...],
    disable_event_timestamp: bool,
    full_refresh: bool,
    as_json: bool,
) -> None:
    """Load the online store from START to END.

    Facts with an event time between the two, both included, are loaded, the newest of each key.

    Times are ISO 8601, such as 2024-01-31 or 2024-01-31T12:00:00+02:00; without a zone they are UTC. Loading the same
    time twice, or in another order, changes nothing.
    """
    given = (start is not None) + (end is not None)
    if given != (0 if disable_event_timestamp or full_refresh else 2):
        raise click.UsageError("Give both START and END, or --disable-event-timestamp or --full-refresh alone.")
    with invocation.store() as store, _progress() as progress:
        report = store.materialize(
            start, end, list(views) or None, disable_event_timestamp, full_refresh=full_refresh, progress=progress
        )
    _print_report(report, as_json)


@click.command()
@click.argument("end", metavar="END")
@views_option
@json_option
@pass_invocation
def materialize_incremental(invocation: Invocation, end: str, views: tuple[str, ...], as_json: bool) -> None:
    """Load what is new, up to END.

    What became known since the last incremental load is loaded, late facts included.

    END is a time in ISO 8601; without a zone it is UTC.
    """
    with invocation.store() as store, _progress() as progress:
        report = store.materialize_incremental(end, list(views) or None, progress=progress)
    _print_report(report, as_json)


@click.command()
@click.option("-v", "--view", metavar="VIEW", help="Only this feature view.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first.")
@json_option
@pass_invocation
def runs(invocation: Invocation, view: str | None, limit: int, as_json: bool) -> None:
    """Show the loads of the online store, newest first."""
    with invocation.store() as store:
        found = store.materialization_runs(view=view, limit=limit)
    if as_json:
        print_json([_run_data(run) for run in found])
        return
    columns = ["STARTED", "VIEW", "FROM", "TO", "ROWS", "WRITTEN", "STALE", "SECONDS", "ERROR"]
    rows = [[format_us(run.started_us), *_run_cells(run), run.error] for run in found]
    print_table(
        columns, rows, empty="Nothing has been loaded yet: run `tiffin materialize-incremental`.", thousands=True
    )


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Shows a line per view with the rows loaded so far, when the error stream is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(view: str, rows: int) -> None:
            if view not in tasks:
                for task in tasks.values():
                    bars.update(task, total=1, completed=1)
                tasks[view] = bars.add_task(view, total=None, rows=0)
            bars.update(tasks[view], rows=rows)

        yield show
        for task in tasks.values():
            bars.update(task, total=1, completed=1)


def _print_report(report: MaterializationReport, as_json: bool) -> None:
    runs = report.runs
    if as_json:
        unmet = [each.to_dict() for each in report.unmet]
        data = [_run_data(run) for run in runs]
        print_json({"runs": data, "unmet": unmet, "quarantined": report.quarantined, "capped": report.capped})
        return
    columns = ["VIEW", "FROM", "TO", "ROWS", "WRITTEN", "STALE", "SECONDS"]
    empty = "No feature view is online and has a history."
    print_table(columns, [_run_cells(run) for run in runs], empty=empty, thousands=True)
    if runs:
        rows, written = sum(run.rows for run in runs), sum(run.written for run in runs)
        views = "1 feature view" if len(runs) == 1 else f"{len(runs)} feature views"
        say(f"Loaded {views}: {written:,} of {rows:,} rows were newer than what was there", bold=True)
    for each in report.unmet:
        say(f"Not as expected ({each.on_failure}, {each.rows:,} rows): {each}")


def _run_cells(run: MaterializationRun) -> list[str | int | float]:
    start = "the beginning" if run.start_us == MIN_US else format_us(run.start_us)
    times = start, format_us(run.end_us)
    return [run.view, *times, run.rows, run.written, run.stale, round(run.seconds, 3)]


def _run_data(run: MaterializationRun) -> dict[str, object]:
    return {
        "view": run.view,
        "view_version": run.view_version,
        "start": format_us(run.start_us),
        "end": format_us(run.end_us),
        "rows": run.rows,
        "written": run.written,
        "stale": run.stale,
        "seconds": run.seconds,
        "started": format_us(run.started_us),
        "error": run.error,
    }
