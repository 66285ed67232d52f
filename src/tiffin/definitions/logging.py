"""What is to be kept of the values that a feature service serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiffin.errors import DefinitionError, UnsupportedError


@dataclass(frozen=True, kw_only=True)
class FileLoggingDestination:
    """A folder of Parquet files.

    Attributes:
        path: relative to the feature repository, absolute, or ``file://``.
        s3_endpoint_override, partition_by: kept for older repositories; no effect.
    """

    path: str
    s3_endpoint_override: str = ""
    partition_by: Sequence[str] | None = None

    @property
    def folder(self) -> str:
        """The folder as a path on this machine.

        Raises:
            UnsupportedError: it lies elsewhere.
        """
        scheme, colon, rest = self.path.partition("://")
        if colon and scheme != "file":
            raise UnsupportedError(
                f"served features are kept in folders, not at {scheme}://",
                subject="logging_config",
                hint="log to a folder and copy it from there, or mount the bucket",
            )
        return rest if colon else self.path


@dataclass(frozen=True)
class LoggingConfig:
    """That served values are to be kept. The feature server does it; a program does by ``write_logged_features``.

    Attributes:
        destination: where.
        sample_rate: the share of the requests, above 0 and up to 1.
    """

    destination: FileLoggingDestination
    sample_rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sample_rate <= 1:
            raise DefinitionError(f"sample_rate is {self.sample_rate}", hint="pass a share above 0 and up to 1")

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec: dict[str, Any] = {"path": self.destination.path, "sample_rate": self.sample_rate}
        if self.destination.s3_endpoint_override:
            spec["s3_endpoint_override"] = self.destination.s3_endpoint_override
        if self.destination.partition_by:
            spec["partition_by"] = list(self.destination.partition_by)
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> LoggingConfig:
        """Build it again from ``to_spec``'s data."""
        plain = dict(spec)
        sample_rate = plain.pop("sample_rate")
        return cls(FileLoggingDestination(**plain), sample_rate)
