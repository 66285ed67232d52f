"""What queries over facts are written from: expressions of the engine's dialect, and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp

from tiffin.types import (
    Array,
    Bool,
    Bytes,
    FeatureType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    PdfBytes,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

DIALECT = "duckdb"

_TYPES: Mapping[FeatureType, str] = {
    **dict.fromkeys((String, Json, Uuid, TimeUuid), "VARCHAR"),
    **dict.fromkeys((Bytes, PdfBytes, ImageBytes), "BLOB"),
    Bool: "BOOLEAN",
    Int32: "INTEGER",
    Int64: "BIGINT",
    Float32: "FLOAT",
    Float64: "DOUBLE",
    UnixTimestamp: "TIMESTAMPTZ",
}


@dataclass(frozen=True)
class SqlFacts:
    """Expressions of the engine's dialect over a source called ``f``.

    Attributes:
        relation: what stands behind FROM.
        event_us, known_us: the stamps in microseconds.
        keys: the join keys, in the order of the view's keys.
        features: feature name to expression; of a view with aggregations, each column of the payload.
        conditions: of a view with aggregations, each of its conditions, never null.
    """

    relation: str
    event_us: str
    known_us: str
    keys: Sequence[str]
    features: Mapping[str, str]
    conditions: Sequence[str] = field(default_factory=tuple)


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return exp.to_identifier(name, quoted=True).sql(dialect=DIALECT)


def part(feature: str) -> str:
    """The column of a feature within a query, where entity columns may have any name."""
    return f"f_{feature}"


def selection(text: str) -> exp.Select:
    """The tree of a SELECT."""
    parsed = sqlglot.parse_one(text, dialect=DIALECT)
    assert isinstance(parsed, exp.Select)
    return parsed


def as_type(sql: str, dtype: FeatureType) -> str:
    """An expression in a type; as it is, where SQL has no name for the type."""
    name = _type_name(dtype)
    return sql if name is None else f"CAST({sql} AS {name})"


def _type_name(dtype: FeatureType) -> str | None:
    if isinstance(dtype, Array | Set):
        item = _type_name(dtype.base_type)
        return None if item is None else f"{item}[]"
    if isinstance(dtype, Struct):
        parts = {name: _type_name(each) for name, each in dtype.fields.items()}
        if None in parts.values():
            return None
        return f"STRUCT({', '.join(f'{quote(name)} {each}' for name, each in parts.items())})"
    return _TYPES.get(dtype)
