"""Run the server: ``tiffin serve``. uvicorn does HTTP; this decides where it may listen and how it ends."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiffin.config import RepoConfig, load_config
from tiffin.errors import BackendNotFoundError, ConfigError
from tiffin.server.app import FeatureServer, create_app
from tiffin.server.metrics import FOLDER_VARIABLE
from tiffin.server.options import ServerOptions

#: How a worker knows what to serve: where the configuration is, and which options the command line has set.
_WORKER_VARIABLE = "TIFFIN_SERVE"


def serve(
    repo_path: Path | None = None,
    fs_yaml_file: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 6566,
    workers: int = 1,
    is_insecure: bool = False,
    key: str = "",
    cert: str = "",
    changes: dict[str, Any] | None = None,
) -> None:
    """Serve a feature repository until the process is told to stop.

    Args:
        repo_path: the folder of the configuration, as for ``FeatureStore``.
        fs_yaml_file: the configuration, as for ``FeatureStore``.
        host: the address to listen on.
        port: the port.
        workers: how many processes answer.
        is_insecure: listen to other machines although nobody has to say who asks.
        key: the file of the private key, for TLS.
        cert: the file of the certificate.
        changes: options of ``feature_server`` that are to differ from the file.

    Raises:
        ConfigError: the settings are wrong, or would let everybody in.
        BackendNotFoundError: uvicorn is not installed.
    """
    config = load_config(repo_path, fs_yaml_file)
    options = _changed(config, changes or {})
    check_host(config, host, is_insecure=is_insecure)
    check_workers(config, workers)
    uvicorn = _uvicorn()
    told = {
        "repo_path": None if repo_path is None else str(repo_path),
        "fs_yaml_file": None if fs_yaml_file is None else str(fs_yaml_file),
        "changes": changes or {},
        "load_file": None,
    }
    folder = tempfile.mkdtemp(prefix="tiffin-serve-") if workers > 1 else ""
    if folder:
        told["load_file"] = str(Path(folder) / "load")
        # The numbers of several workers are put together in a folder, unless the user has said where.
        os.environ[FOLDER_VARIABLE] = os.environ.get(FOLDER_VARIABLE) or folder
    os.environ[_WORKER_VARIABLE] = json.dumps(told)
    try:
        uvicorn.run(
            "tiffin.server.run:worker_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            ssl_keyfile=key or None,
            ssl_certfile=cert or None,
            access_log=False,
            log_level="warning",
            lifespan="on",
            http="tiffin.server.protocol:JoiningProtocol",
            ws="none",
            proxy_headers=False,
            timeout_graceful_shutdown=int(options.write_deadline_seconds) + 1,
            server_header=False,
        )
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def worker_app() -> FeatureServer:
    """The application of one worker; called by uvicorn."""
    from tiffin.store import FeatureStore

    told = json.loads(os.environ[_WORKER_VARIABLE])
    config = load_config(told["repo_path"], told["fs_yaml_file"])
    store = FeatureStore(config=config)
    load_file = told["load_file"] and Path(told["load_file"])
    options = _changed(config, told["changes"])
    return create_app(store, options, sys.stdout.buffer, load_file=load_file, owns_process=True)


def check_host(config: RepoConfig, host: str, *, is_insecure: bool) -> None:
    """Refuse to listen to other machines when everybody could do everything.

    Raises:
        ConfigError: that would be so.
    """
    if config.auth.type != "no_auth" or is_insecure or _is_loopback(host):
        return
    raise ConfigError(
        f"the server would listen on {host}, and everybody who reaches it could read and write everything",
        hint="set auth in feature_store.yaml, listen on 127.0.0.1, or pass --insecure if the network is closed",
    )


def check_workers(config: RepoConfig, workers: int) -> None:
    """Refuse several workers where they cannot share the online store.

    Raises:
        ConfigError: that is so.
    """
    from tiffin.operations.loader import open_online

    if workers < 2 or config.online_store is None:
        return
    store = open_online(config)
    name, is_shared = store.capabilities.name, store.capabilities.multi_process
    store.close()
    if not is_shared:
        raise ConfigError(f"the online store {name} is for one process", hint="pass --workers 1, or use another store")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _changed(config: RepoConfig, changes: dict[str, Any]) -> ServerOptions:
    return replace(ServerOptions.from_section(config.feature_server), **changes)


def _uvicorn() -> Any:
    try:
        import uvicorn
    except ImportError as error:
        hint = "install what it needs: pip install 'tiffin[server]'"
        raise BackendNotFoundError("the server needs uvicorn", subject="server", hint=hint) from error
    return uvicorn
