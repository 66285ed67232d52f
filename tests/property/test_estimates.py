"""Estimates: the same bytes from every order, split and tree of merges, and errors within what is promised."""

from __future__ import annotations

import math
import random
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.semantics.oracle_estimates import distinct_estimate, percentile_estimate, value_hash
from tiffin.types import Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp, arrow_type
from tiffin.windows import aggregate as blocks_of
from tiffin.windows.aggregate import Aggregate, evaluate
from tiffin.windows.functions import make_aggregate
from tiffin.windows.hashing import hash_of, hashes_of, mixed
from tiffin.windows.ranges import Ranges

NOWHERE = (0, 0, b"")


def distinct(precision: int, dtype: Any = Int64) -> Any:
    return make_aggregate("approx_count_distinct", dtype, {"precision": precision})


def percentile(p: float, precision: int, dtype: Any = Float64) -> Any:
    return make_aggregate("approx_percentile", dtype, {"p": p, "precision": precision})


def windows(*bounds: tuple[int, int]) -> Ranges:
    first, last = (np.array(ends, np.int64) for ends in zip(*bounds, strict=True))
    return Ranges(first, last)


def one_by_one(function: Aggregate[Any], values: list[Any]) -> Any:
    state = function.initial()
    for value in values:
        state = function.updated(state, value, NOWHERE)
    return state


def by_a_tree(function: Aggregate[Any], values: list[Any], chooser: random.Random) -> Any:
    """The state of shuffled values, from parts that are merged in any order, some of them by way of their bytes."""
    values = chooser.sample(values, len(values))
    cuts = sorted(chooser.choices(range(len(values) + 1), k=chooser.randint(0, 6)))
    parts = [
        one_by_one(function, values[start:stop]) for start, stop in zip([0, *cuts], [*cuts, len(values)], strict=True)
    ]
    while len(parts) > 1:
        chooser.shuffle(parts)
        merged = function.merged(parts.pop(), parts.pop())
        parts.append(function.decoded(function.encoded(merged)) if chooser.random() < 0.5 else merged)
    return parts[0]


# --- Hashes ----------------------------------------------------------------------------------------------------------


def test_the_hash_is_that_of_the_published_generator() -> None:
    """The outputs of SplitMix64 for the seed 1234567, as its ports are tested with."""
    step, start, seed = 0x9E3779B97F4A7C15, 0x243F6A8885A308D3, 1234567
    back = pow(step, -1, 2**64)
    found = [mixed(((seed - start) * back + number) % 2**64) for number in range(1, 4)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


HASHES = {
    0: 16852473371444490038,
    -1: 7887551627776053881,
    1.5: 6778147868085301224,
    "": 16852473371444490038,
    "merchant": 12407222303132616360,
    "a longer text, of three words": 13381447999211505341,
}


def test_the_hash_of_a_value_never_changes() -> None:
    """States that are stored hold it."""
    assert {value: hash_of(value) for value in HASHES} == HASHES


COLUMNS = {
    Int64: st.integers(-(2**63), 2**63 - 1),
    Int32: st.integers(-(2**31), 2**31 - 1),
    UnixTimestamp: st.integers(-(2**40), 2**40),
    Bool: st.booleans(),
    Float64: st.floats(),
    Float32: st.floats(width=32),
    String: st.text(max_size=40),
    Bytes: st.binary(max_size=40),
}


@pytest.mark.parametrize("dtype", COLUMNS)
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_all_forms_hash_alike(dtype: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(COLUMNS[dtype], max_size=20))
    start = data.draw(st.integers(0, len(values)))
    found = hashes_of(pa.array(values, arrow_type(dtype))[start:]).tolist()
    assert found == [hash_of(value) for value in values[start:]] == [value_hash(value) for value in values[start:]]


def test_equal_values_hash_alike_whatever_their_width() -> None:
    wholes = [pa.array([0, 1, -7], width) for width in (pa.int32(), pa.int64())]
    floats = [pa.array([0.0, -0.5, math.nan], width) for width in (pa.float32(), pa.float64())]
    for one, other in (wholes, floats):
        assert hashes_of(one).tolist() == hashes_of(other).tolist()
    assert len({hash_of(value) for value in (math.nan, -math.nan, 0.0, -0.0)}) == 2
    assert len({hash_of(value) for value in ("", "\0", "\0\0", "\0" * 8, "\0" * 9)}) == 5


# --- Distinct values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", [4, 5, 8, 12])
def test_few_values_are_counted_exactly(precision: int) -> None:
    function = distinct(precision)
    most = 6 * 2**precision // 64
    values = np.repeat(np.arange(most), 3)
    ranges = windows(*((0, 3 * count) for count in range(most + 1)))
    assert function.evaluate(pa.array(values), ranges).to_pylist() == list(range(most + 1))
    assert function.finished(one_by_one(function, values[: 3 * 200].tolist())) == min(most, 200)


@given(
    values=st.lists(st.integers(0, 60), max_size=80), precision=st.sampled_from([4, 5, 6, 8]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_a_distinct_count_depends_on_the_set_of_values_alone(values: list[int], precision: int, seed: int) -> None:
    """Bytes and values; around the size at which registers take the place of hashes."""
    function, chooser = distinct(precision), random.Random(seed)
    state = by_a_tree(function, values, chooser)
    once = sorted(set(values))
    assert function.encoded(state) == function.encoded(one_by_one(function, once))
    assert function.encoded(state) == function.encoded(function.gathered(values, lambda number: NOWHERE))
    assert function.finished(state) == function.value_of(values)
    found = evaluate(function, pa.array(values, pa.int64()), windows((0, len(values)))).to_pylist()
    assert found == [function.finished(state)] == [distinct_estimate(values, precision)]


@pytest.mark.parametrize("dtype", COLUMNS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_all_types_are_counted_alike_in_all_forms(dtype: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(COLUMNS[dtype], max_size=80))
    values += data.draw(st.lists(st.sampled_from(values), max_size=20)) if values else []
    for precision in (4, 10):
        function = distinct(precision, dtype)
        found = evaluate(function, pa.array(values, arrow_type(dtype)), windows((0, len(values)))).to_pylist()
        assert found == [function.value_of(values)] == [distinct_estimate(values, precision)]
        assert found == [function.finished(one_by_one(function, values))]
        assert found == [function.finished(function.gathered(values, lambda number: NOWHERE))]


FAMILIES = {
    "random numbers": lambda start, count: pa.array(np.random.default_rng(start).integers(-(2**63), 2**63, count)),
    "numbers in a row": lambda start, count: pa.array(np.arange(start, start + count)),
    "every minute": lambda start, count: pa.array(np.arange(start, start + count) * 60_000_000, pa.timestamp("us")),
    "hundredths": lambda start, count: pa.array(np.arange(start, start + count) / 100),
    "names": lambda start, count: pa.array([f"user_{number:09d}@mail" for number in range(start, start + count)]),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", [8, 12, 14])
def test_a_distinct_count_has_the_promised_error(family: str, precision: int) -> None:
    """Root of the mean square and largest error, in standard errors; and no drift to one side."""
    column = FAMILIES[family](7_000_000, 1 << 18)
    function = distinct(precision)
    for count in (100, 1_000, 2_000, 10_000, 30_000, 100_000):
        starts = np.linspace(0, len(column) - count, min(40, len(column) // count)).astype(np.int64)
        found = evaluate(function, column, Ranges(starts, starts + count)).to_numpy()
        errors = (found / count - 1) / (1.04 / math.sqrt(2**precision))
        doubt = 1 / math.sqrt(len(errors))
        assert np.sqrt(np.mean(errors**2)) < 1.1 + 3 * doubt, (count, errors)
        assert abs(errors.mean()) < 0.1 + 4 * doubt, (count, errors)
        assert np.abs(errors).max() < 5, (count, errors)


@pytest.mark.parametrize("seed", range(3))
def test_a_million_distinct_values_are_within_the_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    column = pa.array(rng.integers(-(2**63), 2**63, 1_000_000))
    sizes = [0, 1, 10, 384, 385, 600, 3_000, 50_000, 300_000, 1_000_000]
    found = evaluate(distinct(12), column, windows(*((0, size) for size in sizes))).to_pylist()
    assert found[:4] == sizes[:4]
    for size, answer in zip(sizes[4:], found[4:], strict=True):
        assert abs(answer / size - 1) < 5 * 1.04 / math.sqrt(4096), size


def value_of_hash(number: int) -> int:
    """The int64 with that hash."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        found = number
        for _ in range(3):
            found = number ^ found >> shift
        number = found * pow(factor, -1, 2**64) % 2**64
    return (number - 0x243F6A8885A308D3) * pow(0x9E3779B97F4A7C15, -1, 2**64) % 2**64 - 2**63 ^ -(2**63)


@given(
    hashes=st.lists(
        st.builds(lambda register, ones, zeros: register << 60 | 2**60 - 1 >> zeros & 2**60 - 1 << ones,
                  st.integers(0, 15), st.integers(0, 60), st.integers(0, 60)),
        min_size=2, max_size=40,
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_ranks_of_every_size_are_counted(hashes: list[int]) -> None:
    """Hashes that no sample has: all zeros behind the register, the largest rank, and long rows of ones."""
    values = [value_of_hash(number) for number in hashes]
    assert [hash_of(value) for value in values] == hashes
    found = evaluate(distinct(4), pa.array(values), windows((0, len(values)))).to_pylist()
    assert found == [distinct_estimate(values, 4)]


# --- Percentiles -----------------------------------------------------------------------------------------------------

NUMBERS = (
    st.floats()
    | st.sampled_from([0.0, -0.0, 1.7976931348623157e308, -1.7976931348623157e308, 5e-324, 2.2250738585072014e-308])
    | st.integers(-300, 300).map(float)
)
PARTS = st.sampled_from([0.0, 0.07, 0.25, 0.5, 0.99, 1.0]) | st.floats(0, 1)


@given(values=st.lists(NUMBERS, max_size=40), p=PARTS, precision=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=500, deadline=None)
def test_a_percentile_depends_on_the_multiset_of_values_alone(
    values: list[float], p: float, precision: int, seed: int
) -> None:
    function = percentile(p, precision)
    state = by_a_tree(function, values, random.Random(seed))
    assert function.encoded(state) == function.encoded(one_by_one(function, values))
    assert function.encoded(state) == function.encoded(function.gathered(values, lambda number: NOWHERE))
    assert repr(function.finished(state)) == repr(function.value_of(values))
    found = evaluate(function, pa.array(values, pa.float64()), windows((0, len(values)))).to_pylist()
    expected = percentile_estimate(values, p, precision) if values else None
    assert repr(found) == repr([function.finished(state)]) == repr([expected])


def exact_percentile(values: np.ndarray, p: float) -> float:
    return float(np.sort(values)[max(1, math.ceil(Fraction(str(p)) * len(values))) - 1])


@pytest.mark.parametrize("precision", [1, 3, 7, 12, 20])
@pytest.mark.parametrize("shape", ["wide", "around zero", "heavy", "whole"])
def test_a_percentile_has_the_promised_error(precision: int, shape: str) -> None:
    rng = np.random.default_rng(3)
    values = {
        "wide": np.exp(rng.normal(0, 100, 20_000)),
        "around zero": rng.normal(0, 1, 20_000),
        "heavy": rng.pareto(0.3, 20_000),
        "whole": rng.integers(-(2**50), 2**50, 20_000).astype(float),
    }[shape]
    bounds = [(0, 1), (0, 2), (5, 105), (10, 20_000), (0, 20_000)]
    for p in (0.0, 0.001, 0.07, 0.5, 0.95, 0.999, 1.0):
        found = evaluate(percentile(p, precision), pa.array(values), windows(*bounds)).to_pylist()
        for (first, last), answer in zip(bounds, found, strict=True):
            wanted = exact_percentile(values[first:last], p)
            assert abs(answer - wanted) <= 2.0 ** -(precision + 1) * abs(wanted)
            if p in (0.0, 1.0) or last - first == 1:
                assert answer == wanted


def test_numbers_of_few_digits_are_exact() -> None:
    values = [*range(-255, 256), 0.5, -12.25, 1e6 // 8192 * 8192]
    for p in (0.0, 0.1, 0.5, 0.75, 1.0):
        found = evaluate(percentile(p, 7), pa.array(values, pa.float64()), windows((0, len(values)))).to_pylist()
        assert found == [exact_percentile(np.array(values), p)]


def test_a_part_is_the_decimal_number_that_was_written() -> None:
    column = pa.array(np.arange(1.0, 101.0))
    for p, rank in ((0.07, 7), (0.29, 29), (0.58, 58), (0.999, 100), (1e-9, 1)):
        assert evaluate(percentile(p, 20), column, windows((0, 100))).to_pylist() == [rank]
        assert percentile(p, 20).finished(one_by_one(percentile(p, 20), column.to_pylist())) == rank


def test_whole_numbers_and_truth_values_have_percentiles_as_floats() -> None:
    wide = [2**62, -(2**62) - 1, 3]
    for dtype, values, expected in ((Int64, wide, 3.0), (Bool, [True, True, False], 1.0)):
        function = percentile(0.5, 7, dtype)
        found = evaluate(function, pa.array(values, arrow_type(dtype)), windows((0, 3)))
        assert found.to_pylist() == [expected] == [function.finished(one_by_one(function, values))]
        assert found.type == pa.float64()


NANS = [
    struct.unpack("<d", struct.pack("<Q", bits))[0]
    for bits in (0x7FF8000000000000, 0xFFF8000000000000, 0x7FFC000000000123, 0xFFFFFFFFFFFFFFFF)
]


@pytest.mark.parametrize("function", [percentile(0.5, 7), distinct(4, Float64)])
def test_every_nan_is_one_value(function: Aggregate[Any]) -> None:
    expected = function.encoded(one_by_one(function, [math.nan] * 4))
    for values in (NANS, NANS[::-1]):
        assert function.encoded(one_by_one(function, values)) == expected
        assert function.encoded(function.gathered(values, lambda number: NOWHERE)) == expected
        found = evaluate(function, pa.array(values), windows((0, 4))).to_pylist()
        assert repr(found) == repr([function.value_of(values)])


# --- Room ------------------------------------------------------------------------------------------------------------


def test_states_are_small_and_bounded() -> None:
    rng = np.random.default_rng(0)
    function = distinct(12)
    sizes = {}
    for count in (1, 10, 384, 385, 5_000):
        sizes[count] = len(function.encoded(one_by_one(function, rng.integers(-(2**63), 2**63, count).tolist())))
    assert sizes[1] <= 8 + 8
    assert sizes[10] <= 80 + 8
    assert sizes[384] == sizes[385] == sizes[5_000] <= 3_072 + 8
    median = percentile(0.5, 7)
    cents = np.round(rng.lognormal(3, 1, 5_000), 2).tolist()
    assert len(median.encoded(one_by_one(median, cents[:10]))) <= 20 + 10 * 4
    assert len(median.encoded(one_by_one(median, cents))) <= 128 * 11 * 4


@pytest.mark.parametrize("name", ["count_distinct", "top_k", "approx_count_distinct", "approx_percentile"])
def test_windows_in_blocks_have_the_values_of_windows_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    column = pa.array(rng.integers(0, 90, 400))
    first = np.sort(rng.integers(0, 400, 60))
    ranges = Ranges(first, np.minimum(first + rng.integers(0, 120, 60), 400))
    params = {"top_k": {"n": 3}, "approx_percentile": {"p": 0.3, "precision": 4}}.get(name, {"precision": 6})
    function = make_aggregate(name, Int64, params)
    at_once = evaluate(function, column, ranges)
    for name_of, size in (("tiffin.windows.hashing._BLOCK", 7), ("tiffin.windows.distinct._BLOCK_REGISTERS", 100)):
        monkeypatch.setattr(name_of, size)
    monkeypatch.setattr(blocks_of, "_BLOCK_FACTS", 50)
    assert evaluate(function, column, ranges).equals(at_once)
