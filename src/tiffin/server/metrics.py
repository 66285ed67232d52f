"""What Prometheus may know: how many requests, how long, which views, how fresh, which errors."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tiffin.time import Clock

#: The folder in which the processes of one server put their numbers together; set before the workers start.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
#: How often the age of what is served is looked at; more often tells nothing more.
_AGE_EVERY_US = 1_000_000


class NoMetrics:
    """Counts nothing: prometheus-client is not installed."""

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""

    def read(self, views: Iterable[str], rows: int, seconds: float) -> None:
        """Features were read."""

    def freshness(self, response: Any) -> None:
        """What was served is so old."""

    def newest(self, newest_us: Mapping[str, int], target_us: Mapping[str, int]) -> None:
        """The newest facts that were written are so new, and may be so old, by view."""

    def fallback(self, label: str) -> None:
        """An answer came from a fallback."""

    def definitions(self, version: int) -> None:
        """Other definitions are used."""

    def logged(self, written: int, dropped: int) -> None:
        """Served features were written to their log, or not."""

    def text(self) -> tuple[bytes, str] | None:
        """The numbers as text, with its content type; ``None`` where there are none."""
        return None


class Metrics(NoMetrics):
    """Counts with prometheus-client.

    Args:
        store: the type of the online store.
        clock: tells now.
    """

    def __init__(self, store: str, clock: Clock) -> None:
        import prometheus_client as client

        self._client = client
        self._clock = clock
        self._looked_us = 0
        self._registry = client.CollectorRegistry()
        kind: Mapping[str, Any] = {"registry": self._registry}
        self._requests = client.Counter("tiffin_requests", "Requests by route and status.", ["route", "status"], **kind)
        self._seconds = client.Histogram(
            "tiffin_request_seconds", "Time to answer, by route.", ["route"], buckets=_SECONDS, **kind
        )
        self._reads = client.Histogram(
            "tiffin_online_read_seconds",
            "Time of reads that had the view, by view and store.",
            ["view", "store"],
            buckets=_SECONDS,
            **kind,
        )
        self._rows = client.Counter("tiffin_entity_rows", "Entity rows that were read.", **kind)
        self._age = client.Gauge(
            "tiffin_feature_age_seconds",
            "Age of the newest fact that was served last, by view.",
            ["view"],
            multiprocess_mode="mostrecent",
            **kind,
        )
        self._newest = client.Gauge(
            "tiffin_newest_event_timestamp_seconds",
            "Event time of the newest fact that was written online, by view.",
            ["view"],
            multiprocess_mode="max",
            **kind,
        )
        self._target = client.Gauge(
            "tiffin_freshness_target_seconds",
            "How old the newest fact of a view may be, as it declares.",
            ["view"],
            multiprocess_mode="mostrecent",
            **kind,
        )
        self._fallbacks = client.Counter(
            "tiffin_fallbacks", "Answers that came from a fallback, by its kind.", ["kind"], **kind
        )
        self._version = client.Gauge(
            "tiffin_definitions_version", "The version of the definitions.", multiprocess_mode="min", **kind
        )
        self._logged = client.Counter("tiffin_logged_rows", "Served rows that were logged.", **kind)
        self._dropped = client.Counter(
            "tiffin_unlogged_rows", "Served rows that were to be logged and were dropped.", **kind
        )
        # Finding a child by its labels takes longer than counting.
        self._request_of = lru_cache(1000)(lambda route, status: self._requests.labels(route, str(status)))
        self._seconds_of = lru_cache(1000)(self._seconds.labels)
        self._reads_of = lru_cache(1000)(lambda view: self._reads.labels(view, store))

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._request_of(route, status).inc()
        self._seconds_of(route).observe(seconds)

    def read(self, views: Iterable[str], rows: int, seconds: float) -> None:
        """Features were read."""
        for view in views:
            self._reads_of(view).observe(seconds)
        self._rows.inc(rows)

    def freshness(self, response: Any) -> None:
        """What was served is so old; looked at once a second."""
        now_us = self._clock.now_us()
        if abs(now_us - self._looked_us) < _AGE_EVERY_US:
            return
        self._looked_us = now_us
        for view, us in response.newest_us().items():
            self._age.labels(view).set((now_us - us) / 1_000_000)

    def newest(self, newest_us: Mapping[str, int], target_us: Mapping[str, int]) -> None:
        """The newest facts that were written are so new, and may be so old, by view."""
        for view, us in newest_us.items():
            self._newest.labels(view).set(us / 1_000_000)
        for view, us in target_us.items():
            self._target.labels(view).set(us / 1_000_000)

    def fallback(self, label: str) -> None:
        """An answer came from a fallback."""
        self._fallbacks.labels(label).inc()

    def definitions(self, version: int) -> None:
        """Other definitions are used."""
        self._version.set(version)

    def logged(self, written: int, dropped: int) -> None:
        """Served features were written to their log, or not."""
        self._logged.inc(written)
        self._dropped.inc(dropped)

    def text(self) -> tuple[bytes, str] | None:
        """The numbers of all workers as text, with its content type."""
        registry = self._registry
        if os.environ.get(FOLDER_VARIABLE):
            from prometheus_client import multiprocess

            registry = self._client.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return self._client.generate_latest(registry), self._client.CONTENT_TYPE_LATEST


def open_metrics(store: str, clock: Clock) -> NoMetrics:
    """Metrics, where prometheus-client is installed."""
    try:
        return Metrics(store, clock)
    except ImportError:
        return NoMetrics()
