"""Plans of ``apply`` over a source with a few columns, for the tests beside this file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa

from tiffin.definitions import (
    Definition,
    Entity,
    FeatureView,
    Field,
    FileSource,
)
from tiffin.planning.apply import ApplyPlan, gather, plan_apply
from tiffin.planning.inference import sources_to_read
from tiffin.registry.snapshot import Snapshot
from tiffin.types import (
    FeatureType,
    Float64,
)

TIME = pa.timestamp("us", "UTC")
COLUMNS = {
    "driver_id": pa.int64(),
    "ts": TIME,
    "created": TIME,
    "rate": pa.float64(),
    "trips": pa.int32(),
    "city": pa.string(),
}
EMPTY = Snapshot("p")


def plan(
    objects: Definition | Iterable[Definition],
    current: Snapshot = EMPTY,
    *,
    partial: bool = True,
    remove: Iterable[Definition] = (),
    columns: Mapping[str, Mapping[str, pa.DataType]] | None = None,
) -> ApplyPlan:
    """A plan against sources that all have ``COLUMNS``, unless ``columns`` says otherwise."""
    wish = gather(current, objects, list(remove), partial=partial)
    schemas = {source.name: (columns or {}).get(source.name, COLUMNS) for source in sources_to_read(wish.declared)}
    return plan_apply(wish, schemas)


def source(**arguments: Any) -> FileSource:
    return FileSource(
        **{
            "name": "rides",
            "path": "rides.parquet",
            "timestamp_field": "ts",
            "created_timestamp_column": "created",
            **arguments,
        }
    )


def fields(**types: FeatureType) -> list[Field]:
    return [Field(name=name, dtype=dtype) for name, dtype in types.items()]


def view(**arguments: Any) -> FeatureView:
    defaults = {
        "name": "stats",
        "source": source(),
        "entities": [Entity(name="driver", join_keys=["driver_id"])],
        "schema": fields(rate=Float64),
        "ttl": timedelta(days=1),
    }
    return FeatureView(**{**defaults, **arguments})


def changed(made: ApplyPlan) -> dict[str, tuple[Any, Any]]:
    return {item.field: (item.old, item.new) for change in made.changes for item in change.fields}
