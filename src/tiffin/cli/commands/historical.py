"""``tiffin get-historical-features``: a training set, and what became of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tiffin.cli import frames
from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_rows, print_table, say
from tiffin.errors import RequestError
from tiffin.time import parse_duration

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.retrieve import RetrievalJob
    from tiffin.quality.leaks import LeakReport
    from tiffin.store import FeatureStore


@click.command()
@click.option(
    "-d",
    "--dataframe",
    metavar="FILE",
    help="The entity rows: a .parquet or .csv file, - for CSV on the standard input, or JSON rows.",
)
@click.option("--sql", metavar="QUERY", help="The entity rows as a SQL query of the offline store.")
@click.option("-f", "--features", multiple=True, metavar="VIEW:FEATURE", help="A feature; may be repeated.")
@click.option("--service", metavar="NAME", help="The features of a feature service, instead of --features.")
@click.option("-s", "--start-date", metavar="TIME", help="Without entity rows: every fact of the views from here on.")
@click.option("-e", "--end-date", metavar="TIME", help="Without entity rows: every fact of the views up to here.")
@click.option("--full-feature-names", is_flag=True, help="Call the columns view__feature.")
@click.option("-o", "--output", metavar="FILE", help="Write the training set to a .parquet or .csv file.")
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, help="How many rows to show.")
@click.option("--label", metavar="COLUMN", help="What a model is to tell; says which features tell it too well.")
@click.option("--before", metavar="DURATION", help="With --label: how well features told it so long before each row.")
@click.option("--check", is_flag=True, help="Exit with 1 when the training set may leak.")
@click.option("--explain", is_flag=True, help="Print what would be read, and how; nothing is run.")
@json_option
@pass_invocation
def get_historical_features(
    invocation: Invocation,
    dataframe: str | None,
    sql: str | None,
    features: tuple[str, ...],
    service: str | None,
    start_date: str | None,
    end_date: str | None,
    full_feature_names: bool,
    output: str | None,
    limit: int,
    label: str | None,
    before: str | None,
    check: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Build a training set and report how it went.

    Features are joined to entity rows, each as of the row's time.

    Each entity row has the join keys and a time, event_timestamp; other columns are kept. Without entity rows, the keys
    and times of the facts between --start-date and --end-date are the rows.
    """
    if dataframe and sql:
        raise RequestError("--dataframe and --sql both give entity rows", hint="pass one of them")
    if output:
        frames.check_output(output)
    with invocation.store() as store:
        entity_rows = frames.read_frame(dataframe, text_columns=_text_keys(store)) if dataframe else sql
        job = store.get_historical_features(
            entity_df=entity_rows,
            features=wanted_features(store, features, service),
            full_feature_names=full_feature_names,
            start_date=start_date,
            end_date=end_date,
        )
        if explain:
            say(job.explain())
            return
        table = job.to_arrow()
        leaks = store.check_leaks(job, label, before=parse_duration(before) if before else None)
        if output:
            _write(job, table, output)
        _print_answer(table, leaks, output, limit, as_json)
        if check:
            leaks.raise_if_leaking()


def wanted_features(store: FeatureStore, features: tuple[str, ...], service: str | None) -> Any:
    """What ``--features`` and ``--service`` ask for.

    Raises:
        RequestError: neither is given, or both.
    """
    if bool(features) == bool(service):
        problem = "--features and --service both say" if service else "nothing says"
        hint = "pass -f view:feature, repeated, or --service name"
        raise RequestError(f"{problem} which features are wanted", hint=hint)
    return store.get_feature_service(service) if service else list(features)


def _text_keys(store: FeatureStore) -> list[str]:
    """The join keys that are text, whatever a CSV makes of them."""
    from tiffin.types import String

    return [entity.join_key for entity in store.list_entities() if entity.key_type == String]


def _write(job: RetrievalJob, table: pa.Table, output: str) -> None:
    if output.lower().endswith(".csv"):
        frames.write_csv(table, output)
    else:
        job.persist(output, allow_overwrite=True)


def _print_answer(table: pa.Table, leaks: LeakReport, output: str | None, limit: int, as_json: bool) -> None:
    if as_json:
        answer: dict[str, Any] = {
            "row_count": table.num_rows,
            "columns": [{"name": field.name, "type": str(field.type)} for field in table.schema],
            "report": leaks.to_dict(),
        }
        print_json(answer | ({"output": output} if output else {"rows": frames.python_rows(table)}))
        return
    if not output and limit:
        shown = frames.python_rows(table.slice(0, limit))
        print_rows(table.column_names, [list(row.values()) for row in shown])
        if table.num_rows > limit:
            say(f"... {limit:,} of {table.num_rows:,} rows; -o FILE writes them all", dim=True)
        say()
    columns = ["VIEW", "ROWS", "MATCHED", "EXPIRED", "MISSING", "TIES", "KNOWN LATER"]
    rows = [[v.view, v.rows, v.matched, v.expired, v.missing, v.ties, v.known_later] for v in leaks.views]
    print_table(columns, rows, thousands=True)
    if leaks.features:
        say()
        strengths = [[f.feature, _share(f.strength), _share(f.presence), _share(f.before)] for f in leaks.features]
        print_table(["FEATURE", "TELLS THE LABEL", "BY BEING THERE", "BEFORE"], strengths)
    for leak in leaks.leaks:
        say(f"May leak: {leak}", bold=True)
    if output:
        say(f"Wrote {table.num_rows:,} rows and {table.num_columns} columns to {output}", bold=True)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
