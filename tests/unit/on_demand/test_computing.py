"""ODF-1 to ODF-3: what functions see, what they may give, and that every path gives the same values."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal as PyDecimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tiffin import FeatureService, Field
from tiffin.errors import (
    DefinitionError,
    FunctionError,
    InputError,
    NameCollisionError,
    TypeMismatchError,
    UnsupportedError,
)
from tiffin.types import Array, Bool, Decimal, Float32, Float64, Int32, Int64, Json, Set, String, UnixTimestamp
from unit.on_demand.project import NOON, REQUEST, STATS, both, frame, on_demand, opened, rows


def lists(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"out": [None if n is None else n + a for n, a in zip(inputs["trips"], inputs["amount"], strict=True)]}


def one(row: dict[str, Any]) -> dict[str, Any]:
    return {"out": None if row["trips"] is None else row["trips"] + row["amount"]}


def pandas(df: pd.DataFrame) -> pd.DataFrame:
    df["out"] = df["trips"] + df["amount"]
    return df


def polars(df: pl.DataFrame) -> pl.DataFrame:
    return df.select(out=pl.col("trips") + pl.col("amount"))


MODES = {
    "python": on_demand(lists),
    "singleton": on_demand(one, singleton=True),
    "pandas": on_demand(pandas, "pandas"),
    "polars": on_demand(polars, "polars"),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_and_path_gives_the_same(mode: str, tmp_path: Path) -> None:
    store = opened(tmp_path, MODES[mode])
    assert both(store, ["made:out"]) == [[13, None, None]]
    assert both(store, ["stats:trips", "made:out", "stats:city"]) == [
        [3, None, None],
        [13, None, None],
        ["Oslo", "Bergen", None],
    ]
    answer = store.get_online_features(["made:out"], rows())
    assert answer.statuses() == {"out": ["PRESENT", "NULL_VALUE", "NULL_VALUE"]}
    hour_ago = datetime(2024, 6, 1, 11, tzinfo=UTC)
    assert answer.event_timestamps() == {"out": [hour_ago, hour_ago, None]}
    assert answer.to_dict(include_event_timestamps=True)["out__ts"] == [1_717_239_600, 1_717_239_600, 0]


@pytest.mark.parametrize("mode", MODES)
def test_no_rows_give_typed_columns_and_call_nothing(mode: str, tmp_path: Path) -> None:
    store = opened(tmp_path, MODES[mode])
    offline = store.get_historical_features(frame(drivers=()), ["made:out"]).to_arrow()
    online = store.get_online_features(["made:out"], {"driver_id": [], "amount": []}).to_arrow()
    assert offline.schema.field("out").type == online.schema.field("out").type == pa.int64()
    assert (offline.num_rows, online.num_rows) == (0, 0)


def test_inputs_have_two_names_keys_and_request_values_one(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def spy(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        seen.append(set(inputs))
        return {"out": inputs["stats__trips"]}

    store = opened(tmp_path, on_demand(spy, sources=[STATS[["trips"]], REQUEST]))
    assert both(store, ["made:out"]) == [[3, None, None]]
    assert seen[0] == {"trips", "stats__trips", "driver_id", "amount"}


def test_two_inputs_of_one_name_have_only_their_full_names(tmp_path: Path) -> None:
    def ratio(row: dict[str, Any]) -> dict[str, Any]:
        assert "trips" not in row
        return {"out": row["stats__trips"]}

    other = STATS.with_name("before")[["trips"]]
    store = opened(tmp_path, on_demand(ratio, singleton=True, sources=[STATS, other, REQUEST]))
    assert both(store, ["made:out"]) == [[3, None, None]]


def test_views_may_compute_from_views(tmp_path: Path) -> None:
    first = on_demand(one, singleton=True)

    def double(row: dict[str, Any]) -> dict[str, Any]:
        return {"twice": None if row["made__out"] is None else 2 * row["out"], "who": f"driver {row['driver_id']}"}

    fields = [Field(name="twice", dtype=Int64), Field(name="who", dtype=String)]
    second = on_demand(double, name="second", sources=[first, STATS[["city"]]], schema=fields, singleton=True)
    service = FeatureService(name="model", features=[second[["twice"]], first, STATS[["city"]]])
    store = opened(tmp_path, second, service)
    assert both(store, ["second:who", "second:twice"]) == [["driver 1", "driver 2", "driver 3"], [26, None, None]]
    table = store.get_historical_features(frame(), store.get_feature_service("model")).to_arrow()
    assert table.column_names[3:] == ["twice", "out", "city"]


def test_full_names_and_aliases(tmp_path: Path) -> None:
    store = opened(tmp_path, on_demand(lists))
    table = store.get_historical_features(frame(), ["made:out", "stats:trips"], full_feature_names=True).to_arrow()
    assert table.column_names[3:] == ["made__out", "stats__trips"]
    assert both(store, ["made:out", "stats:trips"], full_feature_names=True)[0] == [13, None, None]


def test_defaults_reach_functions_and_replace_what_they_give(tmp_path: Path) -> None:
    fields = [Field(name="trips", dtype=Int64, default_value=100)]
    view = on_demand(
        lambda row: {"out": None if row["trips"] == 3 else row["trips"]},
        singleton=True,
        sources=[STATS.__class__(name="stats", entities=STATS.entities, source=STATS.source, schema=fields), REQUEST],
        schema=[Field(name="out", dtype=Int64, default_value=-1)],
    )
    store = opened(tmp_path)
    store.apply([view], partial=True)
    store.materialize("2024-01-01", NOON)
    assert both(store, ["made:out"]) == [[-1, 100, 100]]


# --- ODF-3: time comes from the caller -------------------------------------------------------------------------------


def test_now_is_the_time_of_each_row(tmp_path: Path) -> None:
    def day(inputs: dict[str, list[Any]], now: list[datetime]) -> dict[str, list[Any]]:
        return {"out": [each.hour for each in now]}

    def frames(df: pd.DataFrame, now: pd.Series) -> pd.DataFrame:
        return pd.DataFrame({"out": now.dt.hour})

    def single(row: dict[str, Any], now: datetime) -> dict[str, Any]:
        return {"out": now.hour}

    views = [
        on_demand(day, name="a"),
        on_demand(frames, "pandas", name="b"),
        on_demand(single, name="c", singleton=True),
    ]
    store = opened(tmp_path, *views)
    for name in "abc":
        assert both(store, [f"{name}:out"]) == [[12, 12, 12]]
        early = frame().set_column(
            2, "event_timestamp", pa.array([datetime(2024, 6, 1, hour, tzinfo=UTC) for hour in (1, 2, 3)])
        )
        assert store.get_historical_features(early, [f"{name}:out"]).to_arrow()["out"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    "clock",
    [
        lambda row: {"out": datetime.now().hour},
        lambda row: {"out": date.today().day},
        lambda row: {"out": pd.Timestamp.now().hour},
    ],
)
def test_a_function_that_reads_the_clock_is_refused_at_apply(clock: Any, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"(?s)reads the clock: .*now") as caught:
        opened(tmp_path, on_demand(clock, singleton=True))
    assert "project.py" in caught.value.location


def test_a_function_is_not_run_at_apply(tmp_path: Path) -> None:
    def never(row: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError

    store = opened(tmp_path, on_demand(never, singleton=True))
    with pytest.raises(FunctionError, match="fails: AssertionError"):
        store.get_online_features(["made:out"], rows()).to_dict()


# --- ODF-1: only what is declared ------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[Any, str]] = {
    "unknown input": (on_demand(lambda i: {"out": i["days"]}), "reads 'days', which none of its sources has"),
    "unknown output": (on_demand(lambda i: {"out": i["trips"], "more": 1}), "gives 'more', which its schema does not"),
    "no output": (on_demand(lambda i: {"ouut": i["trips"]}), r"(?s)does not give 'out'.*did you mean ouut"),
    "no dict": (on_demand(lambda i: [1]), "gives a list, where a dict is expected"),
    "no list": (on_demand(lambda i: {"out": 1}), "gives 1 for 'out', where a list is expected"),
    "count": (on_demand(lambda i: {"out": [1]}), "gives 1 values for 'out', where 3 are expected"),
    "type": (on_demand(lambda i: {"out": [1, "a", 2]}), r"gives 'a' \(str\) for 'out' in row 1, which is no Int64"),
    "bool": (on_demand(lambda r: {"out": True}, singleton=True), r"gives True \(bool\) for 'out' in row 0"),
    "fraction": (on_demand(lambda r: {"out": 1.5}, singleton=True), r"gives 1.5 \(float\) for 'out' in row 0"),
    "too large": (on_demand(lambda r: {"out": 1 << 63}, singleton=True), "in row 0, which is no Int64"),
    "no json": (
        on_demand(lambda r: {"out": "{"}, singleton=True, schema=[Field(name="out", dtype=Json)]),
        "gives '{'",
    ),
    "raises": (on_demand(lambda r: {"out": 1 // 0}, singleton=True), "fails: ZeroDivisionError"),
    "no frame": (on_demand(lambda df: [1], "pandas"), "gives a list, where a DataFrame is expected"),
    "frame column": (on_demand(lambda df: df.assign(out=1, more=2), "pandas"), "gives 'more', which its schema"),
    "frame rows": (on_demand(lambda df: df.head(1).assign(out=1), "pandas"), "where 3 are expected"),
    "frame type": (on_demand(lambda df: df.assign(out=["a", "b", "c"]), "pandas"), "gives something else than"),
    "frame input": (on_demand(lambda df: df.assign(out=df["days"]), "pandas"), "reads 'days'"),
    "frame index": (
        on_demand(lambda df: df.assign(out=1).set_index(pd.Index(["x", "y", "z"])), "pandas"),
        "rows with another index",
    ),
    "polars rows": (on_demand(lambda df: df.head(1).select(out=1), "polars"), "where 3 are expected"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_function_that_breaks_its_promise_is_named(case: str, tmp_path: Path) -> None:
    view, message = BROKEN[case]
    store = opened(tmp_path, view)
    for read in (
        lambda: store.get_online_features(["made:out"], rows()).to_dict(),
        lambda: store.get_historical_features(frame(), ["made:out"]).to_arrow(),
    ):
        with pytest.raises(FunctionError, match=message) as caught:
            read()
        assert "made" in caught.value.subject
        assert "project.py" in caught.value.location


def test_rows_that_a_frame_function_sorts_come_back_in_order(tmp_path: Path) -> None:
    def sort(df: pd.DataFrame) -> pd.DataFrame:
        df = df.sort_values("amount", ascending=False)
        return df.assign(out=df["amount"])

    assert both(opened(tmp_path, on_demand(sort, "pandas")), ["made:out"]) == [[10, 20, 30]]


def test_functions_cannot_change_what_others_get(tmp_path: Path) -> None:
    def spoil(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        inputs["trips"][:] = [0] * len(inputs["trips"])
        return {"out": inputs["trips"]}

    assert both(opened(tmp_path, on_demand(spoil)), ["made:out", "stats:trips"]) == [[0, 0, 0], [3, None, None]]


def test_a_missing_or_wrong_request_value_is_named(tmp_path: Path) -> None:
    store = opened(tmp_path, on_demand(lists))
    with pytest.raises(InputError, match="have no 'amount', which is a value of the request"):
        store.get_online_features(["made:out"], [{"driver_id": 1}])
    with pytest.raises(InputError, match="have no column 'amount', which on-demand feature view made computes from"):
        store.get_historical_features(frame().drop_columns(["amount"]), ["made:out"])
    answer = store.get_online_features(["made:out"], {"driver_id": [1, 2], "amount": [1, "x"]})
    with pytest.raises(TypeMismatchError, match="entity row 1: 'x' in column 'amount' is no Int64"):
        answer.to_dict()
    wrong = frame().set_column(1, "amount", pa.array([0.5, 1.5, 2.5]))
    with pytest.raises(TypeMismatchError, match="amount"):
        store.get_historical_features(wrong, ["made:out"]).to_arrow()


def test_a_feature_with_the_name_of_an_entity_column_is_refused(tmp_path: Path) -> None:
    view = on_demand(lambda i: {"amount": i["trips"]}, schema=[Field(name="amount", dtype=Int64)])
    store = opened(tmp_path, view)
    with pytest.raises(NameCollisionError):
        store.get_online_features(["made:amount"], rows())
    assert both(store, ["made:amount"], full_feature_names=True) == [[3, None, None]]


def test_sql_cannot_compute_it(tmp_path: Path) -> None:
    job = opened(tmp_path, on_demand(lists)).get_historical_features(frame(), ["made:out"])
    with pytest.raises(UnsupportedError, match="made is a Python function"):
        job.to_sql()
    explained = job.explain()
    assert ":lists from " in explained
    assert "stats__trips" in explained


def test_batches_give_what_the_whole_gives(tmp_path: Path) -> None:
    job = opened(tmp_path, on_demand(lists)).get_historical_features(frame(), ["made:out"])
    assert pa.Table.from_batches(list(job.to_arrow_batches(1))) == job.to_arrow()


# --- Types -----------------------------------------------------------------------------------------------------------

VALUES: dict[str, tuple[Any, list[Any], Any]] = {
    "int32": (Int32, [1, None, -5], pa.int32()),
    "float from int": (Float64, [1, None, 0.5], pa.float64()),
    "rounded": (Float32, [0.1, None, 1e300], pa.float32()),
    "truth": (Bool, [True, None, False], pa.bool_()),
    "text": (String, ["a", None, "ü"], pa.string()),
    "time": (UnixTimestamp, [datetime(2024, 1, 1, tzinfo=UTC), None, datetime(1, 1, 1, tzinfo=UTC)], None),
    "list": (Array(Int64), [[1, None], None, []], pa.list_(pa.int64())),
    "set": (Set(String), [{"a"}, None, set()], None),
    "decimal": (Decimal, [PyDecimal("1.5"), None, PyDecimal(0)], None),
    "json": (Json, [{"a": [1]}, None, [True]], None),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_of_every_type_come_out_as_they_are_stored(case: str, tmp_path: Path) -> None:
    dtype, values, arrow = VALUES[case]
    by_driver = dict(zip((1, 2, 3), values, strict=True))
    view = on_demand(
        lambda row: {"out": by_driver[row["driver_id"]]}, singleton=True, schema=[Field(name="out", dtype=dtype)]
    )
    store = opened(tmp_path, view)
    offline = store.get_historical_features(frame(), ["made:out"]).to_arrow()["out"]
    online = store.get_online_features(["made:out"], rows()).to_arrow()["out"]
    assert offline.to_pylist() == online.to_pylist()
    assert arrow is None or offline.type == arrow
    answer = store.get_online_features(["made:out"], rows()).to_dict()["out"]
    assert answer[1] is None
    if case == "rounded":
        assert answer == [pytest.approx(0.1, rel=1e-7), None, float("inf")]
        assert answer[0] != 0.1
    else:
        assert answer == values
