"""Many short byte strings as one Arrow array: put together by Arrow, cut up into ``bytes`` once, at the end.

Joining parts of rows in Arrow costs tens of nanoseconds per row; joining them as Python objects, hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def fixed_blobs(block: NDArray[Any]) -> pa.LargeBinaryArray:
    """The elements of a packed one-dimensional array as byte strings of equal length."""
    width = block.dtype.itemsize
    return blobs_at(block, np.arange(len(block) + 1, dtype=np.int64) * width)


def blobs_at(data: NDArray[Any], offsets: NDArray[np.int64]) -> pa.LargeBinaryArray:
    """Byte strings that lie one after the other in memory.

    Args:
        data: the memory.
        offsets: (n + 1,) where each string begins, and where the last one ends.
    """
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def text_blobs(column: pa.Array) -> pa.LargeBinaryArray:
    """Text or bytes as byte strings, empty where null."""
    import pyarrow as pa

    blobs = column.cast(pa.binary()).cast(pa.large_binary())
    return blobs.fill_null(b"") if blobs.null_count else blobs


def join_blobs(parts: Sequence[pa.LargeBinaryArray]) -> pa.LargeBinaryArray:
    """String ``i`` of every part, one after the other; the parts have no nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(parts) == 1:
        return parts[0]
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))


def lengths(blobs: pa.LargeBinaryArray) -> NDArray[np.int64]:
    """(n,) how long each string is."""
    return np.diff(_offsets(blobs))


def cut(blobs: pa.LargeBinaryArray) -> list[bytes]:
    """The strings as Python objects."""
    if len(blobs) == 0:
        return []
    offsets = _offsets(blobs)
    start, end = int(offsets[0]), int(offsets[-1])
    data = blobs.buffers()[2]
    content = b"" if data is None else data.slice(start, end - start).to_pybytes()
    return [content[a:b] for a, b in pairwise((offsets - start).tolist())]


def cut_evenly(block: NDArray[Any]) -> list[bytes]:
    """The elements of a packed one-dimensional array as Python objects."""
    content, width = block.tobytes(), block.dtype.itemsize
    return [content[at : at + width] for at in range(0, len(content), width)]


def _offsets(blobs: pa.LargeBinaryArray) -> NDArray[np.int64]:
    buffer = blobs.buffers()[1]
    if buffer is None:
        return np.zeros(1, np.int64)
    return np.frombuffer(buffer, np.int64)[blobs.offset : blobs.offset + len(blobs) + 1]
