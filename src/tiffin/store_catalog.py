"""The part of `FeatureStore` that asks what is defined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.definitions import (
        BaseFeatureView,
        DataSource,
        Entity,
        FeatureService,
        FeatureView,
        LabelView,
        OnDemandFeatureView,
        Permission,
        Project,
    )
    from tiffin.operations.context import Context


class CatalogMethods:
    """The definitions of a project, in lists and one by one."""

    context: Context

    def list_entities(self, allow_cache: bool = True, tags: Mapping[str, str] | None = None) -> list[Entity]:
        """The entities, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_entities

        return list_entities(self.context, tags)

    def list_feature_views(self, allow_cache: bool = True, tags: Mapping[str, str] | None = None) -> list[FeatureView]:
        """The feature views, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_feature_views

        return list_feature_views(self.context, tags)

    def list_batch_feature_views(
        self, allow_cache: bool = True, tags: Mapping[str, str] | None = None
    ) -> list[FeatureView]:
        """The feature views but those that ``list_stream_feature_views`` gives, by name."""
        from tiffin.operations.catalog import list_feature_views

        return list_feature_views(self.context, tags, streamed=False)

    def list_stream_feature_views(
        self, allow_cache: bool = True, tags: Mapping[str, str] | None = None
    ) -> list[FeatureView]:
        """The feature views whose source is a stream, such as ``KafkaSource``, by name; a ``PushSource`` is none."""
        from tiffin.operations.catalog import list_feature_views

        return list_feature_views(self.context, tags, streamed=True)

    def list_on_demand_feature_views(
        self, allow_cache: bool = True, tags: Mapping[str, str] | None = None
    ) -> list[OnDemandFeatureView]:
        """The on-demand feature views, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_on_demand_feature_views

        return list_on_demand_feature_views(self.context, tags)

    def list_label_views(self, allow_cache: bool = True, tags: Mapping[str, str] | None = None) -> list[LabelView]:
        """The label views, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_label_views

        return list_label_views(self.context, tags)

    def list_all_feature_views(
        self, allow_cache: bool = True, tags: Mapping[str, str] | None = None
    ) -> list[BaseFeatureView]:
        """The views of every kind, by name; those that have all of the tags."""
        views: list[BaseFeatureView] = [
            *self.list_feature_views(tags=tags),
            *self.list_on_demand_feature_views(tags=tags),
        ]
        return sorted(views, key=lambda view: view.name)

    def list_data_sources(self, allow_cache: bool = True, tags: Mapping[str, str] | None = None) -> list[DataSource]:
        """The data sources, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_data_sources

        return list_data_sources(self.context, tags)

    def list_feature_services(self, tags: Mapping[str, str] | None = None) -> list[FeatureService]:
        """The feature services, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_feature_services

        return list_feature_services(self.context, tags)

    def list_projects(self, allow_cache: bool = True, tags: Mapping[str, str] | None = None) -> list[Project]:
        """The projects of the registry, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_projects

        return list_projects(self.context, tags)

    def list_permissions(self, allow_cache: bool = True, tags: Mapping[str, str] | None = None) -> list[Permission]:
        """The permissions, by name; those that have all of the tags."""
        from tiffin.operations.catalog import list_permissions

        return list_permissions(self.context, tags)

    def get_permission(self, name: str) -> Permission:
        """One permission; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_permission

        return get_permission(self.context, name)

    def get_entity(self, name: str, allow_registry_cache: bool = True) -> Entity:
        """One entity; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_entity

        return get_entity(self.context, name)

    def get_feature_view(self, name: str, allow_registry_cache: bool = True) -> FeatureView:
        """One feature view; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_feature_view

        return get_feature_view(self.context, name)

    def get_stream_feature_view(self, name: str, allow_registry_cache: bool = True) -> FeatureView:
        """One feature view whose source is a stream; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_stream_feature_view

        return get_stream_feature_view(self.context, name)

    def list_feature_view_versions(self, name: str) -> list[dict[str, Any]]:
        """The versions of a feature view, newest first; a feature of one is asked for as ``view@v1:feature``."""
        from tiffin.operations.versions import list_versions

        return [version.to_dict() for version in list_versions(self.context, name)]

    def get_on_demand_feature_view(self, name: str, allow_registry_cache: bool = True) -> OnDemandFeatureView:
        """One on-demand feature view; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_on_demand_feature_view

        return get_on_demand_feature_view(self.context, name)

    def get_label_view(self, name: str, allow_registry_cache: bool = True) -> LabelView:
        """One label view; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_label_view

        return get_label_view(self.context, name)

    def get_data_source(self, name: str) -> DataSource:
        """One data source; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_data_source

        return get_data_source(self.context, name)

    def get_feature_service(self, name: str, allow_cache: bool = True) -> FeatureService:
        """One feature service; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_feature_service

        return get_feature_service(self.context, name)

    def get_project(self, name: str | None = None) -> Project:
        """One project, this repository's own by default; raises ``NotFoundError`` with the nearest names."""
        from tiffin.operations.catalog import get_project

        return get_project(self.context, name)
