"""``tiffin version``, ``tiffin configuration``, ``tiffin completion`` and ``tiffin run``."""

from __future__ import annotations

from typing import Any

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json, print_yaml, say


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version of tiffin."""
    import platform

    import tiffin

    feast = _installed_feast()
    if as_json:
        print_json({"tiffin": tiffin.__version__, "python": platform.python_version(), "feast": feast})
        return
    say(f"tiffin {tiffin.__version__}")
    if feast:
        say(f"Feast {feast} is installed too. In feature repositories and under `tiffin run`, `import feast` means")
        say("tiffin; elsewhere it means Feast, unless `import tiffin.compat.feast` comes first.")


def _installed_feast() -> str | None:
    """The version of Feast that is installed beside tiffin."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("feast")
    except PackageNotFoundError:
        return None


@click.command()
@json_option
@pass_invocation
def configuration(invocation: Invocation, as_json: bool) -> None:
    """Print the settings in force, without secrets.

    Defaults are included.
    """
    shown = _without_secrets(invocation.config())
    if as_json:
        print_json(shown)
    else:
        print_yaml(shown)


def _without_secrets(section: Any) -> Any:
    """A section of the settings as plain data; what its ``repr`` hides is hidden."""
    from pathlib import Path

    if hasattr(section, "__repr_args__"):
        return {name: _without_secrets(value) for name, value in section.__repr_args__() if name is not None}
    if isinstance(section, list):
        return [_without_secrets(item) for item in section]
    return str(section) if isinstance(section, Path) else section


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    Put one of these lines into the file that the shell reads when it starts:

    in ~/.bashrc: eval "$(tiffin completion bash)"

    in ~/.zshrc: eval "$(tiffin completion zsh)"

    in ~/.config/fish/config.fish: tiffin completion fish | source
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "tiffin", "_TIFFIN_COMPLETE").source())


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(script: str, arguments: tuple[str, ...]) -> None:
    """Run a script that was written for Feast.

    In it, `import feast` means tiffin.
    """
    from tiffin.compat.__main__ import run_script

    run_script(script, list(arguments))
