"""Options of the LMDB online store."""

from __future__ import annotations

from dataclasses import dataclass

from tiffin.errors import ConfigError


@dataclass(frozen=True)
class LmdbOptions:
    """The ``online_store`` section for the type ``lmdb``.

    Attributes:
        path: the folder, relative to the feature repository.
        map_size_gb: how large it may grow. It is address space, not memory or disk, so that it may well be too large.
        sync: whether a write is on disk before it is acknowledged; without it a crash of the machine, not of a process,
            may lose the last ones.
        max_readers: how many reads at once, of all processes.
    """

    path: str = "data/online_store.lmdb"
    map_size_gb: float = 64.0
    sync: bool = True
    max_readers: int = 1024

    def __post_init__(self) -> None:
        if not self.map_size_gb > 0:
            raise ConfigError(f"online_store.map_size_gb is {self.map_size_gb}", hint="give gigabytes above 0")
        if self.max_readers < 1:
            raise ConfigError(f"online_store.max_readers is {self.max_readers}", hint="give at least 1")
