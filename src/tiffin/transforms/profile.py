"""Whether a table is like another one: a few statistics of each column, and how far they may be apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tiffin.columns import numpy_values
from tiffin.definitions import TableProfiler

if TYPE_CHECKING:
    import pyarrow as pa

    from tiffin.transforms.suites import UnmetExpectation

#: Deviations that are named in one line.
_SHOWN = 3
#: Texts are listed up to so many different ones.
_MOST_VALUES = 1_000


@dataclass(frozen=True)
class Deviation:
    """One way in which a column is not like the reference.

    Attributes:
        column: the column.
        measure: ``missing``, ``type``, ``null_share``, ``mean``, ``range`` or ``new_values``.
        reference, found: what it is there, and here.
    """

    column: str
    measure: str
    reference: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.column}: {self.measure} is {_shown(self.found)}, in the reference {_shown(self.reference)}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True)
class ValidationReport:
    """In what a table is not like a reference.

    Attributes:
        errors: one for each column and measure, or expectation.
    """

    errors: Sequence[Deviation | UnmetExpectation]

    @property
    def is_success(self) -> bool:
        """Whether there is nothing."""
        return not self.errors

    def __str__(self) -> str:
        more = f", and {len(self.errors) - _SHOWN} more" if len(self.errors) > _SHOWN else ""
        return f"{'; '.join(map(str, self.errors[:_SHOWN]))}{more}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"is_success": self.is_success, "errors": [error.to_dict() for error in self.errors]}


def deviations(table: pa.Table, reference: pa.Table, profiler: TableProfiler) -> list[Deviation]:
    """In what a table differs from a reference by more than is allowed; columns that only it has are not looked at."""
    found = []
    for name in reference.column_names:
        if name not in table.column_names:
            found.append(Deviation(name, "missing", "a column", "none"))
            continue
        here, there = table[name], reference[name]
        if here.type != there.type:
            found.append(Deviation(name, "type", str(there.type), str(here.type)))
        elif len(there) and len(here):
            found += _column(name, here, there, profiler)
    return found


def _column(name: str, here: pa.ChunkedArray, there: pa.ChunkedArray, profiler: TableProfiler) -> list[Deviation]:
    import pyarrow as pa

    found = []
    shares = here.null_count / len(here), there.null_count / len(there)
    if shares[0] > shares[1] + profiler.null_share:
        found.append(Deviation(name, "null_share", shares[1], shares[0]))
    if pa.types.is_floating(here.type) or pa.types.is_integer(here.type):
        found += _numbers(name, _finite(here), _finite(there), profiler)
    elif pa.types.is_string(here.type):
        found += _texts(name, here, there, profiler)
    return found


def _numbers(name: str, here: Any, there: Any, profiler: TableProfiler) -> list[Deviation]:
    if not len(here) or not len(there):
        return []
    found = []
    spread = float(np.std(there))
    means = float(np.mean(here)), float(np.mean(there))
    if abs(means[0] - means[1]) > profiler.mean * spread:
        found.append(Deviation(name, "mean", means[1], means[0]))
    low, high = float(np.min(there)), float(np.max(there))
    slack = (high - low) * profiler.range
    if np.min(here) < low - slack or np.max(here) > high + slack:
        ends = [float(np.min(here)), float(np.max(here))]
        found.append(Deviation(name, "range", [low, high], ends))
    return found


def _texts(name: str, here: pa.ChunkedArray, there: pa.ChunkedArray, profiler: TableProfiler) -> list[Deviation]:
    import pyarrow.compute as pc

    known = pc.unique(there.drop_null())
    present = here.drop_null()
    if len(known) > _MOST_VALUES or not len(present):
        return []
    unknown = present.filter(pc.invert(pc.is_in(present, known)))
    share = len(unknown) / len(present)
    if share <= profiler.new_values:
        return []
    examples = sorted(pc.unique(unknown).to_pylist())[:3]
    return [Deviation(name, "new_values", 0.0, f"{share:.3f} of the rows, such as {', '.join(examples)}")]


def _finite(column: pa.ChunkedArray) -> Any:
    """The numbers of a column as floats, without nulls, NaN and infinities."""
    import pyarrow as pa

    values = numpy_values(column.drop_null().cast(pa.float64(), safe=False), np.float64)
    return values[np.isfinite(values)]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(_shown(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
