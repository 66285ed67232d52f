"""Serving equals training within the oracle: two paths that share little, over every small log there is."""

from __future__ import annotations

import itertools

import pytest

from semantics.cases import fact, tombstone
from tiffin.errors import InputError
from tiffin.semantics.oracle import OnlineState, View, asof, materialize, newest, offline_cell, order

KEY = (1,)
POOL = [
    fact(KEY, 1, x=1, encoded=b"\x01"),
    fact(KEY, 1, x=2, encoded=b"\x02"),
    fact(KEY, 1, 3, x=None, encoded=b"\x00"),
    tombstone(KEY, 1),
    fact(KEY, 2, x=3, encoded=b"\x03", valid_to=4),
    fact(KEY, 2, 4, x=4, encoded=b"\x04"),
    tombstone(KEY, 3, 4),
    fact(KEY, 4, 5, x=5, encoded=b"\x05", valid_to=5),
]
OUTCOME = {"PRESENT": "matched", "NULL_VALUE": "matched", "OUTSIDE_MAX_AGE": "expired", "NOT_FOUND": "missing"}


@pytest.mark.parametrize("ttl", [None, 1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_online_at_now_equals_offline_at_now(ttl: int | None, size: int) -> None:
    """STR-4, WR-1: facts delivered as they become known, one by one or by a run over everything."""
    for facts in itertools.combinations(POOL, size):
        view = View("stats", {"driver": "int64"}, {"x": "int64"}, facts, ttl_us=ttl, defaults={"x": -1})
        streamed, loaded = OnlineState(view), OnlineState(view)
        for now in range(8):
            streamed.write([one for one in facts if max(one.known_ts, one.event_ts) == now], now)
            loaded.write(materialize(facts, 0, now, now), now)
            cell = offline_cell(facts, KEY, now, "known", ttl)
            for answer in (streamed.read(KEY, now), loaded.read(KEY, now)):
                assert answer.values == view.values(cell.fact)
                assert OUTCOME[answer.statuses["x"]] == cell.outcome


def test_asof_gives_the_fact_of_a_matched_cell_and_nothing_else() -> None:
    for t, ttl in itertools.product(range(8), (None, 1, 2)):
        cell = offline_cell(POOL, KEY, t, "event", ttl)
        assert asof(POOL, KEY, t, None, ttl) is cell.fact
        assert (cell.fact is not None) == (cell.outcome == "matched")


def test_order_is_total_over_facts_that_differ() -> None:
    """ORD."""
    assert len({order(one) for one in POOL}) == len(POOL)


def test_facts_with_one_place_in_order_must_be_the_same_fact() -> None:
    """ORD: a forgotten `encoded` is found, not decided by the order of the list."""
    assert newest([fact(KEY, 1, x=1), fact(KEY, 1, x=1)]) == fact(KEY, 1, x=1)
    with pytest.raises(InputError, match="same place in ORD"):
        newest([fact(KEY, 1, x=1), fact(KEY, 1, x=2)])
