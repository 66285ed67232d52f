"""What the example prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.clicks.events import World
from examples.common.show import short


def page(answer: Mapping[str, list[Any]], world: World, seconds: float, killed: int) -> Table:
    """The features of some users as they are served now."""
    what = f", {killed} worker killed" if killed else ""
    title = f"{seconds:4.0f} s: {world.sent:,} messages sent{what}"
    table = Table(title=title, title_justify="left", show_edge=False)
    table.add_column("user")
    for name in ("clicks_last_hour", "sessions_last_day"):
        table.add_column(name, justify="right")
    table.add_column("page")
    columns = (answer[name] for name in ("user_id", "clicks_last_hour", "sessions_last_day", "page"))
    for row in zip(*columns, strict=True):
        table.add_row(*("" if value is None else str(value) for value in row))
    return table


def print_result(console: Console, result: Mapping[str, Any], repository: Path) -> None:
    """The table, and where to go from here."""
    console.print("", _summary_table(result))
    console.print("\nTo go on:", highlight=False)
    for line in (
        f"source .venv/bin/activate && cd {short(repository)}",
        "tiffin feature-views describe streaming_user_features",
        "head -c 600 data/dead_letters/clicks.jsonl",
        "make demo-clicks ARGS='--rate 10000 --seconds 60'      # in the project's folder",
    ):
        console.print(f"  {line}", style="bold", highlight=False, soft_wrap=True)


def _summary_table(result: Mapping[str, Any]) -> Table:
    """The example in one table."""
    served = result["served"]
    table = Table(title="Clicks from Kafka", title_justify="left", show_header=False, show_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("messages sent, in seconds", f"{result['sent']:,} in {result['seconds']:g}")
    table.add_row("... late, sent twice, in the file too", "{late:,}, {twice:,}, {both_ways:,}".format(**result))
    table.add_row("... that nobody can read", f"{result['broken']:,}")
    table.add_row("workers, killed", f"{result['workers']}, {result['killed']}")
    table.add_row("messages worked off, dead letters", f"{result['worked_off']:,}, {result['dead']:,}")
    table.add_row("rows appended to the history", f"{result['history']:,}")
    table.add_row("users, moments", f"{served['users']:,}, {served['moments']}")
    table.add_row("online values held to the training set", f"{served['cells']:,} ({served['nulls']:,} null)")
    colour = "red" if served["mismatches"] else "green"
    table.add_row("mismatches", f"[bold {colour}]{served['mismatches']:,}")
    table.add_row("... had the stream not come", f"{served['mismatches_without_stream']:,}")
    return table
