"""Rows in one file that only grows: what is read is the greatest row of each key, whatever the order of the lines."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from tiffin.contracts.online import (
    OnlineCapabilities,
    OnlineLocation,
    OnlineStore,
    ReadRequest,
    SwapBatch,
    Swapped,
    TableInfo,
    WriteBatch,
    WriteResult,
)
from tiffin.errors import StoreError


@dataclass(frozen=True)
class LedgerOptions:
    """Options: the file."""

    path: str = "online.ledger"


@dataclass
class _State:
    """What the lines of the file add up to."""

    tables: dict[str, dict[bytes, bytes]]
    cursors: dict[str, bytes]


class LedgerOnlineStore(OnlineStore):
    """A line a change; every call reads the whole file under a lock, so it is slow and right."""

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="ledger",
        durable=True,
        multi_process=True,
        native_async=False,
        compared_by="whoever reads",
        read_by="the whole file",
    )

    options_type: ClassVar[type] = LedgerOptions

    def __init__(self, options: LedgerOptions, location: OnlineLocation) -> None:
        self._path = os.path.join(location.base_path, options.path)

    @contextmanager
    def _locked(self) -> Iterator[tuple[_State, list[list[str]]]]:
        """The state of the file, and a list for the lines to add to it."""
        with open(self._path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            # A writer that was killed may have left a part of a line.
            file.truncate(len(whole))
            state = _State({}, {})
            for line in whole.splitlines():
                _apply(state, json.loads(line))
            lines: list[list[str]] = []
            yield state, lines
            if lines:
                file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())

    def _rows(self, state: _State, table: str) -> dict[bytes, bytes]:
        if table not in state.tables:
            raise StoreError(f"online store ledger has no table {table!r}", hint="run `tiffin apply` to create it")
        return state.tables[table]

    def ensure(self, tables: Sequence[str]) -> None:
        with self._locked() as (state, lines):
            lines += [["table", table] for table in tables if table not in state.tables]

    def drop(self, tables: Sequence[str]) -> None:
        with self._locked() as (_, lines):
            lines += [["drop", table] for table in tables]

    def tables(self, prefix: str = "") -> list[TableInfo]:
        with self._locked() as (state, _):
            return [
                TableInfo(name, len(rows)) for name, rows in sorted(state.tables.items()) if name.startswith(prefix)
            ]

    def write(self, batch: WriteBatch) -> WriteResult:
        newest = batch.newest()
        with self._locked() as (state, lines):
            held = self._rows(state, batch.table)
            newer = [(k, r) for k, r in zip(newest.keys, newest.rows, strict=True) if k not in held or r > held[k]]
            lines += [["row", batch.table, key.hex(), row.hex()] for key, row in newer]
        return WriteResult(len(newer), len(batch.rows) - len(newer))

    def swap(self, batch: SwapBatch) -> list[bool]:
        with self._locked() as (state, lines):
            held = self._rows(state, batch.table)
            found = [
                Swapped.of(held.get(k), e, r) for k, e, r in zip(batch.keys, batch.expected, batch.rows, strict=True)
            ]
            lines += [
                ["row", batch.table, key.hex(), row.hex()]
                for key, row, each in zip(batch.keys, batch.rows, found, strict=True)
                if each is Swapped.NOW
            ]
        return [each is not Swapped.REFUSED for each in found]

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        with self._locked() as (state, _):
            return [[self._rows(state, each.table).get(key) for key in each.keys] for each in requests]

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        with self._locked() as (state, _):
            pairs = sorted(self._rows(state, table).items())
        for start in range(0, len(pairs), page_rows):
            yield pairs[start : start + page_rows]

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        with self._locked() as (state, lines):
            there = [key for key in dict.fromkeys(keys) if key in self._rows(state, table)]
            lines += [["delete", table, key.hex()] for key in there]
        return len(there)

    def get_cursor(self, table: str) -> bytes | None:
        with self._locked() as (state, _):
            return state.cursors.get(table)

    def put_cursor(self, table: str, cursor: bytes) -> None:
        with self._locked() as (_, lines):
            lines.append(["cursor", table, cursor.hex()])


def _apply(state: _State, line: list[str]) -> None:
    kind, table, *rest = line
    if kind == "table":
        state.tables.setdefault(table, {})
    elif kind == "drop":
        state.tables.pop(table, None)
        state.cursors.pop(table, None)
    elif kind == "cursor":
        state.cursors[table] = bytes.fromhex(rest[0])
    elif kind == "delete":
        state.tables[table].pop(bytes.fromhex(rest[0]), None)
    else:
        state.tables[table][bytes.fromhex(rest[0])] = bytes.fromhex(rest[1])
