"""A feature repository is imported file by file, and leaves no trace in the process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tiffin.definitions import Entity, FeatureView
from tiffin.errors import DefinitionError, RepositoryError
from tiffin.operations.repository import load_repository

HEAD = "from tiffin import Entity, FeatureView, FileSource, Project\n"


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        file = root / (name.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEAD + text)
    return root


def names(root: Path) -> list[str]:
    return [item.name for item in load_repository(root).objects]


def test_definitions_at_the_top_level_are_collected(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="driver = Entity(name='driver')\n_hidden = Entity(name='hidden')\nlisted = [Entity(name='listed')]\n"
        "def f():\n    return Entity(name='inner')\n",
        sub__b="source = FileSource(name='s', path='x.parquet')\nproject = Project(name='p')\nnumber = 3\n",
    )
    repository = load_repository(tmp_path)
    assert [item.name for item in repository.objects] == ["driver", "hidden", "s", "p"]
    assert repository.project is not None
    assert repository.project.name == "p"
    assert [file.name for file in repository.files] == ["a.py", "b.py"]


def test_files_import_one_another_and_an_object_counts_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        entities="driver = Entity(name='driver')\n",
        views="from entities import driver\nfrom sub.sources import s\n"
        "view = FeatureView(name='v', entities=[driver], source=s)\n",
        sub__sources="s = FileSource(name='s', path='x.parquet')\n",
    )
    objects = load_repository(tmp_path).objects
    assert sorted(item.name for item in objects) == ["driver", "s", "v"]
    view = next(item for item in objects if isinstance(item, FeatureView))
    assert view.entity_list[0] is next(item for item in objects if isinstance(item, Entity))


def test_some_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    broken = "raise RuntimeError('imported')\n"
    (tmp_path / ".tiffinignore").write_text("# ours\ntest_*.py\n/drafts/\nold/**/*.py\n")
    (tmp_path / ".feastignore").write_text("legacy.py\n")
    write(
        tmp_path,
        a="driver = Entity(name='driver')\n",
        test_a=broken,
        drafts__b=broken,
        old__deep__c=broken,
        legacy=broken,
        venv__d=broken,
        sub__test_b=broken,
    )
    for name in ("__init__.py", ".hidden/e.py", "__pycache__/f.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(broken)
    assert names(tmp_path) == ["driver"]


@pytest.mark.parametrize("module", ["features", "types", "json", "conftest", "my-file", "a.b", "pyarrow"])
def test_two_repositories_with_files_of_one_name_do_not_mix(tmp_path: Path, module: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{module}.py").write_text(HEAD + f"e = Entity(name='{name}')\n")
        if module == "features":
            (tmp_path / name / "use.py").write_text(
                "from features import e\nassert e.name == __file__.split('/')[-2]\n"
            )
    before = dict(sys.modules)
    path = list(sys.path)
    assert [names(tmp_path / name) for name in ("one", "two", "one")] == [["one"], ["two"], ["one"]]
    assert sys.modules.keys() == before.keys()
    assert all(sys.modules[name] is module_ for name, module_ in before.items())
    assert sys.path == path


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    assert names(write(tmp_path, a="e = Entity(name='a')\n")) == ["a"]
    assert names(write(tmp_path, a="e = Entity(name='b')\n")) == ["b"]
    assert not list(tmp_path.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("text", "line", "cause", "message"),
    [
        ("1 / 0\n", 2, ZeroDivisionError, "ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name\n", 2, ModuleNotFoundError, "No module named 'nothing_of_this_name'"),
        ("\n\nx = = 1\n", 4, SyntaxError, "invalid syntax"),
        ("def f():\n    raise ValueError('inner')\nf()\n", 3, ValueError, "inner"),
        ("import sys\nsys.exit(1)\n", 3, SystemExit, "SystemExit"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, cause: type[BaseException], message: str
) -> None:
    write(tmp_path, broken=text)
    with pytest.raises(RepositoryError) as caught:
        load_repository(tmp_path)
    assert message in caught.value.message
    assert caught.value.location == f"{tmp_path / 'broken.py'}:{line}"
    assert isinstance(caught.value.__cause__, cause)
    assert "broken" not in sys.modules
    assert str(tmp_path) not in sys.path


def test_an_error_below_an_import_names_the_file_that_failed(tmp_path: Path) -> None:
    write(tmp_path, a="import z\n", z="1 / 0\n")
    with pytest.raises(RepositoryError) as caught:
        load_repository(tmp_path)
    assert caught.value.location == f"{tmp_path / 'z.py'}:2"


def test_a_wrong_definition_is_shown_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, a="e = Entity(name='driver', join_keys=[])\n")
    with pytest.raises(DefinitionError, match="0 join keys") as caught:
        load_repository(tmp_path)
    assert caught.value.location == f"{tmp_path / 'a.py'}:2"


def test_two_projects_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a="p = Project(name='p')\nq = Project(name='q')\n")
    with pytest.raises(RepositoryError, match=r"two projects are declared: p at .*a.py:2 and q at .*a.py:3"):
        load_repository(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="there is no folder"):
        load_repository(tmp_path / "nowhere")


def test_an_empty_folder_has_no_objects(tmp_path: Path) -> None:
    repository = load_repository(tmp_path)
    assert repository.objects == ()
    assert repository.project is None
