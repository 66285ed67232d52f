"""What the example prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.common.show import short


def print_result(console: Console, result: Mapping[str, Any], repository: Path) -> None:
    """The two tables, and where to go from here."""
    console.print("", _models_table(result), "", _summary_table(result))
    console.print("\nTo go on:", highlight=False)
    for line in (
        f"source .venv/bin/activate && cd {short(repository)}",
        "tiffin feature-views describe card_activity",
        "tiffin plan      # after a change in definitions.py",
        "make demo-fraud ARGS='--size 200000 --moments 5'      # in the project's folder",
    ):
        console.print(f"  {line}", style="bold", highlight=False, soft_wrap=True)


def _models_table(result: Mapping[str, Any]) -> Table:
    """What each model promises, and what it keeps."""
    week = result["models"]["and reports"]["service"]
    title = f"Frauds found in the worst 1% of {week['rows']:,} payments ({week['frauds']:,} frauds)"
    table = Table(title=title, title_justify="left", show_edge=False)
    table.add_column("a model of")
    for name in ("in the backtest", "in service", "average precision"):
        table.add_column(name, justify="right")
    for name, words in (
        ("payment alone", "the payment alone"),
        ("and windows", "... and windows"),
        ("and reports", "... and reports of fraud"),
        ("by event time", "all by event time: a leak"),
    ):
        scores = result["models"][name]
        found = (f"{scores[where]['found']:.1%}" for where in ("backtest", "service"))
        table.add_row(words, *found, f"{scores['service']['average_precision']:.3f}")
    return table


def _summary_table(result: Mapping[str, Any]) -> Table:
    """The example in one table."""
    loaded, served = result["loaded"], result["served"]
    table = Table(title="Card transactions", title_justify="left", show_header=False, show_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("transactions, frauds", f"{result['transactions']:,}, {result['frauds']:,}")
    table.add_row("rows of the training set, features", f"{result['rows']:,}, {result['features']}")
    table.add_row("loaded, facts", f"{loaded['facts']:,} at {loaded['facts_per_second']:,.0f} a second")
    table.add_row(
        "pushed into three views, shuffled", f"{served['pushed']:,} at {served['pushed_per_second']:,.0f} a second"
    )
    table.add_row("... of them a second time", f"{served['pushed_twice']:,}")
    table.add_row("payments asked for", f"{served['requests']:,} at {served['moments']:,} moments")
    table.add_row("online read of one, p50 and p99", f"{served['read_p50_ms']:.2f} ms, {served['read_p99_ms']:.2f} ms")
    table.add_row("online values held to the training set", f"{served['cells']:,} ({served['nulls']:,} null)")
    colour = "red" if served["mismatches"] else "green"
    table.add_row("mismatches", f"[bold {colour}]{served['mismatches']:,}")
    table.add_row("... of the log, by `tiffin verify`", f"{served['verified_different']:,} of {served['verified']:,}")
    table.add_row("... had the stream not come", f"{served['mismatches_without_stream']:,}")
    return table
