"""Push facts: into the online store, to the history, or both; and straight to the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.definitions import FeatureView, PushMode, StreamSource
from tiffin.errors import NotFoundError, nearest
from tiffin.operations.frames import facts_table
from tiffin.operations.history import appendable_history, source_rows
from tiffin.operations.online import CheckedWrite, OnlineWrite
from tiffin.operations.rows import CheckedFacts

if TYPE_CHECKING:
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot


@dataclass(frozen=True)
class PushReport:
    """What became of pushed rows.

    Attributes:
        views: what each view wrote online.
        appended: rows appended to the history.
        refused: the numbers of the rows whose event time is too far ahead of now; they are in neither (WR-5).
    """

    views: Mapping[str, OnlineWrite] = field(default_factory=dict)
    appended: int = 0
    refused: tuple[int, ...] = ()


def push(ctx: Context, push_source_name: str, df: Any, to: PushMode) -> PushReport:
    """Push rows to every view that has the push source as its source.

    Every row is checked for every view, and for the history, before any is written (WR-6). Rows too far ahead of now
    are refused by both and reported (WR-5).

    Args:
        ctx: the opened project.
        push_source_name: the source.
        df: a pandas or polars frame, an Arrow table or a list of dicts, with the columns of the source.
        to: where to.

    Raises:
        NotFoundError: there is no such push source, or no view has it.
        RequestError: the history is asked for, and the source has no batch source.
        InputError: a row is wrong; names row and column.
        ExpectationError: a fact is not as expected, and keeps all from being written.
        StoreError: a store fails; pushing again converges.
    """
    views = pushed_views(ctx.snapshot(), push_source_name)
    online = to in (PushMode.ONLINE, PushMode.ONLINE_AND_OFFLINE)
    writes = [CheckedWrite.of(ctx, view, df) for view in views if view.online] if online else []
    refused = writes[0].refused if writes else ()
    appended = 0
    if to is not PushMode.ONLINE:
        written = [write.facts.view for write in writes]
        others = [CheckedFacts.of(ctx, view, df) for view in views if view not in written]
        checked = [write.facts for write in writes] + others
        ahead = checked[0].ahead
        appended = _append(ctx, df, checked, ~ahead)
        for facts in others:
            facts.guard.settle()
        refused = tuple(np.flatnonzero(ahead).tolist())
    return PushReport({write.facts.view.name: write.write(ctx) for write in writes}, appended, refused)


def pushed_views(snapshot: Snapshot, push_source_name: str) -> list[FeatureView]:
    """The views that a push to a source reaches.

    Raises:
        NotFoundError: there is no such push source, or no view has it.
    """
    sources = [name for name, source in snapshot.sources.items() if isinstance(source, StreamSource)]
    views = [
        view for view in snapshot.views.values() if view.stream_source and view.stream_source.name == push_source_name
    ]
    if push_source_name not in sources or not views:
        what = "no view has" if push_source_name in sources else "there is no"
        raise NotFoundError(
            f"{what} push source {push_source_name!r}",
            subject=f"data source {push_source_name}",
            hint=nearest(push_source_name, sources),
        )
    return views


def write_to_offline_store(ctx: Context, feature_view_name: str, df: Any) -> int:
    """Append rows to the history of a view.

    Returns:
        How many rows.

    Raises:
        NotFoundError: there is no such view.
        RequestError: it has no history.
        InputError: a row is wrong; names row and column.
        ExpectationError: a fact is not as expected, and keeps all from being written.
    """
    view = ctx.snapshot().view(feature_view_name)
    appendable_history(view)
    facts = CheckedFacts.of(ctx, view, df)
    appended = _append(ctx, df, [facts], np.ones(len(facts.ahead), np.bool_))
    facts.guard.settle()
    return appended


def _append(ctx: Context, df: Any, checked: Sequence[CheckedFacts], wanted: NDArray[np.bool_]) -> int:
    """Append rows to the one history that some views share, without those that one of them puts apart.

    Args:
        ctx: the opened project.
        df: the rows.
        checked: the same as facts of each view.
        wanted: (n,) which of them may be appended.
    """
    import pyarrow as pa

    view = checked[0].view
    source = appendable_history(view)
    rows = source_rows(source, facts_table(view, df), ctx.offline.schema(source))
    stays = wanted.copy()
    for facts in checked:
        stays[facts.apart] = False
    if not stays.all():
        rows = rows.filter(pa.array(stays))
    ctx.offline.append(source, rows)
    return int(rows.num_rows)
