"""What all views share: features, and how a request or a service uses them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from tiffin.compat.gaps import FEATURE_VIEW
from tiffin.definitions.base import Definition
from tiffin.definitions.field import Field
from tiffin.definitions.projection import Projection
from tiffin.errors import DefinitionTypeError, NotFoundError, nearest

#: The version of a view that is not pinned to one.
LATEST = "latest"
#: How versions are written.
_VERSION = re.compile(r"latest|v(ersion)?\d+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class BaseFeatureView(Definition):
    """A view of whatever kind: it has features, and can be used under another name or with some of them only."""

    _gaps: ClassVar[Mapping[str, str]] = FEATURE_VIEW

    projection: Projection = field(default_factory=Projection, repr=False)

    __hash__ = Definition.__hash__

    @property
    def features(self) -> tuple[Field, ...]:
        """The fields that are features; empty until the schema is known."""
        raise NotImplementedError

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features, in schema order."""
        return tuple(item.name for item in self.features)

    @property
    def name_to_use(self) -> str:
        """The name in full feature names: the alias, else the name."""
        return self.projection.alias or self.name

    @property
    def selected(self) -> tuple[Field, ...]:
        """The features that the projection keeps, in its order."""
        if self.projection.features is None:
            return self.features
        by_name = {item.name: item for item in self.features}
        return tuple(by_name[name] for name in self.projection.features if name in by_name)

    def _check_version(self, version: str) -> None:
        """Check how a version is written. One that is not the latest pins the view, which ``apply`` refuses."""
        self.check_type("version", version, str)
        if not _VERSION.fullmatch(version):
            raise self.error(f"{self.subject} has the version {version!r}", hint=f"leave it out, or write {LATEST!r}")
        self._set("version", version.lower())

    def feature(self, name: str) -> Field:
        """One feature by name.

        Raises:
            NotFoundError: with the nearest names.
        """
        for item in self.features:
            if item.name == name:
                return item
        raise NotFoundError(
            f"{self.subject} has no feature {name!r}",
            subject=self.subject,
            location=self.location,
            hint=nearest(name, self.feature_names),
        )

    def with_name(self, name: str) -> Self:
        """The same view under another name, so that it can be used twice in one request (PIT-11)."""
        return replace(self, projection=replace(self.projection, alias=name))

    def with_projection(self, projection: Projection) -> Self:
        """The same view, used in the given way."""
        return replace(self, projection=projection)

    def __getitem__(self, names: list[str]) -> Self:
        """The same view with some of its features: ``view[["a", "b"]]``."""
        if not isinstance(names, list):
            raise DefinitionTypeError(
                f"{self.subject}[...] takes a list of feature names, not {names!r}", hint=f"write view[[{names!r}]]"
            )
        if self.features:
            for name in names:
                self.feature(name)
        return replace(self, projection=replace(self.projection, features=tuple(names)))
