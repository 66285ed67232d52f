"""Projects: the name under which definitions live in a registry; projects cannot touch one another (DEF-5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tiffin.definitions.base import Definition

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class Project(Definition):
    """A name space for definitions.

    Raises:
        DefinitionError: the name has other characters than letters, digits, ``_`` and ``-``, or starts with a sign.

    >>> Project(name="fraud", description="card payments").name
    'fraud'
    """

    kind: ClassVar[str] = "project"

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_project_name(self.name):
            hint = "use letters, digits, '_' and '-', starting with a letter or digit"
            raise self.error(f"project name {self.name!r} is not allowed", hint=hint)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return self._common_spec()

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Project:
        """Build it again from ``to_spec``'s data."""
        return cls(**spec)


def is_project_name(name: str) -> bool:
    """Whether a project may have this name."""
    return _NAME.fullmatch(name) is not None
