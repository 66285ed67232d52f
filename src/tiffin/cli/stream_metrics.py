"""What Prometheus may know of a worker of streams: how far it is, what waits, and what became of the messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tiffin.errors import BackendNotFoundError, ConfigError

if TYPE_CHECKING:
    from tiffin.operations.stream_counts import SourceProgress
    from tiffin.time import Clock

_COUNTERS = {
    "messages": "Messages that were worked off.",
    "written": "New rows online, and facts that are new in windows.",
    "stale": "Rows and facts that changed nothing, because newer ones or they themselves were there.",
    "expired": "Facts that were too old for every window of their view.",
    "capped": "Times that a key came to have more facts than are kept one by one.",
    "dead": "Messages that went to the dead letters.",
    "late": "Facts that came later than the source allows.",
}


class StreamMetrics:
    """The newest progress of a worker, as prometheus-client collects it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: Sequence[SourceProgress] = ()
        self._at_us = 0

    def take(self, found: Sequence[SourceProgress]) -> None:
        """Keep how far the sources are."""
        self._found, self._at_us = found, self._clock.now_us()

    def collect(self) -> Iterator[Any]:
        """The numbers, by source."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"tiffin_stream_{name}", text, labels=["source"])
            for each in self._found:
                counter.add_metric([each.source], getattr(each, name))
            yield counter
        lag = GaugeMetricFamily(
            "tiffin_stream_lag", "Messages that wait in the worker's partitions.", labels=["source"]
        )
        watermark = GaugeMetricFamily(
            "tiffin_stream_watermark_timestamp_seconds", "How far event times have got.", labels=["source"]
        )
        for each in self._found:
            if each.lag is not None:
                lag.add_metric([each.source], each.lag)
            if each.watermark_us is not None:
                watermark.add_metric([each.source], each.watermark_us / 1_000_000)
        yield lag
        yield watermark
        yield GaugeMetricFamily(
            "tiffin_stream_progress_timestamp_seconds",
            "When the worker counted last; it does not while it waits for a store.",
            value=self._at_us / 1_000_000,
        )


@contextmanager
def serve_metrics(host: str, port: int, clock: Clock) -> Iterator[StreamMetrics]:
    """Serve metrics at ``http://host:port/metrics`` from a thread.

    Raises:
        ConfigError: nobody can listen there.
        BackendNotFoundError: prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        hint = "install what they need: pip install 'tiffin[metrics]'"
        raise BackendNotFoundError("metrics need prometheus-client", subject="metrics", hint=hint) from error
    metrics, registry = StreamMetrics(clock), CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        hint = "choose another one with --metrics-port and --metrics-host"
        raise ConfigError(f"metrics cannot be served at {host}:{port}: {error.strerror}", hint=hint) from error
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
