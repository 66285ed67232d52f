"""What a person or a program sees when a command fails, and the code that the process ends with."""

from __future__ import annotations

import json
import logging
import traceback

import click

from tiffin.errors import TiffinError

#: Exit codes: a command failed; it was called wrongly; tiffin itself has a fault; it was interrupted.
FAILED, MISUSED, FAULT, INTERRUPTED = 1, 2, 70, 130

log = logging.getLogger("tiffin.cli")


def report(error: BaseException, *, as_json: bool) -> int:
    """Print one error on the standard error stream.

    Args:
        error: what a command raised.
        as_json: print the fields as JSON.

    Returns:
        The exit code.
    """
    if isinstance(error, click.Abort):
        click.echo("Stopped." if isinstance(error.__cause__, KeyboardInterrupt) else "Nothing was done.", err=True)
        return INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else FAILED
    if isinstance(error, click.ClickException):
        return _report_misuse(error, as_json)
    if log.isEnabledFor(logging.DEBUG):
        click.echo("".join(traceback.format_exception(error)), err=True)
    if isinstance(error, TiffinError):
        _print(error, as_json)
        return FAILED
    if isinstance(error, OSError):
        hint = "look at the path, its permissions and the room on the disk"
        _print(TiffinError(f"a file cannot be read or written: {error}", hint=hint), as_json)
        return FAILED
    hint = "run it again with `tiffin --log-level debug ...` to see where, and report it"
    _print(TiffinError(f"tiffin has a fault: {type(error).__name__}: {error}", hint=hint), as_json)
    return FAULT


def _report_misuse(error: click.ClickException, as_json: bool) -> int:
    if as_json:
        usage = error.ctx.get_usage() if isinstance(error, click.UsageError) and error.ctx is not None else ""
        fields = TiffinError(error.format_message(), hint=usage).to_dict() | {"code": "usage"}
        click.echo(json.dumps(fields), err=True)
    else:
        error.show()
    return error.exit_code


def _print(error: TiffinError, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(error.to_dict(), ensure_ascii=False), err=True)
        return
    click.echo(click.style("Error: ", fg="red", bold=True) + str(error), err=True)
