"""Keep the vectors of precomputed services as the tables of their views are (docs/design/0012).

Whoever writes rows says so in the vectors first, then writes, then puts the vectors anew from what the tables hold: a
vector is read before the tables are, and is put by a swap, so that of two writers the later one has seen the rows of
both. Whoever dies in between leaves a vector that says that somebody is writing, and nobody believes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from tiffin.contracts.online import ReadRequest, SwapBatch, WriteBatch, WriteResult
from tiffin.definitions import FeatureService
from tiffin.errors import RequestError, StoreError, TiffinError
from tiffin.online.vectors import Vector, mark_of, new_token
from tiffin.operations.timelines import pause_before
from tiffin.planning.vectors import VectorSpec, vector_read, vector_spec, vectors_prefix
from tiffin.time import SECOND_US

if TYPE_CHECKING:
    from tiffin.contracts.online import OnlineStore
    from tiffin.operations.context import Context
    from tiffin.planning.online import OnlinePlan
    from tiffin.registry.snapshot import Snapshot

#: What the cursor of a table says whose vectors are kept.
_KEPT = b"kept"
#: How often a vector is tried again while others write it.
_ATTEMPTS = 200
#: A writer that began so long ago and has not ended is taken for dead.
_GONE_US = 600 * SECOND_US


def write_vectored(ctx: Context, batch: WriteBatch) -> WriteResult:
    """Write rows of a view, and what is precomputed from them.

    Raises:
        StoreError: the store fails; running it again converges (WR-7).
    """
    begun = [each for spec in _specs_over(ctx, batch.table) for each in _begun(ctx, spec, batch.keys)]
    result = ctx.online.write(batch)
    for writer, keys, token in begun:
        writer.put(keys, token)
    return result


def precompute(ctx: Context, feature_service_name: str | None = None, batch_size: int = 1000) -> int:
    """Make the vectors of a service, or of all with ``precompute_online``, and keep them from now on.

    Programs that write must know the service by now: one that began with older definitions does not keep its vectors.

    Args:
        ctx: the opened project.
        feature_service_name: the service.
        batch_size: keys at once.

    Returns:
        How many vectors were put.

    Raises:
        NotFoundError: there is no such service.
        RequestError: it is not declared with ``precompute_online``, or cannot be precomputed.
        StoreError: the store fails; running it again converges.
    """
    snapshot = ctx.refresh()
    if feature_service_name is None:
        services = [service for service in snapshot.services.values() if service.precompute_online]
    else:
        services = [snapshot.service(feature_service_name)]
    return sum([_precompute(ctx, snapshot, service, batch_size) for service in services])


def _precompute(ctx: Context, snapshot: Snapshot, service: FeatureService, batch_size: int) -> int:
    if not service.precompute_online:
        raise RequestError(
            f"{service.subject} is not to be precomputed",
            subject=service.subject,
            location=service.location,
            hint="declare precompute_online=True and run `tiffin apply`",
        )
    spec = vector_spec(snapshot, service)
    store = ctx.online
    store.ensure([spec.table, *spec.members])
    store.put_cursor(spec.table, _KEPT)
    older = [info.table for info in store.tables(prefix=vectors_prefix(snapshot.project, service))]
    store.drop([table for table in older if table != spec.table])
    writer, done = _VectorWriter(ctx, spec), 0
    for table in spec.members:
        for keys in _keys(store, table, batch_size):
            done += writer.put(keys)
    return done


def _keys(store: OnlineStore, table: str, size: int) -> Iterator[list[bytes]]:
    keys = (key for key, _ in store.scan_all(table))
    while page := list(islice(keys, size)):
        yield page


def _begun(ctx: Context, spec: VectorSpec, keys: Sequence[bytes]) -> Iterator[tuple[_VectorWriter, list[bytes], bytes]]:
    """Say in vectors that are kept that somebody is writing."""
    if ctx.online.get_cursor(spec.table) == _KEPT:
        writer, token, distinct = _VectorWriter(ctx, spec), new_token(ctx.now_us()), list(dict.fromkeys(keys))
        writer.begin(distinct, token)
        yield writer, distinct, token


class _VectorWriter:
    """Puts the vectors of one service."""

    def __init__(self, ctx: Context, spec: VectorSpec) -> None:
        self._store = ctx.online
        self._spec = spec
        self._now_us = ctx.now_us

    def begin(self, keys: Sequence[bytes], token: bytes) -> None:
        """Say that rows of some keys are about to be written."""
        self._change(keys, lambda asked, found: [Vector.of(row).begun(token) for row in found])

    def put(self, keys: Sequence[bytes], token: bytes | None = None) -> int:
        """Put the vectors of some keys as the tables are now; how many they are."""
        self._change(keys, lambda asked, found: self._anew(asked, found, token))
        return len(keys)

    def _anew(self, keys: Sequence[bytes], found: Sequence[bytes | None], token: bytes | None) -> list[Vector]:
        members = self._store.read_latest([ReadRequest(table, keys) for table in self._spec.members])
        since_us = self._now_us() - _GONE_US
        rows = zip(*members, strict=True)
        return [Vector.of(row).put(parts, token, since_us) for row, parts in zip(found, rows, strict=True)]

    def _change(
        self, keys: Sequence[bytes], change: Callable[[Sequence[bytes], Sequence[bytes | None]], list[Vector]]
    ) -> None:
        """Put vectors in the place of those that are there; again where others were faster."""
        table, left = self._spec.table, list(keys)
        for attempt in range(_ATTEMPTS):
            if not left:
                return
            pause_before(attempt)
            # Before the rows of the views, so that a swap is refused when somebody has put newer rows in between.
            found = self._store.read_latest([ReadRequest(table, left)])[0]
            rows = [vector.to_row() for vector in change(left, found)]
            done = self._store.swap(SwapBatch(table, left, [mark_of(row) for row in found], rows))
            left = [key for key, is_there in zip(left, done, strict=True) if not is_there]
        raise StoreError(
            f"vectors of {table} were written by others {_ATTEMPTS} times while they were put",
            hint="write the rows of one key from fewer processes; running it again converges",
        )


def prepare_vectors(ctx: Context, current: Snapshot, new: Snapshot) -> None:
    """Get tables ready before definitions are committed; empty where the current ones have no such vectors.

    Vectors of that name may be there from earlier definitions. Nobody has kept them since.
    """
    before, after = _tables(current), _tables(new)
    ctx.online.drop(sorted(after - before))
    ctx.online.ensure(sorted(after))


def _tables(snapshot: Snapshot) -> set[str]:
    return {spec.table for spec in _specs(snapshot)}


def _specs(snapshot: Snapshot) -> Iterator[VectorSpec]:
    for service in snapshot.services.values():
        if service.precompute_online and (spec := _spec_or_none(snapshot, service)) is not None:
            yield spec


def _specs_over(ctx: Context, table: str) -> Sequence[VectorSpec]:
    """The vectors that have rows of a table in them; looked up once per version of the definitions."""
    snapshot = ctx.snapshot()
    shape: Any = ("vectors", "")
    found: dict[str, list[VectorSpec]] | None = snapshot.plans.get(shape)
    if found is None:
        found = {}
        for spec in _specs(snapshot):
            for member in spec.members:
                found.setdefault(member, []).append(spec)
        snapshot.plans[shape] = found
    return found.get(table, ())


def _spec_or_none(snapshot: Snapshot, service: FeatureService) -> VectorSpec | None:
    try:
        return vector_spec(snapshot, service)
    except TiffinError:
        # It is said to who asks for the service, or for its vectors.
        return None


def with_vectors(ctx: Context, snapshot: Snapshot, service: FeatureService, plan: OnlinePlan) -> OnlinePlan:
    """The plan of a service that reads its vectors, where it may have some."""
    spec = _spec_or_none(snapshot, service) if service.precompute_online else None
    if spec is None:
        return plan
    # There are none in it until somebody precomputes them; the rows are then read where they are.
    ctx.online.ensure([spec.table])
    return replace(plan, vector=vector_read(spec, plan))
