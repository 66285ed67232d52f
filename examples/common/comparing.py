"""Online values held to those of a training set, cell by cell, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Comparison:
    """Online cells against training-set cells.

    Attributes:
        cells: pairs compared.
        nulls: pairs that are null on both sides.
        mismatches: pairs that differ in any bit, or of which one is null.
        examples: up to five of these, in words.
    """

    cells: int
    nulls: int
    mismatches: int
    examples: tuple[str, ...]


def compare(expected: pa.Table, answer: pa.Table, features: Sequence[str]) -> Comparison:
    """Hold online values to the training set's, the types of the columns included."""
    nulls = mismatches = 0
    examples: list[str] = []
    for name in features:
        wanted, found = (table[name].combine_chunks() for table in (expected, answer))
        if wanted.type != found.type:
            raise TypeError(f"{name} is {wanted.type} in the training set and {found.type} online")
        both_null = pc.and_(wanted.is_null(), found.is_null())
        same = pc.or_(both_null, pc.equal(_bits(wanted), _bits(found)).fill_null(False))
        nulls += both_null.true_count
        mismatches += same.false_count
        for row in np.flatnonzero(~same.to_numpy(zero_copy_only=False))[: 5 - len(examples)]:
            examples.append(f"{name}: {wanted[row].as_py()!r} in the training set, {found[row].as_py()!r} online")
    return Comparison(len(features) * expected.num_rows, nulls, mismatches, tuple(examples))


def _bits(column: pa.Array) -> pa.Array:
    """Floats as the integers that have their bits, so that NaN equals itself and -0.0 is not 0.0."""
    return column.view(pa.int64()) if pa.types.is_float64(column.type) else column
