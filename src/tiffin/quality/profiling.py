"""Profiles of what a project has: the facts of a view in a period, what is served of it now, and any table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import single_chunk
from tiffin.definitions import FeatureView
from tiffin.errors import EmptyPeriodError, RequestError
from tiffin.operations.entity_rows import to_table
from tiffin.operations.remote import read_features
from tiffin.operations.rows import prepare_rows
from tiffin.planning.references import SelectedView
from tiffin.planning.retrieval import FactColumns, FeatureColumn, ScanPlan, fact_columns
from tiffin.quality.history import keep_profile
from tiffin.quality.profiles import Profile, profile_columns, with_every_number
from tiffin.time import MIN_US, format_us, to_us
from tiffin.types import UnixTimestamp, arrow_type
from tiffin.windows.hashing import row_hashes

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from tiffin.operations.context import Context

#: Keys that are read online: a share of them is off by more than one percent once in about a hundred times.
SAMPLE_KEYS = 20_000
#: Keys that are asked for in one read.
_READ_KEYS = 2_000


def take_profile(
    ctx: Context,
    name: str,
    since: datetime | str | int | None = None,
    until: datetime | str | int | None = None,
    online: bool = False,
    keys: Any = None,
    sample: int | None = None,
    *,
    keep: bool = False,
) -> Profile:
    """Profile the facts of a view or what is served of it, and keep the profile if that is wanted.

    Raises:
        RequestError: an argument does not go with the others; and as ``profile_view`` and ``profile_online`` do.
    """
    period, keyed = (since, until) != (None, None), keys is not None or sample is not None
    if period if online else keyed:
        wrong = "since and until go with the history" if online else "keys and sample go with online=True"
        raise RequestError(f"{wrong}, not with this profile", hint="what is served is served now, whatever its period")
    if online:
        profile = profile_online(ctx, name, keys, SAMPLE_KEYS if sample is None else sample)
    else:
        profile = profile_view(ctx, name, since, until)
    if keep:
        keep_profile(ctx, profile)
    return profile


def profile_view(
    ctx: Context, name: str, since: datetime | str | int | None = None, until: datetime | str | int | None = None
) -> Profile:
    """Profile the facts of a view whose event time is in ``since <= time < until``.

    All columns of a fact are profiled: join keys, features (of a view with aggregations, what these are computed from)
    and the event time.

    Args:
        ctx: the opened project.
        name: the view.
        since: from the first fact on when left out.
        until: now when left out.

    Raises:
        NotFoundError: there is no such view.
        RequestError: the period is empty.
        EmptyPeriodError: it has no facts.
        UnsupportedError: the view has no history.
        SourceError: the source cannot be read.
    """
    view, now_us = ctx.snapshot().view(name), ctx.now_us()
    since_us, until_us = _period(since, until, now_us)
    prepare_rows(ctx, [view])
    facts = _every_column(view)
    schema = _schema(facts)
    plan = ScanPlan(facts, (), (), since_us, until_us - 1, None)
    columns = profile_columns(_facts(ctx, plan), schema)
    rows = columns[0].rows
    if not rows:
        period = f"between {format_us(since_us)} and {format_us(until_us)}"
        raise EmptyPeriodError(
            f"{view.subject} has no facts {period}",
            subject=view.subject,
            location=view.location,
            hint="choose another period, or leave since and until out to see which there is",
        )
    return Profile(name, "offline", since_us, until_us, now_us, rows, {each.name: each for each in columns})


def profile_online(ctx: Context, name: str, keys: Any = None, sample: int = SAMPLE_KEYS) -> Profile:
    """Profile what is served of a view now, for a sample of its keys.

    The values are those that a request gets: expired ones are null, windows end now.

    Args:
        ctx: the opened project.
        name: the view.
        keys: a frame with the join keys, or columns; a sample of the keys that are in the history when left out.
        sample: how many keys, chosen by their hash: the same ones every time.

    Raises:
        NotFoundError: there is no such view.
        RequestError: there are no keys, or the view is not served.
    """
    import pyarrow as pa

    view, now_us = ctx.snapshot().view(name), ctx.now_us()
    if keys is None:
        keys = _sampled_keys(ctx, view, sample)
    table = to_table(keys if not isinstance(keys, Mapping) else pa.table(dict(keys)))
    if not table.num_rows:
        raise RequestError(f"there are no keys of {view.subject} to read", subject=view.subject, hint="pass keys=")
    features = [f"{name}:{feature}" for feature in view.feature_names]
    answers = []
    for start in range(0, table.num_rows, _READ_KEYS):
        rows = table.slice(start, _READ_KEYS).to_pydict()
        answers.append(read_features(ctx, features, rows).to_arrow().select(view.feature_names))
    columns = profile_columns(answers, answers[0].schema)
    by_name = {each.name: each for each in columns}
    return Profile(name, "online", now_us, now_us, now_us, table.num_rows, by_name)


def profile_table(ctx: Context, frame: Any, subject: str = "table", *, exact: bool = False) -> Profile:
    """Profile the columns of a pandas or polars frame or an Arrow table, such as a training set.

    Args:
        ctx: the opened project.
        frame: the rows.
        subject: what they are called.
        exact: keep how often each different number occurs, so that all that is computed from them is exact; takes
            room for them, and is not for keeping.

    Raises:
        InputError: it is no frame.
        RequestError: it has no rows.
    """
    table, now_us = to_table(frame), ctx.now_us()
    if not table.num_rows:
        raise RequestError(f"{subject} has no rows", subject=subject, hint="profile a table that has some")
    columns = profile_columns(table.to_batches(), table.schema)
    if exact:
        columns = [with_every_number(each, table[each.name]) for each in columns]
    return Profile(subject, "table", now_us, now_us, now_us, table.num_rows, {each.name: each for each in columns})


def _period(since: datetime | str | int | None, until: datetime | str | int | None, now_us: int) -> tuple[int, int]:
    since_us = MIN_US if since is None else to_us(since)
    until_us = now_us if until is None else to_us(until)
    if since_us >= until_us:
        message = f"the period from {format_us(since_us)} to {format_us(until_us)} is empty"
        raise RequestError(message, hint="since is the first moment, until the first one after the period")
    return since_us, until_us


def _every_column(view: FeatureView) -> FactColumns:
    """The facts of a view with their join keys and event time among the columns."""
    facts = fact_columns(SelectedView(view, view.features))

    def source_column(name: str) -> str:
        return name if facts.transform is not None else facts.source.source_column(name)

    keys = [
        FeatureColumn(key, source_column(key), dtype)
        for key, dtype in zip(view.join_keys, view.key_types, strict=True)
        if dtype is not None
    ]
    event = FeatureColumn(view.time_columns[0], facts.event_column, UnixTimestamp)
    columns = {column.name: column for column in (*keys, *facts.payload, event)}
    return replace(facts, payload=tuple(columns.values()))


def _schema(facts: FactColumns) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(column.name, arrow_type(column.dtype)) for column in facts.payload])


def _facts(ctx: Context, plan: ScanPlan) -> Iterator[pa.RecordBatch]:
    """Every fact of a plan, whatever its key."""
    import pyarrow as pa

    return ctx.offline.scan(plan, pa.table({"code": pa.array([0], pa.int64())}))


def _sampled_keys(ctx: Context, view: FeatureView, sample: int) -> pa.Table:
    """Some of the different keys in the history of a view: those with the least hashes, so a fair sample of them."""
    import pyarrow as pa

    prepare_rows(ctx, [view])
    facts = _every_column(view)
    columns = tuple(column for column in facts.payload if column.name in view.join_keys)
    facts = replace(facts, payload=columns)
    kept, least = pa.table({name: [] for name in view.join_keys}), np.empty(0, np.uint64)
    for batch in _facts(ctx, ScanPlan(facts, (), (), None, ctx.now_us(), None)):
        table = pa.Table.from_batches([batch]).select(list(view.join_keys)).drop_null()
        hashes = row_hashes([single_chunk(table[name]) for name in view.join_keys])
        if len(least) == sample:
            closer = np.flatnonzero(hashes < least[-1])
            table, hashes = table.take(pa.array(closer)), hashes[closer]
        table = pa.concat_tables([kept, table]) if kept.num_rows else table
        least, places = np.unique(np.concatenate([least, hashes]), return_index=True)
        least, kept = least[:sample], table.take(pa.array(places[:sample]))
    return kept
