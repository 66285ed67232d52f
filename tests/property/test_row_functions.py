"""Functions over rows, in every language: training, loading and pushing give what the rules say of the rows they make.

The reference turns each raw row into a fact by itself, in plain Python; from there on it is the reference for plain
features and for windows. Random rows have null values, late facts, ties, keys in several spellings (the function makes
the key), and rows that the function leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tiffin import Aggregation, BatchFeatureView, Entity, FeatureStore, Field, FileSource, ManualClock, PushSource
from tiffin.config import RepoConfig
from tiffin.definitions import StreamFeatureView
from tiffin.online.rows import payload_bytes
from tiffin.semantics.oracle import Fact, Mode, asof
from tiffin.semantics.oracle_windows import WindowSpec, window_value
from tiffin.types import Float64, Int64, String, ValueType

TIME = pa.timestamp("us", "UTC")
START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
NOW_US = START_US + 12 * HOUR_US
#: The name of the source's columns, one of which is renamed for the function.
COLUMNS = {
    "who": pa.string(),
    "ts": TIME,
    "created": TIME,
    "amt": pa.float64(),
    "rate": pa.int32(),
    "shop": pa.string(),
    "id": pa.int64(),
}
FEATURES = [Field(name="euros", dtype=Float64), Field(name="rate", dtype=Int64), Field(name="shop", dtype=String)]
USER = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)


def in_lists(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    kept = [number for number, shop in enumerate(rows["shop"]) if shop != "test"]
    found = {name: [values[number] for number in kept] for name, values in rows.items()}
    found["user"] = [None if who is None else who.lower() for who in found.pop("who")]
    pairs = zip(found["amount"], found["rate"], strict=True)
    found["euros"] = [None if None in pair else pair[0] * pair[1] for pair in pairs]
    return found


def one_row(row: dict[str, Any]) -> dict[str, Any] | None:
    if row["shop"] == "test":
        return None
    row["user"] = None if row["who"] is None else row.pop("who").lower()
    row["euros"] = None if row["amount"] is None or row["rate"] is None else row["amount"] * row["rate"]
    return row


def in_pandas(frame: Any) -> Any:
    frame = frame[(frame["shop"] != "test").fillna(True)]
    return frame.assign(user=frame["who"].str.lower(), euros=frame["amount"] * frame["rate"])


def in_polars(frame: Any) -> Any:
    import polars as pl

    frame = frame.filter((pl.col("shop") != "test").fill_null(value=True))
    return frame.lazy().with_columns(user=pl.col("who").str.to_lowercase(), euros=pl.col("amount") * pl.col("rate"))


QUERY = (
    "SELECT * EXCLUDE (who), lower(who) AS user, amount * rate AS euros FROM source WHERE coalesce(shop, '') <> 'test'"
)

LANGUAGES: dict[str, dict[str, Any]] = {
    "python": {"mode": "python", "udf": in_lists},
    "singleton": {"mode": "python", "udf": one_row, "singleton": True},
    "pandas": {"mode": "pandas", "udf": in_pandas},
    "polars": {"mode": "polars", "udf": in_polars},
    "sql": {"mode": "sql", "udf": QUERY},
}

WINDOWS = {
    "sum": WindowSpec("sum", "euros", 3 * HOUR_US),
    "number": WindowSpec("count", "id"),
    "last": WindowSpec("last", "shop", 6 * HOUR_US),
    "dear": WindowSpec("count", "euros", where=lambda row: row["euros"] is not None and row["euros"] > 1),
}


@dataclass(frozen=True)
class Shape:
    """What a random case looks like; the content follows from the seed."""

    seed: int
    facts: int
    moments: int
    created: bool
    only_known: bool
    parts: int


shapes = st.builds(
    Shape,
    seed=st.integers(0, 2**32 - 1),
    facts=st.integers(0, 60),
    moments=st.sampled_from([1, 4, 9]),
    created=st.booleans(),
    only_known=st.booleans(),
    parts=st.integers(1, 4),
)


def raw_rows(shape: Shape) -> pa.Table:
    rng = np.random.default_rng(shape.seed)
    count = shape.facts

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[number] for number in rng.integers(len(values), size=count)]

    ts = START_US + rng.integers(shape.moments, size=count) * HOUR_US
    created = [
        int(at) + int(late) * HOUR_US if late >= 0 else None
        for at, late in zip(ts, rng.integers(-1, 3, count), strict=True)
    ]
    columns = {
        "who": some(["ann", "Ann", "BOB", "bob", "cy"]),
        "ts": ts.tolist(),
        "created": created,
        "amt": some([0.1, 0.2, -0.3, 1e9, 2.5, None]),
        "rate": some([1, 2, -3, None]),
        "shop": some(["a", "b", "test", "", None]),
        # A fact that is written twice is one fact online; these are all different.
        "id": list(range(count)),
    }
    made = {name: pa.array(columns[name], type_) for name, type_ in COLUMNS.items()}
    return pa.table(made if shape.created else {n: c for n, c in made.items() if n != "created"})


def facts_of(table: pa.Table, fields: Mapping[str, str]) -> list[Fact]:
    """The facts of raw rows, made one by one; ``fields`` are the columns that are read, with their types."""
    facts = []
    for raw in table.to_pylist():
        row = one_row({**{name: value for name, value in raw.items() if name != "amt"}, "amount": raw["amt"]})
        if row is None:
            continue
        payload = {name: row[name] for name in fields}
        typed = {name: pa.array([payload[name]], _ARROW[dtype]) for name, dtype in fields.items()}
        (encoded,) = payload_bytes(tuple(fields.items()), pa.table(typed))
        event = _us(row["ts"])
        known = event if row.get("created") is None else _us(row["created"])
        facts.append(Fact((row["user"],), event, known, payload, 0, encoded))
    return facts


_ARROW = {"Float64": pa.float64(), "Int64": pa.int64(), "String": pa.string()}


def _us(at: Any) -> int:
    return int(pa.scalar(at, TIME).value)


def project(folder: Path, name: str, table: pa.Table, shape: Shape) -> FeatureStore:
    """A project with the views of every language over one source of files, which is pushed to as well."""
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=16)
    history = FileSource(
        name=f"{name}_history",
        path=f"{name}.parquet",
        timestamp_field="ts",
        created_timestamp_column="created" if shape.created else "",
        field_mapping={"amt": "amount"},
    )
    pushed = PushSource(name="pushed", batch_source=history)
    aggregations = [
        Aggregation(
            spec.column,
            spec.function,
            None if spec.window_us is None else timedelta(microseconds=spec.window_us),
            name=feature,
            filter="euros > 1" if spec.where is not None else None,
        )
        for feature, spec in WINDOWS.items()
    ]
    views: list[Any] = []
    for language, function in LANGUAGES.items():
        views += [
            BatchFeatureView(
                name=f"plain_{language}", entities=[USER], source=pushed, online=True, schema=FEATURES, **function
            ),
            StreamFeatureView(
                name=f"window_{language}",
                entities=[USER],
                source=pushed,
                aggregations=aggregations,
                inputs=[Field(name="euros", dtype=Float64)],
                **function,
            ),
        ]
    config = RepoConfig(
        project=name,
        repo_path=folder,
        registry=f"{name}.db",
        online_store={"type": "memory"},
        offline_store={"type": "duckdb", "threads": 1},
        point_in_time="known" if shape.only_known else "event",
    )
    store = FeatureStore(config=config, clock=ManualClock(NOW_US))
    store.apply(views)
    return store


def expected(plain: list[Fact], many: list[Fact], key: str, t: int, mode: Mode) -> dict[str, Any]:
    """Plain features and windows of a key at a time, by the rules."""
    fact = asof(plain, (key,), t, t if mode == "known" else None, None)
    cells: dict[str, Any] = {f.name: None if fact is None else fact.payload[f.name] for f in FEATURES}  # type: ignore[index]
    return cells | {name: window_value(many, (key,), t, mode, spec) for name, spec in WINDOWS.items()}


def references(language: str) -> list[str]:
    return [*(f"plain_{language}:{f.name}" for f in FEATURES), *(f"window_{language}:{name}" for name in WINDOWS)]


KEYS = ["ann", "bob", "cy", "Ann"]


@given(shape=shapes)
@settings(
    max_examples=12,
    deadline=None,
    phases=[p for p in Phase if p is not Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_language_and_every_way_in_gives_what_the_rules_say(
    shape: Shape, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    table = raw_rows(shape)
    mode: Mode = "known" if shape.only_known else "event"
    loaded, pushed = project(folder, "loaded", table, shape), project(folder, "pushed", table.slice(0, 0), shape)
    loaded.materialize_incremental(NOW_US)
    rng = np.random.default_rng(shape.seed + 1)
    for part in np.array_split(rng.permutation(table.num_rows), shape.parts):
        pushed.push("pushed", table.take(pa.array(part, pa.int64())))
    plain = facts_of(table, {"euros": "Float64", "rate": "Int64", "shop": "String"})
    many = facts_of(table, {"euros": "Float64", "id": "Int64", "shop": "String"})
    rows = [(key, START_US + hours * HOUR_US) for key in KEYS for hours in (-1, 0, 1, 3, 7)]
    frame = pa.table({"user": [key for key, _ in rows], "event_timestamp": pa.array([t for _, t in rows], TIME)})
    then = [expected(plain, many, key, t, mode) for key, t in rows]
    now = [expected(plain, many, key, NOW_US, "known") for key in KEYS]
    for language in LANGUAGES:
        asked = references(language)
        names = [name.split(":")[1] for name in asked]
        trained = loaded.get_historical_features(frame, asked).to_arrow().select(names).to_pylist()
        assert trained == then, language
        for store in (loaded, pushed):
            found = store.get_online_features(asked, [{"user": key} for key in KEYS]).to_dict()
            served = [{name: found[name][row] for name in names} for row in range(len(KEYS))]
            assert served == now, (language, store.project)
