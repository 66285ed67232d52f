"""How fresh the features are: the newest event time of each view, offline and online, against its declared target.

It is read from the data, not from when a job ended: a job that loads nothing new ends well every day. Offline it is the
greatest event time of the source that is not after now, online the newest stamp of the view's table
(``operations.newest``). What is judged is what is served: the online store where a view is online, else its source.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tiffin.definitions import FeatureView, PushSource, StreamSource
from tiffin.errors import TiffinError
from tiffin.operations.newest import online_newest
from tiffin.operations.stream import StreamStatus, stream_status
from tiffin.time import SECOND_US, duration_us, format_duration, format_us

if TYPE_CHECKING:
    from tiffin.contracts.registry import MaterializationRun
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot


class Status(enum.Enum):
    """What became of a view's target.

    ``FRESH`` and ``STALE``: its newest fact is young enough, or too old. ``UNKNOWN``: there is no fact to judge by, or
    it could not be looked at. ``NO_TARGET``: nothing is asked of it, or it is not served at present.
    """

    FRESH = "fresh"
    STALE = "stale"
    UNKNOWN = "unknown"
    NO_TARGET = "no target"


@dataclass(frozen=True)
class ViewFreshness:
    """How fresh one view is.

    Attributes:
        view: its name.
        status: against its target.
        target_us: how old its newest fact may be; ``None`` where nothing is declared.
        is_online: whether the online store is judged; else the source is.
        now_us: when it was looked at.
        online_us: the newest event time that was written online; ``None`` when there is none, or no store.
        offline_us: the newest event time in the source; ``None`` when there is none, or no source.
        lag: messages that wait in its stream; ``None`` without a stream, or where the broker does not count.
        watermark_us: how far event times have got in all partitions of its stream.
        last_run: the newest run that loaded it.
        reason: why it is stale or unknown, in words; empty where it is neither.
        problems: what could not be looked at, in words.
    """

    view: str
    status: Status
    target_us: int | None
    is_online: bool
    now_us: int
    online_us: int | None = None
    offline_us: int | None = None
    lag: int | None = None
    watermark_us: int | None = None
    last_run: MaterializationRun | None = None
    reason: str = ""
    problems: tuple[str, ...] = ()

    @property
    def newest_us(self) -> int | None:
        """The newest event time of what is judged."""
        return self.online_us if self.is_online else self.offline_us

    @property
    def age_us(self) -> int | None:
        """How old the newest fact is."""
        return _since(self.now_us, self.newest_us)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data; ages and targets in seconds."""
        run = self.last_run
        return {
            "view": self.view,
            "status": self.status.value,
            "judged": "online" if self.is_online else "offline",
            "target_seconds": _seconds(self.target_us),
            "age_seconds": _seconds(self.age_us),
            "online": {
                "newest": _time(self.online_us),
                "age_seconds": _seconds(_since(self.now_us, self.online_us)),
                "told_by": "stamp" if self.online_us is not None else None,
            },
            "offline": {
                "newest": _time(self.offline_us),
                "age_seconds": _seconds(_since(self.now_us, self.offline_us)),
            },
            "stream": {"lag": self.lag, "watermark": _time(self.watermark_us)},
            "last_run": None
            if run is None
            else {"started": _time(run.started_us), "rows": run.rows, "error": run.error},
            "reason": self.reason,
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class FreshnessReport:
    """How fresh the views of a project are.

    Attributes:
        project: its name.
        now_us: when it was looked at.
        views: by name.
    """

    project: str
    now_us: int
    views: tuple[ViewFreshness, ...]

    @property
    def late(self) -> tuple[ViewFreshness, ...]:
        """The views that miss their target, or of which nobody can say that they meet it."""
        return tuple(each for each in self.views if each.status in (Status.STALE, Status.UNKNOWN))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        views = [each.to_dict() for each in self.views]
        return {"project": self.project, "now": format_us(self.now_us), "views": views}


def freshness(
    ctx: Context, feature_views: Sequence[str] | None = None, *, offline: bool = True, streams: bool = True
) -> FreshnessReport:
    """Look how fresh views are.

    Args:
        ctx: the opened project.
        feature_views: their names; all of them when left out.
        offline: whether their sources are looked at.
        streams: whether brokers are asked how many messages wait.

    Raises:
        NotFoundError: there is no such view.
        StoreUnavailableError: the online store cannot be reached.
    """
    snapshot = ctx.snapshot()
    names = snapshot.names("feature view") if feature_views is None else list(dict.fromkeys(feature_views))
    views = [snapshot.view(name) for name in names]
    looked = _Looked(ctx.now_us(), ctx.registry.last_runs(ctx.project))
    looked.online = online_newest(ctx, snapshot, views)
    if offline:
        _look_at_sources(ctx, views, looked)
    if streams:
        _look_at_streams(ctx, snapshot, set(names), looked)
    has_store = ctx.config.online_store is not None
    return FreshnessReport(ctx.project, looked.now_us, tuple(_judged(view, looked, has_store) for view in views))


@dataclass
class _Looked:
    """What was found, by view."""

    now_us: int
    last_runs: Mapping[str, MaterializationRun]
    online: Mapping[str, int] = field(default_factory=dict)
    offline: dict[str, int | None] = field(default_factory=dict)
    streams: dict[str, StreamStatus] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def problem(self, view: str, error: TiffinError) -> None:
        self.problems.setdefault(view, []).append(error.message)


def _look_at_sources(ctx: Context, views: Iterable[FeatureView], looked: _Looked) -> None:
    """The newest event time of each source, each looked at once. One that cannot be read does not hide the others."""
    found: dict[tuple[str, str], int | TiffinError | None] = {}
    for view in views:
        source = view.batch_source
        if source is None:
            continue
        column = source.source_column(source.timestamp_field or "")
        place = source.name, column
        if place not in found:
            try:
                found[place] = ctx.offline.newest_time(source, column, looked.now_us)
            except TiffinError as error:
                found[place] = error
        newest = found[place]
        if isinstance(newest, TiffinError):
            looked.problem(view.name, newest)
        else:
            looked.offline[view.name] = newest


def _look_at_streams(ctx: Context, snapshot: Snapshot, wanted: Set[str], looked: _Looked) -> None:
    """How far each stream is; a broker that cannot be reached does not hide the others."""
    by_source: dict[str, list[str]] = {}
    for view in snapshot.views.values():
        is_fed = isinstance(view.source, StreamSource) and not isinstance(view.source, PushSource)
        if is_fed and view.online and view.enabled:
            by_source.setdefault(view.source.name, []).append(view.name)  # type: ignore[union-attr]
    for names in by_source.values():
        if wanted.isdisjoint(names):
            continue
        try:
            # All views of the source: a worker of some of them has a position of its own.
            (status,) = stream_status(ctx, names)
        except TiffinError as error:
            for name in names:
                looked.problem(name, error)
        else:
            looked.streams.update(dict.fromkeys(names, status))


def _judged(view: FeatureView, looked: _Looked, has_store: bool) -> ViewFreshness:
    stream = looked.streams.get(view.name)
    lags = [part.lag for part in stream.partitions] if stream is not None else []
    target_us = None if view.freshness is None else duration_us(view.freshness)
    plain = ViewFreshness(
        view=view.name,
        status=Status.NO_TARGET,
        target_us=target_us,
        is_online=view.online and has_store,
        now_us=looked.now_us,
        online_us=looked.online.get(view.name),
        offline_us=looked.offline.get(view.name),
        lag=sum(lag for lag in lags if lag is not None) if lags and None not in lags else None,
        watermark_us=stream.watermark_us if stream is not None else None,
        last_run=looked.last_runs.get(view.name),
        problems=tuple(looked.problems.get(view.name, ())),
    )
    if target_us is None or not view.enabled:
        return plain
    if plain.age_us is None:
        return replace(plain, status=Status.UNKNOWN, reason=_why_unknown(plain))
    if plain.age_us > target_us:
        return replace(plain, status=Status.STALE, reason=_why_stale(plain))
    return replace(plain, status=Status.FRESH)


def _why_unknown(found: ViewFreshness) -> str:
    if found.problems and not found.is_online:
        return "; ".join(found.problems)
    return "nothing was written online yet" if found.is_online else "its source has no fact yet"


def _why_stale(found: ViewFreshness) -> str:
    assert found.age_us is not None
    assert found.target_us is not None
    age, target = format_age(found.age_us), format_age(found.target_us)
    return f"its newest fact is {age} old, where {target} is allowed: {_cause(found)}"


def _cause(found: ViewFreshness) -> str:
    """What holds the view back, by what was found."""
    if not found.is_online:
        return "nothing newer is in its source"
    assert found.online_us is not None
    if found.lag:
        return f"{found.lag:,} message(s) wait in its stream"
    if found.offline_us is not None and found.offline_us > found.online_us:
        failed = found.last_run.error if found.last_run is not None else ""
        why = f"; its last run failed: {failed}" if failed else ""
        return f"its source has facts up to {format_us(found.offline_us)} that are not loaded{why}"
    return "nothing newer has come from its source"


def format_age(us: int) -> str:
    """A duration as people read it, in whole seconds.

    >>> format_age(3_725_900_000)
    '1h2m5s'
    """
    return format_duration(timedelta(seconds=us // SECOND_US))


def _since(now_us: int, us: int | None) -> int | None:
    """How long ago a moment was; a fact may be a little ahead of now (WR-5), and is not older than nothing then."""
    return None if us is None else max(0, now_us - us)


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / SECOND_US


def _time(us: int | None) -> str | None:
    return None if us is None else format_us(us)
