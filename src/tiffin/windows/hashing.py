"""A 64-bit hash of values that is the same in every process, on every machine and in both forms.

What estimates count distinct values by has to be a function of the value alone: of a whole number, a truth value or a
time its 64 bits, of a float those of its double, of text its UTF-8. Equal values are one: zero and minus zero, and
every NaN. The hash is part of what states mean, so that it never changes; tests hold it to fixed numbers.

A number is hashed as SplitMix64 generates the number of that place in its sequence, which loses nothing: different
numbers have different hashes. Text is cut into words of eight bytes; each is mixed with its place, and the mixed words
are added up and mixed with the length. A sum needs no loop over places, so that a whole column is hashed at once. It
is no protection against somebody who looks for texts of one hash.

Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014, with the constants of
variant 13 of D. Stafford, "Better bit mixing", 2011.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tiffin.windows.aggregate import as_floats, as_ints, canonical, canonical_floats
from tiffin.windows.ranges import Ranges

if TYPE_CHECKING:
    import pyarrow as pa

UInt64Array = NDArray[np.uint64]
#: One number, or an array of uint64.
Word = TypeVar("Word", int, NDArray[Any])

_MASK = (1 << 64) - 1
#: The golden ratio, and where the sequence begins: without the latter, zero would hash to zero.
_STEP, _START = 0x9E3779B97F4A7C15, 0x243F6A8885A308D3
_WORD_BYTES = 8
#: Values that are hashed at once, so that the steps in between stay in the processor's cache.
_BLOCK = 1 << 14


def mixed(number: Word) -> Word:
    """The hash of 64 bits; numbers with different bits have different hashes."""
    state = (number * _STEP + _START) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def hash_of(value: Any) -> int:
    """The hash of a value as aggregates take them.

    >>> hash_of(0.0) == hash_of(-0.0) != hash_of("")
    True
    """
    if isinstance(value, float):
        return mixed(int.from_bytes(struct.pack("<d", canonical(value)), "little"))
    if isinstance(value, int):
        return mixed(value & _MASK)
    data: bytes = value.encode() if isinstance(value, str) else value
    count = -(-len(data) // _WORD_BYTES)
    words = struct.unpack(f"<{count}Q", data.ljust(count * _WORD_BYTES, b"\0"))
    terms: list[int] = [mixed(word ^ _of_place(place)) for place, word in enumerate(words)]
    return mixed((len(data) + sum(terms)) & _MASK)


@lru_cache(maxsize=1 << 12)
def _of_place(place: int) -> int:
    return mixed(place)


def hashes_of(column: pa.Array) -> UInt64Array:
    """(n,) the hashes of a column of numbers, times, text or bytes, without nulls."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        hashes = _float_hashes
    elif pa.types.is_integer(column.type) or pa.types.is_boolean(column.type) or pa.types.is_timestamp(column.type):
        hashes = _int_hashes
    else:
        hashes = _text_hashes
    found = np.empty(len(column), np.uint64)
    for start in range(0, len(column), _BLOCK):
        found[start : start + _BLOCK] = hashes(column.slice(start, _BLOCK))
    return found


def row_hashes(columns: Sequence[pa.Array]) -> UInt64Array:
    """(n,) the hashes of rows, from (n,) columns of them without nulls; there is at least one."""
    found = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        found = mixed(found ^ hashes_of(column))
    return found


def _float_hashes(column: pa.Array) -> UInt64Array:
    return mixed(canonical_floats(as_floats(column)).view(np.uint64))


def _int_hashes(column: pa.Array) -> UInt64Array:
    return mixed(as_ints(column).view(np.uint64))


def _text_hashes(column: pa.Array) -> UInt64Array:
    import pyarrow as pa

    texts = column.cast(pa.large_binary())
    _, offsets_buffer, data = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    begin, size = int(offsets[0]), int(offsets[-1] - offsets[0])
    padded = np.zeros(size + _WORD_BYTES, np.uint8)
    if size:
        padded[:size] = np.frombuffer(data, np.uint8)[begin : begin + size]
    # The eight bytes from any place on.
    from_place = np.ndarray((size + 1,), "<u8", padded, strides=(1,))
    sizes = np.diff(offsets)
    counts = (sizes + _WORD_BYTES - 1) // _WORD_BYTES
    numbers, places = Ranges(np.zeros(len(texts), np.int64), counts).spread()
    words = from_place[offsets[numbers] - begin + places * _WORD_BYTES]
    beyond = np.maximum((places + 1) * _WORD_BYTES - sizes[numbers], 0).astype(np.uint64)
    words &= np.uint64(_MASK) >> (beyond * np.uint64(8))
    terms = mixed(words ^ mixed(places.view(np.uint64)))
    ends = np.cumsum(counts)
    return mixed((Ranges(ends - counts, ends).sums(terms.view(np.int64)) + sizes).view(np.uint64))
