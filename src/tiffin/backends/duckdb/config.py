"""Options of the embedded offline engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tiffin.errors import ConfigError, nearest


@dataclass(frozen=True)
class DuckDBOptions:
    """The ``offline_store`` section for the types ``duckdb``, ``file`` and ``dask``.

    Attributes:
        memory_limit: how much memory DuckDB may use before it spills to disk, such as ``2GB``; 80 % of the machine's
            when left out.
        threads: how many threads it may use; all cores when left out.
        temp_directory: where it spills to.
        path: where offline data that tiffin writes itself goes; kept for compatibility.
        staging_location, staging_location_endpoint_override: kept for compatibility.
    """

    memory_limit: str = ""
    threads: int = 0
    temp_directory: str = ""
    path: str = ""
    staging_location: str = ""
    staging_location_endpoint_override: str = ""

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> DuckDBOptions:
        """Check the options of the section.

        Raises:
            ConfigError: an option is unknown or has a value of the wrong type.
        """
        known = {f.name: f for f in fields(cls)}
        for name, value in options.items():
            if name not in known:
                raise ConfigError(f"offline_store has no option {name!r}", hint=nearest(name, known))
            wanted: type = int if name == "threads" else str
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise ConfigError(f"offline_store.{name} is {value!r}, where {wanted.__name__} is expected")
        return cls(**dict(options))  # type: ignore[arg-type]

    def duckdb_settings(self) -> dict[str, Any]:
        """The settings to connect with."""
        settings: dict[str, Any] = {}
        if self.memory_limit:
            settings["memory_limit"] = self.memory_limit
        if self.threads:
            settings["threads"] = self.threads
        if self.temp_directory:
            settings["temp_directory"] = os.path.expanduser(self.temp_directory)
        return settings
