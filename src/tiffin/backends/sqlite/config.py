"""Options of the SQLite online store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SqliteOptions:
    """The ``online_store`` section for the type ``sqlite``.

    Attributes:
        path: the file, relative to the feature repository.
        busy_timeout_seconds: how long a write waits for another process before it fails.
        vector_enabled: kept for compatibility.
        text_search_enabled: kept for compatibility.
    """

    path: str = "data/online_store.db"
    busy_timeout_seconds: float = 30.0
    vector_enabled: bool = False
    text_search_enabled: bool = False
