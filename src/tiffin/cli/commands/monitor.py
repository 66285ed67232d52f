"""``tiffin monitor``: what the values of a view are like, and whether they have changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_table, say
from tiffin.time import MIN_US, format_us, parse_period

if TYPE_CHECKING:
    from tiffin.quality.distances import Distance
    from tiffin.quality.drift import ColumnDrift, DriftReport
    from tiffin.quality.profiles import Profile

_DISTANCES = ("psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein", "chi_square", "null_share")
#: Between the two ends of a period.
_TO = ".."


@click.group()
def monitor() -> None:
    """Watch what the values are like, and whether they change."""


@monitor.command()
@click.argument("view", metavar="VIEW")
@click.option("--since", metavar="TIME", help="The first event time; from the first fact on when left out.")
@click.option("--until", metavar="TIME", help="The first event time after the period; now when left out.")
@click.option("--online", is_flag=True, help="What is served now, for a sample of the keys, instead of a period.")
@click.option("--sample", type=click.IntRange(min=1), metavar="KEYS", help="With --online, of how many keys.")
@click.option("--no-keep", is_flag=True, help="Only print the profile; it does not go into the history.")
@json_option
@pass_invocation
def profile(
    invocation: Invocation,
    view: str,
    since: str | None,
    until: str | None,
    online: bool,
    sample: int | None,
    no_keep: bool,
    as_json: bool,
) -> None:
    """Profile the columns of VIEW in a period, and keep the profile."""
    with invocation.store() as store:
        found = store.profile(view, since, until, online=online, sample=sample, keep=not no_keep)
    if as_json:
        print_json(found.to_dict())
        return
    print_table(["COLUMN", "TYPE", "NULLS", "DISTINCT", "MIN", "MEDIAN", "MAX", "MEAN", "STD", "TOP"], _cells(found))
    say(f"\n{found.rows:,} rows, {found.words}")


@monitor.command()
@click.argument("view", metavar="VIEW")
@click.option("--column", metavar="COLUMN", help="Show how this column has changed.")
@json_option
@pass_invocation
def history(invocation: Invocation, view: str, column: str | None, as_json: bool) -> None:
    """List the profiles of VIEW that were kept."""
    with invocation.store() as store:
        store.get_feature_view(view)
        found = store.profiles(view)
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    columns, rows = ["OF", "FROM", "TO", "TAKEN", "ROWS"], [_row(each) for each in found]
    if column is not None:
        columns += ["TYPE", "NULLS", "DISTINCT", "MIN", "MEDIAN", "MAX", "MEAN", "STD", "TOP"]
        for row, each in zip(rows, found, strict=True):
            each.column(column)
            row += next(cells[1:] for cells in _cells(each) if cells[0] == column)
    print_table(columns, rows, empty="No profile was kept yet: run `tiffin monitor profile`.")


@monitor.command()
@click.argument("view", metavar="VIEW")
@click.option(
    "--reference",
    required=True,
    metavar="WHAT",
    help="A period such as 2024-01-01..2024-02-01, the name of a saved dataset, or online.",
)
@click.option("--since", metavar="TIME", help="The first event time; from the first fact on when left out.")
@click.option("--until", metavar="TIME", help="The first event time after the period; now when left out.")
@click.option("--online", is_flag=True, help="Compare what is served now, instead of a period.")
@click.option("--trend", is_flag=True, help="Compare every profile that was kept, instead of a period.")
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Only this column; may be repeated.")
@click.option("--psi", type=float, default=0.2, show_default=True, help="From which value on a column has drifted.")
@click.option("--jensen-shannon", type=float, help="The same for this distance; it is not judged when left out.")
@click.option("--kolmogorov-smirnov", type=float, help="The same.")
@click.option("--wasserstein", type=float, help="The same, in standard deviations of the reference.")
@click.option("--chi-square", type=float, help="The same for the p-value, of which a smaller one counts.")
@click.option("--null-share", type=float, default=0.05, show_default=True, help="The same for the share of nulls.")
@json_option
@pass_invocation
def drift(
    invocation: Invocation,
    /,
    view: str,
    reference: str,
    since: str | None,
    until: str | None,
    online: bool,
    trend: bool,
    columns: tuple[str, ...],
    as_json: bool,
    **limits: float | None,
) -> None:
    """Compare the features of VIEW with a reference.

    The exit status is 1 when a column has drifted; with --trend, in the last profile.
    """
    from tiffin.quality.drift import Thresholds

    if (since is not None or until is not None) + online + trend > 1:
        raise click.UsageError("Give either --since and --until, or --online, or --trend.")
    thresholds, base = Thresholds(**limits), _reference(reference)
    with invocation.store() as store:
        if trend:
            found = store.drift_trend(view, base, columns or None, thresholds)
        else:
            found = [store.drift(view, base, "online" if online else (since, until), columns or None, thresholds)]
    if as_json:
        print_json([each.to_dict() for each in found] if trend else found[0].to_dict())
    else:
        _print_drift(found)
    if found[-1].drifted:
        raise SystemExit(1)


def _reference(text: str) -> Any:
    """A period, or the name of something."""
    return parse_period(text) if _TO in text else text


def _print_drift(reports: Sequence[DriftReport]) -> None:
    rows = [
        [report.current.words, each.column, *(_shown(each.distances.get(name)) for name in _DISTANCES), _words(each)]
        for report in reports
        for each in report.columns
    ]
    print_table(["PROFILE", "COLUMN", *(name.upper().replace("_", " ") for name in _DISTANCES), "DRIFT"], rows)
    say(f"\nCompared with {reports[0].reference.subject}, {reports[0].reference.words}")


def _words(each: ColumnDrift) -> str:
    return "; ".join(part for part in (", ".join(each.beyond), each.note) if part)


def _shown(distance: Distance | None) -> str:
    """A distance with its bound, where it has one that can be seen."""
    if distance is None or distance.value != distance.value:
        return ""
    return f"{distance.value:.3f}" + (f" ± {distance.bound:.3f}" if distance.bound >= 0.0005 else "")


def _cells(profile: Profile) -> list[list[Any]]:
    rows = []
    for column in profile.columns.values():
        data = column.to_dict()
        top = ", ".join(f"{text} ({count:,})" for text, count in column.texts.top(3))
        nulls = f"{100 * column.null_share:.3g} %"
        numbers = [data.get(name) for name in ("min", "p50", "max", "mean")]
        spread = data.get("std") if column.kind == "number" else None
        rows.append([column.name, column.dtype, nulls, data.get("distinct"), *numbers, spread, top])
    return rows


def _row(profile: Profile) -> list[Any]:
    start = "the beginning" if profile.since_us == MIN_US else format_us(profile.since_us)
    return [profile.of, start, format_us(profile.until_us), format_us(profile.taken_us), profile.rows]
