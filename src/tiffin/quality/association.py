"""How strongly a column goes together with a label: 0 not at all, 1 so that one tells the other.

By ranks, so that no scale and no outlier matters:

- numbers and a label of two classes: Somers' D, which is ``|2 AUC - 1|`` with the area under the ROC curve from the
  Mann-Whitney statistic (Somers 1962; Hanley and McNeil 1982);
- numbers and a label of numbers: the absolute value of Spearman's rank correlation;
- texts and a label of classes: Cramer's V with the correction for small tables (Bergsma 2013), without which a column
  of many different texts would always seem to tell everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tiffin.columns import single_chunk, valid_mask

if TYPE_CHECKING:
    import pyarrow as pa

#: A label of numbers with at most so many different values is one of classes.
_MOST_CLASSES = 20


def association(values: pa.ChunkedArray, label: pa.ChunkedArray) -> float | None:
    """How strongly the values that are there go together with a label.

    Args:
        values: (n,) numbers, booleans or texts, with nulls.
        label: (n,) numbers, booleans or texts, with nulls.

    Returns:
        From 0 to 1; ``None`` where nothing can be said: other types, or too few values, or only one.
    """
    there = valid_mask(values) & valid_mask(label)
    numbers, classes = _as_numbers(values), _as_classes(label)
    if numbers is not None:
        there &= ~np.isnan(numbers)
        numbers = numbers[there]
        if classes is not None:
            return _somers_d(numbers, classes[there])
        other = _as_numbers(label)
        return None if other is None else _spearman(numbers, other[there])
    codes = _codes(values)
    if codes is None or classes is None:
        return None
    return _cramers_v(codes[there], classes[there])


def presence(values: pa.ChunkedArray, label: pa.ChunkedArray) -> float | None:
    """How strongly a label goes together with whether there is a value at all; ``None`` where nothing can be said."""
    classes = _as_classes(label)
    there = valid_mask(label)
    present = valid_mask(values).astype(np.float64)[there]
    if classes is not None:
        return _somers_d(present, classes[there])
    numbers = _as_numbers(label)
    return None if numbers is None else _spearman(numbers[there], present)


def _somers_d(numbers: NDArray[np.float64], classes: NDArray[np.int64]) -> float | None:
    """The largest over the classes, each against all others."""
    found, counts = np.unique(classes, return_counts=True)
    if len(found) < 2 or not len(numbers) or (numbers == numbers[0]).all():
        return None
    ranks = _ranks(numbers)
    chosen = found[:1] if len(found) == 2 else found
    sums = np.array([ranks[classes == each].sum() for each in chosen])
    inside = counts[: len(chosen)].astype(np.float64)
    outside = len(numbers) - inside
    areas = (sums - inside * (inside + 1) / 2) / (inside * outside)
    return float(np.abs(2 * areas - 1).max())


def _spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    if len(one) < 3:
        return None
    a, b = _ranks(one), _ranks(other)
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return abs(float(a @ b)) / spread if spread else None


def _cramers_v(codes: NDArray[np.int64], classes: NDArray[np.int64]) -> float | None:
    _, rows = np.unique(codes, return_inverse=True)
    _, columns = np.unique(classes, return_inverse=True)
    if len(rows) < 2:
        return None
    height, width, count = int(rows.max()) + 1, int(columns.max()) + 1, len(rows)
    if min(height, width) < 2:
        return None
    pairs, seen = np.unique(rows * width + columns, return_counts=True)
    of_row, of_column = np.bincount(rows, minlength=height), np.bincount(columns, minlength=width)
    expected = of_row[pairs // width] * of_column[pairs % width] / count
    phi2 = float((seen * (seen / expected)).sum() / count - 1)
    phi2 = max(0.0, phi2 - (height - 1) * (width - 1) / (count - 1))
    smaller = min(height - (height - 1) ** 2 / (count - 1), width - (width - 1) ** 2 / (count - 1))
    return min(1.0, float(np.sqrt(phi2 / (smaller - 1)))) if smaller > 1 else None


def _ranks(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1 on; equal numbers share the mean of theirs."""
    _, codes, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found: NDArray[np.float64] = (ends - (counts - 1) / 2)[codes]
    return found


def _as_numbers(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """(n,) numbers and booleans as floats, NaN where null; ``None`` for other types."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    found: NDArray[np.float64] = single_chunk(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _as_classes(column: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """(n,) the classes of a label by number; ``None`` for a label of numbers."""
    numbers = _as_numbers(column)
    if numbers is None:
        return _codes(column)
    different, codes = np.unique(np.nan_to_num(numbers), return_inverse=True)
    return codes.astype(np.int64) if len(different) <= _MOST_CLASSES else None


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """(n,) texts by number; ``None`` for other types."""
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    codes = single_chunk(column).dictionary_encode().indices
    found: NDArray[np.int64] = codes.fill_null(-1).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found
