"""Full refresh: a view's online table made anew from its source, and put in the place of the old one at once (MAT-5).

The new table is loaded beside the old one, which is read and written all the while. One commit to the registry then
names the new table; until a process sees that commit it reads the old one, afterwards the new one, never a mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tiffin.definitions import FeatureView
from tiffin.errors import MaterializationError, RegistryConflictError, TiffinError
from tiffin.operations.apply import author
from tiffin.operations.materialize import MaterializationReport, Progress, ViewLoad, chosen_views, failed_run, load_view
from tiffin.operations.replaced import carrier, drop_replaced, refreshed_table, sweep
from tiffin.operations.rows import prepare_rows
from tiffin.planning.materialization import Cursor, plan_load
from tiffin.registry.snapshot import ViewStorage
from tiffin.time import MIN_US

if TYPE_CHECKING:
    from tiffin.operations.context import Context


def refresh_fully(
    ctx: Context, feature_views: Sequence[str] | None = None, *, progress: Progress | None = None
) -> MaterializationReport:
    """Make the online tables of some views anew, one after the other.

    Rows that are gone from the source are gone afterwards. What was pushed while the refresh ran stays, and so does
    what was deleted; what was only ever pushed online, before it began, goes. A refresh that was killed has changed
    nothing; running it again begins anew.

    Raises:
        NotFoundError: a view does not exist.
        RequestError: a view is not online.
        MaterializationError: a view failed; says which views are refreshed and which are not.
    """
    views = chosen_views(ctx.refresh(), feature_views)
    prepare_rows(ctx, views)
    loads: list[ViewLoad] = []
    for position, view in enumerate(views):
        try:
            loads.append(_refresh(ctx, view, progress))
        except TiffinError as error:
            raise failed_run(error, views, position) from error
    return MaterializationReport.of(loads)


def _refresh(ctx: Context, view: FeatureView, progress: Progress | None) -> ViewLoad:
    snapshot = ctx.refresh()
    old = snapshot.storage(view.name)
    ctx.online.ensure([old.table])
    drop_replaced(ctx, view, old)
    sweep(ctx, view, old)
    # Looked at first: what comes after the look is carried over, what came before is in the source by now, if ever.
    carry_over = carrier(ctx, view, old.table)
    began_us = ctx.now_us()
    load = plan_load(view, start_us=MIN_US, end_us=began_us, now_us=began_us)
    parts = ctx.offline.fingerprint(load.facts.source)
    new = ViewStorage(
        version=old.version,
        table=refreshed_table(ctx, view, snapshot.version + 1, began_us),
        layouts=old.layouts,
        replaced=(*old.replaced, old.table),
        replaced_us=began_us,
    )
    ctx.online.ensure([new.table])
    try:
        loaded = load_view(ctx, view, new, load, progress)
        carry_over(new.table)
        cursor = Cursor(new.version, load.end_us, load.known_until_us or began_us, parts)
        ctx.online.put_cursor(new.table, cursor.to_bytes())
    except TiffinError:
        ctx.online.drop([new.table])
        raise
    _commit(ctx, view, old, replace(new, replaced_us=ctx.now_us()))
    # What was written to the old table between the first look and the commit.
    carry_over(new.table)
    return loaded


def _commit(ctx: Context, view: FeatureView, old: ViewStorage, new: ViewStorage) -> None:
    """Name the new table in the registry; applies of other things meanwhile do no harm.

    When the registry fails here, nobody knows whether it has taken the commit: the new table stays, and is swept by a
    later refresh if it is in nobody's use.

    Raises:
        MaterializationError: the view itself was changed meanwhile.
        RegistryError: the registry fails.
    """
    while True:
        snapshot = ctx.refresh()
        entry = snapshot.by_key.get(("feature view", view.name))
        if entry is None or entry.storage != old:
            ctx.online.drop([new.table])
            raise MaterializationError(
                f"{view.subject} was changed while it was refreshed",
                subject=view.subject,
                location=view.location,
                hint="nothing was replaced; run it again",
            )
        target = snapshot.with_storage(view.name, new)
        try:
            ctx.registry.commit(
                target,
                snapshot.version,
                created_us=ctx.now_us(),
                author=author(),
                message=f"full refresh of feature view {view.name}",
            )
        except RegistryConflictError:
            continue
        ctx.adopt(target)
        return
