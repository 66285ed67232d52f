from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from parity.repository import Repository, storage_of
from tiffin.contracts.online import WriteBatch
from tiffin.definitions import Entity, FeatureService, Field
from tiffin.errors import InputError, NameCollisionError, NotFoundError, RequestError, StoreError, TypeMismatchError
from tiffin.online.keys import encode_keys
from tiffin.online.rows import tombstone
from tiffin.operations.online import read_online, read_online_async
from tiffin.types import Array, Bool, Decimal, Int64, Json, Set, String, UnixTimestamp, ValueType
from unit.online.drivers import HOUR_US, NOON_US, WEATHER, opened, push, view

STATS_FEATURES = ["stats:trips", "stats:rating"]
ELEVEN = datetime(2024, 6, 1, 11, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = opened(tmp_path)
    push(repository, "stats", driver_id=[1, 2], trips=[10, None], rating=[0.5, 4.5])
    push(repository, "stats", hours_ago=3, driver_id=[3], trips=[30], rating=[3.5])
    push(repository, "weather", city=["Oslo"], sky=["grey"])
    push(repository, "route", driver_id=[1], city=["Oslo"], trips=[7])
    push(repository, "world", mood=["calm"])
    return repository


def rows(*drivers: Any) -> list[dict[str, Any]]:
    return [{"driver_id": driver} for driver in drivers]


# --- ONL-1: order, and each row for itself ---------------------------------------------------------------------------


def test_keys_come_first_then_features_as_asked(repository: Repository) -> None:
    wanted = ["weather:sky", "stats:rating", "route:trips"]
    answer = read_online(repository, wanted, {"city": ["Oslo"], "driver_id": [1]}).to_dict()
    assert list(answer.items()) == [
        ("city", ["Oslo"]),
        ("driver_id", [1]),
        ("sky", ["grey"]),
        ("rating", [0.5]),
        ("trips", [7]),
    ]


def test_answer_of_a_row_depends_on_that_row_only(repository: Repository) -> None:
    asked = rows(1, 404, 2, None, 3, 1, "2")
    together = read_online(repository, STATS_FEATURES, asked)
    for number, row in enumerate(asked):
        alone = read_online(repository, STATS_FEATURES, [row])
        assert alone.to_dict() == {name: [values[number]] for name, values in together.to_dict().items()}
        assert alone.statuses() == {name: [values[number]] for name, values in together.statuses().items()}
        assert alone.event_timestamps() == {n: [v[number]] for n, v in together.event_timestamps().items()}
        assert alone.to_arrow().equals(together.to_arrow().slice(number, 1))


def test_part_of_the_features_in_another_order(repository: Repository) -> None:
    assert read_online(repository, ["stats:rating"], rows(1, 2)).to_dict() == {
        "driver_id": [1, 2],
        "rating": [0.5, 4.5],
    }
    assert list(read_online(repository, ["stats:rating", "stats:trips"], rows(1)).to_dict()) == [
        "driver_id",
        "rating",
        "trips",
    ]


async def test_async_twin_gives_the_same(repository: Repository) -> None:
    request: Any = (["stats:trips", "weather:sky"], {"driver_id": [1, 3, None], "city": ["Oslo", "Rome", None]})
    plain, twin = read_online(repository, *request), await read_online_async(repository, *request)
    assert twin.to_dict(include_event_timestamps=True) == plain.to_dict(include_event_timestamps=True)
    assert twin.statuses() == plain.statuses()


# --- ONL-2, ONL-3: the four answers ----------------------------------------------------------------------------------


def test_four_answers_are_kept_apart(repository: Repository) -> None:
    answer = read_online(repository, STATS_FEATURES, rows(1, 2, 3, 404))
    assert answer.to_dict() == {
        "driver_id": [1, 2, 3, 404],
        "trips": [10, None, None, None],
        "rating": [0.5, 4.5, None, None],
    }
    assert answer.statuses() == {
        "trips": ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
        "rating": ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
    }
    times = [ELEVEN, ELEVEN, ELEVEN - timedelta(hours=2), None]
    assert answer.event_timestamps() == {"trips": times, "rating": times}


def test_event_times_are_whole_seconds_and_zero_without_a_fact(repository: Repository) -> None:
    answer = read_online(repository, ["stats:trips"], rows(1, 404)).to_dict(include_event_timestamps=True)
    assert answer["trips__ts"] == [1_717_239_600, 0]


@pytest.mark.parametrize(("age_us", "status"), [(2 * HOUR_US, "PRESENT"), (2 * HOUR_US + 1, "OUTSIDE_MAX_AGE")])
def test_ttl_is_a_closed_interval(tmp_path: Path, age_us: int, status: str) -> None:
    repository = opened(tmp_path)
    push(repository, "stats", hours_ago=0, driver_id=[1], trips=[1], rating=[1.0])
    repository.clock.set(NOON_US + age_us)  # type: ignore[attr-defined]
    assert read_online(repository, ["stats:trips"], rows(1)).statuses() == {"trips": [status]}


def test_longest_ttl_keeps_the_oldest_fact(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("forever", {"x": Int64}, ttl=timedelta.max))
    push(repository, "forever", hours_ago=400_000, driver_id=[1], x=[1])
    assert read_online(repository, ["forever:x"], rows(1)).to_dict()["x"] == [1]


def test_deleted_key_is_not_found(repository: Repository) -> None:
    table = repository.snapshot().storage("stats").table
    (key,) = encode_keys([[1]], [Int64], ["k"], 1)
    assert key is not None
    repository.online.write(WriteBatch(table, [key], [tombstone(NOON_US, NOON_US)]))
    answer = read_online(repository, ["stats:trips"], rows(1, 2))
    assert answer.statuses() == {"trips": ["NOT_FOUND", "NULL_VALUE"]}
    assert answer.event_timestamps()["trips"][0] is None


def test_fact_ahead_of_now_within_the_skew_is_served(repository: Repository) -> None:
    push(repository, "stats", hours_ago=-0.05, driver_id=[1], trips=[11], rating=[0.0])
    assert read_online(repository, ["stats:trips"], rows(1)).to_dict()["trips"] == [11]


# --- ONL-5: defaults -------------------------------------------------------------------------------------------------


def test_default_replaces_every_kind_of_null_and_keeps_the_status(tmp_path: Path) -> None:
    fields = [
        Field(name="trips", dtype=Int64, default_value=-1),
        Field(name="tags", dtype=Array(String), default_value=["none"]),
        Field(name="since", dtype=UnixTimestamp, default_value="2020-01-01"),
        Field(name="price", dtype=Decimal, default_value="1.5"),
        Field(name="more", dtype=Json, default_value={"a": 1}),
        Field(name="plain", dtype=Bool),
    ]
    repository = opened(tmp_path, view("stats", fields, ttl=timedelta(hours=2)))
    empty = {name: pa.array([None], pa.null()) for name in ("tags", "since", "price", "more", "plain")}
    push(repository, "stats", driver_id=[1], trips=[None], **empty)
    push(repository, "stats", hours_ago=3, driver_id=[2], trips=[5], **empty)
    answer = read_online(repository, ["stats"], rows(1, 2, 404))
    found = answer.to_dict()
    assert found["trips"] == [-1] * 3
    assert found["tags"] == [["none"]] * 3
    assert found["since"] == [datetime(2020, 1, 1, tzinfo=UTC)] * 3
    assert [str(price) for price in found["price"]] == ["1.500000000000000000"] * 3
    assert found["more"] == [{"a": 1}] * 3
    assert found["plain"] == [None] * 3
    assert answer.statuses()["trips"] == ["NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    arrow = answer.to_arrow()
    assert [arrow[name].null_count for name in ("trips", "tags", "since", "price", "more", "plain")] == [0] * 5 + [3]
    assert arrow["tags"].to_pylist() == [["none"]] * 3


def test_default_of_another_type_is_refused(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("stats", [Field(name="trips", dtype=Int64, default_value="many")]))
    with pytest.raises(TypeMismatchError, match="'many' of feature 'trips'"):
        read_online(repository, ["stats:trips"], rows(1))


def test_plans_of_many_shapes_do_not_pile_up(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiffin.operations.online._MAX_PLANS", 3)
    wanted = ["stats:trips", "stats:rating", "weather:sky", "route:trips"]
    for shape in permutations(wanted):
        read_online(repository, shape, [{"driver_id": 1, "city": "Oslo"}], full_feature_names=True)
    assert len(repository.snapshot().plans) <= 3


# --- Types -----------------------------------------------------------------------------------------------------------


def test_types_do_not_depend_on_the_values(repository: Repository) -> None:
    schemas = [read_online(repository, STATS_FEATURES, asked).to_arrow().schema for asked in (rows(1), rows(404), [])]
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0].types == [pa.int64(), pa.int64(), pa.float64()]


def test_no_rows_give_typed_columns(repository: Repository) -> None:
    for nothing in ([], {"driver_id": []}):
        answer = read_online(repository, STATS_FEATURES, nothing)  # type: ignore[arg-type]
        assert answer.to_dict() == {"driver_id": [], "trips": [], "rating": []}
        assert answer.statuses() == {"trips": [], "rating": []}
        assert answer.to_df().dtypes.astype(str).to_dict() == {
            "driver_id": "Int64",
            "trips": "Int64",
            "rating": "float64",
        }


def test_large_integers_beside_nulls_keep_every_digit(repository: Repository) -> None:
    push(repository, "stats", driver_id=[9], trips=[2**62 + 1], rating=[0.0])
    answer = read_online(repository, ["stats:trips"], rows(9, 404))
    assert answer.to_df()["trips"].tolist() == [2**62 + 1, pd.NA]
    assert answer.to_dict()["trips"] == [2**62 + 1, None]


def test_sets_are_sets_in_python_and_lists_in_arrow(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("tags", {"ids": Set(Int64)}))
    push(repository, "tags", driver_id=[1], ids=[[3, 1, 2]])
    answer = read_online(repository, ["tags:ids"], rows(1))
    assert answer.to_dict()["ids"] == [{1, 2, 3}]
    assert answer.to_arrow()["ids"].to_pylist() == [[3, 1, 2]]


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_null_key_keeps_its_row(repository: Repository) -> None:
    answer = read_online(repository, ["route:trips"], {"driver_id": [1, 1, None], "city": ["Oslo", None, "Oslo"]})
    assert answer.to_dict()["trips"] == [7, None, None]
    assert answer.statuses()["trips"] == ["PRESENT", "NOT_FOUND", "NOT_FOUND"]
    assert answer.to_dict()["driver_id"] == [1, 1, None]


def test_only_null_keys_give_only_nulls(repository: Repository) -> None:
    assert read_online(repository, ["stats:trips"], rows(None)).to_dict() == {"driver_id": [None], "trips": [None]}


def test_keys_come_back_as_they_went_in(repository: Repository) -> None:
    answer = read_online(repository, ["stats:trips"], {"driver_id": ["1", None, "2"]})
    assert answer.to_dict() == {"driver_id": ["1", None, "2"], "trips": [10, None, None]}
    assert answer.statuses()["trips"] == ["PRESENT", "NOT_FOUND", "NULL_VALUE"]
    assert answer.to_arrow()["driver_id"].to_pylist() == [1, None, 2]
    mixed = read_online(repository, ["stats:trips"], {"driver_id": ["1", np.int32(2), 3]})
    assert mixed.to_arrow()["driver_id"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    "column", [np.array([1, 2]), pd.Series([1, 2]), pa.array([1, 2]), (1, 2), pd.Series([1, 2], dtype="Int64")]
)
def test_columns_may_be_arrays_of_any_kind(repository: Repository, column: Any) -> None:
    answer = read_online(repository, ["stats:rating"], {"driver_id": column})
    assert answer.to_dict() == {"driver_id": [1, 2], "rating": [0.5, 4.5]}


def test_entity_name_stands_for_its_join_key(repository: Repository) -> None:
    answer = read_online(repository, ["stats:trips"], [{"driver": 1}])
    assert answer.to_dict() == {"driver_id": [1], "trips": [10]}
    both = read_online(repository, ["stats:trips"], [{"driver": "x", "driver_id": 1}])
    assert both.to_dict() == {"driver": ["x"], "driver_id": [1], "trips": [10]}


def test_entity_name_that_is_a_key_of_another_view_stays_that_key(tmp_path: Path) -> None:
    city = Entity(name="city", join_keys=["city_id"], value_type=ValueType.INT64)
    place = Entity(name="place", join_keys=["city"], value_type=ValueType.STRING)
    repository = opened(tmp_path, view("one", {"a": Int64}, [city]), view("two", {"b": Int64}, [place]))
    push(repository, "one", city_id=[1], a=[10])
    push(repository, "two", city=["Oslo"], b=[20])
    answer = read_online(repository, ["one:a", "two:b"], [{"city": "Oslo", "city_id": 1}])
    assert answer.to_dict() == {"city": ["Oslo"], "city_id": [1], "a": [10], "b": [20]}
    with pytest.raises(InputError, match="no 'city_id'"):
        read_online(repository, ["one:a", "two:b"], [{"city": "Oslo"}])


def test_further_columns_pass_through(repository: Repository) -> None:
    answer = read_online(
        repository, ["stats:trips"], [{"amount": 1.5, "driver_id": 1}, {"driver_id": 2, "amount": None}]
    )
    assert answer.to_dict() == {"amount": [1.5, None], "driver_id": [1, 2], "trips": [10, None]}
    assert answer.to_arrow().column_names == ["amount", "driver_id", "trips"]


def test_repeated_keys_are_read_once(repository: Repository) -> None:
    asked: list[int] = []
    store = repository.online
    plain = store.read

    def counting(requests: Any) -> Any:
        asked.extend(len(request.keys) for request in requests)
        return plain(requests)

    store.read = counting  # type: ignore[method-assign]
    answer = read_online(repository, ["stats:trips", "weather:sky"], {"driver_id": [1, 1, 2], "city": ["Oslo"] * 3})
    assert asked == [2, 1]
    assert answer.to_dict()["trips"] == [10, 10, None]
    assert answer.to_dict()["sky"] == ["grey"] * 3


def test_view_without_entities_needs_no_key(repository: Repository) -> None:
    assert read_online(repository, ["world:mood"], [{}, {}]).to_dict() == {"mood": ["calm", "calm"]}
    mixed = read_online(repository, ["world:mood", "stats:trips"], rows(1, 404)).to_dict()
    assert mixed == {"driver_id": [1, 404], "mood": ["calm", "calm"], "trips": [10, None]}


def test_same_view_under_two_keys(tmp_path: Path) -> None:
    start = WEATHER.with_name("start").with_join_key_map({"city": "from_city"})
    end = WEATHER.with_name("end").with_join_key_map({"city": "to_city"})
    trip = FeatureService(name="trip", features=[start, end])
    repository = opened(tmp_path, WEATHER, trip)
    push(repository, "weather", city=["Oslo", "Rome"], sky=["grey", "blue"])
    columns = {"from_city": ["Oslo", "Rome"], "to_city": ["Rome", "Paris"]}
    answer = read_online(repository, trip, columns, full_feature_names=True)
    assert answer.to_dict() == columns | {"start__sky": ["grey", "blue"], "end__sky": ["blue", None]}
    with pytest.raises(NameCollisionError, match="sky"):
        read_online(repository, trip, columns)


# --- Rows of other versions ------------------------------------------------------------------------------------------


def evolved(repository: Repository, *layouts: tuple[tuple[str, str], ...]) -> None:
    """Put the view ``stats`` under the last of several layouts of its table."""
    snapshot = repository.snapshot()
    fields = [Field(name=name, dtype=Int64) for name, _ in layouts[-1]]
    changed = view("stats", fields)
    first = storage_of(changed)
    entries = [
        type(entry)(entry.kind, entry.name, changed.to_spec(), type(first)(2, first.table, layouts))
        if (entry.kind, entry.name) == ("feature view", "stats")
        else entry
        for entry in snapshot.entries
    ]
    repository.adopt(type(snapshot)(snapshot.project, snapshot.version + 1, tuple(entries)))


OLD, NEW = (("a", "Int64"), ("gone", "Int64")), (("new", "Int64"), ("a", "Int64"))


def test_row_of_an_older_layout_has_what_it_had(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("stats", {"a": Int64, "gone": Int64}))
    push(repository, "stats", driver_id=[1, 2], a=[10, None], gone=[0, 0])
    evolved(repository, OLD, NEW)
    push(repository, "stats", driver_id=[3], new=[33], a=[30])
    answer = read_online(repository, ["stats:new", "stats:a"], rows(1, 2, 3, 404))
    assert answer.to_dict() == {"driver_id": [1, 2, 3, 404], "new": [None, None, 33, None], "a": [10, None, 30, None]}
    assert answer.to_arrow().to_pydict() == answer.to_dict()
    assert answer.statuses() == {
        "new": ["NOT_FOUND", "NOT_FOUND", "PRESENT", "NOT_FOUND"],
        "a": ["PRESENT", "NULL_VALUE", "PRESENT", "NOT_FOUND"],
    }
    alone = read_online(repository, ["stats:new", "stats:a"], rows(1))
    assert alone.to_dict() == {"driver_id": [1], "new": [None], "a": [10]}


def test_same_fact_under_the_newer_layout_replaces_the_older(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("stats", {"a": Int64, "gone": Int64}))
    push(repository, "stats", driver_id=[1], a=[10], gone=[99])
    evolved(repository, OLD, NEW)
    push(repository, "stats", driver_id=[1], new=[1], a=[10])
    assert read_online(repository, ["stats:new"], rows(1)).to_dict()["new"] == [1]


def test_row_of_newer_definitions_makes_the_reader_look_again(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("stats", {"a": Int64, "gone": Int64}))
    old = repository.snapshot()
    evolved(repository, OLD, NEW)
    new = repository.snapshot()
    push(repository, "stats", driver_id=[1], new=[1], a=[10])
    repository.adopt(old)
    repository.refresh = lambda: repository.adopt(new)  # type: ignore[method-assign,assignment,return-value]
    assert read_online(repository, ["stats:a"], rows(1)).to_dict()["a"] == [10]
    repository.adopt(old)
    repository.refresh = lambda: old  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="definitions that the registry does not have"):
        read_online(repository, ["stats:a"], rows(1))


# --- Mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity_rows", "words"),
    [
        ([{"driver_idd": 1}], "no 'driver_id'.*driver_idd.*\n.*did you mean driver_idd"),
        ([{}], r"no 'driver_id'.*\n.*entity_rows=\[\{'driver_id': \.\.\.\}\]"),
        ([{"driver_id": 1}, {"driver": 2}], "entity row 1 has the columns driver; row 0 has driver_id"),
        ([{"driver_id": 1}, {"driver_id": 2, "x": 1}], "entity row 1 has the columns driver_id, x"),
        ([{"driver_id": 1}, 7], "entity row 1 is 7, not a mapping"),
        ([{"driver_id": 1}, {"driver_id": 1.0}], r"entity row 1: 1\.0 \(float\)"),
        ([{"driver_id": True}], r"entity row 0: True \(bool\)"),
        ({"driver_id": [1, 2], "x": [1]}, "different lengths: driver_id: 2, x: 1"),
        ({"driver_id": 1}, r"'driver_id' is 1, not a list.*\n.*\[1\]"),
        ({"driver_id": "12"}, "'driver_id' is '12', not a list"),
        ("driver_id", "entity_rows is a str"),
        (None, "entity_rows is a NoneType"),
    ],
)
def test_wrong_entity_rows_are_refused_by_name(repository: Repository, entity_rows: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_online(repository, ["stats:trips"], entity_rows)


def test_feature_named_as_an_entity_column_is_refused(repository: Repository) -> None:
    with pytest.raises(NameCollisionError, match=r"'trips'.*\n.*full_feature_names"):
        read_online(repository, ["stats:trips"], [{"driver_id": 1, "trips": 3}])
    answer = read_online(repository, ["stats:trips"], [{"driver_id": 1, "trips": 3}], full_feature_names=True)
    assert answer.to_dict() == {"driver_id": [1], "trips": [3], "stats__trips": [10]}


@pytest.mark.parametrize(
    ("features", "error", "words"),
    [
        (["statz:trips"], NotFoundError, "did you mean stats"),
        (["stats:tripz"], NotFoundError, "did you mean trips"),
        (["stats:"], RequestError, "not a feature reference"),
        ([], RequestError, "no features"),
        ("stats:trips", RequestError, "features is 'stats:trips'"),
        ([["stats"]], RequestError, "features is"),
        (7, RequestError, "features is 7"),
    ],
)
def test_wrong_features_are_refused(repository: Repository, features: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read_online(repository, features, rows(1))


@pytest.mark.parametrize("argument", ["online", "enabled"])
def test_view_that_is_not_served_is_refused(tmp_path: Path, argument: str) -> None:
    repository = opened(tmp_path, view("stats", {"trips": Int64}, **{argument: False}))
    with pytest.raises(RequestError, match=f"{argument}=False"):
        read_online(repository, ["stats:trips"], rows(1))


def test_one_column_as_two_types_of_key_is_refused(tmp_path: Path) -> None:
    text = Entity(name="driver_text", join_keys=["driver_id"], value_type=ValueType.STRING)
    repository = opened(tmp_path, view("one", {"a": Int64}), view("two", {"b": Int64}, [text]))
    with pytest.raises(RequestError, match="'driver_id' is a key of type"):
        read_online(repository, ["one:a", "two:b"], rows(1))


def test_unknown_type_of_key_says_what_to_do(tmp_path: Path) -> None:
    repository = opened(tmp_path, view("one", {"a": Int64}, [Entity(name="driver")]))
    with pytest.raises(RequestError, match="tiffin apply"):
        read_online(repository, ["one:a"], [{"driver": 1}])


def test_table_that_is_not_there_says_what_to_do(repository: Repository) -> None:
    repository.online.drop([repository.snapshot().storage("stats").table])
    with pytest.raises(StoreError, match="tiffin apply"):
        read_online(repository, ["stats:trips"], rows(1))


def test_plan_is_made_once_per_version(repository: Repository) -> None:
    read_online(repository, ["stats:trips"], rows(1))
    plans = dict(repository.snapshot().plans)
    for _ in range(3):
        read_online(repository, ["stats:trips"], rows(1))
    assert repository.snapshot().plans == plans


def test_answer_does_not_change_the_request(repository: Repository) -> None:
    asked = {"driver_id": ["1", "2"], "x": [1, 2]}
    answer = read_online(repository, ["stats:trips"], asked).to_dict()
    answer["x"].append(3)
    assert asked == {"driver_id": ["1", "2"], "x": [1, 2]}
