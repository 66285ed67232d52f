"""The engine against the hand-written tables: the same facts in files, the same answers and counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from backends.duckdb.hand_written import (
    arrow_named,
    counts,
    has_known_times,
    inexpressible,
    repository_of,
    rows_of,
    run,
    service_of,
    table_of,
    without_payload_ties,
)
from parity.repository import Repository
from semantics.cases import RefusalCase, RetrievalCase, SpineCase
from semantics.comparing import exactly
from semantics.tables import RETRIEVALS
from semantics.tables_requests import REFUSALS, SPINES
from tiffin.operations.retrieve import retrieve
from tiffin.semantics.oracle_requests import Join


def cases(table, *, skip=lambda case: inexpressible(case.joins)):
    """Parameters from a table; what files cannot say is skipped with the reason."""
    found = []
    for case in table:
        reason = skip(case)
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        found.append(pytest.param(case, id=f"{'+'.join(case.rules)}: {case.name}", marks=marks))
    return found


@contextmanager
def opened(folder: Path, joins: Sequence[Join], mode: str, *, created: bool = True) -> Iterator[Repository]:
    repository = repository_of(folder, joins, mode, created=created)
    try:
        yield repository
    finally:
        repository.close()


@pytest.mark.parametrize("case", cases(RETRIEVALS))
def test_training_set_is_as_written_by_hand(case: RetrievalCase, tmp_path: Path) -> None:
    with opened(tmp_path, case.joins, case.mode) as repository:
        job = run(repository, case)
        table = job.to_arrow()
        report = {view.view: counts(view) for view in job.report.views}
    assert exactly(rows_of(table, case.columns)) == exactly(case.expected)
    assert report == {name: counts(expected) for name, expected in case.report.items()}
    assert table.column_names == [*case.frame.columns, *case.columns]
    entities, before = table.select(list(case.frame.columns)), table_of(case.frame)
    assert entities.schema == before.schema
    assert exactly(rows_of(entities, entities.column_names)) == exactly(rows_of(before, before.column_names))
    kinds = {f"{join.name}__{name}": kind for join in case.joins for name, kind in join.view.fields.items()}
    kinds |= {name: kind for join in case.joins for name, kind in join.view.fields.items()}
    assert [table.schema.field(name).type for name in case.columns] == [arrow_named(kinds[n]) for n in case.columns]


@pytest.mark.parametrize(
    "case",
    cases([case for case in RETRIEVALS if not any(has_known_times(join.view) for join in case.joins)]),
)
def test_source_without_a_created_column_answers_alike(case: RetrievalCase, tmp_path: Path) -> None:
    with opened(tmp_path, case.joins, case.mode, created=False) as repository:
        job = run(repository, case)
        table = job.to_arrow()
        report = {view.view: counts(view) for view in job.report.views}
    assert exactly(rows_of(table, case.columns)) == exactly(case.expected)
    assert report == {name: counts(expected) for name, expected in case.report.items()}


@pytest.mark.parametrize("case", cases([case for case in RETRIEVALS if without_payload_ties(case.report)]))
def test_the_query_as_sql_answers_alike(case: RetrievalCase, tmp_path: Path) -> None:
    """`to_sql()` run by DuckDB itself gives the columns, rows and order of the fast path."""
    with opened(tmp_path, case.joins, case.mode) as repository:
        sql = run(repository, case).to_sql()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("entity_df", table_of(case.frame))
        table = connection.sql(sql).to_arrow_table()
    assert table.column_names == [*case.frame.columns, *case.columns]
    assert exactly(rows_of(table, case.columns)) == exactly(case.expected)


@pytest.mark.parametrize("case", cases(RETRIEVALS))
def test_reading_in_batches_of_one_row_changes_nothing(case: RetrievalCase, tmp_path: Path) -> None:
    """PIT-5: each row is answered the same alone."""
    with opened(tmp_path, case.joins, case.mode) as repository:
        batches = list(run(repository, case).to_arrow_batches(batch_rows=1))
    table = pa.Table.from_batches(batches) if batches else None
    if table is None:
        assert case.expected == ()
    else:
        assert exactly(rows_of(table, case.columns)) == exactly(case.expected)


@pytest.mark.parametrize("case", cases(REFUSALS))
def test_refused_before_anything_runs(case: RefusalCase, tmp_path: Path) -> None:
    """The sources are gone before the request is made, so that nothing can have been read from them."""
    with opened(tmp_path, case.joins, "known") as repository:
        for file in tmp_path.glob("*.parquet"):
            file.unlink()
        service = service_of(case.joins)
        with pytest.raises(case.error) as caught:
            retrieve(repository, table_of(case.frame), service, case.full_feature_names).to_arrow()
    assert [word for word in case.says if word not in str(caught.value)] == []


@pytest.mark.parametrize("case", cases(SPINES, skip=lambda case: inexpressible(case.joins)))
def test_facts_make_the_rows_without_an_entity_frame(case: SpineCase, tmp_path: Path) -> None:
    with opened(tmp_path, case.joins, case.mode) as repository:
        keys = list(case.keys) if case.keys is not None else None
        job = retrieve(repository, None, service_of(case.joins), start_date=case.start, end_date=case.end, keys=keys)
        table = job.to_arrow()
    assert tuple(table.column_names) == case.columns
    rows = rows_of(table.set_column(*_as_micros(table)), case.columns)
    assert exactly(rows) == exactly(case.expected)


def _as_micros(table: pa.Table):
    position = table.schema.get_field_index("event_timestamp")
    return position, "event_timestamp", table["event_timestamp"].cast(pa.int64())
