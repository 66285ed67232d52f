"""Decide whether somebody may do something, by the permissions of a snapshot. Pure, and deny by default."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tiffin.definitions import BaseFeatureView, Definition, FeatureService
from tiffin.definitions.permission import AuthzedAction, Permission, User
from tiffin.errors import AccessError
from tiffin.registry.snapshot import Snapshot


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Attributes:
        user: who it is.
        is_trusted: everything is allowed: no authentication is set up.
    """

    user: User
    is_trusted: bool = False


#: Who asks where no authentication is set up.
ANYBODY = Principal(User("anybody"), is_trusted=True)


def check_access(
    snapshot: Snapshot,
    principal: Principal,
    action: AuthzedAction,
    resources: Iterable[Definition],
) -> None:
    """Check that a principal may do something with all of some objects.

    Raises:
        AccessError: with one of them it may not.
    """
    if principal.is_trusted:
        return
    for resource in resources:
        if not _allows(snapshot, principal, action, resource, ""):
            raise _denied(principal, action, resource.subject)


def check_read(snapshot: Snapshot, principal: Principal, features: Sequence[str] | FeatureService) -> None:
    """Check that a principal may read features online.

    A service may be read by who may read it, or all that it consists of.

    Raises:
        AccessError: one of them it may not.
        NotFoundError: a view does not exist.
    """
    if principal.is_trusted:
        return
    action = AuthzedAction.READ_ONLINE
    if isinstance(features, FeatureService):
        if _allows(snapshot, principal, action, features, ""):
            return
        for use in features.uses:
            view = snapshot.any_view(use.view)
            for feature in use.projection.features or ("",):
                _check_feature(snapshot, principal, view, feature)
        return
    for reference in features:
        name, _, feature = str(reference).partition(":")
        _check_feature(snapshot, principal, snapshot.any_view(name.partition("@")[0]), feature)


def _check_feature(snapshot: Snapshot, principal: Principal, view: BaseFeatureView, feature: str) -> None:
    if not _allows(snapshot, principal, AuthzedAction.READ_ONLINE, view, feature):
        raise _denied(principal, AuthzedAction.READ_ONLINE, f"{view.subject}:{feature}" if feature else view.subject)


def _allows(
    snapshot: Snapshot, principal: Principal, action: AuthzedAction, resource: Definition, feature: str
) -> bool:
    """Whether one of the permissions allows it; one is enough."""
    return any(
        action in permission.actions
        and permission.policy.is_for(principal.user)
        and _is_of_type(permission, resource)
        and _has_name(permission, resource.name, feature)
        and all(resource.tags.get(key) == value for key, value in (permission.required_tags or {}).items())
        for permission in snapshot.permissions.values()
    )


def _is_of_type(permission: Permission, resource: Definition) -> bool:
    return not permission.types or any(cls.__name__ in permission.types for cls in type(resource).__mro__)


def _has_name(permission: Permission, name: str, feature: str) -> bool:
    return not permission.name_patterns or any(
        bool(feature) and re.fullmatch(pattern, f"{name}:{feature}") is not None
        if ":" in pattern
        else re.match(pattern, name) is not None
        for pattern in permission.name_patterns
    )


def _denied(principal: Principal, action: AuthzedAction, subject: str) -> AccessError:
    return AccessError(
        f"{principal.user.username} may not {action.value} {subject}",
        subject=subject,
        hint="ask for a Permission of the project that allows it",
    )


def resources_of(snapshot: Snapshot) -> list[Definition]:
    """Everything that a principal may be allowed to see."""
    found: list[Definition] = [snapshot.project_definition, *snapshot.entities.values(), *snapshot.sources.values()]
    return [*found, *snapshot.views.values(), *snapshot.on_demand_views.values(), *snapshot.services.values()]
