"""Aggregates over windows as SQL: every entity row joined to the facts of its longest window.

Each aggregate then chooses its own window by a FILTER. A union of rows and facts with RANGE frames would not depend on
how many facts a key has, but a frame cannot leave out the facts that were not known yet. With a hundred facts per key
the join is the faster one of both, with a thousand it takes two to three times as long, with ten thousand ten times.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tiffin.definitions.aggregation import ALL_FACTS
from tiffin.planning.aggregates import AggregateColumn
from tiffin.planning.retrieval import ViewJoin
from tiffin.sql.aggregates import SQL_FORMS, Chosen
from tiffin.sql.facts import SqlFacts, as_type, part, quote, selection
from tiffin.windows.aggregate import FLOATS
from tiffin.windows.functions import FUNCTIONS
from tiffin.windows.window import Window


def window_facts(view: ViewJoin, source: SqlFacts) -> exp.Select:
    """The different facts of a view: those that are equal in keys, times and payload are one."""
    columns = {f"k{number}": sql for number, sql in enumerate(source.keys)}
    columns["e"] = source.event_us
    if view.facts.known_column:
        columns["c"] = source.known_us
    for column in view.facts.payload:
        name = part(column.name)
        columns[name] = as_type(source.features[column.name], column.dtype)
        if column.dtype in FLOATS:
            columns[f"sign_{column.name}"] = f"signbit({columns[name]})"
    ordered = [quote(name) for name in list(columns)[len(source.keys) :]]
    columns |= {f"if{number}": sql for number, sql in enumerate(source.conditions)}
    listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql in columns.items())
    different = f"SELECT DISTINCT {listed} FROM {source.relation} AS f"
    if not any(FUNCTIONS[each.function].needs_order for each in view.aggregates):
        return selection(different)
    keys = ", ".join(f"k{number}" for number in range(len(source.keys)))
    partition = f"PARTITION BY {keys} " if keys else ""
    place = f"row_number() OVER ({partition}ORDER BY {', '.join(ordered)})"
    return selection(f"SELECT *, {place} AS place FROM ({different}) AS different")


def window_rows(index: int, view: ViewJoin, *, only_known: bool) -> exp.Select:
    """The aggregates for each entity row ``s`` whose key is not null, from the facts ``f`` of ``facts_<index>``."""
    keys = [f"s.{quote(key.entity_column)}" for key in view.keys]
    matches = [f"{key} = f.k{number}" for number, key in enumerate(keys)]
    matches += _reach([each.window for each in view.aggregates])
    if only_known and view.facts.known_column:
        matches.append("f.c <= s.__t")
    values = [
        f"{as_type(SQL_FORMS[each.function](_chosen(each, view)), feature.dtype)} AS {quote(part(feature.name))}"
        for feature, each in zip(view.features, view.aggregates, strict=True)
    ]
    there = f" WHERE {' AND '.join(f'{key} IS NOT NULL' for key in keys)}" if keys else ""
    return selection(
        f"SELECT s.__row, {', '.join(values)} FROM spine AS s LEFT JOIN facts_{index} AS f "
        f"ON {' AND '.join(matches)}{there} GROUP BY s.__row"
    )


def _reach(windows: Sequence[Window]) -> list[str]:
    """What holds for the facts of every one of some windows."""
    bounds = [f"f.e <= {_until(min(window.offset_us for window in windows))}"]
    backs = [
        None if window.length_us is None else window.offset_us + window.length_us + (window.slide_us or 0)
        for window in windows
    ]
    known = [back for back in backs if back is not None]
    if len(known) == len(backs):
        bounds.append(f"f.e > s.__t - {max(known)}")
    return bounds


def _until(offset_us: int) -> str:
    return f"(s.__t - {offset_us})" if offset_us else "s.__t"


def _chosen(each: AggregateColumn, view: ViewJoin) -> Chosen:
    """The facts that an aggregate is computed from."""
    window, until = each.window, _until(each.window.offset_us)
    where = [f"f.e <= {until}"]
    if window.length_us is not None:
        slide = window.slide_us
        # The remainder of a negative number is negative in SQL.
        edge = until if slide is None else f"({until} - ({until} % {slide} + {slide}) % {slide})"
        where.append(f"f.e > {edge} - {window.length_us}")
    value = "f.e"
    if each.column != ALL_FACTS:
        value = f"f.{quote(part(each.column))}"
        where.append(f"{value} IS NOT NULL")
    if each.condition is not None:
        where.append(f"f.if{view.conditions.index(each.condition)}")
    return Chosen(value, each.column_type, " AND ".join(where), "f.place", dict(each.params))
