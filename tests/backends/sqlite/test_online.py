from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tiffin.backends.sqlite.online import SqliteOnlineStore
from tiffin.backends.sqlite.tables import BLOBS, quote
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import ConfigError, StoreError, StoreFullError, StoreUnavailableError
from tiffin.testing.online import TABLE, OnlineStoreSuite, key, read, row


class TestSqlite(OnlineStoreSuite):
    backend = SqliteOnlineStore

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        return {"path": str(tmp_path / "online.db")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "online.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteOnlineStore]:
    store = opened(path)
    store.ensure([TABLE])
    yield store
    store.close()


def opened(path: Path, **options: object) -> SqliteOnlineStore:
    return SqliteOnlineStore.from_config({"path": str(path), **options}, OnlineLocation("p", "/nowhere"))


def test_relative_path_belongs_to_the_repository(tmp_path: Path) -> None:
    store = SqliteOnlineStore.from_config({"path": "data/o.db"}, OnlineLocation("p", str(tmp_path)))
    store.ensure([TABLE])
    store.close()
    assert (tmp_path / "data" / "o.db").exists()


@pytest.mark.parametrize("options", [{"pth": "x"}, {"path": 3}, {"busy_timeout_seconds": "long"}])
def test_wrong_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SqliteOnlineStore.from_config(options, OnlineLocation("p"))


def test_locked_file_is_unavailable_and_retryable(store: SqliteOnlineStore, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    hasty = opened(path, busy_timeout_seconds=0.05)
    with pytest.raises(StoreUnavailableError, match="locked") as caught:
        hasty.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert caught.value.retryable
    other.execute("ROLLBACK")
    other.close()
    assert hasty.write(WriteBatch(TABLE, [key(1)], [row(1)])).written == 1
    hasty.close()


def test_reader_does_not_wait_for_a_writer(store: SqliteOnlineStore, path: Path) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute(f"UPDATE {quote(TABLE, BLOBS)} SET row = ?", (row(2),))
    assert read(store, key(1)) == row(1)
    other.execute("COMMIT")
    other.close()
    assert read(store, key(1)) == row(2)


def test_full_disk_loses_nothing_and_running_again_converges(store: SqliteOnlineStore) -> None:
    first = WriteBatch(TABLE, [key(n) for n in range(50)], [row(1, bytes(1000))] * 50)
    large = WriteBatch(TABLE, [key(n) for n in range(5000)], [row(2, bytes(1000))] * 5000)
    store.write(first)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(StoreFullError, match="full") as caught:
        store.write(large)
    assert "running again converges" in caught.value.hint
    assert dict(store.scan_all(TABLE)) == dict(zip(first.keys, first.rows, strict=True))
    store._connection.execute("PRAGMA max_page_count = 1073741823")
    assert store.write(large).written == 5000
    assert dict(store.scan_all(TABLE)) == dict(zip(large.keys, large.rows, strict=True))


def test_file_that_is_no_database_is_an_error_that_says_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database " * 100)
    with pytest.raises(StoreError, match="damaged"):
        opened(path).ensure([TABLE])
    assert path.read_bytes().startswith(b"this is not")


def test_damaged_page_is_an_error_that_says_what_to_do(store: SqliteOnlineStore, path: Path) -> None:
    store.write(WriteBatch(TABLE, [key(n) for n in range(2000)], [row(1, bytes(500))] * 2000))
    store.close()
    content = bytearray(path.read_bytes())
    content[40_000:200_000] = b"\xff" * 160_000
    path.write_bytes(content)
    damaged = opened(path)
    with pytest.raises(StoreError, match="damaged"):
        damaged.read([ReadRequest(TABLE, [key(n) for n in range(2000)])])
    damaged.close()


@pytest.mark.parametrize(("layout", "words"), [(0, "older tiffin"), (2, "newer tiffin")])
def test_file_of_another_layout_is_refused(path: Path, layout: int, words: str) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute(f'CREATE TABLE "{TABLE}" (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID')
    other.execute(f"PRAGMA user_version = {layout}")
    other.commit()
    store = opened(path)
    with pytest.raises(StoreError, match=f"layout {layout}") as caught:
        store.read([ReadRequest(TABLE, [key(1)])])
    assert words in caught.value.hint
    with pytest.raises(StoreError, match=f"layout {layout}"):
        store.ensure([TABLE])
    other.close()


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="could not be opened"):
        opened(tmp_path / "file" / "online.db").ensure([TABLE])


def test_reading_before_anything_was_applied_says_what_to_do(path: Path) -> None:
    store = opened(path)
    with pytest.raises(StoreError, match="tiffin apply"):
        store.read([ReadRequest(TABLE, [key(1)])])
    assert store.get_cursor(TABLE) is None
    assert store.tables() == []
    store.close()


def test_connection_of_a_finished_thread_is_closed(store: SqliteOnlineStore) -> None:
    thread = threading.Thread(target=lambda: store.read([ReadRequest(TABLE, [key(1)])]))
    thread.start()
    thread.join()
    assert len(store._handles) == 1


def test_store_opens_again_after_it_was_closed(store: SqliteOnlineStore) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    store.close()
    assert read(store, key(1)) == row(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_uses_a_connection_of_its_own(store: SqliteOnlineStore) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    child = os.fork()
    if child == 0:
        ours = store._local.handle
        found = read(store, key(1))
        os._exit(0 if found == row(1) and store._local.handle is not ours else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(store, key(1)) == row(1)
