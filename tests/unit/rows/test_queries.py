"""Queries over rows: each row by itself, and nothing else within reach."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tiffin.errors import DefinitionError, FunctionError
from tiffin.transforms.sql import check_query, query_columns, run_query

ROWS = pa.table(
    {
        "id": [1, 2, 3],
        "amount": [1.5, None, 2.0],
        "text": ["A", "b", None],
        "moment": pa.array([0, 1, 2], pa.timestamp("us", "UTC")),
        "user": ["u", "v", None],
        "many": [[1, 2], [], None],
    }
)


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("SELECT id + 1 AS x FROM source", [2, 3, 4]),
        ("SELECT amount * id AS x FROM source WHERE amount IS NOT NULL", [1.5, 6.0]),
        ("SELECT lower(text) AS x FROM source", ["a", "b", None]),
        (
            "SELECT CASE WHEN id BETWEEN 2 AND 3 THEN 'much' ELSE 'little' END AS x FROM source AS s",
            ["little", "much", "much"],
        ),
        ("SELECT coalesce(nullif(id, 2), 0)::BIGINT AS x FROM source", [1, 0, 3]),
        ("SELECT list_sum(list_transform(many, lambda y: y * 2))::BIGINT AS x FROM source", [6, None, None]),
        ("SELECT date_part('year', moment) AS x FROM source WHERE id IN (1, 3)", [1970, 1970]),
        ("SELECT source.id AS x FROM source WHERE NOT text LIKE 'A%'", [2]),
        ("SELECT user AS x FROM source", ["u", "v", None]),
        ("select id as x from source -- a remark", [1, 2, 3]),
    ],
)
def test_a_query_computes_every_row(query: str, values: list[object]) -> None:
    assert run_query(query, ROWS)["x"].to_pylist() == values


def test_a_query_tells_its_columns_from_types_alone() -> None:
    columns = {field.name: field.type for field in ROWS.schema}
    found = query_columns("SELECT * EXCLUDE (many), id * 0.5 AS half, id > 1 AS more FROM source", columns)
    assert list(found) == ["id", "amount", "text", "moment", "user", "half", "more"]
    assert found["more"] == pa.bool_()
    assert found["moment"] == pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC id FROM source", "cannot be read"),
        ("", "cannot be read|several statements"),
        ("DELETE FROM source", "cannot be read"),
        ("COPY (SELECT 1) TO 'x.csv'", "cannot be read"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("SELECT 1", "something else than source"),
        ("SELECT * FROM other", "reads other, not source"),
        ("SELECT * FROM source, source t", "something else than source"),
        ("SELECT * FROM source JOIN source t USING (id)", "something else than source"),
        ("SELECT * FROM (SELECT * FROM source)", "something else than source"),
        ("SELECT * FROM read_text('/etc/passwd')", "something else than source"),
        ("SELECT * FROM '/etc/passwd'", "not source"),
        ("WITH source AS (SELECT 1) SELECT * FROM source", "something else than source"),
        ("SELECT * FROM source UNION ALL SELECT * FROM source", "something else than source"),
        ("SELECT (SELECT max(id) FROM source) AS m FROM source", "a subquery"),
        ("SELECT * FROM source WHERE id IN (SELECT 1)", "a subquery"),
        ("SELECT sum(id) AS s FROM source", "calls sum"),
        ("SELECT count(*) AS s FROM source", "calls count"),
        ("SELECT id, row_number() OVER () AS n FROM source", "a window"),
        ("SELECT id FROM source GROUP BY id", "group"),
        ("SELECT id FROM source ORDER BY id", "order"),
        ("SELECT DISTINCT id FROM source", "distinct"),
        ("SELECT id FROM source LIMIT 1", "limit"),
        ("SELECT id FROM source USING SAMPLE 1", "sample"),
        ("SELECT id FROM source QUALIFY true", "qualify"),
        ("SELECT unnest(many) AS m FROM source", "calls unnest"),
        ("SELECT random() AS r FROM source", "calls random"),
        ("SELECT now() AS t FROM source", "calls now"),
        ("SELECT current_date AS t FROM source", "reads current_date"),
        ("SELECT age(moment) AS t FROM source", "calls age"),
        ("SELECT uuid() AS u FROM source", "calls uuid"),
        ("SELECT current_setting('threads') AS s FROM source", "calls current_setting"),
        ("SELECT getenv('HOME') AS h FROM source", "calls getenv"),
        ("SELECT id FROM source WHERE $1 = id", "a parameter"),
    ],
)
def test_what_needs_more_than_one_row_is_refused(query: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        check_query(query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT nothing FROM source", "nothing"),
        ("SELECT text::BIGINT AS x FROM source", "A"),
        ("SELECT no_such_function(id) AS x FROM source", "no_such_function"),
    ],
)
def test_a_query_that_fails_says_why(query: str, message: str) -> None:
    with pytest.raises((FunctionError, DefinitionError), match=message):
        run_query(query, ROWS)
