"""Feature views: features of one or several entities, with the source that their facts come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

from tiffin.definitions.aggregation import ALL_FACTS, Aggregation, check_aggregations
from tiffin.definitions.base import Definition
from tiffin.definitions.base_view import LATEST, BaseFeatureView
from tiffin.definitions.entity import Entity, check_entities
from tiffin.definitions.expectation import Expectation, check_expectations
from tiffin.definitions.field import Field, check_fields
from tiffin.definitions.sources import DataSource, StreamSource
from tiffin.errors import DefinitionTypeError, RequestError, UnsupportedError, nearest
from tiffin.time import duration_us
from tiffin.types import KEY_TYPES, FeatureType


@dataclass(frozen=True, kw_only=True)
class FeatureView(BaseFeatureView):
    """Features of one or several entities.

    Args:
        source: where the facts come from; a ``PushSource`` when they are pushed; another view for some of its facts'
            columns under another ttl, other types or other keys.
        schema: the features, and the join keys whose type is to be declared; read from the source at ``apply`` when
            left out.
        entities: what the features describe; none for features that depend on time alone.
        ttl: how long after its event time a fact may be used; no limit when ``None`` or zero.
        freshness: how old the newest fact may be before the view is stale, for ``tiffin monitor``; it changes no value.
        online: whether ``materialize`` loads it.
        offline: whether pushed facts are also kept offline.
        aggregations: what is computed from the facts in windows of time; these are the features then, and ``schema``,
            where it is given, only says their types. A ttl does not touch them: a window says how far back it goes.
        fact_id: columns of the source that tell facts apart, such as the number of a payment; only with aggregations.
            Rows with equal keys, times and columns that the view reads are one fact and count once; these columns are
            among those that it reads.
        inputs: the columns that aggregations read, with their types; found at ``apply``, but for those that a function
            makes, which are declared.
        expectations: what has to be true of its facts before they are served, such as
            ``Expectation.where("paid <= amount")``, checked when they are loaded and pushed; or a schema of pandera.
        mode: as in Feast, where it names the language of a function; a plain view has no function, so it is only kept.
        enable_validation: as in Feast; columns and types are checked anyway, and JSON when it is loaded.
        version: ``latest``. A pin, such as ``v1``, is refused at ``apply``; older versions are read as
            ``view@v1:feature``.
        sink_source, org, enabled: as in Feast.
        source_view: the name of the view that stands in the place of the source; found by itself.

    Raises:
        DefinitionError: with the file and line of the declaration.

    >>> from tiffin.definitions.sources import FileSource
    >>> from tiffin.types import Float32
    >>> stats = FileSource(path="stats.parquet", timestamp_field="ts")
    >>> driver = Entity(name="driver", join_keys=["driver_id"])
    >>> view = FeatureView(name="driver_stats", entities=[driver], source=stats,
    ...                    schema=[Field(name="conv_rate", dtype=Float32)], ttl=timedelta(days=1))
    >>> view.join_keys, view.feature_names
    (('driver_id',), ('conv_rate',))
    """

    kind: ClassVar[str] = "feature view"
    forbidden_in_name: ClassVar[str] = "@:"

    source: DataSource | None = None
    sink_source: DataSource | None = None
    schema: Sequence[Field] | None = None
    entities: Sequence[Entity] | None = None
    ttl: timedelta | None = timedelta(0)
    online: bool = True
    offline: bool = False
    org: str = ""
    mode: str | None = None
    enable_validation: bool = False
    version: str = LATEST
    enabled: bool = True
    source_view: str = ""
    aggregations: Sequence[Aggregation] | None = None
    fact_id: str | Sequence[str] = ()
    inputs: Sequence[Field] | None = None
    expectations: Sequence[Expectation] = ()
    freshness: timedelta | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("entities", check_entities(self, self.entities))
        self._set("ttl", self._duration("ttl", self.ttl))
        self._set("freshness", self._duration("freshness", self.freshness))
        self._set("derived_from", ())
        self._derive()
        if self.source is None:
            raise self.error(f"{self.subject} has no source", hint="pass source=FileSource(path=...)")
        self.check_type("source", self.source, DataSource)
        for argument in ("online", "offline", "enable_validation", "enabled"):
            self.check_type(argument, getattr(self, argument), bool)
        self._check_version(self.version)
        self._check_mode()
        self._set("aggregations", check_aggregations(self, self.aggregations or ()))
        self._set("inputs", check_fields(self, "inputs", self.inputs or ()))
        self._check_aggregations()
        self._check_fact_id()
        self._set("expectations", check_expectations(self.expectations or (), self.error))
        if self.schema is not None:
            self._set("schema", check_fields(self, "schema", self.schema))
            self._check_schema()

    def _derive(self) -> None:
        """Take the source of a view that stands in the place of a source."""
        given: Any = self.source
        views = list(given) if isinstance(given, list | tuple) else [given]
        if not views or not all(isinstance(view, FeatureView) for view in views):
            return
        if len(views) > 1:
            raise UnsupportedError(
                f"{self.subject} has several views as its source, which is not supported yet",
                subject=self.subject,
                location=self.location,
                hint="combine their features in an on-demand feature view or a feature service",
            )
        if views[0].aggregations:
            raise UnsupportedError(
                f"{self.subject} has {views[0].subject} as its source, whose features are aggregations",
                subject=self.subject,
                location=self.location,
                hint="pass the source of that view, and the aggregations that are wanted",
            )
        if views[0].transforms_rows:
            raise UnsupportedError(
                f"{self.subject} has {views[0].subject} as its source, whose rows go through a function",
                subject=self.subject,
                location=self.location,
                hint="pass the source of that view, and its function",
            )
        self._set("derived_from", (views[0],))
        self._set("source_view", views[0].name)
        self._set("source", views[0].source)

    def _check_mode(self) -> None:
        mode = getattr(self.mode, "value", self.mode)
        if mode is not None:
            self.check_type("mode", mode, str)
        self._set("mode", mode)

    def _check_schema(self) -> None:
        assert self.schema is not None
        by_key = {entity.join_key: entity for entity in self.entity_list}
        mapping = self.source.mapping if self.source is not None else {}
        for item in self.schema:
            if item.name in mapping and item.name not in mapping.values():
                hint = f"name the field {mapping[item.name]!r}"
                raise self.error(f"{self.subject}: field {item.name!r} is renamed by the source", hint=hint)
            entity = by_key.get(item.name)
            if entity is None:
                continue
            if item.dtype not in KEY_TYPES:
                raise DefinitionTypeError(
                    f"{self.subject}: {item.dtype!r} cannot be the type of the join key {item.name!r}",
                    subject=self.subject,
                    location=self.location,
                    hint=f"keys may be {', '.join(repr(t) for t in KEY_TYPES)}",
                )
            if entity.key_type is not None and entity.key_type != item.dtype:
                raise self.error(
                    f"{self.subject} declares {item.name!r} as {item.dtype!r}, "
                    f"but {entity.subject} declares it as {entity.key_type!r}"
                )

    def _check_aggregations(self) -> None:
        """The features of a view with aggregations are these and nothing else."""
        names = {item.resolved_name(): item for item in self.aggregations or ()}
        for key in self.join_keys:
            if key in names:
                hint = f"pass name= to the one at {names[key].location}"
                raise self.error(f"{self.subject}: an aggregation has the name of the join key {key!r}", hint=hint)
        if not names:
            return
        columns = {item.column for item in self.aggregations or ()}
        for item in self.schema or ():
            if item.name in names or item.name in self.join_keys:
                continue
            plain = "a column that is aggregated" if item.name in columns else "no aggregation"
            raise self.error(
                f"{self.subject}: field {item.name!r} of its schema is {plain}; a view has either aggregations or "
                "plain features",
                hint=f"the aggregations are {', '.join(names)}; put plain features into a view of their own",
            )

    def _check_fact_id(self) -> None:
        """The columns that tell facts apart, as a tuple."""
        self.check_type("fact_id", self.fact_id or (), str, list, tuple)
        columns = (self.fact_id,) if self.fact_id and isinstance(self.fact_id, str) else tuple(self.fact_id or ())
        for number, column in enumerate(columns):
            self.check_type(f"fact_id[{number}]", column, str)
            if not column or column in columns[:number]:
                what = "twice" if column else "a column without a name"
                raise self.error(f"{self.subject}: fact_id has {f'{column!r} ' if column else ''}{what}")
        if columns and not self.aggregations:
            raise self.error(
                f"{self.subject} has a fact_id and no aggregations: it tells apart the facts of a window, and plain "
                "features come from the newest fact alone",
                hint="leave it out, or pass aggregations=",
            )
        self._set("fact_id", columns)

    @property
    def all_expectations(self) -> tuple[Expectation, ...]:
        """Its own expectations and those of its fields."""
        return (*self.expectations, *(each for item in self.schema or () for each in item.expectations))

    @property
    def aggregated_columns(self) -> tuple[str, ...]:
        """The columns that aggregations are computed from, each once; filters may read others."""
        columns = (item.column for item in self.aggregations or () if item.column != ALL_FACTS)
        return tuple(dict.fromkeys(columns))

    @property
    def entity_list(self) -> tuple[Entity, ...]:
        """The entities; never ``None``."""
        return tuple(self.entities or ())

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The key columns, in the order of the entities."""
        return tuple(entity.join_key for entity in self.entity_list)

    @property
    def features(self) -> tuple[Field, ...]:
        """The fields that are features: the schema without the join keys; empty until the schema is known."""
        keys = self.join_keys
        return tuple(item for item in self.schema or () if item.name not in keys)

    @property
    def payload(self) -> tuple[Field, ...]:
        """The columns of a fact besides its key and times: the features, or what aggregations read."""
        return tuple(self.inputs or ()) if self.aggregations else self.features

    @property
    def entity_columns(self) -> tuple[Field, ...]:
        """The fields of the schema that are join keys."""
        keys = self.join_keys
        return tuple(item for item in self.schema or () if item.name in keys)

    @property
    def key_types(self) -> tuple[FeatureType | None, ...]:
        """The types of the join keys, from the schema or the entities; ``None`` where only the source knows."""
        declared = {item.name: item.dtype for item in self.entity_columns}
        return tuple(declared.get(entity.join_key, entity.key_type) for entity in self.entity_list)

    def known_key_types(self) -> tuple[FeatureType, ...]:
        """The types of the join keys, of a view that was applied: by then they are known.

        Raises:
            RequestError: one is not known.
        """
        types = tuple(dtype for dtype in self.key_types if dtype is not None)
        if len(types) != len(self.join_keys):
            raise RequestError(
                f"the key types of {self.subject} are not known",
                subject=self.subject,
                location=self.location,
                hint="run `tiffin apply`, or give the entities a value_type",
            )
        return types

    @property
    def ttl_us(self) -> int | None:
        """The ttl in microseconds; ``None`` for no limit."""
        return None if self.ttl is None else duration_us(self.ttl)

    @property
    def batch_source(self) -> DataSource | None:
        """Where history is read from; ``None`` when facts are only pushed."""
        return self.source.batch_source if isinstance(self.source, StreamSource) else self.source

    @property
    def transforms_rows(self) -> bool:
        """Whether the rows of the source go through a function before they are facts."""
        return False

    @property
    def time_columns(self) -> tuple[str, str]:
        """The columns of event and created times, as features are named; the latter is empty where there is none."""
        sources = [source for source in (self.source, self.batch_source) if source is not None]
        event = next((source.timestamp_field for source in sources if source.timestamp_field), "") or "event_timestamp"
        created = next((s.created_timestamp_column for s in sources if s.created_timestamp_column), "") or ""
        return event, created

    @property
    def parents(self) -> tuple[FeatureView, ...]:
        """The view that stands in the place of the source, when the definition was made with it."""
        found: tuple[FeatureView, ...] = self.derived_from  # type: ignore[attr-defined]
        return found

    @property
    def stream_source(self) -> DataSource | None:
        """The source that facts are pushed to, if any."""
        return self.source if isinstance(self.source, StreamSource) else None

    def with_join_key_map(self, join_key_map: Mapping[str, str]) -> FeatureView:
        """The same view with its keys read from other columns of the entity rows (PIT-11).

        Raises:
            DefinitionError: a key of the map is not a join key of the view.
        """
        for key in self._string_map("join_key_map", join_key_map):
            if key not in self.join_keys:
                raise self.error(f"{self.subject} has no join key {key!r}", hint=nearest(key, self.join_keys))
        return replace(self, projection=replace(self.projection, join_key_map=dict(join_key_map)))

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data; the source and the entities are named."""
        assert self.source is not None
        spec = self._common_spec() | {"source": self.source.name, "entities": [e.name for e in self.entity_list]}
        if self.sink_source is not None:
            spec["sink_source"] = self.sink_source.name
        if self.schema is not None:
            spec["schema"] = [item.to_spec() for item in self.schema]
        if self.ttl_us is not None:
            spec["ttl_us"] = self.ttl_us
        if self.freshness is not None:
            spec["freshness_us"] = duration_us(self.freshness)
        if self.aggregations:
            spec["aggregations"] = [item.to_spec() for item in self.aggregations]
        if self.fact_id:
            spec["fact_id"] = list(self.fact_id)
        if self.inputs:
            spec["inputs"] = [[item.name, repr(item.dtype)] for item in self.inputs]
        if self.expectations:
            spec["expectations"] = [item.to_spec() for item in self.expectations]
        for argument, default in _OPTIONS.items():
            if getattr(self, argument) != default:
                spec[argument] = getattr(self, argument)
        return spec

    @classmethod
    def from_spec(
        cls, spec: dict[str, Any], sources: Mapping[str, DataSource], entities: Mapping[str, Entity]
    ) -> FeatureView:
        """Build it again from ``to_spec``'s data and the objects that it names."""
        spec = dict(spec)
        schema = spec.pop("schema", None)
        location = spec.get("location", "")
        sink = spec.pop("sink_source", None)
        aggregations = [Aggregation.from_spec(item, location) for item in spec.pop("aggregations", ())]
        freshness_us = spec.pop("freshness_us", None)
        inputs = [Field.from_spec({"name": n, "dtype": d}, location) for n, d in spec.pop("inputs", ())]
        return cls(
            source=sources[spec.pop("source")],
            sink_source=None if sink is None else sources[sink],
            entities=[entities[name] for name in spec.pop("entities")],
            ttl=timedelta(microseconds=spec.pop("ttl_us", 0)),
            schema=None if schema is None else [Field.from_spec(item, location) for item in schema],
            aggregations=aggregations,
            inputs=inputs,
            expectations=[Expectation.from_spec(item, location) for item in spec.pop("expectations", ())],
            freshness=None if freshness_us is None else timedelta(microseconds=freshness_us),
            **spec,
        )


#: Plain arguments and their defaults; only what differs is written to the registry.
_OPTIONS: dict[str, Any] = {
    "online": True,
    "offline": False,
    "org": "",
    "mode": None,
    "enable_validation": False,
    "version": LATEST,
    "enabled": True,
    "source_view": "",
}
