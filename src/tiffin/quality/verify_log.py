"""The log of what was served, read in parts of bounded size, typed; what cannot be read is counted and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import numpy_values, single_chunk, valid_mask
from tiffin.errors import InputError
from tiffin.online.keys import cast_key_column
from tiffin.operations.feature_log import (
    FALLBACK,
    INPUT,
    LOGGED_AT,
    REQUEST_ID,
    STATUS,
    TIMESTAMP,
    VERSION,
    full_name,
)
from tiffin.planning.casting import cast_exactly
from tiffin.time import DAY_US, EPOCH
from tiffin.types import FeatureType

if TYPE_CHECKING:
    import pyarrow as pa

_DAY = "log_date="


@dataclass(frozen=True)
class LogProblem:
    """A file of a log that could not be used.

    Attributes:
        file: its path.
        reason: why.
    """

    file: str
    reason: str


@dataclass
class LogReading:
    """What was met on the way.

    Attributes:
        problems: files that could not be used.
        newer_rows: rows of definitions that the registry does not have yet; they are left out.
        versions: version of the definitions to its rows; 0 where a row does not say.
    """

    problems: list[LogProblem] = field(default_factory=list)
    newer_rows: int = 0
    versions: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class LogReader:
    """Reads the log of a service.

    Attributes:
        folder: where it lies.
        keys: the key columns and their types.
        request: further columns that functions read, and their types.
        features: the features that are served, by full name; a file need not have all of them.
        inputs: those that functions compute from besides, by reference; the same goes for them.
        since_us, until_us: the closed interval of moments that are wanted; no limit when ``None``.
        newest: the newest version of the definitions.
        part_rows: so many rows are in a part, about.
    """

    folder: Path
    keys: Mapping[str, FeatureType]
    request: Mapping[str, FeatureType]
    features: Sequence[str]
    inputs: Sequence[str]
    since_us: int | None
    until_us: int | None
    newest: int
    part_rows: int

    def parts(self, reading: LogReading) -> Iterator[pa.Table]:
        """The rows, by days. All rows of a part have the same features; those that a part lacks were not logged.

        Yields:
            Tables with the keys and the request in their types; for each feature and input, as it is called here, its
            value, ``__timestamp`` and ``__status``; ``__log_timestamp``, ``__request_id``, ``__definitions_version``
            (0: not known) and ``__fallback``, without nulls.
        """
        waiting: dict[str, list[pa.Table]] = {}
        for file in self._files():
            for table in self._tables(file, reading):
                alike = str(table.schema)
                tables = waiting.setdefault(alike, [])
                tables.append(table)
                if sum(each.num_rows for each in tables) >= self.part_rows:
                    yield _joined(waiting.pop(alike))
        yield from map(_joined, waiting.values())

    def _files(self) -> list[Path]:
        """The files that may have wanted rows, those of a day together."""
        files = (file for file in self.folder.rglob("*.parquet") if self._may_have(file.parent.name))
        return sorted(files, key=lambda file: (file.parent.name, file.name))

    def _may_have(self, name: str) -> bool:
        if not name.startswith(_DAY):
            return True
        try:
            first_us = (date.fromisoformat(name.removeprefix(_DAY)) - EPOCH.date()).days * DAY_US
        except ValueError:
            return True
        until, since = self.until_us, self.since_us
        return (until is None or first_us <= until) and (since is None or first_us + DAY_US > since)

    def _tables(self, file: Path, reading: LogReading) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(file) as opened:
                names = opened.schema_arrow.names
                lacking = [name for name in (LOGGED_AT, *self.keys, *self.request) if name not in names]
                if lacking:
                    reading.problems.append(LogProblem(str(file), f"it has no column {', '.join(lacking)}"))
                    return
                places = self._places(names)
                wanted = [name for name in self._columns(places) if name in names]
                for batch in opened.iter_batches(self.part_rows, columns=wanted):
                    table = self._wanted(pa.Table.from_batches([batch]), places, reading)
                    if table.num_rows:
                        yield table
        except InputError as error:
            reading.problems.append(LogProblem(str(file), error.message))
        except (OSError, pa.ArrowException) as error:
            reading.problems.append(LogProblem(str(file), f"it cannot be read: {str(error).splitlines()[0]}"))

    def _places(self, names: Collection[str]) -> dict[str, str]:
        """Feature or input to the column of a file that holds it. What is an input now may have been served then."""
        found = {name: name for name in self.features if name in names}
        for reference in self.inputs:
            served = full_name(reference)
            if INPUT + served in names:
                found[reference] = INPUT + served
            elif served in names and served + STATUS in names:
                found[reference] = served
        return found

    def _columns(self, places: Mapping[str, str]) -> list[str]:
        features = [name + end for name in places.values() for end in ("", TIMESTAMP, STATUS)]
        return [*self.keys, *self.request, *features, LOGGED_AT, REQUEST_ID, VERSION, FALLBACK]

    def _wanted(self, table: pa.Table, places: Mapping[str, str], reading: LogReading) -> pa.Table:
        """The rows that are wanted, typed."""
        import pyarrow as pa

        given = dict(zip(table.column_names, map(single_chunk, table.columns), strict=True))
        count = table.num_rows
        columns: dict[str, Any] = {name: cast_key_column(given[name], kind, name) for name, kind in self.keys.items()}
        columns |= {name: cast_exactly(given[name], kind, name) for name, kind in self.request.items()}
        moments = pa.timestamp("us", "UTC")
        for name, place in places.items():
            columns[name] = given[place]
            columns[name + TIMESTAMP] = _or_nulls(given, place + TIMESTAMP, moments, count)
            columns[name + STATUS] = _or_nulls(given, place + STATUS, pa.int32(), count)
        columns[LOGGED_AT] = given[LOGGED_AT].cast(moments)
        for name, kind, nothing in (
            (REQUEST_ID, pa.string(), ""),
            (VERSION, pa.int64(), 0),
            (FALLBACK, pa.string(), ""),
        ):
            columns[name] = _or_nulls(given, name, kind, count).fill_null(nothing)
        typed = pa.table(columns)
        if columns[LOGGED_AT].null_count:
            raise InputError(f"{columns[LOGGED_AT].null_count} row(s) have no {LOGGED_AT}")
        times, versions = numpy_values(columns[LOGGED_AT]), numpy_values(columns[VERSION])
        chosen = np.ones(count, np.bool_)
        if self.since_us is not None:
            chosen &= times >= self.since_us
        if self.until_us is not None:
            chosen &= times <= self.until_us
        newer = chosen & (versions > self.newest)
        reading.newer_rows += int(newer.sum())
        chosen &= ~newer
        numbers, rows = np.unique(versions[chosen], return_counts=True)
        reading.versions.update(dict(zip(numbers.tolist(), rows.tolist(), strict=True)))
        return typed if chosen.all() else typed.filter(pa.array(chosen))


def _or_nulls(given: Mapping[str, Any], name: str, kind: pa.DataType, count: int) -> Any:
    import pyarrow as pa

    return given[name].cast(kind) if name in given else pa.nulls(count, kind)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables).combine_chunks()


def event_times(part: pa.Table, feature: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(n,) the logged event times of a feature, int64 microseconds; and where there is one."""
    column = single_chunk(part[feature + TIMESTAMP])
    return numpy_values(column), valid_mask(column)
