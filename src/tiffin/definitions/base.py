"""What all declared objects share: validation with a place in the user's file, and a plain form for the registry.

A definition is a frozen value. It does no I/O and reads no clock. ``to_spec`` turns it into JSON-ready data in which
other definitions are named, not contained; ``from_spec`` builds it again, given the named ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any, ClassVar

from tiffin.compat.gaps import DEFINITION, WithGaps
from tiffin.errors import DefinitionError, DefinitionTypeError, UnsupportedError
from tiffin.time import duration_us

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True, kw_only=True)
class Definition(WithGaps):
    """A declared object: a name, words about it, and where it was declared.

    Attributes:
        name: unique among objects of its kind in a project.
        description: words for people.
        tags: labels; no meaning but filtering and display.
        owner: who answers for it.
        location: ``file:line`` of the declaration; not part of its value.
    """

    _gaps: ClassVar[Mapping[str, str]] = DEFINITION
    kind: ClassVar[str] = "definition"
    forbidden_in_name: ClassVar[str] = ""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    location: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.location:
            self._set("location", caller())
        self.check_type("name", self.name, str)
        if not self.name.strip() or any(sign in self.name for sign in self.forbidden_in_name):
            none_of = f" and none of {self.forbidden_in_name}" if self.forbidden_in_name else ""
            hint = f"a name has at least one character{none_of}"
            raise self.error(f"{self.kind} has the name {self.name!r}, which is not allowed", hint=hint)
        self._set("description", self.description or "")
        self._set("owner", self.owner or "")
        self.check_type("description", self.description, str)
        self.check_type("owner", self.owner, str)
        self._set("tags", self._string_map("tags", self.tags))

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Definition):
            return NotImplemented
        return (self.kind, self.name) < (other.kind, other.name)

    @property
    def subject(self) -> str:
        """How messages call this object, such as ``feature view driver_stats``."""
        return f"{self.kind} {self.name}"

    def error(self, message: str, *, hint: str = "") -> DefinitionError:
        """An error about this object, with its place in the user's file."""
        return DefinitionError(message, subject=self.subject, location=self.location, hint=hint)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; arguments that have their default value are left out."""
        raise NotImplementedError

    def _common_spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"name": self.name}
        for key in ("description", "owner"):
            if getattr(self, key):
                spec[key] = getattr(self, key)
        if self.tags:
            spec["tags"] = dict(self.tags)
        if self.location:
            spec["location"] = self.location
        return spec

    def _set(self, attribute: str, value: object) -> None:
        object.__setattr__(self, attribute, value)

    def check_type(self, argument: str, value: object, *allowed: type) -> None:
        """Raise when an argument is of none of the allowed types; a bool is not an int."""
        if isinstance(value, allowed) and not (isinstance(value, bool) and bool not in allowed):
            return
        names = " or ".join(t.__name__ for t in allowed)
        raise DefinitionTypeError(
            f"{self.kind} {self.name!r}: argument {argument} is {value!r} ({type(value).__name__}), "
            f"where {names} is expected",
            subject=f"{self.kind} {self.name}",
            location=self.location,
        )

    def refuse(self, argument: str, value: object) -> None:
        """Raise when an argument is given that is known but not supported yet."""
        if value is not None:
            raise UnsupportedError(
                f"{self.subject}: {argument} is not supported yet",
                subject=self.subject,
                location=self.location,
                hint="leave it out",
            )

    def _string_map(self, argument: str, value: object) -> dict[str, str]:
        value = {} if value is None else value
        self.check_type(argument, value, Mapping)
        assert isinstance(value, Mapping)
        for key, item in value.items():
            self.check_type(f"{argument} key", key, str)
            self.check_type(f"{argument}[{key!r}]", item, str)
        return dict(value)

    def _duration(self, argument: str, value: timedelta | None) -> timedelta | None:
        """A duration that is not negative; zero means no limit and becomes ``None``."""
        if value is None:
            return None
        self.check_type(argument, value, timedelta)
        if duration_us(value) < 0:
            hint = "it is how old something may be; leave it out for no limit"
            raise self.error(f"{self.subject} has {argument} {value}, which is negative", hint=hint)
        return value or None


def caller() -> str:
    """``file:line`` of the first frame outside this package and the standard library's dataclasses."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith((_PACKAGE, "<string>")) and not filename.endswith("dataclasses.py"):
            return f"{_relative(filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _relative(filename: str) -> str:
    """The path as a person would type it from here, when it lies below the working directory."""
    here = os.getcwd() + os.sep
    return filename[len(here) :] if filename.startswith(here) else filename
