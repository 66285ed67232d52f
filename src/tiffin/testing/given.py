"""An offline engine over facts that a test gives: every source is replaced by a file of its own in a scratch folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from tiffin.backends.duckdb.config import DuckDBOptions
from tiffin.backends.duckdb.offline import DuckDBEngine
from tiffin.backends.duckdb.relation import APPENDED
from tiffin.contracts.offline import JoinedView, OfflineCapabilities, OfflineEngine
from tiffin.definitions import DataSource, FileSource
from tiffin.planning.materialization import LoadPlan
from tiffin.planning.retrieval import FactColumns, RangePlan, RetrievalPlan, ScanPlan

if TYPE_CHECKING:
    import pyarrow as pa


class GivenEngine(OfflineEngine):
    """The embedded engine, which reads the given facts of a source instead of the source.

    Args:
        folder: where the facts are, a file for each source.
    """

    capabilities: ClassVar[OfflineCapabilities] = DuckDBEngine.capabilities

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._engine = DuckDBEngine(DuckDBOptions(), folder)

    @classmethod
    def from_config(cls, options: Mapping[str, object], base_path: str) -> GivenEngine:
        """Build the engine for the folder of a repository."""
        return cls(base_path)

    def put(self, source: DataSource, rows: pa.Table) -> None:
        """Let a source have these rows and no others."""
        import pyarrow.parquet as pq

        path = self._path(source)
        shutil.rmtree(f"{path}{APPENDED}", ignore_errors=True)
        pq.write_table(rows, path)

    def _path(self, source: DataSource) -> Path:
        return self._folder / f"{quote(source.name, safe='')}.parquet"

    def _file(self, source: DataSource) -> FileSource:
        return FileSource(
            name=source.name,
            path=str(self._path(source)),
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column,
            field_mapping=source.field_mapping,
        )

    def _facts(self, facts: FactColumns) -> FactColumns:
        transform = facts.transform and replace(facts.transform, rows=self._facts(facts.transform.rows))
        return replace(facts, source=self._file(facts.source), transform=transform)

    def _retrieval(self, plan: RetrievalPlan) -> RetrievalPlan:
        return replace(plan, views=tuple(replace(view, facts=self._facts(view.facts)) for view in plan.views))

    def schema(self, source: DataSource) -> Mapping[str, pa.DataType]:
        """The columns of the given facts."""
        return self._engine.schema(self._file(source))

    def query(self, sql: str) -> pa.Table:
        """The rows of a query."""
        return self._engine.query(sql)

    def join(self, plan: RetrievalPlan, spine: pa.Table) -> Iterator[JoinedView]:
        """The views of a plan, joined."""
        return self._engine.join(self._retrieval(plan), spine)

    def scan(self, plan: ScanPlan, wanted: pa.Table) -> Iterator[pa.RecordBatch]:
        """The facts of some keys."""
        return self._engine.scan(replace(plan, facts=self._facts(plan.facts)), wanted)

    def spine(self, plan: RangePlan, wanted: pa.Table | None = None) -> pa.Table:
        """The keys and times of a range."""
        view = replace(plan.view, facts=self._facts(plan.view.facts))
        return self._engine.spine(replace(plan, view=view), wanted)

    def facts(self, plan: LoadPlan) -> Iterator[pa.Table]:
        """Every fact of a load."""
        return self._engine.facts(replace(plan, facts=self._facts(plan.facts)))

    def newest(self, plan: LoadPlan) -> Iterator[pa.RecordBatch]:
        """The newest facts of a load."""
        return self._engine.newest(replace(plan, facts=self._facts(plan.facts)))

    def append(self, source: DataSource, rows: pa.Table) -> None:
        """Facts more."""
        self._engine.append(self._file(source), rows)

    def fingerprint(self, source: DataSource) -> Mapping[str, str]:
        """What identifies the given facts."""
        return self._engine.fingerprint(self._file(source))

    def newest_time(self, source: DataSource, column: str, until_us: int) -> int | None:
        """The newest time of the given facts."""
        return self._engine.newest_time(self._file(source), column, until_us)

    def to_sql(self, plan: RetrievalPlan, time_column: str) -> str:
        """The plan in SQL over the given facts."""
        return self._engine.to_sql(self._retrieval(plan), time_column)

    def explain(self, plan: RetrievalPlan, time_column: str) -> str:
        """How the plan is run."""
        return self._engine.explain(self._retrieval(plan), time_column)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.close()
