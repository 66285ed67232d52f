"""A view as something else uses it: a feature service, or an on-demand view that computes from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tiffin.definitions.projection import Projection

_REFERENCE = re.compile(r"([^:@]+)(?:@(latest|v[0-9]+))?(?::([^:@]+))?")


@dataclass(frozen=True)
class ViewUse:
    """A view by name, and how it is used."""

    view: str
    projection: Projection = field(default_factory=Projection)

    @property
    def name(self) -> str:
        """The name in full feature names: the alias, else the view's."""
        return self.projection.alias or self.view

    @classmethod
    def parse(cls, reference: str) -> ViewUse | None:
        """What a reference means: ``view``, ``view:feature`` or ``view@v2:feature``; ``None`` for other text."""
        found = _REFERENCE.fullmatch(reference)
        if found is None:
            return None
        view, version, feature = found.groups()
        number = 0 if version in (None, "latest") else int(version[1:])
        alias = f"{view}@v{number}" if number else ""
        return cls(view, Projection(alias=alias, version=number, features=(feature,) if feature else None))
