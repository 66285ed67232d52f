"""Labels on which several people may disagree: each one's newest label counts, and a policy says which one holds.

Every engine can do it: the facts are joined once per entity row and labeler, by the same join as all features, and what
comes back is resolved here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, nullable_column, numpy_values, single_chunk, valid_mask
from tiffin.contracts.offline import JoinedView, OfflineEngine, ViewReport
from tiffin.definitions import ConflictPolicy
from tiffin.planning.retrieval import (
    TIME_COLUMN,
    FeatureColumn,
    KeyColumn,
    LabelConflict,
    RangePlan,
    RetrievalPlan,
    ViewJoin,
)
from tiffin.time import MAX_US, MIN_US
from tiffin.types import String, UnixTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

_LABELER, _EVENT, _KNOWN, _ROW = "__labeler", "__event", "__known", "__row"
#: What stands in the labeler's field when several have voted, as in Feast.
_VOTED = "majority_vote"


def join_labels(engine: OfflineEngine, view: ViewJoin, spine: pa.Table, *, only_known: bool) -> JoinedView:
    """Join the labels of a view to entity rows.

    Args:
        engine: reads the labels.
        view: the view, with its ``conflict``.
        spine: the entity rows, as ``OfflineEngine.join`` takes them.
        only_known: whether a label counts only from the moment at which it was known.
    """
    import pyarrow as pa

    assert view.conflict is not None
    expanded = _expanded(engine, view, spine)
    each = replace(_per_labeler(view), features=(*view.facts.payload, *_stamps(view)), ttl_us=None)
    joined = next(iter(engine.join(RetrievalPlan((each,), (), only_known), expanded)))
    labels = joined.features.append_column(_ROW, expanded[_ROW]).append_column(_LABELER, expanded[_LABELER])
    labels = labels.filter(labels[_EVENT].is_valid()).combine_chunks()
    times_us = numpy_values(spine[TIME_COLUMN])
    rows = numpy_values(labels[_ROW])
    fresh = np.ones(len(rows), np.bool_)
    if view.ttl_us is not None:
        fresh = numpy_values(labels[_EVENT]) >= times_us[rows] - view.ttl_us
    labeled = len(np.unique(rows))
    labels = _newest_first(labels.filter(pa.array(fresh)), view.conflict)
    features, first = _resolved(labels, view, spine.num_rows)
    matched = int((first >= 0).sum())
    known = numpy_values(single_chunk(labels[_KNOWN]))[np.maximum(first, 0)] if matched else times_us
    later = 0 if only_known or not view.facts.known_column else int(((first >= 0) & (known > times_us)).sum())
    report = ViewReport(
        view=view.name,
        rows=spine.num_rows,
        matched=matched,
        expired=labeled - matched,
        missing=spine.num_rows - labeled,
        ties=joined.report.ties,
        known_later=later,
    )
    return JoinedView(features, report)


def _per_labeler(view: ViewJoin) -> ViewJoin:
    """The view with the labeler among its keys."""
    assert view.conflict is not None
    labeler = KeyColumn(_LABELER, view.conflict.labeler.source_column, String)
    return replace(view, keys=(*view.keys, labeler))


def _stamps(view: ViewJoin) -> tuple[FeatureColumn, FeatureColumn]:
    """The times of a label as columns to be read; a label without a known time was known at its event time."""
    event = view.facts.event_column
    return (
        FeatureColumn(_EVENT, event, UnixTimestamp),
        FeatureColumn(_KNOWN, view.facts.known_column or event, UnixTimestamp),
    )


def _expanded(engine: OfflineEngine, view: ViewJoin, spine: pa.Table) -> pa.Table:
    """The entity rows, each once for every labeler who has ever labelled its entity."""
    names = [key.entity_column for key in view.keys]
    found = engine.spine(RangePlan(_per_labeler(view), MIN_US, MAX_US)).select([*names, _LABELER])
    pairs = found.group_by(found.column_names).aggregate([])
    rows = spine.select([TIME_COLUMN, *names]).append_column(_ROW, arrow_column(np.arange(spine.num_rows)))
    if names:
        return rows.join(pairs, names, join_type="inner").combine_chunks()
    each, all_ = np.arange(spine.num_rows), np.arange(pairs.num_rows)
    rows = rows.take(arrow_column(np.repeat(each, len(all_))))
    return rows.append_column(_LABELER, pairs[_LABELER].take(arrow_column(np.tile(all_, len(each)))))


def _newest_first(labels: pa.Table, conflict: LabelConflict) -> pa.Table:
    """Labels by entity row, the one that counts most first; the name of the labeler decides the last tie."""
    import pyarrow as pa

    rank = {name: number for number, name in enumerate(conflict.priorities)}
    ranks = [rank.get(name, len(rank)) for name in labels[_LABELER].to_pylist()]
    order = [(_ROW, "ascending"), ("rank", "ascending"), *[(n, "descending") for n in (_EVENT, _KNOWN, _LABELER)]]
    return labels.append_column("rank", pa.array(ranks, pa.int64())).sort_by(order).combine_chunks()


def _resolved(labels: pa.Table, view: ViewJoin, count: int) -> tuple[pa.Table, NDArray[np.int64]]:
    """The wanted features for every entity row, and (count,) the place of its first label, -1 where it has none."""
    import pyarrow as pa

    assert view.conflict is not None
    rows = numpy_values(labels[_ROW])
    first = np.full(count, -1, np.int64)
    first[rows[::-1]] = np.arange(len(rows))[::-1]
    columns: Mapping[str, NDArray[np.int64]] = {}
    if view.conflict.policy is ConflictPolicy.MAJORITY_VOTE:
        columns = {f.name: _most_voted(single_chunk(labels[f.name]), rows, count) for f in view.features}
    resolved = {f.name: single_chunk(labels[f.name]).take(_places(columns.get(f.name, first))) for f in view.features}
    labeler = view.conflict.labeler.name
    if columns and labeler in resolved:
        resolved[labeler] = pa.array([_VOTED if place >= 0 else None for place in first.tolist()], pa.string())
    return pa.table(resolved), first


def _places(places: NDArray[np.int64]) -> pa.Array:
    return nullable_column(places, places >= 0)


def _most_voted(values: pa.Array, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For every entity row the place of the newest label with the value that most labelers give; null is no vote.

    Args:
        values: (n,) the values of the labels, those of an entity row together and the newest first.
        rows: (n,) the entity row of each.
        count: how many entity rows there are.
    """
    chosen = np.full(count, -1, np.int64)
    there = np.flatnonzero(valid_mask(values))
    if not len(there):
        return chosen
    codes = numpy_values(values.dictionary_encode().indices, np.int32)[there]
    ballots = rows[there] * (int(codes.max()) + 1) + codes
    _, newest, votes = np.unique(ballots, return_index=True, return_counts=True)
    # By row; among its values the most votes last, and of those the newest.
    order = np.lexsort((-newest, votes, rows[there][newest]))
    chosen[rows[there][newest][order]] = there[newest][order]
    return chosen
