"""Answers while the online store does not answer, when the user allows them: labelled, never in silence."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tiffin.contracts.online import (
    ExtendBatch,
    OnlineStore,
    ReadRequest,
    SwapBatch,
    TableInfo,
    WriteBatch,
    WriteResult,
)
from tiffin.errors import StoreUnavailableError

if TYPE_CHECKING:
    from tiffin.contracts.online import OnlineCapabilities

Rows = list[list[bytes | None]]
_used: ContextVar[list[str] | None] = ContextVar("fallback_used", default=None)


@contextmanager
def watch_fallback() -> Iterator[list[str]]:
    """Within, reads may fall back; the list then has the label of what they fell back to. Elsewhere they fail."""
    labels: list[str] = []
    token = _used.set(labels)
    try:
        yield labels
    finally:
        _used.reset(token)


class FallbackStore(OnlineStore):
    """Stands before an online store. Rows that it answers with are old or none, and are judged by age like all others.

    Args:
        inner: the store behind.
        mode: ``stale`` for the rows that were seen last, ``default`` for none.
        most_rows: how many rows are kept for ``stale``; those that were asked for longest ago go first.
    """

    def __init__(self, inner: OnlineStore, mode: str, most_rows: int) -> None:
        self.inner = inner
        self._mode = mode
        self._most_rows = most_rows
        self._seen: OrderedDict[tuple[str, bytes], bytes | None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> OnlineCapabilities:  # type: ignore[override]
        """Those of the store behind."""
        return self.inner.capabilities

    def read(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store, or instead of it."""
        try:
            found = self.inner.read(requests)
        except StoreUnavailableError as error:
            return self._instead(requests, error)
        return self._remembered(requests, found)

    def read_latest(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store; what is kept is never made from a fallback."""
        return self.inner.read_latest(requests)

    async def read_async(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store, or instead of it."""
        try:
            found = await self.inner.read_async(requests)
        except StoreUnavailableError as error:
            return self._instead(requests, error)
        return self._remembered(requests, found)

    def _remembered(self, requests: Sequence[ReadRequest], found: Rows) -> Rows:
        if self._mode == "stale":
            with self._lock:
                for request, rows in zip(requests, found, strict=True):
                    for key, row in zip(request.keys, rows, strict=True):
                        self._seen[request.table, key] = row
                        self._seen.move_to_end((request.table, key))
                while len(self._seen) > self._most_rows:
                    self._seen.popitem(last=False)
        return found

    def _instead(self, requests: Sequence[ReadRequest], error: StoreUnavailableError) -> Rows:
        labels = _used.get()
        if labels is None:
            raise error
        labels.append(self._mode)
        with self._lock:
            return [[self._seen.get((request.table, key)) for key in request.keys] for request in requests]

    def ensure(self, tables: Sequence[str]) -> None:
        """As the store."""
        self.inner.ensure(tables)

    def drop(self, tables: Sequence[str]) -> None:
        """As the store."""
        self.inner.drop(tables)

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """As the store."""
        return self.inner.tables(prefix)

    def write(self, batch: WriteBatch) -> WriteResult:
        """As the store."""
        return self.inner.write(batch)

    def swap(self, batch: SwapBatch) -> list[bool]:
        """As the store."""
        return self.inner.swap(batch)

    def extend(self, batch: ExtendBatch) -> list[bool]:
        """As the store."""
        return self.inner.extend(batch)

    async def write_async(self, batch: WriteBatch) -> WriteResult:
        """As the store."""
        return await self.inner.write_async(batch)

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """As the store."""
        return self.inner.scan(table, page_rows=page_rows)

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """As the store."""
        return self.inner.delete(table, keys)

    def get_cursor(self, table: str) -> bytes | None:
        """As the store."""
        return self.inner.get_cursor(table)

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """As the store."""
        self.inner.put_cursor(table, cursor)

    def close(self) -> None:
        """As the store."""
        self.inner.close()

    async def close_async(self) -> None:
        """As the store."""
        await self.inner.close_async()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
