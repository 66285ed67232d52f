"""A feature store: define a feature once, use the same values in training and in serving.

The public names are loaded when they are first used, so that ``import tiffin`` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

#: Public name to the module that defines it.
_PUBLIC = {
    "Aggregation": "tiffin.definitions",
    "AvroFormat": "tiffin.definitions",
    "BaseFeatureView": "tiffin.definitions",
    "BatchFeatureView": "tiffin.definitions",
    "ConflictPolicy": "tiffin.definitions",
    "CsvFormat": "tiffin.definitions",
    "DataSource": "tiffin.definitions",
    "Entity": "tiffin.definitions",
    "Expectation": "tiffin.definitions",
    "FeatureService": "tiffin.definitions",
    "FeatureStore": "tiffin.store",
    "FeatureView": "tiffin.definitions",
    "Field": "tiffin.definitions",
    "FileLoggingDestination": "tiffin.definitions",
    "FileSource": "tiffin.definitions",
    "JsonFormat": "tiffin.definitions",
    "KafkaSource": "tiffin.definitions",
    "KinesisSource": "tiffin.definitions",
    "LabelView": "tiffin.definitions",
    "LoggingConfig": "tiffin.definitions",
    "ManualClock": "tiffin.time",
    "OnDemandFeatureView": "tiffin.definitions",
    "ParquetFormat": "tiffin.definitions",
    "Project": "tiffin.definitions",
    "ProtoFormat": "tiffin.definitions",
    "PushMode": "tiffin.definitions",
    "PushSource": "tiffin.definitions",
    "RepoConfig": "tiffin.config",
    "RequestSource": "tiffin.definitions",
    "StreamFeatureView": "tiffin.definitions",
    "StreamSource": "tiffin.definitions",
    "SystemClock": "tiffin.time",
    "TiffinError": "tiffin.errors",
    "ValueType": "tiffin.types",
    "batch_feature_view": "tiffin.definitions",
    "on_demand_feature_view": "tiffin.definitions",
    "stream_feature_view": "tiffin.definitions",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from tiffin.config import RepoConfig as RepoConfig
    from tiffin.definitions import Aggregation as Aggregation
    from tiffin.definitions import AvroFormat as AvroFormat
    from tiffin.definitions import BaseFeatureView as BaseFeatureView
    from tiffin.definitions import BatchFeatureView as BatchFeatureView
    from tiffin.definitions import ConflictPolicy as ConflictPolicy
    from tiffin.definitions import CsvFormat as CsvFormat
    from tiffin.definitions import DataSource as DataSource
    from tiffin.definitions import Entity as Entity
    from tiffin.definitions import Expectation as Expectation
    from tiffin.definitions import FeatureService as FeatureService
    from tiffin.definitions import FeatureView as FeatureView
    from tiffin.definitions import Field as Field
    from tiffin.definitions import FileLoggingDestination as FileLoggingDestination
    from tiffin.definitions import FileSource as FileSource
    from tiffin.definitions import JsonFormat as JsonFormat
    from tiffin.definitions import KafkaSource as KafkaSource
    from tiffin.definitions import KinesisSource as KinesisSource
    from tiffin.definitions import LabelView as LabelView
    from tiffin.definitions import LoggingConfig as LoggingConfig
    from tiffin.definitions import OnDemandFeatureView as OnDemandFeatureView
    from tiffin.definitions import ParquetFormat as ParquetFormat
    from tiffin.definitions import Project as Project
    from tiffin.definitions import ProtoFormat as ProtoFormat
    from tiffin.definitions import PushMode as PushMode
    from tiffin.definitions import PushSource as PushSource
    from tiffin.definitions import RequestSource as RequestSource
    from tiffin.definitions import StreamFeatureView as StreamFeatureView
    from tiffin.definitions import StreamSource as StreamSource
    from tiffin.definitions import batch_feature_view as batch_feature_view
    from tiffin.definitions import on_demand_feature_view as on_demand_feature_view
    from tiffin.definitions import stream_feature_view as stream_feature_view
    from tiffin.errors import TiffinError as TiffinError
    from tiffin.store import FeatureStore as FeatureStore
    from tiffin.time import ManualClock as ManualClock
    from tiffin.time import SystemClock as SystemClock
    from tiffin.types import ValueType as ValueType


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        from importlib import import_module

        value = getattr(import_module(_PUBLIC[name]), name)
    else:
        value = _later(name)
    globals()[name] = value
    return value


def _later(name: str) -> object:
    """What is to come: it can be imported, and using it says that it is not there yet."""
    from tiffin.compat.names import LATER

    if name not in LATER:
        raise AttributeError(f"module 'tiffin' has no attribute {name!r}")
    from tiffin.compat.finder import Missing

    return Missing(f"tiffin.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
