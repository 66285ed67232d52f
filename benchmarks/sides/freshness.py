"""How fresh many views are: all of them, as a scheduler asks, by a store that was just opened."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import START_US, data_path, feature_names, work_folder
from benchmarks.sides.raw_online import connect
from benchmarks.work import Work


class Freshness(Work):
    """Views with a file and a stamp each."""

    def __init__(self, schemas: str) -> None:
        from tiffin import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
        from tiffin.types import Float64, Int64

        self._config = RepoConfig(project="bench", repo_path=work_folder())
        key = Entity(name="key", join_keys=["key"], value_type=ValueType.INT64)
        views = [
            FeatureView(
                name=f"v{number}",
                entities=[key],
                source=FileSource(name=f"s{number}", path=str(file), timestamp_field="event_timestamp"),
                schema=[
                    Field(name=name, dtype=Int64 if place % 2 else Float64)
                    for place, name in enumerate(feature_names(number))
                ],
                freshness=timedelta(days=36_500),
            )
            for number, file in enumerate(sorted(data_path(schemas).iterdir()))
        ]
        with FeatureStore(config=self._config) as store:
            store.apply([key, *views])
            for view in views:
                store.context.newest.note(store.context.snapshot().storage(view.name).table, START_US)

    def run(self, index: int) -> Any:
        """Opens the store and asks."""
        from tiffin import FeatureStore

        with FeatureStore(config=self._config) as store:
            return store.freshness()

    def answer(self, last: Any) -> pa.Table:
        """The newest time in each source."""
        return pa.table({"newest": sorted(each.offline_us for each in last.views)})


class RawFreshness(Work):
    """The raw limit: one text from SQLite, the footer of every file, and the newest times from SQLite."""

    def __init__(self, schemas: str) -> None:
        files = [str(file) for file in sorted(data_path(schemas).iterdir())]
        self._database = work_folder() / "raw.db"
        connection = connect(self._database)
        connection.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, content TEXT)")
        connection.execute("INSERT INTO kept VALUES ('views', ?)", [json.dumps(files)])
        connection.executemany("INSERT INTO kept VALUES (?, ?)", [(file, str(START_US)) for file in files])
        connection.close()

    def run(self, index: int) -> list[tuple[int, int]]:
        """Reads all of it."""
        connection = connect(self._database)
        kept = dict(connection.execute("SELECT name, content FROM kept").fetchall())
        connection.close()
        return [(_newest_us(file), int(kept[file])) for file in json.loads(kept["views"])]

    def answer(self, last: list[tuple[int, int]]) -> pa.Table:
        """The newest time in each source."""
        return pa.table({"newest": sorted(offline_us for offline_us, _ in last)})


def _newest_us(file: str) -> int:
    metadata = pq.read_metadata(file)
    place = metadata.schema.names.index("event_timestamp")
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return max(group.column(place).statistics.max_raw for group in groups)


def freshness(**arguments: Any) -> Work:
    """Applied views with stamps."""
    return Freshness(**arguments)


def raw_freshness(**arguments: Any) -> Work:
    """Ready to read."""
    return RawFreshness(**arguments)
