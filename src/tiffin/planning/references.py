"""Resolve what a request asks for, ``["view:feature", ...]`` or a service, to views, features and column names.

Used by offline and online retrieval alike, so that both give the same columns in the same order (ONL-1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tiffin.definitions import FeatureService, FeatureView, Field
from tiffin.errors import NameCollisionError, RequestError
from tiffin.registry.snapshot import Snapshot


@dataclass(frozen=True)
class SelectedView:
    """A view as one request uses it.

    Attributes:
        view: the definition; its projection holds the alias and the join key map.
        features: the wanted features, in the order in which they were asked for.
    """

    view: FeatureView
    features: tuple[Field, ...]

    @property
    def name(self) -> str:
        """The name in full feature names and in reports."""
        return self.view.name_to_use

    @property
    def entity_columns(self) -> tuple[str, ...]:
        """For each join key of the view, the column of the entity rows that holds it (PIT-11)."""
        mapping = self.view.projection.join_key_map
        return tuple(mapping.get(key, key) for key in self.view.join_keys)


@dataclass(frozen=True)
class OutputColumn:
    """One feature column of an answer: ``views[view].features[feature]`` under ``name``."""

    view: int
    feature: int
    name: str


@dataclass(frozen=True)
class Selection:
    """The views that a request uses, and the feature columns of its answer in request order."""

    views: tuple[SelectedView, ...]
    columns: tuple[OutputColumn, ...]

    @property
    def entity_columns(self) -> tuple[str, ...]:
        """The key columns that entity rows must have, each once, in order of first use."""
        return tuple(dict.fromkeys(column for selected in self.views for column in selected.entity_columns))

    def reference(self, column: OutputColumn) -> str:
        """The feature behind a column as it is asked for: ``view:feature``."""
        view = self.views[column.view]
        return f"{view.name}:{view.features[column.feature].name}"


def resolve_features(
    snapshot: Snapshot, features: Sequence[str] | FeatureService, *, full_feature_names: bool = False
) -> Selection:
    """Resolve references or a service against a snapshot.

    Args:
        snapshot: the definitions.
        features: ``["view:feature", "view", ...]`` (a bare view means all of its features), or a service.
        full_feature_names: name columns ``view__feature`` (the alias if there is one) instead of ``feature``.

    Raises:
        RequestError: the list is empty, an item is malformed or asked for twice.
        NotFoundError: a view or feature does not exist; lists the nearest names.
        NameCollisionError: two columns would have one name (PIT-9).
    """
    wanted = _service_items(snapshot, features) if isinstance(features, FeatureService) else _items(snapshot, features)
    views: dict[tuple[str, str, tuple[tuple[str, str], ...]], int] = {}
    chosen: list[list[Field]] = []
    definitions: list[FeatureView] = []
    columns: list[OutputColumn] = []
    for view, feature in wanted:
        key = (view.name, view.name_to_use, tuple(sorted(view.projection.join_key_map.items())))
        index = views.setdefault(key, len(views))
        if index == len(chosen):
            chosen.append([])
            definitions.append(view)
        name = f"{view.name_to_use}__{feature.name}" if full_feature_names else feature.name
        columns.append(OutputColumn(index, len(chosen[index]), name))
        chosen[index].append(feature)
    selected = tuple(SelectedView(view, tuple(names)) for view, names in zip(definitions, chosen, strict=True))
    selection = Selection(selected, tuple(columns))
    _check_names(selection)
    return selection


def check_entity_collisions(selection: Selection, entity_columns: Sequence[str]) -> None:
    """Refuse features that have the name of a column of the entity rows (PIT-9).

    Raises:
        NameCollisionError: names both and the remedy.
    """
    present = set(entity_columns)
    for column in selection.columns:
        if column.name in present:
            view = selection.views[column.view]
            raise NameCollisionError(
                f"feature {selection.reference(column)!r} would have the name of the entity column {column.name!r}",
                subject=view.view.subject,
                location=view.view.location,
                hint="pass full_feature_names=True, or rename the entity column",
            )


def _items(snapshot: Snapshot, features: Sequence[str]) -> list[tuple[FeatureView, Field]]:
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise RequestError(f"features is {features!r}", hint='pass a list such as ["view:feature"], or a service')
    if not features:
        raise RequestError("no features were asked for", hint='pass a list such as ["view:feature"], or a service')
    found: list[tuple[FeatureView, Field]] = []
    for item in features:
        if not isinstance(item, str):
            raise RequestError(f"{item!r} is not a feature reference", hint='write "view:feature"')
        view_name, colon, feature = item.partition(":")
        if not view_name or (colon and not feature):
            raise RequestError(f"{item!r} is not a feature reference", hint='write "view:feature"')
        view = snapshot.view(view_name)
        found += [(view, view.feature(feature))] if colon else [(view, each) for each in view.features]
    return found


def _service_items(snapshot: Snapshot, service: FeatureService) -> list[tuple[FeatureView, Field]]:
    found: list[tuple[FeatureView, Field]] = []
    for use in service.uses:
        view = snapshot.view(use.view).with_projection(replace(use.projection, features=None))
        names = view.feature_names if use.projection.features is None else use.projection.features
        found += [(view, view.feature(name)) for name in names]
    return found


def _check_names(selection: Selection) -> None:
    """Refuse two views under one name, and two columns under one name (PIT-9, PIT-11)."""
    names: set[str] = set()
    for selected in selection.views:
        if selected.name in names:
            raise NameCollisionError(
                f"two views of the request are called {selected.name!r}",
                subject=selected.view.subject,
                hint="give one of them another name: view.with_name(...)",
            )
        names.add(selected.name)
    owners: dict[str, OutputColumn] = {}
    for column in selection.columns:
        first = owners.setdefault(column.name, column)
        if first is column:
            continue
        one, other = selection.reference(first), selection.reference(column)
        if one == other:
            raise RequestError(f"feature {one!r} is asked for twice", hint="ask for it once")
        raise NameCollisionError(
            f"features {one!r} and {other!r} would both be column {column.name!r}",
            subject=selection.views[column.view].view.subject,
            hint="pass full_feature_names=True, or use with_name() for a view that is used twice",
        )
