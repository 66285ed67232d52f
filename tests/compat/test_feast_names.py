"""Code that was written for Feast finds what it needs in tiffin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tiffin
from tiffin.compat.finder import Missing
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
from feast.permissions.permission import Permission
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
assert not isinstance(view, Permission)
try:
    Permission(name="p")
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
    assert done.stdout.startswith("feast.permissions.permission.Permission is not supported yet")


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


EXPORTED = """
Aggregation BatchFeatureView copy_demo_notebooks DataFrameEngine Entity KafkaSource KinesisSource FeastDataFrame Feature
Field FeatureService FeatureStore FeatureView FeatureViewState LabelView ConflictPolicy OnDemandFeatureView RepoConfig
StreamFeatureView ValueType BigQuerySource FileSource RedshiftSource SnowflakeSource PushSource RequestSource
AthenaSource OracleSource ChrononSource Project FeastVectorStore DocEmbedder SchemaTransformFn BaseChunker TextChunker
ChunkingConfig BaseEmbedder MultiModalEmbedder EmbeddingConfig EmbeddingProvider SentenceTransformersEmbeddingProvider
get_embedding_provider FilterTranslator
"""


@pytest.mark.parametrize("name", EXPORTED.split())
def test_everything_that_feast_exports_can_be_imported_from_tiffin(name: str) -> None:
    found = getattr(tiffin, name)
    assert (name in LATER) == isinstance(found, Missing)
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
