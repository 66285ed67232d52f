"""Where facts go that are not as expected: a Parquet file for each load or push, with the reason beside each fact."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import single_chunk, valid_mask
from tiffin.errors import StoreError
from tiffin.operations.facts import EVENT_COLUMN, KNOWN_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.operations.context import Context

T = TypeVar("T")
#: For the numbers of some rows, the partitions and the offsets of the messages that they came as.
Places = Callable[[NDArray[np.int64]], tuple[Sequence[str], Sequence[str]]]

_KEPT = "quarantine"
#: The columns that stand beside those of a fact: its times, when it was put here, and why.
_TIMES = {EVENT_COLUMN: "__event_timestamp", KNOWN_COLUMN: "__created_timestamp"}
_AT, _REASONS = "__quarantined_at", "__reasons"
#: Where the message stands that a fact came as; null where it came otherwise.
_PARTITION, _OFFSET = "__partition", "__offset"
#: What tells that two facts came as the same message.
_PLACE = (_PARTITION, _OFFSET, *_TIMES.values())


class Quarantine:
    """The facts of one load or push of a view that are put apart; without any, there is no file.

    Nothing is seen by readers before ``close``, so that what fails as a whole leaves nothing here either.
    """

    def __init__(self, ctx: Context, view: str) -> None:
        self._ctx, self._view = ctx, view
        self._waiting: list[Any] = []
        self._file: tuple[IO[bytes], Any] | None = None

    def add(
        self,
        batch: Any,
        good: NDArray[np.bool_],
        reasons: Sequence[tuple[NDArray[np.bool_], str]],
        places: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> None:
        """Put the facts of a batch apart that are not good.

        Args:
            batch: n facts.
            good: (n,) which of them are.
            reasons: (n,) for which of them a reason holds, and the reason.
            places: of those that are not good, the partitions and the offsets of their messages, where they came so.
        """
        import pyarrow as pa

        rows = np.flatnonzero(~good)
        part = batch.take(pa.array(rows))
        columns = {name: single_chunk(part.column(name)) for name in part.schema.names if name not in _TIMES}
        moment = pa.timestamp("us", "UTC")
        columns |= {new: single_chunk(part.column(old)).cast(moment) for old, new in _TIMES.items()}
        columns[_AT] = pa.array(np.full(len(rows), self._ctx.now_us()), moment)
        columns[_REASONS] = pa.array(
            [[reason for bad, reason in reasons if bad[row]] for row in rows.tolist()], pa.list_(pa.string())
        )
        nowhere = [None] * len(rows)
        for name, found in zip((_PARTITION, _OFFSET), places or (nowhere, nowhere), strict=True):
            columns[name] = pa.array(found, pa.string())
        self._waiting.append(pa.table(columns))

    def write(self) -> None:
        """Write what waits, into a file that is not there for readers yet.

        Raises:
            StoreError: it cannot be written.
        """
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        try:
            if self._file is None:
                folder = quality_folder(self._ctx, _KEPT, self._view)
                folder.mkdir(parents=True, exist_ok=True)
                file = (folder / f".{self._ctx.now_us()}-{uuid4().hex}.parquet").open("wb")
                self._file = file, pq.ParquetWriter(file, self._waiting[0].schema)
            for table in self._waiting:
                self._file[1].write_table(table)
            self._waiting.clear()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Write what waits, have it on the disk, and let readers see it.

        Raises:
            StoreError: it cannot be written.
        """
        self.write()
        if self._file is None:
            return
        file, writer = self._file
        path = Path(file.name)
        try:
            with file:
                writer.close()
                file.flush()
                os.fsync(file.fileno())
            path.rename(path.with_name(path.name.removeprefix(".")))
        except OSError as error:
            raise self._failed(error) from error
        self._file = None

    def discard(self) -> None:
        """Forget what readers do not see yet, if there is any."""
        self._waiting.clear()
        if self._file is not None:
            file, writer = self._file
            self._file = None
            with file:
                writer.close()
            Path(file.name).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> StoreError:
        folder = quality_folder(self._ctx, _KEPT, self._view)
        return StoreError(
            f"the quarantine {folder} cannot be written: {error}",
            subject=str(folder),
            hint="check the folder and the free space, or set quality.folder",
        )


def quality_folder(ctx: Context, what: str, view: str) -> Path:
    """The folder of one view, of what is kept about the quality of views; no two views have the same one.

    Args:
        ctx: the opened project.
        what: is kept there, such as ``profiles``.
        view: its name.
    """
    return ctx.config.quality_path / what / quote(view, safe="").replace(".", "%2E")


def read_quarantine(ctx: Context, view: str) -> pa.Table:
    """All facts of a view that were put apart; an empty table without columns where there are none.

    A message that was delivered again, after a crash or because the stream was read again, is there once.

    Raises:
        StoreError: a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    ctx.snapshot().view(view)
    tables = [_read(path, pq.read_table) for path in _files(ctx, view)]
    return _once(pa.concat_tables(tables, promote_options="permissive")) if tables else pa.table({})


def count_quarantined(ctx: Context, view: str, since_us: int) -> int:
    """How many facts of a view were put apart since a moment, a message that was delivered again once.

    Raises:
        StoreError: a file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def place(path: Path) -> pa.Table:
        with pq.ParquetFile(path) as file:
            return file.read([name for name in file.schema_arrow.names if name in _PLACE])

    tables = [_read(path, place) for at_us, path in quarantine_files(ctx, view) if at_us >= since_us]
    return _once(pa.concat_tables(tables, promote_options="permissive")).num_rows if tables else 0


def quarantine_files(ctx: Context, view: str) -> list[tuple[int, Path]]:
    """When facts of a view were put apart, and the file that has them; the oldest first."""
    # A file is called by its moment.
    return sorted((int(path.name.partition("-")[0]), path) for path in _files(ctx, view))


def count_in(path: Path) -> int:
    """How many facts one of the files has; its end says it.

    Raises:
        StoreError: it cannot be read.
    """
    import pyarrow.parquet as pq

    count: int = _read(path, pq.read_metadata).num_rows
    return count


def _once(table: pa.Table) -> pa.Table:
    """Facts without those that came as a message which is there already."""
    import pyarrow as pa

    if _OFFSET not in table.column_names:
        return table
    numbers = np.arange(table.num_rows)
    # A topic that was made anew counts from 0 again; its messages have other times. What is no message stays.
    own = np.where(valid_mask(table[_OFFSET]), -1, numbers)
    places = table.select(list(_PLACE)).append_column("own", pa.array(own)).append_column("row", pa.array(numbers))
    first = places.group_by([*_PLACE, "own"]).aggregate([("row", "min")])["row_min"]
    return table.take(pa.array(np.sort(first.to_numpy())))


def _files(ctx: Context, view: str) -> list[Path]:
    return sorted(quality_folder(ctx, _KEPT, view).glob("[!.]*.parquet"))


def _read(path: Path, read: Callable[[Path], T]) -> T:
    import pyarrow as pa

    try:
        return read(path)
    except (OSError, pa.ArrowException) as error:
        hint = "remove the file, or bring it back"
        raise StoreError(f"{path} cannot be read: {error}", subject=str(path), hint=hint) from error
