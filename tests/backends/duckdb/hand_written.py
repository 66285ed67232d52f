"""The hand-written tables of `tests/semantics` as repositories: facts in Parquet files, frames as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from parity.repository import Repository, open_repository
from semantics.cases import RetrievalCase
from tiffin.definitions import Entity, FeatureService, FeatureView, Field, FileSource
from tiffin.definitions.feature_service import ViewUse
from tiffin.definitions.projection import Projection
from tiffin.operations.retrieve import RetrievalJob, retrieve
from tiffin.semantics.oracle import View
from tiffin.semantics.oracle_requests import Frame, Join
from tiffin.types import FeatureType, Float64, Int32, Int64, String, arrow_type

TYPES: dict[str, FeatureType] = {"int64": Int64, "int32": Int32, "string": String, "double": Float64}
UTC_US = pa.timestamp("us", "UTC")

#: Why a table's case is not run on files: what a Parquet source cannot say. Nothing else is skipped.
INEXPRESSIBLE = {
    "tombstone": "a file source has no tombstones: they come by streams and deletes",
    "offset": "a file source has no stream offsets",
    "valid_to": "a file source has no valid-to column",
}


def inexpressible(joins: Iterable[Join]) -> str:
    """Why a case cannot be put into files; empty when it can."""
    facts = [fact for join in joins for fact in join.view.facts]
    found = {
        "tombstone": any(fact.payload is None for fact in facts),
        "offset": any(fact.offset for fact in facts),
        "valid_to": any(fact.valid_to is not None for fact in facts),
    }
    return "; ".join(INEXPRESSIBLE[reason] for reason, there in found.items() if there)


def arrow_named(name: str) -> pa.DataType:
    """The Arrow type that prints as `name`."""
    if not name.startswith("timestamp"):
        return arrow_type(TYPES[name]) if name in TYPES else {"bool": pa.bool_()}[name]
    unit, _, zone = name.removeprefix("timestamp[").removesuffix("]").partition(", tz=")
    return pa.timestamp(unit, zone or None)


def table_of(frame: Frame) -> pa.Table:
    """The entity rows of a case."""
    columns = {
        name: pa.array([row[name] for row in frame.rows], arrow_named(kind), from_pandas=False)
        for name, kind in frame.columns.items()
    }
    return pa.table(columns)


def write_facts(view: View, file: Path, *, created: bool) -> None:
    """The facts of a view as a Parquet file, in the order in which they are written in the table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, pa.Array] = {}
    for position, (key, kind) in enumerate(view.keys.items()):
        columns[key] = pa.array([fact.key[position] for fact in view.facts], arrow_named(kind))
    for field, kind in view.fields.items():
        values = [(fact.payload or {})[field] for fact in view.facts]
        columns[field] = pa.array(values, arrow_named(kind), from_pandas=False)
    columns["event_time"] = pa.array([fact.event_ts for fact in view.facts], UTC_US)
    if created:
        columns["created_time"] = pa.array([fact.known_ts for fact in view.facts], UTC_US)
    pq.write_table(pa.table(columns), file)


def has_known_times(view: View) -> bool:
    """Whether some fact was known at another time than it happened."""
    return any(fact.known_ts != fact.event_ts for fact in view.facts)


def definition_of(view: View, path: str, *, created: bool) -> FeatureView:
    """A view of a case as a definition."""
    keys = [Field(name=name, dtype=TYPES[kind]) for name, kind in view.keys.items()]
    features = [Field(name=n, dtype=TYPES[kind], default_value=view.defaults.get(n)) for n, kind in view.fields.items()]
    return FeatureView(
        name=view.name,
        source=FileSource(
            path=path,
            name=f"{view.name}_source",
            timestamp_field="event_time",
            created_timestamp_column="created_time" if created else "",
        ),
        entities=[Entity(name=key) for key in view.keys],
        schema=[*keys, *features],
        ttl=timedelta(microseconds=view.ttl_us or 0),
    )


def repository_of(folder: Path, joins: Sequence[Join], mode: str, *, created: bool = True) -> Repository:
    """A repository with the views of a case; `created` says whether the sources have a created column."""
    views = {join.view.name: join.view for join in joins}
    definitions = []
    for name, view in views.items():
        write_facts(view, folder / f"{name}.parquet", created=created)
        definitions.append(definition_of(view, f"{name}.parquet", created=created))
    return open_repository(folder, definitions, mode=mode)


def service_of(joins: Sequence[Join], request: Sequence[str] | None = None) -> FeatureService:
    """The request of a case as a service; one that is never applied, as a program may build it."""
    by_name = {join.name: join for join in joins}
    if request is None:
        uses = [ViewUse(join.view.name, _projection(join, None)) for join in joins]
    else:
        pairs = [reference.split(":") for reference in request]
        uses = [ViewUse(by_name[n].view.name, _projection(by_name[n], (feature,))) for n, feature in pairs]
    return FeatureService(name="request", features=uses)


def _projection(join: Join, features: tuple[str, ...] | None) -> Projection:
    return Projection(alias=join.alias or "", features=features, join_key_map=dict(join.key_map))


def run(repository: Repository, case: RetrievalCase, entity_df: object = None) -> RetrievalJob:
    """The retrieval of a case."""
    return retrieve(
        repository,
        table_of(case.frame) if entity_df is None else entity_df,
        service_of(case.joins, case.request),
        full_feature_names=case.full_feature_names,
    )


def rows_of(table: pa.Table, columns: Sequence[str]) -> list[tuple[object, ...]]:
    """Some columns of a table as tuples."""
    return [tuple(row[name] for name in columns) for row in table.select(list(columns)).to_pylist()]


def counts(report: object) -> dict[str, int]:
    """The numbers of a report, the reference's or the engine's."""
    names = ("rows", "matched", "expired", "missing", "ties", "known_later")
    return {name: getattr(report, name) for name in names}


def without_payload_ties(report: Mapping[str, object]) -> bool:
    """Whether no cell of a case is decided by payload alone."""
    return all(counts(view)["ties"] == 0 for view in report.values())
