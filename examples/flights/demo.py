"""Will a flight from New York arrive late? From definitions to predictions, on every flight of some months of 2013.

Run it by `make demo`. The story is told by `run`, from top to bottom. The definitions come from the template `flights`
of `tiffin init` and end up in `output/flights/feature_repo`; the files next to this one hold the model, the day that is
lived again, and what is printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

from examples.common.command import tiffin
from examples.common.comparing import compare
from examples.common.show import progress_bars
from examples.common.trees import TreeModel
from examples.flights.model import fit, score
from examples.flights.replay import moments_of, replay, time_single_reads
from examples.flights.show import NEW_YORK, draw, print_result
from tiffin import FeatureService, FeatureStore, FileLoggingDestination, LoggingConfig, ManualClock
from tiffin.config import DriftConfig, QualityConfig
from tiffin.quality.report import project_report
from tiffin.quality.verify import Verification

SINGLE_READS = 500
#: Views that the model is also tried without, to see what they add.
ROLLING = ("carrier_departures", "plane_departures", "origin_departures")
#: Views whose values are looked at, so many weeks long.
WATCHED = ("origin_weather", "carrier_departures")
WEEKS = 6
#: The year's first flight is due at 5:15 in New York on this day.
FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TrainingSet:
    """Flights with their features, month by month.

    Attributes:
        months: one table per month.
        features: the feature columns.
        known_later: by view, rows that got a fact which nobody knew at the time.
        future_cells: the values in these rows that come from such a fact.
    """

    months: tuple[pa.Table, ...]
    features: tuple[str, ...]
    known_later: dict[str, int]
    future_cells: int

    def without(self, names: Iterable[str]) -> TrainingSet:
        """The same rows, with some features not looked at."""
        gone = set(names)
        return replace(self, features=tuple(name for name in self.features if name not in gone))


def main() -> None:
    """Go the whole way; exits with 1 when an online value differs from the training set's."""
    options = read_options()
    console = Console(stderr=options.json)
    options.output.mkdir(parents=True, exist_ok=True)
    with progress_bars(console) as bars:
        repository = make_repository(bars, options.output / "flights")
        clock = ManualClock(midnight(options.day))
        with FeatureStore(repo_path=repository, clock=clock) as store:
            result = run(bars, store, clock, repository, options)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print_result(console, result, repository, options.output)
    for example in result["day"]["examples"]:
        console.print(f"[red]{example}")
    sys.exit(1 if result["day"]["mismatches"] or result["day"]["verified_different"] else 0)


def run(
    bars: Progress, store: FeatureStore, clock: ManualClock, repository: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Train, serve a day, compare; the result is JSON-ready."""
    service = store.get_feature_service("late_arrival")
    flights = flights_by_month(repository, options.day.month - options.months, options.day.month)

    # Every flight with what was known when it was due to leave.
    known = build_training_set(bars, "Training set of what was known", store, service, flights)

    # The same flights, joined by the stamp of the facts alone. A flight's delay then counts from its departure on,
    # hours before anybody could know it, and a plane's last flight is the very one that is to be predicted.
    careless = store.config.model_copy(update={"point_in_time": "event"})
    with FeatureStore(config=careless, clock=clock) as careless_store:
        event = build_training_set(bars, "The same by event time alone", careless_store, service, flights)

    # The last month is held back. The backtest reads it from the same training set; in service there is no future to
    # read, so all models get what was known.
    plain = known.without(name for view in ROLLING for name in store.get_feature_view(view).feature_names)
    fitting = bars.add_task("Train on each, try the last month", total=3, note="")
    _, plain_result = train(plain, in_service=known.months[-1])
    bars.advance(fitting)
    honest, honest_result = train(known, in_service=known.months[-1])
    bars.advance(fitting)
    _, leaking_result = train(event, in_service=known.months[-1])
    bars.advance(fitting)

    month = known.months[-1]
    served, day_result = serve_day(bars, store, clock, service, flights_of(month, options.day), known, options.moments)
    chances = honest.predict(served)
    served = served.append_column("chance", pa.array(chances))
    month = month.append_column("chance", pa.array(honest.predict(month)))
    result = {
        "flights": sum(table.num_rows for table in flights),
        "rows": sum(table.num_rows for table in known.months),
        "features": len(known.features),
        "plain": plain_result,
        "honest": honest_result,
        "leaking": leaking_result,
        "day": {"date": options.day.isoformat(), "score": asdict(score(served, chances)), **day_result},
    }
    draw(options.output / "flights.png", month, served, result)
    result["drifted"] = watch_over(bars, store, clock, options)
    return result


def make_repository(bars: Progress, folder: Path) -> Path:
    """A new feature repository with data and an applied registry, as `tiffin init` and `tiffin apply` make it."""
    shutil.rmtree(folder, ignore_errors=True)
    task = bars.add_task("Data and definitions", total=2, note="")
    tiffin("init", "flights", "--template", "flights", "--repo-path", str(folder))
    bars.advance(task)
    tiffin("--chdir", str(folder / "feature_repo"), "apply")
    bars.advance(task)
    return folder / "feature_repo"


def flights_by_month(repository: Path, first: int, last: int) -> list[pa.Table]:
    """The flights of the months from ``first`` to ``last``: keys, moment of departure, timetable and label."""
    flights = pq.read_table(repository / "data" / "flights.parquet")
    return [flights.filter(pc.equal(flights["month"], month)) for month in range(first, last + 1)]


def build_training_set(
    bars: Progress, title: str, store: FeatureStore, service: FeatureService, flights: Sequence[pa.Table]
) -> TrainingSet:
    """Join the features of a service to flights, each at its own moment."""
    task = bars.add_task(title, total=sum(table.num_rows for table in flights), note="")
    months, known_later = [], dict[str, int]()
    for table in flights:
        job = store.get_historical_features(entity_df=table, features=service)
        months.append(job.to_arrow())
        for view in job.report.views:
            known_later[view.view] = known_later.get(view.view, 0) + view.known_later
        bars.advance(task, table.num_rows)
    future_cells = sum(rows * len(store.get_feature_view(view).feature_names) for view, rows in known_later.items())
    bars.update(task, note=f"{future_cells:,} from the future")
    return TrainingSet(tuple(months), tuple(job.feature_names), known_later, future_cells)


def train(training: TrainingSet, in_service: pa.Table) -> tuple[TreeModel, dict[str, Any]]:
    """Fit a model to all months but the last, and judge it by the last, as built and as it would be served."""
    model = fit(pa.concat_tables(training.months[:-1]), training.features)
    backtest = training.months[-1]
    return model, {
        "features": len(training.features),
        "known_later": training.known_later,
        "future_cells": training.future_cells,
        "backtest": asdict(score(backtest, model.predict(backtest))),
        "service": asdict(score(in_service, model.predict(in_service))),
    }


def serve_day(
    bars: Progress,
    store: FeatureStore,
    clock: ManualClock,
    service: FeatureService,
    day: pa.Table,
    training: TrainingSet,
    limit: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Load the store up to midnight, live through the day, and hold what was served to the training set.

    Returns:
        The day's flights with the features that the online store gave, and the counts.
    """
    load_until_now(bars, store, clock)
    moments = moments_of(day, limit)
    expected = pa.concat_tables(moments)
    unloaded = [moment.answer for moment in replay(store, clock, service, moments, load=False)]

    task = bars.add_task("Live the day: load, read online", total=len(moments), note="")
    answers, responses, reads, loaded = [], [], list[float](), 0
    for moment in replay(store, clock, service, moments):
        answers.append(moment.answer)
        responses.append(moment.response)
        reads.append(moment.read_ms)
        loaded += moment.loaded
        bars.update(task, advance=1, note=f"{moment.now.astimezone(NEW_YORK):%H:%M}, {loaded:,} facts")
    verified = verify(store, service, responses)
    single = time_single_reads(store, service, expected, SINGLE_READS)

    answer = pa.concat_tables(answers)
    compared = compare(expected, answer, training.features)
    served = expected
    for name in training.features:
        served = served.set_column(served.column_names.index(name), name, answer[name])
    return served, {
        "flights": expected.num_rows,
        "moments": len(moments),
        "loaded": loaded,
        "read_p50_ms": float(np.quantile(single, 0.5)),
        "read_p99_ms": float(np.quantile(single, 0.99)),
        "moment_read_p50_ms": float(np.quantile(reads, 0.5)),
        **asdict(compared),
        "verified": verified.compared,
        "verified_different": verified.different,
        "mismatches_unloaded": compare(expected, pa.concat_tables(unloaded), training.features).mismatches,
    }


def verify(store: FeatureStore, service: FeatureService, responses: list[Any]) -> Verification:
    """Log what was served, and hold the log to the history, as one does where no training set lies beside it."""
    logged = replace(service, logging_config=LoggingConfig(FileLoggingDestination(path="served")))
    store.apply(logged)
    store.write_logged_features(responses, logged)
    return store.verify(logged, keep=True)


def watch_over(bars: Progress, store: FeatureStore, clock: ManualClock, options: argparse.Namespace) -> list[str]:
    """Look at drift once a week, as a scheduler does, and write the report of all that was seen.

    Returns:
        The features that are not like those that the model was trained on.
    """
    task = bars.add_task("Watch the last weeks", total=WEEKS, note="")
    trained = [date(options.day.year, month, 1) for month in (options.day.month - options.months, options.day.month)]
    drift = [DriftConfig(view=view, reference="..".join(map(str, trained)), period="7d") for view in WATCHED]
    watching = store.config.model_copy(update={"quality": QualityConfig(drift=drift)})
    weeks = ManualClock(clock.now_us())
    weeks.advance(-timedelta(weeks=WEEKS))
    with FeatureStore(config=watching, clock=weeks) as watched:
        for _ in range(WEEKS):
            weeks.advance(timedelta(weeks=1))
            found = watched.monitor(["drift"]).findings
            bars.update(task, advance=1, note=f"{len(found)} drifted")
        project_report(watched.context).page().write(options.output / "flights.html")
    return [finding.subject for finding in found]


def load_until_now(bars: Progress, store: FeatureStore, clock: ManualClock) -> None:
    """Materialize the year so far, view by view."""
    views = [view.name for view in store.list_feature_views()]
    task = bars.add_task("Materialize up to midnight", total=len(views), note="")
    rows = 0
    for view in views:
        rows += store.materialize(FIRST_DAY, clock.now_us(), [view]).rows
        bars.update(task, advance=1, note=f"{rows:,} rows")


def flights_of(month: pa.Table, day: date) -> pa.Table:
    """The flights that leave on a day, by New York's clock."""
    due = month["event_timestamp"]
    inside = pc.and_(
        pc.greater_equal(due, midnight(day)),
        pc.less(due, midnight(day + timedelta(days=1))),
    )
    return month.filter(inside)


def midnight(day: date) -> datetime:
    """The beginning of a day in New York."""
    return datetime.combine(day, time(), NEW_YORK).astimezone(UTC)


def read_options(arguments: Iterable[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--day", type=date.fromisoformat, default=date(2013, 7, 10), help="the day that is served")
    parser.add_argument("--months", type=int, default=6, help="months of training before the month of that day")
    parser.add_argument("--moments", type=int, default=80, help="busiest moments of the day; 0 for all")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="where to write")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if options.day.year != 2013 or not 1 <= options.months < options.day.month:
        parser.error("the flights are of 2013: choose a day from February on, and fewer months than lie before it")
    options.output = options.output.resolve()
    return options


if __name__ == "__main__":
    main()
