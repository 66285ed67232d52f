"""Point-in-time retrieval as one query, for engines with an ASOF join.

Each view's facts first get, per key, the newest fact seen so far (a running ``arg_max`` by ORD over the order in which
facts may be seen); an ASOF join then finds the last of these for each entity row. Where facts count from their event
time, the running newest is the fact itself; the form is the same. The last tie, by encoded payload, has no SQL form:
where two facts differ in payload alone, the query may answer with either. Views with aggregations are written by
``tiffin.sql.windows``.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlglot
from sqlglot import exp

from tiffin.errors import UnsupportedError
from tiffin.planning.retrieval import RetrievalPlan, ViewJoin
from tiffin.sql.facts import DIALECT, SqlFacts, part, quote, selection
from tiffin.sql.windows import window_facts, window_rows


def compile_retrieval(
    plan: RetrievalPlan, facts: Sequence[SqlFacts], *, time_column: str = "event_timestamp", table: str = "entity_df"
) -> str:
    """The query of a plan.

    Args:
        plan: the retrieval.
        facts: for each view of the plan, how its facts are read.
        time_column: the column of the entity rows that holds their time.
        table: the table of the entity rows.

    Raises:
        UnsupportedError: a column is computed by a Python function, or labels of several people are resolved.

    Returns:
        Text in DuckDB's dialect; its rows are the entity rows with the features, in order.
    """
    moment = sqlglot.parse_one(_moment(time_column), dialect=DIALECT)
    number = exp.Window(this=exp.func("row_number", dialect=DIALECT))
    spine = exp.select(exp.alias_(number, "__row"), exp.alias_(moment, "__t"), "*").from_(exp.to_table(table))
    query = exp.select(exp.Column(this=exp.Star(except_=_names("__row", "__t")), table=exp.to_identifier("spine")))
    query = query.from_("spine").with_("spine", as_=spine)
    for index, (view, source) in enumerate(zip(plan.views, facts, strict=True)):
        if view.conflict is not None:
            raise UnsupportedError(
                f"the labels of {view.name} are resolved by {view.conflict.policy.name}, which is not put into SQL",
                subject=f"feature view {view.name}",
                hint="run the retrieval",
            )
        if view.aggregates:
            read, found = window_facts(view, source), window_rows(index, view, only_known=plan.only_known)
        else:
            read, found = _seen_facts(view, source, only_known=plan.only_known), _view_rows(index, view)
        query = query.with_(f"facts_{index}", as_=read).with_(f"view_{index}", as_=found)
        query = query.join(f"view_{index}", on=f"spine.__row = view_{index}.__row", join_type="left", dialect=DIALECT)
    for output in plan.columns:
        if output.computed:
            view_name = plan.computed[output.view].name
            raise UnsupportedError(
                f"on-demand feature view {view_name} is a Python function, which no SQL can compute",
                subject=f"on-demand feature view {view_name}",
                hint="ask for the features that it computes from, or run the retrieval",
            )
        feature = plan.views[output.view].features[output.feature]
        column: exp.Expression = exp.column(part(feature.name), table=f"view_{output.view}", quoted=True)
        if feature.default is not None:
            column = exp.Coalesce(this=column, expressions=[exp.convert(feature.default)])
        query = query.select(exp.alias_(column, output.name, quoted=True))
    return query.order_by("spine.__row").sql(dialect=DIALECT, pretty=True)


def _moment(time_column: str) -> str:
    """The time of an entity row in microseconds; a cast from nanoseconds would round where they are to be floored."""
    name = quote(time_column)
    nanos = f"epoch_ns(TRY_CAST({name} AS TIMESTAMP_NS))"
    floored = f"(({nanos} - (({nanos} % 1000) + 1000) % 1000) // 1000)"
    kinds = "('TIMESTAMP_NS', 'TIMESTAMPTZ_NS')"
    return f"CASE WHEN typeof({name}) IN {kinds} THEN {floored} ELSE epoch_us(CAST({name} AS TIMESTAMPTZ)) END"


def _names(*names: str) -> list[exp.Expression]:
    return [exp.to_identifier(name) for name in names]


def _seen_facts(view: ViewJoin, source: SqlFacts, *, only_known: bool) -> exp.Select:
    """Per key and moment, the newest fact seen until then."""
    seen = f"greatest({source.event_us}, {source.known_us})" if only_known else source.event_us
    keys = [f"{sql} AS k{i}" for i, sql in enumerate(source.keys)]
    parts = ", ".join(f"{quote(part(f.name))} := {source.features[f.name]}" for f in view.features)
    partition = f"PARTITION BY {', '.join(source.keys)} " if source.keys else ""
    newest = (
        f"arg_max(struct_pack(__e := {source.event_us}, {parts}), ROW({source.event_us}, {source.known_us})) "
        f"OVER ({partition}ORDER BY {seen} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS newest"
    )
    columns = [sqlglot.parse_one(text, dialect=DIALECT) for text in (*keys, f"{seen} AS seen", newest)]
    relation = sqlglot.parse_one(f"SELECT 1 FROM {source.relation} AS f", dialect=DIALECT).args["from_"]
    query = exp.select(*columns)
    query.set("from_", relation)
    return query


def _view_rows(index: int, view: ViewJoin) -> exp.Select:
    """For each entity row the newest fact seen by its time, null when it is older than the ttl."""
    keys = " AND ".join(f"s.{quote(key.entity_column)} = f.k{i}" for i, key in enumerate(view.keys))
    on = f"{keys + ' AND ' if keys else ''}s.__t >= f.seen"
    fresh = "true" if view.ttl_us is None else f"f.newest.__e >= s.__t - {view.ttl_us}"
    names = [quote(part(feature.name)) for feature in view.features]
    parts = [f"CASE WHEN {fresh} THEN f.newest.{name} END AS {name}" for name in names]
    text = f"SELECT s.__row, {', '.join(parts)} FROM spine AS s ASOF LEFT JOIN facts_{index} AS f ON {on}"
    return selection(text)
