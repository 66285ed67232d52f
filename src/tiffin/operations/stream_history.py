"""The messages of a stream on their way into the history of its views, in files of some size.

A file a batch would be a file every moment. So rows are held for a while, and the position of the group waits for
them: what a crash loses is delivered again. What is online does not wait.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.operations.history import source_rows
from tiffin.planning.stream import HistoryPlan

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

#: More is not held, in rows and in bytes.
_MOST_ROWS, _MOST_BYTES = 500_000, 128 << 20
_NONE = np.array([], np.int32)


class StreamHistory:
    """Holds rows of one stream, and appends them.

    Args:
        ctx: the opened project.
        plan: where they go, and what of a message they are.
        stream: tells the stream from all others.
    """

    def __init__(self, ctx: Context, plan: HistoryPlan, stream: str) -> None:
        self._ctx = ctx
        self._plan = plan
        self._stream = stream
        self._seconds = ctx.config.streams.history_seconds
        self._tables: list[pa.Table] = []
        self._partitions: list[NDArray[np.int32]] = []
        self._offsets: list[int] = []
        self._left_out: dict[int, list[int]] = {}
        self._bytes = 0
        self._since = 0.0

    def follow(self, plan: HistoryPlan) -> None:
        """Go by newer definitions; nothing is held."""
        self._plan = plan

    def rows(self, table: pa.Table) -> pa.Table:
        """Messages as rows of the history.

        Args:
            table: one row for each message, with the columns of the stream's plan.

        Raises:
            TypeMismatchError: a value that its column cannot hold; names row and column.
        """
        import pyarrow as pa

        columns = {column: table[path] for column, path in self._plan.paths.items()}
        return source_rows(self._plan.source, pa.table(columns), self._plan.types)

    def add(self, rows: pa.Table, partitions: NDArray[np.int32], offsets: Sequence[int | str]) -> None:
        """Hold rows.

        Args:
            rows: as ``rows`` gives them.
            partitions: (n,) the partition of each one's message.
            offsets: (n,) where it stands there.
        """
        if not self._tables:
            self._since = time.monotonic()
        self._tables.append(rows)
        self._partitions.append(partitions)
        self._offsets += map(int, offsets)
        self._bytes += rows.nbytes

    def leave_out(self, partition: int, offset: int | str) -> None:
        """Know of a message that gives no row."""
        self._left_out.setdefault(partition, []).append(int(offset))

    def is_due(self) -> bool:
        """Whether what is held should be appended now, so that the position can move; so too when nothing is held."""
        is_much = len(self._offsets) >= _MOST_ROWS or self._bytes >= _MOST_BYTES
        return is_much or not self._tables or time.monotonic() >= self._since + self._seconds

    def append(self, names: Mapping[int, str]) -> None:
        """Append what is held; it is held no more.

        Args:
            names: the partitions that are read now, with their names. Rows of others are dropped: whoever reads these
                gets the messages again.

        Raises:
            StoreError: the history cannot be written; what is held stays.
        """
        import pyarrow as pa

        table = pa.concat_tables(self._tables) if self._tables else None
        partitions, offsets = np.concatenate([_NONE, *self._partitions]), np.array(self._offsets)
        for number, name in names.items():
            places = np.flatnonzero(partitions == number)
            # A partition that went and came back may have brought some messages twice.
            wanted, first = np.unique(offsets[places], return_index=True)
            if table is not None and len(wanted):
                rows = table.take(pa.array(places[first]))
                left_out = sorted(set(self._left_out.get(number, ())).difference(wanted.tolist()))
                self._ctx.offline.append_messages(
                    self._plan.source, rows, self._stream, name, wanted.tolist(), left_out
                )
        self._tables, self._partitions, self._offsets, self._left_out, self._bytes = [], [], [], {}, 0
