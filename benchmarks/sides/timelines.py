"""Windows in an online store: loaded, pushed to and read; what they are compared with is written here by hand."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.data import data_path, work_folder
from benchmarks.keys import asked_keys, sampled_keys
from benchmarks.sides.store import RANGE, start_server, write_repository
from benchmarks.sides.windows import rounded
from benchmarks.work import Work

#: Four windows of one column and three functions: twelve features.
_WINDOWS = {"1h": 1 / 24, "1d": 1.0, "7d": 7.0, "90d": 92.0}
_FUNCTIONS = ("sum", "count", "max")
_COLUMN = "v0_f0"
_NAMES = [f"{function}_{name}" for name in _WINDOWS for function in _FUNCTIONS]
_SECOND_US = 1_000_000


class _Served:
    """A repository whose clock stands at the end of the range, with a view of windows and a plain one."""

    def __init__(self, facts: Path, online: str) -> None:
        import tiffin
        from tiffin.time import ManualClock

        self.open = ExitStack()
        folder = work_folder()
        write_repository(folder, "tiffin", online=start_server(online, self.open))
        self.clock = ManualClock(RANGE[1])
        self.store = tiffin.FeatureStore(repo_path=str(folder), clock=self.clock)
        history = tiffin.FileSource(name="facts", path=str(facts), timestamp_field="event_timestamp")
        entity = tiffin.Entity(name="key", join_keys=["key"], value_type=tiffin.ValueType.INT64)
        windows = [
            tiffin.Aggregation(_COLUMN, function, timedelta(days=days), name=f"{function}_{name}")
            for name, days in _WINDOWS.items()
            for function in _FUNCTIONS
        ]
        source = tiffin.PushSource(name="pushed", batch_source=history)
        view = tiffin.FeatureView(name="w", entities=[entity], source=source, aggregations=windows)
        plain = tiffin.FeatureView(
            name="plain",
            entities=[entity],
            source=history,
            schema=[tiffin.Field(name=f"v0_f{number}", dtype=_type(number)) for number in range(10)],
        )
        self.store.apply([entity, view, plain])

    def read(self, keys: list[int]) -> dict[str, list[Any]]:
        """The windows of some keys."""
        rows = [{"key": key} for key in keys]
        found: dict[str, list[Any]] = self.store.get_online_features([f"w:{name}" for name in _NAMES], rows).to_dict()
        return found


def _type(number: int) -> Any:
    from tiffin import types

    return types.Int64 if number % 2 else types.Float64


class Load(Work):
    """Loads every fact of a file into the timelines of an empty store."""

    def __init__(self, facts: str, online: str) -> None:
        self._served = _Served(data_path(facts), online)
        self._facts = facts

    def run(self, index: int) -> None:
        """One run over the whole range."""
        self._served.store.materialize(*RANGE, feature_views=["w"])

    def answer(self, last: Any) -> pa.Table:
        """The windows of some keys, read back."""
        return rounded(pa.table(self._served.read(sampled_keys(self._facts))))

    def close(self) -> None:
        """Stops the server."""
        self._served.open.close()


class Grouped(Work):
    """The facts read and sorted by key and time, which is what a load cannot do without; nothing is kept."""

    def __init__(self, facts: str) -> None:
        import duckdb

        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        self._path, self._facts = data_path(facts), facts

    def run(self, index: int) -> pa.Table:
        """One query."""
        return self._connection.sql(
            f"SELECT key, epoch_us(event_timestamp) AS t, {_COLUMN} FROM '{self._path}' ORDER BY key, t"
        ).to_arrow_table()

    def answer(self, last: pa.Table) -> pa.Table:
        """The windows of some keys at the end of the range, by SQL."""
        now = int(RANGE[1].timestamp() * _SECOND_US)
        columns = ", ".join(
            f"{function}({_COLUMN}) FILTER (t > {now - int(days * 86_400 * _SECOND_US)}) AS {function}_{name}"
            for name, days in _WINDOWS.items()
            for function in _FUNCTIONS
        )
        keys = pa.table({"key": sampled_keys(self._facts)})
        self._connection.register("keys", keys)
        return rounded(
            self._connection.sql(
                f"SELECT key, {columns} FROM keys LEFT JOIN last USING (key) GROUP BY key ORDER BY key"
            ).to_arrow_table()
        )


class Read(Work):
    """Reads the twelve windows of some keys, or, beside it, the ten features of a plain view."""

    def __init__(self, facts: str, online: str, keys: int, *, plain: bool = False) -> None:
        self._served = _Served(data_path(facts), online)
        view = "plain" if plain else "w"
        self._served.store.materialize(*RANGE, feature_views=[view])
        names = [f"v0_f{number}" for number in range(10)] if plain else _NAMES
        self._features = [f"{view}:{name}" for name in names]
        self._rows = [[{"key": key} for key in asked] for asked in asked_keys(facts, keys)]

    def run(self, index: int) -> dict[str, list[Any]]:
        """One request."""
        found: dict[str, list[Any]] = self._served.store.get_online_features(
            features=self._features, entity_rows=self._rows[index]
        ).to_dict()
        return found

    def close(self) -> None:
        """Stops the server."""
        self._served.open.close()


class HotKey(Work):
    """Reads the twelve windows of one key that has a million facts."""

    def __init__(self, count: int, online: str) -> None:
        import pyarrow.parquet as pq

        rng = np.random.default_rng(5)
        first, last = (int(moment.timestamp() * _SECOND_US) for moment in RANGE)
        times = np.sort(rng.choice(last - first, count, replace=False)) + first
        path = work_folder() / "hot.parquet"
        numbers = [rng.gamma(2.0, 10.0, count) for _ in range(10)]
        columns = {f"v0_f{n}": values.astype(np.int64) if n % 2 else values for n, values in enumerate(numbers)}
        table = pa.table({"key": np.zeros(count, np.int64), "event_timestamp": _moments(times)} | columns)
        pq.write_table(table, path)
        self._served = _Served(path, online)
        self._served.store.materialize(*RANGE, feature_views=["w"])

    def run(self, index: int) -> dict[str, list[Any]]:
        """One request."""
        return self._served.read([0])

    def close(self) -> None:
        """Stops the server."""
        self._served.open.close()


class Push(Work):
    """Pushes new facts to timelines that are there; when the call returns, windows have them."""

    def __init__(self, facts: str, online: str, rows: int, batches: int) -> None:
        self._served = _Served(data_path(facts), online)
        self._served.store.materialize(*RANGE, feature_views=["w"])
        self._rng = np.random.default_rng(3)
        self._rows, self._keys = rows, np.array(asked_keys(facts, 1)).ravel()
        self._began_us = int(RANGE[1].timestamp() * _SECOND_US)
        self._served.clock.advance(timedelta(hours=1))
        self._batches = [self._batch(index) for index in range(batches)]

    def run(self, index: int) -> None:
        """One batch, newer than those before."""
        self._served.store.push("pushed", self._batches[index])

    def _batch(self, index: int) -> pa.Table:
        times = self._began_us + (index * self._rows + np.arange(self._rows)) * 10
        return pa.table(
            {
                "key": self._rng.choice(self._keys, self._rows),
                "event_timestamp": _moments(times),
                _COLUMN: self._rng.gamma(2.0, 10.0, self._rows),
            }
        )

    def close(self) -> None:
        """Stops the server."""
        self._served.open.close()


def _moments(us: Any) -> pa.Array:
    return pa.array(us, pa.timestamp("us", "UTC"))


def load(**arguments: Any) -> Work:
    """An applied repository with an empty online store."""
    return Load(**arguments)


def grouped(**arguments: Any) -> Work:
    """A connection."""
    return Grouped(**arguments)


def read(**arguments: Any) -> Work:
    """A filled store."""
    return Read(**arguments)


def hot_key(**arguments: Any) -> Work:
    """A store that holds one key."""
    return HotKey(**arguments)


def push(**arguments: Any) -> Work:
    """A filled store."""
    return Push(**arguments)
