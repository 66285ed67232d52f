"""What is known about a card, a merchant and the two of them together when a payment is asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tiffin import (
    Aggregation,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileLoggingDestination,
    FileSource,
    LoggingConfig,
    PushSource,
    RequestSource,
    ValueType,
    on_demand_feature_view,
)
from tiffin.types import Bool, Float64

MINUTES, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
MONTH = timedelta(days=30)
WINDOWS = {"5m": MINUTES, "1h": HOUR, "1d": DAY, "30d": MONTH}

card = Entity(name="card", value_type=ValueType.INT64, description="A payment card")
merchant = Entity(name="merchant", value_type=ValueType.STRING, description="Where it is used")


def pushed(name: str) -> PushSource:
    """A source with a history in a file, to which facts are pushed as they become known."""
    history = FileSource(
        name=f"{name}_history",
        path=f"data/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    return PushSource(name=name, batch_source=history)


transactions, reports = pushed("transactions"), pushed("reports")


def counts_and_sums(of: str) -> list[Aggregation]:
    """How many transactions and how much money, over each of the windows."""
    return [
        aggregation
        for label, window in WINDOWS.items()
        for aggregation in (
            Aggregation(column="*", function="count", time_window=window, name=f"{of}_count_{label}"),
            Aggregation(column="amount", function="sum", time_window=window, name=f"{of}_sum_{label}"),
        )
    ]


card_activity = FeatureView(
    name="card_activity",
    description="What a card was used for",
    entities=[card],
    source=transactions,
    fact_id="transaction_id",
    aggregations=[
        *counts_and_sums("card"),
        Aggregation(column="amount", function="mean", time_window=MONTH, name="card_mean_30d"),
        Aggregation(column="amount", function="std", time_window=MONTH, name="card_std_30d"),
        Aggregation(column="amount", function="max", time_window=MONTH, name="card_max_30d"),
        Aggregation(column="merchant", function="count_distinct", time_window=MONTH, name="card_merchants_30d"),
        Aggregation(column="merchant", function="count_distinct", time_window=HOUR, name="card_merchants_1h"),
        Aggregation(column="event_timestamp", function="last", time_window=MONTH, name="card_last_at"),
    ],
)

merchant_activity = FeatureView(
    name="merchant_activity",
    description="What a merchant sold",
    entities=[merchant],
    source=transactions,
    fact_id="transaction_id",
    aggregations=[
        *counts_and_sums("merchant"),
        Aggregation(column="amount", function="mean", time_window=MONTH, name="merchant_mean_30d"),
        Aggregation(column="amount", function="std", time_window=MONTH, name="merchant_std_30d"),
    ],
)

pair_activity = FeatureView(
    name="pair_activity",
    description="How often this card was used at this merchant",
    entities=[card, merchant],
    source=transactions,
    fact_id="transaction_id",
    aggregations=[Aggregation(column="*", function="count", time_window=MONTH, name="pair_count_30d")],
)


def reported_frauds(entity: Entity) -> FeatureView:
    """Frauds with a card or at a merchant; each counts from the moment at which it was reported."""
    return FeatureView(
        name=f"{entity.name}_reports",
        description=f"Frauds of this {entity.name} that are reported",
        entities=[entity],
        source=reports,
        fact_id="transaction_id",
        aggregations=[
            Aggregation(column="*", function="count", time_window=MONTH, name=f"{entity.name}_frauds_30d"),
        ],
    )


card_reports = reported_frauds(card)
merchant_reports = reported_frauds(merchant)

payment = RequestSource(name="payment", schema=[Field(name="amount", dtype=Float64)])


@on_demand_feature_view(
    sources=[card_activity, pair_activity, payment],
    mode="python",
    schema=[
        Field(name="amount_to_mean", dtype=Float64, description="the amount as a multiple of the card's mean"),
        Field(name="seconds_since_last", dtype=Float64, description="since the card's last transaction"),
        Field(name="is_new_merchant", dtype=Bool, description="the card was not here for thirty days"),
    ],
)
def compared(rows: dict[str, list[Any]], now: list[datetime]) -> dict[str, list[Any]]:
    """The payment that is asked for, held to what the card is used for."""
    amounts, means, lasts = rows["amount"], rows["card_mean_30d"], rows["card_last_at"]
    return {
        "amount_to_mean": [a / mean if mean else None for a, mean in zip(amounts, means, strict=True)],
        "seconds_since_last": [
            None if last is None else (moment - last).total_seconds() for moment, last in zip(now, lasts, strict=True)
        ],
        "is_new_merchant": [not count for count in rows["pair_count_30d"]],
    }


fraud_score = FeatureService(
    name="fraud_score",
    description="What the model that looks for fraud reads",
    features=[card_activity, merchant_activity, pair_activity, card_reports, merchant_reports, compared],
    logging_config=LoggingConfig(FileLoggingDestination(path="served")),
)
