"""Pushes and reads, in any order and at any moments, against the reference's online state (ORD, WR, ONL)."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parity.repository import Repository, open_repository
from semantics.comparing import exactly
from tiffin.definitions import Entity, FeatureView, Field, PushSource
from tiffin.online.rows import payload_bytes
from tiffin.operations.online import read_online, write_online
from tiffin.semantics.oracle import Fact, OnlineState, View
from tiffin.time import ManualClock, to_us
from tiffin.types import Array, Float64, Int64, String, ValueType, arrow_type

TYPES = {"x": Int64, "y": Float64, "s": String, "l": Array(Int64)}
LAYOUT = tuple((name, repr(dtype)) for name, dtype in TYPES.items())
UTC_US = pa.timestamp("us", "UTC")
SKEW_US = 3
NUMBERS = count()

payloads = st.fixed_dictionaries(
    {
        "x": st.none() | st.integers(-2, 300),
        "y": st.none() | st.sampled_from([0.0, -0.0, 1.5, float("nan")]),
        "s": st.none() | st.sampled_from(["", "a", "b"]),
        "l": st.none() | st.lists(st.none() | st.integers(0, 2), max_size=2),
    }
)
facts = st.tuples(st.integers(1, 3), st.integers(0, 12), st.integers(0, 12), payloads)
steps = st.lists(
    st.tuples(st.lists(facts, max_size=8), st.integers(0, 14), st.lists(st.none() | st.integers(1, 4), max_size=12)),
    max_size=5,
)


def opened(folder: Path, ttl_us: int, defaults: dict[str, Any]) -> Repository:
    fields = [Field(name=name, dtype=dtype, default_value=defaults.get(name)) for name, dtype in TYPES.items()]
    view = FeatureView(
        name="stats",
        entities=[Entity(name="driver", value_type=ValueType.INT64)],
        schema=fields,
        source=PushSource(name="push", timestamp_field="ts", created_timestamp_column="created"),
        ttl=timedelta(microseconds=ttl_us),
    )
    repository = open_repository(folder, [view], clock=ManualClock(0))
    repository.config = repository.config.model_copy(update={"max_future_skew_seconds": SKEW_US / 1_000_000})
    return repository


def table_of(drawn: list[tuple[int, int, int, dict[str, Any]]]) -> pa.Table:
    columns: dict[str, Any] = {"driver": pa.array([key for key, *_ in drawn], pa.int64())}
    for name, dtype in TYPES.items():
        columns[name] = pa.array([payload[name] for *_, payload in drawn], arrow_type(dtype))
    columns["ts"] = pa.array([event for _, event, _, _ in drawn], UTC_US)
    columns["created"] = pa.array([known for _, _, known, _ in drawn], UTC_US)
    return pa.table(columns)


@given(steps=steps, ttl_us=st.integers(0, 6), with_defaults=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_store_answers_as_the_reference(tmp_path: Path, steps: list[Any], ttl_us: int, with_defaults: bool) -> None:
    defaults: dict[str, Any] = {"x": -1, "l": [7]} if with_defaults else {}
    repository = opened(tmp_path / str(next(NUMBERS)), ttl_us, defaults)
    view = View("stats", {"driver": "int64"}, dict.fromkeys(TYPES, ""), (), ttl_us, defaults)
    state = OnlineState(view)
    for drawn, now, wanted in steps:
        repository.clock.set(now)  # type: ignore[attr-defined]
        table = table_of(drawn)
        encoded = payload_bytes(LAYOUT, table)
        expected = state.write(
            [Fact((k,), e, c, p, encoded=b) for (k, e, c, p), b in zip(drawn, encoded, strict=True)], now, SKEW_US
        )
        result = write_online(repository, "stats", table)
        counts = (expected.written, expected.stale, len(expected.refused))
        assert (result.written, result.stale, len(result.refused)) == counts
        answer = read_online(repository, ["stats"], {"driver": wanted})
        values, statuses, times = answer.to_dict(), answer.statuses(), answer.event_timestamps()
        arrow = answer.to_arrow()
        for number, driver in enumerate(wanted):
            cell = state.read((driver,), now)
            row = [values[name][number] for name in TYPES]
            assert exactly([row]) == exactly([[cell.values[name] for name in TYPES]])
            assert exactly([[arrow[name][number].as_py() for name in TYPES]]) == exactly([row])
            assert {name: statuses[name][number] for name in TYPES} == dict(cell.statuses)
            found = {None if times[name][number] is None else to_us(times[name][number]) for name in TYPES}
            assert found == {cell.event_ts}
    repository.close()
