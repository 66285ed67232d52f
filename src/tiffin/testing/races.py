"""Races of writers against an online store: a part of the conformance suite (``tiffin.testing.online``).

Each row carries its key, its stamp and a checksum of itself, so that a reader can tell a torn row, a row of another key
and a step back in time by looking at what it got, without knowing what the writers have done so far.
"""

# ruff: noqa: D102 - the name of a test says what it says

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import zlib
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tiffin.contracts.online import OnlineLocation, OnlineStore, ReadRequest, SwapBatch, WriteBatch

TABLE = "suite.races.1"
_KEYS = 50
_ROWS_PER_BATCH = 100
_SECONDS = 1_000
_COUNTERS, _MARK_BYTES = 5, 16
#: By how many stamps a fact may come late or early.
_LATENESS = 8


class OnlineStoreRaces:
    """What stays true while many processes write the same keys at once."""

    backend: ClassVar[type[OnlineStore]]
    writers: ClassVar[int]
    #: Rows that each writer writes, in ``make test`` and in the deep run.
    raced_rows: ClassVar[int] = 2_000
    deep_raced_rows: ClassVar[int] = 125_000
    #: Additions that each writer makes.
    raced_additions: ClassVar[int] = 400
    deep_raced_additions: ClassVar[int] = 20_000

    def options(self, tmp_path: Path) -> Mapping[str, object]:
        raise NotImplementedError

    def test_raced_writers_never_put_old_over_new_nor_tear_a_row(self, tmp_path: Path) -> None:
        self._race(tmp_path, self.raced_rows)

    @pytest.mark.deep
    def test_many_raced_writers_never_put_old_over_new_nor_tear_a_row(self, tmp_path: Path) -> None:
        self._race(tmp_path, self.deep_raced_rows)

    def test_writer_that_was_stopped_puts_nothing_old_over_new_when_it_goes_on(self, tmp_path: Path) -> None:
        self._need_processes()
        store = self._store(tmp_path)
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        writer = spawn.Process(target=_write_on_command, args=(*self._where(tmp_path), theirs))
        writer.start()
        ours.send(1)
        assert ours.recv() == "written"
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGSTOP)
        keys = [_key(number) for number in range(_KEYS)]
        store.write(WriteBatch(TABLE, keys, [race_row(number, 1_000) for number in range(_KEYS)]))
        ours.send(2)
        os.kill(writer.pid, signal.SIGCONT)
        assert ours.recv() == "written"
        ours.send(None)
        writer.join()
        assert writer.exitcode == 0
        assert store.read([ReadRequest(TABLE, keys)]) == [[race_row(number, 1_000) for number in range(_KEYS)]]
        store.close()

    def test_no_addition_of_raced_writers_is_lost_or_made_twice(self, tmp_path: Path) -> None:
        self._add(tmp_path, self.raced_additions)

    @pytest.mark.deep
    def test_none_of_many_additions_is_lost_or_made_twice(self, tmp_path: Path) -> None:
        self._add(tmp_path, self.deep_raced_additions)

    def _add(self, tmp_path: Path, additions: int) -> None:
        self._need_processes()
        store = self._store(tmp_path)
        spawn = multiprocessing.get_context("spawn")
        barrier = spawn.Barrier(self.writers)
        writers = [
            _Teller(spawn, _add_up, *self._where(tmp_path), barrier, additions, seed) for seed in range(self.writers)
        ]
        try:
            refused = _told(writers, writers)
        finally:
            for each in writers:
                each.process.kill()
        counted = [int.from_bytes(row[_MARK_BYTES:], "big") for _, row in store.scan_all(TABLE)]
        assert sum(counted) == additions * self.writers
        assert sum(refused) > 0, "nobody was in anybody's way"
        store.close()

    def _race(self, tmp_path: Path, rows: int) -> None:
        self._need_processes()
        store = self._store(tmp_path)
        spawn = multiprocessing.get_context("spawn")
        barrier, done = spawn.Barrier(self.writers + 1), spawn.Event()
        where = self._where(tmp_path)
        watcher = _Teller(spawn, _watch, *where, barrier, done)
        writers = [_Teller(spawn, _write_race, *where, barrier, rows, seed) for seed in range(self.writers)]
        try:
            written = _told([watcher, *writers], writers)
            done.set()
            looked, wrong = _told([watcher], [watcher])[0]
        finally:
            for each in [watcher, *writers]:
                each.process.kill()
        assert not wrong
        assert looked > 0
        # Every key rises from its first stamp to its last one, and most of the deliveries come late or twice.
        assert sum(written) >= _KEYS * len(_stamps(rows)) / (2 * _LATENESS)
        newest = {_key(number): race_row(number, max(_stamps(rows))) for number in range(_KEYS)}
        assert dict(store.scan_all(TABLE)) == newest
        store.close()

    def _need_processes(self) -> None:
        if not self.backend.capabilities.multi_process:
            pytest.skip("this store belongs to one process")

    def _store(self, tmp_path: Path) -> OnlineStore:
        store = _open(*self._where(tmp_path))
        store.ensure([TABLE])
        return store

    def _where(self, tmp_path: Path) -> tuple[type[OnlineStore], dict[str, object], str]:
        return self.backend, dict(self.options(tmp_path)), str(tmp_path)


class _Teller:
    """A process that tells one thing when it is done."""

    def __init__(self, spawn: Any, target: Any, *args: object) -> None:
        self.tells, theirs = spawn.Pipe(duplex=False)
        self.process: BaseProcess = spawn.Process(target=target, args=(*args, theirs))
        self.process.start()
        # With the process goes the last one who could write, so that nobody waits for a word of the dead.
        theirs.close()


def _told(alive: Sequence[_Teller], asked: Sequence[_Teller]) -> list[Any]:
    """What some processes tell; fails at once when one of those that should be alive is not."""
    told: dict[_Teller, Any] = {}
    until = time.monotonic() + _SECONDS
    while len(told) < len(asked):
        waiting = [each for each in alive if each not in told]
        ready = wait([each.tells for each in waiting], until - time.monotonic())
        assert ready, f"nobody told anything for {_SECONDS} s"
        for each in waiting:
            if each.tells in ready:
                try:
                    told[each] = each.tells.recv()
                except EOFError:
                    each.process.join()
                    pytest.fail(f"a process died with exit code {each.process.exitcode}")
                assert each in asked, f"the watcher ended early: {told[each]}"
    return [told[each] for each in asked]


def race_row(number: int, stamp: int) -> bytes:
    """A row that says of itself whether it is whole: stamp, key, a body of a size of its own, checksum."""
    body = stamp.to_bytes(8, "big") + number.to_bytes(4, "big") + bytes([stamp % 251]) * (20 + stamp % 97)
    return body + zlib.crc32(body).to_bytes(4, "big")


def fault_of(number: int, row: bytes | None, seen: int) -> str:
    """What is wrong with what was read for a key, after a row with the stamp ``seen``; nothing when it is right.

    ``seen`` is -1 before the first row.
    """
    if row is None:
        return "" if seen < 0 else f"key {number}: no row after {seen}"
    if zlib.crc32(row[:-4]).to_bytes(4, "big") != row[-4:]:
        return f"key {number}: a torn row"
    if int.from_bytes(row[8:12], "big") != number:
        return f"key {number}: the row of key {int.from_bytes(row[8:12], 'big')}"
    stamp = int.from_bytes(row[:8], "big")
    return f"key {number}: {stamp} after {seen}" if stamp < seen else ""


def _key(number: int) -> bytes:
    return b"race%04d" % number


def _stamps(rows: int) -> range:
    """The stamps of the facts of each key; every writer writes all of them."""
    return range(max(rows // _KEYS, 1))


def _open(backend: type[OnlineStore], options: Mapping[str, object], base_path: str) -> OnlineStore:
    return backend.from_config(options, OnlineLocation("suite", base_path))


def _write_race(
    backend: type[OnlineStore],
    options: Mapping[str, object],
    base_path: str,
    barrier: Barrier,
    rows: int,
    seed: int,
    tell: Connection,
) -> None:
    """Write every fact about in order, some of them late, a tenth of them twice; tell how many became the newest.

    Were they shuffled altogether, the newest would stand after a few batches, and nothing would be raced for.
    """
    chance = random.Random(seed)
    facts = [(number, stamp) for stamp in _stamps(rows) for number in range(_KEYS)]
    facts += chance.sample(facts, len(facts) // 10)
    facts.sort(key=lambda fact: fact[1] + chance.uniform(0, _LATENESS))
    written = 0
    store = _open(backend, options, base_path)
    barrier.wait(_SECONDS)
    for start in range(0, len(facts), _ROWS_PER_BATCH):
        part = facts[start : start + _ROWS_PER_BATCH]
        keys = [_key(number) for number, _ in part]
        written += store.write(WriteBatch(TABLE, keys, [race_row(*fact) for fact in part])).written
    store.close()
    tell.send(written)


def _add_up(
    backend: type[OnlineStore],
    options: Mapping[str, object],
    base_path: str,
    barrier: Barrier,
    additions: int,
    seed: int,
    tell: Connection,
) -> None:
    """Add to counters, several at a time, by reading and swapping until all is added; tell how often it was refused."""
    chance = random.Random(seed)
    store = _open(backend, options, base_path)
    left = [chance.randrange(_COUNTERS) for _ in range(additions)]
    refused = 0
    barrier.wait(_SECONDS)
    while left:
        keys = [_key(number) for number in sorted(set(left[:_COUNTERS]))]
        held = [row or b"" for row in store.read([ReadRequest(TABLE, keys)])[0]]
        rows = [
            chance.randbytes(_MARK_BYTES) + (int.from_bytes(row[_MARK_BYTES:], "big") + 1).to_bytes(8, "big")
            for row in held
        ]
        done = store.swap(SwapBatch(TABLE, keys, [row[:_MARK_BYTES] for row in held], rows))
        for key, is_done in zip(keys, done, strict=True):
            if is_done:
                left.remove(int(key[4:]))
            refused += not is_done
    store.close()
    tell.send(refused)


def _watch(
    backend: type[OnlineStore],
    options: Mapping[str, object],
    base_path: str,
    barrier: Barrier,
    done: Event,
    tell: Connection,
) -> None:
    """Read all keys over and over; tell how often rows were there, and what was wrong."""
    store = _open(backend, options, base_path)
    keys, seen, wrong, looked = [_key(number) for number in range(_KEYS)], [-1] * _KEYS, set[str](), 0
    barrier.wait(_SECONDS)
    while not done.is_set() and len(wrong) < 10:
        rows = store.read([ReadRequest(TABLE, keys)])[0]
        for number, row in enumerate(rows):
            fault = fault_of(number, row, seen[number])
            wrong |= {fault} if fault else set()
            if row is not None:
                seen[number] = max(seen[number], int.from_bytes(row[:8], "big"))
        looked += any(row is not None for row in rows)
    store.close()
    tell.send((looked, sorted(wrong)))


def _write_on_command(
    backend: type[OnlineStore], options: Mapping[str, object], base_path: str, commands: Connection
) -> None:
    """Write all keys with a stamp that is received, and say so."""
    store = _open(backend, options, base_path)
    command: Any
    while (command := commands.recv()) is not None:
        keys = [_key(number) for number in range(_KEYS)]
        store.write(WriteBatch(TABLE, keys, [race_row(number, command) for number in range(_KEYS)]))
        commands.send("written")
    store.close()
