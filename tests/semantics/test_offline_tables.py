"""The oracle against the hand-written tables for training sets: ORD, PIT-1 to PIT-13, ONL-1, ONL-5, TYP-2, TYP-3."""

from __future__ import annotations

import copy
import random

import pytest

from semantics.cases import RefusalCase, RetrievalCase, SpineCase
from semantics.comparing import exactly
from semantics.tables import RETRIEVALS
from semantics.tables_requests import REFUSALS, SPINES
from tiffin.semantics.oracle import Fact, View
from tiffin.semantics.oracle_requests import Frame, Join, TrainingSet, retrieve, spine


def named(cases):
    return [pytest.param(case, id=f"{'+'.join(case.rules)}: {case.name}") for case in cases]


def run(case: RetrievalCase, frame: Frame | None = None, joins: tuple[Join, ...] | None = None) -> TrainingSet:
    return retrieve(
        frame or case.frame,
        joins or case.joins,
        mode=case.mode,
        request=case.request,
        full_feature_names=case.full_feature_names,
    )


def feature_rows(case: RetrievalCase, answer: TrainingSet):
    return [[row[column] for column in case.columns] for row in answer.rows]


@pytest.mark.parametrize("case", named(RETRIEVALS))
def test_training_set_is_as_written_by_hand(case: RetrievalCase) -> None:
    answer = run(case)
    assert exactly(feature_rows(case, answer)) == exactly(case.expected)
    assert dict(answer.report) == dict(case.report)


@pytest.mark.parametrize("case", named(RETRIEVALS))
def test_entity_columns_come_first_and_come_back_untouched(case: RetrievalCase) -> None:
    """PIT-1, PIT-7, PIT-8, PIT-10: as many rows as went in, same order, same values, same types."""
    before = copy.deepcopy(case.frame.rows)
    answer = run(case)
    columns = list(case.frame.columns)
    assert list(answer.columns) == [*columns, *case.columns]
    assert {column: answer.columns[column] for column in columns} == dict(case.frame.columns)
    assert exactly([row[c] for c in columns] for row in answer.rows) == exactly([r[c] for c in columns] for r in before)
    assert exactly(row.values() for row in case.frame.rows) == exactly(row.values() for row in before)


@pytest.mark.parametrize("case", named(RETRIEVALS))
def test_answer_does_not_depend_on_the_order_of_facts(case: RetrievalCase) -> None:
    """PIT-4, PIT-5."""
    shuffle = random.Random(20240101)
    for _ in range(5):
        answer = run(case, joins=tuple(with_facts(join, shuffled(join.view.facts, shuffle)) for join in case.joins))
        assert exactly(feature_rows(case, answer)) == exactly(case.expected)
        assert dict(answer.report) == dict(case.report)


@pytest.mark.parametrize("case", named(RETRIEVALS))
def test_each_row_is_answered_the_same_alone(case: RetrievalCase) -> None:
    """PIT-5: neither the order of the rows nor a split of the frame matters."""
    for row, expected in zip(case.frame.rows, case.expected, strict=True):
        alone = run(case, frame=Frame(case.frame.columns, [row]))
        assert exactly(feature_rows(case, alone)) == exactly([expected])


@pytest.mark.parametrize("case", named(RETRIEVALS))
def test_answer_does_not_depend_on_the_order_of_views(case: RetrievalCase) -> None:
    """PIT-5."""
    answer = run(case, joins=case.joins[::-1])
    assert exactly(feature_rows(case, answer)) == exactly(case.expected)


@pytest.mark.parametrize("case", named(REFUSALS))
def test_refused_before_anything_runs(case: RefusalCase) -> None:
    with pytest.raises(case.error) as caught:
        retrieve(case.frame, case.joins, full_feature_names=case.full_feature_names)
    assert [word for word in case.says if word not in str(caught.value)] == []


@pytest.mark.parametrize("case", named(SPINES))
def test_facts_make_the_rows_without_an_entity_frame(case: SpineCase) -> None:
    rows = spine(case.joins, case.start, case.end, case.keys)
    answer = retrieve(rows, case.joins, mode=case.mode)
    assert tuple(answer.columns) == case.columns
    assert exactly(row.values() for row in answer.rows) == exactly(case.expected)


def test_facts_after_t_move_nothing() -> None:
    """PIT-5: poison the future of every row, in values, nulls and tombstones."""
    facts = [Fact((1,), 10, 10, {"x": 1}), Fact((1,), 20, 20, {"x": 2})]
    poison = [
        Fact((1,), 21, 21, {"x": 666}),
        Fact((1,), 22, 5, {"x": None}),
        Fact((1,), 15, 21, {"x": 667}),
        Fact((1,), 10, 22, None),
        Fact((1,), 10**15, 10**15, {"x": 668}, valid_to=0),
    ]
    frame = Frame(
        {"driver": "int64", "event_timestamp": "timestamp[us, tz=UTC]"},
        [{"driver": 1, "event_timestamp": t} for t in (9, 10, 19, 20)],
    )
    for known in ([], poison):
        joins = [Join(View("stats", {"driver": "int64"}, {"x": "int64"}, facts + known))]
        assert [row["x"] for row in retrieve(frame, joins).rows] == [None, 1, 1, 2]


def shuffled(facts, shuffle: random.Random) -> list[Fact]:
    facts = list(facts)
    shuffle.shuffle(facts)
    return facts


def with_facts(join: Join, facts) -> Join:
    view = join.view
    return Join(View(view.name, view.keys, view.fields, facts, view.ttl_us, view.defaults), join.alias, join.key_map)
