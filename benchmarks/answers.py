"""Compares two answers, value by value: `python -m benchmarks.answers REFERENCE OTHER ORDER_BY` prints a line of JSON.

Runs in a process of its own, so that the runner stays small. Rows are brought into one order first. A column that is a
float on one side and an integer on the other is compared as float, and a NaN then counts as null: pandas, which Feast
uses, cannot tell them apart, and no data set here has a NaN.
"""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pyarrow.compute as pc


def load_answer(path: str) -> pa.Table:
    """A table that is mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(path)).read_all()


def count_differences(left: pa.Array, right: pa.Array) -> int:
    """The number of cells that differ."""
    if left.type != right.type:
        left, right = _common(left), _common(right)
    same = pc.fill_null(pc.equal(left, right), False)
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return len(left) - (pc.sum(pc.or_(same, both_null)).as_py() or 0)


def compare_answers(reference: str, other: str, order_by: str) -> str:
    """`equal`, or in words what differs; a side that drops rows is compared in those that it kept."""
    left, right = load_answer(reference), load_answer(other)
    missing = [name for name in left.column_names if name not in right.column_names]
    if missing:
        return f"no column {missing[0]}"
    words = ""
    if left.num_rows > right.num_rows:
        words = f"{left.num_rows - right.num_rows:,} of {left.num_rows:,} rows missing; the others "
        left = left.filter(pc.is_in(left[order_by], right[order_by].combine_chunks()))
    if left.num_rows != right.num_rows:
        return f"{right.num_rows:,} rows instead of {left.num_rows:,}"
    return words + _compare_rows(left, right, order_by)


def _compare_rows(left: pa.Table, right: pa.Table, order_by: str) -> str:
    left_order, right_order = pc.sort_indices(left[order_by]), pc.sort_indices(right[order_by])
    wrong = {}
    for name in left.column_names:
        count = count_differences(left[name].take(left_order), right[name].take(right_order))
        if count:
            wrong[name] = count
    if not wrong:
        return "equal"
    worst = max(wrong, key=lambda name: wrong[name])
    return (
        f"differ in {len(wrong)} of {left.num_columns} columns, {worst} in {wrong[worst]:,} of {left.num_rows:,} rows"
    )


def _common(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", "UTC"), safe=False)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        floats = column.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(floats), pa.scalar(None, pa.float64()), floats)
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


if __name__ == "__main__":
    print(json.dumps(compare_answers(*sys.argv[1:4])))
