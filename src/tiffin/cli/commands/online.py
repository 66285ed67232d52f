"""``tiffin get-online-features``: what a model would read now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tiffin.cli.commands.historical import wanted_features
from tiffin.cli.invocation import Invocation, json_option, pass_invocation, views_option
from tiffin.cli.output import print_json, print_rows, print_table
from tiffin.errors import RequestError

if TYPE_CHECKING:
    from tiffin.online.response import OnlineResponse
    from tiffin.operations.remote import RemoteResponse
    from tiffin.store import FeatureStore


@click.command()
@click.option(
    "-e",
    "--entities",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="A join key; repeat it for more rows, and for views with several keys.",
)
@click.option("-f", "--features", multiple=True, metavar="VIEW:FEATURE", help="A feature; may be repeated.")
@click.option("--service", metavar="NAME", help="The features of a feature service, instead of --features.")
@click.option("--full-feature-names", is_flag=True, help="Call the columns view__feature.")
@json_option
@pass_invocation
def get_online_features(
    invocation: Invocation,
    entities: tuple[str, ...],
    features: tuple[str, ...],
    service: str | None,
    full_feature_names: bool,
    as_json: bool,
) -> None:
    """Read features online, as a model would.

    A value that is not there says why: NOT_FOUND (the key was never loaded), NULL_VALUE (the fact has no value) or
    OUTSIDE_MAX_AGE (the fact is older than the view's ttl).
    """
    rows = parse_entities(entities)
    with invocation.store() as store:
        response = store.get_online_features(
            features=wanted_features(store, features, service),
            entity_rows=_with_types(store, rows),
            full_feature_names=full_feature_names,
        )
    if as_json:
        print_json(_as_data(response))
    else:
        _print_values(response)


@click.command()
@click.option(
    "-e",
    "--entities",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="A join key; repeat it for more entities, and for views with several keys.",
)
@views_option
@json_option
@pass_invocation
def delete_entities(invocation: Invocation, entities: tuple[str, ...], views: tuple[str, ...], as_json: bool) -> None:
    """Delete entities from the online store.

    Every online view whose join keys are given forgets them, or only the views that are named. Loading or pushing facts
    from before this moment does not bring them back. The sources stay as they are.
    """
    with invocation.store() as store:
        deletion = store.delete_entities(list(parse_entities(entities)), list(views) or None)
    if as_json:
        print_json(deletion.to_dict())
        return
    print_table(["VIEW", "KEYS KNOWN"], [[view, count] for view, count in deletion.views.items()], empty="")


def parse_entities(texts: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows from ``key=value`` texts: the first values of each key are the first row, and so on.

    Raises:
        RequestError: a text has no ``=``, or the keys have different numbers of values.

    >>> parse_entities(("a=1", "b=x", "a=2", "b=y"))
    [{'a': '1', 'b': 'x'}, {'a': '2', 'b': 'y'}]
    """
    columns: dict[str, list[str]] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise RequestError(f"--entities {text!r} is not key=value", hint="write -e driver_id=1001")
        columns.setdefault(key, []).append(value)
    counts = {key: len(values) for key, values in columns.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{key} {count}" for key, count in counts.items())
        hint = "give every key once per row: -e a=1 -e b=x -e a=2 -e b=y"
        raise RequestError(f"the keys have different numbers of values: {found}", hint=hint)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _with_types(store: FeatureStore, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows with the values of the request in the types that functions expect; keys are read from text anyway."""
    from tiffin.types import Bool, Float32, Float64, Int32, Int64

    readers: dict[Any, Any] = {Int32: int, Int64: int, Float32: float, Float64: float, Bool: "true".__eq__}
    fields = [field for view in store.list_on_demand_feature_views() for field in view.request_fields]
    types = {field.name: readers[field.dtype] for field in fields if field.dtype in readers}
    try:
        return [{name: types.get(name, str)(value) for name, value in row.items()} for row in rows]
    except ValueError as error:
        raise RequestError(
            f"a value of --entities is not of its type: {error}", hint="look at the request source"
        ) from None


def _as_data(response: OnlineResponse | RemoteResponse) -> dict[str, Any]:
    return {
        "values": response.to_dict(),
        "statuses": response.statuses(),
        "event_timestamps": response.event_timestamps(),
    }


def _print_values(response: OnlineResponse | RemoteResponse) -> None:
    """One line per entity row; a missing value is shown as its status."""
    values, statuses = response.to_dict(), response.statuses()
    columns = [
        [
            value if value is not None or status == "PRESENT" else status
            for value, status in zip(column, statuses.get(name, ["PRESENT"] * len(column)), strict=True)
        ]
        for name, column in values.items()
    ]
    print_rows(list(values), list(zip(*columns, strict=True)))
