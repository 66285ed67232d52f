"""The oracle against the hand-written scripts for online stores: ORD, ONL-1 to ONL-5, WR-1 to WR-6, MAT-1, TYP-3."""

from __future__ import annotations

import itertools

import pytest

from semantics.cases import Delete, Expect, KeyCase, Load, OnlineCase, Push, ServeCase, fact, view
from semantics.comparing import exactly
from semantics.tables_online import KEY_VALUES, ONLINE, SERVES, SHUFFLED, SHUFFLED_ANSWERS
from tiffin.errors import InputError, TypeMismatchError
from tiffin.semantics.oracle import Fact, OnlineState, materialize
from tiffin.semantics.oracle_requests import Frame, Served, key_value, serve


def named(cases):
    return [pytest.param(case, id=f"{'+'.join(case.rules)}: {case.name}") for case in cases]


def check(state: OnlineState, expected: Expect) -> None:
    answer = state.read(expected.key, expected.now)
    fields = list(state.view.fields)
    assert exactly([[answer.values[name] for name in fields]]) == exactly([expected.values])
    assert tuple(answer.statuses[name] for name in fields) == expected.statuses
    assert answer.event_ts == expected.event_ts


def serve_case(case: ServeCase, frame: Frame) -> Served:
    stores = {join.view.name: OnlineState(join.view) for join in case.joins}
    for state in stores.values():
        state.write(state.view.facts, case.now)
    return serve(frame, case.joins, stores, case.now, request=case.request, full_feature_names=case.full_feature_names)


@pytest.mark.parametrize("case", named(ONLINE))
def test_store_answers_as_written_by_hand(case: OnlineCase) -> None:
    state = OnlineState(case.view)
    for step in case.steps:
        match step:
            case Push(facts, now, counts, skew):
                result = state.write(facts, now, skew)
                assert (result.written, result.stale, len(result.refused)) == counts
            case Delete(key, event_ts, now):
                state.delete(key, event_ts, now)
            case Load(start, end, now):
                state.write(materialize(case.view.facts, start, end, now), now)
            case Expect():
                check(state, step)


@pytest.mark.parametrize("case", named(SERVES))
def test_served_rows_are_as_written_by_hand(case: ServeCase) -> None:
    answer = serve_case(case, case.frame)
    assert tuple(answer.columns) == case.columns
    assert exactly([row[c] for c in case.columns] for row in answer.rows) == exactly(case.expected)
    assert [tuple(row.values()) for row in answer.statuses] == list(case.statuses)
    assert [tuple(row.values()) for row in answer.event_ts] == list(case.event_ts)


@pytest.mark.parametrize("case", named(SERVES))
def test_each_served_row_is_the_same_alone(case: ServeCase) -> None:
    """ONL-1."""
    for row, expected in zip(case.frame.rows, case.expected, strict=True):
        alone = serve_case(case, Frame(case.frame.columns, [row]))
        assert exactly([r[c] for c in case.columns] for r in alone.rows) == exactly([expected])


@pytest.mark.parametrize("case", named(KEY_VALUES))
def test_key_values_are_one_form_or_refused(case: KeyCase) -> None:
    if case.refused:
        with pytest.raises(TypeMismatchError, match="row 3, driver"):
            key_value(case.value, case.key_type, "row 3, driver")
    else:
        assert exactly([[key_value(case.value, case.key_type, "row 3, driver")]]) == exactly([[case.expected]])


def test_any_order_of_the_same_facts_leaves_the_same_store() -> None:
    """WR-1, WR-2: all 720 orders, one by one, and written again."""
    for arrival in itertools.permutations(SHUFFLED):
        state = OnlineState(view())
        for one in (*arrival, *arrival[:2]):
            state.write([one], now=40)
        for expected in SHUFFLED_ANSWERS:
            check(state, expected)


def test_any_split_of_the_same_facts_leaves_the_same_store() -> None:
    """WR-1, WR-2."""
    for cut, second in itertools.combinations_with_replacement(range(len(SHUFFLED) + 1), 2):
        state = OnlineState(view())
        for batch in (SHUFFLED[second:], SHUFFLED[:cut], SHUFFLED[cut:second]):
            state.write(batch, now=40)
        for expected in SHUFFLED_ANSWERS:
            check(state, expected)


def test_any_cover_of_a_range_leaves_the_same_store() -> None:
    """MAT-1: each cover of 0 to 40 by two intervals that overlap or touch, in both orders."""
    history = view(*SHUFFLED)
    for cut in range(41):
        for cover in ([(0, cut), (cut, 40)], [(cut, 40), (0, cut)], [(cut + 1, 40), (0, cut)], [(0, 40), (0, cut)]):
            state = OnlineState(history)
            for start, end in cover:
                state.write(materialize(history.facts, start, end, now=40), now=40)
            for expected in SHUFFLED_ANSWERS:
                check(state, expected)


def test_default_skew_is_five_minutes_and_refused_facts_are_reported() -> None:
    """WR-5."""
    state = OnlineState(view())
    just, beyond = fact((1,), 300_000_000, x=1), fact((2,), 300_000_001, x=2)
    result = state.write([just, beyond], now=0)
    assert result.refused == [beyond]
    assert state.stored == {(1,): just}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Fact((None,), 10, 10, {"x": 1}), "row 1: join key 'driver' is null"),
        (Fact((2,), 10, 10, {}), "row 1: missing or unknown columns"),
        (Fact((2,), 10, 10, {"x": 1, "y": 2}), "row 1: missing or unknown columns"),
    ],
)
def test_one_bad_row_keeps_the_whole_batch_out(bad: Fact, says: str) -> None:
    """WR-6."""
    state = OnlineState(view())
    with pytest.raises(InputError, match=says):
        state.write([fact((1,), 10, x=1), bad], now=40)
    assert state.stored == {}
