"""``tiffin verify``: what was served, held to what training sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_table, say
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.quality.skew import FeatureSkew
    from tiffin.quality.verify import ServiceVerification, Verification

#: How the command ends when values differ.
_DIFFERENT = 1


@click.command()
@click.argument("service", required=False)
@click.option("--since", metavar="TIME", help="Only what was served from here on.")
@click.option("--until", metavar="TIME", help="Only what was served up to here.")
@click.option(
    "--max-mismatch",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="The share of the values of a feature that may differ.",
)
@click.option("--allow-no-history", is_flag=True, help="Features of views that are only pushed may go unverified.")
@click.option("--html", metavar="FILE", help="Write a report that a browser shows, in one file.")
@click.option("--keep", is_flag=True, help="Add the counts to the history that `tiffin monitor report` shows.")
@click.option("-o", "--output", metavar="FILE", help="Write the values that differ to a Parquet file.")
@json_option
@pass_invocation
def verify(
    invocation: Invocation,
    service: str | None,
    since: str | None,
    until: str | None,
    max_mismatch: float,
    allow_no_history: bool,
    html: str | None,
    keep: bool,
    output: str | None,
    as_json: bool,
) -> int:
    """Compare what was served with what training sees, value by value.

    Every vector in the log of SERVICE, or of all services that have one, is computed again as of its moment. What
    differs is counted, and named after its cause where there is evidence for one. The command ends with 1 when more
    than --max-mismatch of a feature differs, or a part of the log could not be compared.
    """
    with invocation.store() as store:
        found = store.verify(service, since, until, max_mismatch, allow_no_history, keep=keep)
        project = store.project
    if html:
        from tiffin.quality.verify_page import verification_page

        verification_page(project, found).write(html)
    if output:
        _write_mismatches(found, output)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    return 0 if found.is_ok else _DIFFERENT


def _write_mismatches(found: Verification, output: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [
        each.mismatches.add_column(0, "service", pa.array([each.service] * each.mismatches.num_rows, pa.string()))
        for each in found.services
    ]
    pq.write_table(pa.concat_tables(tables), output)


def _print(found: Verification) -> None:
    for each in found.services:
        _print_service(each)
    say(found.verdict, fg="red" if found.different else "green", bold=True)


def _print_service(found: ServiceVerification) -> None:
    from tiffin.quality.skew_causes import evidence

    if found.first_us is not None and found.last_us is not None:
        span = f"{format_us(found.first_us)} to {format_us(found.last_us)}"
        say(f"{found.service}: {found.rows:,} vectors, {span}")
    _print_features("FEATURE", found.features)
    if found.inputs:
        say()
        _print_features("COMPUTED FROM", found.inputs)
    if found.causes:
        say()
        print_table(["CAUSE", "VALUES", "EVIDENCE"], [[name, n, evidence(name)] for name, n in found.causes.items()])
    for each in (*found.features, *found.inputs):
        if each.not_logged:
            say(f"{each.feature}: {each.not_logged:,} row(s) of the log do not have it", fg="yellow")
    for reference in found.no_history:
        say(f"{reference}: not compared, because facts behind it are only pushed and have no history", fg="yellow")
    for problem in found.problems:
        say(f"{problem.file}: {problem.reason}", fg="red")
    if found.newer_rows:
        say(f"{found.newer_rows:,} row(s) are of definitions that the registry does not have", fg="red")
    say()


def _print_features(title: str, features: Sequence[FeatureSkew]) -> None:
    columns = [title, "COMPARED", "EQUAL", "MISMATCHING", "MISSING", "EXTRA", "LARGEST DIFFERENCE", "CAUSES"]
    rows = []
    for each in features:
        causes = ", ".join(f"{name} {cells:,}" for name, cells in each.causes.most_common())
        spread = each.spread
        largest = f"{spread.largest:.6g} {spread.unit}" if spread is not None and spread.count else ""
        counts = [each.compared, each.equal, each.mismatching, each.missing, each.extra]
        rows.append([each.feature, *counts, largest, causes])
    print_table(columns, rows, thousands=True)
