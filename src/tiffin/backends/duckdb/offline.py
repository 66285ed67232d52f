"""The embedded offline engine: DuckDB reads the files, numpy finds the facts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import duckdb

from tiffin.backends.duckdb.append import append_messages, append_rows, appended_folder
from tiffin.backends.duckdb.asof import AsofJoin, Facts
from tiffin.backends.duckdb.config import DuckDBOptions
from tiffin.backends.duckdb.load import every_fact, load_bounds, newest_facts
from tiffin.backends.duckdb.newest import footer_newest_us, read_newest_us
from tiffin.backends.duckdb.relation import (
    Relation,
    fingerprints,
    first_line,
    literal,
    local_files,
    open_relation,
    quote,
)
from tiffin.backends.duckdb.scan import fact_condition, scan_bounds, scan_facts
from tiffin.backends.duckdb.spine import KeyedSpine
from tiffin.backends.duckdb.transformed import transformed_relation
from tiffin.contracts.offline import JoinedView, OfflineCapabilities, OfflineEngine
from tiffin.contracts.options import options_from
from tiffin.definitions import DataSource, FileSource
from tiffin.errors import ConfigError, InputError, SourceError, UnsupportedError
from tiffin.planning.materialization import LoadPlan
from tiffin.planning.retrieval import (
    TIME_COLUMN,
    FactColumns,
    KeyColumn,
    RangePlan,
    RetrievalPlan,
    ScanPlan,
    ViewJoin,
)
from tiffin.sql.asof import compile_retrieval
from tiffin.sql.facts import SqlFacts
from tiffin.types import Json, String, TimeUuid, Uuid

if TYPE_CHECKING:
    import pyarrow as pa

_TEXT_TYPES = (String, Json, Uuid, TimeUuid)


class DuckDBEngine(OfflineEngine):
    """Point-in-time joins over Parquet and CSV files, in this process.

    One object serves many threads; each call works on a cursor of its own.
    """

    capabilities: ClassVar[OfflineCapabilities] = OfflineCapabilities(name="duckdb", row_functions=True)

    def __init__(self, options: DuckDBOptions, base_path: str) -> None:
        self._options = options
        self._base_path = base_path
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        #: Files whose event times are known to have no nulls, with their fingerprints.
        self._complete: dict[tuple[str, str], str] = {}
        #: The newest times that files tell by themselves, with the fingerprints of the files.
        self._newest: dict[tuple[str, str], tuple[str, int | None]] = {}

    @classmethod
    def from_config(cls, options: Mapping[str, object], base_path: str) -> DuckDBEngine:
        """Build the engine from the ``offline_store`` section.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        return cls(options_from(DuckDBOptions, "offline_store", options), base_path)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
                self._connection.execute("SET TimeZone = 'UTC'")
                self._connection.execute("SET preserve_insertion_order = false")
            cursor = self._connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    def _connect(self) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(config=self._options.duckdb_settings())
        except duckdb.Error as error:
            hint = "look at memory_limit, threads and temp_directory"
            raise ConfigError(f"DuckDB refuses the options of offline_store: {error}", hint=hint) from error

    def close(self) -> None:
        """Let go of the database in memory."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def schema(self, source: DataSource) -> Mapping[str, pa.DataType]:
        """The columns of the files with their Arrow types."""
        return open_relation(self._cursor(), source, self._base_path, addressed=False).schema

    def fingerprint(self, source: DataSource) -> Mapping[str, str]:
        """File to size and time of the last change."""
        return fingerprints(local_files(source, self._base_path))

    def query(self, sql: str) -> pa.Table:
        """The rows of a query, which may read files by ``read_parquet('...')`` or just ``'file.parquet'``."""
        try:
            return self._cursor().sql(sql).to_arrow_table()
        except (duckdb.Error, AttributeError) as error:
            hint = "the entity rows must come from one SELECT statement in DuckDB's SQL"
            raise InputError(f"the SQL of the entity rows fails: {first_line(error)}", hint=hint) from error

    def join(self, plan: RetrievalPlan, spine: pa.Table) -> Iterator[JoinedView]:
        """The views of a plan, one at a time, which keeps memory to that of one view."""
        keyed: dict[tuple[str, ...], KeyedSpine] = {}
        for view in plan.views:
            columns = tuple(key.entity_column for key in view.keys)
            if columns not in keyed:
                keyed[columns] = KeyedSpine(spine, TIME_COLUMN, columns)
            before = self.fingerprint(view.facts.source)
            until = partial(_until, keyed[columns].index.last_us)
            facts = self._facts(view.facts, view.keys, until)
            joined = AsofJoin(facts, view, keyed[columns], only_known=plan.only_known).run()
            self._check_unchanged(facts.relation, before)
            yield joined

    def scan(self, plan: ScanPlan, wanted: pa.Table) -> Iterator[pa.RecordBatch]:
        """The facts of some keys, in batches."""
        before = self.fingerprint(plan.facts.source)
        facts = self._facts(plan.facts, plan.keys, lambda rows: scan_bounds(rows, plan))
        yield from scan_facts(facts, plan, wanted)
        self._check_unchanged(facts.relation, before)

    def spine(self, plan: RangePlan, wanted: pa.Table | None = None) -> pa.Table:
        """The distinct keys and event times of the facts between two moments."""
        facts = self._facts(plan.view.facts, plan.view.keys, lambda rows: _between(rows, plan))
        among = _among(facts, plan.view.keys, wanted) if wanted is not None else ""
        keys = [f"{facts.key(key)} AS {quote(key.entity_column)}" for key in plan.view.keys]
        not_null = "".join(f" AND {facts.key(key)} IS NOT NULL" for key in plan.view.keys)
        selected = ", ".join([*keys, f"make_timestamptz({facts.event.us}) AS event_timestamp"])
        condition = f"{_between(facts, plan)}{not_null}"
        return facts.read(
            f"SELECT DISTINCT {selected} FROM {facts.relation.sql} f {among} WHERE {condition} ORDER BY ALL"
        )

    def facts(self, plan: LoadPlan) -> Iterator[pa.Table]:
        """Every fact of a load, those of some keys at a time."""
        return every_fact(self._facts(plan.facts, plan.keys, lambda rows: load_bounds(rows, plan)), plan)

    def newest(self, plan: LoadPlan) -> Iterator[pa.RecordBatch]:
        """The newest facts per key, in batches."""
        return newest_facts(self._facts(plan.facts, plan.keys, lambda rows: load_bounds(rows, plan)), plan)

    def append(self, source: DataSource, rows: pa.Table) -> None:
        """Append rows as a Parquet file of their own, beside the source's file or in its folder."""
        append_rows(source, rows, self._base_path)

    def newest_time(self, source: DataSource, column: str, until_us: int) -> int | None:
        """By the statistics of Parquet files, each looked at once while it is as it was; else by reading the column."""
        files = local_files(source, self._base_path)
        assert isinstance(source, FileSource)
        if source.format_name == "parquet":
            told = [self._told_newest(file, print_, column) for file, print_ in fingerprints(files).items()]
            known = [us for us in told if us is not None]
            if len(known) == len(told) and max(known) <= until_us:
                return max(known)
        cursor = self._cursor()
        relation = open_relation(cursor, source, self._base_path, addressed=False)
        columns = FactColumns(source.name, source, event_column=column, known_column="", payload=())
        return read_newest_us(Facts.open(cursor, relation, columns), until_us)

    def _told_newest(self, file: str, print_: str, column: str) -> int | None:
        found = self._newest.get((file, column))
        if found is None or found[0] != print_:
            found = self._newest[file, column] = (print_, footer_newest_us(file, column))
        return found[1]

    def check_appends_messages(self, source: DataSource) -> None:
        """Messages are appended to Parquet files in local folders."""
        appended_folder(source, self._base_path)

    def append_messages(
        self,
        source: DataSource,
        rows: pa.Table,
        stream: str,
        partition: str,
        offsets: Sequence[int],
        left_out: Sequence[int] = (),
    ) -> int:
        """Append rows as a Parquet file that is called by its messages, without those that such files hold."""
        return append_messages(source, rows, self._base_path, stream, partition, offsets, left_out)

    def to_sql(self, plan: RetrievalPlan, time_column: str) -> str:
        """The plan as one query over a table ``entity_df``, for DuckDB."""
        return compile_retrieval(plan, [self._sql_facts(view) for view in plan.views], time_column=time_column)

    def explain(self, plan: RetrievalPlan, time_column: str) -> str:
        """What is read and in which order, then the query that gives the same values."""
        lines = []
        for view in plan.views:
            files = local_files(view.facts.source, self._base_path)
            size = sum(int(print_.split(":")[0]) for print_ in fingerprints(files).values())
            if view.facts.transform is not None:
                of = view.facts.transform.view
                lines.append(f"{view.name}: rows go through {of.function_name} ({of.mode}) first")
            if view.aggregates:
                lines += [
                    f"{view.name}: {len(files)} file(s), {size / 1e6:.1f} MB of {view.facts.source.name}; the facts of "
                    f"the wanted keys are sorted by ({', '.join(k.entity_column for k in view.keys) or 'nothing'}, "
                    f"{view.facts.event_column}), each window is a range of them",
                    *(f"    {each.name}: {each.words}" for each in view.aggregates),
                ]
                continue
            mode = "known by the entity time" if plan.only_known and view.facts.known_column else "any known time"
            lines.append(
                f"{view.name}: {len(files)} file(s), {size / 1e6:.1f} MB of {view.facts.source.name}; "
                f"newest fact per ({', '.join(k.entity_column for k in view.keys) or 'all rows'}) "
                f"by ({view.facts.event_column}{', ' + view.facts.known_column if view.facts.known_column else ''}), "
                f"{mode}; {len(view.features)} of {len(view.facts.payload)} features"
            )
            if view.conflict is not None:
                lines[-1] += f"; each of {view.conflict.labeler.name} apart, then {view.conflict.policy.name}"
        for computed in plan.computed:
            code = computed.view.function
            inputs = ", ".join(item.names[-1] for item in computed.inputs)
            place = f"{code.module}:{code.name}" if code is not None else ""
            lines.append(f"{computed.name}: computed in Python by {place} from {inputs}, at the time of each row")
        if any(view.conflict is not None or view.facts.transform for view in plan.views):
            return "\n".join(lines)
        return "\n".join([*lines, "", self.to_sql(plan.stored if plan.computed else plan, time_column)])

    def _sql_facts(self, view: ViewJoin) -> SqlFacts:
        if view.facts.transform is not None:
            raise UnsupportedError(
                f"the rows of {view.name} go through a function, which is not put into SQL",
                subject=f"feature view {view.name}",
                hint="run the retrieval",
            )
        cursor = self._cursor()
        texts = _texts(view.facts, view.keys)
        relation = open_relation(cursor, view.facts.source, self._base_path, addressed=False, texts=texts)
        facts = Facts.open(cursor, relation, view.facts)
        columns = view.facts.payload if view.aggregates else view.features
        return SqlFacts(
            relation=relation.sql,
            event_us=facts.event.us,
            known_us=facts.known_us,
            keys=[facts.key(key) for key in view.keys],
            features={column.name: facts.feature(column) for column in columns},
            conditions=[fact_condition(facts, condition) for condition in view.conditions],
        )

    def _facts(self, columns: FactColumns, keys: Sequence[KeyColumn], bounds: Callable[[Facts], str]) -> Facts:
        """The facts of a view, ready to be read.

        Args:
            columns: where they stand.
            keys: their join keys.
            bounds: the condition on times that a query will set; a function that makes the facts is run over no more.
        """
        cursor = self._cursor()
        transform = columns.transform
        if transform is not None:
            rows = self._facts(transform.rows, (), bounds)
            return Facts.open(cursor, transformed_relation(cursor, rows, transform, bounds(rows)), columns)
        relation = open_relation(cursor, columns.source, self._base_path, texts=_texts(columns, keys))
        facts = Facts.open(cursor, relation, columns)
        self._check_complete(facts)
        return facts

    def _check_complete(self, facts: Facts) -> None:
        """Refuse a source with null event times; files are looked at once."""
        prints = fingerprints(facts.relation.files)
        column = facts.columns.event_column
        if all(self._complete.get((file, column)) == print_ for file, print_ in prints.items()):
            return
        nulls = self._null_times(facts)
        if nulls:
            raise SourceError(
                f"{facts.relation.subject}: {nulls} row(s) have no time in {column!r}",
                subject=facts.relation.subject,
                location=facts.relation.location,
                hint="every fact needs an event time; remove those rows or give them one",
            )
        self._complete.update({(file, column): print_ for file, print_ in prints.items()})

    @staticmethod
    def _null_times(facts: Facts) -> int:
        """How many facts have no event time: by the files' own statistics, else by counting."""
        if isinstance(facts.columns.source, FileSource) and facts.columns.source.format_name == "parquet":
            listed = ", ".join(literal(file) for file in facts.relation.files)
            told = facts.read(
                "SELECT sum(stats_null_count)::BIGINT AS n, count(*) = count(stats_null_count) AS all_tell "
                f"FROM parquet_metadata([{listed}]) WHERE path_in_schema = {literal(facts.columns.event_column)}"
            ).to_pylist()[0]
            if told["all_tell"] and told["n"] is not None:
                return int(told["n"])
        counted = facts.read(f"SELECT count(*) - count({facts.event.sql}) AS n FROM {facts.relation.sql} f")
        return int(counted["n"][0].as_py())

    def _check_unchanged(self, relation: Relation, before: Mapping[str, str]) -> None:
        if dict(before) != fingerprints(relation.files):
            raise SourceError(
                f"{relation.subject} changed while it was read",
                subject=relation.subject,
                location=relation.location,
                hint="run it again; replace files by renaming, not by writing into them",
            )


def _until(last_us: int, facts: Facts) -> str:
    """The condition that a fact did not happen later."""
    return facts.event.bound("<=", last_us)


def _between(facts: Facts, plan: RangePlan) -> str:
    """The condition that a fact lies in a range."""
    return f"{facts.event.bound('>=', plan.start_us)} AND {facts.event.bound('<=', plan.end_us)}"


def _among(facts: Facts, keys: Sequence[KeyColumn], wanted: pa.Table) -> str:
    """The join that keeps the facts whose key is among the wanted ones."""
    facts.connection.register("tiffin_among", wanted)
    named = {key.entity_column: facts.key(key) for key in keys}
    matches = " AND ".join(f"{named[column]} = a.{quote(column)}" for column in wanted.column_names)
    return f"SEMI JOIN tiffin_among a ON {matches}"


def _texts(columns: FactColumns, keys: Sequence[KeyColumn]) -> set[str]:
    """The columns of the source that are declared as text."""
    typed = [(column.source_column, column.dtype) for column in columns.payload]
    typed += [(key.source_column, key.dtype) for key in keys]
    return {name for name, dtype in typed if dtype in _TEXT_TYPES}
