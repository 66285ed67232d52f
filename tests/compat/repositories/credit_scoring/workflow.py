"""Train on loans of the past, then score applications as they come."""

import json
from datetime import datetime, timedelta

import pandas as pd
from feast import FeatureStore

APPLICATIONS = {
    "zipcode": [94109, 10001, 94109],
    "dob_ssn": ["19530219_5179", "19781116_7723", "19900101_0000"],
    "loan_amnt": [35000, 1000, 5000],
}


def show(name, values):
    print(json.dumps({name: values}))


def trained(store, service, times, **options):
    """Training rows as columns, null where there is no value."""
    loans = pd.DataFrame({**APPLICATIONS, "event_timestamp": times, "loan_status": [1, 0, 1]})
    job = store.get_historical_features(entity_df=loans, features=service, **options)
    frame = job.to_df().drop(columns=["event_timestamp", "loan_status"]).astype(object)
    return frame.where(frame.notna(), None).to_dict("list")


def run():
    store = FeatureStore(repo_path=".")
    now = datetime.now()
    service = store.get_feature_service("credit_score_v1")

    earlier = now - timedelta(days=40)
    show("earlier", trained(store, service, earlier))
    show("as known earlier", trained(store, service, earlier, filter_by_created_timestamp=True))
    show("now", trained(store, service, now))

    store.materialize(start_date=now - timedelta(days=3650), end_date=now)
    rows = pd.DataFrame(APPLICATIONS).to_dict("records")
    show("online", store.get_online_features(service, rows).to_dict())

    event = {"dob_ssn": ["19900101_0000"], "credit_card_due": [0], "mortgage_due": [15000], "missed_payments_1y": [0]}
    stamps = {"bankruptcies": [0], "event_timestamp": [now], "created_timestamp": [now]}
    store.push("credit_events", pd.DataFrame({**event, **stamps}))
    columns = ["burden:debt", "credit_history:mortgage_due"]
    answer = store.get_online_features(columns, rows[2:], full_feature_names=True)
    show("pushed", answer.to_dict())


if __name__ == "__main__":
    run()
