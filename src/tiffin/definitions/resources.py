"""Lists of classes, for permissions; called as Feast calls them."""

from tiffin.definitions.entity import Entity
from tiffin.definitions.feature_service import FeatureService
from tiffin.definitions.feature_view import FeatureView
from tiffin.definitions.on_demand import OnDemandFeatureView
from tiffin.definitions.permission import Permission
from tiffin.definitions.project import Project
from tiffin.definitions.saved_dataset import SavedDataset
from tiffin.definitions.sources import DataSource
from tiffin.definitions.validation import ValidationReference

ALL_FEATURE_VIEW_TYPES: list[type] = [FeatureView, OnDemandFeatureView]
ALL_RESOURCE_TYPES: list[type] = [
    Project,
    *ALL_FEATURE_VIEW_TYPES,
    *(Entity, FeatureService, DataSource, ValidationReference, SavedDataset, Permission),
]
