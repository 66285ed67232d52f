"""The forms of every aggregate function agree: numpy, Python, and the reference; and no order, split or merge shows."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from property.windows_cases import COLUMNS, ODD, SPREADS, Case, arrow_columns, is_equal, random_case
from tiffin.definitions.aggregation import FUNCTIONS
from tiffin.errors import InputError, UnsupportedError
from tiffin.online.rows import payload_bytes
from tiffin.semantics.oracle import Fact, order
from tiffin.semantics.oracle_windows import WindowSpec, aggregate, in_window, window_facts, window_value
from tiffin.types import Float64, Int64, String, UnixTimestamp, arrow_type
from tiffin.windows.aggregate import plain_values
from tiffin.windows.evaluate import Asked, SortedFacts, evaluate_windows
from tiffin.windows.exact import Exact
from tiffin.windows.functions import FUNCTIONS as CLASSES
from tiffin.windows.functions import make_aggregate
from tiffin.windows.window import Window

LAYOUT = tuple((name, repr(dtype)) for name, dtype in COLUMNS.items())


def reference_facts(case: Case) -> list[Fact]:
    """The facts of a case as the rules see them."""
    table = pa.table(arrow_columns(case.columns))
    rows = zip(*case.columns.values(), strict=True)
    times = zip(case.keys.tolist(), case.event.tolist(), case.known.tolist(), strict=True)
    return [
        Fact((key,), event, known, dict(zip(case.columns, row, strict=True)), 0, encoded)
        for (key, event, known), row, encoded in zip(times, rows, payload_bytes(LAYOUT, table), strict=True)
    ]


def fast_facts(case: Case, facts: list[Fact]) -> SortedFacts:
    """The facts in order, equal ones once."""
    distinct = {(fact.key, order(fact)): place for place, fact in enumerate(facts)}
    places = [distinct[place] for place in sorted(distinct)]
    arrow = arrow_columns({name: [values[p] for p in places] for name, values in case.columns.items()})
    positive = [facts[p].payload["i"] is not None and facts[p].payload["i"] > 0 for p in places]
    at = np.array(places, np.int64)
    return SortedFacts(
        codes=case.keys[at],
        event_us=case.event[at],
        known_us=case.known[at] if case.has_known else None,
        columns=arrow,
        conditions=[np.array(positive, np.bool_)],
    )


def python_value(asked: Asked, facts: list[Fact]) -> Any:
    """The value by states: each fact one, merged in pairs in a random order, by way of their bytes."""
    function = make_aggregate(asked.function, asked.dtype, dict(asked.params))
    states = [function.initial()]
    for fact in facts:
        value = True if asked.column == "*" else fact.payload[asked.column]
        if value is not None:
            states.append(function.updated(function.initial(), value, (fact.event_ts, fact.known_ts, fact.encoded)))
    chooser = random.Random(len(facts))
    while len(states) > 1:
        chooser.shuffle(states)
        one, other = states.pop(), states.pop()
        states.append(function.decoded(function.encoded(function.merged(one, other))))
    return function.finished(states[0])


@pytest.mark.parametrize("has_known", [False, True])
@given(seed=st.integers(0, 2**32 - 1), facts=st.integers(0, 60), rows=st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_numpy_and_python_and_the_rules_agree(has_known: bool, seed: int, facts: int, rows: int) -> None:
    case = random_case(seed, facts, rows, has_known=has_known)
    known = reference_facts(case)
    fast = fast_facts(case, known)
    by_key_and_time = np.lexsort((case.row_times, case.row_keys))
    keys, times = case.row_keys[by_key_and_time], case.row_times[by_key_and_time]
    for mode in ("known", "event") if has_known else ("known",):
        found = evaluate_windows(fast, keys, times, case.asked, only_known=mode == "known")
        for asked, spec, column in zip(case.asked, case.specs, found.columns, strict=True):
            answers = plain_values(column) if asked.dtype is not UnixTimestamp else _times(column)
            for key, t, answer in zip(keys.tolist(), times.tolist(), answers, strict=True):
                expected = window_value(known, (key,), t, mode, spec)
                assert is_equal(asked.function, answer, expected), (asked, key, t)
                chosen = [
                    f for f in window_facts(known, (key,), t, mode, spec) if spec.where is None or spec.where(f.payload)
                ]
                assert repr(python_value(asked, chosen)) == repr(answer), (asked, key, t)


def _times(column: pa.Array) -> list[Any]:
    """Times within lists as microseconds too."""
    if pa.types.is_timestamp(column.type):
        return plain_values(column)
    if not pa.types.is_list(column.type):
        return column.to_pylist()
    item = column.type.value_type
    if pa.types.is_struct(item):
        wanted = pa.list_(pa.struct([("value", pa.int64()), ("count", pa.int64())]))
        return column.cast(wanted).to_pylist()
    return column.cast(pa.list_(pa.int64())).to_pylist()


VALUES: dict[Any, list[Any]] = {
    Int64: [0, 1, -1, 2**40, -(2**62), 2**62],
    Float64: ODD,
    String: ["", "a", "b", "é", "zz"],
}
PARAMS = {"n": 3, "p": 0.3, "precision": 5}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_no_order_and_no_split_shows_in_the_bytes_of_a_state(name: str, data: st.DataObject) -> None:
    """WR-2 for states: the same facts give the same bytes, in whatever order they come and are merged."""
    dtypes = [dtype for dtype in VALUES if CLASSES[name].accepts is None or dtype in CLASSES[name].accepts]
    dtype = data.draw(st.sampled_from(dtypes))
    function = make_aggregate(name, dtype, {key: PARAMS[key] for key in FUNCTIONS[name]})
    values = data.draw(st.lists(st.sampled_from(VALUES[dtype]), max_size=12))
    items = [(value, (number // 2, number % 2, repr(value).encode())) for number, value in enumerate(values)]
    whole = function.initial()
    for value, place in items:
        whole = function.updated(whole, value, place)
    shuffled = data.draw(st.permutations(items))
    cut = data.draw(st.integers(0, len(items)))
    parts = []
    for part in (shuffled[:cut], shuffled[cut:]):
        state = function.initial()
        for value, place in part:
            state = function.updated(state, value, place)
        parts.append(function.decoded(function.encoded(state)))
    assert function.encoded(function.merged(parts[0], parts[1])) == function.encoded(whole)
    assert function.encoded(function.merged(parts[1], parts[0])) == function.encoded(whole)


@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_a_sum_of_floats_is_exact_then_rounded_once(values: list[float], seed: int) -> None:
    total = sum((Exact.of(value) for value in values), Exact())
    expected = aggregate("sum", values) if values else 0.0
    assert repr(total.rounded()) == repr(expected + 0.0)
    facts = SortedFacts(
        np.zeros(len(values), np.int64), np.arange(len(values)), None, {"x": pa.array(values, pa.float64())}
    )
    times = np.sort(np.random.default_rng(seed).integers(0, len(values) + 1, 5))
    asked = [Asked("sum", "x", Float64, Window(length)) for length in (1, 7, None)]
    found = evaluate_windows(facts, np.zeros(5, np.int64), times, asked, only_known=False)
    for length, column in zip((1, 7, None), found.columns, strict=True):
        for t, answer in zip(times.tolist(), column.to_pylist(), strict=True):
            window = values[: t + 1] if length is None else values[max(0, t - length + 1) : t + 1]
            assert repr(answer) == repr(aggregate("sum", window))


@given(
    t=st.integers(-(10**6), 10**6), event=st.integers(-(10**6), 10**6),
    length=st.none() | st.integers(1, 10**5), slide=st.none() | st.integers(1, 10**5), offset=st.integers(0, 10**5),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_a_window_has_the_edges_of_the_rules(
    t: int, event: int, length: int | None, slide: int | None, offset: int
) -> None:

    slide = None if length is None else slide
    window = Window(length, slide, offset)
    after, until = window.bounds(t)
    assert (after < event <= until) == in_window(WindowSpec("count", "*", length, slide, offset), event, t)
    many_after, many_until = window.bounds_of(np.array([t]))
    assert (int(many_until[0]), None if many_after is None else int(many_after[0])) == (
        until,
        None if length is None else after,
    )


def test_a_sum_of_whole_numbers_beyond_64_bits_is_an_error_in_both_forms() -> None:
    column = pa.array([2**62, 2**62, 2**62, -(2**62)], pa.int64())
    facts = SortedFacts(np.zeros(4, np.int64), np.arange(4), None, {"x": column})
    asked = [Asked("sum", "x", Int64, Window())]
    total = make_aggregate("sum", Int64)
    values = column.to_pylist()
    found = evaluate_windows(facts, np.array([0]), np.array([0]), asked, only_known=False)
    assert found.columns[0].to_pylist() == [2**62]
    with pytest.raises(InputError, match="does not fit into 64 bits"):
        evaluate_windows(facts, np.array([0]), np.array([2]), asked, only_known=False)
    state = total.initial()
    for value in values[:3]:
        state = total.updated(state, value, (0, 0, b""))
    with pytest.raises(InputError, match="does not fit into 64 bits"):
        total.finished(state)


def test_the_tables_of_names_are_one() -> None:
    assert list(CLASSES) == list(FUNCTIONS)


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="Sum cannot be computed from String"):
        make_aggregate("sum", String)


def test_spreads_of_large_numbers_keep_their_digits() -> None:
    values = [1e9 + 0.001 * number for number in range(10)]
    facts = SortedFacts(np.zeros(10, np.int64), np.arange(10), None, {"x": pa.array(values)})
    asked = [Asked(name, "x", Float64, Window()) for name in SPREADS]
    found = evaluate_windows(facts, np.array([0]), np.array([9]), asked, only_known=False)
    for name, column in zip(SPREADS, found.columns, strict=True):
        assert math.isclose(column[0].as_py(), aggregate(name, values), rel_tol=1e-14)
        assert column.type == arrow_type(Float64)
