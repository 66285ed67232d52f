"""What the demo prints and draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from examples.common.show import short

NEW_YORK = ZoneInfo("America/New_York")
_HONEST, _LEAKING, _SEEN = "#2563a8", "#c8452c", "#8a8a8a"


def print_result(console: Console, result: Mapping[str, Any], repository: Path, output: Path) -> None:
    """The two tables, and where to go from here."""
    console.print("", _leak_table(result), "", _summary_table(result))
    drifted = ", ".join(subject.rpartition(": ")[2] for subject in result["drifted"]) or "none"
    console.print(f"\nNot like what the model was trained on, in the last week: {drifted}", highlight=False)
    plot, report = short(output / "flights.png"), short(output / "flights.html")
    console.print(f"The plot is in {plot}, the report on the values in {report}. To go on:", highlight=False)
    for line in (
        f"source .venv/bin/activate && cd {short(repository)}",
        "tiffin feature-views list",
        "tiffin plan      # after a change in definitions.py",
        "tiffin get-historical-features -d data/flights.parquet --service late_arrival -o all.parquet",
        "tiffin get-online-features -e tailnum=N14228 -f plane_facts:manufacturer -f plane_facts:seats",
        "make demo ARGS='--day 2013-12-05 --months 10 --moments 0'      # in the project's folder",
    ):
        console.print(f"  {line}", style="bold", highlight=False, soft_wrap=True)


def _leak_table(result: Mapping[str, Any]) -> Table:
    """The ways to build the training set, and what the models are worth."""
    table = Table(title="Three models of the same flights", title_justify="left", show_edge=False)
    table.add_column("point_in_time")
    for name in ("from the future", "AUC, backtest", "in service", "log loss"):
        table.add_column(name, justify="right")
    for mode, way in (("known, no rolling", "plain"), ("known", "honest"), ("event", "leaking")):
        found = result[way]
        aucs = (f"{found[where]['auc']:.3f}" for where in ("backtest", "service"))
        table.add_row(mode, f"{found['future_cells']:,}", *aucs, f"{found['service']['log_loss']:.3f}")
    return table


def _summary_table(result: Mapping[str, Any]) -> Table:
    """The demo in one table."""
    day, backtest = result["day"], result["honest"]["backtest"]
    table = Table(title="The flights of New York", title_justify="left", show_header=False, show_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows of the training set", f"{result['rows']:,} of {result['flights']:,} flights")
    table.add_row("features", f"{result['features']}")
    table.add_row("AUC, a month not trained on", f"{backtest['auc']:.3f} ({backtest['rows']:,} arrivals)")
    table.add_row("log loss, the same", f"{backtest['log_loss']:.3f} (base rate {backtest['base_log_loss']:.3f})")
    table.add_row(f"served on {day['date']}", f"{day['flights']:,} flights at {day['moments']:,} moments")
    table.add_row("AUC, from online values", f"{day['score']['auc']:.3f} ({day['score']['rows']:,} arrivals)")
    table.add_row("online read of a flight, p50 and p99", f"{day['read_p50_ms']:.2f} ms, {day['read_p99_ms']:.2f} ms")
    table.add_row("online values held to the training set", f"{day['cells']:,} ({day['nulls']:,} null)")
    colour = "red" if day["mismatches"] else "green"
    table.add_row("mismatches", f"[bold {colour}]{day['mismatches']:,}")
    table.add_row("... of the log, by `tiffin verify`", f"{day['verified_different']:,} of {day['verified']:,}")
    table.add_row("... had the day not been loaded", f"{day['mismatches_unloaded']:,}")
    return table


def draw(path: Path, month: pa.Table, day: pa.Table, result: Mapping[str, Any]) -> None:
    """Save the plot: calibration over the month, the served day by hour, and what the leak does to the score.

    Args:
        path: of the image.
        month: the flights of the month, with ``late`` and ``chance``.
        day: the flights of the day, with ``event_timestamp`` too.
        result: the demo's result.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    _draw_calibration(left, month)
    _draw_day(middle, day, result["day"]["date"])
    _draw_leak(right, result)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_calibration(axes: Any, month: pa.Table) -> None:
    arrived = month.filter(month["late"].is_valid())
    chance, late = arrived["chance"].to_numpy(), arrived["late"].to_numpy().astype(float)
    parts = np.array_split(np.argsort(chance), 20)
    axes.plot([0, 1], [0, 1], color=_SEEN, lw=1, ls="--", label="as predicted")
    axes.plot([chance[p].mean() for p in parts], [late[p].mean() for p in parts], "o-", color=_HONEST, label="seen")
    axes.set(
        title="A month not seen in training", xlabel="predicted chance of a late arrival", ylabel="share seen late"
    )
    axes.legend(frameon=False)


def _draw_day(axes: Any, day: pa.Table, date: str) -> None:
    arrived = day.filter(day["late"].is_valid())
    hours = pc.hour(pc.cast(arrived["event_timestamp"], pa.timestamp("us", str(NEW_YORK)))).to_numpy()
    chance, late = arrived["chance"].to_numpy(), arrived["late"].to_numpy().astype(float)
    found = np.unique(hours)
    seen = [late[hours == hour].mean() for hour in found]
    axes.bar(found, seen, color=_SEEN, alpha=0.5, label="seen")
    axes.plot(found, [chance[hours == hour].mean() for hour in found], "o-", color=_HONEST, label="predicted online")
    axes.set(title=f"{date}, from online values", xlabel="hour of departure, New York", ylabel="share late")
    axes.set(ylim=(0, 1), xticks=range(6, 24, 3))
    axes.legend(frameon=False)


def _draw_leak(axes: Any, result: Mapping[str, Any]) -> None:
    for offset, where, shade in ((-0.2, "backtest", 0.5), (0.2, "service", 1.0)):
        aucs = [result[way][where]["auc"] for way in ("honest", "leaking")]
        bars = axes.bar(np.arange(2) + offset, aucs, 0.38, color=[_HONEST, _LEAKING], alpha=shade)
        axes.bar_label(bars, labels=[f"{where}\n{auc:.3f}" for auc in aucs], fontsize=9)
    axes.axhline(0.5, color=_SEEN, lw=1, ls="--")
    axes.set_xticks([0, 1], ["known", "event"])
    axes.set(title="What a leak promises, and what it keeps", xlabel="point_in_time", ylabel="AUC", ylim=(0.4, 1.12))
