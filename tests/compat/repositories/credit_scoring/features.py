"""What is known of an applicant for a loan: the neighbourhood, the debts, and what both say together."""

from datetime import timedelta

import pandas as pd
from entities import dob_ssn, zipcode
from feast import FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from feast.data_format import ParquetFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float64, Int64, String

zipcode_source = FileSource(
    name="zipcode_source",
    path="data/zipcode_table.parquet",
    file_format=ParquetFormat(),
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
    field_mapping={"zip": "zipcode", "pop": "population"},
)
zipcode_features = FeatureView(
    name="zipcode_features",
    entities=[zipcode],
    ttl=timedelta(days=3650),
    schema=[
        Field(name="zipcode", dtype=Int64),
        Field(name="city", dtype=String),
        Field(name="state", dtype=String),
        Field(name="population", dtype=Int64),
        Field(name="total_wages", dtype=Int64),
    ],
    source=zipcode_source,
)

credit_history_source = FileSource(
    name="credit_history_source",
    path="data/credit_history.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created_timestamp",
)
credit_history = FeatureView(
    name="credit_history",
    entities=[dob_ssn],
    ttl=timedelta(days=90),
    schema=[
        Field(name="dob_ssn", dtype=String),
        Field(name="credit_card_due", dtype=Int64),
        Field(name="mortgage_due", dtype=Int64),
        Field(name="missed_payments_1y", dtype=Int64),
        Field(name="bankruptcies", dtype=Int64),
    ],
    source=PushSource(name="credit_events", batch_source=credit_history_source),
)

application = RequestSource(name="application", schema=[Field(name="loan_amnt", dtype=Int64)])


@on_demand_feature_view(
    sources=[zipcode_features, credit_history, application],
    schema=[
        Field(name="debt", dtype=Int64),
        Field(name="debt_to_wages", dtype=Float64),
        Field(name="risky", dtype=Bool),
    ],
)
def burden(inputs: pd.DataFrame) -> pd.DataFrame:
    df = pd.DataFrame()
    df["debt"] = inputs["credit_card_due"] + inputs["mortgage_due"] + inputs["loan_amnt"]
    df["debt_to_wages"] = df["debt"] / (inputs["total_wages"] / inputs["population"])
    df["risky"] = df["debt_to_wages"] > 2
    return df


credit_score_v1 = FeatureService(
    name="credit_score_v1",
    features=[zipcode_features[["city", "population"]], credit_history, burden],
    tags={"release": "production"},
    owner="lending@example.com",
)
