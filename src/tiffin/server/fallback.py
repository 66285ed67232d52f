"""Answers while the online store does not answer, when the user allows them: labelled, never in silence."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from tiffin.contracts.online import OnlineStore, ReadRequest
from tiffin.errors import StoreUnavailableError
from tiffin.server.forwarding import ForwardingStore, Rows

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


class FallbackStore(ForwardingStore):
    """Stands before an online store. Rows that it answers with are old or none, and are judged by age like all others.

    Args:
        inner: the store behind.
        mode: ``stale`` for the rows that were seen last, ``default`` for none.
        most_rows: how many rows are kept for ``stale``; those that were asked for longest ago go first.
    """

    def __init__(self, inner: OnlineStore, mode: str, most_rows: int) -> None:
        super().__init__(inner)
        self._mode = mode
        self._most_rows = most_rows
        self._seen: OrderedDict[tuple[str, bytes], bytes | None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def stands_in(self) -> bool:
        """Whether what is read here comes from something else than the store by now, since a read found none."""
        return bool(_used.get())

    def read(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store, or instead of it; what was begun without the store ends without it, and waits for it once."""
        if self.stands_in:
            return self._known(requests)
        try:
            found = self.inner.read(requests)
        except StoreUnavailableError as error:
            return self._instead(requests, error)
        return self._remembered(requests, found)

    async def read_async(self, requests: Sequence[ReadRequest]) -> Rows:
        """Like ``read``."""
        if self.stands_in:
            return self._known(requests)
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
        return self._known(requests)

    def _known(self, requests: Sequence[ReadRequest]) -> Rows:
        with self._lock:
            return [[self._seen.get((request.table, key)) for key in request.keys] for request in requests]
