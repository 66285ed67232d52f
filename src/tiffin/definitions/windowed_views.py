"""Views under the names that say where their facts come from: in files, or over a stream. Feast tells them apart.

Tiffin does not: a view with a source and aggregations is the same whatever it is called. They keep their own defaults
and their further arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tiffin.definitions.base import Definition
from tiffin.definitions.entity import Entity
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.label_view import LabelView
from tiffin.definitions.sources import DataSource, StreamSource


@dataclass(frozen=True, kw_only=True)
class BatchFeatureView(FeatureView):
    """A feature view over a source of files or tables; not served unless ``online=True``.

    Args:
        batch_engine: accepted for compatibility.
        udf, udf_string, feature_transformation: transformations, which are not supported yet.
    """

    mode: str | None = "python"
    ttl: timedelta | None = None
    online: bool = False
    batch_engine: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    udf: Any = field(default=None, compare=False, repr=False)
    udf_string: str | None = field(default="", compare=False, repr=False)
    feature_transformation: Any = field(default=None, compare=False, repr=False)

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        for argument in ("udf", "feature_transformation"):
            self.refuse(argument, getattr(self, argument))

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return super().to_spec() | {"class": "BatchFeatureView", "online": self.online}


@dataclass(frozen=True, kw_only=True)
class StreamFeatureView(FeatureView):
    """A feature view over a source that facts are pushed to, or that is read from a message broker.

    Args:
        timestamp_field: the column of event times, where the source does not say it.
        stream_engine, enable_tiling, tiling_hop_size: accepted for compatibility; tiles are chosen from the windows.
        udf, udf_string, feature_transformation: transformations, which are not supported yet.
    """

    mode: str | None = "python"
    timestamp_field: str | None = field(default="", compare=False, repr=False)
    stream_engine: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    enable_tiling: bool = field(default=False, compare=False, repr=False)
    tiling_hop_size: timedelta | None = field(default=None, compare=False, repr=False)
    udf: Any = field(default=None, compare=False, repr=False)
    udf_string: str | None = field(default="", compare=False, repr=False)
    feature_transformation: Any = field(default=None, compare=False, repr=False)

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        for argument in ("udf", "feature_transformation"):
            self.refuse(argument, getattr(self, argument))
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
