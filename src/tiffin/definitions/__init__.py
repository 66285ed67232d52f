"""What a user declares. Frozen values; no I/O."""

from tiffin.definitions.aggregation import Aggregation
from tiffin.definitions.base import Definition
from tiffin.definitions.base_view import LATEST, BaseFeatureView
from tiffin.definitions.entity import Entity
from tiffin.definitions.expectation import Expectation
from tiffin.definitions.feature_service import FeatureService
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.field import Field
from tiffin.definitions.function import FunctionCode
from tiffin.definitions.label_view import ConflictPolicy, LabelView
from tiffin.definitions.logging import FileLoggingDestination, LoggingConfig
from tiffin.definitions.on_demand import OnDemandFeatureView, on_demand_feature_view
from tiffin.definitions.permission import AuthzedAction, Permission, Policy, User
from tiffin.definitions.project import Project
from tiffin.definitions.projection import Projection
from tiffin.definitions.saved_dataset import SavedDataset, SavedDatasetFileStorage
from tiffin.definitions.sources import (
    CsvFormat,
    DataSource,
    FileSource,
    ParquetFormat,
    PushMode,
    PushSource,
    RequestSource,
    StreamSource,
)
from tiffin.definitions.streams import AvroFormat, JsonFormat, KafkaSource, KinesisSource, ProtoFormat
from tiffin.definitions.transformed_view import TransformedFeatureView
from tiffin.definitions.validation import GEProfiler, TableProfiler, ValidationReference, ge_profiler
from tiffin.definitions.view_use import ViewUse
from tiffin.definitions.windowed_views import (
    BatchFeatureView,
    StreamFeatureView,
    batch_feature_view,
    stream_feature_view,
    view_from_spec,
)

__all__ = [
    "LATEST",
    "Aggregation",
    "AuthzedAction",
    "AvroFormat",
    "BaseFeatureView",
    "BatchFeatureView",
    "ConflictPolicy",
    "CsvFormat",
    "DataSource",
    "Definition",
    "Entity",
    "Expectation",
    "FeatureService",
    "FeatureView",
    "Field",
    "FileLoggingDestination",
    "FileSource",
    "FunctionCode",
    "GEProfiler",
    "JsonFormat",
    "KafkaSource",
    "KinesisSource",
    "LabelView",
    "LoggingConfig",
    "OnDemandFeatureView",
    "ParquetFormat",
    "Permission",
    "Policy",
    "Project",
    "Projection",
    "ProtoFormat",
    "PushMode",
    "PushSource",
    "RequestSource",
    "SavedDataset",
    "SavedDatasetFileStorage",
    "StreamFeatureView",
    "StreamSource",
    "TableProfiler",
    "TransformedFeatureView",
    "User",
    "ValidationReference",
    "ViewUse",
    "batch_feature_view",
    "ge_profiler",
    "on_demand_feature_view",
    "stream_feature_view",
    "view_from_spec",
]
