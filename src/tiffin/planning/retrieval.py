"""Point-in-time retrieval as a plan: which source columns are joined to which entity columns, and under which rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tiffin.definitions import ConflictPolicy, DataSource, FeatureView, LabelView, TransformedFeatureView
from tiffin.errors import InputError, RequestError, UnsupportedError
from tiffin.planning.aggregates import AggregateColumn, plan_aggregates
from tiffin.planning.references import ComputedView, OutputColumn, SelectedView, Selection
from tiffin.registry.snapshot import Snapshot
from tiffin.types import FeatureType

if TYPE_CHECKING:
    from tiffin.windows.conditions import Condition

#: The column of the prepared entity rows that holds their time.
TIME_COLUMN = "__t"


@dataclass(frozen=True)
class KeyColumn:
    """A join key: the column of the entity rows, the column of the source, and the type that both are compared in."""

    entity_column: str
    source_column: str
    dtype: FeatureType


@dataclass(frozen=True)
class FeatureColumn:
    """A feature: its name, the column of the source that holds it, its type and what replaces null."""

    name: str
    source_column: str
    dtype: FeatureType
    default: Any = None


@dataclass(frozen=True)
class FactColumns:
    """Where the facts of a view stand: enough to read and to order them.

    Attributes:
        view: the view's name, for messages.
        source: where the facts come from.
        event_column: the source's column of event times.
        known_column: the source's column of known times; empty where facts are known at their event time.
        payload: every feature of the view, in the order of its row layout; decides last ties (ORD). Of a view with
            aggregations, the columns that these are computed from.
        transform: what the rows of the source go through first; the columns are then those that come out.
    """

    view: str
    source: DataSource
    event_column: str
    known_column: str
    payload: tuple[FeatureColumn, ...]
    transform: RowTransform | None = None


@dataclass(frozen=True)
class RowTransform:
    """The function that the rows of a source go through before they are facts.

    Attributes:
        view: the view that has the function.
        rows: how the rows stand in the source, with what the function gets as their payload.
    """

    view: TransformedFeatureView
    rows: FactColumns


@dataclass(frozen=True)
class LabelConflict:
    """How labels of several people are resolved to one.

    Attributes:
        labeler: the column that says who gave the label.
        policy: which label holds; not ``LAST_WRITE_WINS``, which is the order of all facts.
        priorities: the labelers whose labels go before others', first the one who goes before all.
    """

    labeler: FeatureColumn
    policy: ConflictPolicy
    priorities: tuple[str, ...]


@dataclass(frozen=True)
class ViewJoin:
    """One view to be joined.

    Attributes:
        name: the name in reports and full feature names.
        facts: where its facts stand.
        keys: its join keys; none for a view that depends on time alone.
        features: the wanted features, in the order of the request.
        ttl_us: how old a fact may be; no limit when ``None``.
        conflict: for labels of several people; ``None`` where the newest fact counts.
        aggregates: how each of the features is computed from the facts of a window; none where the newest fact counts.
    """

    name: str
    facts: FactColumns
    keys: tuple[KeyColumn, ...]
    features: tuple[FeatureColumn, ...]
    ttl_us: int | None
    conflict: LabelConflict | None = None
    aggregates: tuple[AggregateColumn, ...] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The different conditions of the aggregates."""
        found = (each.condition for each in self.aggregates if each.condition is not None)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class RetrievalPlan:
    """A point-in-time retrieval.

    Attributes:
        views: what is joined; each on its own, so their order does not matter (PIT-5).
        columns: the feature columns of the answer.
        computed: the on-demand views, in the order in which they are computed.
        request_columns: further columns that entity rows must have, because functions read them, with their types.
        only_known: a fact counts only from the moment at which it was known (``point_in_time: known``).
    """

    views: tuple[ViewJoin, ...]
    columns: tuple[OutputColumn, ...]
    only_known: bool
    computed: tuple[ComputedView, ...] = ()
    request_columns: Mapping[str, FeatureType] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, FeatureType]:
        """The key columns that entity rows must have, with their types, in order of first use."""
        return {key.entity_column: key.dtype for view in self.views for key in view.keys}

    @property
    def stored(self) -> RetrievalPlan:
        """The plan of all that is read: what is asked for and what functions compute from, under full names."""
        columns = tuple(
            OutputColumn(number, place, f"{view.name}__{feature.name}")
            for number, view in enumerate(self.views)
            for place, feature in enumerate(view.features)
        )
        return replace(self, columns=columns, computed=(), request_columns={})


@dataclass(frozen=True)
class ScanPlan:
    """Facts as they are, for what is computed from many of them.

    Attributes:
        facts: where they stand; every column of the payload is read.
        keys: the join keys.
        conditions: asked of every fact.
        first_us: no earlier event times; ``None`` for no limit.
        last_us: no later event times.
        known_until_us: no facts that were known later; ``None`` where that does not matter.
    """

    facts: FactColumns
    keys: tuple[KeyColumn, ...]
    conditions: tuple[Condition, ...]
    first_us: int | None
    last_us: int
    known_until_us: int | None


@dataclass(frozen=True)
class RangePlan:
    """Entity rows made from the facts themselves (PIT-12).

    Attributes:
        view: the view whose facts are read.
        start_us, end_us: the closed interval of event times.
    """

    view: ViewJoin
    start_us: int
    end_us: int


def plan_retrieval(snapshot: Snapshot, selection: Selection, *, only_known: bool) -> RetrievalPlan:
    """Turn a selection into a plan.

    Raises:
        UnsupportedError: a view has no history, because its facts are only pushed.
        RequestError: two views use one entity column under different types.
    """
    views = tuple(_view_join(selected) for selected in selection.views)
    types: dict[str, FeatureType] = {}
    for view in views:
        for key in view.keys:
            if types.setdefault(key.entity_column, key.dtype) != key.dtype:
                raise RequestError(
                    f"entity column {key.entity_column!r} is a key of type {types[key.entity_column]!r} in one view "
                    f"and {key.dtype!r} in view {view.name!r}",
                    hint="give both entities the same value_type",
                )
    return RetrievalPlan(views, selection.columns, only_known, selection.computed, selection.request_columns)


def history_of(view: FeatureView) -> DataSource:
    """Where the history of a view is read from.

    Raises:
        UnsupportedError: it has none.
    """
    if view.batch_source is None:
        raise UnsupportedError(
            f"{view.subject} has no history: its source is pushed and has no batch_source",
            subject=view.subject,
            location=view.location,
            hint="give its source a batch_source",
        )
    return view.batch_source


def fact_columns(selected: SelectedView) -> FactColumns:
    """Where the facts of a view stand.

    Raises:
        UnsupportedError: the view has no history.
    """
    view = selected.view
    source = history_of(view)
    payload = tuple(FeatureColumn(f.name, source.source_column(f.name), f.dtype, f.default_value) for f in view.payload)
    facts = FactColumns(
        view=view.name,
        source=source,
        event_column=source.source_column(source.timestamp_field or ""),
        known_column=source.source_column(source.created_timestamp_column or ""),
        payload=payload,
    )
    return _transformed(facts, view) if isinstance(view, TransformedFeatureView) and view.transforms_rows else facts


def _transformed(facts: FactColumns, view: TransformedFeatureView) -> FactColumns:
    """The facts of a view whose rows go through a function, under the names that come out of it."""
    source = facts.source
    given = (FeatureColumn(f.name, source.source_column(f.name), f.dtype) for f in view.input_schema or ())
    return replace(
        facts,
        event_column=source.timestamp_field or "",
        known_column=source.created_timestamp_column or "",
        payload=tuple(replace(column, source_column=column.name) for column in facts.payload),
        transform=RowTransform(view, replace(facts, payload=tuple(given))),
    )


def key_column(facts: FactColumns, key: str, entity_column: str, dtype: FeatureType) -> KeyColumn:
    """Where a join key of some facts stands."""
    column = key if facts.transform is not None else facts.source.source_column(key)
    return KeyColumn(entity_column, column, dtype)


def _view_join(selected: SelectedView) -> ViewJoin:
    view = selected.view
    facts = fact_columns(selected)
    keys = tuple(
        key_column(facts, key, entity_column, dtype)
        for key, entity_column, dtype in zip(
            view.join_keys, selected.entity_columns, view.known_key_types(), strict=True
        )
    )
    if view.aggregations:
        computed = tuple(FeatureColumn(f.name, "", f.dtype, f.default_value) for f in selected.features)
        aggregates = plan_aggregates(view, selected.features)
        return ViewJoin(selected.name, facts, keys, computed, None, aggregates=aggregates)
    by_name = {column.name: column for column in facts.payload}
    features = tuple(by_name[field.name] for field in selected.features)
    conflict = None
    if isinstance(view, LabelView) and view.is_resolved:
        conflict = LabelConflict(
            by_name[view.labeler_field], view.conflict_policy, tuple(view.labeler_priorities or ())
        )
    return ViewJoin(selected.name, facts, keys, features, view.ttl_us, conflict)


def find_time_column(columns: Sequence[str], time_columns: Sequence[str]) -> str:
    """The column that holds the times of the entity rows (PIT-6).

    Args:
        columns: all columns.
        time_columns: those whose type is a time.

    Raises:
        InputError: there is none, or several and none is called ``event_timestamp``; lists them.
    """
    if "event_timestamp" in columns:
        return "event_timestamp"
    if len(time_columns) == 1:
        return time_columns[0]
    found = f"there are several: {', '.join(time_columns)}" if time_columns else f"none of {', '.join(columns)} is"
    raise InputError(
        f"the entity rows have no column 'event_timestamp', and of time columns {found}",
        hint="name the column that holds the time of each row event_timestamp",
    )
