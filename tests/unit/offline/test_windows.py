"""Aggregations over windows in training sets, by hand: edges, slides, offsets, nulls, filters, known times."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import Aggregation, Entity, FeatureStore, FeatureView, Field, FileSource, ManualClock
from tiffin.config import RepoConfig
from tiffin.errors import InputError, TypeMismatchError
from tiffin.time import to_us
from tiffin.types import Float64, Int32, ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
MINUTE_US, HOUR, MINUTE = 60_000_000, timedelta(hours=1), timedelta(minutes=1)
UTC_US = pa.timestamp("us", "UTC")
CARD = Entity(name="card", value_type=ValueType.INT64)

#: card, minutes after noon, known minutes after noon, amount, merchant
Payment = tuple[int | None, int, int, float | None, str | None]
PAYMENTS: list[Payment] = [
    (1, 0, 0, 10.0, "a"),
    (1, 10, 10, 20.0, "b"),
    (1, 10, 30, None, "a"),
    (1, 59, 59, 0.1, "a"),
    (2, 5, 5, 1.0, None),
    (None, 5, 5, 100.0, "a"),
]


def opened(folder: Path, view: FeatureView, payments: list[Payment] = PAYMENTS, **options: Any) -> FeatureStore:
    card, at, known, amount, merchant = (list(column) for column in zip(*payments, strict=True))
    table = pa.table(
        {
            "card": pa.array(card, pa.int64()),
            "ts": pa.array([NOON_US + minute * MINUTE_US for minute in at], UTC_US),
            "known": pa.array([NOON_US + minute * MINUTE_US for minute in known], UTC_US),
            "amount": pa.array(amount, pa.float64()),
            "merchant": pa.array(merchant, pa.string()),
            "cents": pa.array([None if v is None or v != v else round(v * 100) for v in amount], pa.int64()),
        }
    )
    pq.write_table(table, folder / "payments.parquet")
    store = FeatureStore(config=RepoConfig(project="tests", repo_path=folder, **options), clock=ManualClock(NOON_US))
    store.apply([CARD, view])
    return store


def windows(*aggregations: Aggregation, created: bool = False, **arguments: Any) -> FeatureView:
    source = FileSource(
        path="payments.parquet", timestamp_field="ts", created_timestamp_column="known" if created else ""
    )
    return FeatureView(
        **{"name": "spent", "entities": [CARD], "source": source, "aggregations": list(aggregations), **arguments}
    )


def asked(store: FeatureStore, rows: list[tuple[int | None, int]], **options: Any) -> dict[str, list[Any]]:
    """The features of cards at microseconds after noon."""
    spine = pa.table(
        {
            "card": pa.array([card for card, _ in rows], pa.int64()),
            "event_timestamp": pa.array([NOON_US + us for _, us in rows], UTC_US),
        }
    )
    table = store.get_historical_features(spine, ["spent"], **options).to_arrow()
    return {name: table[name].to_pylist() for name in table.column_names[2:]}


def test_the_old_edge_is_open_and_the_new_one_closed(tmp_path: Path) -> None:
    store = opened(
        tmp_path, windows(Aggregation("amount", "sum", HOUR, name="s"), Aggregation("*", "count", HOUR, name="n"))
    )
    hour = 60 * MINUTE_US
    found = asked(store, [(1, -1), (1, 0), (1, hour - 1), (1, hour), (1, 70 * MINUTE_US)])
    assert found == {"s": [None, 10.0, 30.1, 20.1, 0.1], "n": [0, 1, 4, 3, 1]}


def test_a_sliding_window_keeps_its_old_edge_at_multiples(tmp_path: Path) -> None:
    exact = Aggregation("*", "count", HOUR, name="exact")
    slides = Aggregation("*", "count", HOUR, 15 * MINUTE, name="slides")
    store = opened(tmp_path, windows(exact, slides, fact_id="merchant"))
    at = [minute * MINUTE_US for minute in (60, 69, 70, 74, 75)]
    found = asked(store, [(1, us) for us in at])
    assert found == {"exact": [3, 3, 1, 1, 1], "slides": [3, 3, 3, 3, 1]}


def test_an_offset_moves_both_edges_and_a_lifetime_has_no_old_one(tmp_path: Path) -> None:
    before = Aggregation("amount", "sum", HOUR, offset=HOUR, name="before")
    ever = Aggregation("amount", "sum", name="ever")
    store = opened(tmp_path, windows(before, ever))
    found = asked(store, [(1, 60 * MINUTE_US), (1, 70 * MINUTE_US), (1, 10_000 * MINUTE_US)])
    assert found == {"before": [10.0, 30.0, None], "ever": [30.1, 30.1, 30.1]}


def test_nulls_are_left_out_and_keys_without_facts_have_none(tmp_path: Path) -> None:
    """PIT-3, PIT-8: rows stay; a null key has null features, a key without facts has counts of 0."""
    store = opened(
        tmp_path,
        windows(
            Aggregation("amount", "count", name="amounts"),
            Aggregation("*", "count", name="facts"),
            Aggregation("merchant", "count_distinct", name="merchants"),
            Aggregation("amount", "mean", name="mean"),
        ),
    )
    late = 100 * MINUTE_US
    found = asked(store, [(1, late), (2, late), (3, late), (None, late)])
    assert found == {
        "amounts": [3, 1, 0, None],
        "facts": [4, 1, 0, None],
        "merchants": [2, 0, 0, None],
        "mean": [30.1 / 3, 1.0, None, None],
    }
    report = store.get_historical_features(
        pa.table({"card": pa.array([1, 3, None], pa.int64()), "event_timestamp": pa.array([NOON_US] * 3, UTC_US)}),
        ["spent"],
    ).report.views[0]
    assert (report.rows, report.matched, report.missing) == (3, 1, 2)


def test_a_filter_chooses_the_facts_that_count(tmp_path: Path) -> None:
    store = opened(
        tmp_path,
        windows(Aggregation("amount", "sum", name="s", filter="merchant = 'a' AND amount < 5 OR NOT cents <> 1000")),
    )
    assert asked(store, [(1, 100 * MINUTE_US), (2, 100 * MINUTE_US)]) == {"s": [10.1, None]}


def test_the_last_facts_come_in_order_and_the_payload_decides_ties(tmp_path: Path) -> None:
    """PIT-4"""
    view = windows(Aggregation("merchant", "last_n", n=3, name="last"), Aggregation("merchant", "first", name="first"))
    ties: list[Payment] = [(1, 0, 0, 1.0, "b"), (1, 0, 0, 1.0, "a"), (1, 1, 1, 1.0, "c"), (1, -1, 0, 1.0, None)]
    store = opened(tmp_path, view, ties)
    expected = {"last": [["a", "b", "c"]], "first": ["a"]}
    assert asked(store, [(1, 5 * MINUTE_US)]) == expected
    store = opened(tmp_path, view, ties[::-1])
    assert asked(store, [(1, 5 * MINUTE_US)]) == expected
    spine = pa.table({"card": [1], "event_timestamp": pa.array([NOON_US], UTC_US)})
    assert store.get_historical_features(spine, ["spent"]).report.views[0].ties == 1


def test_facts_count_once_they_are_known(tmp_path: Path) -> None:
    view = windows(Aggregation("*", "count", name="n"), Aggregation("merchant", "last", name="m"), created=True)
    known = opened(tmp_path, view, point_in_time="known")
    rows = [(1, minute * MINUTE_US) for minute in (10, 29, 30)]
    assert asked(known, rows) == {"n": [2, 2, 3], "m": ["b", "b", "a"]}
    event = opened(tmp_path, view, point_in_time="event")
    assert asked(event, rows) == {"n": [3, 3, 3], "m": ["a", "a", "a"]}
    spine = pa.table({"card": [1, 1], "event_timestamp": pa.array([NOON_US, rows[0][1] + NOON_US], UTC_US)})
    assert event.get_historical_features(spine, ["spent"]).report.views[0].known_later == 1


COUNTED = {"count": 1, "sum": 2.0, "mean": 2.0, "var_pop": 0.0, "last_n": [2.0], "top_k": [{"value": 2.0, "count": 1}]}


@pytest.mark.parametrize("function", COUNTED)
def test_equal_facts_count_once_in_every_function(function: str, tmp_path: Path) -> None:
    n = 5 if function in ("last_n", "top_k") else None
    view = windows(Aggregation("amount", function, HOUR, name="f", n=n))
    store = opened(tmp_path, view, [(1, 0, 0, 2.0, "a"), (1, 0, 9, 2.0, "b"), (2, 0, 0, 2.0, "a")])
    assert asked(store, [(1, 0), (2, 0), (3, 0)])["f"][:2] == [COUNTED[function]] * 2


def test_facts_that_differ_in_a_time_or_a_column_that_is_read_count_each(tmp_path: Path) -> None:
    """A filter reads its columns; a column that is null is another one than with a value."""
    payments: list[Payment] = [
        (1, 0, 0, 2.0, "a"), (1, 0, 0, 2.0, "b"), (1, 0, 0, 2.0, None), (1, 0, 1, 2.0, "a"), (1, 1, 1, 2.0, "a"),
    ]  # fmt: skip
    total = Aggregation("amount", "sum", name="s")
    every = Aggregation("amount", "sum", name="s", filter="merchant = 'a' OR merchant <> 'a' OR merchant IS NULL")
    at = [(1, 5 * MINUTE_US)]
    assert asked(opened(tmp_path, windows(total), payments), at) == {"s": [4.0]}
    assert asked(opened(tmp_path, windows(total, created=True), payments), at) == {"s": [6.0]}
    assert asked(opened(tmp_path, windows(every), payments), at) == {"s": [8.0]}
    assert asked(opened(tmp_path, windows(every, created=True), payments), at) == {"s": [10.0]}


def test_what_is_asked_for_does_not_change_which_facts_are_equal(tmp_path: Path) -> None:
    """PIT-5"""
    view = windows(Aggregation("*", "count", name="n"), Aggregation("merchant", "last", name="m"))
    store = opened(tmp_path, view, [(1, 0, 0, 1.0, "a"), (1, 0, 0, 2.0, "a"), (1, 0, 0, 3.0, "b")])
    spine = pa.table({"card": [1], "event_timestamp": pa.array([NOON_US], UTC_US)})
    for features in (["spent:n"], ["spent"]):
        assert store.get_historical_features(spine, features).to_arrow()["n"].to_pylist() == [2]
    assert store.get_historical_features(spine, ["spent"]).report.views[0].ties == 1


def test_counts_alone_tell_facts_apart_by_time_and_fact_id(tmp_path: Path) -> None:
    payments: list[Payment] = [(1, 0, 0, 1.0, "a"), (1, 0, 0, 2.0, "a"), (1, 0, 0, 2.0, "a"), (1, 1, 1, 2.0, "a")]
    count = Aggregation("*", "count", name="n")
    at = [(1, 5 * MINUTE_US)]
    assert asked(opened(tmp_path, windows(count), payments), at) == {"n": [2]}
    assert asked(opened(tmp_path, windows(count, fact_id="cents"), payments), at) == {"n": [3]}
    assert asked(opened(tmp_path, windows(count, fact_id=["merchant", "cents"]), payments), at) == {"n": [3]}


def test_floats_tell_facts_apart_by_their_bits(tmp_path: Path) -> None:
    bits = np.array([0, 1 << 63, 0x7FF8 << 48, (0x7FF8 << 48) + 1, 0, (0x7FF8 << 48) + 1], np.uint64)
    payments: list[Payment] = [(1, 0, 0, value, "a") for value in bits.view(np.float64).tolist()]
    view = windows(Aggregation("amount", "count", name="n"), Aggregation("amount", "count_distinct", name="values"))
    assert asked(opened(tmp_path, view, payments), [(1, 0)]) == {"n": [4], "values": [2]}


@pytest.mark.parametrize("cards", [[-5, -4, -2], [-(2**63), 0, 2**63 - 1], [7], [10**9, 10**9 + 1]])
def test_keys_may_lie_side_by_side_or_far_apart(cards: list[int], tmp_path: Path) -> None:
    """Keys that nobody asks for are left out, also between those that are wanted."""
    stored = [*cards, -3, 3]
    payments: list[Payment] = [(card, 0, 0, float(number), "a") for number, card in enumerate(stored)]
    store = opened(tmp_path, windows(Aggregation("amount", "sum", name="s")), payments)
    assert asked(store, [(card, 0) for card in reversed(cards)]) == {"s": [float(n) for n in range(len(cards))][::-1]}


def test_a_view_without_entities_has_windows_over_all_facts(tmp_path: Path) -> None:
    store = opened(tmp_path, windows(Aggregation("amount", "sum", HOUR, name="s"), entities=[]))
    spine = pa.table({"event_timestamp": pa.array([NOON_US + 5 * MINUTE_US], UTC_US)})
    assert store.get_historical_features(spine, ["spent:s"]).to_arrow()["s"].to_pylist() == [111.0]


def test_values_come_in_the_declared_types_with_defaults(tmp_path: Path) -> None:
    """ONL-5, TYP-1: what does not fit is an error, not another number."""
    schema = [Field(name="s", dtype=Int32, default_value=-1)]
    view = windows(Aggregation("cents", "sum", HOUR, name="s"), schema=schema)
    store = opened(tmp_path, view)
    assert asked(store, [(1, 0), (3, 0)]) == {"s": [1000, -1]}
    store = opened(tmp_path, view, [(1, 0, 0, 1e9, "a")])
    with pytest.raises(TypeMismatchError, match="cannot be kept as Int32"):
        asked(store, [(1, 0)])


def test_a_sum_beyond_64_bits_is_an_error(tmp_path: Path) -> None:
    store = opened(
        tmp_path, windows(Aggregation("cents", "sum", name="s")), [(1, 0, 0, 9e16, "a"), (1, 1, 1, 9e16, "a")]
    )
    with pytest.raises(InputError, match="does not fit into 64 bits"):
        asked(store, [(1, MINUTE_US)])


def test_facts_become_entity_rows_of_windows_too(tmp_path: Path) -> None:
    """PIT-12"""
    store = opened(tmp_path, windows(Aggregation("*", "count", HOUR, name="n"), fact_id="merchant"))
    job = store.get_historical_features(None, ["spent:n"], start_date="2024-06-01", end_date="2024-06-02")
    assert job.to_arrow()["n"].to_pylist() == [1, 1, 3, 4]
    assert "count(*) over 1h" in job.explain()
    assert job.to_sql() in job.explain()


def test_plain_views_and_windows_go_together(tmp_path: Path) -> None:
    """PIT-5, PIT-11"""
    view = windows(Aggregation("amount", "sum", HOUR, name="s"))
    store = opened(tmp_path, view)
    plain = FeatureView(
        name="newest", entities=[CARD], source=view.source, schema=[Field(name="amount", dtype=Float64)]
    )
    store.apply([plain], partial=True)
    spine = pa.table(
        {
            "card": pa.array([1, 2], pa.int64()),
            "other": pa.array([2, 1], pa.int64()),
            "event_timestamp": pa.array([NOON_US + 10 * MINUTE_US] * 2, UTC_US),
        }
    )
    table = store.get_historical_features(spine, ["spent:s", "newest:amount"]).to_arrow()
    assert table["s"].to_pylist() == [30.0, 1.0]
    assert table["amount"].to_pylist()[1] == 1.0


def test_estimates_of_few_facts_are_exact(tmp_path: Path) -> None:
    view = windows(
        Aggregation("merchant", "approx_count_distinct", HOUR, name="merchants"),
        Aggregation("amount", "approx_percentile", name="median", p=0.5),
        Aggregation("cents", "approx_percentile", name="least", p=0, precision=1),
    )
    found = asked(opened(tmp_path, view), [(1, 0), (1, 59 * MINUTE_US), (2, 59 * MINUTE_US), (3, 0)])
    assert found == {
        "merchants": [1, 2, 0, 0],
        "median": [10.0, 10.0, 1.0, None],
        "least": [1000.0, 10.0, 100.0, None],
    }
