"""``tiffin plan``, ``apply``, ``history``, ``rollback`` and ``teardown``: the definitions and their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_table, say
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.planning.apply import ApplyPlan


@click.command()
@json_option
@pass_invocation
def plan(invocation: Invocation, as_json: bool) -> None:
    """Show what apply would change."""


@click.command()
@json_option
@pass_invocation
def apply(invocation: Invocation, as_json: bool) -> None:
    """Make the definitions of the repository current.

    All of them are applied or none; online tables are created as needed.
    """


@click.command()
@json_option
@pass_invocation
def history(invocation: Invocation, as_json: bool) -> None:
    """Show the versions of the definitions."""


@click.command()
@click.argument("version", type=click.IntRange(min=1))
@json_option
@pass_invocation
def rollback(invocation: Invocation, version: int, as_json: bool) -> None:
    """Make the definitions of VERSION current again."""


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_invocation
def teardown(invocation: Invocation, yes: bool, as_json: bool) -> None:
    """Remove the online tables and the definitions.

    Only those of this project; sources stay as they are.
    """
