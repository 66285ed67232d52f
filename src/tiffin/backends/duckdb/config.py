"""Options of the embedded offline engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DuckDBOptions:
    """The ``offline_store`` section for the types ``duckdb``, ``file`` and ``dask``.

    Attributes:
        memory_limit: how much memory DuckDB may use before it spills to disk, such as ``2GB``; 80 % of the machine's
            when left out.
        threads: how many threads it may use; all cores when left out.
        temp_directory: where it spills to.
        path: where offline data that tiffin writes itself goes; kept for compatibility.
        staging_location: kept for compatibility.
        staging_location_endpoint_override: kept for compatibility.
    """

    memory_limit: str = ""
    threads: int = 0
    temp_directory: str = ""
    path: str = ""
    staging_location: str = ""
    staging_location_endpoint_override: str = ""

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
