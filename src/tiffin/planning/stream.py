"""From the views that are to be fed to what is read of which stream, under which group. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tiffin.definitions import DataSource, FeatureView, StreamSource
from tiffin.definitions.transformed_view import TransformedFeatureView
from tiffin.errors import RequestError, UnsupportedError
from tiffin.messages.column import MessageColumn
from tiffin.registry.snapshot import Snapshot
from tiffin.types import FeatureType, Float32, Float64, Int32, Int64, UnixTimestamp, from_arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

#: Read wider, and narrowed by each view that wants it so.
_WIDER: dict[FeatureType, FeatureType] = {Int32: Int64, Float32: Float64}


#: Source name to the columns of its history.
Histories = Mapping[str, Mapping[str, "pa.DataType"]]


@dataclass(frozen=True)
class HistoryPlan:
    """The history that the messages of a stream are appended to.

    Attributes:
        source: where it is.
        types: its columns with their types.
        paths: for each of them what is read of a message.
        unserved: views that the run does not feed and that expect something of the facts of the same history, each with
            the columns that its key is made of.
    """

    source: DataSource
    types: Mapping[str, pa.DataType]
    paths: Mapping[str, str]
    unserved: tuple[tuple[FeatureView, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class StreamPlan:
    """One stream and the views that it feeds.

    Attributes:
        source: the stream.
        views: they.
        columns: what is read of each message.
        keys: for each view the columns that its key is made of.
        time: the column of event times.
        group: the group of consumers. All views of a source share one; a choice of them has its own, and so have views
            with their history, because a position says what all of them have got.
        history: what the messages are appended to, where they are.
    """

    source: StreamSource
    views: tuple[FeatureView, ...]
    columns: tuple[MessageColumn, ...]
    keys: tuple[tuple[str, ...], ...]
    time: str
    group: str
    history: HistoryPlan | None = None


def plan_stream(snapshot: Snapshot, names: Sequence[str] = (), histories: Histories | None = None) -> list[StreamPlan]:
    """Which streams are read, for the views that are named, or else for all that are online and enabled.

    Args:
        snapshot: the definitions.
        names: the views.
        histories: for each source the columns of its batch source, when the messages are to be appended to these.

    Raises:
        NotFoundError: there is no such view.
        RequestError: a view has no stream that can be read, or is not served; or two views read a field as different
            types; or a column of the history cannot be read of a message.
    """
    return [
        _plan(snapshot, views, None if histories is None else histories[name], is_whole=is_whole)
        for name, (views, is_whole) in _views_by_source(snapshot, names).items()
    ]


def views_of_streams(snapshot: Snapshot, names: Sequence[str] = ()) -> list[FeatureView]:
    """One view of each stream that ``plan_stream`` plans; raises as it does."""
    return [views[0] for views, _ in _views_by_source(snapshot, names).values()]


def _views_by_source(snapshot: Snapshot, names: Sequence[str]) -> dict[str, tuple[list[FeatureView], bool]]:
    """For each stream the views that are fed from it, and whether these are all that could be."""
    possible = [view for view in snapshot.views.values() if _broker(view)]
    if names:
        chosen = [snapshot.view(name) for name in dict.fromkeys(names)]
        for view in chosen:
            _check(view)
    else:
        chosen = [view for view in possible if view.online and view.enabled]
    if not chosen:
        hint = "give a view a KafkaSource or a KinesisSource and run `tiffin apply`"
        raise RequestError("no feature view is fed by a stream that can be read", hint=hint)
    found = {}
    for name in dict.fromkeys(view.source.name for view in chosen if view.source is not None):
        views = [view for view in chosen if view.source is not None and view.source.name == name]
        whole = [view for view in possible if view.source is not None and view.source.name == name and view.online]
        found[name] = views, {view.name for view in views} == {view.name for view in whole}
    return found


def _plan(
    snapshot: Snapshot, views: Sequence[FeatureView], held: Mapping[str, pa.DataType] | None, *, is_whole: bool
) -> StreamPlan:
    source = views[0].source
    assert isinstance(source, StreamSource)
    columns: dict[str, MessageColumn] = {}
    times = [source.source_column(name) if name else "" for name in views[0].time_columns]
    keys = [_add_view(columns, source, view) for view in views]
    for number, path in enumerate(times):
        if path:
            wanted = MessageColumn(path, UnixTimestamp, is_time=True, is_required=number == 0)
            _add(columns, wanted, views[0])
    history = None
    if held is not None:
        unserved = [view for view in _strict_views(snapshot, source) if view not in views]
        history = _history(views[0], held, [(view, _add_view(columns, source, view)) for view in unserved])
        _add_history(columns, history, views[0])
    group = f"tiffin.{snapshot.project}.{source.name}"
    if history is not None:
        group += "+history"
    if not is_whole:
        group += "." + "+".join(sorted(view.name for view in views))
    return StreamPlan(source, tuple(views), tuple(columns.values()), tuple(keys), times[0], group, history)


def _add_view(columns: dict[str, MessageColumn], source: StreamSource, view: FeatureView) -> tuple[str, ...]:
    """Read what a view wants of a message; returns the columns that its key is made of."""
    types = _read_types(view)
    keys = tuple(source.source_column(name) for name in view.join_keys if name in types)
    for name, dtype in types.items():
        path = source.source_column(name)
        _add(columns, MessageColumn(path, _WIDER.get(dtype, dtype), is_key=path in keys), view)
    return keys


def _strict_views(snapshot: Snapshot, source: StreamSource) -> list[FeatureView]:
    """The views of a source that expect something of a message, and not of what a function makes of it."""
    views = [view for view in snapshot.views.values() if view.source is not None and view.source.name == source.name]
    return [view for view in views if view.all_expectations and not view.transforms_rows]


def _history(
    view: FeatureView, types: Mapping[str, pa.DataType], unserved: Sequence[tuple[FeatureView, tuple[str, ...]]]
) -> HistoryPlan:
    """Where each column of the history of a view is found in a message."""
    stream, batch = view.source, view.batch_source
    assert stream is not None
    assert batch is not None
    # The times may have other names in the history.
    names = dict(zip((batch.timestamp_field, batch.created_timestamp_column), view.time_columns, strict=True))
    names = {column: name for column, name in names.items() if column and name}
    logical = {column: batch.mapping.get(column, column) for column in types}
    paths = {column: stream.source_column(names.get(name, name)) for column, name in logical.items()}
    return HistoryPlan(batch, types, paths, tuple(unserved))


def _add_history(columns: dict[str, MessageColumn], history: HistoryPlan, view: FeatureView) -> None:
    """Read what the history holds, too; what a view reads is read as the view does."""
    for column, path in history.paths.items():
        if path in columns:
            continue
        try:
            dtype = from_arrow_type(history.types[column])
        except UnsupportedError as error:
            message = f"column {column!r} of {history.source.subject} cannot be read of a message: {error.message}"
            raise _error(view, message, error.hint) from error
        columns[path] = MessageColumn(path, _WIDER.get(dtype, dtype))


def _read_types(view: FeatureView) -> dict[str, FeatureType]:
    """What is read of a message for a view, by name: keys and payload, or what its function gets."""
    if isinstance(view, TransformedFeatureView) and view.transforms_rows:
        return {field.name: field.dtype for field in view.input_schema or ()}
    keys = dict(zip(view.join_keys, view.known_key_types(), strict=True))
    return keys | {field.name: field.dtype for field in view.payload}


def _add(columns: dict[str, MessageColumn], column: MessageColumn, view: FeatureView) -> None:
    """Add a column; one that is wanted twice has the strictest of both wishes."""
    held = columns.setdefault(column.path, column)
    if held.dtype != column.dtype:
        raise _error(
            view,
            f"{view.subject} reads the field {column.path!r} as {column.dtype!r}; it is read as {held.dtype!r} as well",
            "give it one type in all views of the source",
        )
    columns[column.path] = replace(
        held,
        is_time=held.is_time or column.is_time,
        is_required=held.is_required or column.is_required,
        is_key=held.is_key or column.is_key,
    )


def _broker(view: FeatureView) -> str:
    return view.source.broker if isinstance(view.source, StreamSource) else ""


def _check(view: FeatureView) -> None:
    if not _broker(view):
        kind = "is pushed to" if isinstance(view.source, StreamSource) else "is loaded by `tiffin materialize`"
        raise _error(view, f"{view.subject} {kind}; no stream feeds it", "give it a KafkaSource or a KinesisSource")
    if not view.online or not view.enabled:
        missing = "online" if not view.online else "enabled"
        raise _error(view, f"{view.subject} is not {missing}", f"declare {missing}=True and run `tiffin apply`")


def _error(view: FeatureView, message: str, hint: str) -> RequestError:
    return RequestError(message, subject=view.subject, location=view.location, hint=hint)
