"""Views with aggregations online: wrong rows, facts of the future and of long ago, changed definitions, odd keys."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import Aggregation, Entity, FeatureStore, FeatureView, FileSource, ManualClock, PushMode, PushSource
from tiffin.config import RepoConfig
from tiffin.errors import InputError, RequestError, TypeMismatchError
from tiffin.online.merging import Limits
from tiffin.operations.online import CheckedWrite, timelines_of
from tiffin.time import HOUR_US, MINUTE_US, to_us
from tiffin.types import ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
TIME = pa.timestamp("us", "UTC")
HOUR = timedelta(hours=1)
CARD = Entity(name="card", value_type=ValueType.INT64)
SHOP = Entity(name="shop", value_type=ValueType.STRING)


def facts(*rows: tuple[Any, Any, Any], shop: str = "a") -> pa.Table:
    """Facts as (card, microseconds after noon, amount)."""
    return pa.table(
        {
            "card": pa.array([card for card, _, _ in rows], pa.int64()),
            "shop": pa.array([shop] * len(rows), pa.string()),
            "ts": pa.array([NOON_US + us for _, us, _ in rows], TIME),
            "amount": pa.array([amount for _, _, amount in rows], pa.float64()),
        }
    )


def spending(window: timedelta | None = HOUR, entities: tuple[Entity, ...] = (CARD,), **arguments: Any) -> FeatureView:
    history = FileSource(path="payments.parquet", timestamp_field="ts")
    return FeatureView(
        name="spending",
        entities=list(entities),
        source=PushSource(name="paid", batch_source=history),
        aggregations=[Aggregation("amount", "sum", window, name="s"), Aggregation("*", "count", window, name="n")],
        **arguments,
    )


def opened(folder: Path, view: FeatureView, *rows: tuple[Any, Any, Any]) -> FeatureStore:
    pq.write_table(facts(*rows), folder / "payments.parquet")
    config = RepoConfig(project="tests", repo_path=folder)
    store = FeatureStore(config=config, clock=ManualClock(NOON_US))
    store.apply([CARD, SHOP, view])
    return store


def read(store: FeatureStore, view: str = "spending", **keys: list[Any]) -> list[tuple[Any, ...]]:
    found = store.get_online_features([f"{view}:s", f"{view}:n"], keys or {"card": [1]}).to_dict()
    return list(zip(found["s"], found["n"], strict=True))


# --- Rows that are wrong ---------------------------------------------------------------------------------------------


GOOD: dict[str, Any] = {"card": 1, "ts": "2024-06-01T11:59:00Z", "amount": 1.0}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"amount": "much"}, TypeMismatchError, "row 1.*amount"),
        ({"card": None}, InputError, "row 1: join key 'card' is null"),
        ({"card": 1.5}, TypeMismatchError, "card"),
        ({"ts": None}, InputError, "row 1.*ts"),
        ({"ts": "noon"}, InputError, "ts"),
    ],
)
def test_wrong_row_names_itself_and_nothing_is_written(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    store = opened(tmp_path, spending())
    for to in (PushMode.ONLINE, PushMode.ONLINE_AND_OFFLINE):
        with pytest.raises(error, match=words):
            store.push("paid", [GOOD, GOOD | change], to=to)
    assert read(store) == [(None, 0)]


def test_missing_column_is_named_with_what_needs_it(tmp_path: Path) -> None:
    store = opened(tmp_path, spending())
    with pytest.raises(InputError, match="column 'amount' is missing, which is read by an aggregation") as caught:
        store.push("paid", [{"card": 1, "ts": "2024-06-01T11:59:00Z", "amounts": 1.0}])
    assert "amounts" in caught.value.hint


def test_null_is_a_value_that_does_not_count_and_a_fact_that_does(tmp_path: Path) -> None:
    store = opened(tmp_path, spending())
    assert store.push("paid", facts((1, -1, None))).views["spending"].written == 1
    assert read(store) == [(None, 1)]


def test_view_that_is_not_online_is_not_pushed_to_and_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path, spending(online=False))
    with pytest.raises(RequestError, match="is not online"):
        store.write_to_online_store("spending", facts((1, -1, 1.0)))
    with pytest.raises(RequestError, match="is not online"):
        store.materialize("2024-01-01", "2024-06-02", ["spending"])


#: By five minutes: a reader's clock may be slow.
TOO_OLD_US = -HOUR_US - 5 * MINUTE_US

# --- Times -----------------------------------------------------------------------------------------------------------


def test_fact_far_ahead_is_refused_and_one_a_little_ahead_counts_from_its_moment(tmp_path: Path) -> None:
    store = opened(tmp_path, spending())
    report = store.push("paid", facts((1, 5 * MINUTE_US + 1, 1.0), (1, 5 * MINUTE_US, 2.0)))
    assert report.refused == (0,)
    assert report.views["spending"].written == 1
    clock = store.context.clock
    assert isinstance(clock, ManualClock)
    clock.set(NOON_US + 5 * MINUTE_US - 1)
    assert read(store) == [(None, 0)]
    clock.set(NOON_US + 5 * MINUTE_US)
    assert read(store) == [(2.0, 1)]
    clock.set(NOON_US + 5 * MINUTE_US + HOUR_US - 1)
    assert read(store) == [(2.0, 1)]
    clock.set(NOON_US + 5 * MINUTE_US + HOUR_US)
    assert read(store) == [(None, 0)]


def test_fact_too_old_for_every_window_is_counted_late(tmp_path: Path) -> None:
    store = opened(tmp_path, spending())
    written = store.push("paid", facts((1, TOO_OLD_US, 1.0), (1, -HOUR_US + 1, 2.0), (1, -HOUR_US + 1, 2.0)))
    found = written.views["spending"]
    assert (found.written, found.stale, found.late) == (1, 0, 1)
    found = store.push("paid", facts((1, TOO_OLD_US, 1.0), (1, -HOUR_US + 1, 2.0))).views["spending"]
    assert (found.written, found.stale, found.late) == (0, 1, 1)
    assert read(store) == [(2.0, 1)]


def test_load_reads_no_further_back_than_windows_reach(tmp_path: Path) -> None:
    store = opened(tmp_path, spending(), (1, TOO_OLD_US, 1.0), (1, -HOUR_US + 1, 2.0), (1, -1, 4.0))
    (run,) = store.materialize("2024-01-01", "2024-06-02").runs
    assert (run.rows, run.written) == (2, 2)
    assert read(store) == [(6.0, 2)]
    (run,) = store.materialize("2024-01-01", "2024-05-01").runs
    assert run.rows == 0


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_key_may_be_text_that_is_its_number_and_null_keys_have_nulls(tmp_path: Path) -> None:
    store = opened(tmp_path, spending())
    store.push("paid", [GOOD | {"card": "1"}])
    assert read(store, card=["1", None, 2]) == [(1.0, 1), (None, None), (None, 0)]
    answer = store.get_online_features(["spending:s"], {"card": [1, None, 2]})
    assert answer.statuses()["s"] == ["PRESENT", "NOT_FOUND", "NOT_FOUND"]


def test_view_of_two_keys_and_view_of_none(tmp_path: Path) -> None:
    both = opened(tmp_path, spending(entities=(CARD, SHOP)))
    both.push("paid", facts((1, -1, 1.0), (2, -1, 2.0)))
    both.push("paid", facts((1, -2, 4.0), shop="b"))
    assert read(both, card=[1, 1, 2, 2], shop=["a", "b", "a", None]) == [(1.0, 1), (4.0, 1), (2.0, 1), (None, None)]
    assert both.delete_entities({"card": [1], "shop": ["a"]}).views == {"spending": 1}
    assert read(both, card=[1, 1], shop=["a", "b"]) == [(None, 0), (4.0, 1)]
    folder = tmp_path / "none"
    folder.mkdir()
    none = opened(folder, spending(entities=()), (1, -1, 1.0), (2, -1, 2.0))
    none.materialize("2024-01-01", "2024-06-02")
    none.push("paid", facts((3, -2, 4.0)))
    assert none.get_online_features(["spending:s", "spending:n"], [{}, {}]).to_dict() == {"s": [7.0] * 2, "n": [3] * 2}


# --- Definitions -----------------------------------------------------------------------------------------------------


def test_changed_window_is_a_new_table_that_has_to_be_loaded(tmp_path: Path) -> None:
    store = opened(tmp_path, spending(), (1, -2 * HOUR_US, 1.0), (1, -1, 2.0))
    store.materialize("2024-01-01", "2024-06-02")
    table = store.context.snapshot().storage("spending").table
    longer = spending(timedelta(hours=3))
    assert "new online table: materialize again" in str(store.plan([CARD, SHOP, longer]))
    store.apply([CARD, SHOP, longer])
    assert store.context.snapshot().storage("spending").table != table
    assert read(store) == [(None, 0)]
    store.materialize_incremental("2024-06-01T12:00:00Z")
    assert read(store) == [(3.0, 2)]
    assert store.get_online_features(["spending@v1:s"], {"card": [1]}).to_dict()["s"] == [2.0]
    store.delete_entities({"card": [1]})
    assert read(store) == [(None, 0)]
    assert store.get_online_features(["spending@v1:s"], {"card": [1]}).to_dict()["s"] == [None]


def test_write_that_began_under_older_definitions_does_not_spoil_the_newer(tmp_path: Path) -> None:
    store = opened(tmp_path, spending())
    old = store.context.snapshot().view("spending")
    write = CheckedWrite.of(store.context, old, facts((1, -1, 1.0)))
    store.apply([CARD, SHOP, spending(None)])
    new = store.context.snapshot().view("spending")
    write.write(store.context)
    assert timelines_of(store.context, new).reach_us is None
    assert timelines_of(store.context, old).reach_us == HOUR_US


def test_teardown_drops_tiles_with_their_table(tmp_path: Path) -> None:
    store = opened(tmp_path, spending())
    store.push("paid", facts(*((1, -us, 1.0) for us in range(1, 2_000))))
    tables = {info.table: info.rows for info in store.context.online.tables("tests.spending.")}
    assert sum(tables.values()) > 1
    assert read(store) == [(1_999.0, 1_999)]
    store.teardown()
    assert store.context.online.tables("tests.") == []


# --- Many facts ------------------------------------------------------------------------------------------------------


def test_key_with_more_facts_than_are_kept_is_counted_and_keeps_its_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tiffin.operations.timelines.Limits", lambda: Limits(tail=8, kept=4, tiles=4, tile=8))
    store = opened(tmp_path, spending(window=None))
    capped = 0
    for begin in range(0, 100, 10):
        rows = [(1, (number - 100) * MINUTE_US, 1.0) for number in range(begin, begin + 10)]
        report = store.push("paid", facts(*rows)).views["spending"]
        assert (report.written, report.late) == (10, 0)
        capped += report.capped
    assert capped
    said = (
        "1 key(s) of view spending have more facts than are kept one by one; `tiffin feature-views describe spending`"
    )
    assert said in caplog.text
    assert read(store) == [(100.0, 100)]
    # What only states are kept of cannot be told from what comes again: it is counted, and changes nothing.
    report = store.push("paid", facts((1, -100 * MINUTE_US, 1.0), (1, -MINUTE_US, 1.0))).views["spending"]
    assert (report.written, report.stale, report.late, report.capped) == (0, 1, 1, 0)
    assert read(store) == [(100.0, 100)]


def test_load_counts_keys_with_more_facts_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiffin.operations.timelines.Limits", lambda: Limits(tail=8, kept=4, tiles=4, tile=8))
    many = [(1, (number - 100) * MINUTE_US, 1.0) for number in range(100)]
    store = opened(tmp_path, spending(window=None), *many, (2, -1, 1.0))
    report = store.materialize("2024-01-01", "2024-06-02")
    assert (report.capped, report.to_dict()["capped"]) == (1, 1)
    assert read(store, card=[1, 2]) == [(100.0, 100), (1.0, 1)]
    assert store.materialize("2024-06-02", "2024-06-03").capped == 0
