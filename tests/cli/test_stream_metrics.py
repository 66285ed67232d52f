"""Metrics of a worker of streams, as Prometheus gets them."""

from __future__ import annotations

import builtins
import socket
from typing import Any
from urllib.request import urlopen

import pytest

from servers import free_port
from tiffin.cli.stream_metrics import serve_metrics
from tiffin.errors import BackendNotFoundError, ConfigError
from tiffin.operations.stream_counts import SourceProgress
from tiffin.time import ManualClock

HOST, CLOCK = "127.0.0.1", ManualClock(7_000_000)


def samples(port: int) -> dict[str, float]:
    """Name, with labels, to value."""
    with urlopen(f"http://{HOST}:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_progress_is_told_by_source() -> None:
    port = free_port()
    with serve_metrics(HOST, port, CLOCK) as metrics:
        assert samples(port) == {"tiffin_stream_progress_timestamp_seconds": 0.0}
        clicks = SourceProgress("clicks", ("a", "b"), "g", 100, 90, 6, 3, 1, 4, 2, lag=7, watermark_us=1_500_000)
        metrics.take([clicks, SourceProgress("views", ("c",), "h", messages=5)])
        found = samples(port)
        assert found.pop("tiffin_stream_progress_timestamp_seconds") == 7.0
        counts = {"messages": 100, "written": 90, "stale": 6, "expired": 3, "capped": 1, "dead": 4, "late": 2}
        expected = {f'tiffin_stream_{name}_total{{source="clicks"}}': float(n) for name, n in counts.items()}
        expected |= {f'tiffin_stream_{name}_total{{source="views"}}': 0.0 for name in counts}
        expected['tiffin_stream_messages_total{source="views"}'] = 5.0
        expected['tiffin_stream_lag{source="clicks"}'] = 7.0
        expected['tiffin_stream_watermark_timestamp_seconds{source="clicks"}'] = 1.5
        assert found == expected
    with serve_metrics(HOST, port, CLOCK):
        assert samples(port)


def test_port_that_is_taken_is_an_error() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot be served at {HOST}:{port}"), serve_metrics(HOST, port, CLOCK):
            pass


def test_host_that_is_not_there_is_an_error() -> None:
    port = free_port()
    with pytest.raises(ConfigError, match="cannot be served at no-such-host"):
        serve_metrics("no-such-host.invalid", port, CLOCK).__enter__()


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "prometheus_client":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BackendNotFoundError, match="prometheus-client") as error, serve_metrics(HOST, 1, CLOCK):
        pass
    assert "tiffin[metrics]" in error.value.hint
