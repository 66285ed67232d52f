"""The reference for whole requests: a training set, its spine, and an online answer, one cell of `oracle` at a time.

Its invariant is that of `oracle`: plain enough to be checked by eye, and independent of the code that it judges. Types
are named as `str(pyarrow.DataType)` prints them: `int64`, `string`, `timestamp[us, tz=UTC]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tiffin.errors import InputError, NameCollisionError, RequestError, TypeMismatchError
from tiffin.semantics.oracle import Cell, Key, Mode, OnlineState, Row, Status, View, offline_cell

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# --- Requests and their columns --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Join:
    """A view as a request uses it: under a name and a mapping of join keys of its own (PIT-11).

    Attributes:
        alias: the name given by `with_name`; the view's own by default.
        key_map: join key -> column of the entity rows, for those that differ.
    """

    view: View
    alias: str | None = None
    key_map: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name by which features of this join are asked for."""
        return self.alias or self.view.name

    def key_columns(self) -> dict[str, str]:
        """Column of the entity rows -> type of the join key, in the order of the view's keys."""
        return {self.key_map.get(key, key): key_type for key, key_type in self.view.keys.items()}

    def key_of(self, row: Row, number: int) -> Key:
        """The key that an entity row asks for, as facts carry it."""
        where = f"row {number}"
        return tuple(key_value(row[column], kind, f"{where}, {column}") for column, kind in self.key_columns().items())


@dataclass(frozen=True)
class Frame:
    """Entity rows. `columns` gives the types, so that an empty frame has them too (PIT-10)."""

    columns: Mapping[str, str]
    rows: Sequence[Row] = ()


@dataclass(frozen=True)
class Asked:
    """One feature of a request and the name of its output column."""

    join: Join
    feature: str
    column: str


def plan_columns(
    entity_columns: Iterable[str], joins: Sequence[Join], request: Sequence[str] | None, full_feature_names: bool
) -> list[Asked]:
    """The output columns after those of the entity rows, as asked (ONL-1); names may not repeat (PIT-9).

    Args:
        entity_columns: the columns that come first and are in the way of no feature.
        joins: the views of the request.
        request: `name:feature` in the order asked; None for all features of all joins.
        full_feature_names: name the columns `name__feature`.

    Raises:
        NameCollisionError: two columns would have one name, or two joins have.
        RequestError: the request names a join or a feature that there is not.
    """
    by_name: dict[str, Join] = {}
    for join in joins:
        if join.name in by_name:
            raise NameCollisionError(f"two views are called {join.name!r}", hint="give one another name by with_name")
        by_name[join.name] = join
    if request is None:
        request = [f"{join.name}:{feature}" for join in joins for feature in join.view.fields]
    owners = {column: f"entity column {column!r}" for column in entity_columns}
    asked = []
    for reference in request:
        name, _, feature = reference.partition(":")
        if name not in by_name or feature not in by_name[name].view.fields:
            raise RequestError(f"there is no feature {reference!r}")
        column = f"{name}__{feature}" if full_feature_names else feature
        if column in owners:
            raise NameCollisionError(
                f"{owners[column]} and feature {reference!r} would both be column {column!r}",
                hint="ask with full_feature_names=True, or rename one of them",
            )
        owners[column] = f"feature {reference!r}"
        asked.append(Asked(by_name[name], feature, column))
    return asked


# --- Keys and times of the entity rows -------------------------------------------------------------------------------


def key_value(value: object, key_type: str, where: str) -> object:
    """TYP-3: the one form in which facts and entity rows carry a value of a join key.

    Raises:
        TypeMismatchError: the value is not one of the key's type.
    """
    if value is None:
        return None
    if key_type in ("int32", "int64"):
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str) and _is_int_text(value):
            number = int(value)
        else:
            raise TypeMismatchError(f"{where}: {value!r} is not an {key_type}")
        bits = 31 if key_type == "int32" else 63
        if not -(2**bits) <= number < 2**bits:
            raise TypeMismatchError(f"{where}: {value!r} does not fit an {key_type}")
        return number
    if key_type == "string" and not isinstance(value, str):
        raise TypeMismatchError(f"{where}: {value!r} is not a string")
    return value


def _is_int_text(text: str) -> bool:
    try:
        return str(int(text)) == text
    except ValueError:
        return False


def time_column(columns: Mapping[str, str]) -> str:
    """PIT-6: the column that says when each entity row is.

    Raises:
        InputError: there is none, or more than one could be meant.
    """
    if "event_timestamp" in columns:
        return "event_timestamp"
    candidates = [column for column, kind in columns.items() if kind.startswith("timestamp")]
    if len(candidates) != 1:
        listed = ", ".join(candidates) or "none"
        raise InputError(f"no single timestamp column; candidates: {listed}", hint="name it event_timestamp")
    return candidates[0]


def time_us(value: object, column_type: str, where: str) -> int:
    """PIT-7: an entity time as microseconds UTC. An int counts in the unit of its column; nanoseconds are floored.

    Raises:
        InputError: the time is null or cannot be read.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise InputError(f"{where}: {value!r} is not an ISO 8601 time") from error
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (aware - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, int):
        return value // 1000 if column_type.startswith("timestamp[ns") else value
    raise InputError(f"{where}: {value!r} is not a time")


# --- Offline: training sets ------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What happened to the cells of one view; `rows = matched + expired + missing`."""

    rows: int = 0
    matched: int = 0
    expired: int = 0
    missing: int = 0
    ties: int = 0
    known_later: int = 0

    def count(self, cell: Cell) -> None:
        """Add one cell."""
        self.rows += 1
        self.matched += cell.outcome == "matched"
        self.expired += cell.outcome == "expired"
        self.missing += cell.outcome == "missing"
        self.ties += cell.tied
        self.known_later += cell.known_later


@dataclass(frozen=True)
class TrainingSet:
    """The answer of a retrieval: column -> type, one dict per row, and a report per join."""

    columns: Mapping[str, str]
    rows: Sequence[Row]
    report: Mapping[str, Report]


def retrieve(
    frame: Frame,
    joins: Sequence[Join],
    *,
    mode: Mode = "known",
    request: Sequence[str] | None = None,
    full_feature_names: bool = False,
) -> TrainingSet:
    """The features of each entity row at its time: rules PIT-1 to PIT-11 and PIT-13.

    Raises:
        InputError: a time cannot be read (PIT-6, PIT-7), or a key has the wrong type (TYP-3).
        NameCollisionError: two columns would have one name (PIT-9).
    """
    clock = time_column(frame.columns)
    asked = plan_columns(frame.columns, joins, request, full_feature_names)
    used = [join for join in joins if any(one.join is join for one in asked)]
    report = {join.name: Report() for join in used}
    rows = []
    for number, entity_row in enumerate(frame.rows):
        t = time_us(entity_row[clock], frame.columns[clock], f"row {number}, {clock}")
        found = {}
        for join in used:
            key = join.key_of(entity_row, number)
            cell = offline_cell(join.view.facts, key, t, mode, join.view.limit_us())
            report[join.name].count(cell)
            found[join.name] = join.view.values(cell.fact)
        features = {one.column: found[one.join.name][one.feature] for one in asked}
        rows.append({**entity_row, **features})
    types = {one.column: one.join.view.fields[one.feature] for one in asked}
    return TrainingSet({**frame.columns, **types}, rows, report)


def spine(joins: Sequence[Join], start: int, end: int, keys: Sequence[Row] | None = None) -> Frame:
    """PIT-12: the entity rows that the facts themselves make, when there is no entity frame.

    Args:
        joins: the views of the request.
        start: the first event time that counts.
        end: the last event time that counts.
        keys: column -> value; a row stays if it agrees with one of them in all its columns, null with nothing. None
            keeps all.
    """
    columns: dict[str, str] = {}
    for join in joins:
        columns.update(join.key_columns())
    rows: list[dict[str, object]] = []
    for join in joins:
        for fact in join.view.facts:
            row = {**dict.fromkeys(columns), **dict(zip(join.key_columns(), fact.key, strict=True))}
            row["event_timestamp"] = fact.event_ts
            inside = start <= fact.event_ts <= end and None not in fact.key
            wanted = keys is None or any(all(v is not None and row[c] == v for c, v in one.items()) for one in keys)
            if inside and wanted and row not in rows:
                rows.append(row)
    by_time_then_key = ["event_timestamp", *columns]
    rows.sort(key=lambda row: [(row[column] is None, row[column]) for column in by_time_then_key])
    return Frame({**columns, "event_timestamp": "timestamp[us, tz=UTC]"}, rows)


# --- Online: answers at now ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """The answer of an online request: the columns in order, and per row the values, statuses and event times."""

    columns: Sequence[str]
    rows: Sequence[Row]
    statuses: Sequence[Mapping[str, Status]]
    event_ts: Sequence[Mapping[str, int | None]]


def serve(
    frame: Frame,
    joins: Sequence[Join],
    stores: Mapping[str, OnlineState],
    now: int,
    *,
    request: Sequence[str] | None = None,
    full_feature_names: bool = False,
) -> Served:
    """The features of each entity row at `now`, each row by itself (ONL-1). `stores`: name of a view -> its store."""
    asked = plan_columns(frame.columns, joins, request, full_feature_names)
    rows, statuses, event_ts = [], [], []
    for number, entity_row in enumerate(frame.rows):
        answers = {}
        for join in joins:
            answers[join.name] = stores[join.view.name].read(join.key_of(entity_row, number), now)
        rows.append({**entity_row, **{one.column: answers[one.join.name].values[one.feature] for one in asked}})
        statuses.append({one.column: answers[one.join.name].statuses[one.feature] for one in asked})
        event_ts.append({one.column: answers[one.join.name].event_ts for one in asked})
    return Served([*frame.columns, *(one.column for one in asked)], rows, statuses, event_ts)
