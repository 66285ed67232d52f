"""Profiles, and loads with expectations; by hand, what DuckDB says of a file by itself, and a load without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb

from benchmarks.data import data_path, work_folder
from benchmarks.sides.store import RANGE, Materialize, define_views, open_store, write_repository
from benchmarks.work import Work


class Profile(Work):
    """Profiles every column of a view."""

    def __init__(self, facts: str) -> None:
        folder = work_folder()
        write_repository(folder, "tiffin")
        self._store = open_store("tiffin", folder)
        self._store.apply(define_views("tiffin", [facts], created=True))

    def run(self, index: int) -> Any:
        """One profile of the whole range."""
        return self._store.profile("v0", *RANGE)

    def close(self) -> None:
        """Lets go of the store."""
        self._store.close()


class Summarize(Work):
    """DuckDB's own summary of a file: ends, mean, spread, quartiles, nulls and estimated distinct values."""

    def __init__(self, facts: str) -> None:
        self._connection = duckdb.connect()
        self._file = str(data_path(facts))

    def run(self, index: int) -> Any:
        """One summary."""
        return self._connection.sql(f"SUMMARIZE SELECT * EXCLUDE created FROM read_parquet('{self._file}')").fetchall()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


class ExpectingMaterialize(Materialize):
    """A load of which every feature is expected to be there and within its range."""

    def __init__(self, facts: str, on_failure: str) -> None:
        super().__init__("tiffin", facts)
        from tiffin import Expectation, FeatureView

        def expecting(view: Any) -> Any:
            if not isinstance(view, FeatureView):
                return view
            fields = []
            for field in view.schema:
                expected = [Expectation.not_null(on_failure=on_failure)]
                expected.append(Expectation.between(-1e9, 1e9, on_failure=on_failure))
                fields.append(field if field.name in view.join_keys else replace(field, expectations=expected))
            return replace(view, schema=fields, expectations=[Expectation.row_count(1)] if on_failure == "fail" else [])

        self._store.apply([expecting(view) for view in define_views("tiffin", [facts], created=True, online=True)])


def profile(**arguments: Any) -> Work:
    """An applied view."""
    return Profile(**arguments)


def summarize(**arguments: Any) -> Work:
    """A file."""
    return Summarize(**arguments)


def materialize(**arguments: Any) -> Work:
    """An applied view with expectations, and an empty store."""
    return ExpectingMaterialize(**arguments)
