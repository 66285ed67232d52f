"""Views with a function over rows: what is taken, what is refused, and that the registry keeps all of it."""

from __future__ import annotations

from typing import Any

import pytest

from tiffin.definitions import (
    BatchFeatureView,
    Entity,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    StreamFeatureView,
    batch_feature_view,
    stream_feature_view,
    view_from_spec,
)
from tiffin.errors import DefinitionError, UnsupportedError
from tiffin.types import Float64, Int64

FILES = FileSource(name="s", path="s.parquet", timestamp_field="ts")
PUSHED = PushSource(name="p", batch_source=FILES)
CARD = Entity(name="card", join_keys=["card"])
SCHEMA = [Field(name="euros", dtype=Float64)]
QUERY = "SELECT *, amount * rate AS euros FROM source"


def doubled(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return rows | {"euros": [2 * value for value in rows["amount"]]}


def batch(**arguments: Any) -> BatchFeatureView:
    return BatchFeatureView(name="v", entities=[CARD], source=FILES, schema=SCHEMA, **arguments)


def again(view: FeatureView) -> FeatureView:
    """The view from what the registry keeps of it."""
    sources = {"s": FILES, "p": PUSHED}
    return view_from_spec(view.to_spec(), sources, {"card": CARD})


@pytest.mark.parametrize(
    "arguments",
    [
        {"udf": doubled},
        {"udf": doubled, "singleton": True},
        {"udf": doubled, "mode": "pandas", "input_schema": [Field(name="amount", dtype=Int64)]},
        {"udf": doubled, "mode": "polars"},
        {"udf": QUERY, "mode": "sql"},
    ],
)
def test_the_registry_gives_the_same_view_back(arguments: dict[str, Any]) -> None:
    view = batch(**arguments)
    assert again(view) == view
    assert again(view).to_spec() == view.to_spec()
    assert view.transforms_rows


def test_a_query_may_be_text_or_a_function_that_makes_it() -> None:
    given = [
        {"udf": QUERY},
        {"udf_string": QUERY},
        {"udf": f"{QUERY} ; "},
        {"udf": lambda rows: f"SELECT *, amount * rate AS euros FROM {rows}"},
    ]
    assert {batch(mode="sql", **each).sql for each in given} == {QUERY}


def test_a_transformation_object_brings_function_and_mode() -> None:
    class Given:
        mode = "pandas"
        udf = staticmethod(doubled)

    view = batch(feature_transformation=Given())
    assert view.mode == "pandas"
    assert view.function == batch(udf=doubled).function


def test_decorators_make_views_of_functions() -> None:
    @batch_feature_view(entities=[CARD], source=FILES, schema=SCHEMA, mode="pandas")
    def spent(frame: Any) -> Any:
        """What was spent."""
        return frame

    @stream_feature_view(entities=[CARD], source=PUSHED, schema=SCHEMA, mode="python")
    def streamed(rows: Any) -> Any:
        return rows

    assert isinstance(spent, BatchFeatureView)
    assert (spent.name, spent.description, spent.mode, spent.online) == ("spent", "What was spent.", "pandas", True)
    assert isinstance(streamed, StreamFeatureView)
    assert streamed.transforms_rows


def test_a_view_without_a_function_stays_what_it_was() -> None:
    view = batch()
    assert not view.transforms_rows
    assert "function" not in view.to_spec()
    assert "input_schema" not in view.to_spec()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"udf": doubled, "mode": "pandsa"}, "has mode 'pandsa'"),
        ({"udf": doubled, "mode": "pandas", "singleton": True}, "singleton goes with mode python"),
        ({"udf": 3}, "udf is 3, not a function"),
        ({"udf": lambda rows, now: rows}, "has other parameters"),
        ({"udf": lambda: None}, "has other parameters"),
        ({"udf_string": "def f(rows): return rows"}, "has a udf_string and no function"),
        ({"singleton": True}, "has singleton and no function"),
        ({"input_schema": SCHEMA}, "has input_schema and no function"),
        ({"udf": doubled, "input_schema": ["amount"]}, r"input_schema\[0\]"),
        ({"udf": lambda rows: None, "mode": "sql"}, "its query is '', not a text"),
        ({"feature_transformation": object()}, "which has no function"),
    ],
)
def test_what_is_no_function_over_rows_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((DefinitionError, TypeError), match=message):
        batch(**arguments)


@pytest.mark.parametrize("mode", ["spark", "spark_sql", "ray", "flink", "trino_sql", "substrait"])
def test_languages_of_feast_that_are_not_there_are_refused(mode: str) -> None:
    with pytest.raises(UnsupportedError, match=f"mode '{mode}' is not supported yet"):
        batch(udf=doubled, mode=mode)


def test_the_default_language_of_a_stream_decorator_is_that_of_feast_and_refused() -> None:
    with pytest.raises(UnsupportedError, match="mode 'spark' is not supported yet"):
        stream_feature_view(entities=[CARD], source=PUSHED, schema=SCHEMA)(doubled)


def test_a_view_cannot_be_made_of_rows_behind_a_function() -> None:
    with pytest.raises(UnsupportedError, match="whose rows go through a function"):
        FeatureView(name="w", source=batch(udf=doubled))  # type: ignore[arg-type]
