"""Profiles: what a column is like, computed in one pass and bounded room, and the same whatever the order of the rows.

A profile is data. It is computed from batches of Arrow columns, so that a source that is read by an engine, a training
set and what is served are profiled by one code and can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import numpy_values, single_chunk
from tiffin.errors import NotFoundError, nearest
from tiffin.quality.buckets import BLOCK, Buckets, FloatArray
from tiffin.quality.distinct import DistinctValues
from tiffin.quality.texts import Texts
from tiffin.time import MIN_US, format_us

if TYPE_CHECKING:
    import pyarrow as pa

#: The parts of all numbers whose quantiles are shown.
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Rows that are worked on at once: few enough for the processor's cache, enough that calls of numpy cost little.
_ROWS = 1 << 18
#: Columns that are worked on at once.
_THREADS = 2


@dataclass(frozen=True)
class ColumnProfile:
    """What one column is like.

    Attributes:
        name: of the column.
        dtype: its Arrow type.
        kind: ``number``, ``time`` (numbers are microseconds), ``text`` (truth values too), or ``other``.
        rows: how many.
        nulls: how many of them are null.
        nans: how many of them are NaN.
        distinct: about how many different values there are, NaN and null left out; exactly where they are few.
        minimum, maximum: as float64; NaN without numbers.
        mean, std: of the finite numbers, the latter with n - 1; NaN where there are too few.
        buckets: where the numbers lie, infinite ones too; of another kind, nothing.
        texts: the most frequent texts and how often each occurs.
    """

    name: str
    dtype: str
    kind: str
    rows: int
    nulls: int
    nans: int = 0
    distinct: int = 0
    minimum: float = float("nan")
    maximum: float = float("nan")
    mean: float = float("nan")
    std: float = float("nan")
    buckets: Buckets = field(default_factory=lambda: Buckets.of(np.empty(0)))
    texts: Texts = field(default_factory=Texts)

    @property
    def null_share(self) -> float:
        """Which part of the rows is null; 0 without rows."""
        return self.nulls / self.rows if self.rows else 0.0

    def quantiles(self, parts: Sequence[float] = QUANTILES) -> list[float]:
        """The numbers up to which some parts of all lie, right to about one percent; NaN without numbers."""
        found: list[float] = np.clip(self.buckets.quantiles(parts), self.minimum, self.maximum).tolist()
        return found

    def histogram(self, bins: int = 20) -> list[tuple[float, float, int]]:
        """About ``bins`` intervals of equal width, each with its ends and how many numbers it has."""
        if not np.isfinite([self.minimum, self.maximum]).all():
            return []
        edges = np.linspace(self.minimum, self.maximum, bins + 1)
        counts, _ = np.histogram(
            np.clip(self.buckets.numbers, self.minimum, self.maximum), edges, weights=self.buckets.counts
        )
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.astype(int).tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data, with quantiles instead of intervals."""
        found: dict[str, Any] = {"name": self.name, "type": self.dtype, "kind": self.kind, "rows": self.rows}
        found |= {"nulls": self.nulls, "null_share": self.null_share}
        if self.kind != "other":
            found["distinct"] = self.distinct
        if self.kind == "text":
            found["top"] = [{"value": value, "count": count} for value, count in self.texts.top()]
        if self.kind in ("number", "time"):
            numbers = [self.minimum, self.maximum, self.mean, *self.quantiles()]
            names = ["min", "max", "mean", *(f"p{round(100 * part)}" for part in QUANTILES)]
            found |= {name: self._shown(number) for name, number in zip(names, numbers, strict=True)}
            found |= {"nans": self.nans, "std": self.std if np.isfinite(self.std) else None}
        return found

    def _shown(self, number: float) -> Any:
        if number != number:
            return None
        return format_us(round(number)) if self.kind == "time" else number


@dataclass(frozen=True)
class Profile:
    """What some columns are like in a period.

    Attributes:
        subject: the view, or what the rows are called.
        of: ``offline``, ``online`` or ``table``.
        since_us, until_us: event times from the first to before the second; for ``online`` both are the moment.
        taken_us: when it was computed.
        rows: how many.
        columns: name to column.
    """

    subject: str
    of: str
    since_us: int
    until_us: int
    taken_us: int
    rows: int
    columns: Mapping[str, ColumnProfile]

    @property
    def words(self) -> str:
        """What it is of, for people.

        >>> Profile("stats", "offline", MIN_US, 0, 0, 10, {}).words
        'from the beginning to 1970-01-01'
        """
        return period_words(self.of, self.since_us, self.until_us)

    def column(self, name: str) -> ColumnProfile:
        """One column.

        Raises:
            NotFoundError: with the nearest names.
        """
        if name not in self.columns:
            raise NotFoundError(
                f"the profile of {self.subject} has no column {name!r}",
                subject=self.subject,
                hint=nearest(name, self.columns),
            )
        return self.columns[name]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "subject": self.subject,
            "of": self.of,
            "since": format_us(self.since_us),
            "until": format_us(self.until_us),
            "taken": format_us(self.taken_us),
            "rows": self.rows,
            "columns": [column.to_dict() for column in self.columns.values()],
        }


def period_words(of: str, since_us: int, until_us: int) -> str:
    """What a profile is of, for people; arguments as the attributes of ``Profile``."""
    if of == "table":
        return "a table"
    start, end = (format_us(us).removesuffix("T00:00:00Z") for us in (since_us, until_us))
    return (
        f"served at {start}" if of == "online" else f"from {'the beginning' if since_us == MIN_US else start} to {end}"
    )


def profile_columns(batches: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema) -> list[ColumnProfile]:
    """Profile columns.

    Args:
        batches: rows, in any order; columns that ``schema`` does not have are not looked at.
        schema: the columns, with the types that all batches have them in.
    """
    gathering = [_Gathering(column) for column in schema]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="tiffin-profile") as pool:
        working: list[Future[None]] = []
        for held in _grouped(batches):
            # The next rows are read while these are worked on; a column takes its rows one after the other.
            for each in working:
                each.result()
            working = [pool.submit(each.take, [batch.column(each.name) for batch in held]) for each in gathering]
        for each in working:
            each.result()
    return [each.finished() for each in gathering]


def _grouped(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[list[Any]]:
    """Batches in groups of about as many rows as are worked on at once."""
    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= _ROWS:
            yield held
            held = []
    if held:
        yield held


def with_every_number(profile: ColumnProfile, column: pa.ChunkedArray) -> ColumnProfile:
    """The profile of a column with the counts of each different number in it, instead of intervals."""
    if profile.kind not in ("number", "time"):
        return profile
    numbers = _as_floats(single_chunk(column.drop_null()))
    return replace(profile, buckets=Buckets.exact(numbers[~np.isnan(numbers)]))


class _Gathering:
    """One column while its rows come in."""

    def __init__(self, column: pa.Field) -> None:
        self.name, self._type = column.name, column.type
        self._kind = _kind_of(column.type)
        self._rows = self._nulls = self._nans = 0
        self._distinct = DistinctValues()
        self._texts = Texts()
        self._buckets = Buckets.of(np.empty(0))
        self._moments = 0, 0.0, 0.0
        self._ends = float("inf"), float("-inf")

    def take(self, parts: Sequence[pa.Array | pa.ChunkedArray]) -> None:
        """Add rows."""
        import pyarrow as pa

        column = single_chunk(pa.chunked_array([chunk for part in parts for chunk in _chunks(part)], self._type))
        self._rows += len(column)
        self._nulls += column.null_count
        if self._kind == "other":
            return
        present = column.drop_null() if column.null_count else column
        if self._kind == "text":
            self._take_texts(present)
        elif len(present):
            self._take_numbers(_as_floats(present))

    def _take_texts(self, column: pa.Array) -> None:
        import pyarrow as pa

        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        counted = column.cast(pa.string()).value_counts()
        self._distinct.add(counted.field(0))
        self._texts = self._texts.with_counts(counted.field(0), counted.field(1))

    def _take_numbers(self, numbers: FloatArray) -> None:
        missing = int(np.isnan(numbers).sum())
        if missing:
            self._nans += missing
            numbers = numbers[~np.isnan(numbers)]
        for start in range(0, len(numbers), BLOCK):
            self._take_block(numbers[start : start + BLOCK])
        self._buckets = self._buckets.merged(Buckets.of(numbers))

    def _take_block(self, numbers: FloatArray) -> None:
        low, high = float(numbers.min()), float(numbers.max())
        self._ends = min(self._ends[0], low), max(self._ends[1], high)
        self._distinct.add_numbers(numbers)
        finite = numbers if isfinite(low) and isfinite(high) else numbers[np.isfinite(numbers)]
        if len(finite):
            # Squares of numbers beyond 1e154 are infinite, and so is then what is computed from them.
            with np.errstate(over="ignore", invalid="ignore"):
                mean = float(finite.mean())
                apart = finite - mean
                # Not by a dot product: its threads would wait for each other for so few numbers.
                squares = float(np.square(apart, out=apart).sum())
            self._moments = _joined(self._moments, (len(finite), mean, squares))

    def finished(self) -> ColumnProfile:
        """The profile of all rows that came in."""
        count, mean, squares = self._moments
        there = self._buckets.total > 0
        return ColumnProfile(
            name=self.name,
            dtype=str(self._type),
            kind=self._kind,
            rows=self._rows,
            nulls=self._nulls,
            nans=self._nans,
            distinct=self._distinct.count(),
            minimum=self._ends[0] if there else float("nan"),
            maximum=self._ends[1] if there else float("nan"),
            mean=mean if count else float("nan"),
            std=(squares / (count - 1)) ** 0.5 if count > 1 else float("nan"),
            buckets=self._buckets,
            texts=self._texts,
        )


def _joined(one: tuple[int, float, float], other: tuple[int, float, float]) -> tuple[int, float, float]:
    """Count, mean and sum of squared differences from it of two groups together.

    Source: T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
    1979.
    """
    count = one[0] + other[0]
    apart = other[1] - one[1]
    mean = one[1] + apart * other[0] / count
    return count, mean, one[2] + other[2] + apart * apart * one[0] * other[0] / count


def _kind_of(found: pa.DataType) -> str:
    """What a column is profiled as."""
    import pyarrow.types as pat

    if pat.is_dictionary(found):
        return _kind_of(found.value_type) if pat.is_string(found.value_type) else "other"
    if pat.is_integer(found) or pat.is_floating(found) or pat.is_decimal(found):
        return "number"
    if pat.is_timestamp(found) or pat.is_date(found):
        return "time"
    return "text" if pat.is_string(found) or pat.is_large_string(found) or pat.is_boolean(found) else "other"


def _as_floats(column: pa.Array) -> FloatArray:
    """(n,) a column of numbers or times without nulls as float64; times in microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).view(pa.int64())
    if pa.types.is_int64(column.type):
        return numpy_values(column).astype(np.float64)
    return numpy_values(column.cast(pa.float64(), safe=False), np.float64)


def _chunks(part: pa.Array | pa.ChunkedArray) -> Sequence[pa.Array]:
    import pyarrow as pa

    return part.chunks if isinstance(part, pa.ChunkedArray) else [part]
