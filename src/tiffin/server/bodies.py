"""The bodies of requests. What a route takes is decoded into one of these, and described by it in ``/openapi.json``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Columns = dict[str, list[Any]]
Rows = list[dict[str, Any]]


class FeastRead(msgspec.Struct):
    """Feast's request for features; ``entities`` has a list for each key and each value that functions compute from."""

    entities: Columns
    features: list[str] | None = None
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class FeastPush(msgspec.Struct):
    """Facts for every view of a push source, by column."""

    push_source_name: str
    df: Columns
    allow_registry_cache: bool = True
    to: Literal["online", "offline", "online_and_offline"] = "online"
    transform_on_write: bool = True


class FeastWrite(msgspec.Struct):
    """Facts of one view, by column."""

    feature_view_name: str
    df: Columns
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class FeastMaterialize(msgspec.Struct):
    """A range of event times that is to be loaded."""

    start_ts: str | None = None
    end_ts: str | None = None
    feature_views: list[str] | None = None
    disable_event_timestamp: bool = False
    full_feature_names: bool = False
    version: str | None = None


class FeastIncremental(msgspec.Struct):
    """Up to which event time is to be loaded."""

    end_ts: str
    feature_views: list[str] | None = None
    full_feature_names: bool = False
    version: str | None = None


class Read(msgspec.Struct, forbid_unknown_fields=True):
    """Which features of which entities. One of ``features`` and ``service``, and one of ``rows`` and ``columns``."""

    features: list[str] | None = None
    service: str | None = None
    rows: Rows | None = None
    columns: Columns | None = None
    full_feature_names: bool = False
    layout: Literal["rows", "columns"] = "rows"
    details: bool = False
    explain: bool = False


class Push(msgspec.Struct, forbid_unknown_fields=True):
    """Facts for every view of a push source; one of ``rows`` and ``columns``."""

    source: str
    rows: Rows | None = None
    columns: Columns | None = None
    to: Literal["online", "offline", "online_and_offline"] = "online"


class Write(msgspec.Struct, forbid_unknown_fields=True):
    """Facts of one view; one of ``rows`` and ``columns``."""

    view: str
    rows: Rows | None = None
    columns: Columns | None = None


class Materialize(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be loaded: a range of event times, or without ``start`` what came since the last time."""

    end: str
    start: str | None = None
    views: list[str] | None = None
