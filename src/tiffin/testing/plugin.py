"""For pytest: the fixture ``features``, a ``FeatureTest`` of the feature repository that a test belongs to.

The repository is the nearest folder above the test that has a ``feature_store.yaml``, or ``--feature-repo``. It is
imported once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiffin.config import RepoConfig
    from tiffin.operations.repository import Repository
    from tiffin.testing.features import FeatureTest

_FILE = "feature_store.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--feature-repo``."""
    group = parser.getgroup("tiffin")
    group.addoption("--feature-repo", metavar="FOLDER", help="the feature repository whose features are tested")


@pytest.fixture
def features(request: pytest.FixtureRequest) -> Iterator[FeatureTest]:
    """The features of the repository, over facts that the test gives."""
    from tiffin.testing.features import FeatureTest

    given = request.config.getoption("--feature-repo")
    repository, config = _load(Path(given).resolve() if given else _folder_of(request.path))
    with FeatureTest(repository.objects, config) as test:
        yield test


def _folder_of(path: Path) -> Path:
    for folder in path.parents:
        for found in (folder, folder / "feature_repo"):
            if (found / _FILE).is_file():
                return found
    raise pytest.UsageError(f"no folder above {path} has a {_FILE}; pass --feature-repo FOLDER")


@cache
def _load(folder: Path) -> tuple[Repository, RepoConfig]:
    from tiffin.config import load_config
    from tiffin.operations.repository import load_repository

    return load_repository(folder), load_config(folder)
