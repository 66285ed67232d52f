"""``tiffin plan``, ``apply``, ``history``, ``rollback`` and ``teardown``: the definitions and their versions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_table, say
from tiffin.errors import RequestError
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.planning.apply import ApplyPlan
    from tiffin.store import FeatureStore

#: What is said of an object, by what becomes of it: when it is planned, and when it is done.
_PLANNED = {"added": "Create", "changed": "Update", "removed": "Delete"}
_DONE = {"added": "Created", "changed": "Updated", "removed": "Deleted"}
_COLOURS = {"added": "green", "changed": "yellow", "removed": "red"}


@click.command()
@click.option("--skip-source-validation", is_flag=True, help="For compatibility; sources are always checked.")
@click.option("--skip-feature-view-validation", is_flag=True, help="For compatibility; functions are never run here.")
@json_option
@pass_invocation
def plan(invocation: Invocation, /, as_json: bool, **_: bool) -> None:
    """Show what apply would change."""
    with invocation.store() as store:
        made = _plan_repository(store)
    _print_plan(made, _PLANNED, as_json)
    if not made.is_empty and not as_json:
        say(f"\n{made.summary}; nothing is changed yet, run `tiffin apply`", dim=True)


@click.command()
@click.option("--skip-source-validation", is_flag=True, help="For compatibility; sources are always checked.")
@click.option("--skip-feature-view-validation", is_flag=True, help="For compatibility; functions are never run here.")
@click.option("--no-progress", is_flag=True, help="For compatibility; there is no progress bar.")
@json_option
@pass_invocation
def apply(invocation: Invocation, /, as_json: bool, **_: bool) -> None:
    """Make the definitions of the repository current.

    All of them are applied or none; online tables are created as needed.
    """
    with invocation.store() as store:
        done = store.apply(_plan_repository(store))
    _print_plan(done, _DONE, as_json)
    if not done.is_empty and not as_json:
        say(f"\nProject {done.project} is at version {done.version}: {done.summary}", bold=True)


@click.command()
@json_option
@pass_invocation
def history(invocation: Invocation, as_json: bool) -> None:
    """Show the versions of the definitions."""
    with invocation.store() as store:
        commits = store.history()
    shown = [
        {
            "version": commit.version,
            "created": format_us(commit.created_us),
            "author": commit.author,
            "message": commit.message,
            "digest": commit.digest,
        }
        for commit in commits
    ]
    if as_json:
        print_json(shown)
        return
    columns = ["VERSION", "CREATED", "AUTHOR", "MESSAGE"]
    rows = [[commit[column.lower()] for column in columns] for commit in shown]
    print_table(columns, rows, empty="Nothing has been applied yet: run `tiffin apply`.")


@click.command()
@click.argument("version", type=click.IntRange(min=1))
@json_option
@pass_invocation
def rollback(invocation: Invocation, version: int, as_json: bool) -> None:
    """Make the definitions of VERSION current again.

    They become a new version. The files of the repository stay as they are.
    """
    with invocation.store() as store:
        done = store.rollback(version)
    _print_plan(done, _DONE, as_json)
    if not done.is_empty and not as_json:
        say(f"\nProject {done.project} is at version {done.version}, which is version {version} again", bold=True)
        say("The files of the repository still say otherwise: the next apply would undo this", dim=True)


@click.command()
@click.argument("name")
@json_option
@pass_invocation
def delete(invocation: Invocation, name: str, as_json: bool) -> None:
    """Remove the object called NAME from the definitions.

    What others use cannot be removed. The files of the repository stay as they are.
    """
    from tiffin.operations.catalog import find_object

    with invocation.store() as store:
        done = store.apply([], [find_object(store.context, name)])
    _print_plan(done, _DONE, as_json)


@click.command("registry-dump")
@pass_invocation
def registry_dump(invocation: Invocation) -> None:
    """Print everything that is applied, as JSON."""
    from tiffin.operations.catalog import definitions

    with invocation.store() as store:
        found = definitions(store.context)
        version = store.context.snapshot().version
    objects = [{"kind": item.kind, **item.to_spec()} for item in found]
    print_json({"project": store.project, "version": version, "objects": objects})


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_invocation
def teardown(invocation: Invocation, yes: bool, as_json: bool) -> None:
    """Remove the online tables and the definitions.

    Only those of this project; sources stay as they are. On a terminal it asks first.
    """
    with invocation.store() as store:
        if not yes and is_terminal():
            if as_json:
                raise RequestError("teardown asks first, which it cannot with --json", hint="add --yes")
            question = f"Remove the online tables and the definitions of project {store.project}?"
            click.confirm(question, abort=True, err=True)
        store.teardown()
        project = store.project
    if as_json:
        print_json({"project": project, "removed": True})
    else:
        say(f"Deleted project {project}: its online tables and its definitions", fg="red")


def is_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _plan_repository(store: FeatureStore) -> ApplyPlan:
    """What it takes to make the definitions of the repository's files, and no others, current."""
    from tiffin.operations.repository import load_repository

    return store.plan(load_repository(store.config.repo_path).objects, partial=False)


def _print_plan(made: ApplyPlan, verbs: Mapping[str, str], as_json: bool) -> None:
    if as_json:
        print_json(made.to_dict())
        return
    for change in made.changes:
        say(f"{verbs[change.action]} {change.kind} {change.name}", fg=_COLOURS[change.action])
        for field in change.fields:
            say(f"  {field}")
        if change.storage:
            say(f"  {change.storage}", dim=True)
    if made.is_empty:
        say("No changes to registry")
