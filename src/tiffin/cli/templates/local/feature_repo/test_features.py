"""What the features are to be. Run it by `tiffin test`: no data is read, and the clock is the test's."""

from __future__ import annotations

from tiffin.testing.features import FeatureTest

RATE = "driver_hourly_stats:conv_rate"


def test_rate_is_used_for_a_day(features: FeatureTest) -> None:
    """In training and in serving alike."""
    features.at("2026-01-01 10:00").given("driver_hourly_stats", driver_id=1001, conv_rate=0.5)
    features.at("2026-01-01 09:59").expect({RATE: None}, driver_id=1001)
    features.at("2026-01-02 10:00").expect({RATE: 0.5}, driver_id=1001)
    features.at("2026-01-02 10:01").expect({RATE: None}, driver_id=1001)


def test_correction_counts_once_it_is_known(features: FeatureTest) -> None:
    """A training row never gets a value that nobody had yet."""
    fact = {"driver_id": 1001, "event_timestamp": "2026-01-01 10:00"}
    wrong = fact | {"created": "2026-01-01 10:05", "conv_rate": 0.5}
    right = fact | {"created": "2026-01-01 12:00", "conv_rate": 0.75}
    features.given("driver_hourly_stats", wrong, right)
    features.at("2026-01-01 11:59").expect({RATE: 0.5}, driver_id=1001)
    features.at("2026-01-01 12:00").expect({RATE: 0.75}, driver_id=1001)


def test_pushed_value_is_there_at_once(features: FeatureTest) -> None:
    """Both views read the same history; the fresh one is written by a program as well."""
    features.at("2026-01-01 10:00").pushed("driver_stats_push_source", driver_id=1001, conv_rate=0.25)
    features.expect({"driver_hourly_stats_fresh:conv_rate": 0.25}, driver_id=1001)
