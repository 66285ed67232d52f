"""Online retrieval as a plan: which columns make up the keys, which table holds each view's rows, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tiffin.definitions import FeatureView
from tiffin.errors import RequestError
from tiffin.online.keys import key_encoder
from tiffin.online.rows import RowCodec, row_codec
from tiffin.planning.references import SelectedView, Selection
from tiffin.registry.snapshot import Snapshot, ViewStorage
from tiffin.types import FeatureType


@dataclass(frozen=True)
class ViewRead:
    """How one view is read.

    Attributes:
        table: the table that holds its rows.
        keys: the columns of the entity rows that make up its key.
        encode: from the values of one key to its bytes.
        codecs: one per layout that the table's rows may have.
        wanted: per layout, the position of each wanted feature in it; -1 where the layout does not have it.
        ttl_us: how old a fact may be; no limit when ``None``.
    """

    table: str
    keys: tuple[str, ...]
    encode: Callable[[Sequence[Any]], bytes | None]
    codecs: tuple[RowCodec, ...]
    wanted: tuple[tuple[int, ...], ...]
    ttl_us: int | None


@dataclass(frozen=True)
class AnswerColumn:
    """A feature column of the answer: ``views[view]``'s feature number ``feature``, under ``name``."""

    view: int
    feature: int
    name: str
    dtype: FeatureType
    default: Any


@dataclass(frozen=True)
class OnlinePlan:
    """An online retrieval.

    Attributes:
        views: what is read, all in one call of the store.
        columns: the feature columns of the answer, in request order (ONL-1).
        keys: the key columns that entity rows must have, with their types, in order of first use.
        entity_names: entity name to key column; accepted in its place.
    """

    views: tuple[ViewRead, ...]
    columns: tuple[AnswerColumn, ...]
    keys: Mapping[str, FeatureType]
    entity_names: Mapping[str, str]


def plan_online(snapshot: Snapshot, selection: Selection) -> OnlinePlan:
    """Turn a selection into a plan.

    Raises:
        RequestError: a view is not served, a key type is not known, or two views use one column under two key types.
    """
    keys: dict[str, FeatureType] = {}
    names: dict[str, str] = {}
    for selected in selection.views:
        _check_served(selected.view)
        for entity, column, dtype in zip(
            selected.view.entity_list, selected.entity_columns, _key_types(selected.view), strict=True
        ):
            if keys.setdefault(column, dtype) != dtype:
                raise RequestError(
                    f"entity column {column!r} is a key of type {keys[column]!r} in one view and {dtype!r} in view "
                    f"{selected.name!r}",
                    hint="give both entities the same value_type",
                )
            if column == entity.join_key != entity.name:
                names[entity.name] = column
    views = tuple(_view_read(snapshot, selected) for selected in selection.views)
    columns = []
    for out in selection.columns:
        field = selection.views[out.view].features[out.feature]
        columns.append(AnswerColumn(out.view, out.feature, out.name, field.dtype, field.default_value))
    return OnlinePlan(views, tuple(columns), keys, names)


@lru_cache(maxsize=1024)
def codecs_of(storage: ViewStorage) -> tuple[RowCodec, ...]:
    """The codecs of a table, one per layout, the newest last."""
    return tuple(row_codec(layout, number) for number, layout in enumerate(storage.layouts))


def _view_read(snapshot: Snapshot, selected: SelectedView) -> ViewRead:
    view, storage = selected.view, snapshot.storage(selected.view.name)
    wanted = []
    for layout in storage.layouts:
        position = {column: index for index, column in enumerate(layout)}
        wanted.append(tuple(position.get((f.name, repr(f.dtype)), -1) for f in selected.features))
    return ViewRead(
        table=storage.table,
        keys=selected.entity_columns,
        encode=key_encoder(_key_types(view), selected.entity_columns),
        codecs=codecs_of(storage),
        wanted=tuple(wanted),
        ttl_us=view.ttl_us,
    )


def _check_served(view: FeatureView) -> None:
    for served, argument in ((view.online, "online"), (view.enabled, "enabled")):
        if not served:
            raise RequestError(
                f"{view.subject} is declared with {argument}=False and is not served",
                subject=view.subject,
                location=view.location,
                hint=f"declare {argument}=True and run `tiffin apply`",
            )


def _key_types(view: FeatureView) -> tuple[FeatureType, ...]:
    types = tuple(dtype for dtype in view.key_types if dtype is not None)
    if len(types) != len(view.join_keys):
        raise RequestError(
            f"the key types of {view.subject} are not known",
            subject=view.subject,
            location=view.location,
            hint="run `tiffin apply`, or give the entities a value_type",
        )
    return types
