"""``tiffin stream run`` and ``tiffin stream status``: views that are fed by Kafka or Kinesis."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_table, say
from tiffin.cli.signals import stop_at_signals
from tiffin.cli.stream_metrics import serve_metrics
from tiffin.time import MIN_US, format_us

if TYPE_CHECKING:
    from tiffin.operations.stream import PartitionProgress, StreamStatus
    from tiffin.operations.stream_counts import SourceProgress

#: How often a line is printed where nobody watches a terminal, in calls, which come about every second.
_CALLS_PER_LINE = 30


@click.group()
def stream() -> None:
    """Feed views from message brokers."""


@stream.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option(
    "--from",
    "start",
    metavar="WHERE",
    help="earliest, latest, or a time in ISO 8601; where the group is, when left out.",
)
@click.option("--until", metavar="WHEN", help="now, or a time in ISO 8601: end there, instead of never.")
@click.option("--history", is_flag=True, help="Append the messages to the history, the batch source, as well.")
@click.option("--dead-letters", default="", metavar="PLACE", help="A folder, or topic:NAME, instead of the settings'.")
@click.option("--max-dead-letters", type=click.IntRange(min=0), metavar="N", help="Stop when there are more.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), metavar="N", help="Serve metrics for Prometheus there.")
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    metavar="HOST",
    help="The address that they are served at.",
)
@json_option
@pass_invocation
def run(
    invocation: Invocation,
    views: tuple[str, ...],
    start: str | None,
    until: str | None,
    history: bool,
    dead_letters: str,
    max_dead_letters: int | None,
    metrics_port: int | None,
    metrics_host: str,
    as_json: bool,
) -> None:
    """Feed feature views from their streams, until it is told to stop.

    All views that have a Kafka or Kinesis source and are online, or those that are named. Several workers share the
    messages of a stream. SIGTERM or Ctrl-C end it after the batch that it is at; a second one ends it at once.
    Whatever ends it, nothing is lost and nothing counts twice.
    """
    with ExitStack() as stack:
        store = stack.enter_context(invocation.store())
        tellers = [stack.enter_context(_progress(quiet=as_json))]
        if metrics_port is not None:
            tellers.append(stack.enter_context(serve_metrics(metrics_host, metrics_port, store.context.clock)).take)
        stop = stack.enter_context(stop_at_signals())
        is_loaded = False

        def progress(found: Sequence[SourceProgress]) -> None:
            nonlocal is_loaded
            if not is_loaded:
                # What the first second has loaded stays: to look through all of it again and again for what can be
                # freed would hold up the messages for a tenth of a second each time.
                gc.freeze()
                is_loaded = True
            for tell in tellers:
                tell(found)

        found = store.run_stream(
            list(views),
            start=start,
            until=until,
            history=history,
            dead_letters=dead_letters,
            max_dead_letters=max_dead_letters,
            stop=stop,
            progress=progress,
        )
    if as_json:
        print_json({"sources": [_progress_data(each) for each in found]})
        return
    columns = ["SOURCE", "MESSAGES", "WRITTEN", "STALE", "EXPIRED", "LATE", "DEAD", "LAG", "WATERMARK"]
    print_table(columns, [_progress_cells(each) for each in found], thousands=True)
    for each in found:
        for reason, count in each.reasons.items():
            say(f"{each.source}: {count:,} dead letters: {reason}")


@stream.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option("--history", is_flag=True, help="Of the workers that append to the history as well.")
@json_option
@pass_invocation
def status(invocation: Invocation, views: tuple[str, ...], history: bool, as_json: bool) -> None:
    """Show how far the streams have been worked off."""
    with invocation.store() as store:
        found = store.stream_status(list(views), history=history)
    if as_json:
        print_json({"sources": [_status_data(each) for each in found]})
        return
    columns = ["SOURCE", "PARTITION", "COMMITTED", "END", "LAG", "MESSAGES", "LATE", "DEAD", "PER SECOND", "NEWEST"]
    rows = [_status_cells(each.source, part) for each in found for part in each.partitions]
    print_table(columns, rows, thousands=True)
    for each in found:
        reached = "none yet" if each.watermark_us is None else format_us(each.watermark_us)
        say(f"{each.source} feeds {', '.join(each.views)}; watermark: {reached}", bold=True)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Sequence[SourceProgress]], None]]:
    """A line that is written anew on a terminal; elsewhere a line now and then, or none."""
    if quiet:
        yield lambda _: None
        return
    is_terminal, calls = sys.stderr.isatty(), 0

    def show(found: Sequence[SourceProgress]) -> None:
        nonlocal calls
        calls += 1
        if not is_terminal and calls % _CALLS_PER_LINE:
            return
        text = " | ".join(map(_line, found))
        click.echo(f"\r\033[K{text}" if is_terminal else text, nl=not is_terminal, err=True)

    yield show
    if is_terminal and calls:
        click.echo(err=True)


def _line(each: SourceProgress) -> str:
    lag = "" if each.lag is None else f", {each.lag:,} waiting"
    watermark = "" if each.watermark_us is None else f", up to {format_us(each.watermark_us)}"
    dead = f", {each.dead:,} dead letters" if each.dead else ""
    return f"{each.source}: {each.messages:,} messages, {each.rate:,.0f}/s{lag}{watermark}{dead}"


def _progress_cells(each: SourceProgress) -> list[Any]:
    counted = each.messages, each.written, each.stale, each.expired, each.late, each.dead, each.lag
    return [each.source, *counted, _time(each.watermark_us)]


def _progress_data(each: SourceProgress) -> dict[str, Any]:
    plain = asdict(each)
    return plain | {"watermark": _time(plain.pop("watermark_us"))}


def _status_cells(source: str, part: PartitionProgress) -> list[Any]:
    count = part.count
    counted = count.messages, count.late, count.dead, round(count.rate)
    return [source, part.partition, part.committed, part.end, part.lag, *counted, _time(count.newest_us)]


def _time(us: int | None) -> str | None:
    """A time, where there was one."""
    return None if us is None or us <= MIN_US else format_us(us)


def _status_data(each: StreamStatus) -> dict[str, Any]:
    partitions = [
        {
            "partition": part.partition,
            "committed": part.committed,
            "end": part.end,
            "lag": part.lag,
            "messages": part.count.messages,
            "dead": part.count.dead,
            "late": part.count.late,
            "rate": part.count.rate,
            "newest": _time(part.count.newest_us),
            "at": _time(part.count.at_us or None),
        }
        for part in each.partitions
    ]
    return {
        "source": each.source,
        "views": list(each.views),
        "group": each.group,
        "watermark": _time(each.watermark_us),
        "partitions": partitions,
    }
