"""The SQL form of every aggregate function, for DuckDB.

Each is an expression over the facts of one entity row. They give the values of ``tiffin.windows`` but for what SQL
cannot say: floats are added up in no particular order and rounded each time, and different values are counted instead
of estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tiffin.types import FeatureType
from tiffin.windows.aggregate import FLOATS
from tiffin.windows.percentiles import INF_BITS, MANTISSA_BITS

#: Of larger denominators, ``p`` times the number of facts is below one.
_LARGEST_WHOLE = 10**28


@dataclass(frozen=True)
class Chosen:
    """The facts that an aggregate is computed from.

    Attributes:
        value: the column, as an expression.
        dtype: its type.
        where: the condition that a fact counts; false for null values.
        place: the number of a fact in ORD, as an expression.
        params: the parameters of the function.
    """

    value: str
    dtype: FeatureType
    where: str
    place: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def over(self, call: str, also: str = "") -> str:
        """An aggregate of the engine over these facts, or those of them for which a further condition is true."""
        return f"{call} FILTER (WHERE {self.where}{f' AND {also}' if also else ''})"

    @property
    def is_float(self) -> bool:
        """Whether the values are floats."""
        return self.dtype in FLOATS

    @property
    def number(self) -> str:
        """The value as a number that sums do not leave early."""
        return f"CAST({self.value} AS {'DOUBLE' if self.is_float else 'BIGINT'})"

    @property
    def unsigned_zero(self) -> str:
        """The value, where zero has no sign."""
        return f"({self.value} + CAST(0 AS DOUBLE))" if self.is_float else self.value


def _let(name: str, value: str, body: str) -> str:
    """An expression that reads another one by a name, so that this is written once.

    A name that a column of the entity rows has too is taken for that column, so names begin with two underscores.
    """
    return f"[{body} FOR {name} IN [{value}]][1]"


def _count(facts: Chosen) -> str:
    return facts.over("count(*)")


def _sum(facts: Chosen) -> str:
    return facts.over(f"sum({facts.number})")


def _mean(facts: Chosen) -> str:
    return facts.over(f"avg({facts.number})")


def _extreme(name: str) -> Callable[[Chosen], str]:
    def extreme(facts: Chosen) -> str:
        found = facts.over(f"{name}({facts.value})")
        if not facts.is_float:
            return found
        # Zero and minus zero are equal to the engine, which then gives the one that it met first.
        negative = facts.over(f"bool_{'or' if name == 'min' else 'and'}(signbit({facts.value}))", f"{facts.value} = 0")
        return f"CASE WHEN {found} <> 0 THEN {found} WHEN {negative} THEN CAST('-0.0' AS DOUBLE) ELSE abs({found}) END"

    return extreme


def _spread(name: str, *, freedom: int) -> Callable[[Chosen], str]:
    def spread(facts: Chosen) -> str:
        value = f"CAST({facts.value} AS DOUBLE)"
        if not facts.is_float:
            return facts.over(f"{name}({value})")
        odd = facts.over("count(*)", f"NOT isfinite({value})")
        finite = facts.over(f"{name}({value})", f"isfinite({value})")
        is_odd = f"{odd} > 0 AND {facts.over('count(*)')} > {freedom}"
        return f"CASE WHEN {is_odd} THEN CAST('NaN' AS DOUBLE) ELSE {finite} END"

    return spread


def _first(facts: Chosen) -> str:
    return facts.over(f"arg_min({facts.value}, {facts.place})")


def _last(facts: Chosen) -> str:
    return facts.over(f"arg_max({facts.value}, {facts.place})")


def _first_n(facts: Chosen) -> str:
    return facts.over(f"arg_min({facts.value}, {facts.place}, {facts.params['n']})")


def _last_n(facts: Chosen) -> str:
    newest_first = facts.over(f"arg_max({facts.value}, {facts.place}, {facts.params['n']})")
    return f"list_reverse({newest_first})"


def _count_distinct(facts: Chosen) -> str:
    return facts.over(f"count(DISTINCT {facts.unsigned_zero})")


def _top_k(facts: Chosen) -> str:
    entries = f"map_entries({facts.over(f'histogram({facts.unsigned_zero})')})"
    counts = f"[{{'rank': -CAST(__entry.value AS BIGINT), 'value': __entry.key}} FOR __entry IN {entries}]"
    most = f"list_sort({counts})[:{facts.params['n']}]"
    return f"[{{'value': __entry.value, 'count': -__entry.rank}} FOR __entry IN {most}]"


def _percentile(facts: Chosen) -> str:
    """The number of a rank, rounded as ``tiffin.windows.percentiles`` says: as whole numbers of the bits of doubles."""
    numbers = f"list_sort({facts.over('list(CAST(' + facts.value + ' AS DOUBLE) + CAST(0 AS DOUBLE))')})"
    step = 1 << (MANTISSA_BITS - int(facts.params["precision"]))
    bits = "CAST(CAST(abs(__number) AS BIT) AS BIGINT)"
    steps = f"least(({bits} + {step // 2}) // {step}, {INF_BITS // step - 1})"
    rounded = f"sign(__number) * CAST(CAST({steps} * {step} AS BIT) AS DOUBLE)"
    value = (
        "CASE WHEN NOT isfinite(__number) OR __rank = 1 OR __rank = __last THEN __number "
        f"ELSE greatest(least({rounded}, __numbers[__last]), __numbers[1]) + CAST(0 AS DOUBLE) END"
    )
    value = _let("__number", "__numbers[__rank]", value)
    value = _let("__last", "len([__each FOR __each IN __numbers IF NOT isnan(__each)])", value)
    return _let("__numbers", numbers, _let("__rank", _rank(facts.params["p"]), value))


def _rank(p: float) -> str:
    """The rank of a percentile among ``__numbers``: the part as it is written, of how many they are, rounded up."""
    share = Fraction(repr(float(p)))
    if share.denominator > _LARGEST_WHOLE:
        return "1"
    up = f"CAST(len(__numbers) AS HUGEINT) * {share.numerator} + {share.denominator - 1}"
    return f"greatest(CAST(({up}) // {share.denominator} AS BIGINT), 1)"


#: Function to what writes it; the names are those of ``tiffin.windows.functions``.
SQL_FORMS: Mapping[str, Callable[[Chosen], str]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "min": _extreme("min"),
    "max": _extreme("max"),
    "var_samp": _spread("var_samp", freedom=1),
    "var_pop": _spread("var_pop", freedom=0),
    "stddev_samp": _spread("stddev_samp", freedom=1),
    "stddev_pop": _spread("stddev_pop", freedom=0),
    "first": _first,
    "last": _last,
    "first_n": _first_n,
    "last_n": _last_n,
    "count_distinct": _count_distinct,
    "top_k": _top_k,
    "approx_count_distinct": _count_distinct,
    "approx_percentile": _percentile,
}
