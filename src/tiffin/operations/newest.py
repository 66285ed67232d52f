"""The newest event time of each online table, kept in the online store beside the tables.

Nobody can scan hundreds of tables to learn how fresh they are, and when a job ended says nothing about what it found.
So whoever writes facts also writes, once they are durable, a stamp: the event time of the newest of them. Stamps are
rows of a table of their own, whose keys are the names of tables; the store keeps the greatest, as it does with all rows
(WR-1), so any number of writers may do it. A writer stamps a table once a second at most, and not at all when all that
it has is older: what a push costs does not grow.

The invariant: a stamp is never newer than what was written. After a crash it may be older, by what the writer wrote in
its last second, until the next newer fact is written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tiffin.contracts.online import ReadRequest, WriteBatch
from tiffin.errors import StoreError, StoreUnavailableError
from tiffin.online.rows import event_us, stamp
from tiffin.time import MIN_US

if TYPE_CHECKING:
    from tiffin.contracts.online import OnlineStore
    from tiffin.definitions import FeatureView
    from tiffin.operations.context import Context
    from tiffin.registry.snapshot import Snapshot

log = logging.getLogger("tiffin.online")

#: How often one table is stamped by one process, at most.
_EVERY_SECONDS = 1.0


def stamps_table(project: str) -> str:
    """The table of a project's stamps. No view's table is called so: a project's name begins with a letter or digit."""
    return f"@newest.{project}"


class NewestTimes:
    """The stamps of one project as one process writes and reads them; many threads may share it.

    Args:
        ctx: the opened project; its online store is looked up at each use, because it may be exchanged.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.table = stamps_table(ctx.project)
        self._lock = threading.Lock()
        self._newest: dict[str, int] = {}
        self._stamped: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._is_ensured = False

    def note(self, table: str, newest_us: int) -> None:
        """Facts up to an event time are durable in a table; ``MIN_US`` or less when there are none.

        A stamp that cannot be written is logged, and waits.
        """
        with self._lock:
            # What is as new as before is stamped again: the store may have been emptied meanwhile.
            if newest_us <= MIN_US or newest_us < self._newest.get(table, MIN_US):
                return
            self._newest[table] = newest_us
            self._waiting.add(table)
            is_due = time.monotonic() - self._stamped.get(table, -_EVERY_SECONDS) >= _EVERY_SECONDS
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Write the stamps that wait, all in one batch."""
        with self._lock:
            if not self._waiting:
                return
            tables, self._waiting = sorted(self._waiting), set()
            rows = [stamp(self._newest[table]) for table in tables]
            now = time.monotonic()
            self._stamped.update(dict.fromkeys(tables, now))
        try:
            self._ensured().write(WriteBatch(self.table, [table.encode() for table in tables], rows))
        except StoreError as error:
            log.warning("the newest times of %d table(s) could not be kept: %s", len(tables), error.message)
            with self._lock:
                self._waiting.update(tables)
                self._is_ensured = False

    def read(self, tables: Sequence[str]) -> dict[str, int]:
        """The newest event time of each of some tables, in one read; those that nothing was written to are left out.

        Raises:
            StoreUnavailableError: the store cannot be reached.
        """
        self.flush()
        if not tables:
            return {}
        try:
            found = self._ctx.online.read([ReadRequest(self.table, [table.encode() for table in tables])])[0]
        except StoreUnavailableError:
            raise
        except StoreError:
            # Nothing was ever stamped, so there is no such table; whoever reads may have no right to create it.
            return {}
        return {table: event_us(row) for table, row in zip(tables, found, strict=True) if row is not None}

    def drop(self) -> None:
        """Remove all stamps of the project."""
        with self._lock:
            self._newest.clear()
            self._stamped.clear()
            self._waiting.clear()
            self._is_ensured = False
        self._ctx.online.drop([self.table])

    def _ensured(self) -> OnlineStore:
        online = self._ctx.online
        if not self._is_ensured:
            online.ensure([self.table])
            self._is_ensured = True
        return online


def online_newest(ctx: Context, snapshot: Snapshot, views: Iterable[FeatureView]) -> dict[str, int]:
    """The newest event time that was written online, by view, in one read; views without one are left out.

    Raises:
        StoreUnavailableError: the store cannot be reached.
    """
    if ctx.config.online_store is None:
        return {}
    tables = {snapshot.storage(view.name).table: view.name for view in views if view.online}
    return {tables[table]: us for table, us in ctx.newest.read(list(tables)).items()}
