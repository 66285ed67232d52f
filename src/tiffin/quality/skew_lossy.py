"""Whether a value is what another one becomes when it is rounded, cut off or cast to a smaller type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import arrow_column, numpy_values, valid_mask
from tiffin.equality import BoolArray, all_of_each, list_lengths, same_values
from tiffin.time import DAY_US, HOUR_US, MINUTE_US, SECOND_US

if TYPE_CHECKING:
    import pyarrow as pa

#: Digits behind the point that people round to.
_DIGITS = range(10)
#: Parts of a time that are cut off.
_TIME_STEPS = (1_000, SECOND_US, MINUTE_US, HOUR_US, DAY_US)


def is_lossy(served: pa.Array, exact: pa.Array) -> BoolArray:
    """(n,) whether a served value is a loss of the exact one; never where they are the same or one is null.

    Args:
        served: what may have been rounded; of another type than ``exact`` when it cannot be kept in that one.
        exact: the full values.
    """
    import pyarrow as pa

    there = valid_mask(served) & valid_mask(exact)
    if served.type != exact.type:
        return there & _is_cast(served, exact)
    found = there & _is_loss(served, exact)
    return found if pa.types.is_nested(served.type) else found & ~same_values(served, exact)


def _is_cast(served: pa.Array, exact: pa.Array) -> BoolArray:
    """Whether the exact values come out as served when they are cast without a check."""
    import pyarrow as pa

    try:
        return same_values(exact.cast(served.type, safe=False), served)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.zeros(len(served), np.bool_)


def _is_loss(served: pa.Array, exact: pa.Array) -> BoolArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    type_ = served.type
    if pa.types.is_floating(type_):
        kind = np.dtype(f"f{type_.bit_width // 8}")
        return _is_rounded(numpy_values(served, kind), numpy_values(exact, kind))
    if pa.types.is_integer(type_):
        kind = np.dtype(f"i{type_.bit_width // 8}")
        return _is_narrowed(numpy_values(served, kind), numpy_values(exact, kind))
    if pa.types.is_timestamp(type_):
        one, other = numpy_values(served), numpy_values(exact)
        return _is_any(one == other - other % step for step in _TIME_STEPS)
    if pa.types.is_decimal(type_):
        rounded = (pc.round(exact, digits).cast(type_) for digits in _DIGITS)
        return _is_any(same_values(each, served) for each in rounded)
    if pa.types.is_string(type_) or pa.types.is_binary(type_):
        return _is_cut_off(served, exact)
    if pa.types.is_list(type_):
        return _is_lossy_list(served, exact)
    return np.zeros(len(served), np.bool_)


def _is_any(masks: Iterable[BoolArray]) -> BoolArray:
    return np.asarray(np.logical_or.reduce(list(masks)))


def _is_rounded(served: NDArray[Any], exact: NDArray[Any]) -> BoolArray:
    with np.errstate(all="ignore"):
        casts = [exact.astype(kind).astype(exact.dtype) for kind in (np.float32, np.float16)]
        rounded = [np.round(exact, digits) for digits in _DIGITS]
        return _is_any(served == each for each in (*casts, np.trunc(exact), *rounded))


def _is_narrowed(served: NDArray[Any], exact: NDArray[Any]) -> BoolArray:
    with np.errstate(all="ignore"):
        floats = [exact.astype(kind).astype(exact.dtype) for kind in (np.float64, np.float32)]
        narrower = [exact.astype(kind).astype(exact.dtype) for kind in (np.int32, np.int16, np.int8)]
        return _is_any(served == each for each in (*floats, *narrower))


def _is_cut_off(served: pa.Array, exact: pa.Array) -> BoolArray:
    pairs = zip(served.to_pylist(), exact.to_pylist(), strict=True)
    return np.array([bool(one) and other is not None and other.startswith(one) for one, other in pairs], np.bool_)


def _is_lossy_list(served: pa.Array, exact: pa.Array) -> BoolArray:
    """Lists of the same length whose values are the same or a loss, some of them a loss."""
    here, there = list_lengths(served), list_lengths(exact)
    found: BoolArray = (here == there) & (here > 0)
    rows = arrow_column(np.flatnonzero(found).astype(np.int64))
    one, other = (each.take(rows).flatten() for each in (served, exact))
    same = same_values(one, other)
    lengths = here[found]
    found[found] = all_of_each(same | is_lossy(one, other), lengths) & ~all_of_each(same, lengths)
    return found
