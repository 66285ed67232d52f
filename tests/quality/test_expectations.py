"""Expectations: at definition, at apply, and what becomes of facts that are loaded and pushed."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quality.conftest import NOW, ROWS, machine, pushed, readings, readings_table, view_of
from tiffin import Aggregation, Expectation, FeatureStore, FeatureView, Field, PushMode, StreamFeatureView
from tiffin.definitions.expectation import ACTIONS
from tiffin.errors import (
    DefinitionError,
    DefinitionTypeError,
    ExpectationError,
    MaterializationError,
    NotFoundError,
    UnsupportedError,
)
from tiffin.messages.table import isolated
from tiffin.operations.online import CheckedWrite
from tiffin.operations.quarantine import quality_folder
from tiffin.planning.expectations import plan_checks
from tiffin.types import Array, Float64, Int64

Open = Callable[..., FeatureStore]
RANGE = "2024-01-01", "2024-03-01"


def push(store: FeatureStore, *rows: dict[str, Any], to: PushMode = PushMode.ONLINE) -> Any:
    plain = {"ts": NOW, "heat": 20.0, "state": "on", "errors": 0}
    return store.push("pushed", [plain | row for row in rows], to=to)


def online(store: FeatureStore, *machines: int) -> list[Any]:
    rows = [{"machine_id": number} for number in machines]
    return store.get_online_features(["machines:heat"], rows).to_dict()["heat"]


# --- Definitions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Expectation.between(2, 1, "heat"), "nothing lies between 2 and 1"),
        (lambda: Expectation.between(1, 1, "heat", strict=True), "nothing lies between"),
        (lambda: Expectation.between(column="heat"), "neither low nor high"),
        (lambda: Expectation.between("2024-01-01", 5, "heat"), "nothing lies between"),
        (lambda: Expectation.between(math.nan, column="heat"), "NaN"),
        (lambda: Expectation.between([1], column="heat"), r"the end \[1\]"),
        (lambda: Expectation.one_of([], "state"), "the values"),
        (lambda: Expectation.one_of("on", "state"), "the values 'on'"),
        (lambda: Expectation.one_of([1.5], "state"), "the value 1.5"),
        (lambda: Expectation.matches("(", "state"), "cannot be read"),
        (lambda: Expectation.where(" "), "the condition"),
        (lambda: Expectation.row_count(), "row_count has low"),
        (lambda: Expectation.row_count(5, 2), "no number of rows"),
        (lambda: Expectation.row_count(-1), "row_count has low -1"),
        (lambda: Expectation.fresh(timedelta(0)), "max_age"),
        (lambda: Expectation.unique("heat", on_failure="quarantine"), "none of them can be put apart"),
        (lambda: Expectation.not_null("heat", on_failure="ignore"), "on_failure is 'ignore'"),
        (lambda: Expectation("not_nul"), "did you mean not_null"),
        (lambda: view_of(heat=[Expectation.fresh(timedelta(1))]), "not about one column"),
        (lambda: view_of(heat=[Expectation.not_null("state")]), "expectation about state"),
        (lambda: view_of([Expectation.not_null()]), "says no column"),
    ],
)
def test_mistake_is_told_where_it_is_made(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        make()
    assert caught.value.location.startswith("tests/quality/test_expectations.py:")


def test_what_is_no_expectation_is_refused() -> None:
    with pytest.raises(DefinitionTypeError, match="expectations has 'not null'"):
        view_of(["not null"])


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        (Expectation.not_null("heta"), "no column 'heta'"),
        (Expectation.between(0, 1, "state"), "'state' is String"),
        (Expectation.between("2024-01-01", column="heat"), "where a number is expected"),
        (Expectation.between(0, column="ts"), "where a time is expected"),
        (Expectation.between("soon", column="ts"), "'soon' is not a time"),
        (Expectation.one_of(["a"], "errors"), "no value of Int64"),
        (Expectation.one_of([2**70], "errors"), "does not fit"),
        (Expectation.one_of([1], "heat"), "'heat' is Float64"),
        (Expectation.matches("a(?=b)", "state"), "RE2|cannot be used"),
        (Expectation.matches("a", "errors"), "'errors' is Int64"),
        (Expectation.where("heat >"), "cannot be read"),
        (Expectation.where("haet > 1"), "haet"),
        (Expectation.where("state > 1"), "state"),
    ],
    ids=str,
)
def test_expectation_that_cannot_be_is_refused_at_apply(open_store: Open, expectation: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        open_store(view_of([expectation]))
    assert "feature view machines expects that" in caught.value.message


def test_aggregates_are_not_checked_but_what_they_read_is(open_store: Open) -> None:
    aggregation = Aggregation("errors", "sum", timedelta(days=90), name="total")

    def view(**more: Any) -> FeatureView:
        arguments = {"name": "machines", "entities": [machine], "source": readings, "aggregations": [aggregation]}
        return FeatureView(**arguments, **more)

    field = Field(name="total", dtype=Int64, expectations=[Expectation.not_null()])
    with pytest.raises(DefinitionError, match="'total' is an aggregate"):
        open_store(view(schema=[field]))
    store = open_store(view(expectations=[Expectation.between(0, 3, "errors", on_failure="quarantine")]))
    report = store.materialize(*RANGE)
    bad = sum(number > 3 for number in readings_table()["errors"].to_pylist())
    assert report.quarantined == store.quarantine("machines").num_rows == bad
    strict = store.apply([view(expectations=[Expectation.between(0, 3, "errors")])])
    assert not strict.is_empty
    with pytest.raises(MaterializationError, match="errors between 0 and 3"):
        store.materialize(*RANGE)


def test_type_that_cannot_be_compared_is_refused() -> None:
    field = Field(name="heat", dtype=Array(Float64), expectations=[Expectation.not_null(), Expectation.unique()])
    view = FeatureView(name="lists", entities=[machine], source=pushed, schema=[field])
    with pytest.raises(DefinitionTypeError, match=r"'heat' is Array\(Float64\)"):
        plan_checks(view)


def test_expectations_come_back_from_the_registry_and_show_in_the_plan(open_store: Open) -> None:
    every = [
        Expectation.not_null("heat", on_failure="warn"),
        Expectation.between(datetime(2020, 1, 1, tzinfo=UTC), None, "ts"),
        Expectation.between(-10, 50.5, "heat", strict=True),
        Expectation.one_of(["on", "off"], "state", on_failure="quarantine"),
        Expectation.matches("[a-z]+", "state"),
        Expectation.where("heat > errors OR state = 'off'", on_failure="quarantine"),
        Expectation.unique(["machine_id", "ts"]),
        Expectation.fresh(timedelta(days=90)),
        Expectation.row_count(1, 10_000),
    ]
    store = open_store(view_of(every, errors=[Expectation.not_null()]))
    found = store.get_feature_view("machines")
    assert list(found.expectations) == every
    assert found.feature("errors").expectations == (Expectation.not_null("errors"),)
    assert store.apply([view_of(every, errors=[Expectation.not_null()])]).is_empty
    lines = [line for change in store.plan([view_of(every[:1])], partial=True).changes for line in change.lines()]
    assert any("heat not null, else warn" in line for line in lines)
    assert any("errors not null, else fail" in line for line in lines)
    assert store.materialize(*RANGE).unmet == ()
    assert store.list_feature_view_versions("machines")[0]["version"] == 1


# --- Loads -----------------------------------------------------------------------------------------------------------


def test_quarantine_takes_bad_facts_and_the_others_go_on(open_store: Open) -> None:
    store = open_store(
        view_of(
            [Expectation.where("errors < 6", on_failure="quarantine")],
            state=[Expectation.not_null(on_failure="quarantine")],
        )
    )
    report = store.materialize(*RANGE)
    table = store.quarantine("machines").sort_by("machine_id")
    bad = [number for number in range(ROWS) if number % 10 == 0 or number % 7 == 6]
    assert table["machine_id"].to_pylist() == bad
    assert report.quarantined == len(bad)
    assert report.rows == ROWS - len(bad)
    reasons = dict(zip(bad, table["__reasons"].to_pylist(), strict=True))
    assert reasons[10] == ["state not null"]
    assert reasons[6] == ["errors < 6"]
    assert sorted(reasons[20]) == ["errors < 6", "state not null"]
    assert table["__event_timestamp"][0].as_py() == datetime(2024, 1, 1, tzinfo=UTC)
    assert table["__quarantined_at"][0].as_py() == NOW
    values = online(store, 1, 6, 10)
    assert values[0] is not None
    assert values[1:] == [None, None]


def test_failed_expectation_writes_nothing(open_store: Open) -> None:
    quarantined = Expectation.not_null("state", on_failure="quarantine")
    store = open_store(view_of([quarantined], errors=[Expectation.between(0, 5)]))
    with pytest.raises(MaterializationError, match=r"errors between 0 and 5; machine_id \d+, errors 6 is not so"):
        store.materialize(*RANGE)
    assert online(store, 1, 2) == [None, None]
    assert store.quarantine("machines").num_rows == 0
    assert not list((store.config.repo_path / "data/quality").rglob("*.parquet"))
    (run,) = store.materialization_runs()
    assert "errors between 0 and 5" in run.error
    assert (run.rows, run.written) == (0, 0)


def test_warning_counts_and_writes_all(open_store: Open) -> None:
    store = open_store(view_of([Expectation.not_null("state", on_failure="warn")]))
    report = store.materialize(*RANGE)
    (unmet,) = report.unmet
    assert (unmet.rows, unmet.on_failure) == (ROWS // 10, "warn")
    assert report.rows == ROWS
    assert report.to_dict()["unmet"][0]["expectation"] == "state not null"


@pytest.mark.parametrize("on_failure", ["warn", "fail"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda **how: Expectation.row_count(ROWS + 1, **how), f"there are {ROWS}"),
        (lambda **how: Expectation.row_count(high=5, **how), f"there are {ROWS}"),
        (lambda **how: Expectation.fresh(timedelta(hours=1), **how), "the newest is of 2024-01-02T09:19:00Z"),
        (lambda **how: Expectation.unique("errors", **how), f"{ROWS - 7} of {ROWS}"),
    ],
    ids=["few", "many", "fresh", "unique"],
)
def test_all_facts_are_judged_together(open_store: Open, make: Any, message: str, on_failure: str) -> None:
    store = open_store(view_of([make(on_failure=on_failure)]))
    if on_failure == "warn":
        assert message in store.materialize(*RANGE).unmet[0].found
        assert online(store, 1) != [None]
        return
    with pytest.raises(MaterializationError, match=message):
        store.materialize(*RANGE)
    assert online(store, 1) == [None]


def test_age_is_counted_from_the_end_of_the_range(open_store: Open) -> None:
    store = open_store(view_of([Expectation.fresh(timedelta(hours=1))]))
    assert store.materialize("2024-01-01", "2024-01-02T09:30").unmet == ()


def test_incremental_and_full_loads_are_checked_too(open_store: Open) -> None:
    store = open_store(view_of([Expectation.not_null("state", on_failure="quarantine")]))
    assert store.materialize_incremental(NOW).quarantined == ROWS // 10
    assert store.materialize_incremental(NOW).quarantined == 0
    assert store.materialize(None, None, full_refresh=True).quarantined == ROWS // 10
    assert online(store, 10) == [None]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from([None, -1.0, 0.0, 1.5, 9.0, math.nan]), st.sampled_from([None, "on", "xx"]))),
    st.sampled_from(ACTIONS),
)
def test_checks_are_what_python_says(tmp_path_factory: Any, facts: list[tuple[Any, Any]], action: str) -> None:
    from tiffin.operations.expectations import Guard

    heat = [Expectation.between(0, 2, on_failure=action), Expectation.not_null(on_failure=action)]
    state = [Expectation.one_of(["on", "off"], on_failure=action), Expectation.matches("o.*", on_failure=action)]
    view = view_of([Expectation.where("heat <= 1.5 OR state = 'on'", on_failure=action)], heat=heat, state=state)
    count = len(facts)
    table = readings_table(count)
    table = table.set_column(2, "heat", pa.array([value for value, _ in facts], pa.float64()))
    table = table.set_column(3, "state", pa.array([value for _, value in facts], pa.string()))

    def is_good(value: float | None, text: str | None) -> bool:
        condition = [None if value is None else value <= 1.5, None if text is None else text == "on"]
        return (
            value is not None
            and 0 <= value <= 2
            and text in (None, "on", "off")
            and (text is None or bool(re.fullmatch("o.*", text)))
            and not (condition[0] is False and condition[1] is False)
        )

    good = [is_good(*fact) for fact in facts]
    with FeatureStore(config=_config(tmp_path_factory.mktemp("plant"), table)) as store:
        store.apply([view])
        guard = Guard(store.context, store.get_feature_view("machines"), 0)
        batch = store.context.offline.newest(_load(store))
        if action == "fail" and not all(good):
            with pytest.raises(ExpectationError):
                list(guard.guarded(batch))
            return
        kept = [number for part in guard.guarded(batch) for number in part.column("machine_id").to_pylist()]
        expected = [number for number in range(count) if good[number] or action == "warn"]
        assert sorted(kept) == expected
        assert guard.quarantined == (good.count(False) if action == "quarantine" else 0)


def _config(folder: Any, table: pa.Table) -> Any:
    import pyarrow.parquet as pq

    from tiffin import RepoConfig

    pq.write_table(table, folder / "readings.parquet")
    return RepoConfig(project="plant", repo_path=folder, online_store={"type": "sqlite", "path": "online.db"})


def _load(store: FeatureStore) -> Any:
    from tiffin.planning.materialization import plan_load
    from tiffin.time import MIN_US, to_us

    return plan_load(store.get_feature_view("machines"), start_us=MIN_US, end_us=to_us(NOW), now_us=to_us(NOW))


# --- Pushes ----------------------------------------------------------------------------------------------------------


def test_pushed_facts_are_put_apart(open_store: Open) -> None:
    store = open_store(view_of(heat=[Expectation.between(0, 100, on_failure="quarantine")]))
    report = push(store, {"machine_id": 1}, {"machine_id": 2, "heat": 500.0})
    assert (report.views["machines"].written, report.views["machines"].quarantined) == (1, 1)
    assert online(store, 1, 2) == [20.0, None]
    assert store.quarantine("machines")["machine_id"].to_pylist() == [2]


def test_push_that_fails_writes_nothing_and_names_the_row(open_store: Open) -> None:
    store = open_store(view_of(heat=[Expectation.between(0, 100)]))
    with pytest.raises(ExpectationError, match=r"row 1: machine_id 2, heat 500\.0 is not so"):
        push(store, {"machine_id": 1}, {"machine_id": 2, "heat": 500.0}, to=PushMode.ONLINE_AND_OFFLINE)
    assert online(store, 1) == [None]
    assert store.context.offline.schema(readings)
    assert store.profile("machines").rows == ROWS


def test_history_gets_no_facts_that_are_put_apart(open_store: Open) -> None:
    store = open_store(view_of(heat=[Expectation.between(0, 100, on_failure="quarantine")]))
    late = {"machine_id": 3, "ts": NOW - timedelta(hours=1)}
    ahead = {"machine_id": 4, "ts": NOW + timedelta(days=1)}
    rows = [ahead, {"machine_id": 2, "heat": 500.0}, late]
    report = push(store, *rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert (report.appended, report.refused) == (1, (0,))
    assert store.quarantine("machines").num_rows == 1
    assert push(store, *rows, to=PushMode.OFFLINE).appended == 1
    assert store.quarantine("machines").num_rows == 2
    plain = {"machine_id": [8, 9], "ts": [NOW, NOW], "heat": [1.0, -1.0], "state": ["on", "on"], "errors": [0, 0]}
    assert store.write_to_offline_store("machines", pa.table(plain)) == 1


def test_rows_of_which_a_function_makes_bad_facts_are_not_appended(open_store: Open) -> None:
    """They would keep every later load from being written."""
    twice = Field(name="twice", dtype=Float64, expectations=[Expectation.between(0, 100)])
    sql = "SELECT *, heat * 2 AS twice FROM source"
    view = StreamFeatureView(
        name="doubled", entities=[machine], source=pushed, mode="sql", udf=sql, schema=[twice], online=False
    )
    store = open_store(view)
    bad = {"machine_id": 1, "heat": 60.0}
    with pytest.raises(ExpectationError, match="twice between 0 and 100"):
        push(store, {"machine_id": 2}, bad, to=PushMode.OFFLINE)
    with pytest.raises(ExpectationError, match="twice between 0 and 100"):
        store.write_to_offline_store("doubled", [{"ts": NOW, "state": "on", "errors": 0} | bad])
    assert push(store, {"machine_id": 1}, to=PushMode.OFFLINE).appended == 1


def test_size_and_age_of_a_push_are_what_they_are(open_store: Open) -> None:
    store = open_store(view_of([Expectation.row_count(100), Expectation.fresh(timedelta(hours=1))]))
    push(store, {"machine_id": 1, "ts": NOW - timedelta(days=3)})
    assert online(store, 1) == [20.0]


def test_push_of_the_same_twice_is_seen(open_store: Open) -> None:
    store = open_store(view_of([Expectation.unique(["machine_id", "ts"])]))
    push(store, {"machine_id": 1}, {"machine_id": 2})
    with pytest.raises(ExpectationError, match="1 of 3 have values that came before"):
        push(store, {"machine_id": 1}, {"machine_id": 2}, {"machine_id": 1})


def test_wrong_messages_of_a_stream_are_found_one_by_one(open_store: Open) -> None:
    """What a stream does with a batch: the wrong messages become dead letters, and the others go on."""
    store = open_store(view_of([Expectation.unique("machine_id")], errors=[Expectation.between(0, 5)]))
    table, view = readings_table(20), store.get_feature_view("machines")
    table = pa.concat_tables([table, table])

    def places(rows: Any) -> Any:
        return ["0"] * len(rows), list(map(str, rows))

    def attempt(rows: Any) -> Any:
        return CheckedWrite.of(store.context, view, table.take(pa.array(rows, pa.int64())), places)

    write, wrong = isolated(40, attempt)
    assert list(wrong) == [6, 13, 26, 33]
    assert "errors between 0 and 5" in wrong[6]
    assert write.write(store.context).written == 18


def test_views_with_alike_names_have_quarantines_of_their_own(open_store: Open) -> None:
    store = open_store()
    folders = [quality_folder(store.context, "quarantine", name) for name in ("a b", "a_b", "..", "a/b", "a%2Fb")]
    assert len({folder.resolve() for folder in folders}) == 5
    assert {folder.resolve().parent for folder in folders} == {folders[0].resolve().parent}


def test_quarantine_of_an_unknown_view_is_an_error(open_store: Open) -> None:
    with pytest.raises(NotFoundError, match="machine"):
        open_store().quarantine("machine")


# --- Pandera ---------------------------------------------------------------------------------------------------------

pandera = pytest.importorskip("pandera.pandas", reason="needs pandera: pip install pandera")
# It imports pandas-on-Spark where that is installed, which makes Arrow ignore time zones in this process.
os.environ.pop("PYARROW_IGNORE_TIMEZONE", None)


def test_schema_of_pandera_becomes_expectations() -> None:
    schema = pandera.DataFrameSchema(
        {
            "heat": pandera.Column(float, [pandera.Check.ge(-50), pandera.Check.lt(900)], nullable=True),
            "state": pandera.Column(str, pandera.Check.isin(["on", "off"], raise_warning=True)),
            "errors": pandera.Column(int, pandera.Check.in_range(0, 10), nullable=True, unique=True),
        },
        unique=["state", "errors"],
    )
    assert view_of(schema).expectations == (
        Expectation.between(-50, None, "heat"),
        Expectation.between(None, 900, "heat", strict=True),
        Expectation.not_null("state"),
        Expectation.one_of(["on", "off"], "state", on_failure="warn"),
        Expectation.unique("errors"),
        Expectation.between(0, 10, "errors"),
        Expectation.unique(["state", "errors"]),
    )


@pytest.mark.parametrize(
    ("check", "texts"),
    [
        (pandera.Check.str_startswith("a.b"), {"a.bc": True, "axb": False, "xa.b": False, "a.b": True}),
        (pandera.Check.str_endswith("a.b"), {"ca.b": True, "a.bc": False, "a.b": True}),
        (pandera.Check.str_matches("a|b"), {"ax": True, "bx": True, "xa": False}),
        (pandera.Check.str_contains("a|b"), {"xax": True, "xbx": True, "x": False, "\na": True}),
        (pandera.Check.eq("a"), {"a": True, "b": False}),
    ],
)
def test_checks_of_texts_mean_what_they_mean_in_pandera(open_store: Open, check: Any, texts: dict[str, bool]) -> None:
    schema = pandera.DataFrameSchema({"state": pandera.Column(str, check, nullable=True)})
    store = open_store(view_of(schema))
    for text, is_good in texts.items():
        if is_good:
            push(store, {"machine_id": 1, "state": text})
            continue
        with pytest.raises(ExpectationError):
            push(store, {"machine_id": 1, "state": text})


@pytest.mark.filterwarnings("ignore:PySpark does not:FutureWarning")
def test_model_of_pandera_is_a_schema() -> None:
    class Readings(pandera.DataFrameModel):
        heat: float = pandera.Field(gt=0, nullable=True)

    assert view_of([Readings]).expectations == (Expectation.between(0, None, "heat", strict=True),)


def test_code_in_a_schema_is_refused() -> None:
    own = pandera.Column(float, pandera.Check(lambda heat: heat > 0))
    with pytest.raises(UnsupportedError, match="column 'heat' of the pandera schema has <lambda>"):
        view_of(pandera.DataFrameSchema({"heat": own}))
    whole = pandera.DataFrameSchema({"heat": pandera.Column(float)}, checks=pandera.Check(lambda df: df.heat > 0))
    with pytest.raises(UnsupportedError, match="cannot be kept as data"):
        view_of(whole)
