from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tiffin.backends.sql.registry import SqlRegistryStore
from tiffin.backends.sqlite.online import SqliteOnlineStore
from tiffin.backends.sqlite.tables import BLOBS, CREATE_CURSORS, quote
from tiffin.config import RegistryConfig
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.definitions import Entity
from tiffin.errors import ConfigError, StoreError, StoreFullError, StoreUnavailableError
from tiffin.registry.snapshot import Snapshot, entry_of
from tiffin.testing.online import TABLE, OnlineStoreSuite, key, read, row
from tiffin.types import ValueType


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


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
@pytest.mark.parametrize(("layout", "words"), [(0, "older tiffin"), (2, "newer tiffin")])
def test_file_of_another_layout_is_refused_and_left_as_it_is(path: Path, layout: int, words: str, journal: str) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA journal_mode = {journal}").fetchall()
        other.execute(f'CREATE TABLE "{TABLE}" (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID')
        other.execute(CREATE_CURSORS)
        other.execute(f"PRAGMA user_version = {layout}")
        other.commit()
    before = path.read_bytes()
    store = opened(path)
    calls: list[Callable[[], object]] = [
        lambda: store.read([ReadRequest(TABLE, [key(1)])]),
        lambda: store.ensure([TABLE]),
        lambda: store.write(WriteBatch(TABLE, [key(1)], [row(1)])),
        lambda: store.put_cursor(TABLE, b"c"),
        lambda: store.drop([TABLE]),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=f"layout {layout}") as caught:
            call()
        assert words in caught.value.hint
        assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_version_that_another_program_keeps_in_its_file_is_not_overwritten(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photos (id INTEGER)")
        other.execute("PRAGMA user_version = 7")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="layout 7") as caught:
        opened(path).ensure([TABLE])
    assert "another program" in caught.value.hint
    assert path.read_bytes() == before


def test_registry_and_online_store_share_a_file(path: Path) -> None:
    def registry() -> SqlRegistryStore:
        return SqlRegistryStore.from_config(RegistryConfig(path=str(path)), "/nowhere")

    path.parent.mkdir()
    driver = Entity(name="driver", value_type=ValueType.INT64)
    registry().commit(Snapshot("p", 1, (entry_of(driver),)), 0, created_us=1, author="", message="")
    store = opened(path)
    assert store.tables() == []
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    registry().commit(Snapshot("p", 2, (entry_of(driver),)), 1, created_us=2, author="", message="")
    assert [commit.version for commit in registry().history("p")] == [2, 1]
    store.close()
    assert read(store, key(1)) == row(1)
    assert [info.table for info in store.tables()] == [TABLE]
    store.drop([TABLE])
    store.close()
    assert registry().load("p").entities == {"driver": driver}


def test_tables_of_feast_in_the_same_file_are_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as feast:
        feast.execute(
            "CREATE TABLE IF NOT EXISTS p_driver_stats (entity_key BLOB, feature_name TEXT, value BLOB, "
            "vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY(entity_key, feature_name))"
        )
        feast.execute("CREATE INDEX p_driver_stats_ek ON p_driver_stats (entity_key)")
        feast.execute("INSERT INTO p_driver_stats VALUES (x'01', 'trips', x'02', NULL, '2024-06-01', '2024-06-01')")
        feast.commit()
        content = list(feast.iterdump())
    store = opened(path)
    store.ensure([TABLE])
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert read(store, key(1)) == row(1)
    assert [info.table for info in store.tables()] == [TABLE]
    store.drop([TABLE])
    assert store.tables() == []
    store.close()
    with closing(sqlite3.connect(path)) as feast:
        assert [line for line in feast.iterdump() if "tiffin_cursors" not in line] == content


def test_new_file_gets_pages_of_its_size_and_a_log(store: SqliteOnlineStore) -> None:
    found = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "journal_mode")]
    assert found == [8_192, "wal"]


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
