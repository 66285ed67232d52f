"""The query of a training set over windows gives the values of the fast path, on the same random facts."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from property.test_window_retrieval import Shape, applied, definition, made, plain, rows_of, shapes, write_files
from property.windows_cases import COLUMNS, SPREADS, Case, random_params, random_window
from tiffin.backends.duckdb.offline import DuckDBEngine
from tiffin.definitions.aggregation import FUNCTIONS
from tiffin.operations.entity_rows import EntityRows
from tiffin.operations.windows import join_windows
from tiffin.planning.references import resolve_features
from tiffin.planning.retrieval import plan_retrieval
from tiffin.semantics.oracle import Fact
from tiffin.semantics.oracle_windows import same, window_facts
from tiffin.sql.aggregates import SQL_FORMS
from tiffin.types import Bool
from tiffin.windows.evaluate import Asked
from tiffin.windows.functions import FUNCTIONS as CLASSES

#: Beyond these, squares and sums of floats overflow or vanish on the way.
SMALLEST, LARGEST = 1e-140, 1e140
ROUNDED = ("sum", "mean", *SPREADS)
ENDS = ("first", "last", "first_n", "last_n")


def test_the_table_of_sql_forms_is_complete() -> None:
    assert list(SQL_FORMS) == list(FUNCTIONS)


def is_alike(asked: Asked, values: list[Any], found: Any, fast: Any) -> bool:
    """Whether the query gives what it promises for the values of a window."""
    if asked.function in ROUNDED and isinstance(fast, float):
        sizes = [abs(float(value)) for value in values]
        finite = [size for size in sizes if math.isfinite(size) and size > 0]
        if any(not SMALLEST < size < LARGEST for size in finite):
            return isinstance(found, float)
        if not math.isfinite(fast):
            return repr(found) == repr(fast)
        size = max(finite, default=0.0)
        scale = {"sum": len(sizes) * size, "mean": size, "var_samp": size * size, "var_pop": size * size}
        return abs(found - fast) <= max(1e-9 * abs(fast), 1e-13 * scale.get(asked.function, 1e6 * size))
    if asked.function == "approx_count_distinct" and found != fast:
        most = CLASSES[asked.function](asked.dtype, dict(asked.params)).most
        return found == len({same(value) for value in values}) > most
    return repr(found) == repr(fast)


def has_ties(facts: list[Fact]) -> bool:
    """Whether the payload alone puts facts into their order."""
    return any(count > 1 for count in Counter((fact.event_ts, fact.known_ts) for fact in facts).values())


def compare(case: Case, shape: Shape, folder: Path) -> int:
    """Compare one case cell by cell; returns the cells compared."""
    write_files(case, shape, folder)
    engine = DuckDBEngine.from_config({"threads": 1}, str(folder))
    try:
        snapshot = applied(*definition(case, shape, folder), engine)
        plan = plan_retrieval(snapshot, resolve_features(snapshot, ["v"]), only_known=shape.only_known)
        rows = rows_of(case, shape)
        spine = EntityRows.from_any(rows).spine(plan.keys)
        fast = join_windows(engine, plan.views[0], spine, only_known=shape.only_known).features
        sql = engine.to_sql(plan, "event_timestamp")
    finally:
        engine.close()
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("entity_df", rows)
        slow = connection.sql(sql).to_arrow_table()
    assert slow.select(fast.column_names).schema.types == fast.schema.types, sql
    keys, times = rows["k"].to_pylist(), case.row_times.tolist()
    for number, (asked, spec) in enumerate(zip(case.asked, case.specs, strict=True)):
        pairs = zip(slow[f"f{number}"].to_pylist(), fast[f"f{number}"].to_pylist(), strict=True)
        for key, t, pair in zip(keys, times, pairs, strict=True):
            found, expected = map(plain, pair)
            wanted = () if shape.keyless else (key,)
            facts = window_facts(case.facts, wanted, t, "known" if shape.only_known else "event", spec)
            if asked.function in ENDS and has_ties(facts):
                continue
            chosen = [fact.payload for fact in facts if spec.where is None or spec.where(fact.payload)]
            values = [row[asked.column] for row in chosen if asked.column != "*" and row[asked.column] is not None]
            assert is_alike(asked, values, found, expected), (asked, key, t, found, expected, values, sql)
    return len(times) * len(case.asked)


@given(shape=shapes)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_gives_the_values_of_the_fast_path(shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> None:
    compare(made(shape), shape, tmp_path_factory.mktemp("facts"))


@pytest.mark.parametrize("only_known", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_over_every_type_as_sql(function: str, only_known: bool, tmp_path: Path) -> None:
    accepts = CLASSES[function].accepts
    shape = Shape(7, 150, 40, keyless=False, has_known=True, only_known=only_known, files=1, moments=60)
    rng = np.random.default_rng(7)
    case = made(shape)
    asked, specs = [], []
    names = [name for name, dtype in COLUMNS.items() if accepts is None or dtype in accepts]
    names = [name for name in names if function != "sum" or name != "wide"]
    for column in [*names, *names, *(["*"] if function == "count" else [])]:
        window, params = random_window(rng, shape.spread), random_params(rng, function)
        asked.append(Asked(function, column, Bool if column == "*" else COLUMNS[column], window, None, params))
        specs.append(
            replace(
                case.specs[0], function=function, column=column, window_us=window.length_us,
                slide_us=window.slide_us, offset_us=window.offset_us, where=None, **dict(params),
            )
        )  # fmt: skip
    assert compare(replace(case, asked=asked, specs=specs), shape, tmp_path) == 40 * len(asked)
