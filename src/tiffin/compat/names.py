"""Where tiffin has what Feast's modules have. Text only: nothing is imported before it is used."""

from __future__ import annotations

_DEFINITIONS = "tiffin.definitions"
_TYPES = "tiffin.types"
_ERRORS = "tiffin.errors"

#: Name to the module that has it, for what is called alike. Holds in every module of Feast's that has the name.
SAME_NAME = {
    **dict.fromkeys(
        (
            "Aggregation",
            "AvroFormat",
            "BaseFeatureView",
            "BatchFeatureView",
            "ConflictPolicy",
            "DataSource",
            "Entity",
            "FeatureService",
            "FeatureView",
            "Field",
            "FileLoggingDestination",
            "FileSource",
            "GEProfiler",
            "JsonFormat",
            "KafkaSource",
            "KinesisSource",
            "LabelView",
            "LoggingConfig",
            "OnDemandFeatureView",
            "ParquetFormat",
            "Project",
            "ProtoFormat",
            "PushMode",
            "PushSource",
            "RequestSource",
            "SavedDataset",
            "SavedDatasetFileStorage",
            "StreamFeatureView",
            "ValidationReference",
            "batch_feature_view",
            "ge_profiler",
            "on_demand_feature_view",
            "stream_feature_view",
        ),
        _DEFINITIONS,
    ),
    **dict.fromkeys(
        (
            *("Array", "Bool", "Bytes", "Decimal", "Float32", "Float64", "ImageBytes", "Int32", "Int64", "Invalid"),
            *("Json", "Map", "PdfBytes", "ScalarMap", "Set", "String", "Struct", "TimeUuid", "UnixTimestamp", "Uuid"),
            *("ValueType", "ZonedTimestamp", "from_value_type"),
        ),
        _TYPES,
    ),
    **dict.fromkeys(("ALL_FEATURE_VIEW_TYPES", "ALL_RESOURCE_TYPES"), "tiffin.definitions.resources"),
    **dict.fromkeys(
        (
            *("ALL_ACTIONS", "AllowAll", "AuthzedAction", "CRUD", "CombinedGroupNamespacePolicy", "GroupBasedPolicy"),
            *("NamespaceBasedPolicy", "Permission", "Policy", "READ", "RoleBasedPolicy", "User", "WRITE"),
        ),
        "tiffin.definitions.permission",
    ),
    "FeatureStore": "tiffin.store",
    "OnlineResponse": "tiffin.online.response",
    # great_expectations.dataset, which great_expectations has no longer.
    "PandasDataset": "tiffin.transforms.pandas_dataset",
    "RegistryConfig": "tiffin.config",
    "RepoConfig": "tiffin.config",
    "RetrievalJob": "tiffin.operations.retrieve",
    "__version__": "tiffin",
    **dict.fromkeys(
        ("create_driver_hourly_stats_df", "python_type_to_feast_value_type", "replace_str_in_file"),
        "tiffin.compat.bootstrap",
    ),
}

#: Name to ``module:name``, for what is called otherwise.
OTHER_NAME = {
    "FeastType": f"{_TYPES}:FeatureType",
    "FeatureViewProjection": f"{_DEFINITIONS}:Projection",
    "PrimitiveFeastType": f"{_TYPES}:PrimitiveType",
    "from_feast_to_pyarrow_type": f"{_TYPES}:arrow_type",
    "load_repo_config": "tiffin.config:load_config",
    "ValidationFailed": f"{_ERRORS}:ValidationError",
    "from_feast_type": f"{_TYPES}:value_type_of",
    # feast.errors
    "ConcurrentVersionConflict": f"{_ERRORS}:RegistryConflictError",
    "ConflictingFeatureViewNames": f"{_ERRORS}:DefinitionError",
    "DataSourceNotFoundException": f"{_ERRORS}:SourceError",
    "DataSourceObjectNotFoundException": f"{_ERRORS}:NotFoundError",
    "DataSourceRepeatNamesException": f"{_ERRORS}:DefinitionError",
    "EntityDFNotDateTime": f"{_ERRORS}:InputError",
    "EntityNotFoundException": f"{_ERRORS}:NotFoundError",
    "EntitySQLEmptyResults": f"{_ERRORS}:InputError",
    "EntityTimestampInferenceException": f"{_ERRORS}:InputError",
    "FeastClassImportError": f"{_ERRORS}:BackendNotFoundError",
    "FeastEntityDFMissingColumnsError": f"{_ERRORS}:InputError",
    "FeastError": f"{_ERRORS}:TiffinError",
    "FeastExtrasDependencyImportError": f"{_ERRORS}:BackendNotFoundError",
    "FeastModuleImportError": f"{_ERRORS}:BackendNotFoundError",
    "FeastPermissionError": f"{_ERRORS}:AccessError",
    "FeastProviderNotImplementedError": f"{_ERRORS}:ConfigError",
    "FeatureNameCollisionError": f"{_ERRORS}:NameCollisionError",
    "FeatureServiceNotFoundException": f"{_ERRORS}:NotFoundError",
    "FeatureViewNotFoundException": f"{_ERRORS}:NotFoundError",
    "FeatureViewPinConflict": f"{_ERRORS}:DefinitionError",
    "FeatureViewVersionNotFound": f"{_ERRORS}:NotFoundError",
    "InvalidEntityType": f"{_ERRORS}:InputError",
    "InvalidFeaturesParameterType": f"{_ERRORS}:RequestError",
    "OnDemandFeatureViewNotFoundException": f"{_ERRORS}:NotFoundError",
    "PermissionNotFoundException": f"{_ERRORS}:NotFoundError",
    "ProjectNotFoundException": f"{_ERRORS}:NotFoundError",
    "ProjectObjectNotFoundException": f"{_ERRORS}:NotFoundError",
    "PushSourceNotFoundException": f"{_ERRORS}:NotFoundError",
    "ReadOnlyRegistryException": f"{_ERRORS}:RegistryError",
    "RegistryInferenceFailure": f"{_ERRORS}:DefinitionError",
    "RequestDataNotFoundInEntityDfException": f"{_ERRORS}:InputError",
    "RequestDataNotFoundInEntityRowsException": f"{_ERRORS}:InputError",
    "SavedDatasetLocationAlreadyExists": f"{_ERRORS}:StoreError",
    "SavedDatasetNotFound": f"{_ERRORS}:NotFoundError",
    "SpecifiedFeaturesNotPresentError": f"{_ERRORS}:FunctionError",
    "ValidationReferenceNotFound": f"{_ERRORS}:NotFoundError",
    "VersionedOnlineReadNotSupported": f"{_ERRORS}:UnsupportedError",
    "ZeroRowsQueryResult": f"{_ERRORS}:SourceError",
}

#: What ``from feast import *`` imports.
EXPORTED = (
    *("Aggregation", "AthenaSource", "BaseChunker", "BaseEmbedder", "BatchFeatureView", "BigQuerySource"),
    *("ChrononSource", "ChunkingConfig", "ConflictPolicy", "DataFrameEngine", "DocEmbedder", "EmbeddingConfig"),
    *("EmbeddingProvider", "Entity", "FeastDataFrame", "FeastVectorStore", "Feature", "FeatureService", "FeatureStore"),
    *("FeatureView", "FeatureViewState", "Field", "FileSource", "FilterTranslator", "KafkaSource", "KinesisSource"),
    *("LabelView", "MultiModalEmbedder", "OnDemandFeatureView", "OracleSource", "Project", "PushSource"),
    *("RedshiftSource", "RepoConfig", "RequestSource", "SchemaTransformFn", "SentenceTransformersEmbeddingProvider"),
    *("SnowflakeSource", "StreamFeatureView", "TextChunker", "ValueType", "copy_demo_notebooks"),
    "get_embedding_provider",
)

#: What of it tiffin does not have yet.
LATER = frozenset(EXPORTED) - SAME_NAME.keys()

#: Modules that are also called like the decorator that they have; they can be called like it.
DECORATORS = frozenset(
    {
        "feast.batch_feature_view",
        "feast.dqm.profilers.ge_profiler",
        "feast.on_demand_feature_view",
        "feast.stream_feature_view",
    }
)


def target_of(name: str) -> tuple[str, str] | None:
    """The module and the name that something of Feast's has in tiffin; ``None`` where tiffin does not have it."""
    if name in SAME_NAME:
        return SAME_NAME[name], name
    module, _, other = OTHER_NAME.get(name, "").partition(":")
    return (module, other) if module else None
