"""What importing costs, and which names are public."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import tiffin

HEAVY = (
    "pandas",
    "polars",
    "pyarrow",
    "numpy",
    "duckdb",
    "sqlalchemy",
    "sqlglot",
    "pydantic",
    "msgspec",
    "click",
    "rich",
)


def loaded_by(statement: str) -> set[str]:
    """The heavy modules that a fresh process has after a statement."""
    code = f"import sys\n{statement}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import tiffin") == set()


def test_definitions_need_no_data_library() -> None:
    assert loaded_by("from tiffin import Entity, FeatureView, Field, FileSource, FeatureService") == set()


def test_help_of_the_command_line_loads_no_data_library() -> None:
    statement = (
        "from click.testing import CliRunner; import tiffin.cli as c; c.main.main(['--help'], standalone_mode=False)"
    )
    heavy = loaded_by(f"import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()):\n    {statement}")
    assert not heavy & {"pandas", "polars", "pyarrow", "numpy", "duckdb", "sqlalchemy", "sqlglot"}


@pytest.mark.parametrize("name", [name for name in tiffin.__all__ if name != "__version__"])
def test_public_names_exist_and_are_documented(name: str) -> None:
    value = getattr(tiffin, name)
    assert value.__doc__, f"tiffin.{name} has no docstring"
    assert value.__name__ == name


def test_dir_lists_the_public_names() -> None:
    assert set(tiffin.__all__) <= set(dir(tiffin))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module("tiffin").nothing  # noqa: B018
