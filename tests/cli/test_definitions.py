"""plan, apply, history, rollback, teardown, and the lists of what was applied."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.repositories import Tiffin, edit


def test_apply_says_what_was_created(tiffin: Tiffin, repository: Path) -> None:
    lines = tiffin("apply").out.splitlines()
    for line in ("Created entity shop", "Created feature view sales", "Created feature service model"):
        assert line in lines


def test_apply_twice_changes_nothing(tiffin: Tiffin, applied: Path) -> None:
    assert tiffin("apply").out == "No changes to registry\n"
    assert len(tiffin("history", "--json").data) == 1


def test_plan_changes_nothing(tiffin: Tiffin, repository: Path) -> None:
    assert "Create entity shop" in tiffin("plan").out
    assert tiffin("history", "--json").data == []
    assert tiffin("entities", "list", "--json").data == []


def test_an_update_says_old_and_new(tiffin: Tiffin, applied: Path) -> None:
    edit(applied, "ttl=timedelta(days=1)", "ttl=timedelta(days=2)")
    assert "Update feature view sales\n  ttl: 1d -> 2d\n" in tiffin("plan").out
    assert "Updated feature view sales\n  ttl: 1d -> 2d\n" in tiffin("apply").out


def test_what_is_gone_from_the_files_is_deleted(tiffin: Tiffin, applied: Path) -> None:
    edit(applied, 'model = FeatureService(name="model", features=[sales])', "")
    assert "Deleted feature service model\n" in tiffin("apply").out
    assert tiffin("feature-services", "list", "--json").data == []


def test_plan_and_apply_as_json_name_every_change(tiffin: Tiffin, repository: Path) -> None:
    planned, done = tiffin("plan", "--json").data, tiffin("apply", "--json").data
    assert planned == done
    assert {"added"} == {change["action"] for change in done["changes"]}
    assert ("feature view", "sales") in {(change["kind"], change["name"]) for change in done["changes"]}
    assert tiffin("apply", "--json").data["is_empty"] is True


def test_a_wrong_definition_names_file_and_line_and_changes_nothing(tiffin: Tiffin, applied: Path) -> None:
    edit(applied, "ttl=timedelta(days=1)", "ttl=timedelta(days=-1)")
    answer = tiffin("apply", code=1)
    assert "definitions.py:" in answer.err
    assert "negative" in answer.err
    assert "Traceback" not in answer.err
    assert len(tiffin("history", "--json").data) == 1


def test_a_file_that_cannot_be_imported_names_file_and_line(tiffin: Tiffin, repository: Path) -> None:
    edit(repository, "shop = Entity(", "import does_not_exist\nshop = Entity(")
    answer = tiffin("plan", "--json", code=1)
    assert "definitions.py:" in answer.problem["location"]
    assert "does_not_exist" in answer.problem["message"]


def test_a_missing_source_is_named(tiffin: Tiffin, repository: Path) -> None:
    (repository / "sales.parquet").unlink()
    assert "sales.parquet" in tiffin("apply", code=1).err
    assert tiffin("history", "--json").data == []


def test_rollback_makes_an_older_version_current_again(tiffin: Tiffin, applied: Path) -> None:
    edit(applied, "ttl=timedelta(days=1)", "ttl=timedelta(days=2)")
    tiffin("apply")
    assert "Updated feature view sales\n  ttl: 2d -> 1d\n" in tiffin("rollback", "1").out
    assert tiffin("feature-views", "describe", "sales", "--json").data["ttl"] == "1d"
    versions = [commit["version"] for commit in tiffin("history", "--json").data]
    assert versions == [3, 2, 1]


def test_rollback_to_a_version_that_is_not_there_is_refused(tiffin: Tiffin, applied: Path) -> None:
    assert "9" in tiffin("rollback", "9", code=1).err
    tiffin("rollback", "0", code=2)


def test_history_is_a_table_for_people(tiffin: Tiffin, applied: Path) -> None:
    assert tiffin("history").out.splitlines()[0].split() == ["VERSION", "CREATED", "AUTHOR", "MESSAGE"]


def test_teardown_asks_and_does_nothing_without_a_yes(
    tiffin: Tiffin, applied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiffin.cli.commands.registry.is_terminal", lambda: True)
    assert "Nothing was done" in tiffin("teardown", input="n\n", code=1).err
    tiffin("teardown", input="", code=1)
    assert tiffin("teardown", "--json", code=1).problem["hint"] == "add --yes"
    assert len(tiffin("history", "--json").data) == 1


@pytest.mark.parametrize(("words", "input", "asked"), [(["--yes"], None, True), ([], "y\n", True), ([], None, False)])
def test_teardown_removes_definitions_and_tables_but_no_source(
    tiffin: Tiffin,
    loaded: Path,
    words: list[str],
    input: str | None,
    asked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tiffin.cli.commands.registry.is_terminal", lambda: asked)
    assert "Deleted project retail" in tiffin("teardown", *words, input=input).out
    assert tiffin("history", "--json").data == []
    assert (loaded / "sales.parquet").exists()
    tiffin("apply")
    values = tiffin("get-online-features", "-e", "shop_id=007", "-f", "sales:orders", "--json").data
    assert values["statuses"]["orders"] == ["NOT_FOUND"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("entities", ["shop"]),
        ("feature-views", ["sales"]),
        ("data-sources", ["sales_source"]),
        ("feature-services", ["model"]),
        ("projects", ["retail"]),
    ],
)
def test_lists_and_descriptions_agree(tiffin: Tiffin, applied: Path, kind: str, names: list[str]) -> None:
    assert [item["name"] for item in tiffin(kind, "list", "--json").data] == names
    table = tiffin(kind, "list").out.splitlines()
    assert table[0].startswith("NAME")
    assert table[1].startswith(names[0])
    described = tiffin(kind, "describe", names[0], "--json").data
    assert described["name"] == names[0]
    assert yaml.safe_load(tiffin(kind, "describe", names[0]).out) == described


@pytest.mark.parametrize("kind", ["entities", "feature-views", "data-sources", "feature-services", "projects"])
def test_an_unknown_name_gives_the_nearest(tiffin: Tiffin, applied: Path, kind: str) -> None:
    name = tiffin(kind, "list", "--json").data[0]["name"]
    answer = tiffin(kind, "describe", f"{name}x", "--json", code=1)
    assert answer.problem["code"] == "not_found"
    assert answer.problem["hint"] == f"did you mean {name}?"


def test_a_described_view_says_where_it_is_declared_and_kept(tiffin: Tiffin, applied: Path) -> None:
    described = tiffin("feature-views", "describe", "sales", "--json").data
    assert described["location"].startswith("definitions.py:")
    assert described["ttl"] == "1d"
    assert described["online_table"].startswith("retail.sales.")


def test_tags_filter_lists(tiffin: Tiffin, applied: Path) -> None:
    assert len(tiffin("feature-views", "list", "--json", "--tags", "team:retail", "--tags", "tier:1").data) == 1
    assert tiffin("feature-views", "list", "--json", "--tags", "team:retail,tier:2").data == []
    assert "key:value" in tiffin("feature-views", "list", "--tags", "team", code=1).err


def test_features_are_listed_with_view_and_type(tiffin: Tiffin, applied: Path) -> None:
    rows = [line.split() for line in tiffin("features", "list").out.splitlines()]
    assert rows[1:] == [["revenue", "sales", "Float64"], ["orders", "sales", "Int64", "per", "day"]]
    as_feast = tiffin("features", "list", "--output", "json").data
    assert as_feast == tiffin("features", "list", "-v", "sales", "--json").data


@pytest.mark.parametrize("name", ["orders", "sales:orders"])
def test_a_feature_is_described_by_name_and_by_reference(tiffin: Tiffin, applied: Path, name: str) -> None:
    expected = {"feature_view": "sales", "name": "orders", "description": "per day", "dtype": "Int64"}
    assert tiffin("features", "describe", name, "--json").data == [expected]
    assert yaml.safe_load(tiffin("features", "describe", name).out) == expected


def test_an_unknown_feature_gives_the_nearest(tiffin: Tiffin, applied: Path) -> None:
    assert "did you mean orders" in tiffin("features", "describe", "order", code=1).err
