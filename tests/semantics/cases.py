"""The shapes of the hand-written tables, and short ways to write the facts in them.

`tables.py`, `tables_requests.py` and `tables_online.py` hold the tables. A runner for a real engine or store reads the
same records: types are named as `str(pyarrow.DataType)` prints them; times are a `datetime`, a text, or an int in the
unit of its column, microseconds for facts. A case that a system cannot express, such as a tombstone in a parquet file,
shows in its facts (`payload is None`, `offset`, `valid_to`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiffin.errors import TiffinError
from tiffin.semantics.oracle import Fact, Key, Mode, Row, Status, View
from tiffin.semantics.oracle_requests import Frame, Join, Report

UTC_US = "timestamp[us, tz=UTC]"


def fact(
    key: Key,
    event: int,
    known: int | None = None,
    *,
    offset: int = 0,
    encoded: bytes = b"",
    valid_to: int | None = None,
    **payload: object,
) -> Fact:
    """A fact; its fields are the other keyword arguments."""
    return Fact(key, event, event if known is None else known, payload, offset, encoded, valid_to)


def tombstone(key: Key, event: int, known: int | None = None, *, offset: int = 0) -> Fact:
    """The fact that a key was deleted."""
    return Fact(key, event, event if known is None else known, None, offset)


def view(*facts: Fact, ttl: int | None = None, defaults: Row | None = None, name: str = "stats") -> View:
    """A view of a driver with one field `x`, which most tables need no more than."""
    return View(name, {"driver": "int64"}, {"x": "int64"}, facts, ttl, defaults or {})


def drivers(*rows: tuple[object, object]) -> Frame:
    """Entity rows `(driver, event_timestamp)`."""
    columns = {"driver": "int64", "event_timestamp": UTC_US}
    return Frame(columns, [{"driver": driver, "event_timestamp": t} for driver, t in rows])


def seen(matched: int = 0, expired: int = 0, missing: int = 0, *, ties: int = 0, known_later: int = 0) -> Report:
    """A report whose rows add up."""
    return Report(matched + expired + missing, matched, expired, missing, ties, known_later)


@dataclass(frozen=True)
class RetrievalCase:
    """A training set. `expected` holds the feature columns only: the entity columns come back as they went in (PIT-1).

    Attributes:
        rules: the numbers that the case proves.
        columns: the feature columns, in order.
        expected: one tuple per entity row.
        report: by name of join.
    """

    name: str
    rules: tuple[str, ...]
    frame: Frame
    joins: tuple[Join, ...]
    columns: tuple[str, ...]
    expected: tuple[tuple[object, ...], ...]
    report: Mapping[str, Report]
    mode: Mode = "known"
    request: tuple[str, ...] | None = None
    full_feature_names: bool = False


@dataclass(frozen=True)
class RefusalCase:
    """A request that is an error before anything runs; `says` are words of the message."""

    name: str
    rules: tuple[str, ...]
    frame: Frame
    joins: tuple[Join, ...]
    error: type[TiffinError]
    says: tuple[str, ...]
    full_feature_names: bool = False


@dataclass(frozen=True)
class SpineCase:
    """A retrieval without an entity frame: the rows that the facts make, with their features."""

    name: str
    rules: tuple[str, ...]
    joins: tuple[Join, ...]
    start: int
    end: int
    keys: tuple[Row, ...] | None
    columns: tuple[str, ...]
    expected: tuple[tuple[object, ...], ...]
    mode: Mode = "known"


@dataclass(frozen=True)
class Push:
    """Write facts at `now`; `counts` are (written, stale, refused)."""

    facts: tuple[Fact, ...]
    now: int
    counts: tuple[int, int, int]
    max_future_skew_us: int = 0


@dataclass(frozen=True)
class Delete:
    """Delete a key as of `event_ts`."""

    key: Key
    event_ts: int
    now: int


@dataclass(frozen=True)
class Load:
    """Materialize the facts of the view from `start` to `end`, at `now`."""

    start: int
    end: int
    now: int


@dataclass(frozen=True)
class Expect:
    """Read a key at `now`. Values and statuses are those of the fields, in the order of the view."""

    key: Key
    now: int
    values: tuple[object, ...]
    statuses: tuple[Status, ...]
    event_ts: int | None


@dataclass(frozen=True)
class OnlineCase:
    """A script for one view of an online store that is empty at first."""

    name: str
    rules: tuple[str, ...]
    view: View
    steps: tuple[Push | Delete | Load | Expect, ...]


@dataclass(frozen=True)
class ServeCase:
    """An online request over several views; every fact of the views has been written, in the order given."""

    name: str
    rules: tuple[str, ...]
    frame: Frame
    joins: tuple[Join, ...]
    now: int
    columns: tuple[str, ...]
    expected: tuple[tuple[object, ...], ...]
    statuses: tuple[tuple[Status, ...], ...]
    event_ts: tuple[tuple[int | None, ...], ...]
    request: tuple[str, ...] | None = None
    full_feature_names: bool = False


@dataclass(frozen=True)
class KeyCase:
    """A value given for a join key, and the value that it is, or `refused`."""

    name: str
    rules: tuple[str, ...]
    value: object
    key_type: str
    expected: object = None
    refused: bool = field(default=False, kw_only=True)
