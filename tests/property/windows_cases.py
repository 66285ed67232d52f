"""Random facts, rows and windows, dense in edges, ties and odd values; and how two values are compared."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tiffin.definitions.aggregation import FUNCTIONS
from tiffin.semantics.oracle import Fact
from tiffin.semantics.oracle_windows import WindowSpec
from tiffin.types import Bool, FeatureType, Float32, Float64, Int64, String, UnixTimestamp, arrow_type
from tiffin.windows.evaluate import Asked
from tiffin.windows.functions import FUNCTIONS as CLASSES
from tiffin.windows.window import Window

COLUMNS: dict[str, FeatureType] = {
    "i": Int64,
    "wide": Int64,
    "x": Float64,
    "odd": Float64,
    "small": Float32,
    "word": String,
    "flag": Bool,
    "at": UnixTimestamp,
}
SPREADS = ("var_samp", "var_pop", "stddev_samp", "stddev_pop")
PARTS = [0.0, 0.01, 0.07, 0.25, 0.5, 1 / 3, 0.9, 0.999, 1.0]
#: NaN with other bits than those of Python's.
(OTHER_NAN,) = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000123))
ODD = [0.0, -0.0, 1.5, 1e308, -1e308, 5e-324, -5e-324, math.inf, -math.inf, math.nan, OTHER_NAN, 2.0**53, 0.1]


def random_columns(rng: np.random.Generator, count: int, *, odd: bool = True) -> dict[str, list[Any]]:
    """Values with nulls among them."""
    size = int(rng.choice([1, 10, 10**6]))
    columns: dict[str, list[Any]] = {
        "i": rng.integers(-3, 4, count).tolist(),
        "wide": (rng.integers(-(2**61), 2**61, count) >> int(rng.choice([3, 20]))).tolist(),
        "x": (rng.normal(size=count) * 10.0 ** rng.integers(-3, 4, count) + size).tolist(),
        "odd": rng.choice(ODD, count).tolist() if odd else np.round(rng.normal(size=count), 2).tolist(),
        "small": rng.normal(size=count).astype(np.float32).astype(float).tolist(),
        "word": rng.choice(["", "a", "b", "é", "a longer text"], count).tolist(),
        "flag": (rng.random(count) < 0.5).tolist(),
        "at": rng.integers(-5, 5, count).tolist(),
    }
    for values in columns.values():
        for place in np.flatnonzero(rng.random(count) < 0.15).tolist():
            values[place] = None
    return columns


def repeated(rng: np.random.Generator, columns: dict[str, list[Any]], *stamps: np.ndarray) -> None:
    """Make some facts like others: all of the same, or with one column of another fact, or null.

    Args:
        rng: what decides.
        columns: changed in place.
        stamps: keys and times; changed in place.
    """
    count = len(stamps[0])
    for copy in np.flatnonzero(rng.random(count) < rng.choice([0.0, 0.3, 0.8])).tolist():
        original, other = rng.integers(0, count, 2).tolist()
        changed = str(rng.choice(list(columns))) if rng.random() < 0.5 else ""
        for stamp in stamps:
            stamp[copy] = stamp[original]
        for name, values in columns.items():
            if name != changed:
                values[copy] = values[original]
            else:
                values[copy] = None if rng.random() < 0.3 else values[other]


def arrow_columns(columns: dict[str, list[Any]]) -> dict[str, pa.Array]:
    return {name: pa.array(values, arrow_type(COLUMNS[name])) for name, values in columns.items()}


def random_params(rng: np.random.Generator, function: str) -> tuple[tuple[str, Any], ...]:
    """Parameters of a function, small enough that a few values already have to be estimated."""
    drawn = {"n": int(rng.integers(1, 4)), "p": float(rng.choice(PARTS)), "precision": int(rng.integers(4, 7))}
    return tuple((name, drawn[name]) for name in FUNCTIONS[function])


@dataclass(frozen=True)
class Case:
    """Facts in no order, rows, and what is asked, for the fast form and for the reference alike."""

    keys: np.ndarray
    event: np.ndarray
    known: np.ndarray
    columns: dict[str, list[Any]]
    row_keys: np.ndarray
    row_times: np.ndarray
    asked: list[Asked]
    specs: list[WindowSpec]
    has_known: bool = False
    facts: list[Fact] = field(default_factory=list)


def random_window(rng: np.random.Generator, spread: int) -> Window:
    length = None if rng.random() < 0.2 else int(rng.integers(1, 8)) * spread + int(rng.integers(-1, 2))
    length = None if length is None else max(1, length)
    slide = None
    if length is not None and rng.random() < 0.4:
        slide = max(1, min(length, int(rng.integers(1, 4)) * spread))
    offset = int(rng.integers(0, 4)) * spread if rng.random() < 0.3 else 0
    return Window(length, slide, offset)


def random_case(
    seed: int,
    facts: int,
    rows: int,
    *,
    keys: int = 3,
    moments: int = 12,
    spread: int = 1_000,
    asks: int = 6,
    has_known: bool = False,
) -> Case:
    """A case; entity times stand at facts' moments, and a microsecond before and after."""
    rng = np.random.default_rng(seed)
    event = (rng.integers(0, moments, facts) - 3) * spread
    known = event + rng.integers(-1, 5, facts) * spread if has_known else event
    columns = random_columns(rng, facts)
    codes = rng.integers(0, keys, facts)
    repeated(rng, columns, codes, event, *(() if known is event else (known,)))
    row_times = (rng.integers(0, moments + 4, rows) - 3) * spread + rng.integers(-1, 2, rows)
    asked, specs = [], []
    for _ in range(asks):
        function = str(rng.choice(list(FUNCTIONS)))
        accepts = CLASSES[function].accepts
        fitting = [name for name, dtype in COLUMNS.items() if accepts is None or dtype in accepts]
        if function == "sum":
            fitting = [name for name in fitting if name != "wide"]
        column = "*" if function == "count" and rng.random() < 0.3 else str(rng.choice(fitting))
        window = random_window(rng, spread)
        params = random_params(rng, function)
        condition = 0 if rng.random() < 0.3 else None
        where = None if condition is None else (lambda row: row["i"] is not None and row["i"] > 0)
        dtype = Bool if column == "*" else COLUMNS[column]
        asked.append(Asked(function, column, dtype, window, condition, params))
        specs.append(
            WindowSpec(
                function, column, window.length_us, window.slide_us, window.offset_us, where=where, **dict(params)
            )
        )
    return Case(
        keys=codes,
        event=event,
        known=known,
        columns=columns,
        row_keys=rng.integers(0, keys + 1, rows),
        row_times=row_times,
        asked=asked,
        specs=specs,
        has_known=has_known,
    )


def is_equal(function: str, found: Any, expected: Any) -> bool:
    """Bit for bit; spreads, which the reference rounds once and the product three times, to 15 digits."""
    if function in SPREADS and isinstance(expected, float) and isinstance(found, float) and math.isfinite(expected):
        return math.isclose(found, expected, rel_tol=1e-15, abs_tol=5e-324)
    return repr(found) == repr(expected)
