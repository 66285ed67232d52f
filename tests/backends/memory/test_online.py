from __future__ import annotations

from pathlib import Path

import pytest

from tiffin.backends.memory.online import MemoryOnlineStore
from tiffin.contracts.online import OnlineLocation, WriteBatch
from tiffin.errors import ConfigError
from tiffin.testing.online import TABLE, OnlineStoreSuite, key, read, row


class TestMemory(OnlineStoreSuite):
    backend = MemoryOnlineStore


def opened(project: str, folder: Path, **options: object) -> MemoryOnlineStore:
    store = MemoryOnlineStore.from_config(options, OnlineLocation(project, str(folder)))
    store.ensure([TABLE])
    return store


def test_stores_of_one_repository_share_their_rows(tmp_path: Path) -> None:
    opened("p", tmp_path).write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert read(opened("p", tmp_path), key(1)) == row(1)
    assert read(opened("p", tmp_path / "elsewhere"), key(1)) is None
    assert read(opened("q", tmp_path), key(1)) is None


def test_stores_of_one_name_share_their_rows(tmp_path: Path) -> None:
    name = str(tmp_path)
    opened("p", tmp_path / "a", name=name).write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert read(opened("p", tmp_path / "b", name=name), key(1)) == row(1)
    assert read(opened("q", tmp_path / "b", name=name), key(1)) is None


def test_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="nmae"):
        MemoryOnlineStore.from_config({"nmae": "x"}, OnlineLocation("p"))
