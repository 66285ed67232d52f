"""The contract of a registry store: an append-only log of snapshots per project."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.registry.snapshot import Snapshot


@dataclass(frozen=True)
class Commit:
    """One entry of a project's log.

    Attributes:
        version: 1, 2, 3, ... without gaps.
        created_us: when it was committed.
        digest: the hash of the snapshot's content.
        author: who committed it, as the operating system tells.
        message: words about it.
    """

    version: int
    created_us: int
    digest: str
    author: str = ""
    message: str = ""


@dataclass(frozen=True)
class MaterializationRun:
    """One run of one view, kept for people.

    Attributes:
        view, view_version: what was loaded.
        start_us, end_us: the closed interval of event times.
        rows, written, stale: rows read but for those in quarantine, rows that were newer, rows that were not.
        seconds: how long it took.
        started_us: when it began.
        error: why it failed; empty when it did not.
    """

    view: str
    view_version: int
    start_us: int
    end_us: int
    rows: int
    written: int
    stale: int
    seconds: float
    started_us: int
    error: str = ""


class RegistryStore(ABC):
    """Keeps, per project, a log of immutable snapshots, and a history of materialization runs.

    Guarantees:
        DEF-2: a commit is all or nothing; it inserts version ``base_version + 1`` or fails with a conflict.
        DEF-5: nothing of one project is seen or touched through another.
        DEF-6: what is stored is data; reading it executes nothing.
    """

    @abstractmethod
    def load(self, project: str, at: int | None = None) -> Snapshot:
        """The snapshot of a project, the newest or version ``at``; an empty one of version 0 when there is none.

        Raises:
            NotFoundError: version ``at`` is not there.
            RegistryVersionError: a newer tiffin wrote the registry.
        """

    @abstractmethod
    def version(self, project: str) -> int:
        """The newest version, 0 when there is none; one cheap read."""

    @abstractmethod
    def commit(self, snapshot: Snapshot, base_version: int, *, created_us: int, author: str, message: str) -> Commit:
        """Append a snapshot.

        Raises:
            RegistryConflictError: the newest version is not ``base_version``; nothing was written.
        """

    @abstractmethod
    def history(self, project: str) -> list[Commit]:
        """The project's log, newest first."""

    @abstractmethod
    def projects(self) -> list[str]:
        """The projects that have at least one commit, sorted."""

    @abstractmethod
    def record_run(self, project: str, run: MaterializationRun) -> None:
        """Append to the history of materialization runs."""

    @abstractmethod
    def runs(self, project: str, *, view: str | None = None, limit: int = 100) -> list[MaterializationRun]:
        """The newest runs, newest first."""

    @abstractmethod
    def last_runs(self, project: str) -> dict[str, MaterializationRun]:
        """The newest run of each view that has one; one query, however many views."""

    @abstractmethod
    def forget(self, project: str) -> None:
        """Remove a project with its log and its runs; other projects stay as they are."""

    def close(self) -> None:  # noqa: B027 - a store may have nothing to let go of
        """Let go of connections; the object is not used afterwards."""
