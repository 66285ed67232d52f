"""``tiffin test``: the tests of a feature repository, run by pytest."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from tiffin.cli.invocation import Invocation, pass_invocation
from tiffin.errors import BackendNotFoundError

_PLUGIN = "tiffin.testing.plugin"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]")
@pass_invocation
def test(invocation: Invocation, arguments: tuple[str, ...]) -> int:
    """Run the tests of the repository's features.

    A test asks for the fixture `features`, gives facts, sets the clock and says what values are to be; see
    docs/testing.md. Nothing is applied, no source is read, no store is written. Arguments are pytest's; without any all
    tests in the repository's folder run.
    """
    if find_spec("pytest") is None:
        raise BackendNotFoundError("`tiffin test` needs pytest", hint="pip install pytest")
    import pytest

    folder = Path(invocation.config().repo_path)
    # A failing test is no failure of the command: pytest has said all there is to say, and the code tells.
    return int(pytest.main(["-p", _PLUGIN, f"--feature-repo={folder}", *(arguments or [str(folder)])]))
