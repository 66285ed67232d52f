from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytest.importorskip("lmdb", reason="lmdb is not installed; pip install 'tiffin[lmdb]' provides it")

from tiffin.backends.lmdb.online import LmdbOnlineStore
from tiffin.contracts.online import OnlineLocation, ReadRequest, WriteBatch
from tiffin.errors import ConfigError, StoreError, StoreFullError
from tiffin.testing.online import TABLE, OnlineStoreSuite, key, read, row


class TestLmdb(OnlineStoreSuite):
    backend = LmdbOnlineStore

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        return {"path": str(tmp_path / "online.lmdb")}


def opened(path: Path, **options: object) -> LmdbOnlineStore:
    return LmdbOnlineStore.from_config({"path": str(path), **options}, OnlineLocation("p", "/nowhere"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbOnlineStore]:
    store = opened(tmp_path / "online.lmdb")
    store.ensure([TABLE])
    yield store
    store.close()


@pytest.mark.parametrize("options", [{"pth": "x"}, {"path": 3}, {"map_size_gb": 0.0}, {"max_readers": 0}])
def test_wrong_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        LmdbOnlineStore.from_config(options, OnlineLocation("p"))


def test_relative_path_belongs_to_the_repository(tmp_path: Path) -> None:
    store = LmdbOnlineStore.from_config({"path": "data/o.lmdb"}, OnlineLocation("p", str(tmp_path)))
    store.ensure([TABLE])
    store.close()
    assert (tmp_path / "data" / "o.lmdb" / "data.mdb").exists()


def test_keys_of_any_length_are_their_own(store: LmdbOnlineStore) -> None:
    keys = [bytes([n % 7]) * length for n, length in enumerate([*range(5), *range(490, 520), 5000])]
    store.write(WriteBatch(TABLE, keys, [row(n) for n in range(len(keys))]))
    store.write(WriteBatch(TABLE, keys, [row(0)] * len(keys)))
    assert store.read([ReadRequest(TABLE, keys)]) == [[row(n) for n in range(len(keys))]]
    assert dict(store.scan_all(TABLE)) == {k: row(n) for n, k in enumerate(keys)}
    assert store.delete(TABLE, keys) == len(keys)
    assert list(store.scan_all(TABLE)) == []


def test_full_map_loses_nothing_and_running_again_converges(tmp_path: Path) -> None:
    small = opened(tmp_path / "online.lmdb", map_size_gb=0.002)
    small.ensure([TABLE])
    first = WriteBatch(TABLE, [key(n) for n in range(50)], [row(1, bytes(1000))] * 50)
    large = WriteBatch(TABLE, [key(n) for n in range(5000)], [row(2, bytes(1000))] * 5000)
    small.write(first)
    with pytest.raises(StoreFullError, match="map_size_gb") as caught:
        small.write(large)
    assert "running again converges" in caught.value.hint
    assert dict(small.scan_all(TABLE)) == dict(zip(first.keys, first.rows, strict=True))
    small.close()
    larger = opened(tmp_path / "online.lmdb")
    assert larger.write(large).written == 5000
    larger.close()


def test_folder_that_is_no_lmdb_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"this is not a database " * 1000)
    with pytest.raises(StoreError, match="move it away"):
        opened(tmp_path).ensure([TABLE])


def test_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="could not be opened"):
        opened(tmp_path / "file").ensure([TABLE])


def test_table_made_anew_while_it_is_dropped_stays(
    store: LmdbOnlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    other = opened(tmp_path / "online.lmdb")
    drop_some = LmdbOnlineStore._drop_some

    def made_anew(self: LmdbOnlineStore, number: bytes) -> bool:
        if self is store:
            other.drop([TABLE])
            other.ensure([TABLE])
            other.write(WriteBatch(TABLE, [key(2)], [row(2)]))
        return drop_some(self, number)

    monkeypatch.setattr(LmdbOnlineStore, "_drop_some", made_anew)
    store.drop([TABLE])
    assert dict(store.scan_all(TABLE)) == {key(2): row(2)}
    other.close()


def test_map_that_another_process_let_grow_says_what_to_do(tmp_path: Path) -> None:
    small = opened(tmp_path / "online.lmdb", map_size_gb=0.002)
    small.ensure([TABLE])
    code = (
        "from tiffin.backends.lmdb.online import LmdbOnlineStore as S\n"
        "from tiffin.contracts.online import OnlineLocation as L, WriteBatch as W\n"
        f"s = S.from_config({{'path': {str(tmp_path / 'online.lmdb')!r}}}, L('p'))\n"
        f"s.write(W({TABLE!r}, [b'k%d' % n for n in range(9000)], [b'r' * 1000] * 9000))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(StoreError, match="same map_size_gb"):
        small.read([ReadRequest(TABLE, [key(1)])])
    small.close()
    again = opened(tmp_path / "online.lmdb")
    assert again.read([ReadRequest(TABLE, [b"k1"])]) == [[b"r" * 1000]]
    again.close()


def test_second_store_with_other_options_is_refused(store: LmdbOnlineStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="other options"):
        opened(tmp_path / "online.lmdb", map_size_gb=1.0).ensure([TABLE])


def test_reader_that_was_killed_does_not_make_the_file_grow(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from tiffin.backends.lmdb.online import LmdbOnlineStore as S\n"
        "from tiffin.contracts.online import OnlineLocation as L\n"
        f"s = S.from_config({{'path': {str(tmp_path / 'online.lmdb')!r}}}, L('p'))\n"
        f"s.ensure([{TABLE!r}])\n"
        "t = s._environment.begin(); t.get(b'x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert size_after_rewrites(tmp_path / "online.lmdb") <= size_after_rewrites(tmp_path / "undisturbed.lmdb")


def size_after_rewrites(folder: Path) -> int:
    """How many pages of a folder are in use after all rows were written over and over."""
    store = opened(folder)
    store.ensure([TABLE])
    keys = [key(n) for n in range(1000)]
    for stamp in range(12):
        store.write(WriteBatch(TABLE, keys, [row(stamp, bytes(1000))] * 1000))
    last_page: int = store._environment.info()["last_pgno"]
    store.close()
    return last_page


def test_folder_that_may_only_be_read_is_an_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="permissions"):
        opened(tmp_path / "online.lmdb").ensure([TABLE])


def test_two_stores_of_one_process_share_a_folder(store: LmdbOnlineStore, tmp_path: Path) -> None:
    other = opened(tmp_path / "online.lmdb")
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    assert read(other, key(1)) == row(1)
    other.close()
    assert read(store, key(1)) == row(1)


def test_table_dropped_by_another_process_is_not_read_from_memory(store: LmdbOnlineStore, tmp_path: Path) -> None:
    store.write(WriteBatch(TABLE, [key(n) for n in range(1000)], [row(1)] * 1000))
    code = (
        "from tiffin.backends.lmdb.online import LmdbOnlineStore as S\n"
        "from tiffin.contracts.online import OnlineLocation as L\n"
        f"s = S.from_config({{'path': {str(tmp_path / 'online.lmdb')!r}}}, L('p'))\n"
        f"s.drop([{TABLE!r}]); s.ensure(['q.1', {TABLE!r}])\n"
    )
    store.ensure(["q.1"])
    store.write(WriteBatch("q.1", [key(1)], [row(5)]))
    subprocess.run([sys.executable, "-c", code], check=True)
    assert read(store, key(1)) is None
    assert store.read([ReadRequest("q.1", [key(1)])]) == [[row(5)]]
    assert [info.rows for info in store.tables()] == [1, 0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_opens_the_folder_itself(store: LmdbOnlineStore) -> None:
    store.write(WriteBatch(TABLE, [key(1)], [row(1)]))
    child = os.fork()
    if child == 0:
        store.write(WriteBatch(TABLE, [key(2)], [row(2)]))
        os._exit(0 if read(store, key(1)) == row(1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(store, key(2)) == row(2)
