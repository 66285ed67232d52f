"""What operations work with: the settings, the clock, the backends, and the current definitions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiffin.errors import ConfigError
from tiffin.operations import loader
from tiffin.operations.newest import NewestTimes
from tiffin.time import SECOND_US, Clock, SystemClock

if TYPE_CHECKING:
    from tiffin.client import Client
    from tiffin.config import RepoConfig
    from tiffin.contracts.offline import OfflineEngine
    from tiffin.contracts.online import OnlineStore
    from tiffin.contracts.registry import RegistryStore
    from tiffin.registry.snapshot import Snapshot


class Context:
    """One repository as operations see it. Backends are opened when they are first used; many threads may share it.

    Args:
        config: the settings.
        clock: tells ``now``; the machine's clock when left out.

    Attributes:
        write_down: called with what is about to be done to definitions; what it raises keeps that from being done.
            ``None`` where nobody wants to know.
    """

    write_down: Callable[[Mapping[str, Any]], object] | None = None

    def __init__(self, config: RepoConfig, clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._registry: RegistryStore | None = None
        self._online: OnlineStore | None = None
        self._offline: OfflineEngine | None = None
        self._remote: Client | None = None
        self._snapshot: Snapshot | None = None
        self._ttl_us: int = config.registry.cache_ttl_seconds * SECOND_US
        self._looked_us = 0
        #: How new the facts are in each online table.
        self.newest = NewestTimes(self)

    @property
    def project(self) -> str:
        """The project's name."""
        return self.config.project

    @property
    def only_known(self) -> bool:
        """Whether a fact counts offline only from the moment at which it was known."""
        return self.config.point_in_time == "known"

    @property
    def max_future_skew_us(self) -> int:
        """How far ahead of now a fact may be (WR-5)."""
        return self.config.max_future_skew_us

    @property
    def registry(self) -> RegistryStore:
        """The registry store."""
        if self._registry is None:
            with self._lock:
                self._registry = self._registry or loader.open_registry(self.config)
        return self._registry

    @property
    def online(self) -> OnlineStore:
        """The online store."""
        if self._online is None:
            with self._lock:
                self._online = self._online or loader.open_online(self.config)
        return self._online

    @property
    def remote(self) -> Client | None:
        """The client of the feature server that stands for the online store; ``None`` where there is a store."""
        section = self.config.online_store
        if self._remote is None and section is not None and section.type == "remote":
            from tiffin.operations.remote import client_of

            with self._lock:
                self._remote = self._remote or client_of(self.config)
        return self._remote

    @property
    def offline(self) -> OfflineEngine:
        """The offline engine."""
        if self._offline is None:
            with self._lock:
                self._offline = self._offline or loader.open_offline(self.config)
        return self._offline

    def now_us(self) -> int:
        """The present moment, by the clock that was handed in."""
        return self.clock.now_us()

    def snapshot(self) -> Snapshot:
        """The current definitions, at most ``cache_ttl_seconds`` old; own changes are seen at once.

        After that time one cheap read asks for the newest version, and only a newer one is loaded. When the registry
        cannot be reached then, its error is raised: definitions never grow old in silence.
        """
        found = self._snapshot
        if found is not None and not self._is_old():
            return found
        with self._lock:
            found = self._snapshot
            if found is None:
                return self.refresh()
            if self._is_old():
                if self.registry.version(self.project) != found.version:
                    return self.refresh()
                self._looked_us = self.now_us()
            return found

    def refresh(self) -> Snapshot:
        """Load the newest definitions now."""
        with self._lock:
            self.adopt(self.registry.load(self.project))
            assert self._snapshot is not None
            return self._snapshot

    def stop_looking(self) -> None:
        """Use definitions for good, until ``refresh`` or ``adopt``; for whoever looks for newer ones by other means."""
        self._ttl_us = 0

    def replace_online(self, store: OnlineStore) -> None:
        """Read and write through another store from now on, such as one that stands before the present one."""
        with self._lock:
            self._online = store

    def adopt(self, snapshot: Snapshot) -> None:
        """Use a snapshot that was just committed, so that own changes are seen at once."""
        with self._lock:
            self._snapshot = snapshot
            self._looked_us = self.now_us()

    def check_stores(self) -> None:
        """Check the settings of the stores, without connecting to them.

        Raises:
            ConfigError: an option is unknown or wrong.
            BackendNotFoundError: a type is unknown, or a package that it needs is not installed.
        """
        _ = self.registry, self.offline, self.config.online_store and (self.remote or self.online)

    def initialize(self) -> None:
        """Get everything ready that the first request would wait for."""
        self.check_stores()
        self.snapshot()

    def close(self) -> None:
        """Close the backends; they are opened again if the context is used afterwards."""
        self.newest.flush()
        with self._lock:
            for backend in (self._registry, self._online, self._offline):
                if backend is not None:
                    backend.close()
            if self._remote is not None:
                self._remote.close()
            self._registry = self._online = self._offline = None

    def _is_old(self) -> bool:
        # Asked for by every online read.
        return self._ttl_us > 0 and abs(self.clock.now_us() - self._looked_us) >= self._ttl_us


def open_context(
    repo_path: str | Path | None, config: RepoConfig | None, fs_yaml_file: str | Path | None, clock: Clock | None
) -> Context:
    """The context of a repository: from settings that are given, else from its file.

    Raises:
        ConfigError: both settings and a file are given, or the file is missing or wrong.
    """
    from tiffin.config import load_config

    if config is None:
        return Context(load_config(repo_path, fs_yaml_file), clock)
    if fs_yaml_file is not None:
        raise ConfigError("both config and fs_yaml_file are given", hint="give one of them")
    if repo_path is not None:
        config = config.model_copy(update={"repo_path": Path(repo_path).expanduser().resolve()})
    return Context(config, clock)
