"""What a user declares. Frozen values; no I/O."""

from tiffin.definitions.base import Definition
from tiffin.definitions.entity import Entity
from tiffin.definitions.feature_service import FeatureService, ViewUse
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.field import Field
from tiffin.definitions.project import Project
from tiffin.definitions.projection import Projection
from tiffin.definitions.sources import CsvFormat, DataSource, FileSource, ParquetFormat, PushSource, RequestSource

__all__ = [
    "CsvFormat",
    "DataSource",
    "Definition",
    "Entity",
    "FeatureService",
    "FeatureView",
    "Field",
    "FileSource",
    "ParquetFormat",
    "Project",
    "Projection",
    "PushSource",
    "RequestSource",
    "ViewUse",
]
