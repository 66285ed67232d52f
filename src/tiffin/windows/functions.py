"""The table of aggregate functions, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiffin.types import FeatureType
from tiffin.windows.aggregate import Aggregate
from tiffin.windows.choices import CountDistinct, First, FirstN, Last, LastN, Max, Min, TopK
from tiffin.windows.distinct import ApproxCountDistinct
from tiffin.windows.percentiles import ApproxPercentile
from tiffin.windows.sums import Count, Mean, StddevPop, StddevSamp, Sum, VarPop, VarSamp

#: Name to class; the names are those of ``tiffin.definitions.aggregation.FUNCTIONS``.
FUNCTIONS: Mapping[str, type[Aggregate[Any]]] = {
    "count": Count,
    "sum": Sum,
    "mean": Mean,
    "min": Min,
    "max": Max,
    "var_samp": VarSamp,
    "var_pop": VarPop,
    "stddev_samp": StddevSamp,
    "stddev_pop": StddevPop,
    "first": First,
    "last": Last,
    "first_n": FirstN,
    "last_n": LastN,
    "count_distinct": CountDistinct,
    "top_k": TopK,
    "approx_count_distinct": ApproxCountDistinct,
    "approx_percentile": ApproxPercentile,
}


def make_aggregate(function: str, dtype: FeatureType, params: Mapping[str, Any] | None = None) -> Aggregate[Any]:
    """A function for values of a type.

    Args:
        function: its name, not another one for it.
        dtype: the type of the column.
        params: its parameters.

    Raises:
        UnsupportedError: it cannot be computed from values of that type.

    >>> from tiffin.types import Int64
    >>> total = make_aggregate("sum", Int64)
    >>> total.finished(total.updated(total.initial(), 5, (0, 0, b"")))
    5
    """
    return FUNCTIONS[function](dtype, params)
