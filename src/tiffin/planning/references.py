"""Resolve what a request asks for, ``["view:feature", ...]`` or a service, to views, features and column names.

Used by offline and online retrieval alike, so that both give the same columns in the same order (ONL-1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tiffin.definitions import BaseFeatureView, FeatureService, FeatureView, Field, OnDemandFeatureView, ViewUse
from tiffin.errors import NameCollisionError, RequestError
from tiffin.registry.snapshot import Snapshot
from tiffin.types import FeatureType


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
class FunctionInput:
    """One column that the function of an on-demand view reads.

    Attributes:
        names: what the function calls it: the feature, where no other input is called so, and ``view__feature``.
        dtype: its type.
        place: where a feature is: its view and its number in that view; ``None`` for a column of the entity rows.
        computed: whether ``place`` is in ``Selection.computed``, not in ``Selection.views``.
        column: the column of the entity rows; empty for a feature.
        is_key: whether that column is a join key, and not a value of the request.
    """

    names: tuple[str, ...]
    dtype: FeatureType
    place: tuple[int, int] | None = None
    computed: bool = False
    column: str = ""
    is_key: bool = False


@dataclass(frozen=True)
class ComputedView:
    """An on-demand view as one request uses it. All of its features are computed, asked for or not."""

    view: OnDemandFeatureView
    inputs: tuple[FunctionInput, ...]

    @property
    def name(self) -> str:
        """The name in full feature names."""
        return self.view.name_to_use

    @cached_property
    def features(self) -> tuple[Field, ...]:
        """What is computed, in schema order."""
        return self.view.features

    @cached_property
    def declared(self) -> frozenset[str]:
        """The names of what is computed."""
        return frozenset(self.view.feature_names)

    @cached_property
    def columns(self) -> tuple[tuple[str, int], ...]:
        """What the function calls its inputs, and the number of each."""
        return tuple((name, number) for number, item in enumerate(self.inputs) for name in item.names)


@dataclass(frozen=True)
class OutputColumn:
    """One feature column of an answer: ``views[view].features[feature]``, or ``computed[view]...``, under ``name``."""

    view: int
    feature: int
    name: str
    computed: bool = False


@dataclass(frozen=True)
class Selection:
    """What a request needs.

    Attributes:
        views: the views that are read, with the features that are asked for or computed from.
        columns: the feature columns of the answer, in request order.
        computed: the on-demand views, in an order in which each finds its inputs computed.
    """

    views: tuple[SelectedView, ...]
    columns: tuple[OutputColumn, ...]
    computed: tuple[ComputedView, ...] = ()

    @property
    def entity_columns(self) -> tuple[str, ...]:
        """The key columns that entity rows must have, each once, in order of first use."""
        return tuple(dict.fromkeys(column for selected in self.views for column in selected.entity_columns))

    @property
    def request_columns(self) -> dict[str, FeatureType]:
        """The further columns that entity rows must have, because functions read them, with their types."""
        inputs = (item for computed in self.computed for item in computed.inputs)
        return {item.column: item.dtype for item in inputs if item.column and not item.is_key}

    @property
    def with_inputs(self) -> Selection:
        """The same with what functions compute from and is not asked for as further columns, under their references."""
        inputs = (
            OutputColumn(*item.place, "", item.computed)
            for computed in self.computed
            for item in computed.inputs
            if item.place is not None
        )
        asked = {replace(column, name="") for column in self.columns}
        further = [replace(c, name=self.reference(c)) for c in dict.fromkeys(inputs) if c not in asked]
        return replace(self, columns=(*self.columns, *further)) if further else self

    def view_of(self, column: OutputColumn) -> SelectedView | ComputedView:
        """The view behind a column."""
        return self.computed[column.view] if column.computed else self.views[column.view]

    def reference(self, column: OutputColumn) -> str:
        """The feature behind a column as it is asked for: ``view:feature``."""
        view = self.view_of(column)
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
    selecting = _Selecting(snapshot)
    columns = []
    for view, feature in wanted:
        name = f"{view.name_to_use}__{feature.name}" if full_feature_names else feature.name
        index, position = selecting.place(view, feature)
        columns.append(OutputColumn(index, position, name, isinstance(view, OnDemandFeatureView)))
    selection = Selection(selecting.views(), tuple(columns), tuple(selecting.computed))
    _check_names(selection)
    return selection


class _Selecting:
    """Collects the views of a request, each once, and the features of each."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._definitions: dict[Hashable, FeatureView] = {}
        self._features: list[dict[str, Field]] = []
        self._numbers: dict[Hashable, int] = {}
        self.computed: list[ComputedView] = []

    def views(self) -> tuple[SelectedView, ...]:
        """The views that are read."""
        definitions = self._definitions.values()
        return tuple(
            SelectedView(view, tuple(features.values()))
            for view, features in zip(definitions, self._features, strict=True)
        )

    def place(self, view: BaseFeatureView, feature: Field) -> tuple[int, int]:
        """The number of a view, and of a feature in it."""
        if isinstance(view, OnDemandFeatureView):
            return self._computed_number(view), view.feature_names.index(feature.name)
        assert isinstance(view, FeatureView)
        key = (view.name, view.name_to_use, tuple(sorted(view.projection.join_key_map.items())))
        if key not in self._definitions:
            self._numbers[key] = len(self._definitions)
            self._definitions[key] = view
            self._features.append({})
        number = self._numbers[key]
        features = self._features[number]
        features.setdefault(feature.name, feature)
        return number, list(features).index(feature.name)

    def _computed_number(self, view: OnDemandFeatureView) -> int:
        key = (view.name, view.name_to_use)
        if key not in self._numbers:
            if not view.enabled:
                raise RequestError(
                    f"{view.subject} is declared with enabled=False and is not served",
                    subject=view.subject,
                    location=view.location,
                    hint="declare enabled=True and run `tiffin apply`",
                )
            inputs = tuple(self._inputs(view))
            self._numbers[key] = len(self.computed)
            self.computed.append(ComputedView(view, inputs))
        return self._numbers[key]

    def _inputs(self, view: OnDemandFeatureView) -> Iterator[FunctionInput]:
        """What the function reads: the features of its sources, their join keys, and the values of the request."""
        used = [self._snapshot.used(use) for use in view.uses]
        names = Counter(each.name for source in used for each in source.selected)
        columns: dict[str, FunctionInput] = {}
        for source in used:
            computed = isinstance(source, OnDemandFeatureView)
            for each in source.selected:
                full = f"{source.name_to_use}__{each.name}"
                called = (each.name, full) if names[each.name] == 1 else (full,)
                yield FunctionInput(called, each.dtype, self.place(source, each), computed)
            if isinstance(source, FeatureView):
                mapping = source.projection.join_key_map
                for key, dtype in zip(source.join_keys, source.key_types, strict=True):
                    if dtype is not None and key not in names:
                        column = mapping.get(key, key)
                        columns.setdefault(key, FunctionInput((key,), dtype, column=column, is_key=True))
        for each in view.request_fields:
            columns[each.name] = FunctionInput((each.name,), each.dtype, column=each.name)
        yield from columns.values()


def check_entity_collisions(selection: Selection, entity_columns: Sequence[str]) -> None:
    """Refuse features that have the name of a column of the entity rows (PIT-9).

    Raises:
        NameCollisionError: names both and the remedy.
    """
    present = set(entity_columns)
    for column in selection.columns:
        if column.name in present:
            view = selection.view_of(column)
            raise NameCollisionError(
                f"feature {selection.reference(column)!r} would have the name of the entity column {column.name!r}",
                subject=view.view.subject,
                location=view.view.location,
                hint="pass full_feature_names=True, or rename the entity column",
            )


def _items(snapshot: Snapshot, features: Sequence[str]) -> list[tuple[BaseFeatureView, Field]]:
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise RequestError(f"features is {features!r}", hint='pass a list such as ["view:feature"], or a service')
    if not features:
        raise RequestError("no features were asked for", hint='pass a list such as ["view:feature"], or a service')
    found: list[tuple[BaseFeatureView, Field]] = []
    for item in features:
        if not isinstance(item, str):
            raise RequestError(f"{item!r} is not a feature reference", hint='write "view:feature"')
        use = ViewUse.parse(item)
        if use is None:
            raise RequestError(f"{item!r} is not a feature reference", hint='write "view:feature"')
        found += _features_of(snapshot, use)
    return found


def _service_items(snapshot: Snapshot, service: FeatureService) -> list[tuple[BaseFeatureView, Field]]:
    found: list[tuple[BaseFeatureView, Field]] = []
    for use in service.uses:
        found += _features_of(snapshot, use)
    return found


def _features_of(snapshot: Snapshot, use: ViewUse) -> list[tuple[BaseFeatureView, Field]]:
    """The features that a use is about: those that it names, else all."""
    view = snapshot.used(use)
    whole = view.with_projection(replace(use.projection, features=None))
    names = view.feature_names if use.projection.features is None else use.projection.features
    return [(whole, view.feature(name)) for name in names]


def _check_names(selection: Selection) -> None:
    """Refuse two views under one name, and two columns under one name (PIT-9, PIT-11)."""
    names: set[str] = set()
    chosen: list[SelectedView | ComputedView] = [*selection.views, *selection.computed]
    for selected in chosen:
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
            subject=selection.view_of(column).view.subject,
            hint="pass full_feature_names=True, or use with_name() for a view that is used twice",
        )
