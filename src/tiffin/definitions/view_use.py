"""A view as something else uses it: a feature service, or an on-demand view that computes from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiffin.definitions.projection import Projection


@dataclass(frozen=True)
class ViewUse:
    """A view by name, and how it is used."""

    view: str
    projection: Projection = field(default_factory=Projection)

    @property
    def name(self) -> str:
        """The name in full feature names: the alias, else the view's."""
        return self.projection.alias or self.view
