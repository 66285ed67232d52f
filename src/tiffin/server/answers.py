"""The bodies of answers, as ``/openapi.json`` describes them. Tests hold what routes really answer to these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from tiffin.contracts.registry import MaterializationRun
from tiffin.server.bodies import Columns, Rows

Status = Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]
Fallback = Literal["stale", "default"]
FeastError = Annotated[str, msgspec.Meta(description="JSON with module, class and message")]


class Features(msgspec.Struct, forbid_unknown_fields=True):
    """Features as asked: ``rows`` or ``columns``; statuses and event times, laid out alike, with ``details``."""

    definitions_version: int
    rows: Rows | UnsetType = UNSET
    columns: Columns | UnsetType = UNSET
    statuses: list[dict[str, Status]] | dict[str, list[Status]] | UnsetType = UNSET
    event_timestamps: list[dict[str, datetime | None]] | dict[str, list[datetime | None]] | UnsetType = UNSET
    explain: dict[str, Any] | UnsetType = UNSET
    fallback: Fallback | UnsetType = UNSET


class Counts(msgspec.Struct, forbid_unknown_fields=True):
    """What became of the facts of one view."""

    written: int
    stale: int
    late: int
    capped: int
    quarantined: int


class Pushed(msgspec.Struct, forbid_unknown_fields=True):
    """What became of facts that were pushed; ``refused`` has the numbers of rows that are too far ahead of now."""

    views: dict[str, Counts]
    appended: int
    refused: list[int]


class Written(Counts, forbid_unknown_fields=True):
    """What became of facts of one view."""

    refused: list[int]


class Loaded(msgspec.Struct, forbid_unknown_fields=True):
    """What was loaded, which expectations its facts did not meet, and how many of them were put apart; ``capped`` are
    keys that came to have more facts than are kept one by one.
    """

    runs: list[MaterializationRun]
    unmet: list[dict[str, Any]]
    quarantined: int
    capped: int


class Definitions(msgspec.Struct):
    """The definitions that who asks may see; below the plural of their kind, such as ``feature_views``."""

    project: str
    definitions_version: int


class Error(msgspec.Struct, forbid_unknown_fields=True):
    """What is wrong, on what, and what to do about it."""

    code: str
    message: str
    retryable: bool
    request_id: str
    subject: str | UnsetType = UNSET
    hint: str | UnsetType = UNSET


class FeastMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """The names of the columns, keys first."""

    feature_names: list[str]
    fallback: Fallback | UnsetType = UNSET


class FeastColumn(msgspec.Struct, forbid_unknown_fields=True):
    """The values of one column, one per entity."""

    values: list[Any]
    statuses: list[Status]
    event_timestamps: list[datetime]


class FeastFeatures(msgspec.Struct, forbid_unknown_fields=True):
    """Features by column, as Feast's server gives them."""

    metadata: FeastMetadata
    results: list[FeastColumn]


class FeastAccepted(msgspec.Struct, forbid_unknown_fields=True):
    """A load goes on in the background."""

    status: Literal["accepted"]
    feature_views: list[str]


class FeastUnderWay(msgspec.Struct, forbid_unknown_fields=True):
    """Another load is under way."""

    error: str
    feature_views: list[str]


class Health(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the process answers, or why not in full."""

    status: Literal["alive", "unavailable"]


class Readiness(msgspec.Struct, forbid_unknown_fields=True):
    """Whether requests should come here; ``problems`` says why not, ``registry`` that definitions may be old."""

    status: Literal["ready", "unavailable"]
    problems: list[str]
    version: str
    definitions_version: int
    registry: str | UnsetType = UNSET
