"""Fill in what a definition leaves to its source: the time column, the features and the types of the keys.

All of it is decided from the columns of the source and nothing of its rows, so that it never depends on the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from tiffin.definitions import (
    BaseFeatureView,
    DataSource,
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    LoggingConfig,
    OnDemandFeatureView,
    StreamSource,
    TransformedFeatureView,
)
from tiffin.definitions.on_demand import NOW
from tiffin.errors import DefinitionError, DefinitionTypeError, SourceError, UnsupportedError, nearest
from tiffin.planning.aggregates import filter_columns, with_aggregates
from tiffin.planning.casting import can_keep, check_default, is_time
from tiffin.planning.declared import Declared, references
from tiffin.planning.expectations import plan_checks
from tiffin.planning.rows import given_columns, resolve_rows, unknown_output
from tiffin.registry.snapshot import Snapshot
from tiffin.types import KEY_TYPES, FeatureType, Int32, Int64, arrow_type, from_arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    #: Source name to its columns, under their own names.
    Schemas = Mapping[str, Mapping[str, pa.DataType]]

D = TypeVar("D", bound=Definition)


def sources_to_read(declared: Declared) -> list[DataSource]:
    """The sources whose columns must be known: those that the history of a declared view is read from, each once."""
    views = _of(declared, FeatureView)
    batch = {view.batch_source.name: view.batch_source for view in views if view.batch_source is not None}
    return list(batch.values())


def resolve(declared: Declared, current: Snapshot, schemas: Schemas) -> Declared:
    """The same definitions with nothing left open, checked against the columns of their sources.

    Args:
        declared: what is to be applied.
        current: what has been applied; views in it that stay as they are hold on to the types of their keys.
        schemas: the columns of ``sources_to_read``.

    Raises:
        DefinitionError: something cannot be found out, or a declared type does not fit its column.
        SourceError: a source lacks a column.
        UnsupportedError: a type cannot be kept (TYP-1), or served features are to be kept elsewhere than in a folder.
    """
    resolved = dict(declared)
    for key, definition in declared.items():
        if isinstance(definition, DataSource) and definition.name in schemas:
            resolved[key] = _resolve_source(definition, schemas[definition.name])
    for key, definition in declared.items():
        if isinstance(definition, StreamSource) and definition.batch_source is not None:
            batch = resolved["data source", definition.batch_source.name]
            assert isinstance(batch, DataSource)
            resolved[key] = _resolve_stream(definition, batch)
    columns = {view.name: _Columns.of(view, resolved, schemas) for view in _of(declared, FeatureView)}
    for key, definition in declared.items():
        if isinstance(definition, Entity):
            resolved[key] = _resolve_entity(definition, declared, columns, current)
    for key, definition in declared.items():
        if isinstance(definition, FeatureView):
            view = _resolve_view(definition, columns[definition.name], resolved)
            if view.all_expectations:
                plan_checks(replace(view, entities=[_entity(each, resolved) for each in view.entity_list]))
            resolved[key] = view
        if isinstance(definition, OnDemandFeatureView):
            _check_on_demand(definition)
        if isinstance(definition, FeatureService) and definition.logging_config is not None:
            _check_log(definition, definition.logging_config)
    return resolved


@dataclass(frozen=True)
class _Columns:
    """The columns of a view's history.

    Attributes:
        source: where it is read from; ``None`` when facts are only pushed.
        by_name: columns under the names that features and keys have, after renaming, and after the function that rows
            go through.
        rows: columns as they stand in the source, after renaming.
    """

    source: DataSource | None
    by_name: Mapping[str, pa.DataType]
    rows: Mapping[str, pa.DataType]

    @classmethod
    def of(cls, view: FeatureView, declared: Declared, schemas: Schemas) -> _Columns:
        if view.batch_source is None:
            return cls(None, {}, {})
        source = declared["data source", view.batch_source.name]
        assert isinstance(source, DataSource)
        columns = schemas[source.name]
        renamed = {name: type_ for name, type_ in columns.items() if name not in source.mapping}
        renamed |= {new: columns[old] for old, new in source.mapping.items() if old in columns}
        if isinstance(view, TransformedFeatureView) and view.transforms_rows:
            return cls(source, given_columns(_with_source(view, declared), renamed), renamed)
        return cls(source, renamed, renamed)

    def require(self, name: str, view: FeatureView, *, role: str) -> pa.DataType:
        assert self.source is not None
        if name not in self.by_name and view.transforms_rows:
            raise unknown_output(view, name, role)
        if name not in self.by_name:
            column = self.source.source_column(name)
            raise SourceError(
                f"{view.subject}: {self.source.subject} has no column {column!r}, which is {role}",
                subject=view.subject,
                location=view.location,
                hint=nearest(name, self.by_name),
            )
        return self.by_name[name]


def _resolve_source(source: DataSource, columns: Mapping[str, pa.DataType]) -> DataSource:
    for argument in ("timestamp_field", "created_timestamp_column"):
        column = source.source_column(getattr(source, argument))
        if column and column not in columns:
            raise SourceError(
                f"{source.subject} has no column {column!r}, which is its {argument}",
                subject=source.subject,
                location=source.location,
                hint=nearest(column, columns),
            )
        if column and not is_time(columns[column], text=True):
            raise SourceError(
                f"{source.subject}: the {argument} {column!r} has type {columns[column]}, where a time is expected",
                subject=source.subject,
                location=source.location,
                hint="store it as a timestamp, or as text in ISO 8601",
            )
    for column in source.mapping:
        if column not in columns:
            raise SourceError(
                f"{source.subject} has no column {column!r}, which field_mapping renames",
                subject=source.subject,
                location=source.location,
                hint=nearest(column, columns),
            )
    if source.timestamp_field:
        return source
    return replace(source, timestamp_field=_find_timestamp(source, columns))


def _find_timestamp(source: DataSource, columns: Mapping[str, pa.DataType]) -> str:
    times = [name for name, type_ in columns.items() if is_time(type_) and name != source.created_timestamp_column]
    if len(times) == 1:
        return times[0]
    found = f"there are several: {', '.join(times)}" if times else f"none of {', '.join(columns)} is"
    raise source.error(
        f"{source.subject} has no timestamp_field, and of time columns {found}",
        hint="pass timestamp_field=, the column of event times",
    )


def _resolve_stream(source: StreamSource, batch: DataSource) -> StreamSource:
    """Rows that are pushed have the columns of the history, so its time columns hold for both."""
    return replace(
        source,
        batch_source=batch,
        timestamp_field=source.timestamp_field or batch.timestamp_field,
        created_timestamp_column=source.created_timestamp_column or batch.created_timestamp_column,
    )


def _resolve_entity(
    entity: Entity, declared: Declared, columns: Mapping[str, _Columns], current: Snapshot
) -> Definition:
    """The entity with the type of its key: as declared, else as its views declare it, else that of the column."""
    if entity.key_type is not None:
        return entity
    found: dict[FeatureType, str] = {}
    for view in _of(declared, FeatureView):
        if any(each.name == entity.name for each in view.entity_list):
            dtype = _key_type(entity, view, columns[view.name])
            if dtype is not None:
                found.setdefault(dtype, view.subject)
    stored = current.entities[entity.name].key_type if ("entity", entity.name) in current.by_key else None
    if stored is not None and (not found or _is_used_elsewhere(entity, declared, current)):
        found.setdefault(stored, "what was applied before")
    if len(found) > 1:
        listed = ", ".join(f"{dtype!r} in {where}" for dtype, where in found.items())
        raise entity.error(
            f"{entity.subject}: the join key {entity.join_key!r} has several types: {listed}",
            hint="pass value_type=, and give the sources columns that can be kept in it",
        )
    return entity if not found else replace(entity, value_type=next(iter(found)).to_value_type())


def _key_type(entity: Entity, view: FeatureView, columns: _Columns) -> FeatureType | None:
    """The type of a key as one view has it. int32 and int64 are one (TYP-3), and the wider is kept."""
    key = entity.join_key
    dtype = next((field.dtype for field in view.entity_columns if field.name == key), None)
    if dtype is None and columns.source is not None:
        dtype = _inferred(key, columns.require(key, view, role=f"the join key of {entity.subject}"), view)
        if dtype not in KEY_TYPES:
            raise view.error(
                f"{view.subject}: the join key {key!r} has type {dtype!r} in {columns.source.subject}, which cannot "
                "be a key",
                hint="cast the column in the source; keys may be " + ", ".join(repr(t) for t in KEY_TYPES),
            )
    return Int64 if dtype is Int32 else dtype


def _is_used_elsewhere(entity: Entity, declared: Declared, current: Snapshot) -> bool:
    """Whether a view that has been applied, and is not declared anew, uses the entity."""
    return any(
        ("entity", entity.name) in references(entry)
        for entry in current.entries
        if entry.kind == "feature view" and (entry.kind, entry.name) not in declared
    )


def _resolve_view(view: FeatureView, columns: _Columns, declared: Declared) -> FeatureView:
    """The view with its schema, each field checked against its column."""
    entities = {entity.join_key: entity for entity in (_entity(each, declared) for each in view.entity_list)}
    _check_keys(view, columns, entities)
    if isinstance(view, TransformedFeatureView) and view.transforms_rows:
        view = resolve_rows(_with_source(view, declared), columns.source, columns.rows, columns.by_name, entities)
    if view.aggregations:
        return _resolve_aggregations(view, columns, entities)
    schema = tuple(view.schema) if view.schema is not None else _inferred_schema(view, columns)
    schema = tuple(_widened(field, entities) for field in schema)
    features = [field for field in schema if field.name not in entities]
    if not features:
        raise view.error(f"{view.subject} has no features", hint="pass schema=[Field(...)]")
    for field in features:
        _check_field(field, view, columns)
    if view.schema is not None and all(a is b for a, b in zip(schema, view.schema, strict=True)):
        return view
    # The new types are checked against the entities with their resolved types.
    return replace(view, schema=schema, entities=list(entities.values()))


def _entity(entity: Entity, declared: Declared) -> Entity:
    """An entity as it was resolved."""
    found = declared["entity", entity.name]
    assert isinstance(found, Entity)
    return found


def _with_source(view: TransformedFeatureView, declared: Declared) -> TransformedFeatureView:
    """The view with its source as it was resolved, which says what the time columns are."""
    assert view.source is not None
    source = declared["data source", view.source.name]
    assert isinstance(source, DataSource)
    return view if source is view.source else replace(view, source=source)


def _resolve_aggregations(view: FeatureView, columns: _Columns, entities: Mapping[str, Entity]) -> FeatureView:
    """The view with the columns that it is computed from, and with its features and their types."""
    if columns.source is None:
        hint = "give the source a batch_source"
        raise view.error(f"{view.subject} has aggregations, and its source has no columns to read", hint=hint)
    inputs: dict[str, Field] = {}

    def read(names: Iterable[str], role: str) -> None:
        for name in names:
            found = columns.require(name, view, role=role)
            inputs.setdefault(name, Field(name=name, dtype=_inferred(name, found, view), location=view.location))

    read(view.aggregated_columns, "aggregated")
    # A filter may read every column whose type is known; what it does read is kept.
    known = {name: dtype for name, type_ in columns.by_name.items() if (dtype := _type_if_known(type_)) is not None}
    for item in view.aggregations or ():
        for name in filter_columns(item, known):
            inputs.setdefault(name, Field(name=name, dtype=known[name], location=view.location))
    read(view.fact_id, "part of its fact_id")
    schema = with_aggregates(view, list(inputs.values()), view.join_keys)
    schema = tuple(_widened(field, entities) for field in schema)
    for field in schema:
        if field.name not in entities:
            _check_kept(field, view)
    return replace(view, schema=schema, inputs=list(inputs.values()), entities=list(entities.values()))


def _type_if_known(found: pa.DataType) -> FeatureType | None:
    try:
        return from_arrow_type(found)
    except UnsupportedError:
        return None


def _inferred_schema(view: FeatureView, columns: _Columns) -> tuple[Field, ...]:
    source = columns.source
    if source is None:
        hint = "pass schema=[Field(...)], or give the source a batch_source"
        raise view.error(f"{view.subject} has no schema, and its source has no columns to read it from", hint=hint)
    times = (source.timestamp_field, source.created_timestamp_column, source.date_partition_column)
    taken = {source.source_column(column or "") for column in times}
    return tuple(
        Field(name=name, dtype=_inferred(name, type_, view), location=view.location)
        for name, type_ in columns.by_name.items()
        if source.source_column(name) not in taken and name not in view.join_keys
    )


def _check_keys(view: FeatureView, columns: _Columns, entities: Mapping[str, Entity]) -> None:
    for key, entity in entities.items():
        dtype = next((field.dtype for field in view.entity_columns if field.name == key), entity.key_type)
        if dtype is None:
            hint = "pass value_type= to the entity, or declare the key in the view's schema"
            raise view.error(f"{view.subject}: the type of the join key {key!r} is not known", hint=hint)
        if columns.source is not None:
            found = columns.require(key, view, role=f"the join key of {entity.subject}")
            if not can_keep(found, dtype):
                raise _misfit(f"{view.subject}: the join key {key!r} is", dtype, found, key, view, columns.source)


def _check_on_demand(view: OnDemandFeatureView) -> None:
    """Check an on-demand view without running its function (ODF-3)."""
    for field in (*view.features, *view.request_fields):
        _check_kept(field, view)
    assert view.function is not None
    clock = view.function.clock_call
    if clock:
        raise view.error(
            f"the function of {view.subject} reads the clock: {clock}; in a training set every row would get the time "
            "of today",
            hint=f"add a second parameter {NOW!r}: it is the time of each row, in training as in serving",
        )


def _check_log(service: FeatureService, config: LoggingConfig) -> None:
    """Refuse to say that served features are kept where they cannot be."""
    try:
        _ = config.destination.folder
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{service.subject}: {error.message}", subject=service.subject, location=service.location, hint=error.hint
        ) from None


def _check_field(field: Field, view: FeatureView, columns: _Columns) -> None:
    _check_kept(field, view)
    if columns.source is None:
        return
    found = columns.require(field.name, view, role="a feature of its schema")
    if not can_keep(found, field.dtype):
        raise _misfit(f"{view.subject}: field {field.name!r} is", field.dtype, found, field.name, view, columns.source)


def _check_kept(field: Field, view: BaseFeatureView) -> None:
    """Check that a field's type can be kept, and that its default is of it."""
    try:
        _checked_type(field.dtype)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{view.subject}: field {field.name!r}: {error.message}",
            subject=view.subject,
            location=field.location or view.location,
            hint=error.hint,
        ) from None
    check_default(field, view)


@lru_cache(maxsize=1024)
def _checked_type(dtype: FeatureType) -> pa.DataType:
    return arrow_type(dtype)


def _misfit(
    what: str, dtype: FeatureType, found: pa.DataType, name: str, view: FeatureView, source: DataSource
) -> DefinitionError:
    try:
        hint = f"declare {from_arrow_type(found)!r}, or cast the column in the source"
    except UnsupportedError:
        hint = "cast the column in the source"
    column = source.source_column(name)
    return DefinitionTypeError(
        f"{what} declared as {dtype!r}, but column {column!r} of {source.subject} has type {found}, "
        "which cannot be kept in it",
        subject=view.subject,
        location=view.location,
        hint=hint,
    )


def _inferred(name: str, found: pa.DataType, view: FeatureView) -> FeatureType:
    try:
        return from_arrow_type(found)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"{view.subject}: column {name!r}: {error.message}",
            subject=view.subject,
            location=view.location,
            hint="cast the column in the source, or pass a schema without it",
        ) from None


def _widened(field: Field, entities: Mapping[str, Entity]) -> Field:
    """A key's field in the type of its entity, where the two are integers of different width (TYP-3)."""
    entity = entities.get(field.name)
    if entity is None or field.dtype is not Int32 or entity.key_type is not Int64:
        return field
    return replace(field, dtype=Int64)


def _of(declared: Declared, cls: type[D]) -> Iterable[D]:
    return [definition for definition in declared.values() if isinstance(definition, cls)]
