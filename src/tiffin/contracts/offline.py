"""The contract of an offline engine: point-in-time joins and the newest facts, over sources, as Arrow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tiffin.errors import UnsupportedError

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.definitions import DataSource
    from tiffin.planning.materialization import LoadPlan
    from tiffin.planning.retrieval import RangePlan, RetrievalPlan, ScanPlan


@dataclass(frozen=True)
class OfflineCapabilities:
    """What an engine can do, as data.

    Attributes:
        name: the short name in ``feature_store.yaml``.
        row_functions: rows go through the function of a view where ``FactColumns.transform`` says so.
    """

    name: str
    row_functions: bool = False


@dataclass(frozen=True)
class ViewReport:
    """What became of one view's cells, counted in entity rows; ``matched + expired + missing == rows``.

    Attributes:
        view: the name under which the view was used.
        rows: entity rows.
        matched: rows that got a fact.
        expired: rows whose newest fact is older than the ttl.
        missing: rows without any fact at their time, null keys included.
        ties: matched rows whose fact has a rival with the same times and another payload (PIT-4).
        known_later: matched rows whose fact became known only after the entity time.
    """

    view: str
    rows: int
    matched: int
    expired: int
    missing: int
    ties: int
    known_later: int


@dataclass(frozen=True)
class JoinedView:
    """The features of one view for every entity row.

    Attributes:
        features: a table with one row per entity row, in their order, and one column per wanted feature.
        report: the counts.
    """

    features: pa.Table
    report: ViewReport


class OfflineEngine(ABC):
    """Computes over sources what plans say.

    Guarantees:
        PIT-1 to PIT-5 and TYP-1, TYP-2 for everything it returns. What it cannot do is refused with an
        ``UnsupportedError`` before anything runs. It never changes a source while reading.
    """

    capabilities: ClassVar[OfflineCapabilities]

    @abstractmethod
    def schema(self, source: DataSource) -> Mapping[str, pa.DataType]:
        """The columns of a source under their own names, before any renaming.

        Raises:
            SourceError: it is missing, empty of files, or cannot be read.
        """

    @abstractmethod
    def query(self, sql: str) -> pa.Table:
        """The rows of a SQL query; for entity rows given as text."""

    @abstractmethod
    def join(self, plan: RetrievalPlan, spine: pa.Table) -> Iterator[JoinedView]:
        """Join the views of a plan to entity rows, one after the other in the plan's order.

        Args:
            plan: the retrieval.
            spine: ``__t`` (int64 microseconds, no nulls) and the key columns, cast to their types.
        """

    @abstractmethod
    def scan(self, plan: ScanPlan, wanted: pa.Table) -> Iterator[pa.RecordBatch]:
        """Stream facts as they are, for aggregates over windows; every fact once, in any order.

        Args:
            plan: what is read.
            wanted: the distinct keys whose facts are wanted, ``k0``, ``k1``, ... in their types, and their numbers in
                ``code`` (int64). Without keys it has one row, and all facts are that key's.

        Yields:
            Batches of bounded size with ``__code``, ``__event_us`` and, where the source has known times,
            ``__known_us`` (int64, no nulls); the columns of the payload in their types; and for each condition whether
            it is true, ``__if0``, ``__if1``, ...
        """

    @abstractmethod
    def spine(self, plan: RangePlan, wanted: pa.Table | None = None) -> pa.Table:
        """The distinct keys and event times of the facts in a range (PIT-12), with the keys and ``event_timestamp``.

        Args:
            plan: the view and the range.
            wanted: key columns of the view in their types; only facts whose key is among its rows count.
        """

    @abstractmethod
    def facts(self, plan: LoadPlan) -> Iterator[pa.Table]:
        """Every fact that a load asks for, with the columns of ``newest``.

        Yields:
            Tables with the facts of some keys, in any order, of bounded size unless one key has more. All facts of a
            key are in one of them: what is kept of a key is then put together once.
        """

    @abstractmethod
    def newest(self, plan: LoadPlan) -> Iterator[pa.RecordBatch]:
        """The newest facts per key that a load asks for, in batches of bounded size.

        Facts of one key that tie in event and known time may all come; the store's order decides between them.

        Yields:
            Batches with the join keys, the features, ``__event_us`` and ``__known_us`` (int64).
        """

    @abstractmethod
    def append(self, source: DataSource, rows: pa.Table) -> None:
        """Append rows to a source without rewriting what is there: all of them or none, visible at once.

        Args:
            source: where to.
            rows: the columns of the source, in its types.

        Raises:
            UnsupportedError: the source cannot be appended to.
            StoreError: it cannot be written.
        """

    def check_appends_messages(self, source: DataSource) -> None:
        """Refuse, before a stream is read, what ``append_messages`` cannot do.

        Raises:
            UnsupportedError: messages cannot be appended to the source.
        """
        raise UnsupportedError(
            f"the {self.capabilities.name} engine does not append the messages of streams",
            subject=source.subject,
            hint="use offline_store: duckdb, or feed the online store alone",
        )

    def append_messages(
        self,
        source: DataSource,
        rows: pa.Table,
        stream: str,
        partition: str,
        offsets: Sequence[int],
        left_out: Sequence[int] = (),
    ) -> int:
        """Append rows that came as messages, each once, however often its message is delivered (STR-1).

        Rows whose messages were appended before are left out, whatever others they came with then. So a worker that
        was killed before its position was committed, and one that reads from the beginning, append nothing twice. Two
        workers that append the same messages at the same moment may: equal facts count once.

        Args:
            source: where to.
            rows: the columns of the source, in its types.
            stream: tells the stream from all others.
            partition: the partition that the messages are of.
            offsets: for each row where its message stands in the partition, rising. Every message between the first and
                the last is among them, or in ``left_out``, or was appended before.
            left_out: offsets of messages that gave no row; a later call may bring one.

        Returns:
            How many rows were appended; they are durable.

        Raises:
            UnsupportedError: as ``check_appends_messages`` says.
            StoreError: it cannot be written; nothing was appended.
        """
        self.check_appends_messages(source)
        raise NotImplementedError

    @abstractmethod
    def fingerprint(self, source: DataSource) -> Mapping[str, str]:
        """Part of the source (such as a file) to what identifies its content; equal text means unchanged (MAT-3)."""

    @abstractmethod
    def newest_time(self, source: DataSource, column: str, until_us: int) -> int | None:
        """The greatest time of a column that is not after a moment, in microseconds; ``None`` when there is none.

        It is asked for often and for all sources at once, so it should come from statistics rather than from rows.

        Args:
            source: the source.
            column: the source's own name of the column.
            until_us: the moment.

        Raises:
            SourceError: the source or the column is missing, or cannot be read.
        """

    @abstractmethod
    def to_sql(self, plan: RetrievalPlan, time_column: str) -> str:
        """The plan as one SQL query of this engine over a table ``entity_df`` whose times are in ``time_column``."""

    @abstractmethod
    def explain(self, plan: RetrievalPlan, time_column: str) -> str:
        """How the plan will be run, in words and SQL."""

    def close(self) -> None:  # noqa: B027 - an engine may have nothing to let go of
        """Let go of what the engine holds; the object is not used afterwards."""
