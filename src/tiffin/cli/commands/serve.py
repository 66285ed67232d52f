"""``tiffin serve`` and what belongs to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tiffin.cli.invocation import Invocation, json_option, pass_invocation
from tiffin.cli.output import print_json


@click.command()
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=6566, show_default=True, help="The port.")
@click.option(
    "-w", "--workers", type=click.IntRange(1), default=1, show_default=True, help="How many processes answer."
)
@click.option("--insecure", is_flag=True, help="Listen to other machines although nobody has to say who asks.")
@click.option("-k", "--key", default="", metavar="FILE", help="The private key, for TLS.")
@click.option("-c", "--cert", default="", metavar="FILE", help="The certificate, for TLS.")
@click.option(
    "-r",
    "--registry-ttl-sec",
    type=click.FloatRange(0, min_open=True),
    help="How often newer definitions are looked for, in seconds.",
)
@click.option("--drain-seconds", type=click.FloatRange(0), help="How long to say `not ready` before stopping.")
@click.option("--no-access-log", is_flag=True, help="Do not log requests.")
@pass_invocation
def serve(
    invocation: Invocation,
    host: str,
    port: int,
    workers: int,
    insecure: bool,
    key: str,
    cert: str,
    registry_ttl_sec: float | None,
    drain_seconds: float | None,
    no_access_log: bool,
) -> None:
    """Answer requests for features over HTTP, until it is stopped.

    It listens on this machine only, unless told otherwise; to others it listens only when auth is set in the
    configuration. Routes are shown, and can be tried, at /docs.
    """
    from tiffin.server.run import serve as run

    changes: dict[str, Any] = {}
    if registry_ttl_sec is not None:
        changes["registry_seconds"] = registry_ttl_sec
    if drain_seconds is not None:
        changes["drain_seconds"] = drain_seconds
    if no_access_log:
        changes["access_log"] = False
    run(
        invocation.chdir,
        invocation.feature_store_yaml,
        host=host,
        port=port,
        workers=workers,
        is_insecure=insecure,
        key=key,
        cert=cert,
        changes=changes,
    )


@click.command()
@click.argument("name")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="A role that the key has; may be repeated.")
@json_option
def new_api_key(name: str, roles: tuple[str, ...], as_json: bool) -> None:
    """Make an API key for the server, and what to put into feature_store.yaml so that the server knows it.

    The key is shown once and kept nowhere; the server needs only its hash.
    """
    from tiffin.server.keys import new_key

    key, digest = new_key(name)
    if as_json:
        print_json({"name": name, "key": key, "hash": digest, "roles": list(roles)})
        return
    listed = f", roles: [{', '.join(roles)}]" if roles else ""
    click.echo(f"{key}\n\nPut it where the client can read it, and this into feature_store.yaml:\n")
    click.echo(f"auth:\n  type: api_key\n  api_keys:\n    - {{name: {name}, hash: {digest}{listed}}}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--newest-hash", default="", metavar="HASH", help="The hash of the last line, as it was kept elsewhere.")
def verify_audit_log(file: Path, newest_hash: str) -> None:
    """Check that an audit log is as it was written."""
    from tiffin.governance.audit import verify_audit_log as verify

    count = verify(file, newest_hash)
    click.echo(f"{count} lines, each of which follows from the one before it.")
