"""Is a payment by card a fraud? From transactions to served features, held to the training set's to the last bit.

Run it by ``make demo-fraud``. The story is told by ``run``, from top to bottom. The definitions are in
``feature_repo/definitions.py``; the other files next to this one hold the made-up world, the model, and the stream.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
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
from examples.fraud.model import fit, score
from examples.fraud.show import print_result
from examples.fraud.stream import Stream, answers, moments_of
from examples.fraud.transactions import DAYS, START, World, make_world
from tiffin import FeatureService, FeatureStore, ManualClock

HERE = Path(__file__).parent
#: Training begins when thirty days lie behind, and ends a week before the end; the last day is lived again.
TRAINING, LAST_WEEK, LAST_DAY = (START + timedelta(days=days) for days in (30, DAYS - 7, DAYS - 1))
#: Of payments that are no frauds, so many are enough to learn from.
SHARE = 0.15
#: Views that know what was reported, and so what may leak.
REPORTS = ("card_reports", "merchant_reports")


@dataclass(frozen=True)
class TrainingSet:
    """Payments with their features.

    Attributes:
        fitting: rows to learn from.
        week: all payments of the last week, to judge by.
        features: the columns of features that a model can read.
        known_later: by view, rows that got a fact which nobody knew at the time.
    """

    fitting: pa.Table
    week: pa.Table
    features: tuple[str, ...]
    known_later: dict[str, int]


def main() -> None:
    """Go the whole way; exits with 1 when an online value differs from the training set's."""
    options = read_options()
    console = Console(stderr=options.json)
    with progress_bars(console) as bars:
        result = run(bars, options)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print_result(console, result, options.output / "feature_repo")
    for example in result["served"]["examples"]:
        console.print(f"[red]{example}")
    sys.exit(1 if result["served"]["mismatches"] or result["served"]["verified_different"] else 0)


def run(bars: Progress, options: argparse.Namespace) -> dict[str, Any]:
    """Make a world, learn from it, serve its last day, compare; the result is JSON-ready."""
    # Transactions from a seed, and the definitions applied.
    task = bars.add_task("Transactions and definitions", total=2, note="")
    world = make_world(options.size, options.seed)
    repository = make_repository(options.output / "feature_repo", world)
    bars.update(task, advance=1, note=f"{world.reports.num_rows:,} frauds reported")
    tiffin("--chdir", str(repository), "apply")
    bars.advance(task)

    clock = ManualClock(LAST_DAY)
    with FeatureStore(repo_path=repository, clock=clock) as store:
        service = store.get_feature_service("fraud_score")

        # Every payment with what was known when it was asked for, the payment itself and its report not among it.
        payments = world.transactions
        known = build_training_set(bars, "Training set of what was known", store, service, payments)

        # The same payments, joined by the time that facts are about: a fraud's report then is there before the fraud.
        careless = store.config.model_copy(update={"point_in_time": "event"})
        with FeatureStore(config=careless, clock=clock) as careless_store:
            event = build_training_set(
                bars, "The same by event time alone", careless_store, service, world.transactions
            )

        # Four models, judged by the last week: by rows made as those that they learned from, and in service, where
        # nobody knows the future.
        windows = tuple(name for name in known.features if name not in reported_features(store))
        results = {}
        fitting = bars.add_task("Four models, judged by a week", total=4, note="")
        for name, training, features in (
            ("payment alone", known, ()),
            ("and windows", known, windows),
            ("and reports", known, known.features),
            ("by event time", event, known.features),
        ):
            model = fit(training.fitting, features, SHARE)
            results[name] = {
                "backtest": asdict(score(training.week, model.predict(training.week))),
                "service": asdict(score(known.week, model.predict(known.week))),
            }
            bars.advance(fitting)

        # The online store: loaded up to the last day, then fed by a stream.
        loaded = load(bars, store)
        served = serve_day(bars, store, clock, service, world, options)
    return {
        "transactions": options.size,
        "frauds": pc.sum(world.transactions["fraud"]).as_py(),
        "rows": known.fitting.num_rows + known.week.num_rows,
        "features": len(known.features),
        "known_later": {"known": known.known_later, "event": event.known_later},
        "models": results,
        "loaded": loaded,
        "served": served,
    }


def make_repository(folder: Path, world: World) -> Path:
    """A new feature repository with the definitions next to this file, and the world as its sources."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "feature_repo", folder, ignore=shutil.ignore_patterns("__pycache__", "data"))
    (folder / "data").mkdir()
    pq.write_table(world.transactions.drop_columns(["fraud"]), folder / "data" / "transactions.parquet")
    pq.write_table(world.reports, folder / "data" / "reports.parquet")
    return folder


def build_training_set(
    bars: Progress, title: str, store: FeatureStore, service: FeatureService, transactions: pa.Table
) -> TrainingSet:
    """Join the features of a service to payments, each at its own moment."""
    at, fraud = transactions["event_timestamp"], transactions["fraud"]
    chosen = np.random.default_rng(0).random(transactions.num_rows) < SHARE
    to_learn = pc.and_(pc.greater_equal(at, TRAINING), pc.less(at, LAST_WEEK))
    rows = {
        "fitting": transactions.filter(pc.and_(to_learn, pc.or_(fraud, pa.array(chosen)))),
        "week": transactions.filter(pc.greater_equal(at, LAST_WEEK)),
    }
    task = bars.add_task(title, total=sum(table.num_rows for table in rows.values()), note="")
    tables, known_later = {}, dict[str, int]()
    for name, table in rows.items():
        job = store.get_historical_features(entity_df=table.drop_columns(["created"]), features=service)
        tables[name] = job.to_arrow()
        for view in job.report.views:
            known_later[view.view] = known_later.get(view.view, 0) + view.known_later
        bars.advance(task, table.num_rows)
    # A moment is nothing that a model could learn from; how long it was ago is.
    features = tuple(name for name in job.feature_names if not pa.types.is_timestamp(tables["week"][name].type))
    bars.update(task, note=f"{sum(known_later.values()):,} from the future")
    return TrainingSet(**tables, features=features, known_later=known_later)


def reported_features(store: FeatureStore) -> set[str]:
    """The features that come from reports."""
    return {name for view in REPORTS for name in store.get_feature_view(view).feature_names}


def load(bars: Progress, store: FeatureStore) -> dict[str, Any]:
    """Materialize everything up to the last day, view by view."""
    views = store.list_feature_views()
    task = bars.add_task("Materialize up to the last day", total=len(views), note="")
    facts, seconds = 0, 0.0
    for view in views:
        for done in store.materialize(START, LAST_DAY, [view.name]).runs:
            facts += done.rows
            seconds += done.seconds
        bars.update(task, advance=1, note=f"{facts:,} facts")
    return {"facts": facts, "facts_per_second": facts / seconds}


def serve_day(
    bars: Progress,
    store: FeatureStore,
    clock: ManualClock,
    service: FeatureService,
    world: World,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Live through the last day, and hold every value that was served to the training set's at that moment."""
    random = np.random.default_rng(options.seed)
    day = world.transactions.filter(pc.greater_equal(world.transactions["event_timestamp"], LAST_DAY))
    moments = moments_of(day, options.moments, options.requests, random)
    requests = pa.concat_tables([moment.requests for moment in moments])

    # First without the stream, to see that the comparison would notice.
    stale = pa.concat_tables([answer for answer, *_ in answers(store, clock, service, moments)])

    stream = Stream(
        store, {"transactions": world.transactions.drop_columns(["fraud"]), "reports": world.reports}, LAST_DAY, random
    )
    task = bars.add_task("Live the day: push, read online", total=len(moments), note="")
    tables, responses, took = [], [], list[float]()
    lived = answers(store, clock, service, moments, stream.deliver)
    for moment, (answer, answered, milliseconds) in zip(moments, lived, strict=True):
        tables.append(answer)
        responses += answered
        took += milliseconds
        note = f"{moment.now:%H:%M}, {stream.facts:,} facts"
        bars.update(task, advance=1, note=note)

    # What a training set says of the same requests at the same moments, from the whole history.
    job = store.get_historical_features(entity_df=requests, features=service)
    expected, features = job.to_arrow(), job.feature_names

    # The same is told by the log of what was served, where no training set lies beside it.
    store.write_logged_features(responses, service)
    verified = store.verify(service)
    return {
        "moments": len(moments),
        "requests": requests.num_rows,
        "pushed": stream.facts,
        "pushed_twice": stream.twice,
        "batches": stream.batches,
        "pushed_per_second": stream.facts / stream.seconds,
        "read_p50_ms": float(np.quantile(took, 0.5)),
        "read_p99_ms": float(np.quantile(took, 0.99)),
        **asdict(compare(expected, pa.concat_tables(tables), features)),
        "verified": verified.compared,
        "verified_different": verified.different,
        "mismatches_without_stream": compare(expected, stale, features).mismatches,
    }


def read_options(arguments: Iterable[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1_000_000, help="transactions, at least 10,000")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another world")
    parser.add_argument("--moments", type=int, default=12, help="moments of the last day at which features are read")
    parser.add_argument("--requests", type=int, default=40, help="payments that are asked for at each moment")
    parser.add_argument("--output", type=Path, default=HERE / "output", help="where to write")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if options.size < 10_000 or options.moments < 1 or options.requests < 4:
        parser.error("choose at least 10,000 transactions, 1 moment and 4 requests")
    if options.moments * options.requests > options.size // DAYS:
        parser.error("there are more requests than transactions on a day: choose fewer moments or fewer requests")
    options.output = options.output.resolve()
    return options


if __name__ == "__main__":
    main()
