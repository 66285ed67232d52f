"""Code that was written for Feast finds what it needs in tiffin."""

from __future__ import annotations

import contextlib
import operator
import subprocess
import sys
import types
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import tiffin
from tiffin.compat.finder import FeastModule, Missing, feast_means_tiffin
from tiffin.compat.names import LATER, OTHER_NAME, SAME_NAME, target_of
from tiffin.errors import RepositoryError, UnsupportedError
from tiffin.operations.repository import load_repository

SCRIPT = """
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, RequestSource
from feast import on_demand_feature_view as module
from feast.data_format import ParquetFormat
from feast.data_source import PushMode
from feast.errors import FeatureViewNotFoundException
from feast.feature_logging import LoggingConfig
from feast.feature_view import FeatureView as SameView
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.on_demand_feature_view import on_demand_feature_view
from feast.vector_store import FeastVectorStore
from feast.repo_config import RepoConfig
from feast.types import Array, Float32, Int64, PrimitiveFeastType, String
from feast.value_type import ValueType
import feast
import feast.types as types
import tiffin

assert feast.FeatureView is SameView is tiffin.FeatureView
assert types.Int64 is Int64
assert feast.__version__ == tiffin.__version__
assert PushMode.ONLINE_AND_OFFLINE.value == 3
source = FileSource(path="a.parquet", timestamp_field="ts")
view = FeatureView(name="v", source=source, schema=[Field(name="x", dtype=Int64)])


@module(sources=[view], schema=[Field(name="y", dtype=Int64)], mode="python")
def by_module(inputs):
    return {"y": inputs["x"]}


@on_demand_feature_view(sources=[view], schema=[Field(name="y", dtype=Int64)], mode="python")
def by_decorator(inputs):
    return {"y": inputs["x"]}


config = LoggingConfig(destination=FileLoggingDestination(path="data"))
service = FeatureService(name="s", features=[view[["x"]], by_module], logging_config=config)
assert not isinstance(view, FeastVectorStore)
try:
    FeastVectorStore("p")
except tiffin.TiffinError as error:
    print(error)
"""


@pytest.mark.parametrize("way", ["-m", "import"])
def test_a_script_runs_with_feast_as_its_import_name(way: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT if way == "-m" else f"import tiffin.compat.feast\n{SCRIPT}")
    command = [sys.executable, "-m", "tiffin.compat", str(script)] if way == "-m" else [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.startswith("feast.vector_store.FeastVectorStore is not supported yet")


def test_a_script_gets_its_arguments(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys, helper; print(sys.argv[1:], helper.X, __name__)")
    (tmp_path / "helper.py").write_text("from feast import Entity; X = Entity.__name__")
    command = [sys.executable, "-m", "tiffin.compat", str(script), "a", "-b"]
    assert subprocess.check_output(command, text=True).strip() == "['a', '-b'] Entity __main__"


def test_a_repository_is_loaded_with_feast_as_its_import_name(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(
        "from feast import Entity\nfrom feast.types import Int64\n\ne = Entity(name='e')"
    )
    assert [item.name for item in load_repository(tmp_path).objects] == ["e"]
    assert not [name for name in sys.modules if name.partition(".")[0] == "feast"]


def test_modules_of_a_real_feast_are_there_again_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "features.py").write_text("import feast\nname = feast.Entity(name='e')")
    real = type(sys)("feast")
    monkeypatch.setitem(sys.modules, "feast", real)
    load_repository(tmp_path)
    assert sys.modules["feast"] is real


def test_what_is_not_supported_is_refused_at_use_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(
        "from feast import FeatureViw, SparkSource\n\nclass A(SparkSource):\n    pass\n"
    )
    with pytest.raises(UnsupportedError, match=r"feast\.SparkSource is not supported yet"):
        load_repository(tmp_path)
    (tmp_path / "features.py").write_text("from feast import FeatureViw\n\nFeatureViw(name='v')\n")
    with pytest.raises(UnsupportedError, match=r"(?s)FeatureViw is not supported yet.*did you mean FeatureView"):
        load_repository(tmp_path)
    (tmp_path / "features.py").write_text("import feast\n\nfeast()\n")
    with pytest.raises(RepositoryError, match="cannot be called"):
        load_repository(tmp_path)


#: The paths by which code imports from Feast what tiffin has: path, module of tiffin's, names.
PATHS = """
feast.feature_store         tiffin              FeatureStore
feast.types                 tiffin.types        Invalid Bytes PdfBytes ImageBytes String Bool Int32 Int64 Float32
feast.types                 tiffin.types        Float64 UnixTimestamp Map Json Uuid TimeUuid Decimal ScalarMap
feast.types                 tiffin.types        Array Set Struct ZonedTimestamp ValueType from_value_type
feast.value_type            tiffin              ValueType
feast.entity                tiffin              Entity
feast.field                 tiffin              Field
feast.dqm.profilers.ge_profiler  tiffin.definitions  GEProfiler ge_profiler
feast.project               tiffin              Project
feast.feature_view          tiffin              FeatureView
feast.base_feature_view     tiffin              BaseFeatureView
feast.feature_service       tiffin              FeatureService
feast.on_demand_feature_view  tiffin            OnDemandFeatureView on_demand_feature_view
feast.batch_feature_view    tiffin              BatchFeatureView batch_feature_view
feast.stream_feature_view   tiffin              StreamFeatureView stream_feature_view
feast.labeling              tiffin              LabelView ConflictPolicy
feast.aggregation           tiffin              Aggregation
feast.data_source           tiffin              DataSource RequestSource PushSource KafkaSource KinesisSource PushMode
feast.data_format           tiffin              ParquetFormat AvroFormat JsonFormat ProtoFormat
feast.feature_logging       tiffin              LoggingConfig
feast.infra.offline_stores.file_source  tiffin.definitions  FileSource FileLoggingDestination SavedDatasetFileStorage
feast.infra.offline_stores.offline_store  tiffin.operations.retrieve  RetrievalJob
feast.saved_dataset         tiffin.definitions  SavedDataset ValidationReference
feast.online_response       tiffin.online.response  OnlineResponse
feast.repo_config           tiffin.config       RepoConfig RegistryConfig
feast.permissions.permission  tiffin.definitions.permission  Permission
feast.permissions.action    tiffin.definitions.permission  AuthzedAction READ WRITE CRUD ALL_ACTIONS
feast.permissions.policy    tiffin.definitions.permission  RoleBasedPolicy GroupBasedPolicy AllowAll
feast.permissions.policy    tiffin.definitions.permission  NamespaceBasedPolicy CombinedGroupNamespacePolicy
feast.permissions.user      tiffin.definitions.permission  User
feast.feast_object          tiffin.definitions.resources  ALL_RESOURCE_TYPES ALL_FEATURE_VIEW_TYPES
feast.type_map              tiffin.compat.bootstrap  python_type_to_feast_value_type
feast.driver_test_data      tiffin.compat.bootstrap  create_driver_hourly_stats_df
feast.file_utils            tiffin.compat.bootstrap  replace_str_in_file
"""

#: The same for what is called otherwise: path and name, module and name of tiffin's.
RENAMED = """
feast.types.FeastType                                   tiffin.types.FeatureType
feast.types.PrimitiveFeastType                          tiffin.types.PrimitiveType
feast.types.from_feast_to_pyarrow_type                  tiffin.types.arrow_type
feast.types.from_feast_type                             tiffin.types.value_type_of
feast.feature_view_projection.FeatureViewProjection     tiffin.definitions.Projection
feast.repo_config.load_repo_config                      tiffin.config.load_config
feast.dqm.errors.ValidationFailed                       tiffin.errors.ValidationError
feast.errors.FeastError                                 tiffin.TiffinError
"""

#: What code imports from Feast and tiffin does not have: path, names.
NOT_THERE = """
feast.permissions.auth_model  KubernetesAuthConfig
feast.permissions.client.http_auth_requests_wrapper  HttpSessionManager
feast.data_format           DeltaFormat
feast.table_format          IcebergFormat HudiFormat DeltaFormat
feast.credentials           ConnectionRef
feast.protos.feast.types.Value_pb2  Value RepeatedValue
feast.protos.feast.types.EntityKey_pb2  EntityKey
feast.protos.feast.serving.ServingService_pb2  GetOnlineFeaturesRequest
feast.protos.feast.serving.ServingService_pb2_grpc  ServingServiceStub
feast.protos.feast.serving  ServingService_pb2 ServingService_pb2_grpc
feast.infra.offline_stores.offline_store  OfflineStore
feast.infra.offline_stores.snowflake_source  SnowflakeSource
feast.infra.offline_stores.bigquery_source  BigQuerySource SavedDatasetBigQueryStorage
feast.infra.offline_stores.redshift_source  RedshiftSource
feast.infra.offline_stores.contrib.spark_offline_store.spark_source  SparkSource
feast.infra.offline_stores.contrib.ray_offline_store.ray_source  RaySource
feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source  PostgreSQLSource
feast.infra.offline_stores.contrib.trino_offline_store.trino_source  TrinoSource
feast.infra.offline_stores.contrib.mssql_offline_store.mssqlserver_source  MsSqlServerSource
feast.infra.offline_stores.contrib.clickhouse_offline_store.clickhouse_source  ClickhouseSource
feast.infra.offline_stores.contrib.couchbase_offline_store.couchbase_source  CouchbaseColumnarSource
feast.infra.data_sources.contrib.iceberg_catalog  IcebergSource
feast.infra.online_stores.online_store  OnlineStore
feast.infra.local           LocalProvider
feast.infra.compute_engines.base  ComputeEngine
feast.infra.common.retrieval_task  HistoricalRetrievalTask
feast.infra.common.materialization_job  MaterializationTask
feast.infra.registry.registry  Registry
feast.infra.contrib.stream_processor  ProcessorConfig get_stream_processor_object
feast.infra.contrib.spark_kafka_processor  SparkProcessorConfig
feast.transformation.base   transformation
feast.transformation.mode   TransformationMode
feast.feature_server        get_app
"""

#: The errors that clients catch.
ERRORS = """
FeatureViewNotFoundException FeatureServiceNotFoundException EntityNotFoundException DataSourceObjectNotFoundException
OnDemandFeatureViewNotFoundException ProjectNotFoundException ProjectObjectNotFoundException FeatureNameCollisionError
RequestDataNotFoundInEntityDfException RequestDataNotFoundInEntityRowsException FeastEntityDFMissingColumnsError
EntityTimestampInferenceException InvalidEntityType InvalidFeaturesParameterType PushSourceNotFoundException
RegistryInferenceFailure ConflictingFeatureViewNames SavedDatasetNotFound SavedDatasetLocationAlreadyExists
ValidationReferenceNotFound FeatureViewVersionNotFound FeatureViewPinConflict ConcurrentVersionConflict
VersionedOnlineReadNotSupported FeastModuleImportError FeastClassImportError FeastExtrasDependencyImportError
FeastPermissionError PermissionNotFoundException ReadOnlyRegistryException SpecifiedFeaturesNotPresentError
DataSourceNotFoundException FeastProviderNotImplementedError EntitySQLEmptyResults EntityDFNotDateTime
ZeroRowsQueryResult DataSourceRepeatNamesException
"""


def _table(text: str, fixed: int) -> list[tuple[str, ...]]:
    """The rows of a table: its first columns, and each of the names that follow them."""
    rows = [line.split() for line in text.strip().splitlines()]
    return [(*row[:fixed], name) for row in rows for name in row[fixed:]]


def _found(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize(("path", "module", "name"), _table(PATHS, 2))
def test_a_name_under_its_path_in_feast_is_that_of_tiffin(path: str, module: str, name: str) -> None:
    with feast_means_tiffin():
        assert _found(f"{path}.{name}") is _found(f"{module}.{name}")


@pytest.mark.parametrize(("path", "target"), _table(RENAMED, 1))
def test_what_is_called_otherwise_is_found_too(path: str, target: str) -> None:
    with feast_means_tiffin():
        assert _found(path) is _found(target)


@pytest.mark.parametrize(("path", "name"), _table(NOT_THERE, 1))
def test_what_is_not_there_can_be_imported_and_says_so_at_use(path: str, name: str) -> None:
    with feast_means_tiffin():
        found = _found(f"{path}.{name}")
        assert isinstance(found, Missing | FeastModule)
        with pytest.raises(UnsupportedError, match=rf"^{path}\.{name} is not supported yet"):
            found(name="x")


@pytest.mark.parametrize("name", ERRORS.split())
def test_an_error_of_feast_can_be_caught(name: str) -> None:
    with feast_means_tiffin():
        assert issubclass(_found(f"feast.errors.{name}"), Exception)


def test_an_error_that_nobody_raises_can_be_caught_too() -> None:
    with feast_means_tiffin():
        error = _found("feast.errors.RepoConfigPathDoesNotExist")
        assert issubclass(error, tiffin.TiffinError)
        assert _found("feast.errors.RepoConfigPathDoesNotExist") is error
        with pytest.raises(KeyError), contextlib.suppress(error):
            raise KeyError


def test_no_names_are_proposed_that_have_nothing_to_do_with_it() -> None:
    with pytest.raises(UnsupportedError) as refused:
        Missing("feast.permissions.auth_model.KubernetesAuthConfig")()
    assert refused.value.hint == ""


@pytest.mark.parametrize("path", sorted({path for path, *_ in _table(PATHS, 2)}))
def test_a_module_can_be_imported_from_its_package(path: str) -> None:
    with feast_means_tiffin():
        assert isinstance(_found(path), FeastModule)


@pytest.mark.parametrize(
    "use",
    [
        lambda name: name.DESCRIBE,
        lambda name: [*name],
        lambda name: operator.add(name, [1]),
        lambda name: operator.add([1], name),
        lambda name: types.new_class("Own", (name,)),
    ],
)
def test_every_use_of_what_is_not_there_is_refused(use: Callable[[Any], object]) -> None:
    with pytest.raises(UnsupportedError, match=r"feast\.x\.Y is not supported yet"):
        use(Missing("feast.x.Y"))


def test_what_is_not_there_may_stand_in_annotations_and_questions() -> None:
    missing: Any = Missing("feast.x.Y")
    assert missing | None == None | missing == int | missing
    assert not isinstance(1, missing)
    assert not issubclass(int, missing)


EXPORTED = """
Aggregation BatchFeatureView copy_demo_notebooks DataFrameEngine Entity KafkaSource KinesisSource FeastDataFrame Feature
Field FeatureService FeatureStore FeatureView FeatureViewState LabelView ConflictPolicy OnDemandFeatureView RepoConfig
StreamFeatureView ValueType BigQuerySource FileSource RedshiftSource SnowflakeSource PushSource RequestSource
AthenaSource OracleSource ChrononSource Project FeastVectorStore DocEmbedder SchemaTransformFn BaseChunker TextChunker
ChunkingConfig BaseEmbedder MultiModalEmbedder EmbeddingConfig EmbeddingProvider SentenceTransformersEmbeddingProvider
get_embedding_provider FilterTranslator
"""


def test_a_star_imports_what_it_does_from_feast(tmp_path: Path) -> None:
    with feast_means_tiffin():
        assert sorted(_found("feast.__all__")) == sorted(EXPORTED.split())
    (tmp_path / "features.py").write_text("from feast import *\n\ne = Entity(name='e')\n")
    assert [item.name for item in load_repository(tmp_path).objects] == ["e"]


@pytest.mark.parametrize("name", EXPORTED.split())
def test_everything_that_feast_exports_can_be_imported_from_tiffin(name: str) -> None:
    found = getattr(tiffin, name)
    assert (name in LATER) == isinstance(found, Missing)
    with feast_means_tiffin():
        assert name in LATER or _found(f"feast.{name}") is found
    if name in LATER:
        with pytest.raises(UnsupportedError, match=rf"tiffin\.{name} is not supported yet"):
            found(name="x")


def test_a_name_that_nobody_has_is_no_attribute() -> None:
    with pytest.raises(AttributeError):
        _ = tiffin.FeatureViw  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted({*SAME_NAME, *OTHER_NAME}))
def test_every_name_is_where_the_table_says(name: str) -> None:
    target = target_of(name)
    assert target is not None
    module = __import__(target[0], fromlist=["_"])
    assert hasattr(module, target[1])
