"""``tiffin monitor freshness``, ``run``, ``watch`` and ``report``; importing this module joins them to the group."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiffin.cli.commands.monitor import monitor as monitor
from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_table, say
from tiffin.cli.signals import stop_at_signals
from tiffin.errors import InputError, StoreError
from tiffin.time import format_us, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.quality.freshness import ViewFreshness
    from tiffin.quality.monitor import MonitorReport

#: A view is late, a check found something, or people could not be told.
_FOUND = 1


def _duration(_: click.Context, __: click.Parameter, value: str) -> timedelta:
    """A text such as ``5m`` as a duration, which is above zero."""
    try:
        found = parse_duration(value)
    except InputError as error:
        raise click.BadParameter(str(error)) from None
    if not found:
        raise click.BadParameter(f"{value!r} is no time at all")
    return found


def _checks_option(command: Callable[..., Any]) -> Callable[..., Any]:
    help_text = "Only this check; may be repeated."
    return click.option("--check", "checks", multiple=True, metavar="NAME", help=help_text)(command)


@monitor.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option("--no-sources", is_flag=True, help="Do not look at the sources.")
@click.option("--no-streams", is_flag=True, help="Do not ask brokers how many messages wait.")
@json_option
@pass_invocation
def freshness(
    invocation: Invocation, views: tuple[str, ...], no_sources: bool, no_streams: bool, as_json: bool
) -> None:
    """Show how old the newest facts are.

    Of all feature views, or of those that are named. Ends with 1 when a view is older than its `freshness` allows, or
    when that cannot be told.
    """
    with invocation.store() as store:
        report = store.freshness(list(views) or None, offline=not no_sources, streams=not no_streams)
    if as_json:
        print_json(report.to_dict())
    else:
        columns = ["VIEW", "STATUS", "AGE", "ALLOWED", "NEWEST ONLINE", "IN THE SOURCE", "WAITING", "LAST RUN"]
        print_table(columns, map(_cells, report.views), empty="Nothing is applied.", thousands=True)
        for each in report.views:
            for words in filter(None, (each.reason, *each.problems)):
                say(f"{each.view}: {words}")
    _end(is_well=not report.late)


@monitor.command()
@_checks_option
@click.option("--no-alerts", is_flag=True, help="Tell nobody.")
@json_option
@pass_invocation
def run(invocation: Invocation, checks: tuple[str, ...], no_alerts: bool, as_json: bool) -> None:
    """Run the checks once, and tell people what is new.

    For a scheduler. Who is told stands in the configuration, in quality.alerts; each is told once of what is wrong, and
    once when it is over. Ends with 1 when something is wrong, or could not be looked at or told.
    """
    with invocation.store() as store:
        report = store.monitor(list(checks), tell=not no_alerts)
    if as_json:
        print_json(report.to_dict())
    else:
        _say(report)
    _end(is_well=report.is_well)


@monitor.command()
@click.option(
    "--every", callback=_duration, default="5m", show_default=True, metavar="TIME", help="The pause between two runs."
)
@_checks_option
@pass_invocation
def watch(invocation: Invocation, every: timedelta, checks: tuple[str, ...]) -> None:
    """Run the checks over and over, as `run` does, until it is told to stop.

    SIGTERM or Ctrl-C end it after the run that it is at; a second one ends it at once.
    """
    from tiffin.quality.monitor import watch as run_checks

    with invocation.store() as store, stop_at_signals() as stop:
        run_checks(store.context, every.total_seconds(), stop, _say, checks)


@monitor.command()
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("quality-report.html"),
    show_default=True,
    help="The file to write.",
)
@json_option
@pass_invocation
def report(invocation: Invocation, html: Path, as_json: bool) -> None:
    """Write a report on the project: one HTML file that needs no network, or JSON."""
    from tiffin.quality.report import project_report

    with invocation.store() as store:
        found = project_report(store.context)
    if as_json:
        print_json(found.to_dict())
        return
    try:
        found.page().write(html)
    except OSError as error:
        hint = "give --html another path"
        raise StoreError(f"the report cannot be written to {html}: {error.strerror}", hint=hint) from error
    say(f"Wrote {html}")


def _end(*, is_well: bool) -> None:
    if not is_well:
        raise click.exceptions.Exit(_FOUND)


def _say(found: MonitorReport) -> None:
    """What a run found, for people."""
    for finding in found.findings:
        say(f"{finding.subject}: {finding.message} ({finding.check})")
    for name, error in found.failed.items():
        say(f"check {name} could not look: {error.message}")
    for unsent in found.unsent:
        say(f"not told: {unsent.message}")
    looked = ", ".join(found.checks) or "none"
    say(
        f"{format_us(found.now_us)}: {len(found.findings)} findings; looked: {looked}; {found.sent} notices sent",
        bold=True,
    )


def _cells(each: ViewFreshness) -> list[Any]:
    from tiffin.quality.freshness import format_age

    ages = (None if us is None else format_age(us) for us in (each.age_us, each.target_us))
    run = each.last_run
    started_us = None if run is None else run.started_us
    times = [None if us is None else format_us(us) for us in (each.online_us, each.offline_us, started_us)]
    return [each.view, each.status.value, *ages, *times[:2], each.lag, times[2]]
