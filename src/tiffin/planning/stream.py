"""From the views that are to be fed to what is read of which stream, under which group. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiffin.definitions import FeatureView, StreamSource
from tiffin.definitions.transformed_view import TransformedFeatureView
from tiffin.errors import RequestError
from tiffin.messages.column import MessageColumn
from tiffin.registry.snapshot import Snapshot
from tiffin.types import FeatureType, Float32, Float64, Int32, Int64, UnixTimestamp

#: Read wider, and narrowed by each view that wants it so.
_WIDER: dict[FeatureType, FeatureType] = {Int32: Int64, Float32: Float64}


@dataclass(frozen=True)
class StreamPlan:
    """One stream and the views that it feeds.

    Attributes:
        source: the stream.
        views: they.
        columns: what is read of each message.
        keys: for each view the columns that its key is made of.
        time: the column of event times.
        group: the group of consumers. All views of a source share one; a choice of them has its own, because a position
            says what all of its views have got.
    """

    source: StreamSource
    views: tuple[FeatureView, ...]
    columns: tuple[MessageColumn, ...]
    keys: tuple[tuple[str, ...], ...]
    time: str
    group: str


def plan_stream(snapshot: Snapshot, names: Sequence[str] = ()) -> list[StreamPlan]:
    """Which streams are read, for the views that are named, or else for all that are online and enabled.

    Raises:
        NotFoundError: there is no such view.
        RequestError: a view has no stream that can be read, or is not served; or two views read a field as different
            types.
    """
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
    plans = []
    for name in dict.fromkeys(view.source.name for view in chosen if view.source is not None):
        views = [view for view in chosen if view.source is not None and view.source.name == name]
        whole = [view for view in possible if view.source is not None and view.source.name == name and view.online]
        plans.append(_plan(snapshot.project, views, is_whole={v.name for v in views} == {v.name for v in whole}))
    return plans


def _plan(project: str, views: Sequence[FeatureView], *, is_whole: bool) -> StreamPlan:
    source = views[0].source
    assert isinstance(source, StreamSource)
    columns: dict[str, MessageColumn] = {}
    keys = []
    times = [source.source_column(name) if name else "" for name in views[0].time_columns]
    for view in views:
        types = _read_types(view)
        key_paths = tuple(source.source_column(name) for name in view.join_keys if name in types)
        keys.append(key_paths)
        for name, dtype in types.items():
            path = source.source_column(name)
            _add(columns, MessageColumn(path, _WIDER.get(dtype, dtype), is_key=path in key_paths), view)
    for number, path in enumerate(times):
        if path:
            wanted = MessageColumn(path, UnixTimestamp, is_time=True, is_required=number == 0)
            _add(columns, wanted, views[0])
    suffix = "" if is_whole else "." + "+".join(sorted(view.name for view in views))
    return StreamPlan(
        source, tuple(views), tuple(columns.values()), tuple(keys), times[0], f"tiffin.{project}.{source.name}{suffix}"
    )


def _read_types(view: FeatureView) -> dict[str, FeatureType]:
    """What is read of a message for a view, by name: keys and payload, or what its function gets."""
    if isinstance(view, TransformedFeatureView) and view.transforms_rows:
        return {field.name: field.dtype for field in view.input_schema or ()}
    found = {}
    for name, dtype in zip(view.join_keys, view.key_types, strict=True):
        if dtype is None:
            raise _error(view, f"the key types of {view.subject} are not known", "run `tiffin apply`")
        found[name] = dtype
    return found | {field.name: field.dtype for field in view.payload}


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
