"""DEF-1 and DEF-6: functions are found by module path and hash, and nothing from the registry is ever run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tiffin import FeatureStore, Field, ManualClock
from tiffin.definitions import FunctionCode, Projection, ViewUse, function
from tiffin.errors import DefinitionError, DefinitionTypeError, FunctionError
from tiffin.operations.repository import load_repository
from tiffin.types import Int64
from unit.on_demand.project import NOON, REQUEST, STATS, on_demand, opened, rows

DEFINITIONS = """
from tiffin import Entity, FeatureView, Field, FileSource, RequestSource, on_demand_feature_view
from tiffin.types import Int64

driver = Entity(name="driver", join_keys=["driver_id"])
source = FileSource(path="stats.parquet", timestamp_field="ts")
stats = FeatureView(name="stats", entities=[driver], source=source, schema=[Field(name="trips", dtype=Int64)])
order = RequestSource(name="order", schema=[Field(name="amount", dtype=Int64)])


@on_demand_feature_view(sources=[stats, order], schema=[Field(name="out", dtype=Int64)], mode="python", singleton=True)
def made(row):
    return {"out": row["amount"] + %s}
"""


@pytest.fixture(autouse=True)
def own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered and forgotten here is nobody else's."""
    monkeypatch.setattr(function, "_KNOWN", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    opened(tmp_path).teardown()
    (tmp_path / "feature_store.yaml").write_text("project: tests\n")
    (tmp_path / "parts").mkdir()
    write(tmp_path, 1)
    return tmp_path


def write(folder: Path, number: int) -> None:
    (folder / "parts" / "views.py").write_text(DEFINITIONS % number)


def open_store(folder: Path) -> FeatureStore:
    """A store as another process has it: nothing is remembered of functions that were loaded before."""
    function._KNOWN.clear()
    return FeatureStore(repo_path=folder, clock=ManualClock(NOON))


def apply(folder: Path) -> str:
    return str(open_store(folder).apply(load_repository(folder).objects))


def out(folder: Path) -> object:
    return open_store(folder).get_online_features(["made:out"], rows()).to_dict()["out"]


def test_another_process_imports_the_file(folder: Path) -> None:
    apply(folder)
    code = (
        "import sys, json, tiffin\n"
        f"store = tiffin.FeatureStore(repo_path={str(folder)!r})\n"
        "answer = store.get_online_features(['made:out'], [{'driver_id': 1, 'amount': 10}]).to_dict()\n"
        "print(json.dumps([answer['out'], sorted(m for m in sys.modules if m.startswith('parts'))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert json.loads(done.stdout) == [[11], []]


def test_a_change_of_the_code_shows_in_the_plan(folder: Path) -> None:
    assert "+ on-demand feature view made" in apply(folder)
    assert "nothing changes" in apply(folder)
    write(folder, 2)
    shown = apply(folder)
    assert "~ on-demand feature view made" in shown
    assert "-    return {'out': row['amount'] + 1}" in shown
    assert "+    return {'out': row['amount'] + 2}" in shown
    assert out(folder) == [12, 22, 32]


def test_layout_and_comments_are_no_change(folder: Path) -> None:
    apply(folder)
    text = (DEFINITIONS % 1).replace("    return", "    # the sum\n    return").replace("+ 1}", "+  1 }")
    (folder / "parts" / "views.py").write_text("\n\n\n" + text)
    assert "nothing changes" in apply(folder)


def test_another_function_than_was_applied_is_refused(folder: Path) -> None:
    apply(folder)
    write(folder, 2)
    with pytest.raises(FunctionError, match=r"(?s)made is another function than was applied.*tiffin apply"):
        out(folder)


def test_a_function_or_file_that_is_gone_is_named(folder: Path) -> None:
    apply(folder)
    (folder / "parts" / "views.py").write_text("")
    with pytest.raises(FunctionError, match=r"module parts\.views has no made"):
        out(folder)
    (folder / "parts" / "views.py").unlink()
    with pytest.raises(FunctionError, match=r"(?s)module parts\.views is not found.*parts/views\.py"):
        out(folder)


def test_a_function_of_a_script_works_in_its_process_only(tmp_path: Path) -> None:
    store = opened(tmp_path, on_demand(lambda row: {"out": row["amount"]}, singleton=True))
    assert store.get_online_features(["made:out"], rows()).to_dict()["out"] == [10, 20, 30]
    function._KNOWN.clear()
    store.refresh_registry()
    with pytest.raises(FunctionError, match=r"(?s)script or notebook.*move it into a file"):
        store.get_online_features(["made:out"], rows())


def test_the_registry_holds_text_that_nobody_runs(folder: Path) -> None:
    apply(folder)
    view = open_store(folder).get_on_demand_feature_view("made")
    assert view.udf is None
    assert view.function is not None
    assert (view.function.module, view.function.name) == ("parts.views", "made")
    assert view.function.source.startswith("def made(row):")


def test_functions_that_capture_other_things_are_different() -> None:
    def make(number: int):
        return lambda row: {"out": number}

    assert FunctionCode.of(make(1)) != FunctionCode.of(make(2))
    assert FunctionCode.of(make(1)) == FunctionCode.of(make(1))


# --- Definitions -----------------------------------------------------------------------------------------------------

WRONG = {
    "no sources": ({"sources": []}, "has no sources"),
    "source": ({"sources": ["stats"]}, "'stats' is no source"),
    "same source": ({"sources": [STATS, STATS]}, "two sources called 'stats'"),
    "no schema": ({"schema": []}, "has no schema"),
    "mode": ({"mode": "ray"}, "has mode 'ray'"),
    "singleton": ({"mode": "pandas", "singleton": True}, "singleton goes with mode python"),
    "no function": ({"udf": None}, "has no function"),
    "function": ({"udf": 3}, "udf is 3, not a function"),
    "parameters": ({"udf": lambda a, b: a}, "has other parameters"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_on_demand_view_is_refused(case: str) -> None:
    arguments, message = WRONG[case]
    with pytest.raises((DefinitionError, DefinitionTypeError), match=message):
        on_demand(**{"udf": lambda row: row, "mode": "python", **arguments})


def test_views_that_compute_from_each_other_are_refused(tmp_path: Path) -> None:
    first = on_demand(lambda row: row, name="first", singleton=True)
    second = on_demand(lambda row: row, name="second", sources=[first], singleton=True)
    store = opened(tmp_path, second)
    other = on_demand(lambda row: row, name="second", sources=[REQUEST], singleton=True)
    circle = on_demand(lambda row: row, name="first", sources=[other], singleton=True)
    with pytest.raises(DefinitionError, match="there are two different objects"):
        store.apply([circle, second])
    itself = on_demand(lambda row: row, name="first", sources=[ViewUse("second", Projection())], singleton=True)
    with pytest.raises(DefinitionError, match="first -> second -> first"):
        store.apply([itself])


def test_a_view_that_others_compute_from_cannot_be_removed(tmp_path: Path) -> None:
    view = on_demand(lambda row: row, singleton=True, schema=[Field(name="out", dtype=Int64)])
    store = opened(tmp_path, view)
    with pytest.raises(DefinitionError, match="feature view stats cannot be removed: on-demand feature view made"):
        store.delete_feature_view("stats")
