"""Feature services: the features that one model uses, under one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.projection import Projection
from tiffin.errors import DefinitionTypeError


@dataclass(frozen=True)
class ViewUse:
    """One view in a service: its name and how it is used."""

    view: str
    projection: Projection = field(default_factory=Projection)


@dataclass(frozen=True, kw_only=True)
class FeatureService(Definition):
    """The features that one model uses.

    Args:
        features: views, views with a projection (``view[["a"]]``, ``view.with_name("b")``), or references as text:
            ``"view"`` or ``"view:feature"``, resolved at ``apply``.
        logging_config: not supported yet; refused.
        precompute_online: as in Feast; kept.

    Raises:
        DefinitionError: there are no features, or an item is neither a view nor a reference.

    >>> FeatureService(name="model_v1", features=["driver_stats:conv_rate"]).uses[0].projection.features
    ('conv_rate',)
    """

    kind: ClassVar[str] = "feature service"
    forbidden_in_name: ClassVar[str] = ":"

    features: Sequence[FeatureView | str]
    logging_config: Any = None
    precompute_online: bool = False

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_type("features", self.features, list, tuple)
        if not self.features:
            raise self.error(f"{self.subject} has no features", hint="pass features=[view, other_view[['a']]]")
        self.refuse("logging_config", self.logging_config)
        self._set("features", tuple(self.features))
        self._set("_uses", tuple(self._use(item) for item in self.features))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureService):
            return NotImplemented
        return self._value() == other._value()

    def _value(self) -> tuple[object, ...]:
        return (self.name, self.uses, self.description, self.tags, self.owner, self.precompute_online)

    @property
    def uses(self) -> tuple[ViewUse, ...]:
        """The views by name, with how each is used."""
        uses: tuple[ViewUse, ...] = self._uses  # type: ignore[attr-defined]
        return uses

    def _use(self, item: object) -> ViewUse:
        if isinstance(item, FeatureView):
            return ViewUse(item.name, item.projection)
        if isinstance(item, ViewUse):
            return item
        if isinstance(item, str):
            view, _, feature = item.partition(":")
            if view and (feature or ":" not in item):
                return ViewUse(view, Projection(features=(feature,) if feature else None))
        raise DefinitionTypeError(
            f"{self.subject}: {item!r} is neither a feature view nor a reference",
            subject=self.subject,
            location=self.location,
            hint='pass the view object, or text such as "driver_stats:conv_rate"',
        )

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; the views are named."""
        spec = self._common_spec()
        spec["features"] = [{"view": use.view, **use.projection.to_spec()} for use in self.uses]
        if self.precompute_online:
            spec["precompute_online"] = True
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> FeatureService:
        """Build it again from ``to_spec``'s data."""
        plain = dict(spec)
        uses: list[Any] = [ViewUse(item["view"], Projection.from_spec(item)) for item in plain.pop("features")]
        return cls(features=uses, **plain)
