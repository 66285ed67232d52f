"""The smaller verbs: delete, registry-dump, enable and disable, versions, saved datasets, on-demand and label views."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.repositories import NOW, Tiffin, edit
from tiffin import FeatureStore

MORE = """
from tiffin import LabelView, PushSource, RequestSource, on_demand_feature_view

order = RequestSource(name="order", schema=[Field(name="amount", dtype=Int64)])


@on_demand_feature_view(sources=[sales, order], schema=[Field(name="total", dtype=Float64)], mode="python")
def totals(inputs):
    return {"total": [None if r is None else r + a for r, a in zip(inputs["revenue"], inputs["amount"])]}


reviews = LabelView(
    name="reviews",
    entities=[shop],
    schema=[Field(name="labeler", dtype=String)],
    source=PushSource(name="reviews_push", timestamp_field="ts"),
)
"""


@pytest.fixture
def more(loaded: Path, tiffin: Tiffin) -> Path:
    """The small repository with an on-demand view and a label view."""
    file = loaded / "definitions.py"
    file.write_text(file.read_text() + MORE)
    tiffin("apply")
    return loaded


def test_functions_and_labels_are_listed_and_served(tiffin: Tiffin, more: Path) -> None:
    (view,) = tiffin("on-demand-feature-views", "list", "--json").data
    assert (view["name"], view["function"]["module"], view["function"]["name"]) == ("totals", "definitions", "totals")
    assert "definitions:totals" in tiffin("on-demand-feature-views", "list").out
    assert tiffin("on-demand-feature-views", "describe", "totals", "--json").data["mode"] == "python"
    assert [label["name"] for label in tiffin("label-views", "list", "--json").data] == ["reviews"]
    assert tiffin("label-views", "describe", "reviews", "--json").data["labeler_field"] == "labeler"
    assert tiffin("label-views", "describe", "sales", code=1).err.startswith(
        "Error: feature view sales is no label view"
    )
    answer = tiffin("get-online-features", "-e", "shop_id=007", "-e", "amount=1", "-f", "totals:total", "--json").data
    assert isinstance(answer["values"]["total"][0], float)
    wrong = tiffin("get-online-features", "-e", "shop_id=007", "-e", "amount=x", "-f", "totals:total", code=1)
    assert "a value of --entities is not of its type" in wrong.err


def test_a_change_of_a_function_is_shown_line_by_line(tiffin: Tiffin, more: Path) -> None:
    edit(more, "else r + a for", "else r - a for")
    shown = tiffin("plan").out
    assert "Update on-demand feature view totals\n  code:\n" in shown
    assert "r + a for" in shown
    assert "r - a for" in shown


def test_delete_removes_one_object(tiffin: Tiffin, more: Path) -> None:
    assert "Deleted feature service model" in tiffin("delete", "model").out
    assert "uses it" in tiffin("delete", "sales", code=1).err
    assert "Deleted on-demand feature view totals" in tiffin("delete", "totals").out
    assert tiffin("delete", "sale", code=1).err.startswith("Error: there is nothing called 'sale'")


def test_registry_dump_is_all_of_it(tiffin: Tiffin, more: Path) -> None:
    dumped = tiffin("registry-dump").data
    assert (dumped["project"], dumped["version"]) == ("retail", 2)
    kinds = [item["kind"] for item in dumped["objects"]]
    assert set(kinds) == {
        "project",
        "entity",
        "data source",
        "feature view",
        "on-demand feature view",
        "feature service",
    }


def test_a_disabled_view_is_not_served(tiffin: Tiffin, more: Path) -> None:
    read = ("get-online-features", "-e", "shop_id=007", "-f", "sales:orders")
    tiffin(*read)
    assert tiffin("feature-views", "disable", "sales").out == "Feature view sales is disabled\n"
    assert "enabled=False" in tiffin(*read, code=1).err
    tiffin("feature-views", "enable", "sales")
    tiffin(*read)


def test_versions_are_listed(tiffin: Tiffin, loaded: Path) -> None:
    edit(loaded, 'Field(name="orders", dtype=Int64, description="per day")', 'Field(name="orders", dtype=Float64)')
    tiffin("apply")
    assert [each["version"] for each in tiffin("feature-views", "list-versions", "sales", "--json").data] == [2, 1]
    assert tiffin("feature-views", "list-versions", "sales").out.splitlines()[1].startswith("v2")


def test_saved_datasets_are_listed_and_compared(tiffin: Tiffin, loaded: Path) -> None:
    with FeatureStore() as store:
        rows = [{"shop_id": "007", "event_timestamp": NOW}]
        store.create_saved_dataset(store.get_historical_features(rows, ["sales:orders"]), "first", "first.parquet")
    assert [item["name"] for item in tiffin("saved-datasets", "list", "--json").data] == ["first"]
    assert tiffin("saved-datasets", "list").out.splitlines()[1].startswith("first")
    assert tiffin("saved-datasets", "compare", "first", "--json").data["is_same"] is True
    assert "orders" in tiffin("saved-datasets", "compare", "first").out
    edit(loaded, 'Field(name="orders", dtype=Int64, description="per day")', 'Field(name="orders", dtype=Float64)')
    tiffin("apply")
    assert tiffin("saved-datasets", "compare", "first", "--json", code=1).data["different"] == {"orders": 1}


def test_everything_can_be_loaded_without_dates(tiffin: Tiffin, applied: Path) -> None:
    (run,) = tiffin("materialize", "--disable-event-timestamp", "--json").data["runs"]
    assert run["rows"] == 3
    tiffin("materialize", "2024-01-01", "2024-01-02", "--disable-event-timestamp", code=2)


def test_a_script_is_run_with_its_arguments(tiffin: Tiffin, applied: Path) -> None:
    (applied / "job.py").write_text(
        "import json, sys\nfrom feast import FeatureStore\n"
        "print(json.dumps([sys.argv[1:], FeatureStore().list_entities()[0].name]))"
    )
    (applied / ".tiffinignore").write_text("job.py")
    answer = tiffin("run", "job.py", "--deep", "x")
    assert json.loads(answer.out) == [["--deep", "x"], "shop"]
    tiffin("run", "no_such_job.py", code=2)


def test_version_says_which_feast_is_meant_where(tiffin: Tiffin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiffin.cli.commands.about._installed_feast", lambda: None)
    assert tiffin("version").out.splitlines()[1:] == []
    monkeypatch.setattr("tiffin.cli.commands.about._installed_feast", lambda: "0.67.0")
    assert "Feast 0.67.0 is installed too" in tiffin("version").out
    assert tiffin("version", "--json").data["feast"] == "0.67.0"
