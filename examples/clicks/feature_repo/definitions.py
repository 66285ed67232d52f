"""What a user does right now: clicks of the last hour, sessions of the last day, and the page that was seen last."""

from __future__ import annotations

import os
from datetime import timedelta

from tiffin import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    KafkaSource,
    ParquetFormat,
    StreamFeatureView,
    ValueType,
)
from tiffin.types import Bool, Int64, String

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64, description="Who clicks")

#: Everything that came before, and, as the workers append it, everything that comes.
history = FileSource(
    name="clicks_history",
    path="data/clicks",
    file_format=ParquetFormat(),
    timestamp_field="at",
    created_timestamp_column="sent",
)

clicks = KafkaSource(
    name="clicks",
    kafka_bootstrap_servers=os.environ.get("CLICKS_KAFKA", "localhost:9092"),
    topic=os.environ.get("CLICKS_TOPIC", "clicks"),
    timestamp_field="at",
    created_timestamp_column="sent",
    message_format={"json": {}},
    field_mapping={"session.id": "session", "page.path": "page"},
    watermark_delay_threshold=timedelta(minutes=1),
    batch_source=history,
)

streaming_user_features = StreamFeatureView(
    name="streaming_user_features",
    description="How busy a user is; robots do not count",
    entities=[user],
    source=clicks,
    mode="sql",
    udf="SELECT * FROM source WHERE NOT is_bot",
    input_schema=[
        Field(name="event_id", dtype=Int64),
        Field(name="session", dtype=String),
        Field(name="is_bot", dtype=Bool),
    ],
    # Without it, two clicks of a session in one moment would be one.
    fact_id="event_id",
    aggregations=[
        Aggregation(column="*", function="count", time_window=HOUR, name="clicks_last_hour"),
        Aggregation(column="session", function="count_distinct", time_window=DAY, name="sessions_last_day"),
    ],
)

last_click = FeatureView(
    name="last_click",
    description="The page that was seen last",
    entities=[user],
    source=clicks,
    schema=[Field(name="page", dtype=String)],
    ttl=HOUR,
)

recommendation = FeatureService(
    name="recommendation",
    description="What a model that recommends pages reads",
    features=[streaming_user_features, last_click],
)
