"""Online retrieval as a plan: which columns make up the keys, which table holds each view's rows, what comes out.

Plain data, without codecs and without I/O; made once per (snapshot, features, naming) and kept with the snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiffin.definitions import FeatureService, Field
from tiffin.errors import RequestError
from tiffin.planning.references import OutputColumn, SelectedView, Selection, resolve_features
from tiffin.registry.snapshot import Snapshot, ViewStorage
from tiffin.types import FeatureType


@dataclass(frozen=True)
class RequestKey:
    """A key column that entity rows must have.

    Attributes:
        column: its name in the answer.
        dtype: the type that its values are taken as (TYP-3).
        alias: the entity's name, accepted in place of ``column``.
    """

    column: str
    dtype: FeatureType
    alias: str


@dataclass(frozen=True)
class OnlineView:
    """One view to be read.

    Attributes:
        name: the name in full feature names.
        subject: how messages call it.
        storage: its table, and the layouts that the table's rows may have.
        keys: positions in ``OnlinePlan.keys``, in the order of the view's join keys.
        features: the wanted features, in the order of the request.
        ttl_us: how old a fact may be; no limit when ``None``.
    """

    name: str
    subject: str
    storage: ViewStorage
    keys: tuple[int, ...]
    features: tuple[Field, ...]
    ttl_us: int | None


@dataclass(frozen=True)
class OnlinePlan:
    """An online retrieval.

    Attributes:
        keys: the key columns, in order of first use.
        views: what is read, all in one call of the store.
        columns: the feature columns of the answer, in request order (ONL-1).
    """

    keys: tuple[RequestKey, ...]
    views: tuple[OnlineView, ...]
    columns: tuple[OutputColumn, ...]

    def field(self, column: OutputColumn) -> Field:
        """The feature behind a column of the answer."""
        return self.views[column.view].features[column.feature]


def plan_online(
    snapshot: Snapshot, features: Sequence[str] | FeatureService, *, full_feature_names: bool = False
) -> OnlinePlan:
    """Turn a request into a plan.

    Raises:
        RequestError: a view is not online or is disabled, a key type is not known, two views use one column under
            different key types, or the references are malformed.
        NotFoundError: a view or feature does not exist; lists the nearest names.
        NameCollisionError: two columns would have one name (PIT-9).
    """
    selection = resolve_features(snapshot, features, full_feature_names=full_feature_names)
    for selected in selection.views:
        _check_served(selected)
    keys = _request_keys(selection)
    position = {key.column: index for index, key in enumerate(keys)}
    views = tuple(
        OnlineView(
            name=selected.name,
            subject=selected.view.subject,
            storage=snapshot.storage(selected.view.name),
            keys=tuple(position[column] for column in selected.entity_columns),
            features=selected.features,
            ttl_us=selected.view.ttl_us,
        )
        for selected in selection.views
    )
    return OnlinePlan(keys, views, selection.columns)


def _check_served(selected: SelectedView) -> None:
    view = selected.view
    for problem, argument in ((not view.online, "online"), (not view.enabled, "enabled")):
        if problem:
            raise RequestError(
                f"{view.subject} is declared with {argument}=False and is not served",
                subject=view.subject,
                location=view.location,
                hint=f"declare {argument}=True and run `tiffin apply`",
            )


def _request_keys(selection: Selection) -> tuple[RequestKey, ...]:
    keys: dict[str, RequestKey] = {}
    for selected in selection.views:
        view = selected.view
        parts = zip(view.entity_list, selected.entity_columns, view.key_types, strict=True)
        for entity, column, dtype in parts:
            if dtype is None:
                raise RequestError(
                    f"the type of join key {entity.join_key!r} of {view.subject} is not known",
                    subject=view.subject,
                    location=view.location,
                    hint="run `tiffin apply`, or give the entity a value_type",
                )
            alias = entity.name if column == entity.join_key else ""
            known = keys.setdefault(column, RequestKey(column, dtype, alias))
            if known.dtype != dtype:
                raise RequestError(
                    f"entity column {column!r} is a key of type {known.dtype!r} in one view and {dtype!r} in view "
                    f"{selected.name!r}",
                    hint="give both entities the same value_type",
                )
    return tuple(keys.values())
