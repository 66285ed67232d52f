"""What is measured: one module per benchmark, each giving a `Suite` for the full or the quick run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.case import Suite
from benchmarks.suites import (
    applying,
    freshness,
    functions,
    joins,
    large_join,
    materializing,
    quality,
    reads,
    serving,
    starting,
    stores,
    streams,
    timelines,
    verifying,
    windows,
)

#: Name to the function that makes the suite; `quick` is the small version, a check of the harness more than a
#: measurement.
SUITES: Mapping[str, Callable[[bool], Suite]] = {
    "start": starting.suite,
    "join": joins.suite,
    "large-join": large_join.suite,
    "windows": windows.suite,
    "window-loads": timelines.load_suite,
    "window-reads": timelines.read_suite,
    "online": reads.suite,
    "materialize": materializing.suite,
    "stores": stores.read_suite,
    "loads": stores.write_suite,
    "pushes": stores.push_suite,
    "streams": streams.suite,
    "functions": functions.suite,
    "server": serving.suite,
    "apply": applying.suite,
    "verify": verifying.suite,
    "quality": quality.suite,
    "freshness": freshness.suite,
}
