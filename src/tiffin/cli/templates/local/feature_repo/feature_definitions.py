"""What this project knows about its drivers."""

from datetime import timedelta

from tiffin import Entity, FeatureService, FeatureView, Field, FileSource, Project, PushSource, ValueType
from tiffin.types import Float32, Int64

project = Project(name="drivers", description="How drivers are doing")

# What the features are about, and the column that says which one.
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)

# Where history is. `event_timestamp` is the moment that a row is about; `created` the moment at which it was known:
# a training row never gets a value that nobody had yet, and a correction takes the place of what it corrects.
driver_stats_source = FileSource(
    name="driver_hourly_stats_source",
    path="data/driver_stats.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)

# Features of one entity from one source. After `ttl` a value is too old to be used, in training and in serving alike.
driver_stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[
        Field(name="conv_rate", dtype=Float32, description="trips per offer, over the last hour"),
        Field(name="acc_rate", dtype=Float32, description="offers accepted, over the last hour"),
        Field(name="avg_daily_trips", dtype=Int64, description="trips per day, over the last month"),
    ],
    source=driver_stats_source,
    tags={"team": "driver_performance"},
)

# The same features, written by a program as they happen; their history is the same source.
driver_stats_push_source = PushSource(name="driver_stats_push_source", batch_source=driver_stats_source)

driver_stats_fresh = FeatureView(
    name="driver_hourly_stats_fresh",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=list(driver_stats.features),
    source=driver_stats_push_source,
    tags={"team": "driver_performance"},
)

# What one version of a model reads, under one name.
driver_activity_v1 = FeatureService(name="driver_activity_v1", features=[driver_stats[["conv_rate"]]])
driver_activity_v2 = FeatureService(name="driver_activity_v2", features=[driver_stats])
driver_activity_v3 = FeatureService(name="driver_activity_v3", features=[driver_stats_fresh])
