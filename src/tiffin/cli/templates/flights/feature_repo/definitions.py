"""Flights from New York: what is known about carriers, planes and airports of origin when a flight is due to leave.

Every source of history has a ``created`` column, the moment at which a fact could first be known. With
``point_in_time: known`` in feature_store.yaml, a training row gets only what was known at its time.
"""

from datetime import timedelta

from tiffin import Aggregation, Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from tiffin.types import Float64, Int32, Int64, String

carrier = Entity(name="carrier", value_type=ValueType.STRING, description="The airline, by its two-letter code")
plane = Entity(
    name="plane", join_keys=["tailnum"], value_type=ValueType.STRING, description="A plane by its tail number"
)
origin = Entity(name="origin", value_type=ValueType.STRING, description="The airport of departure: EWR, JFK or LGA")


def history(name: str) -> FileSource:
    """A source whose facts become known some time after they happen."""
    return FileSource(
        name=f"{name}_source",
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )


plane_history = FeatureView(
    name="plane_history",
    description="The plane's last flight from New York, known when it has arrived",
    entities=[plane],
    ttl=timedelta(days=2),
    schema=[
        Field(name="prev_dep_delay", dtype=Int64, description="minutes"),
        Field(name="prev_arr_delay", dtype=Int64, description="minutes"),
        Field(name="prev_air_time", dtype=Int64, description="minutes"),
        Field(name="prev_distance", dtype=Int64, description="miles"),
    ],
    source=history("plane_history"),
)

plane_facts = FeatureView(
    name="plane_facts",
    description="The plane itself",
    entities=[plane],
    ttl=None,
    schema=[
        Field(name="plane_year", dtype=Int32, description="the year in which it was built"),
        Field(name="seats", dtype=Int32),
        Field(name="engines", dtype=Int32),
        Field(name="manufacturer", dtype=String),
    ],
    source=FileSource(name="plane_facts_source", path="data/plane_facts.parquet", timestamp_field="event_timestamp"),
)

carrier_history = FeatureView(
    name="carrier_history",
    description="The carrier's arrivals of the last hours, renewed by every arrival",
    entities=[carrier],
    ttl=timedelta(days=1),
    schema=[
        Field(name="carrier_arrivals_24h", dtype=Int64),
        Field(name="carrier_mean_arr_delay_2h", dtype=Float64, description="minutes"),
        Field(name="carrier_mean_arr_delay_24h", dtype=Float64, description="minutes"),
        Field(name="carrier_late_share_24h", dtype=Float64, description="of arrivals, more than 15 minutes late"),
    ],
    source=history("carrier_history"),
)

origin_history = FeatureView(
    name="origin_history",
    description="The airport's departures of the last hours, renewed by every departure",
    entities=[origin],
    ttl=timedelta(hours=12),
    schema=[
        Field(name="origin_departures_1h", dtype=Int64),
        Field(name="origin_mean_dep_delay_1h", dtype=Float64, description="minutes"),
        Field(name="origin_mean_dep_delay_3h", dtype=Float64, description="minutes"),
        Field(name="origin_late_share_3h", dtype=Float64, description="of departures, more than 15 minutes late"),
    ],
    source=history("origin_history"),
)

origin_weather = FeatureView(
    name="origin_weather",
    description="The last full hour of weather at the airport of origin",
    entities=[origin],
    ttl=timedelta(hours=6),
    schema=[
        Field(name="temp", dtype=Float64, description="degrees Fahrenheit"),
        Field(name="humid", dtype=Float64, description="relative humidity, per cent"),
        Field(name="wind_speed", dtype=Float64, description="miles per hour"),
        Field(name="wind_gust", dtype=Float64, description="miles per hour"),
        Field(name="precip", dtype=Float64, description="inches in the hour"),
        Field(name="pressure", dtype=Float64, description="millibars at sea level"),
        Field(name="visib", dtype=Float64, description="miles"),
    ],
    source=history("origin_weather"),
)

WINDOWS = {"1h": timedelta(hours=1), "3h": timedelta(hours=3), "1d": timedelta(days=1), "7d": timedelta(days=7)}
departures = history("departures")


def rolling_delays(entity: Entity, *labels: str) -> FeatureView:
    """How late flights leave and how many never do, over some of the windows.

    Windows go by the time at which a flight was due. A flight that is still at its gate is in none of them: nobody
    knows yet how late it will be.
    """
    name = entity.name
    return FeatureView(
        name=f"{name}_departures",
        description=f"Departures of the {name} that are known, over {', '.join(labels)}",
        entities=[entity],
        aggregations=[
            aggregation
            for label, window in ((label, WINDOWS[label]) for label in labels)
            for aggregation in (
                Aggregation("*", "count", window, name=f"{name}_due_{label}"),
                Aggregation("dep_delay", "mean", window, name=f"{name}_delay_mean_{label}"),
                Aggregation("dep_delay", "std", window, name=f"{name}_delay_std_{label}"),
                Aggregation("cancelled", "mean", window, name=f"{name}_cancelled_share_{label}"),
            )
        ],
        source=departures,
        fact_id="departure",
    )


carrier_departures = rolling_delays(carrier, "1h", "3h", "1d", "7d")
plane_departures = rolling_delays(plane, "1d", "7d")
origin_departures = rolling_delays(origin, "1h", "3h", "1d", "7d")

late_arrival = FeatureService(
    name="late_arrival",
    description="What the model that predicts late arrivals reads",
    features=[
        plane_history,
        plane_facts,
        carrier_history,
        origin_history,
        origin_weather,
        carrier_departures,
        plane_departures,
        origin_departures,
    ],
)
