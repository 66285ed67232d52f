"""Online retrieval as a plan: which columns make up the keys, which table holds each view's rows, what comes out.

A plan is made once per version of the definitions and shape of request, so it also holds what only depends on these:
the readers of every row layout that a table may have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from tiffin.definitions import FeatureView, LabelView
from tiffin.errors import RequestError, UnsupportedError
from tiffin.online.defaults import default_column, python_default
from tiffin.online.rows import RowCodec, RowReader, row_codec, state_bytes
from tiffin.online.vectors import VectorReader
from tiffin.online.windowed import TimelineSpec, WindowRequest
from tiffin.planning.references import (
    ComputedView,
    OutputColumn,
    SelectedView,
    Selection,
    check_entity_collisions,
)
from tiffin.planning.timelines import timeline_spec, windowed_features
from tiffin.registry.snapshot import Snapshot, ViewStorage
from tiffin.types import FeatureType

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class KeySet:
    """The columns of the entity rows that make up a key, with their types; shared by all views with the same key."""

    columns: tuple[str, ...]
    types: tuple[FeatureType, ...]


@dataclass(frozen=True)
class LayoutRead:
    """How rows of one layout are read.

    Attributes:
        reader: reads the wanted features that the layout has.
        places: their places among the wanted features of the view.
        state: what the bytes of a row say that holds a value in this layout.
    """

    reader: RowReader
    places: tuple[int, ...]
    state: bytes


@dataclass(frozen=True)
class ViewRead:
    """How one view is read.

    Attributes:
        name: what the request calls it.
        table: the table that holds its rows.
        key_set: which of the plan's key sets is its key.
        types: the types of the wanted features.
        layouts: how rows are read, by the number of their layout; the last one is current and has every feature.
        blank: a row of nulls in the current layout.
        ttl_us: how old a fact may be; no limit when ``None``.
    """

    name: str
    table: str
    key_set: int
    types: tuple[FeatureType, ...]
    layouts: tuple[LayoutRead, ...]
    blank: bytes
    ttl_us: int | None


@dataclass(frozen=True)
class TimelineRead:
    """How a view with aggregations is read.

    Attributes:
        name: what the request calls it.
        table: the table that holds its timelines.
        key_set: which of the plan's key sets is its key.
        types: the types of the wanted features.
        spec: its timelines.
        request: the wanted features.
        is_same: whether all values are the same objects in an answer as in an aggregate.
    """

    name: str
    table: str
    key_set: int
    types: tuple[FeatureType, ...]
    spec: TimelineSpec
    request: WindowRequest
    is_same: bool


@dataclass(frozen=True)
class VectorRead:
    """How the rows of all views are read at once, for keys whose vector is good.

    Attributes:
        table: the table that holds the vectors.
        places: for each of the plan's views which of a vector's rows is its.
        reader: takes vectors apart.
    """

    table: str
    places: tuple[int, ...]
    reader: VectorReader


@dataclass(frozen=True)
class AnswerColumn:
    """A feature column of the answer: ``views[view]``'s feature number ``feature``, under ``name``.

    Attributes:
        computed: whether the view is one of ``computed`` instead.
        dtype: the feature's type.
        default: what replaces null in Python values; ``None`` where nothing does.
        default_column: the same, as an Arrow column of one value.
    """

    view: int
    feature: int
    name: str
    dtype: FeatureType
    computed: bool = False
    default: Any = None
    default_column: pa.Array | None = None


@dataclass(frozen=True, eq=False)
class OnlinePlan:
    """An online retrieval. A plan is equal to none but itself, so that what is derived from it can be kept by it.

    Attributes:
        views: what is read, all in one call of the store.
        columns: the feature columns of the answer, in request order (ONL-1).
        names, name_set: their names.
        key_sets: the different keys that are encoded.
        keys: the key columns that entity rows must have, with their types, in order of first use.
        entity_names: entity name to key column; accepted in its place.
        as_read: whether the columns are those of the first view, then those of the second and so on, without defaults;
            the values then need no more than their names.
        computed: the on-demand views, in the order in which they are computed.
        request_columns: further columns that entity rows must have, because functions read them, with their types.
        values: for each of ``views`` all that is read, with defaults; for functions to compute from.
        vector: where the rows of all views may lie together; all of them are then of one key set.
        references: for each of ``columns`` the feature behind it, ``view:feature``.
        inputs: what functions compute from and is not asked for, under its references; for the log of what was served.
        version: of the definitions that the plan was made from.
    """

    views: tuple[ViewRead | TimelineRead, ...]
    columns: tuple[AnswerColumn, ...]
    names: tuple[str, ...]
    name_set: frozenset[str]
    key_sets: tuple[KeySet, ...]
    keys: Mapping[str, FeatureType]
    entity_names: Mapping[str, str]
    as_read: bool
    computed: tuple[ComputedView, ...] = ()
    request_columns: Mapping[str, FeatureType] = field(default_factory=dict)
    values: tuple[tuple[AnswerColumn, ...], ...] = ()
    vector: VectorRead | None = None
    references: tuple[str, ...] = ()
    inputs: tuple[AnswerColumn, ...] = ()
    version: int = 0

    @cached_property
    def with_inputs(self) -> OnlinePlan:
        """The same plan with ``inputs`` as further columns; itself where there are none."""
        if not self.inputs:
            return self
        further = tuple(column.name for column in self.inputs)
        names = (*self.names, *further)
        return replace(
            self,
            columns=(*self.columns, *self.inputs),
            names=names,
            name_set=frozenset(names),
            as_read=False,
            references=(*self.references, *further),
            inputs=(),
        )

    @cached_property
    def types(self) -> Mapping[str, FeatureType]:
        """Feature column to its type."""
        return {column.name: column.dtype for column in self.columns}

    @cached_property
    def dtypes(self) -> tuple[FeatureType, ...]:
        """The types of the columns."""
        return tuple(column.dtype for column in self.columns)

    @cached_property
    def view_of(self) -> Mapping[str, str]:
        """Feature column to the name of its view."""
        return {c.name: (self.computed if c.computed else self.views)[c.view].name for c in self.columns}

    @cached_property
    def view_names(self) -> tuple[str, ...]:
        """The views that columns are of, in order of first use."""
        return tuple(dict.fromkeys(self.view_of.values()))


def plan_online(snapshot: Snapshot, selection: Selection) -> OnlinePlan:
    """Turn a selection into a plan.

    Raises:
        RequestError: a view is not served, a key type is not known, or two views use one column under two key types.
        NameCollisionError: a feature has the name of a key column.
    """
    check_entity_collisions(selection, selection.entity_columns)
    for selected in selection.views:
        _check_served(selected.view)
    sets = dict.fromkeys(KeySet(s.entity_columns, s.view.known_key_types()) for s in selection.views)
    number = {key_set: index for index, key_set in enumerate(sets)}
    views = tuple(
        _view_read(selected, snapshot.storage_of(selected.view), number[KeySet(selected.entity_columns, types)])
        for selected in selection.views
        for types in (selected.view.known_key_types(),)
    )
    columns = tuple(_answer_column(selection, column) for column in selection.columns)
    inputs = tuple(_answer_column(selection, column) for column in selection.with_inputs.columns[len(columns) :])
    return OnlinePlan(
        views=views,
        columns=columns,
        names=tuple(column.name for column in columns),
        name_set=frozenset(column.name for column in columns),
        key_sets=tuple(sets),
        keys=_keys(selection),
        entity_names=_entity_names(selection),
        as_read=_is_as_read(columns, views),
        computed=selection.computed,
        request_columns=selection.request_columns,
        values=_read_values(selection) if selection.computed else (),
        references=tuple(selection.reference(column) for column in selection.columns),
        inputs=inputs,
        version=snapshot.version,
    )


@lru_cache(maxsize=1024)
def codecs_of(storage: ViewStorage) -> tuple[RowCodec, ...]:
    """The codecs of a table, one per layout, the newest last."""
    return tuple(row_codec(layout, number) for number, layout in enumerate(storage.layouts))


def _view_read(selected: SelectedView, storage: ViewStorage, key_set: int) -> ViewRead | TimelineRead:
    if selected.view.aggregations:
        spec = timeline_spec(selected.view)
        features = windowed_features(selected.view, selected.features, spec)
        return TimelineRead(
            name=selected.name,
            table=storage.table,
            key_set=key_set,
            types=tuple(item.dtype for item in features),
            spec=spec,
            request=WindowRequest.of(features),
            is_same=all(item.is_same for item in features),
        )
    layouts = []
    codecs = codecs_of(storage)
    for number, (layout, codec) in enumerate(zip(storage.layouts, codecs, strict=True)):
        position = {column: index for index, column in enumerate(layout)}
        found = [position.get((item.name, repr(item.dtype))) for item in selected.features]
        reader = RowReader(codec, [index for index in found if index is not None])
        places = tuple(place for place, index in enumerate(found) if index is not None)
        layouts.append(LayoutRead(reader, places, state_bytes(number)))
    types = tuple(item.dtype for item in selected.features)
    return ViewRead(
        selected.name, storage.table, key_set, types, tuple(layouts), codecs[-1].blank, selected.view.ttl_us
    )


def _answer_column(selection: Selection, column: OutputColumn) -> AnswerColumn:
    item = selection.view_of(column).features[column.feature]
    plain = AnswerColumn(column.view, column.feature, column.name, item.dtype, column.computed)
    if item.default_value is None:
        return plain
    default = default_column(item.default_value, item.dtype, item.name)
    return replace(plain, default=python_default(default, item.dtype), default_column=default)


def _is_as_read(columns: Sequence[AnswerColumn], views: Sequence[ViewRead | TimelineRead]) -> bool:
    read = [(number, feature) for number, view in enumerate(views) for feature in range(len(view.types))]
    asked = [(column.view, column.feature) for column in columns if not column.computed]
    return len(asked) == len(columns) and asked == read and all(c.default_column is None for c in columns)


def _read_values(selection: Selection) -> tuple[tuple[AnswerColumn, ...], ...]:
    return tuple(
        tuple(
            _answer_column(selection, OutputColumn(number, place, each.name))
            for place, each in enumerate(selected.features)
        )
        for number, selected in enumerate(selection.views)
    )


def _keys(selection: Selection) -> dict[str, FeatureType]:
    keys: dict[str, FeatureType] = {}
    for selected in selection.views:
        for column, dtype in zip(selected.entity_columns, selected.view.known_key_types(), strict=True):
            if keys.setdefault(column, dtype) != dtype:
                raise RequestError(
                    f"entity column {column!r} is a key of type {keys[column]!r} in one view and {dtype!r} in view "
                    f"{selected.name!r}",
                    hint="give both entities the same value_type",
                )
    return keys


def _entity_names(selection: Selection) -> dict[str, str]:
    """Entity name to key column, without names that are key columns themselves."""
    taken = set(selection.entity_columns)
    return {
        entity.name: column
        for selected in selection.views
        for entity, column in zip(selected.view.entity_list, selected.entity_columns, strict=True)
        if column == entity.join_key and entity.name not in taken
    }


def _check_served(view: FeatureView) -> None:
    if isinstance(view, LabelView) and view.is_resolved:
        raise UnsupportedError(
            f"the labels of {view.subject} are resolved by {view.conflict_policy.name}, which holds for training sets",
            subject=view.subject,
            location=view.location,
            hint="an online store keeps the newest label of an entity; ask get_historical_features for them",
        )
    for served, argument in ((view.online, "online"), (view.enabled, "enabled")):
        if not served:
            raise RequestError(
                f"{view.subject} is declared with {argument}=False and is not served",
                subject=view.subject,
                location=view.location,
                hint=f"declare {argument}=True and run `tiffin apply`",
            )
