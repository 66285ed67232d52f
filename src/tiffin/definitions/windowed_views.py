"""Views under the names that say where their facts come from: in files, or over a stream. Feast tells them apart.

Tiffin does not: a view with a source, a function and aggregations is the same whatever it is called. They keep their
own defaults and their further arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tiffin.definitions.base import Definition
from tiffin.definitions.entity import Entity
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.field import Field
from tiffin.definitions.label_view import LabelView
from tiffin.definitions.sources import DataSource, StreamSource
from tiffin.definitions.transformed_view import TransformedFeatureView


@dataclass(frozen=True, kw_only=True)
class BatchFeatureView(TransformedFeatureView):
    """A feature view over a source of files or tables; not served unless ``online=True``.

    Args:
        batch_engine: accepted for compatibility.
        mode, udf, udf_string, feature_transformation, singleton, input_schema: a function that the rows go through
            before they are kept or aggregated.
    """

    ttl: timedelta | None = None
    online: bool = False
    batch_engine: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    __hash__ = Definition.__hash__

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return super().to_spec() | {"class": "BatchFeatureView", "online": self.online}


@dataclass(frozen=True, kw_only=True)
class StreamFeatureView(TransformedFeatureView):
    """A feature view over a source that facts are pushed to, or that is read from a message broker.

    Args:
        timestamp_field: the column of event times, where the source does not say it.
        stream_engine, enable_tiling, tiling_hop_size: accepted for compatibility; tiles are chosen from the windows.
        mode, udf, udf_string, feature_transformation, singleton, input_schema: a function that the rows go through
            before they are kept or aggregated.
    """

    timestamp_field: str | None = field(default="", compare=False, repr=False)
    stream_engine: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    enable_tiling: bool = field(default=False, compare=False, repr=False)
    tiling_hop_size: timedelta | None = field(default=None, compare=False, repr=False)

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.source, StreamSource):
            assert self.source is not None
            hint = "pass a PushSource or a KafkaSource, or declare a FeatureView"
            raise self.error(f"{self.subject} has {self.source.subject} as its source, which is no stream", hint=hint)
        declared = self.source.timestamp_field or getattr(self.source.batch_source, "timestamp_field", "")
        if self.timestamp_field and declared and self.timestamp_field != declared:
            hint = "declare it at the source"
            raise self.error(
                f"{self.subject}: timestamp_field is {self.timestamp_field!r}, that of the source is {declared!r}",
                hint=hint,
            )

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return super().to_spec() | {"class": "StreamFeatureView"}


def batch_feature_view(
    *,
    name: str | None = None,
    mode: str = "python",
    source: DataSource | None = None,
    entities: Sequence[Entity] | None = None,
    schema: Sequence[Field] | None = None,
    online: bool = True,
    offline: bool = True,
    **arguments: Any,
) -> Callable[[Callable[..., Any]], BatchFeatureView]:
    """Decorate a function to make a batch feature view of it, whose rows go through the function.

    Args:
        name: of the view; that of the function when left out.
        mode: the language of the function: ``python``, ``pandas``, ``polars`` or ``sql``.
        source: where the rows come from.
        entities: what the features describe.
        schema: the features that come out.
        online: whether ``materialize`` loads it.
        offline: whether pushed facts are also kept offline.
        arguments: the others of ``BatchFeatureView``.
    """

    def decorate(function: Callable[..., Any]) -> BatchFeatureView:
        arguments.setdefault("description", inspect.getdoc(function) or "")
        return BatchFeatureView(
            name=name or function.__name__,
            mode=mode,
            source=source,
            entities=entities,
            schema=schema,
            online=online,
            offline=offline,
            udf=function,
            **arguments,
        )

    return decorate


def stream_feature_view(
    *,
    name: str | None = None,
    mode: str | None = "spark",
    source: DataSource | None = None,
    entities: Sequence[Entity] | None = None,
    schema: Sequence[Field] | None = None,
    **arguments: Any,
) -> Callable[[Callable[..., Any]], StreamFeatureView]:
    """Decorate a function to make a stream feature view of it, whose rows go through the function.

    Args:
        name: of the view; that of the function when left out.
        mode: the language of the function: ``python``, ``pandas``, ``polars`` or ``sql``. It has to be said: the
            default is Feast's, which is refused.
        source: what the rows are pushed to.
        entities: what the features describe.
        schema: the features that come out.
        arguments: the others of ``StreamFeatureView``.
    """

    def decorate(function: Callable[..., Any]) -> StreamFeatureView:
        arguments.setdefault("description", inspect.getdoc(function) or "")
        return StreamFeatureView(
            name=name or function.__name__,
            mode=mode,
            source=source,
            entities=entities,
            schema=schema,
            udf=function,
            **arguments,
        )

    return decorate


def view_from_spec(
    spec: Mapping[str, Any], sources: Mapping[str, DataSource], entities: Mapping[str, Entity]
) -> FeatureView:
    """A feature view of whatever class from ``to_spec``'s data and the objects that it names."""
    plain = dict(spec)
    named = plain.pop("class", "")
    kinds: Mapping[str, type[FeatureView]] = {
        "BatchFeatureView": BatchFeatureView,
        "StreamFeatureView": StreamFeatureView,
    }
    kind = LabelView if "labeler_field" in plain else kinds.get(named, FeatureView)
    return kind.from_spec(plain, sources, entities)
