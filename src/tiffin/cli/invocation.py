"""What holds for one call of the command line: the repository it is about, and how much it says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tiffin.config import RepoConfig
    from tiffin.store import FeatureStore

F = TypeVar("F", bound=Callable[..., Any])

LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


@dataclass(frozen=True)
class Invocation:
    """The global options.

    Attributes:
        chdir: the folder of the feature repository; found by ``load_config`` when ``None``.
        feature_store_yaml: another file than the folder's ``feature_store.yaml``.
    """

    chdir: Path | None = None
    feature_store_yaml: Path | None = None

    def config(self) -> RepoConfig:
        """The configuration of the repository."""
        from tiffin.config import load_config

        return load_config(repo_path=self.chdir, fs_yaml_file=self.feature_store_yaml)

    @contextmanager
    def store(self) -> Iterator[FeatureStore]:
        """The feature store of the repository, closed at the end."""
        from tiffin.store import FeatureStore

        with FeatureStore(config=self.config()) as store:
            yield store


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


class _EchoHandler(logging.Handler):
    """Writes log records to the error stream of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def configure_logging(level: str) -> None:
    """Send what tiffin logs, from a level on, to the error stream."""
    logger = logging.getLogger("tiffin")
    logger.setLevel(level.upper())
    if not any(isinstance(handler, _EchoHandler) for handler in logger.handlers):
        handler = _EchoHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def json_option(command: F) -> F:
    """Give a command the flag ``--json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors included (on the error stream).")
    return option(command)


def views_option(command: F) -> F:
    """Give a command the repeatable option ``--views``."""
    help_text = "Only this feature view; may be repeated."
    return click.option("-v", "--views", multiple=True, metavar="VIEW", help=help_text)(command)
