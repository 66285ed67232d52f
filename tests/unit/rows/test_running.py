"""Functions over rows in a project: what they must not do, what changes when they do, and where they are looked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tiffin import Aggregation, BatchFeatureView, Entity, FeatureStore, Field, FileSource, ManualClock, PushSource
from tiffin.config import RepoConfig
from tiffin.definitions import FunctionCode, PushMode
from tiffin.errors import (
    DefinitionError,
    FunctionError,
    InputError,
    SourceError,
    TiffinError,
    TypeMismatchError,
    UnsupportedError,
)
from tiffin.time import to_us
from tiffin.types import Float64, Int64, String, ValueType

NOON_US = to_us("2024-06-01T12:00:00Z")
MINUTE_US = 60_000_000
CARD = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
FILES = FileSource(name="files", path="facts.parquet", timestamp_field="ts")
PUSHED = PushSource(name="pushed", batch_source=FILES)
EUROS = Field(name="euros", dtype=Float64)
QUERY = "SELECT *, amount * rate AS euros FROM source"
TIME = pa.timestamp("us", "UTC")
ROWS = pa.table(
    {
        "card": [1, 1, 2],
        "ts": pa.array([NOON_US - minutes * MINUTE_US for minutes in (30, 20, 10)], TIME),
        "amount": [1.0, 2.0, 4.0],
        "rate": [3, 3, None],
    }
)


def view(udf: Any = QUERY, mode: str = "sql", **arguments: Any) -> BatchFeatureView:
    given = {"name": "v", "entities": [CARD], "source": PUSHED, "schema": [EUROS], "online": True, **arguments}
    return BatchFeatureView(udf=udf, mode=mode, **given)


def opened(folder: Path, *objects: Any, table: pa.Table = ROWS) -> FeatureStore:
    if not (folder / "facts.parquet").exists():
        pq.write_table(table, folder / "facts.parquet")
    config = RepoConfig(project="tests", repo_path=folder, online_store={"type": "memory"})
    store = FeatureStore(config=config, clock=ManualClock(NOON_US))
    if objects:
        store.apply(list(objects))
    return store


def trained(store: FeatureStore, feature: str = "v:euros") -> list[Any]:
    frame = pa.table({"card": [1, 2], "event_timestamp": pa.array([NOON_US] * 2, TIME)})
    return store.get_historical_features(frame, [feature]).to_arrow()[feature.split(":")[1]].to_pylist()


def mean_of_all(frame: Any) -> Any:
    return frame.assign(euros=frame["amount"] - frame["amount"].mean())


def running_total(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return rows | {"euros": [sum(rows["amount"][: n + 1]) for n in range(len(rows["amount"]))]}


def raises(row: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("no such rate")


def later(frame: Any) -> Any:
    import pandas as pd

    return frame.assign(ts=frame["ts"] + pd.Timedelta(hours=1), euros=1.0)


@pytest.mark.parametrize(
    ("mode", "udf", "message"),
    [
        ("pandas", lambda f: f, "does not give 'euros', which is a feature of its schema"),
        ("pandas", lambda f: f[["card", "amount"]].assign(euros=1.0), "does not give 'ts', which is a time column"),
        ("pandas", lambda f: f[["ts"]].assign(euros=1.0), "does not give 'card', which is a join key"),
        ("pandas", lambda f: f.assign(euros=1.0, more=2), "gives 'more', which nothing reads"),
        ("pandas", lambda f: f.assign(euros="much"), "'much' in column 'euros'"),
        ("pandas", lambda f: f.assign(euros=f["amout"]), "reads 'amout'"),
        ("pandas", lambda f: 3, "gives a int, where a DataFrame is expected"),
        ("pandas", later, "is not the time of the row that came in"),
        ("pandas", mean_of_all, "gives another 'euros' for a row among other rows than for the row alone"),
        ("python", running_total, "gives another 'euros' for a row among other rows"),
        ("python", lambda r: {n: [*v, *v] for n, v in r.items()} | {"euros": [1.0] * 6}, "gives 6 rows for 3"),
        ("python", lambda r: r | {"euros": [1.0]}, "gives 1 values for 'euros' and 3 for 'card'"),
        ("python", lambda r: r | {"euros": 1.0}, "where a list is expected"),
        ("python", lambda r: r | {"euros": ["x", None, None]}, "gives 'x' .* for 'euros' in row 0"),
        ("python", lambda r: [r], "gives a list, where a dict is expected"),
        ("polars", lambda f: f.to_dict(), "where a DataFrame is expected"),
    ],
)
def test_a_function_that_breaks_a_promise_is_told_which(
    mode: str, udf: Callable[[Any], Any], message: str, tmp_path: Path
) -> None:
    store = opened(tmp_path, view(udf, mode))
    with pytest.raises(FunctionError, match=message):
        trained(store)
    with pytest.raises(TiffinError, match=message):
        store.materialize(NOON_US - 60 * MINUTE_US, NOON_US)
    with pytest.raises(FunctionError, match=message):
        store.push("pushed", ROWS, to=PushMode.ONLINE_AND_OFFLINE)
    assert pq.read_table(tmp_path / "facts.parquet").num_rows == ROWS.num_rows
    assert store.get_online_features(["v:euros"], [{"card": 1}]).to_dict()["euros"] == [None]


def test_an_error_of_a_row_names_the_row(tmp_path: Path) -> None:
    store = opened(tmp_path, view(raises, "python", singleton=True))
    with pytest.raises(FunctionError, match=r"fails in row 0 \(card=\d, ts=2024-06-01.*\): ValueError: no such rate"):
        trained(store)


def test_a_query_that_fails_on_a_value_says_so(tmp_path: Path) -> None:
    table = ROWS.append_column("text", pa.array(["1", "x", "3"]))
    store = opened(tmp_path, view("SELECT *, text::DOUBLE AS euros FROM source"), table=table)
    with pytest.raises(FunctionError, match=r"function of feature view v fails: .*'x'"):
        trained(store)


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (lambda: view(lambda f: f, "pandas", schema=None), DefinitionError, "has a function and no schema"),
        (lambda: view("SELECT sum(amount) AS euros FROM source"), DefinitionError, "calls sum"),
        (lambda: view("SELECT card, ts, amont AS euros FROM source"), DefinitionError, "amont"),
        (lambda: view("SELECT card, amount AS euros FROM source"), DefinitionError, "not give the time column 'ts'"),
        (lambda: view("SELECT ts, amount AS euros FROM source"), DefinitionError, "'card', which is the join key"),
        (lambda: view("SELECT *, 'x' AS euros FROM source"), TypeError, "declared as Float64"),
        (
            lambda: view(lambda f: f, "pandas", schema=None, aggregations=[Aggregation("euros", "sum")]),
            DefinitionError,
            "the type of column 'euros', which is aggregated, is not known",
        ),
        (
            lambda: view(lambda f: f, "pandas", input_schema=[Field(name="amout", dtype=Float64)]),
            SourceError,
            "has no column 'amout', which its function reads",
        ),
        (
            lambda: view(lambda f: f, "pandas", input_schema=[Field(name="amount", dtype=String)]),
            DefinitionError,
            "'amount' is declared as String",
        ),
        (
            lambda: view(lambda f: f, "pandas", source=PushSource(name="only")),
            DefinitionError,
            "has a function, and its source has no columns to read",
        ),
    ],
)
def test_what_cannot_be_known_is_refused_at_apply(
    made: Callable[[], Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    store = opened(tmp_path)
    with pytest.raises(error, match=message):
        store.apply([made()])


def test_a_function_that_reads_the_clock_is_refused(tmp_path: Path) -> None:
    from datetime import datetime

    def aged(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return rows | {"euros": [datetime.now().timestamp()] * len(rows["ts"])}

    with pytest.raises(DefinitionError, match=r"reads the clock: datetime\.now"):
        opened(tmp_path).apply([view(aged, "python")])


def _first() -> Callable[[Any], Any]:
    def spent(frame: Any) -> Any:
        return frame.assign(euros=1.0)

    return spent


def _second() -> Callable[[Any], Any]:
    def spent(frame: Any) -> Any:
        return frame.assign(euros=2.0)

    return spent


def test_a_changed_function_shows_in_the_plan_and_gets_a_table_of_its_own(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    assert store.plan([view()]).is_empty
    changed = store.plan([view(QUERY.replace("*  rate", "* rate") + " WHERE amount > 1")])
    assert "sql" in str(changed)
    assert "new online table" in str(changed)

    one, two = _first(), _second()
    store.apply([view(one, "pandas")])
    assert store.plan([view(one, "pandas")]).is_empty
    changed = store.plan([view(two, "pandas")])
    assert "euros=2.0" in str(changed)
    assert "new online table" in str(changed)


def test_a_function_of_a_file_is_found_again_and_another_one_is_refused(tmp_path: Path) -> None:
    code = (
        "from tiffin import *\nfrom tiffin.definitions import batch_feature_view\nfrom tiffin.types import Float64\n"
        "card = Entity(name='card', join_keys=['card'])\n"
        "files = FileSource(path='facts.parquet', timestamp_field='ts')\n"
        "fields = [Field(name='euros', dtype=Float64)]\n"
        "@batch_feature_view(entities=[card], source=files, schema=fields, mode='pandas')\n"
        "def v(frame):\n    return frame.assign(euros=frame['amount'] * 10)\n"
    )
    (tmp_path / "own_rows.py").write_text(code)
    from tiffin.operations.repository import load_repository

    store = opened(tmp_path)
    store.apply(load_repository(tmp_path).objects)
    known = store.get_feature_view("v").function  # type: ignore[attr-defined]
    assert trained(store) == [20.0, 40.0]
    _forget(known)
    sys.modules.pop("own_rows", None)
    assert trained(store) == [20.0, 40.0]
    _forget(known)
    (tmp_path / "own_rows.py").write_text(code.replace("* 10", "* 11"))
    with pytest.raises(FunctionError, match="another function than was applied"):
        trained(store)
    (tmp_path / "own_rows.py").unlink()
    with pytest.raises(FunctionError, match="module own_rows is not found"):
        store.materialize(NOON_US - 60 * MINUTE_US, NOON_US)


def _forget(code: FunctionCode) -> None:
    """As a process that has not defined the function."""
    from tiffin.definitions import function

    function._KNOWN.pop(code)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.drop_columns(["rate"]), InputError, "column 'rate' is missing, which the function"),
        (lambda t: t.set_column(2, "amount", pa.array(["x"] * 3)), TypeMismatchError, "'x' in column 'amount'"),
        (lambda t: t.set_column(1, "ts", pa.nulls(3, TIME)), InputError, "row 0 has no time in column 'ts'"),
        (lambda t: t.set_column(0, "card", pa.array([1, None, 2])), InputError, "row 1: join key 'card' is null"),
    ],
)
def test_rows_that_are_pushed_are_checked_before_any_is_written(
    change: Callable[[Any], Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    store = opened(tmp_path, view())
    with pytest.raises(error, match=message):
        store.push("pushed", change(ROWS), to=PushMode.ONLINE_AND_OFFLINE)
    assert store.get_online_features(["v:euros"], [{"card": 1}]).to_dict()["euros"] == [None]


def test_the_history_keeps_rows_as_they_were_pushed_and_none_of_the_future(tmp_path: Path) -> None:
    """The function leaves a row out, so that rows and facts have different numbers."""
    store = opened(tmp_path, view(QUERY + " WHERE amount <> 2"), table=ROWS.slice(0, 0))
    late = pa.array([NOON_US - MINUTE_US, NOON_US, NOON_US + 60 * MINUTE_US], TIME)
    report = store.push("pushed", ROWS.set_column(1, "ts", late).to_pylist()[::-1], to=PushMode.ONLINE_AND_OFFLINE)
    assert report.refused == (0,)
    assert report.appended == 2
    assert trained(store) == [3.0, None]
    assert store.get_online_features(["v:euros"], [{"card": 1}, {"card": 2}]).to_dict()["euros"] == [3.0, None]


def test_only_declared_inputs_are_asked_of_a_push(tmp_path: Path) -> None:
    def tripled(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        assert set(rows) == {"card", "ts", "amount"}
        return rows | {"euros": [3 * value for value in rows["amount"]]}

    store = opened(tmp_path, view(tripled, "python", input_schema=[Field(name="amount", dtype=Float64)]))
    store.push("pushed", [{"card": 7, "ts": "2024-06-01T11:00:00Z", "amount": 2}])
    assert store.get_online_features(["v:euros"], [{"card": 7}]).to_dict()["euros"] == [6.0]
    assert trained(store) == [6.0, 12.0]


def test_features_of_a_query_need_no_schema(tmp_path: Path) -> None:
    made = view("SELECT card, ts, amount * 2 AS euros, rate > 1 AS dear FROM source", schema=None)
    store = opened(tmp_path, made)
    found = {field.name: repr(field.dtype) for field in store.get_feature_view("v").features}
    assert found == {"euros": "Float64", "dear": "Bool"}
    assert trained(store, "v:dear") == [True, None]


def test_facts_in_a_range_are_those_that_come_out(tmp_path: Path) -> None:
    store = opened(tmp_path, view(QUERY + " WHERE card = 1"))
    job = store.get_historical_features(None, ["v:euros"], start_date="2024-06-01", end_date="2024-06-02")
    assert job.to_arrow()["euros"].to_pylist() == [3.0, 6.0]


def test_a_function_is_told_and_not_put_into_sql(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    frame = pa.table({"card": [1], "event_timestamp": pa.array([NOON_US], TIME)})
    job = store.get_historical_features(frame, ["v:euros"])
    assert "rows go through SELECT *, amount * rate AS euros FROM source (sql) first" in job.explain()
    with pytest.raises(UnsupportedError, match="rows of v go through a function"):
        job.to_sql()


def test_an_engine_that_runs_no_functions_is_not_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path, view())
    engine = store.context.offline
    monkeypatch.setattr(type(engine), "capabilities", replace(engine.capabilities, row_functions=False))
    with pytest.raises(UnsupportedError, match="which the duckdb engine does not run"):
        trained(store)


def test_text_keys_files_of_text_and_renamed_columns(tmp_path: Path) -> None:
    """A CSV file with times as text; the function makes the key."""
    (tmp_path / "facts.csv").write_text("Mail,At,n\nAnn@X.org,2024-06-01T11:00:00Z,4\n,2024-06-01T11:00:00Z,5\n")
    source = FileSource(path="facts.csv", timestamp_field="ts", field_mapping={"At": "ts", "Mail": "mail"})
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
    made = BatchFeatureView(
        name="v",
        entities=[user],
        source=source,
        schema=[Field(name="n", dtype=Int64)],
        mode="sql",
        udf="SELECT lower(mail) AS user, ts, n FROM source",
    )
    store = opened(tmp_path, made)
    frame = pa.table({"user": ["ann@x.org", "Ann@X.org"], "event_timestamp": pa.array([NOON_US] * 2, TIME)})
    assert store.get_historical_features(frame, ["v:n"]).to_arrow()["n"].to_pylist() == [4, None]
