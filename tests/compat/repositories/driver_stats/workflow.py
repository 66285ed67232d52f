"""Train, load, serve and push, as a job and a service of this repository do."""

import json
from datetime import datetime, timedelta

import pandas as pd
from feast import FeatureStore
from feast.data_source import PushMode
from feast.errors import FeatureViewNotFoundException

ROWS = [
    {"driver_id": 1001, "val_to_add": 1, "val_to_add_2": 10},
    {"driver_id": 1002, "val_to_add": 2, "val_to_add_2": 20},
    {"driver_id": 1003, "val_to_add": 3, "val_to_add_2": 30},
    {"driver_id": 9999, "val_to_add": 4, "val_to_add_2": 40},
]


def show(name, values):
    print(json.dumps({name: values}))


def trained(store, features, times):
    """Training rows as columns, null where there is no value."""
    entity_df = pd.DataFrame(ROWS).assign(event_timestamp=times, label=[1, 0, 1, 0])
    frame = store.get_historical_features(entity_df=entity_df, features=features).to_df()
    frame = frame.drop(columns="event_timestamp").astype(object)
    return frame.where(frame.notna(), None).to_dict("list")


def run():
    store = FeatureStore(repo_path=".")
    now = datetime.now()
    v1, v3 = store.get_feature_service("driver_activity_v1"), store.get_feature_service("driver_activity_v3")
    rates = ["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips"]

    show("two hours ago", trained(store, rates, now - timedelta(hours=2)))
    show("now", trained(store, v1, now))

    store.materialize_incremental(end_date=now)
    show("online", store.get_online_features(features=v1, entity_rows=ROWS).to_dict())
    show(
        "online, full names", store.get_online_features(rates, [{"driver_id": 1001}], full_feature_names=True).to_dict()
    )

    events = pd.DataFrame(
        {
            "driver_id": [1001, 1002],
            "event_timestamp": [now, now - timedelta(hours=8)],
            "created": [now, now],
            "conv_rate": [1.0, 0.0],
            "acc_rate": [1.0, 0.0],
            "avg_daily_trips": [1000, 0],
        }
    )
    store.push("driver_stats_push_source", events, to=PushMode.ONLINE_AND_OFFLINE)
    show("pushed", store.get_online_features(features=v3, entity_rows=ROWS).to_dict())
    show("trained on what was pushed", trained(store, v3, datetime.now()))

    try:
        store.get_feature_view("driver_daily_stats")
    except FeatureViewNotFoundException as error:
        show("not found", str(error))


if __name__ == "__main__":
    run()
