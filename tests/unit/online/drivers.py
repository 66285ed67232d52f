"""A small project for the tests of online reads and writes: drivers, cities, and facts that a test pushes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from parity.repository import Repository, open_repository
from tiffin.definitions import Definition, Entity, FeatureView, Field, PushSource
from tiffin.operations.online import write_online
from tiffin.types import FeatureType, Float64, Int64, String, ValueType

DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
CITY = Entity(name="city", value_type=ValueType.STRING)
#: The clock of every repository here stands at 2024-06-01T12:00:00Z.
NOON_US = 1_717_243_200_000_000
HOUR_US = 3_600_000_000


def view(
    name: str,
    schema: Mapping[str, FeatureType] | Sequence[Field],
    entities: Sequence[Entity] = (DRIVER,),
    **arguments: Any,
) -> FeatureView:
    """A view whose facts are pushed, with columns ``ts`` and ``created``."""
    fields = [Field(name=n, dtype=t) for n, t in schema.items()] if isinstance(schema, Mapping) else list(schema)
    source = PushSource(name=f"{name}_push", timestamp_field="ts", created_timestamp_column="created")
    return FeatureView(name=name, entities=list(entities), schema=fields, source=source, **arguments)


STATS = view("stats", {"trips": Int64, "rating": Float64}, ttl=timedelta(hours=2))
WEATHER = view("weather", {"sky": String}, [CITY])
ROUTE = view("route", {"trips": Int64}, [DRIVER, CITY])
WORLD = view("world", {"mood": String}, [])


def opened(folder: Path, *definitions: Definition, **options: Any) -> Repository:
    """A repository with the given views, else with all of this module."""
    return open_repository(folder, definitions or (STATS, WEATHER, ROUTE, WORLD), **options)


def push(repository: Repository, name: str, hours_ago: float = 1, **columns: list[Any]) -> None:
    """Push facts of one time; columns are lists of values."""
    count = len(next(iter(columns.values())))
    times = pa.array([NOON_US - int(hours_ago * HOUR_US)] * count, pa.timestamp("us", "UTC"))
    result = write_online(repository, name, pa.table(columns | {"ts": times, "created": times}))
    assert result.refused == ()
