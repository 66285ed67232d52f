"""The hand-written scripts of `tests/semantics` against the online stores, through the operations that users call."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from backends.duckdb.hand_written import TYPES, UTC_US, arrow_named, definition_of, service_of, write_facts
from parity.repository import Repository, open_repository
from semantics.cases import Delete, Expect, KeyCase, Load, OnlineCase, Push, ServeCase
from semantics.comparing import exactly
from semantics.tables_online import KEY_VALUES, ONLINE, SERVES, SHUFFLED, SHUFFLED_ANSWERS
from tiffin.contracts.online import WriteBatch
from tiffin.errors import TypeMismatchError
from tiffin.online.keys import encode_keys, key_value
from tiffin.online.rows import payload_bytes, row_codec
from tiffin.online.rows import tombstone as tombstone_row
from tiffin.operations.materialize import materialize
from tiffin.operations.online import read_online, write_online
from tiffin.semantics.oracle import Fact, View
from tiffin.time import ManualClock, to_us

STORES = ("sqlite", "memory")


def named(cases: Sequence[Any]) -> list[Any]:
    return [pytest.param(case, id=f"{'+'.join(case.rules)}: {case.name}") for case in cases]


def inexpressible(case: OnlineCase) -> str:
    """Why a script cannot be run; empty when it can."""
    facts = [fact for step in case.steps if isinstance(step, Push) for fact in step.facts]
    if any(fact.valid_to is not None for fact in (*facts, *case.view.facts)):
        return "a view has no valid-to column"
    if "WR-5" in case.rules and any(fact.payload is None for fact in facts):
        return "no operation pushes tombstones"
    return ""


def opened(folder: Path, views: Sequence[View], store: str) -> Repository:
    definitions = []
    for view in views:
        write_facts(view, folder / f"{view.name}.parquet", created=True)
        definitions.append(definition_of(view, f"{view.name}.parquet", created=True))
    return open_repository(folder, definitions, clock=ManualClock(0), online=store)


def write(repository: Repository, view: View, facts: Sequence[Fact], now: int, skew: int) -> tuple[int, int, int]:
    """Write facts at `now`: as users do, or row by row where a fact has an offset or is a tombstone."""
    repository.clock.set(now)  # type: ignore[attr-defined]
    if any(fact.payload is None or fact.offset for fact in facts):
        keys, rows = keys_of(view, facts), [row_of(view, fact) for fact in facts]
        result = repository.online.write(WriteBatch(repository.snapshot().storage(view.name).table, keys, rows))
        return result.written, result.stale, 0
    columns: dict[str, Any] = {
        name: pa.array([fact.key[i] for fact in facts], arrow_named(kind))
        for i, (name, kind) in enumerate(view.keys.items())
    }
    for name, kind in view.fields.items():
        columns[name] = pa.array([(fact.payload or {})[name] for fact in facts], arrow_named(kind))
    columns["event_time"] = pa.array([fact.event_ts for fact in facts], UTC_US)
    columns["created_time"] = pa.array([fact.known_ts for fact in facts], UTC_US)
    repository.config = repository.config.model_copy(update={"max_future_skew_seconds": skew / 1_000_000})
    pushed = write_online(repository, view.name, pa.table(columns))
    return pushed.written, pushed.stale, len(pushed.refused)


def keys_of(view: View, facts: Sequence[Fact]) -> list[bytes]:
    columns = [[fact.key[i] for fact in facts] for i in range(len(view.keys))]
    keys = encode_keys(columns, [TYPES[kind] for kind in view.keys.values()], list(view.keys), len(facts))
    return [key for key in keys if key is not None]


def row_of(view: View, fact: Fact) -> bytes:
    if fact.payload is None:
        return tombstone_row(fact.event_ts, fact.known_ts, fact.offset)
    layout = tuple((name, repr(TYPES[kind])) for name, kind in view.fields.items())
    table = pa.table({n: pa.array([fact.payload[n]], arrow_named(kind)) for n, kind in view.fields.items()})
    stamps = (np.array([fact.event_ts]), np.array([fact.known_ts]), np.array([fact.offset], np.uint64))
    return row_codec(layout).encode(table, *stamps)[0]


def check(repository: Repository, view: View, expected: Expect) -> None:
    repository.clock.set(expected.now)  # type: ignore[attr-defined]
    row = dict(zip(view.keys, expected.key, strict=True))
    answer = read_online(repository, [view.name], [row])
    values, statuses, times = answer.to_dict(), answer.statuses(), answer.event_timestamps()
    assert exactly([[values[name][0] for name in view.fields]]) == exactly([expected.values])
    assert tuple(statuses[name][0] for name in view.fields) == expected.statuses
    assert {None if t is None else to_us(t) for (t,) in times.values()} == {expected.event_ts}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("case", named(ONLINE))
def test_store_answers_as_written_by_hand(tmp_path: Path, case: OnlineCase, store: str) -> None:
    if reason := inexpressible(case):
        pytest.skip(reason)
    view = case.view
    repository = opened(tmp_path, [view], store)
    for step in case.steps:
        match step:
            case Push(facts, now, counts, skew):
                assert write(repository, view, facts, now, skew) == counts
            case Delete(key, event_ts, now):
                write(repository, view, [Fact(key, event_ts, event_ts, None)], now, 0)
            case Load(start, end, now):
                repository.clock.set(now)  # type: ignore[attr-defined]
                materialize(repository, start, end, [view.name])
            case Expect():
                check(repository, view, step)
    repository.close()


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("case", named(SERVES))
def test_served_rows_are_as_written_by_hand(tmp_path: Path, case: ServeCase, store: str) -> None:
    views = list({join.view.name: join.view for join in case.joins}.values())
    repository = opened(tmp_path, views, store)
    for view in views:
        write(repository, view, view.facts, case.now, 0)
    rows: Any = [dict(row) for row in case.frame.rows]
    service = service_of(case.joins, case.request)
    answer = read_online(repository, service, rows, full_feature_names=case.full_feature_names)
    values, statuses, times = answer.to_dict(), answer.statuses(), answer.event_timestamps()
    assert tuple(values) == case.columns
    assert exactly(zip(*values.values(), strict=True)) == exactly(case.expected)
    assert list(zip(*statuses.values(), strict=True)) == list(case.statuses)
    found = [tuple(None if t is None else to_us(t) for t in row) for row in zip(*times.values(), strict=True)]
    assert found == list(case.event_ts)
    repository.close()


@pytest.mark.parametrize("case", named([case for case in KEY_VALUES if case.value is not None]))
def test_key_values_are_one_form_or_refused(case: KeyCase) -> None:
    if case.refused:
        with pytest.raises(TypeMismatchError, match="driver"):
            key_value(case.value, TYPES[case.key_type], "driver")
    else:
        assert exactly([[key_value(case.value, TYPES[case.key_type], "driver")]]) == exactly([[case.expected]])


def test_any_order_of_the_same_facts_leaves_the_same_store(tmp_path: Path) -> None:
    view = ONLINE[0].view
    repository = opened(tmp_path, [view], "memory")
    table = repository.snapshot().storage(view.name).table
    for arrival in itertools.permutations(SHUFFLED):
        for fact in (*arrival, *arrival[:2]):
            write(repository, view, [fact], 40, 0)
        for expected in SHUFFLED_ANSWERS:
            check(repository, view, expected)
        repository.online.drop([table])
        repository.online.ensure([table])


def test_tables_that_say_how_payloads_compare_agree_with_the_rows() -> None:
    for case in ONLINE:
        layout = tuple((name, repr(TYPES[kind])) for name, kind in case.view.fields.items())
        facts = [f for step in case.steps if isinstance(step, Push) for f in step.facts if f.encoded and f.payload]
        for one, other in itertools.combinations(facts, 2):
            tables = [
                pa.table({n: pa.array([f.payload[n]], arrow_named(k)) for n, k in case.view.fields.items()})  # type: ignore[index]
                for f in (one, other)
            ]
            first, second = (payload_bytes(layout, table)[0] for table in tables)
            assert (one.encoded < other.encoded) == (first < second)
