"""Clicks of users, from Kafka into features: live, through kills, and held to the training set's to the last bit.

Run it by ``make demo-clicks``. The story is told by ``run``, from top to bottom. The definitions are in
``feature_repo/definitions.py``; the other files next to this one hold the made-up clicks, the broker, the workers and
the page.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.live import Live

from examples.clicks.broker import Topic, topic
from examples.clicks.events import World
from examples.clicks.show import page, print_result
from examples.clicks.workers import Workers
from examples.common.command import tiffin
from examples.common.comparing import compare
from tiffin import FeatureService, FeatureStore, ManualClock
from tiffin.time import DAY_US, SECOND_US, SystemClock, from_us

HERE = Path(__file__).parent
HOUR_US = 3_600 * SECOND_US
#: Clicks of the day before the stream, and the busiest users, who are shown.
PAST, SHOWN = 40_000, 8
_TICK_SECONDS, _PAGE_SECONDS, _DRAIN_SECONDS = 0.05, 0.5, 120.0
#: At so many clicks an hour and a day after each: there the oldest click of a window is just in it, and just out.
EDGES = 3


def main() -> None:
    """Go the whole way; exits with 1 when an online value differs from the training set's."""
    options = read_options()
    console = Console(stderr=options.json)
    with topic(options.kafka) as stream:
        console.print(f"Kafka: {stream.kind}", highlight=False)
        result = run(console, options, stream)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print_result(console, result, options.output / "feature_repo")
    for example in result["served"]["examples"]:
        console.print(f"[red]{example}")
    sys.exit(1 if result["served"]["mismatches"] else 0)


def run(console: Console, options: argparse.Namespace, stream: Topic) -> dict[str, Any]:
    """Load a day, feed from the stream what comes, compare; the result is JSON-ready."""
    clock = SystemClock()
    world = World(options.seed, options.users)

    # A day of clicks in a file, the definitions applied, and the online store loaded up to now.
    begun_us = clock.now_us()
    past, both_ways = world.past(PAST, begun_us)
    repository = make_repository(options, past, stream.name)
    os.environ |= {"CLICKS_KAFKA": stream.address, "CLICKS_TOPIC": stream.name}
    tiffin("--chdir", str(repository), "apply")
    tiffin("--chdir", str(repository), "materialize-incremental", str(from_us(begun_us).isoformat()))

    # What would be served an hour from now, had the stream not come; to see that the comparison would notice.
    users, later_us = list(range(options.users)), begun_us + HOUR_US
    before = served(repository, users, [later_us])

    # The last minutes of the file come by the stream as well; then what happens now.
    stream.send(both_ways)
    workers = Workers(repository, options.workers)
    try:
        with FeatureStore(repo_path=repository) as store:
            live(console, store, world, stream, workers, options)
            drain(store, workers)
            (status,) = store.stream_status(history=True)
        workers.end()
    finally:
        workers.close()

    # A training set from the history, which the workers have filled, and what is served at the same moments: now, and
    # where windows end exactly at a click.
    edges = sorted(world.clicked)[-EDGES:]
    moments = [clock.now_us(), later_us, *(edge + HOUR_US for edge in edges), *(edge + DAY_US for edge in edges)]
    expected, features = trained(repository, users, moments)
    comparison = compare(expected, served(repository, users, moments), features)
    without = compare(trained(repository, users, [later_us])[0], before, features)
    return {
        "kafka": stream.kind,
        "online_store": "redis" if options.redis else "sqlite",
        "sent": world.sent,
        "late": world.late,
        "twice": world.twice,
        "both_ways": len(both_ways),
        "broken": world.broken,
        "seconds": options.seconds,
        "workers": options.workers,
        "killed": workers.killed,
        "worked_off": sum(part.count.messages for part in status.partitions),
        "dead": sum(part.count.dead for part in status.partitions),
        "history": pq.read_table(repository / "data" / "clicks").num_rows - past.num_rows,
        "served": {
            "moments": len(moments),
            "users": options.users,
            **asdict(comparison),
            "mismatches_without_stream": without.mismatches,
        },
    }


def make_repository(options: argparse.Namespace, past: pa.Table, name: str) -> Path:
    """A new feature repository with the definitions next to this file, and the past as its history.

    Args:
        options: of the command line.
        past: the history.
        name: one of its own for this run, for a store that others use too.
    """
    folder: Path = options.output / "feature_repo"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "feature_repo", folder, ignore=shutil.ignore_patterns("__pycache__", "data"))
    if options.redis:
        settings = yaml.safe_load((folder / "feature_store.yaml").read_text())
        # Nothing of another run, or of another project, is in the way.
        settings["project"] = name
        settings["online_store"] = {"type": "redis", "connection_string": options.redis}
        (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    history = folder / "data" / "clicks"
    history.mkdir(parents=True)
    pq.write_table(past, history / "past.parquet")
    return folder


def live(
    console: Console, store: FeatureStore, world: World, stream: Topic, workers: Workers, options: argparse.Namespace
) -> None:
    """Send clicks as time goes by, kill a worker half way, and show what is served meanwhile."""
    service = store.get_feature_service("recommendation")
    clock, began = SystemClock(), time.monotonic()
    made, shown_at = 0, began
    with Live(console=console, auto_refresh=False) as screen:
        while (passed := time.monotonic() - began) < options.seconds:
            due = int(passed * options.rate) - made
            stream.send(world.now(due, clock.now_us()))
            made += due
            if options.workers and passed > options.seconds / 2 and not workers.killed:
                workers.kill_one()
            if time.monotonic() > shown_at + _PAGE_SECONDS:
                shown_at = time.monotonic()
                workers.check()
                answer = store.get_online_features(service, {"user_id": list(range(SHOWN))}).to_dict()
                screen.update(page(answer, world, passed, workers.killed), refresh=True)
            time.sleep(_TICK_SECONDS)
    stream.flush()


def drain(store: FeatureStore, workers: Workers) -> None:
    """Wait until everything that was sent is online and in the history."""
    until = time.monotonic() + _DRAIN_SECONDS
    while True:
        (status,) = store.stream_status(history=True)
        waiting = sum(part.lag or 0 for part in status.partitions)
        if not waiting:
            return
        workers.check()
        if time.monotonic() > until:
            sys.exit(f"{waiting:,} messages still wait after {_DRAIN_SECONDS:g} s")
        time.sleep(_PAGE_SECONDS)


def trained(repository: Path, users: Sequence[int], moments: Sequence[int]) -> tuple[pa.Table, list[str]]:
    """The features of all users at some moments, as a training set has them, and their names."""
    times = pa.array([moment for moment in moments for _ in users], pa.timestamp("us", "UTC"))
    rows = pa.table({"user_id": [*users] * len(moments), "event_timestamp": times})
    # The future is asked for as well, in which nothing more is known than now.
    with FeatureStore(repo_path=repository, clock=ManualClock(max(moments))) as store:
        job = store.get_historical_features(entity_df=rows, features=recommendation(store))
        return job.to_arrow(), list(job.feature_names)


def served(repository: Path, users: Sequence[int], moments: Sequence[int]) -> pa.Table:
    """The same as it is served at each moment."""
    clock = ManualClock(moments[0])
    answers = []
    with FeatureStore(repo_path=repository, clock=clock) as store:
        for moment in moments:
            clock.set(moment)
            answers.append(store.get_online_features(recommendation(store), {"user_id": list(users)}).to_arrow())
    return pa.concat_tables(answers)


def recommendation(store: FeatureStore) -> FeatureService:
    """The service whose features are compared."""
    return store.get_feature_service("recommendation")


def read_options(arguments: Iterable[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kafka", default="", metavar="HOST:PORT", help="a broker; one is started when left out")
    parser.add_argument("--redis", default="", metavar="URL", help="redis://HOST:PORT as the online store, not SQLite")
    parser.add_argument("--rate", type=int, default=2_000, help="clicks a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long they come")
    parser.add_argument("--workers", type=int, default=2, help="how many share the stream; one is killed half way")
    parser.add_argument("--users", type=int, default=1_000, help="how many click, at least 20")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other clicks")
    parser.add_argument("--output", type=Path, default=HERE / "output", help="where to write")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if options.rate < 10 or options.seconds < 1 or options.workers < 1 or options.users < 20:
        parser.error("choose at least 10 clicks a second, 1 second, 1 worker and 20 users")
    options.output = options.output.resolve()
    return options


if __name__ == "__main__":
    main()
