"""Saved datasets: training sets that were written to a file, and what they were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tiffin.compat.gaps import DATASET
from tiffin.definitions.base import Definition
from tiffin.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tiffin.definitions.validation import GEProfiler, TableProfiler, ValidationReference


class Readable(Protocol):
    """Whatever gives a table."""

    def to_arrow(self) -> pa.Table:
        """The table."""

    def to_df(self) -> pd.DataFrame:
        """The table as a pandas frame."""


@dataclass(frozen=True)
class SavedDatasetFileStorage:
    """A Parquet file.

    Attributes:
        path: relative to the feature repository, or absolute.
        file_format, s3_endpoint_override: as in Feast.
    """

    path: str
    file_format: Any = None
    s3_endpoint_override: str | None = None


@dataclass(frozen=True, kw_only=True)
class SavedDataset(Definition):
    """A training set in a file, with enough of its origin to make it again and compare.

    Attributes:
        features: its features, as they were asked for.
        join_keys: the key columns of its rows.
        storage: where it is.
        full_feature_names: whether its columns are called ``view__feature``.
        feature_service_name: the service that was asked for; empty for a list of features.
        definitions_version: the version of the definitions that it was made with.
        sources: per source its parts, and what identified the content of each.
        rows: how many rows it has.
        min_event_us, max_event_us: the first and the last time of its rows; ``None`` without rows.
    """

    kind: ClassVar[str] = "saved dataset"
    _gaps: ClassVar[Mapping[str, str]] = DATASET

    features: Sequence[str]
    join_keys: Sequence[str]
    storage: SavedDatasetFileStorage
    full_feature_names: bool = False
    feature_service_name: str = ""
    definitions_version: int = 0
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rows: int = 0
    min_event_us: int | None = None
    max_event_us: int | None = None
    reader: Readable | None = field(default=None, compare=False, repr=False)

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("features", tuple(self.features))
        self._set("join_keys", tuple(self.join_keys))

    def with_retrieval_job(self, retrieval_job: Readable) -> SavedDataset:
        """The same dataset, read by the given job."""
        return replace(self, reader=retrieval_job)

    def to_arrow(self) -> pa.Table:
        """The rows, as an Arrow table."""
        return self._reader.to_arrow()

    def to_df(self) -> pd.DataFrame:
        """The rows, as a pandas frame."""
        return self._reader.to_df()

    def as_reference(self, name: str, profiler: TableProfiler | GEProfiler | None = None) -> ValidationReference:
        """The dataset as what later training sets have to be like.

        Args:
            name: of the reference.
            profiler: how much may differ, or a function that says what to expect.
        """
        from tiffin.definitions.validation import ValidationReference

        return ValidationReference.from_saved_dataset(name, self, profiler)

    @property
    def _reader(self) -> Readable:
        if self.reader is None:
            hint = "get it by store.get_saved_dataset(name)"
            raise RequestError(f"{self.subject} does not know where its repository is", hint=hint)
        return self.reader

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return self._common_spec() | {
            "features": list(self.features),
            "join_keys": list(self.join_keys),
            "path": self.storage.path,
            "full_feature_names": self.full_feature_names,
            "feature_service_name": self.feature_service_name,
            "definitions_version": self.definitions_version,
            "fingerprints": {source: dict(parts) for source, parts in self.sources.items()},
            "rows": self.rows,
            "min_event_us": self.min_event_us,
            "max_event_us": self.max_event_us,
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> SavedDataset:
        """Build it again from ``to_spec``'s data."""
        plain = dict(spec)
        storage = SavedDatasetFileStorage(plain.pop("path"))
        return cls(storage=storage, sources=plain.pop("fingerprints"), **plain)
