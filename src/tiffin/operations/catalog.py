"""Look up what has been applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tiffin.definitions import (
    BaseFeatureView,
    DataSource,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    LabelView,
    OnDemandFeatureView,
    Permission,
    Project,
    PushSource,
    StreamSource,
)
from tiffin.errors import NotFoundError, RequestError, nearest

if TYPE_CHECKING:
    from tiffin.contracts.registry import Commit, MaterializationRun
    from tiffin.operations.context import Context

D = TypeVar("D", bound=Definition)


def list_entities(ctx: Context, tags: Mapping[str, str] | None) -> list[Entity]:
    """The entities, by name."""
    return _tagged(ctx.snapshot().entities.values(), tags)


def list_feature_views(ctx: Context, tags: Mapping[str, str] | None, streamed: bool | None = None) -> list[FeatureView]:
    """The feature views, by name; only those whose source is a stream, or is none, when ``streamed`` says so."""
    views = ctx.snapshot().views.values()
    return _tagged((view for view in views if streamed in (None, _is_streamed(view))), tags)


def list_on_demand_feature_views(ctx: Context, tags: Mapping[str, str] | None) -> list[OnDemandFeatureView]:
    """The on-demand feature views, by name."""
    return _tagged(ctx.snapshot().on_demand_views.values(), tags)


def list_all_feature_views(ctx: Context, tags: Mapping[str, str] | None) -> list[BaseFeatureView]:
    """The views of every kind, by name."""
    snapshot = ctx.snapshot()
    views: list[BaseFeatureView] = [*snapshot.views.values(), *snapshot.on_demand_views.values()]
    return _tagged(views, tags)


def list_label_views(ctx: Context, tags: Mapping[str, str] | None) -> list[LabelView]:
    """The label views, by name."""
    return _tagged((view for view in ctx.snapshot().views.values() if isinstance(view, LabelView)), tags)


def list_data_sources(ctx: Context, tags: Mapping[str, str] | None) -> list[DataSource]:
    """The data sources, by name."""
    return _tagged(ctx.snapshot().sources.values(), tags)


def list_feature_services(ctx: Context, tags: Mapping[str, str] | None) -> list[FeatureService]:
    """The feature services, by name."""
    return _tagged(ctx.snapshot().services.values(), tags)


def list_projects(ctx: Context, tags: Mapping[str, str] | None) -> list[Project]:
    """The projects of the registry, by name."""
    names = ctx.registry.projects()
    return _tagged([ctx.registry.load(name).project_definition for name in names], tags)


def list_permissions(ctx: Context, tags: Mapping[str, str] | None) -> list[Permission]:
    """The permissions, by name."""
    return _tagged(ctx.snapshot().permissions.values(), tags)


def get_permission(ctx: Context, name: str) -> Permission:
    """One permission."""
    snapshot = ctx.snapshot()
    return snapshot.permissions[snapshot.entry("permission", name).name]


def get_entity(ctx: Context, name: str) -> Entity:
    """One entity."""
    snapshot = ctx.snapshot()
    return snapshot.entities[snapshot.entry("entity", name).name]


def get_feature_view(ctx: Context, name: str) -> FeatureView:
    """One feature view."""
    return ctx.snapshot().view(name)


def get_stream_feature_view(ctx: Context, name: str) -> FeatureView:
    """One feature view whose source is a stream."""
    found = ctx.snapshot().view(name)
    if not _is_streamed(found):
        message = f"{found.subject} is no stream feature view: its source is no stream"
        raise NotFoundError(message, subject=found.subject, hint="use get_feature_view()")
    return found


def _is_streamed(view: FeatureView) -> bool:
    return isinstance(view.source, StreamSource) and not isinstance(view.source, PushSource)


def get_on_demand_feature_view(ctx: Context, name: str) -> OnDemandFeatureView:
    """One on-demand feature view."""
    return ctx.snapshot().on_demand_view(name)


def get_label_view(ctx: Context, name: str) -> LabelView:
    """One label view."""
    found = ctx.snapshot().view(name)
    if not isinstance(found, LabelView):
        raise NotFoundError(f"{found.subject} is no label view", subject=found.subject, hint="use get_feature_view()")
    return found


def get_data_source(ctx: Context, name: str) -> DataSource:
    """One data source."""
    snapshot = ctx.snapshot()
    return snapshot.sources[snapshot.entry("data source", name).name]


def get_feature_service(ctx: Context, name: str) -> FeatureService:
    """One feature service."""
    return ctx.snapshot().service(name)


def set_enabled(ctx: Context, name: str, *, enabled: bool) -> None:
    """Serve a view, or serve it no longer."""
    from tiffin.operations.apply import apply

    view = ctx.snapshot().any_view(name)
    assert isinstance(view, FeatureView | OnDemandFeatureView)
    apply(ctx, [replace(view, enabled=enabled)])


def find_object(ctx: Context, name: str) -> Definition:
    """The object of a name, of whatever kind.

    Raises:
        NotFoundError: there is none.
        RequestError: there are several, of different kinds.
    """
    snapshot = ctx.snapshot()
    found = [definition for definition in definitions(ctx) if definition.name == name]
    if not found:
        names = [entry.name for entry in snapshot.entries]
        raise NotFoundError(f"there is nothing called {name!r}", subject=name, hint=nearest(name, names))
    if len(found) > 1:
        listed = ", ".join(each.kind for each in found)
        raise RequestError(f"{name!r} is the name of several objects: {listed}", hint="remove it from its file")
    return found[0]


def definitions(ctx: Context) -> list[Definition]:
    """Everything that is applied, by kind and name."""
    snapshot = ctx.snapshot()
    found: list[Definition] = [*snapshot.entities.values(), *snapshot.sources.values(), *snapshot.views.values()]
    found += [*snapshot.on_demand_views.values(), *snapshot.services.values()]
    found += [snapshot.saved_dataset(name) for name in snapshot.names("saved dataset")]
    return [snapshot.project_definition, *sorted(found)]


def get_project(ctx: Context, name: str | None) -> Project:
    """One project of the registry; this repository's own when no name is given."""
    name = name or ctx.project
    known = ctx.registry.projects()
    if name not in known:
        hint = nearest(name, known)
        raise NotFoundError(f"the registry has no project {name!r}", subject=f"project {name}", hint=hint)
    return ctx.registry.load(name).project_definition


def history(ctx: Context) -> list[Commit]:
    """The project's log, newest first."""
    return ctx.registry.history(ctx.project)


def materialization_runs(ctx: Context, view: str | None, limit: int) -> list[MaterializationRun]:
    """The newest runs, newest first."""
    return ctx.registry.runs(ctx.project, view=view, limit=limit)


def _tagged(objects: Iterable[D], tags: Mapping[str, str] | None) -> list[D]:
    """The objects that have all of the tags, by name."""
    wanted = (tags or {}).items()
    return sorted((item for item in objects if wanted <= item.tags.items()), key=lambda item: item.name)
