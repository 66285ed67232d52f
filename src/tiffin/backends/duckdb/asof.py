"""One view joined to entity rows: a narrow pass that finds the facts, a second one that fetches their features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from tiffin.backends.duckdb.relation import Relation, TimeColumn, first_line
from tiffin.backends.duckdb.slots import BoolArray, IndexArray, Int64Array, SlotFacts
from tiffin.backends.duckdb.spine import KeyedSpine
from tiffin.columns import arrow_column, map_of_struct, nullable_column, numpy_values, single_chunk, valid_mask
from tiffin.contracts.offline import JoinedView, ViewReport
from tiffin.errors import SourceError
from tiffin.online.rows import payload_bytes
from tiffin.planning.retrieval import FactColumns, FeatureColumn, KeyColumn, ViewJoin
from tiffin.time import MAX_US, MIN_US
from tiffin.types import Map, UnixTimestamp, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

#: Facts per batch of the narrow pass: large enough that numpy's calls are cheap, small enough for a few tens of MB.
_BATCH_ROWS = 1_000_000
#: Columns are spread over the entity rows by this many threads: the work waits for memory, two keep it busy. For fewer
#: rows than this, starting them takes longer than the work.
_COLUMN_THREADS, _FEW_ROWS = 2, 50_000


@dataclass(frozen=True)
class Facts:
    """The facts of a view on a connection: how to read their stamps, keys and features.

    Attributes:
        connection: a cursor of its own; names registered on it are seen by nobody else.
        relation: the source.
        columns: what the plan says about it.
        event, known: the time columns; ``known`` is ``None`` where it equals ``event``.
    """

    connection: duckdb.DuckDBPyConnection
    relation: Relation
    columns: FactColumns
    event: TimeColumn
    known: TimeColumn | None

    @classmethod
    def open(cls, connection: duckdb.DuckDBPyConnection, relation: Relation, columns: FactColumns) -> Facts:
        """Check that the time columns are there.

        Raises:
            SourceError: a column is missing or not a time, or an event time is null.
        """
        event = relation.time(columns.event_column, why="the timestamp_field")
        known = (
            relation.time(columns.known_column, why="the created_timestamp_column") if columns.known_column else None
        )
        return cls(connection, relation, columns, event, known)

    @property
    def known_us(self) -> str:
        """The known time as microseconds; a fact whose created time is null was known at its event time."""
        return self.event.us if self.known is None else f"coalesce({self.known.us}, {self.event.us})"

    def known_bound(self, operator: str, us: int) -> str:
        """A condition on the known time, on the columns as they are: several times faster than on microseconds."""
        if self.known is None:
            return self.event.bound(operator, us)
        unknown = f"{self.known.sql} IS NULL AND {self.event.bound(operator, us)}"
        return f"({self.known.bound(operator, us)} OR ({unknown}))"

    def key_match(self, keys: Sequence[KeyColumn], other: str) -> str:
        """The condition that a fact has the key of a row of ``other`` (``k0``, ``k1``, ...)."""
        matches = [f"{self.key(key)} = {other}.k{number}" for number, key in enumerate(keys)]
        return " AND ".join(matches) or "true"

    def key(self, key: KeyColumn) -> str:
        """A join key of a fact in the form that keys are compared in."""
        sql = self.relation.require(key.source_column, why=f"the join key of view {self.columns.view}")
        return key_expression(sql, self.relation.types[key.source_column], key)

    def feature(self, column: FeatureColumn) -> str:
        """A feature of a fact; times become microseconds in UTC."""
        why = f"feature {column.name!r} of view {self.columns.view}"
        if column.dtype is UnixTimestamp:
            return f"make_timestamptz({self.relation.time(column.source_column, why=why).us})"
        return self.relation.require(column.source_column, why=why)

    def read(self, sql: str) -> pa.Table:
        """The rows of a query."""
        with self.reading():
            return self.connection.sql(sql).to_arrow_table()

    def stream(self, sql: str, batch_rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows of a query in batches; nothing else may run on the connection meanwhile."""
        with self.reading():
            yield from self.connection.sql(sql).to_arrow_reader(batch_rows)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Wrap the vendor's errors once."""
        try:
            yield
        except (duckdb.Error, OSError) as error:
            raise SourceError(
                f"{self.relation.subject} cannot be read: {first_line(error)}",
                subject=self.relation.subject,
                location=self.relation.location,
                hint="the file may be corrupt, or hold a value that is no time or does not fit its type",
            ) from error


def key_expression(sql: str, type_name: str, key: KeyColumn) -> str:
    """A key column in the form that keys are compared in: BIGINT, VARCHAR, BLOB or microseconds."""
    wanted = {"Int32": "BIGINT", "Int64": "BIGINT", "Bytes": "BLOB", "Bool": "BOOLEAN"}.get(repr(key.dtype), "VARCHAR")
    if key.dtype is UnixTimestamp:
        return TimeColumn(sql, type_name).us
    return sql if type_name == wanted else f"CAST({sql} AS {wanted})"


class AsofJoin:
    """One view joined to entity rows."""

    def __init__(self, facts: Facts, view: ViewJoin, spine: KeyedSpine, *, only_known: bool) -> None:
        self._facts = facts
        self._view = view
        self._spine = spine
        self._only_known = only_known
        self._slots = SlotFacts(spine.index)

    def run(self) -> JoinedView:
        """Find the facts, decide the ties, fetch the features."""
        index = self._spine.index
        if index.size:
            self._find()
        winner = self._slots.carry_forward(only_known=self._only_known and self._facts.known is not None)
        at = np.maximum(winner, 0)
        has_fact = winner >= 0
        expired = np.zeros(index.size, np.bool_)
        if self._view.ttl_us is not None and index.size:
            expired = has_fact & (self._slots.event_us[at] < index.times_us - self._view.ttl_us)
        matched = has_fact & ~expired
        expired |= self._expired_before(~has_fact)
        winner = np.where(matched, winner, -1)
        ties = self._decide_ties(winner, matched) if index.size else 0
        later = int((matched & (self._slots.known_us[at] > index.times_us)).sum()) if index.size else 0
        report = ViewReport(
            view=self._view.name,
            rows=self._spine.row_count,
            matched=int(matched.sum()),
            expired=int(expired.sum()),
            missing=self._spine.row_count - int((matched | expired).sum()),
            ties=ties,
            known_later=0 if self._only_known or self._facts.known is None else later,
        )
        return JoinedView(self._fetch(winner), report)

    def _find(self) -> None:
        """The narrow pass: stamps and addresses of the facts whose key and time can matter."""
        facts, index = self._facts, self._spine.index
        facts.connection.register("tiffin_keys", self._spine.keys)
        known = facts.known is not None
        columns = f"k.code, {facts.event.us} AS e, {facts.relation.address} AS a"
        columns += f", {facts.known_us} AS c" if known else ""
        bounds = [facts.event.bound("<=", index.last_us)]
        if self._oldest_us is not None:
            bounds.append(facts.event.bound(">=", self._oldest_us))
        if known and self._only_known:
            bounds.append(facts.known_bound("<=", index.last_us))
        sql = (
            f"SELECT {columns} FROM {facts.relation.sql} f "
            f"JOIN tiffin_keys k ON {facts.key_match(self._view.keys, 'k')} WHERE {' AND '.join(bounds)}"
        )
        for batch in facts.stream(sql):
            self._slots.add(
                numpy_values(batch.column("code")),
                numpy_values(batch.column("e")),
                numpy_values(batch.column("c")) if known else None,
                numpy_values(batch.column("a")),
                only_known=self._only_known,
            )

    @property
    def _oldest_us(self) -> int | None:
        """Facts before this are too old for every entity row; ``None`` without a ttl."""
        if self._view.ttl_us is None:
            return None
        return max(MIN_US, self._spine.index.first_us - self._view.ttl_us)

    def _expired_before(self, missing: BoolArray) -> BoolArray:
        """Which slots without a fact have one that was too old to be looked at; asked only for the report."""
        if self._oldest_us is None or not missing.any():
            return np.zeros(len(missing), np.bool_)
        facts, index = self._facts, self._spine.index
        codes = distinct_slots(index.codes[missing], self._spine.keys.num_rows)
        facts.connection.register("tiffin_missing", self._spine.keys.take(arrow_column(codes)))
        seen = f"greatest({facts.event.us}, {facts.known_us})" if self._only_known else facts.event.us
        found = facts.read(
            f"SELECT k.code, min({seen}) AS seen FROM {facts.relation.sql} f "
            f"JOIN tiffin_missing k ON {facts.key_match(self._view.keys, 'k')} "
            f"WHERE {facts.event.bound('<', self._oldest_us)} GROUP BY k.code"
        )
        first_seen = np.full(self._spine.keys.num_rows, MAX_US)
        first_seen[numpy_values(found["code"])] = numpy_values(found["seen"])
        old: BoolArray = missing & (first_seen[index.codes] <= index.times_us)
        return old

    def _decide_ties(self, winner: IndexArray, matched: BoolArray) -> int:
        """Let the payload decide between facts of equal stamps (PIT-4); returns how many rows it decided."""
        of_tied = matched & self._slots.tied[np.maximum(winner, 0)]
        tied = distinct_slots(winner[of_tied], self._spine.index.size)
        if not len(tied):
            return 0
        addresses, rivals = decide_ties(self._facts, self._view.keys, self._tied_keys(tied), len(tied))
        self._slots.address[tied] = addresses
        decided = np.zeros(self._spine.index.size, np.bool_)
        decided[tied] = rivals
        return int(decided[winner[matched]].sum())

    def _tied_keys(self, tied: IndexArray) -> pa.Table:
        """Key and stamps of the slots that are tied, numbered by ``id``."""
        table = self._spine.keys.take(arrow_column(self._spine.index.codes[tied]))
        table = table.append_column("e", arrow_column(self._slots.event_us[tied]))
        if self._facts.known is not None:
            table = table.append_column("c", arrow_column(self._slots.known_us[tied]))
        return table.append_column("id", arrow_column(np.arange(len(tied), dtype=np.int64)))

    def _fetch(self, winner: IndexArray) -> pa.Table:
        """The second pass: the features of the winning facts, spread over the entity rows."""
        used = distinct_slots(winner[winner >= 0], self._spine.index.size)
        fetched, position = fetch_features(self._facts, self._view.features, self._slots.address[used])
        of_slot = np.full(self._spine.index.size + 1, -1, np.int64)
        of_slot[used] = position
        per_row = self._spine.per_row(winner)
        take = of_slot[per_row]
        return take_features(fetched, self._view.features, take, self._facts)


def distinct_slots(slots: IndexArray, count: int) -> IndexArray:
    """The distinct ones of some slots, rising; by marking, which is several times faster than sorting."""
    marked = np.zeros(count, np.bool_)
    marked[slots] = True
    return np.flatnonzero(marked)


def decide_ties(facts: Facts, keys: Sequence[KeyColumn], tied: pa.Table, count: int) -> tuple[Int64Array, BoolArray]:
    """Among facts of equal stamps, choose the one whose encoded payload is the greatest (ORD).

    Args:
        facts: the facts.
        keys: their join keys.
        tied: ``k0``, ..., ``e`` and, where facts have one, ``c``, numbered by ``id``.
        count: how many ids there are.

    Returns:
        (count,) the address of the chosen fact, and (count,) whether a rival had another payload.
    """
    facts.connection.register("tiffin_tied", tied)
    payload = ", ".join(f"{facts.feature(column)} AS p{i}" for i, column in enumerate(facts.columns.payload))
    known = f" AND {facts.known_us} = t.c" if facts.known is not None else ""
    rows = facts.read(
        f"SELECT t.id, {facts.relation.address} AS a, {payload or 'NULL AS p0'} FROM {facts.relation.sql} f "
        f"JOIN tiffin_tied t ON {facts.key_match(keys, 't')} AND {facts.event.us} = t.e{known}"
    )
    layout = tuple((column.name, repr(column.dtype)) for column in facts.columns.payload)
    typed = {column.name: cast_feature(rows[f"p{i}"], column, facts) for i, column in enumerate(facts.columns.payload)}
    encoded = payload_bytes(layout, feature_table(typed, rows.num_rows))
    chosen = np.full(count, -1, np.int64)
    rivals = np.zeros(count, np.bool_)
    best: dict[int, bytes] = {}
    for number, address, content in zip(rows["id"].to_pylist(), rows["a"].to_pylist(), encoded, strict=True):
        held = best.get(number)
        if held is not None and held != content:
            rivals[number] = True
        if held is None or content > held:
            best[number] = content
            chosen[number] = address
    return chosen, rivals


def fetch_features(
    facts: Facts, features: Sequence[FeatureColumn], addresses: Int64Array
) -> tuple[pa.Table, Int64Array]:
    """The features of the facts at some addresses.

    Returns:
        A table with the columns ``f0``, ``f1``, ... in no particular order, and (n,) the row of each address in it.
    """
    import pyarrow as pa

    selected = ", ".join(f"{facts.feature(column)} AS f{i}" for i, column in enumerate(features))
    wanted = {"a": arrow_column(addresses), "id": arrow_column(np.arange(len(addresses), dtype=np.int64))}
    facts.connection.register("tiffin_wanted", pa.table(wanted))
    rows = facts.read(
        f"SELECT w.id, {selected} FROM {facts.relation.sql} f JOIN tiffin_wanted w ON {facts.relation.address} = w.a"
    )
    if rows.num_rows != len(addresses):
        raise SourceError(
            f"{facts.relation.subject} changed while it was read",
            subject=facts.relation.subject,
            hint="run it again; replace files by renaming, not by writing into them",
        )
    position = np.empty(len(addresses), np.int64)
    position[numpy_values(rows["id"])] = np.arange(len(addresses))
    return rows.drop_columns(["id"]), position


def take_features(fetched: pa.Table, features: Sequence[FeatureColumn], take: Int64Array, facts: Facts) -> pa.Table:
    """Spread fetched features over entity rows: row ``i`` gets ``fetched[take[i]]``, null where that is -1."""
    found = take >= 0
    rows = np.maximum(take, 0)

    def spread(number: int) -> Any:
        column = single_chunk(cast_feature(fetched[f"f{number}"], features[number], facts))
        return take_column(column, rows, found)

    names, numbers = [column.name for column in features], range(len(features))
    if len(take) < _FEW_ROWS:
        return feature_table(dict(zip(names, map(spread, numbers), strict=True)), len(take))
    with ThreadPoolExecutor(_COLUMN_THREADS) as pool:
        return feature_table(dict(zip(names, pool.map(spread, numbers), strict=True)), len(take))


def take_column(column: pa.Array, rows: Int64Array, found: BoolArray) -> pa.Array:
    """``column[rows]``, null where not ``found``.

    Numbers and times go through numpy, which gathers several times faster than Arrow's ``take`` with null indices.
    """
    import pyarrow as pa

    if len(column) == 0:
        return pa.nulls(len(rows), column.type)
    if not (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_timestamp(column.type)
    ):
        return column.take(nullable_column(rows, found))
    values = numpy_values(column, np.dtype(f"i{column.type.bit_width // 8}"))
    valid = found if column.null_count == 0 else found & valid_mask(column)[rows]
    return nullable_column(values[rows], valid, column.type)


def feature_table(columns: dict[str, Any], rows: int) -> pa.Table:
    """A table of columns, with the right number of rows even when there are none."""
    import pyarrow as pa

    return pa.table(columns) if columns else pa.table({"_": pa.nulls(rows)}).select([])


def cast_feature(column: Any, feature: FeatureColumn, facts: Facts) -> Any:
    """A column in the feature's type, exactly; a wider float may be declared as a narrower one and is rounded."""
    import pyarrow as pa

    wanted = arrow_type(feature.dtype)
    if column.type == wanted:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        if feature.dtype is Map and pa.types.is_struct(column.type):
            return map_of_struct(single_chunk(column))
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SourceError(
            f"{facts.relation.subject}: column {feature.source_column!r} ({column.type}) cannot be kept as "
            f"{feature.dtype!r}: {first_line(error)}",
            subject=facts.relation.subject,
            location=facts.relation.location,
            hint="declare the field with the type of the source, or cast the source",
        ) from error
