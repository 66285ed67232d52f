"""On-demand feature views: features that a function computes from other features and from the request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.base_view import LATEST, BaseFeatureView
from tiffin.definitions.entity import Entity, check_entities
from tiffin.definitions.field import Field, check_fields
from tiffin.definitions.function import FunctionCode, parameters
from tiffin.definitions.projection import Projection
from tiffin.definitions.sources import RequestSource
from tiffin.definitions.view_use import ViewUse
from tiffin.errors import DefinitionTypeError

MODES = ("pandas", "python", "polars")

#: The parameter by which a function asks for the moment that it computes for (ODF-3).
NOW = "now"


@dataclass(frozen=True, kw_only=True)
class OnDemandFeatureView(BaseFeatureView):
    """Features that a function computes when they are asked for, alike for training and for serving.

    The function gets its inputs under their names and under ``view__feature``: a pandas or polars frame, a dict of
    lists (``mode="python"``), or a dict of values (``singleton=True``). It gives its features back in the same form.
    A second parameter called ``now`` is the time of each row: that of the entity row, or of the request.

    Args:
        sources: feature views, other on-demand views, projections of these, and request sources.
        schema: the features that come out.
        udf: the function.
        mode: ``pandas``, ``python`` or ``polars``.
        singleton: the function computes one row at a time; for ``mode="python"``.
        entities, input_schema, feature_transformation, write_to_online_store, track_metrics, aggregations, version,
            enabled, org: as in Feast. Values are always computed when they are read.

    Raises:
        DefinitionError: with the file and line of the declaration.
    """

    kind: ClassVar[str] = "on-demand feature view"
    forbidden_in_name: ClassVar[str] = "@:"

    schema: Sequence[Field] | None = None
    sources: Sequence[Any] | None = None
    udf: Callable[..., Any] | None = None
    udf_string: str = ""
    function: FunctionCode | None = None
    mode: str = "pandas"
    singleton: bool = False
    entities: Sequence[Entity] | None = None
    input_schema: Any = None
    feature_transformation: Any = None
    aggregations: Any = None
    write_to_online_store: bool = False
    track_metrics: bool = False
    org: str = ""
    version: str = LATEST
    enabled: bool = True

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("entities", check_entities(self, self.entities))
        for argument in ("singleton", "write_to_online_store", "track_metrics", "enabled"):
            self.check_type(argument, getattr(self, argument), bool)
        for argument in ("input_schema", "aggregations"):
            self.refuse(argument, getattr(self, argument) or None)
        self._check_version(self.version)
        mode = getattr(self.mode, "value", self.mode)
        self._set("mode", mode)
        if mode not in MODES:
            raise self.error(f"{self.subject} has mode {mode!r}", hint=f"modes are {', '.join(MODES)}")
        if self.singleton and mode != "python":
            raise self.error(f"{self.subject}: singleton goes with mode python, not {mode}", hint='pass mode="python"')
        if not self.schema:
            raise self.error(f"{self.subject} has no schema", hint="pass schema=[Field(...)], the features it computes")
        self._set("schema", check_fields(self, "schema", self.schema))
        self._set("sources", self._checked_sources())
        self._set("function", self._checked_function())

    def _checked_sources(self) -> tuple[Any, ...]:
        given: Any = self.sources
        if isinstance(given, Mapping):
            given = list(given.values())
        self.check_type("sources", given, list, tuple)
        assert given is not None
        if not given:
            raise self.error(f"{self.subject} has no sources", hint="pass sources=[view, request_source]")
        names = []
        for source in given:
            if not isinstance(source, BaseFeatureView | RequestSource | ViewUse):
                raise DefinitionTypeError(
                    f"{self.subject}: {source!r} is no source of an on-demand view",
                    subject=self.subject,
                    location=self.location,
                    hint="pass feature views and request sources",
                )
            names.append(_source_name(source))
        for name in names:
            if names.count(name) > 1:
                hint = "give one of them another name: view.with_name(...)"
                raise self.error(f"{self.subject} has two sources called {name!r}", hint=hint)
        return tuple(given)

    def _checked_function(self) -> FunctionCode:
        function = self.udf
        if function is None and self.feature_transformation is not None:
            function = getattr(self.feature_transformation, "udf", None)
            self._set("udf", function)
        if function is None and self.function is None:
            raise self.error(f"{self.subject} has no function", hint="pass udf=, or decorate a function")
        if function is None:
            assert self.function is not None
            return self.function
        if not callable(function) or not hasattr(function, "__code__"):
            raise self.error(f"{self.subject}: udf is {function!r}, not a function")
        if len(parameters(function)) != 1 and not asks_for_now(function):
            hint = f"it takes its inputs, and a second parameter {NOW!r} if it needs the time of each row"
            raise self.error(f"{self.subject}: the function {function.__name__} has other parameters", hint=hint)
        return FunctionCode.of(function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnDemandFeatureView) and self._value() == other._value()

    def _value(self) -> tuple[object, ...]:
        spec = self.to_spec()
        spec.pop("location", None)
        return (spec, self.projection)

    @property
    def features(self) -> tuple[Field, ...]:
        """What the function computes."""
        return tuple(self.schema or ())

    @property
    def uses(self) -> tuple[ViewUse, ...]:
        """The views that it computes from, by name, with how each is used."""
        return tuple(_use(source) for source in self.sources or () if not isinstance(source, RequestSource))

    @property
    def request_sources(self) -> tuple[RequestSource, ...]:
        """What has to come with a request."""
        return tuple(source for source in self.sources or () if isinstance(source, RequestSource))

    @property
    def request_fields(self) -> tuple[Field, ...]:
        """The columns that have to come with a request."""
        return tuple(item for source in self.request_sources for item in source.schema)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; sources and entities are named."""
        assert self.function is not None
        spec = self._common_spec() | {
            "sources": [_source_spec(source) for source in self.sources or ()],
            "schema": [item.to_spec() for item in self.features],
            "function": self.function.to_spec(),
            "mode": self.mode,
        }
        if self.entities:
            spec["entities"] = [entity.name for entity in self.entities]
        for argument, default in _OPTIONS.items():
            if getattr(self, argument) != default:
                spec[argument] = getattr(self, argument)
        return spec

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], requests: Mapping[str, Any], entities: Mapping[str, Entity]
    ) -> OnDemandFeatureView:
        """Build it again from ``to_spec``'s data and the request sources and entities that it names."""
        plain = dict(spec)
        location = plain.get("location", "")
        sources: list[Any] = [
            requests[item["request"]] if "request" in item else ViewUse(item["view"], Projection.from_spec(item))
            for item in plain.pop("sources")
        ]
        return cls(
            sources=sources,
            schema=[Field.from_spec(item, location) for item in plain.pop("schema")],
            function=FunctionCode(**plain.pop("function")),
            entities=[entities[name] for name in plain.pop("entities", ())],
            **plain,
        )


def on_demand_feature_view(
    *,
    name: str | None = None,
    schema: Sequence[Field] | None = None,
    sources: Sequence[Any] | None = None,
    mode: str = "pandas",
    explode: bool = False,
    **arguments: Any,
) -> Callable[[Callable[..., Any]], OnDemandFeatureView]:
    """Decorate a function to make an on-demand feature view of it.

    Args:
        name: of the view; that of the function when left out.
        schema: the features that come out.
        sources: what it computes from.
        mode: ``pandas``, ``python`` or ``polars``.
        explode: accepted for compatibility.
        arguments: the others of ``OnDemandFeatureView``.
    """

    def decorate(function: Callable[..., Any]) -> OnDemandFeatureView:
        arguments.setdefault("description", inspect.getdoc(function) or "")
        return OnDemandFeatureView(
            name=name or function.__name__, schema=schema, sources=sources, mode=mode, udf=function, **arguments
        )

    return decorate


def asks_for_now(function: Callable[..., Any]) -> bool:
    """Whether a function takes the time of each row as its second argument."""
    return parameters(function)[1:] == (NOW,)


def _use(source: BaseFeatureView | ViewUse) -> ViewUse:
    return source if isinstance(source, ViewUse) else ViewUse(source.name, source.projection)


def _source_name(source: Any) -> str:
    return str(source.name) if isinstance(source, RequestSource) else _use(source).name


def _source_spec(source: Any) -> dict[str, Any]:
    if isinstance(source, RequestSource):
        return {"request": source.name}
    use = _use(source)
    return {"view": use.view, **use.projection.to_spec()}


#: Plain arguments and their defaults; only what differs is written to the registry.
_OPTIONS: dict[str, Any] = {
    "singleton": False,
    "write_to_online_store": False,
    "track_metrics": False,
    "org": "",
    "version": LATEST,
    "enabled": True,
}
