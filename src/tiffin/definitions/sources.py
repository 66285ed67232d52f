"""Data sources: where facts come from. A source is a description; nothing is opened here."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.definitions.field import Field, check_fields

_FORMATS = ("parquet", "csv")


class PushMode(enum.Enum):
    """Where pushed facts go."""

    ONLINE = 1
    OFFLINE = 2
    ONLINE_AND_OFFLINE = 3


@dataclass(frozen=True)
class ParquetFormat:
    """Files in Parquet, one or many."""

    name: ClassVar[str] = "parquet"


@dataclass(frozen=True)
class CsvFormat:
    """Files of comma-separated values with a header line."""

    name: ClassVar[str] = "csv"


@dataclass(frozen=True, kw_only=True)
class DataSource(Definition):
    """Where facts come from.

    Args:
        timestamp_field: the column of event times; found at ``apply`` when there is exactly one time column.
        created_timestamp_column: the column that says when a fact became known; breaks ties (PIT-4).
        field_mapping: source column to feature name.
        date_partition_column: a column that partitions the files by date; kept, not interpreted.
    """

    kind: ClassVar[str] = "data source"

    timestamp_field: str | None = ""
    created_timestamp_column: str | None = ""
    field_mapping: Mapping[str, str] | None = field(default_factory=dict)
    date_partition_column: str | None = ""

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        for argument in ("timestamp_field", "created_timestamp_column", "date_partition_column"):
            self._set(argument, getattr(self, argument) or "")
            self.check_type(argument, getattr(self, argument), str)
        self._set("field_mapping", self._string_map("field_mapping", self.field_mapping))
        if self.timestamp_field and self.timestamp_field == self.created_timestamp_column:
            hint = "leave created_timestamp_column out when facts are known at their event time"
            raise self.error(
                f"{self.subject}: timestamp_field and created_timestamp_column are both {self.timestamp_field!r}",
                hint=hint,
            )
        targets = list(self.mapping.values())
        for target in targets:
            if targets.count(target) > 1:
                raise self.error(f"{self.subject}: field_mapping gives two columns the name {target!r}")

    @property
    def mapping(self) -> Mapping[str, str]:
        """Source column to feature name; never ``None``."""
        return self.field_mapping or {}

    def source_column(self, feature: str) -> str:
        """The column of the source that a feature or key is read from."""
        for column, name in self.mapping.items():
            if name == feature:
                return column
        return feature

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; ``type`` names the class."""
        spec = self._common_spec() | {"type": type(self).__name__}
        for argument in ("timestamp_field", "created_timestamp_column", "date_partition_column"):
            if getattr(self, argument):
                spec[argument] = getattr(self, argument)
        if self.mapping:
            spec["field_mapping"] = dict(self.mapping)
        return spec


@dataclass(frozen=True, kw_only=True)
class FileSource(DataSource):
    """Facts in files: one Parquet or CSV file, a folder of them, or a glob.

    Args:
        path: relative to the feature repository, absolute, or ``file://``.
        name: the path when left out.
        event_timestamp_column: the older name of ``timestamp_field``.
        file_format: found from the ending when left out; a folder is Parquet unless it says otherwise.
        s3_endpoint_override: kept for S3 paths.

    >>> FileSource(path="data/stats.parquet", timestamp_field="event_timestamp").name
    'data/stats.parquet'
    """

    name: str = ""
    path: str
    event_timestamp_column: str | None = field(default="", repr=False, compare=False)
    file_format: ParquetFormat | CsvFormat | None = None
    s3_endpoint_override: str | None = None
    connection_ref: Any = field(default=None, repr=False)

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        self._set("path", str(self.path) if self.path is not None else "")
        self._set("name", self.name or self.path)
        if self.event_timestamp_column and not self.timestamp_field:
            self._set("timestamp_field", self.event_timestamp_column)
        self._set("event_timestamp_column", "")
        super().__post_init__()
        self.refuse("connection_ref", self.connection_ref)
        if not self.path:
            raise self.error(f"{self.subject} has no path")
        if self.file_format is not None and getattr(self.file_format, "name", None) not in _FORMATS:
            raise self.error(
                f"{self.subject}: file_format {self.file_format!r} is not supported",
                hint=f"use {' or '.join(f'{f.title()}Format()' for f in _FORMATS)}",
            )

    @property
    def format_name(self) -> str:
        """``parquet`` or ``csv``: as declared, else from the ending of the path."""
        if self.file_format is not None:
            return self.file_format.name
        return "csv" if self.path.lower().endswith((".csv", ".csv.gz", ".tsv")) else "parquet"

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = super().to_spec() | {"path": self.path}
        if self.file_format is not None:
            spec["file_format"] = self.file_format.name
        if self.s3_endpoint_override:
            spec["s3_endpoint_override"] = self.s3_endpoint_override
        return spec


@dataclass(frozen=True, kw_only=True)
class StreamSource(DataSource):
    """Facts that come one by one, with a batch source that holds their history.

    Args:
        batch_source: where the history is read from for training; without it, the view has no offline values.
    """

    #: The short name of the backend that reads its messages; empty where facts are only pushed.
    broker: ClassVar[str] = ""

    batch_source: DataSource | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_source is not None:
            self.check_type("batch_source", self.batch_source, DataSource)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; the batch source is named."""
        spec = super().to_spec()
        if self.batch_source is not None:
            spec["batch_source"] = self.batch_source.name
        return spec


@dataclass(frozen=True, kw_only=True)
class PushSource(StreamSource):
    """Facts that are pushed by a program."""

    __hash__ = Definition.__hash__


@dataclass(frozen=True, kw_only=True)
class RequestSource(DataSource):
    """Values that come with a request, such as the amount of the payment that is being scored.

    Args:
        schema: the columns that a request must carry.
    """

    schema: Sequence[Field]

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("schema", check_fields(self, "schema", self.schema))
        if not self.schema:
            raise self.error(f"{self.subject} has no fields")

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        return super().to_spec() | {"schema": [item.to_spec() for item in self.schema]}
