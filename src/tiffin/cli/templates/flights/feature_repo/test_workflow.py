"""The whole way with the flights: apply, a training set, load, read online, compare. Run it in this folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tiffin import FeatureStore, ManualClock

#: The moment at which online features are read: a busy Friday afternoon in New York.
NOW = datetime(2013, 3, 1, 20, tzinfo=UTC)


def main() -> None:
    """Go the whole way and print what comes out."""
    import definitions

    store = FeatureStore(repo_path=".", clock=ManualClock(NOW))
    services = [definitions.late_arrival]
    views = [use for use in vars(definitions).values() if type(use).__name__ == "FeatureView"]
    entities = [definitions.carrier, definitions.plane, definitions.origin]
    store.apply([*entities, *views, *services])

    print("\n--- A training set: the flights of a week, each with what was known when it was due to leave")
    flights = pq.read_table("data/flights.parquet")
    due = flights["event_timestamp"]
    week = flights.filter(pc.and_(pc.greater(due, NOW - timedelta(days=7)), pc.less_equal(due, NOW)))
    job = store.get_historical_features(entity_df=week, features=store.get_feature_service("late_arrival"))
    training = job.to_arrow()
    print(f"{training.num_rows} rows, {training.num_columns} columns")
    for view in job.report.views:
        print(f"{view.view}: {view.matched} matched, {view.expired} expired, {view.missing} missing")

    print("\n--- Load the online store up to now, and read it for the next flights")
    store.materialize(start_date=datetime(2013, 1, 1, tzinfo=UTC), end_date=NOW)
    here = week.filter(pc.equal(week["event_timestamp"], NOW))
    rows = here.select(["carrier", "tailnum", "origin"]).to_pylist()
    online = store.get_online_features(features=definitions.late_arrival, entity_rows=rows).to_arrow()

    print("\n--- The same flights in the training set have the same values")
    same = training.filter(pc.equal(training["event_timestamp"], NOW)).select(online.column_names)
    print(f"{len(rows)} flights, equal: {same.to_pylist() == online.to_pylist()}")


if __name__ == "__main__":
    main()
