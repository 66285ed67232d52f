"""Entities: the things that features describe, and the columns that identify them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tiffin.definitions.base import Definition
from tiffin.errors import DefinitionError
from tiffin.types import KEY_TYPES, FeatureType, ValueType, from_value_type


@dataclass(frozen=True, kw_only=True)
class Entity(Definition):
    """A thing that features describe: a driver, a card, an airport.

    Args:
        join_keys: the column that identifies it; the entity's name when left out.
        value_type: the type of the join key; read from the source at ``apply`` when left out.

    Raises:
        DefinitionError: several join keys, or a type that cannot be a key.

    >>> Entity(name="driver", join_keys=["driver_id"]).join_key
    'driver_id'
    """

    kind: ClassVar[str] = "entity"

    join_keys: Sequence[str] | None = None
    value_type: ValueType | None = None

    __hash__ = Definition.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        keys = [self.name] if self.join_keys is None else self.join_keys
        self.check_type("join_keys", keys, list, tuple)
        if len(keys) != 1:
            hint = "declare one entity per key column and give the view several entities"
            raise self.error(f"{self.subject} has {len(keys)} join keys, where one is expected", hint=hint)
        self.check_type("join_keys[0]", keys[0], str)
        self._set("join_keys", tuple(keys))
        if self.value_type in (None, ValueType.UNKNOWN):
            self._set("value_type", None)
            return
        self.check_type("value_type", self.value_type, ValueType)
        if self.key_type not in KEY_TYPES:
            allowed = ", ".join(repr(t) for t in KEY_TYPES)
            raise self.error(f"{self.subject}: {self.value_type} cannot be a key", hint=f"keys may be {allowed}")

    @property
    def join_key(self) -> str:
        """The column that identifies the entity."""
        assert self.join_keys is not None
        return self.join_keys[0]

    @property
    def key_type(self) -> FeatureType | None:
        """The type of the join key; ``None`` until ``apply`` has read it from a source."""
        return None if self.value_type is None else from_value_type(self.value_type)

    def to_spec(self) -> dict[str, Any]:
        """JSON-ready data."""
        spec = self._common_spec() | {"join_key": self.join_key}
        if self.value_type is not None:
            spec["value_type"] = self.value_type.name
        return spec

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Entity:
        """Build it again from ``to_spec``'s data."""
        spec = dict(spec)
        value_type = ValueType[spec.pop("value_type", "UNKNOWN")]
        return cls(join_keys=[spec.pop("join_key")], value_type=value_type, **spec)


def check_entities(owner: Definition, entities: object) -> tuple[Entity, ...]:
    """The entities of a view, checked: a list of ``Entity`` objects with distinct join keys.

    Raises:
        DefinitionError: an item is no entity, or two entities share a join key.
    """
    entities = () if entities is None else entities
    owner.check_type("entities", entities, list, tuple)
    assert isinstance(entities, list | tuple)
    for index, entity in enumerate(entities):
        if isinstance(entity, str):
            raise DefinitionError(
                f"{owner.subject}: entities[{index}] is the text {entity!r}, where an Entity is expected",
                subject=owner.subject,
                location=owner.location,
                hint=f"declare {entity} = Entity(name={entity!r}) and pass the object",
            )
        owner.check_type(f"entities[{index}]", entity, Entity)
    keys = [entity.join_key for entity in entities]
    for key in keys:
        if keys.count(key) > 1:
            raise owner.error(f"{owner.subject} has two entities with the join key {key!r}")
    return tuple(entities)
