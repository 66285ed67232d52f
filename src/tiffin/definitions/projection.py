"""Projections: a view as a request or a service uses it, under another name, with fewer features or other keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Projection:
    """How a view is used.

    Attributes:
        alias: the name used in full feature names; the view's own name when empty.
        version: which version of the view is used, counted from 1; the current one when 0.
        features: the features used, in order; all of them when ``None``.
        join_key_map: join key of the view to the column of the entity rows that holds it (PIT-11).
    """

    alias: str = ""
    version: int = 0
    features: tuple[str, ...] | None = None
    join_key_map: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.alias, self.version, self.features, tuple(sorted(self.join_key_map.items()))))

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec: dict[str, Any] = {}
        if self.alias:
            spec["alias"] = self.alias
        if self.version:
            spec["version"] = self.version
        if self.features is not None:
            spec["features"] = list(self.features)
        if self.join_key_map:
            spec["join_key_map"] = dict(self.join_key_map)
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Projection:
        """Build it again from ``to_spec``'s data."""
        features = spec.get("features")
        return cls(
            alias=spec.get("alias", ""),
            version=spec.get("version", 0),
            features=None if features is None else tuple(features),
            join_key_map=dict(spec.get("join_key_map", {})),
        )
