"""Read and write the online store: thin drivers around the pipeline, and the bulk write of facts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import numpy_values, single_chunk, valid_mask
from tiffin.contracts.online import WriteBatch
from tiffin.definitions import FeatureService, FeatureView
from tiffin.errors import InputError, RequestError, StoreError, StoreUnavailableError, TiffinError
from tiffin.online.cells import check_cells
from tiffin.online.keys import cast_key_column, encode_key_columns
from tiffin.online.pipeline import EntityRows, OnlineRead
from tiffin.online.response import OnlineResponse
from tiffin.online.rows import event_us
from tiffin.operations.facts import EVENT_COLUMN, KNOWN_COLUMN
from tiffin.operations.functions import find_function
from tiffin.operations.rows import CheckedFacts
from tiffin.operations.timelines import TimelineWriter, encode_timelines
from tiffin.operations.vectors import with_vectors, write_vectored
from tiffin.operations.versions import load_versions
from tiffin.planning.online import OnlinePlan, TimelineRead, ViewRead, codecs_of, plan_online
from tiffin.planning.references import resolve_features
from tiffin.planning.timelines import timeline_spec
from tiffin.registry.snapshot import Snapshot, ViewStorage

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.online.windowed import TimelineSpec
    from tiffin.operations.context import Context
    from tiffin.operations.quarantine import Places
    from tiffin.transforms.run import Function

log = logging.getLogger("tiffin.online")

#: Plans kept per version of the definitions; more request shapes than this are made by programs, not by people.
_MAX_PLANS = 1000
#: How often a timeline is read whose tiles are replaced meanwhile.
_MAX_READS = 20
#: A fact over windows is kept in a tile, beside states that may hold its values too.
_SHARE_OF_A_FACT = 0.5


def read_online(
    ctx: Context,
    features: Sequence[str] | FeatureService,
    entity_rows: EntityRows,
    full_feature_names: bool = False,
) -> OnlineResponse:
    """Read features at ``now``, in one call of the store.

    Args:
        ctx: the opened project.
        features: references or a service.
        entity_rows: dicts with the same keys, or columns of the same length; further columns are passed through.
        full_feature_names: name columns ``view__feature``.

    Raises:
        NotFoundError: a view or feature does not exist.
        RequestError: the request contradicts itself, or a view is not served.
        InputError: an entity row is wrong; names the row.
        StoreError: the store fails.
        FunctionError: the function of an on-demand view is not found, or another one than was applied.
    """
    read = _read(ctx, features, entity_rows, full_feature_names)
    try:
        answer = _answered(ctx, read)
    except StoreError as error:
        _check_changed(ctx, error)
        answer = None
    if answer is not None:
        return answer
    return _readable(_answered(ctx, _read_anew(ctx, features, entity_rows, full_feature_names)))


async def read_online_async(
    ctx: Context,
    features: Sequence[str] | FeatureService,
    entity_rows: EntityRows,
    full_feature_names: bool = False,
) -> OnlineResponse:
    """Like ``read_online``, without holding up the event loop."""
    read = _read(ctx, features, entity_rows, full_feature_names)
    try:
        answer = await _answered_async(ctx, read)
    except StoreError as error:
        _check_changed(ctx, error)
        answer = None
    if answer is not None:
        return answer
    return _readable(await _answered_async(ctx, _read_anew(ctx, features, entity_rows, full_feature_names)))


def _answered(ctx: Context, read: OnlineRead) -> OnlineResponse | None:
    """Read, and tiles where a key has many facts; all of it again when these were replaced in between."""
    for _ in range(_MAX_READS):
        tiles = read.take(ctx.online.read(read.requests), ctx.now_us())
        if not tiles or read.take_tiles(tiles, ctx.online.read(tiles), are_all=not ctx.online.stands_in):
            return read.answer()
    raise _replaced()


async def _answered_async(ctx: Context, read: OnlineRead) -> OnlineResponse | None:
    for _ in range(_MAX_READS):
        tiles = read.take(await ctx.online.read_async(read.requests), ctx.now_us())
        if not tiles or read.take_tiles(tiles, await ctx.online.read_async(tiles), are_all=not ctx.online.stands_in):
            return read.answer()
    raise _replaced()


def _replaced() -> StoreError:
    return StoreError(
        f"facts were put into a timeline {_MAX_READS} times while it was read",
        hint="read again; a key that is written to all the time is best pushed to in batches",
    )


def _read(
    ctx: Context, features: Sequence[str] | FeatureService, entity_rows: EntityRows, full_feature_names: bool
) -> OnlineRead:
    """A read by the plan of its shape."""
    plan, functions = _planned(ctx, ctx.snapshot(), features, full_feature_names)
    return OnlineRead(plan, entity_rows, functions)


def _planned(
    ctx: Context, snapshot: Snapshot, features: Sequence[str] | FeatureService, full_feature_names: bool
) -> tuple[OnlinePlan, Sequence[Function]]:
    """The plan of a shape of request, which is made once per version of the definitions."""
    shape: Any = (tuple(features) if isinstance(features, list | tuple) else features, full_feature_names)
    try:
        found: tuple[OnlinePlan, Sequence[Function]] | None = snapshot.plans.get(shape)
    except TypeError:
        raise RequestError(f"features is {features!r}", hint='pass a list such as ["view:feature"]') from None
    if found is None:
        load_versions(ctx, snapshot, features)
        plan = plan_online(snapshot, resolve_features(snapshot, features, full_feature_names=full_feature_names))
        if isinstance(features, FeatureService):
            plan = with_vectors(ctx, snapshot, features, plan)
        found = plan, [find_function(ctx, computed.view) for computed in plan.computed]
        if len(snapshot.plans) >= _MAX_PLANS:
            snapshot.plans.clear()
        snapshot.plans[shape] = found
    return found


def plan_again(ctx: Context, old: Snapshot, new: Snapshot) -> None:
    """Make the plans that were made from older definitions from newer ones too, before requests wait for them."""
    for features, full_feature_names in list(old.plans):
        try:
            wanted = new.service(features.name) if isinstance(features, FeatureService) else features
            _planned(ctx, new, wanted, full_feature_names)
        except TiffinError:
            # What is wrong with it is for those who still ask for it.
            continue


def explain_online(
    ctx: Context, features: Sequence[str] | FeatureService, full_feature_names: bool = False
) -> dict[str, Any]:
    """How ``read_online`` would read: JSON-ready, without reading.

    Raises:
        NotFoundError: a view or feature does not exist.
        RequestError: the request contradicts itself, or a view is not served.
    """
    snapshot = ctx.snapshot()
    plan, _ = _planned(ctx, snapshot, features, full_feature_names)
    return {
        "definitions_version": snapshot.version,
        "store": ctx.online.capabilities.name,
        "read_by": ctx.online.capabilities.read_by,
        "keys": {name: repr(dtype) for name, dtype in plan.keys.items()},
        "request_columns": {name: repr(dtype) for name, dtype in plan.request_columns.items()},
        "views": [
            {
                "view": view.name,
                "table": view.table,
                "keys": list(plan.key_sets[view.key_set].columns),
                **_explained(view),
            }
            for view in plan.views
        ],
        "precomputed": plan.vector is not None,
        "computed": [computed.name for computed in plan.computed],
        "features": {column.name: repr(column.dtype) for column in plan.columns},
    }


def _explained(view: ViewRead | TimelineRead) -> dict[str, Any]:
    """What differs between views whose newest fact is read and views whose facts are aggregated."""
    if isinstance(view, TimelineRead):
        return {"read_as": "timelines", "windows": len(view.request.windows)}
    return {
        "read_as": "rows",
        "ttl_seconds": None if view.ttl_us is None else view.ttl_us / 1_000_000,
        "row_layouts": len(view.layouts),
    }


def _read_anew(
    ctx: Context, features: Sequence[str] | FeatureService, entity_rows: EntityRows, full_feature_names: bool
) -> OnlineRead:
    """The read by the newest definitions, after a row was found that older ones do not know."""
    ctx.refresh()
    return _read(ctx, features, entity_rows, full_feature_names)


def _check_changed(ctx: Context, error: StoreError) -> None:
    """Raise an error again, unless newer definitions may explain it: a full refresh has replaced a table."""
    if isinstance(error, StoreUnavailableError) or ctx.registry.version(ctx.project) == ctx.snapshot().version:
        raise error


def _readable(answer: OnlineResponse | None) -> OnlineResponse:
    if answer is None:
        raise StoreError(
            "the online store holds rows of definitions that the registry does not have",
            hint="check that this project's registry and online store belong together",
        )
    return answer


def encode_facts(view: FeatureView, storage: ViewStorage, batch: pa.RecordBatch) -> WriteBatch:
    """Encode facts in bulk. Rows with a null in their key can never be asked for and are left out.

    Args:
        view: the view that they are facts of.
        storage: its table and layouts.
        batch: the join keys, the features in their types, ``__event_us`` and ``__known_us`` (int64).

    Raises:
        TypeMismatchError: a value could not be read again in its type; names row and column.
    """
    import pyarrow as pa

    keys = [single_chunk(batch.column(name)) for name in view.join_keys]
    if any(key.null_count for key in keys):
        there = np.logical_and.reduce([valid_mask(key) for key in keys])
        batch = batch.filter(pa.array(there))
        keys = [single_chunk(batch.column(name)) for name in view.join_keys]
    codec = codecs_of(storage)[-1]
    for name, dtype in zip(codec.names, codec.types, strict=True):
        check_cells(single_chunk(batch.column(name)), dtype, name)
    types = zip(keys, view.known_key_types(), view.join_keys, strict=True)
    parts = [cast_key_column(key, dtype, name) for key, dtype, name in types]
    event, known = (numpy_values(single_chunk(batch.column(name))) for name in (EVENT_COLUMN, KNOWN_COLUMN))
    rows = codec.encode(batch, event, known)
    return WriteBatch(storage.table, encode_key_columns(parts, batch.num_rows), rows, view.ttl_us)


def _check_size(ctx: Context, view: FeatureView, keys: Sequence[bytes], largest: int, *, share: float = 1.0) -> None:
    """Refuse rows that the store does not take, before any of a batch is written.

    Args:
        ctx: the opened project.
        view: the view that they are rows of.
        keys: their keys; some stores count them.
        largest: the bytes of the largest.
        share: how much of a row of the store it may be.
    """
    store = ctx.online.capabilities
    size = largest + max(map(len, keys), default=0)
    if store.max_row_bytes is not None and size > store.max_row_bytes * share:
        most = int(store.max_row_bytes * share)
        raise InputError(
            f"a fact of {view.subject} has {size:,} bytes with its key, and {store.name} has room for {most:,}",
            subject=view.subject,
            location=view.location,
            hint="leave out or shorten the largest features, or use another online store",
        )


@dataclass(frozen=True)
class OnlineWrite:
    """What became of rows that were written directly.

    Attributes:
        written: keys whose row is a new one now; of a view with aggregations, facts that were not there before.
        stale: rows that were not newer than what is there; of a view with aggregations, facts that were there before.
        refused: the numbers of the rows whose event time is too far ahead of now (WR-5).
        late: of a view with aggregations, facts that are too old for every window (STR-2).
        capped: keys that have more facts than are kept one by one: of more of their oldest ones only the states are
            kept now, so that windows whose old edge lies there are off by as much as one tile holds.
        quarantined: facts that are not as expected and were put apart.
    """

    written: int
    stale: int
    refused: tuple[int, ...] = ()
    late: int = 0
    capped: int = 0
    quarantined: int = 0


def prepare_write(
    ctx: Context, view: FeatureView, storage: ViewStorage, batch: pa.RecordBatch | pa.Table
) -> Callable[[], OnlineWrite]:
    """Encode facts now, to be written by calling what is returned; another thread may do that.

    Args:
        ctx: the opened project.
        view: the view that they are facts of.
        storage: its table and layouts.
        batch: the join keys, the view's ``payload`` in its types, ``__event_us`` and ``__known_us`` (int64).

    Raises:
        TypeMismatchError: a value could not be read again in its type; names row and column.
        InputError: a fact is larger than the store takes.
    """
    if view.aggregations:
        spec = timelines_of(ctx, view)
        writer = TimelineWriter(ctx.online, storage.table, spec, ctx.now_us)
        encoded = keys, facts, _ = encode_timelines(view, spec, batch)
        _check_size(ctx, view, keys, facts.largest_bytes, share=_SHARE_OF_A_FACT)

        def write_timelines() -> OnlineWrite:
            counts = writer.write(*encoded)
            if counts.added:
                ctx.newest.note(storage.table, int(encoded[1].block["event"].max()))
            if counts.capped:
                log.warning(
                    "%d key(s) of view %s have more facts than are kept one by one; "
                    "`tiffin feature-views describe %s` says how many are",
                    counts.capped,
                    view.name,
                    view.name,
                )
            return OnlineWrite(counts.added, counts.known, late=counts.late, capped=counts.capped)

        return write_timelines
    rows = encode_facts(view, storage, batch)
    _check_size(ctx, view, rows.keys, max(map(len, rows.rows), default=0))

    def write_rows() -> OnlineWrite:
        result = write_vectored(ctx, rows)
        if result.written:
            ctx.newest.note(rows.table, event_us(max(rows.rows)))
        return OnlineWrite(result.written, result.stale)

    return write_rows


def timelines_of(ctx: Context, view: FeatureView) -> TimelineSpec:
    """The timelines of a view, made once per version of the definitions."""
    plans = ctx.snapshot().plans
    shape: Any = ("timelines", view.name)
    found: tuple[FeatureView, TimelineSpec] | None = plans.get(shape)
    # The view may be that of older definitions, of a caller that began before the newest were loaded.
    if found is None or found[0] is not view:
        found = plans[shape] = (view, timeline_spec(view))
    return found[1]


def write_online(ctx: Context, feature_view_name: str, df: Any) -> OnlineWrite:
    """Write rows of a view straight to the online store.

    Every row is checked before any is written (WR-6). Rows too far ahead of now are refused and reported, the others
    are written (WR-5).

    Args:
        ctx: the opened project.
        feature_view_name: the view.
        df: a pandas or polars frame, an Arrow table or a list of dicts, with the join keys, all features, the time
            column of the view's source, and its created column where it has one; under the names that the source
            gives them or under those that ``field_mapping`` makes of them.

    Raises:
        NotFoundError: the view does not exist.
        RequestError: the view is not online.
        InputError: a column is missing, a key or time is null, or a value does not fit its type; names row and column.
        StoreError: the store fails; running it again converges (WR-7).
    """
    snapshot = ctx.snapshot()
    view = snapshot.view(feature_view_name)
    return CheckedWrite.of(ctx, view, df).write(ctx)


@dataclass(frozen=True)
class CheckedWrite:
    """Rows of a view that have all been checked, and of which none is written yet (WR-6).

    Attributes:
        facts: they.
        table: the table that they are encoded for.
        call: writes what is encoded.
    """

    facts: CheckedFacts
    table: str
    call: Callable[[], OnlineWrite]

    @property
    def refused(self) -> tuple[int, ...]:
        """The numbers of the rows whose event time is too far ahead of now (WR-5)."""
        return tuple(np.flatnonzero(self.facts.ahead).tolist())

    @classmethod
    def of(cls, ctx: Context, view: FeatureView, df: Any, places: Places | None = None) -> CheckedWrite:
        """Check rows, as ``CheckedFacts.of`` does.

        Args:
            ctx: the opened project.
            view: the view.
            df: the rows.
            places: of messages of a stream, where they stand.

        Raises:
            RequestError: the view is not online.
            InputError: a row is wrong, or a fact is larger than the store takes.
            ExpectationError: a fact is not as expected, and keeps all from being written.
            FunctionError: the function of the view is not found, fails, or breaks a promise.
        """
        if not view.online:
            raise RequestError(
                f"{view.subject} is not online",
                subject=view.subject,
                location=view.location,
                hint="declare online=True and run `tiffin apply`",
            )
        facts = CheckedFacts.of(ctx, view, df, places)
        storage = ctx.snapshot().storage(view.name)
        return cls(facts, storage.table, prepare_write(ctx, view, storage, facts.batch))

    def write(self, ctx: Context) -> OnlineWrite:
        """Write them; into the table that has replaced the known one, when a full refresh has done so meanwhile.

        Raises:
            StoreError: the store fails; running it again converges (WR-7).
        """
        view, batch, guard = self.facts.view, self.facts.batch, self.facts.guard
        storage = ctx.snapshot().storage(view.name)
        is_same = storage.table == self.table
        try:
            written = (self.call if is_same else prepare_write(ctx, view, storage, batch))()
        except StoreError as error:
            _check_changed(ctx, error)
            newer = ctx.refresh().storage(view.name)
            if not newer.stands_for(storage.table):
                raise
            written = prepare_write(ctx, view, newer, batch)()
        guard.settle()
        return replace(written, refused=self.refused, quarantined=guard.quarantined)
