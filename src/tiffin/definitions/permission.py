"""Permissions: who may do what with which objects. Servers hold requests to them; a program of your own does not."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tiffin.definitions.base import Definition


class AuthzedAction(enum.Enum):
    """What can be done with an object."""

    CREATE = "create"
    DESCRIBE = "describe"
    UPDATE = "update"
    DELETE = "delete"
    READ_ONLINE = "read_online"
    READ_OFFLINE = "read_offline"
    WRITE_ONLINE = "write_online"
    WRITE_OFFLINE = "write_offline"


ALL_ACTIONS = list(AuthzedAction)
READ = [AuthzedAction.READ_ONLINE, AuthzedAction.READ_OFFLINE]
WRITE = [AuthzedAction.WRITE_ONLINE, AuthzedAction.WRITE_OFFLINE]
CRUD = [AuthzedAction.CREATE, AuthzedAction.DESCRIBE, AuthzedAction.UPDATE, AuthzedAction.DELETE]


@dataclass(frozen=True)
class User:
    """Somebody as an authentication tells.

    Attributes:
        username: who it is.
        roles, groups, namespaces: what they belong to.
    """

    username: str
    roles: Sequence[str] = ()
    groups: Sequence[str] = ()
    namespaces: Sequence[str] = ()


@dataclass(frozen=True)
class Policy:
    """Whom a permission is for: everybody who has one of ``roles``, and is in one of ``groups`` and of ``namespaces``.

    A part that is left out asks for nothing.
    """

    roles: Sequence[str] = ()
    groups: Sequence[str] = ()
    namespaces: Sequence[str] = ()

    def __post_init__(self) -> None:
        for part in ("roles", "groups", "namespaces"):
            object.__setattr__(self, part, tuple(getattr(self, part)))

    def is_for(self, user: User) -> bool:
        """Whether it is for a user."""
        parts = ((self.roles, user.roles), (self.groups, user.groups), (self.namespaces, user.namespaces))
        return all(not wanted or not set(wanted).isdisjoint(has) for wanted, has in parts)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {part: list(getattr(self, part)) for part in ("roles", "groups", "namespaces") if getattr(self, part)}


def RoleBasedPolicy(roles: Sequence[str]) -> Policy:
    """For everybody who has one of the roles."""
    return Policy(roles=roles)


def GroupBasedPolicy(groups: Sequence[str]) -> Policy:
    """For everybody in one of the groups."""
    return Policy(groups=groups)


def NamespaceBasedPolicy(namespaces: Sequence[str]) -> Policy:
    """For everybody in one of the namespaces."""
    return Policy(namespaces=namespaces)


def CombinedGroupNamespacePolicy(groups: Sequence[str], namespaces: Sequence[str]) -> Policy:
    """For everybody in one of the groups and in one of the namespaces."""
    return Policy(groups=groups, namespaces=namespaces)


#: For everybody whom the server knows.
AllowAll = Policy()


@dataclass(frozen=True, kw_only=True)
class Permission(Definition):
    """That some users may do something with some objects of the project. What no permission allows is denied.

    Args:
        types: classes of objects, such as ``FeatureView``, sub-classes included; all when left out.
        name_patterns: regular expressions from the beginning of a name on; all names when left out. One with a colon,
            such as ``driver_stats:conv_rate``, is for single features, and has to match a whole ``view:feature``.
        actions: an ``AuthzedAction`` or several; all of them when left out.
        policy: whom it is for; everybody whom the server knows when left out.
        required_tags: labels that an object must have.

    Raises:
        DefinitionError: a pattern is no regular expression.
    """

    kind: ClassVar[str] = "permission"

    types: Any = ()
    name_patterns: Any = ()
    actions: Any = field(default_factory=lambda: tuple(ALL_ACTIONS))
    policy: Policy = AllowAll
    required_tags: Mapping[str, str] | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        # Lists of types may stand in a list, as Feast's ALL_FEATURE_VIEW_TYPES does.
        self._set("types", tuple(self._type_name(each) for each in _flat(self.types)))
        self._set("name_patterns", _flat(self.name_patterns))
        self._set("actions", _flat(self.actions))
        self._set("required_tags", self._string_map("required_tags", self.required_tags))
        self.check_type("policy", self.policy, Policy)
        for action in self.actions:
            self.check_type("actions", action, AuthzedAction)
        for pattern in self.name_patterns:
            self.check_type("name_patterns", pattern, str)
            try:
                re.compile(pattern)
            except re.error as error:
                raise self.error(f"{self.subject}: the name pattern {pattern!r} is wrong: {error}") from None

    def _type_name(self, item: object) -> str:
        if isinstance(item, str):
            return item
        self.check_type("types", item, type)
        return item.__name__  # type: ignore[attr-defined, no-any-return]

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = self._common_spec() | {"actions": [action.value for action in self.actions]}
        for name in ("types", "name_patterns"):
            if getattr(self, name):
                spec[name] = list(getattr(self, name))
        if self.required_tags:
            spec["required_tags"] = dict(self.required_tags)
        if self.policy != AllowAll:
            spec["policy"] = self.policy.to_spec()
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Permission:
        """Build it again from ``to_spec``'s data."""
        plain = dict(spec)
        actions = [AuthzedAction(value) for value in plain.pop("actions")]
        return cls(actions=actions, policy=Policy(**plain.pop("policy", {})), **plain)


def _flat(value: Any) -> tuple[Any, ...]:
    """One item, several, or lists of them, as a tuple."""
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(part for item in value for part in _flat(item))
    return (value,)
