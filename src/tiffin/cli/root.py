"""The command ``tiffin`` itself: global options, the list of commands, and the one place where errors end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tiffin.cli import failures
from tiffin.cli.commands import (
    about,
    historical,
    init,
    load,
    monitor_freshness,
    objects,
    online,
    registry,
    serve,
    stream,
    test,
    verify,
)
from tiffin.cli.invocation import LOG_LEVELS, Invocation, configure_logging


class Root(click.Group):
    """Turns every error into one message and an exit code."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command and leave the process.

        Args:
            args: the arguments; those of the process when left out.
            **extra: as in click; with ``standalone_mode=False`` errors are raised and the process goes on.
        """
        if not extra.pop("standalone_mode", True):
            return super().main(args, standalone_mode=False, **extra)
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, standalone_mode=False, **extra)
        except Exception as error:  # noqa: BLE001 - the boundary: reported, and logged with its traceback
            code = failures.report(error, as_json="--json" in words)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=Root, context_settings={"max_content_width": 110})
@click.option(
    "-c",
    "--chdir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The folder of the feature repository, instead of the working directory.",
)
@click.option(
    "-f",
    "--feature-store-yaml",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration, instead of feature_store.yaml in the repository's folder.",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    default="warning",
    show_default=True,
    help="What is logged on the error stream; debug shows the traceback of an error.",
)
@click.pass_context
def root(ctx: click.Context, chdir: Path | None, feature_store_yaml: Path | None, log_level: str) -> None:
    """Tiffin, a feature store: define a feature once, use the same values in training and in serving.

    Start with `tiffin init my_project`.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    configure_logging(log_level)
    ctx.obj = Invocation(chdir, feature_store_yaml)


for _command in (
    init.init,
    registry.plan,
    registry.apply,
    registry.history,
    registry.rollback,
    registry.delete,
    registry.registry_dump,
    registry.teardown,
    load.materialize,
    load.materialize_incremental,
    load.runs,
    stream.stream,
    monitor_freshness.monitor,
    historical.get_historical_features,
    online.get_online_features,
    online.delete_entities,
    verify.verify,
    serve.serve,
    serve.new_api_key,
    serve.verify_audit_log,
    objects.entities,
    objects.feature_views,
    objects.on_demand_feature_views,
    objects.label_views,
    objects.data_sources,
    objects.feature_services,
    objects.saved_datasets,
    objects.validation_references,
    objects.features,
    objects.projects,
    about.run,
    about.configuration,
    about.completion,
    about.version,
    test.test,
):
    root.add_command(_command)
