"""Rows of Spark's source for Kafka as messages. It runs on the executors and knows nothing of Spark but the columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tiffin.contracts.stream import Messages
from tiffin.contracts.stream_engine import Task

if TYPE_CHECKING:
    import pyarrow as pa

#: What is taken of each message; Spark's documentation of the source has them all.
COLUMNS = ("partition", "offset", "timestamp", "key", "value", "headers")
#: What comes back of a task.
RESULT = "result binary"


def worked_off(task: Task, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Let a task work off the rows of a partition, and give its result as a row."""
    import pyarrow as pa

    result = task(map(messages_of, batches))
    yield pa.record_batch({"result": pa.array([result], pa.binary())})


def messages_of(batch: pa.RecordBatch) -> Messages:
    """Rows with ``COLUMNS`` as messages."""
    import pyarrow as pa

    headers = batch.column("headers")
    return Messages(
        batch.column("value").to_pylist(),
        batch.column("partition").to_numpy(zero_copy_only=False),
        batch.column("offset").to_pylist(),
        batch.column("key").to_pylist,
        batch.column("timestamp").cast(pa.int64()).to_pylist,
        lambda: [[(one["key"], one["value"]) for one in some or ()] for some in headers.to_pylist()],
    )
