"""Feature services: the features that one model uses, under one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.base_view import BaseFeatureView
from tiffin.definitions.logging import LoggingConfig
from tiffin.definitions.projection import Projection
from tiffin.definitions.view_use import ViewUse
from tiffin.errors import DefinitionTypeError


@dataclass(frozen=True, kw_only=True)
class FeatureService(Definition):
    """The features that one model uses.

    Args:
        features: views, views with a projection (``view[["a"]]``, ``view.with_name("b")``), or references as text:
            ``"view"`` or ``"view:feature"``, resolved at ``apply``.
        logging_config: that the feature server is to keep what it serves.
        precompute_online: that the rows of all views are kept together, too, once ``precompute_feature_service`` was
            called; answers are the same. Only for views with one key and without windows.

    Raises:
        DefinitionError: there are no features, or an item is neither a view nor a reference.

    >>> FeatureService(name="model_v1", features=["driver_stats:conv_rate"]).uses[0].projection.features
    ('conv_rate',)
    """

    kind: ClassVar[str] = "feature service"
    forbidden_in_name: ClassVar[str] = ":"

    features: Sequence[BaseFeatureView | str]
    logging_config: LoggingConfig | None = None
    precompute_online: bool = False

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_type("features", self.features, list, tuple)
        if not self.features:
            raise self.error(f"{self.subject} has no features", hint="pass features=[view, other_view[['a']]]")
        if self.logging_config is not None:
            self.check_type("logging_config", self.logging_config, LoggingConfig)
        self._set("features", tuple(self.features))
        self._set("_uses", tuple(self._use(item) for item in self.features))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureService):
            return NotImplemented
        return self._value() == other._value()

    def _value(self) -> tuple[object, ...]:
        words = (self.description, self.tags, self.owner)
        return (self.name, self.uses, *words, self.precompute_online, self.logging_config)

    @property
    def uses(self) -> tuple[ViewUse, ...]:
        """The views by name, with how each is used."""
        uses: tuple[ViewUse, ...] = self._uses  # type: ignore[attr-defined]
        return uses

    def _use(self, item: object) -> ViewUse:
        if isinstance(item, BaseFeatureView):
            return ViewUse(item.name, item.projection)
        if isinstance(item, ViewUse):
            return item
        if isinstance(item, str) and (use := ViewUse.parse(item)) is not None:
            return use
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
        if self.logging_config is not None:
            spec["logging"] = self.logging_config.to_spec()
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> FeatureService:
        """Build it again from ``to_spec``'s data."""
        plain = dict(spec)
        uses: list[Any] = [ViewUse(item["view"], Projection.from_spec(item)) for item in plain.pop("features")]
        logging = plain.pop("logging", None)
        config = None if logging is None else LoggingConfig.from_spec(logging)
        return cls(features=uses, logging_config=config, **plain)
