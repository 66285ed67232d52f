"""An online store that stands before another one: the base of those that add something to reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

if TYPE_CHECKING:
    from tiffin.contracts.online import OnlineCapabilities

Rows = list[list[bytes | None]]


class ForwardingStore(OnlineStore):
    """Hands everything on to the store behind, extensions that only that store has included.

    Args:
        inner: the store behind.
    """

    def __init__(self, inner: OnlineStore) -> None:
        self.inner = inner

    @property
    def capabilities(self) -> OnlineCapabilities:  # type: ignore[override]
        """Those of the store behind."""
        return self.inner.capabilities

    def read(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store."""
        return self.inner.read(requests)

    def read_latest(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store."""
        return self.inner.read_latest(requests)

    async def read_async(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store."""
        return await self.inner.read_async(requests)

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
