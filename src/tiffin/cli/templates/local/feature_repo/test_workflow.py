"""The whole way, from definitions to online values. Run it in this folder: python test_workflow.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from tiffin import FeatureStore

DRIVERS = [1001, 1002, 1003]


def main() -> None:
    """Go the whole way and print what comes out."""
    import feature_definitions as repo

    store = FeatureStore(repo_path=".")
    now = datetime.now(UTC)

    print("\n--- Apply: make the registry say what the definitions say")
    services = [repo.driver_activity_v1, repo.driver_activity_v2, repo.driver_activity_v3]
    store.apply([repo.project, repo.driver, repo.driver_stats, repo.driver_stats_fresh, *services])

    print("\n--- A training set: for each label, what was known about the driver at that time")
    times = [now - timedelta(hours=hours) for hours in (60, 36, 1)]
    labels = pa.table({"driver_id": DRIVERS, "event_timestamp": times, "satisfied": [True, False, True]})
    job = store.get_historical_features(
        entity_df=labels,
        features=["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips"],
    )
    print_rows(job.to_arrow().to_pylist())

    print("\n--- Load the newest values into the online store")
    store.materialize_incremental(end_date=now)

    print("\n--- Read them, as a model would")
    read(store, features=["driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate"])

    print("\n--- Read them by the name of a service")
    read(store, features=store.get_feature_service("driver_activity_v2"))

    print("\n--- Write newer values of one driver, and read again")
    newest = {
        "driver_id": [1001],
        "event_timestamp": [now],
        "created": [now],
        "conv_rate": pa.array([0.99], pa.float32()),
        "acc_rate": pa.array([0.98], pa.float32()),
        "avg_daily_trips": [1000],
    }
    store.write_to_online_store("driver_hourly_stats_fresh", pa.table(newest))
    read(store, features=store.get_feature_service("driver_activity_v3"))

    print("\n--- Remove it all")
    store.teardown()


def read(store: FeatureStore, features: Any) -> None:
    """Read features of the drivers from the online store and print them."""
    rows = [{"driver_id": driver} for driver in DRIVERS]
    print_rows(store.get_online_features(features=features, entity_rows=rows).to_arrow().to_pylist())


def print_rows(rows: list[Mapping[str, Any]]) -> None:
    """Print one line per row."""
    for row in rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
