"""A snapshot: all definitions of a project at one version, immutable, with a content hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tiffin.definitions import (
    BaseFeatureView,
    DataSource,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    OnDemandFeatureView,
    Permission,
    Project,
    SavedDataset,
    ValidationReference,
    ViewUse,
    view_from_spec,
)
from tiffin.definitions.source_types import source_from_spec
from tiffin.errors import NotFoundError, nearest

#: Kinds in the order in which they are built: each names only earlier ones.
KINDS = (
    "project",
    "entity",
    "data source",
    "feature view",
    "on-demand feature view",
    "feature service",
    "saved dataset",
    "validation reference",
    "permission",
)

#: The kinds of views: no two views of a project share a name, so a view is found by its name alone.
VIEW_KINDS = ("feature view", "on-demand feature view")


@dataclass(frozen=True)
class ViewStorage:
    """Where and how a view's rows are kept online, as far as readers of older and newer versions must agree on it.

    Attributes:
        version: 1, 2, ...; rises when the schema, the keys or the source change.
        table: the online table; a new one when the meaning of stored rows changes (DEF-4).
        layouts: for each row layout that the table may hold, the names and types of its columns, in order. A row
            names its layout by position, so that rows written before a feature was added stay readable.
        replaced: the tables that full refreshes have put this one in the place of, oldest first (MAT-5).
        replaced_us: when that happened last.
    """

    version: int
    table: str
    layouts: tuple[tuple[tuple[str, str], ...], ...]
    replaced: tuple[str, ...] = ()
    replaced_us: int = 0

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        layouts = [[list(column) for column in layout] for layout in self.layouts]
        spec: dict[str, Any] = {"version": self.version, "table": self.table, "layouts": layouts}
        if self.replaced:
            spec |= {"replaced": list(self.replaced), "replaced_us": self.replaced_us}
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ViewStorage:
        """Build it again from ``to_spec``'s data."""
        layouts = tuple(tuple((name, dtype) for name, dtype in layout) for layout in spec["layouts"])
        replaced = tuple(spec.get("replaced", ()))
        return cls(spec["version"], spec["table"], layouts, replaced, spec.get("replaced_us", 0))

    def stands_for(self, table: str) -> bool:
        """Whether this table holds what another one held: itself, or one that it has replaced."""
        return table == self.table or table in self.replaced


@dataclass(frozen=True)
class Entry:
    """One object in a snapshot, as data.

    Attributes:
        kind: one of ``KINDS``.
        name: unique among its kind.
        spec: what ``Definition.to_spec`` gave.
        storage: for a feature view, where its rows are kept.
    """

    kind: str
    name: str
    spec: Mapping[str, Any]
    storage: ViewStorage | None = None

    @cached_property
    def document(self) -> str:
        """Canonical JSON: the same value always gives the same text."""
        data: dict[str, Any] = {"kind": self.kind, "spec": self.spec}
        if self.storage is not None:
            data["storage"] = self.storage.to_spec()
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def digest(self) -> str:
        """The hash of the document."""
        return hashlib.blake2b(self.document.encode(), digest_size=16).hexdigest()

    @classmethod
    def from_document(cls, document: str) -> Entry:
        """Build it again from its document."""
        data = json.loads(document)
        storage = ViewStorage.from_spec(data["storage"]) if "storage" in data else None
        return cls(data["kind"], data["spec"]["name"], data["spec"], storage)


@dataclass(frozen=True)
class Snapshot:
    """All definitions of a project at one version.

    The typed objects (``views``, ``entities``, ...) are built from the entries when they are first asked for, and
    each entry only once.
    """

    project: str
    version: int = 0
    entries: tuple[Entry, ...] = ()
    _cache: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def plans(self) -> dict[Any, Any]:
        """Plans that were made from this snapshot, kept as long as it is."""
        return {}

    @cached_property
    def digest(self) -> str:
        """The hash of the content; independent of the version and of the order of the entries."""
        lines = sorted(f"{e.kind}\0{e.name}\0{e.digest}" for e in self.entries)
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()

    @cached_property
    def by_key(self) -> Mapping[tuple[str, str], Entry]:
        """(kind, name) to entry."""
        return {(entry.kind, entry.name): entry for entry in self.entries}

    def index(self) -> None:
        """Build now what objects are found by and made from, which takes long where there are thousands of them."""
        _ = self.by_key, self.sources, self.entities, self.services, self.permissions

    def with_storage(self, name: str, storage: ViewStorage) -> Snapshot:
        """The next version, in which a feature view's rows are kept elsewhere and all else is as it was."""
        here = self.entry("feature view", name)
        entries = tuple(replace(each, storage=storage) if each is here else each for each in self.entries)
        return Snapshot(self.project, self.version + 1, entries)

    def names(self, kind: str) -> list[str]:
        """The names of the objects of a kind, sorted."""
        return sorted(entry.name for entry in self.entries if entry.kind == kind)

    @cached_property
    def sources(self) -> Mapping[str, DataSource]:
        """Name to source."""
        built: dict[str, DataSource] = {}
        specs = {entry.name: dict(entry.spec) for entry in self.entries if entry.kind == "data source"}
        for name in sorted(specs, key=lambda n: (bool(specs[n].get("batch_source")), n)):
            built[name] = source_from_spec(specs[name], built)
        return built

    @cached_property
    def entities(self) -> Mapping[str, Entity]:
        """Name to entity."""
        return {e.name: Entity.from_spec(dict(e.spec)) for e in self.entries if e.kind == "entity"}

    @cached_property
    def services(self) -> Mapping[str, FeatureService]:
        """Name to feature service."""
        return {e.name: FeatureService.from_spec(e.spec) for e in self.entries if e.kind == "feature service"}

    @cached_property
    def permissions(self) -> Mapping[str, Permission]:
        """Name to permission."""
        return {e.name: Permission.from_spec(e.spec) for e in self.entries if e.kind == "permission"}

    @property
    def views(self) -> Mapping[str, FeatureView]:
        """Name to feature view; building all of them, so for lists and not for requests."""
        return {name: self.view(name) for name in self.names("feature view")}

    @property
    def on_demand_views(self) -> Mapping[str, OnDemandFeatureView]:
        """Name to on-demand feature view."""
        return {name: self.on_demand_view(name) for name in self.names("on-demand feature view")}

    @cached_property
    def project_definition(self) -> Project:
        """The project's own words about itself."""
        entry = self.by_key.get(("project", self.project))
        return Project.from_spec(entry.spec) if entry is not None else Project(name=self.project, location="registry")

    def entry(self, kind: str, name: str) -> Entry:
        """One entry.

        Raises:
            NotFoundError: with the nearest names.
        """
        found = self.by_key.get((kind, name))
        if found is None:
            raise NotFoundError(
                f"there is no {kind} {name!r} in project {self.project!r}",
                subject=f"{kind} {name}",
                hint=self._hint(name, (kind,)),
            )
        return found

    def view(self, name: str) -> FeatureView:
        """One feature view.

        Raises:
            NotFoundError: with the nearest names.
        """
        built: FeatureView | None = self._cache.get(name)
        if built is None:
            entry = self.entry("feature view", name)
            built = self._cache[name] = view_from_spec(entry.spec, self.sources, self.entities)
        return built

    def on_demand_view(self, name: str) -> OnDemandFeatureView:
        """One on-demand feature view.

        Raises:
            NotFoundError: with the nearest names.
        """
        built: OnDemandFeatureView | None = self._cache.get(("on demand", name))
        if built is None:
            entry = self.entry("on-demand feature view", name)
            built = OnDemandFeatureView.from_spec(entry.spec, self.sources, self.entities)
            self._cache["on demand", name] = built
        return built

    def saved_dataset(self, name: str) -> SavedDataset:
        """One saved dataset.

        Raises:
            NotFoundError: with the nearest names.
        """
        return SavedDataset.from_spec(self.entry("saved dataset", name).spec)

    def validation_reference(self, name: str) -> ValidationReference:
        """One validation reference.

        Raises:
            NotFoundError: with the nearest names.
        """
        return ValidationReference.from_spec(self.entry("validation reference", name).spec)

    def remember_version(self, name: str, number: int, view: FeatureView, storage: ViewStorage) -> None:
        """Make an older version of a view known, for ``used`` and ``storage_of``."""
        self._cache["version", name, number] = view, storage

    def has_version(self, name: str, number: int) -> bool:
        """Whether an older version of a view is known."""
        return ("version", name, number) in self._cache

    def used(self, use: ViewUse) -> BaseFeatureView:
        """A view as something uses it, in the version that it asks for.

        Raises:
            NotFoundError: there is no such view; with the nearest names.
        """
        number = use.projection.version
        view = self._cache["version", use.view, number][0] if number else self.any_view(use.view)
        found: BaseFeatureView = view.with_projection(use.projection)
        return found

    def storage_of(self, view: FeatureView) -> ViewStorage:
        """Where the rows of a view are kept online, in the version that is used."""
        number = view.projection.version
        storage: ViewStorage = self._cache["version", view.name, number][1] if number else self.storage(view.name)
        return storage

    def any_view(self, name: str) -> BaseFeatureView:
        """One view of whatever kind.

        Raises:
            NotFoundError: with the nearest names.
        """
        if ("on-demand feature view", name) in self.by_key:
            return self.on_demand_view(name)
        if ("feature view", name) in self.by_key:
            return self.view(name)
        raise NotFoundError(
            f"there is no feature view {name!r} in project {self.project!r}",
            subject=f"feature view {name}",
            hint=self._hint(name, VIEW_KINDS),
        )

    def _hint(self, name: str, kinds: Sequence[str]) -> str:
        if not self.entries:
            return "nothing has been applied to this project yet: run `tiffin apply`"
        return nearest(name, [each for kind in kinds for each in self.names(kind)])

    def storage(self, name: str) -> ViewStorage:
        """Where a feature view's rows are kept online."""
        storage = self.entry("feature view", name).storage
        assert storage is not None, f"feature view {name} has no storage"
        return storage

    def service(self, name: str) -> FeatureService:
        """One feature service.

        Raises:
            NotFoundError: with the nearest names.
        """
        self.entry("feature service", name)
        return self.services[name]


def entry_of(definition: Definition, storage: ViewStorage | None = None) -> Entry:
    """The entry that holds a definition."""
    kind = "data source" if isinstance(definition, DataSource) else definition.kind
    return Entry(kind, definition.name, definition.to_spec(), storage)
