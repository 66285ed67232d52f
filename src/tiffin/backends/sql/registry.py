"""A registry in a SQL database: a SQLite file by default, any database that SQLAlchemy knows otherwise."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, delete, func, insert, inspect, select
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from tiffin.backends.sql.connection import open_engine, registry_error, registry_url
from tiffin.backends.sql.tables import DOCUMENTS, FORGOTTEN, FORMAT_VERSION, META, RUNS, SNAPSHOTS, metadata
from tiffin.contracts.registry import Commit, MaterializationRun, RegistryStore
from tiffin.errors import NotFoundError, RegistryConflictError, RegistryError, RegistryVersionError
from tiffin.registry.snapshot import Entry, Snapshot

if TYPE_CHECKING:
    from tiffin.config import RegistryConfig

#: How many digests one query asks for; SQLite allows 999 parameters in its oldest supported builds.
_CHUNK = 500


class SqlRegistryStore(RegistryStore):
    """Keeps the logs of all projects in five tables.

    A reader of a registry that does not exist yet creates nothing: it finds no project. Documents are found by their
    digest, so those that were read once are not read again.
    """

    def __init__(self, url: URL, options: Mapping[str, Any] | None = None) -> None:
        self._url = url
        self._engine: Engine = open_engine(url, options or {})
        self._entries: dict[str, Entry] = {}

    @classmethod
    def from_config(cls, config: RegistryConfig, base_path: str) -> SqlRegistryStore:
        """Build the store from the ``registry`` section; relative paths are below ``base_path``.

        Raises:
            ConfigError: the path is not one that SQLAlchemy understands.
            BackendNotFoundError: the database's driver is not installed.
        """
        return cls(registry_url(config.path, base_path), config.sqlalchemy_config_kwargs)

    def load(self, project: str, at: int | None = None) -> Snapshot:
        """The newest snapshot, or version ``at``."""
        with self._reading() as connection:
            if connection is None:
                return _empty(project, 0, at)
            query = select(SNAPSHOTS.c.version, SNAPSHOTS.c.digest, SNAPSHOTS.c.documents)
            query = query.where(SNAPSHOTS.c.project == project)
            if at is None:
                query = query.order_by(SNAPSHOTS.c.version.desc()).limit(1)
            else:
                query = query.where(SNAPSHOTS.c.version == at)
            row = connection.execute(query).first()
            if row is None:
                return _empty(project, _newest(connection, project), at)
            entries = self._read_entries(connection, project, row.documents.split())
        snapshot = Snapshot(project, row.version, entries)
        if snapshot.digest != row.digest:
            raise self._damaged(f"version {row.version} of project {project}")
        return snapshot

    def version(self, project: str) -> int:
        """The newest version."""
        with self._reading() as connection:
            return 0 if connection is None else _newest(connection, project)

    def commit(self, snapshot: Snapshot, base_version: int, *, created_us: int, author: str, message: str) -> Commit:
        """Append a snapshot as version ``base_version + 1``."""
        project = snapshot.project
        commit = Commit(base_version + 1, created_us, snapshot.digest, author[:255], message)
        row = {
            "project": project,
            "version": commit.version,
            "digest": commit.digest,
            "created_us": created_us,
            "author": commit.author,
            "message": message,
            "documents": " ".join(entry.digest for entry in snapshot.entries),
        }
        with self._writing() as connection:
            newest = _newest(connection, project)
            if newest != base_version:
                raise _conflict(project, base_version, newest)
            try:
                # Before the documents: from here on the unique key holds every other writer of this project back.
                connection.execute(insert(SNAPSHOTS), row)
            except IntegrityError:
                raise _conflict(project, base_version, base_version + 1) from None
            self._write_entries(connection, project, snapshot.entries)
        self._entries.update((entry.digest, entry) for entry in snapshot.entries)
        return commit

    def history(self, project: str) -> list[Commit]:
        """The log, newest first."""
        columns = (SNAPSHOTS.c[name] for name in ("version", "created_us", "digest", "author", "message"))
        query = select(*columns).where(SNAPSHOTS.c.project == project).order_by(SNAPSHOTS.c.version.desc())
        with self._reading() as connection:
            return [] if connection is None else [Commit(*row) for row in connection.execute(query)]

    def projects(self) -> list[str]:
        """The projects that have commits."""
        with self._reading() as connection:
            found = [] if connection is None else connection.scalars(select(SNAPSHOTS.c.project).distinct()).all()
        return sorted(found)

    def record_run(self, project: str, run: MaterializationRun) -> None:
        """Append to the history of runs."""
        with self._writing() as connection:
            connection.execute(insert(RUNS), {"project": project, **vars(run)})

    def runs(self, project: str, *, view: str | None = None, limit: int = 100) -> list[MaterializationRun]:
        """The newest runs, newest first."""
        columns = (RUNS.c[name] for name in MaterializationRun.__dataclass_fields__)
        query = select(*columns).where(RUNS.c.project == project).order_by(RUNS.c.id.desc()).limit(limit)
        if view is not None:
            query = query.where(RUNS.c.view == view)
        with self._reading() as connection:
            return [] if connection is None else [MaterializationRun(*row) for row in connection.execute(query)]

    def last_runs(self, project: str) -> dict[str, MaterializationRun]:
        """The newest run of each view."""
        columns = (RUNS.c[name] for name in MaterializationRun.__dataclass_fields__)
        newest = select(func.max(RUNS.c.id)).where(RUNS.c.project == project).group_by(RUNS.c.view)
        query = select(*columns).where(RUNS.c.id.in_(newest))
        with self._reading() as connection:
            rows = () if connection is None else connection.execute(query)
            return {run.view: run for run in (MaterializationRun(*row) for row in rows)}

    def forget(self, project: str) -> None:
        """Remove a project. Its version number is kept and used up, so that a plan made before cannot be applied."""
        with self._writing() as connection:
            newest = _newest(connection, project)
            for table in (SNAPSHOTS, DOCUMENTS, RUNS, FORGOTTEN):
                connection.execute(delete(table).where(table.c.project == project))
            if newest:
                connection.execute(insert(FORGOTTEN), {"project": project, "version": newest + 1})

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _read_entries(self, connection: Connection, project: str, digests: Sequence[str]) -> tuple[Entry, ...]:
        missing = [digest for digest in digests if digest not in self._entries]
        for chunk in _chunks(missing):
            query = select(DOCUMENTS.c.digest, DOCUMENTS.c.document)
            query = query.where(DOCUMENTS.c.project == project, DOCUMENTS.c.digest.in_(chunk))
            for digest, document in connection.execute(query):
                if hashlib.blake2b(document.encode(), digest_size=16).hexdigest() != digest:
                    raise self._damaged(f"document {digest}")
                self._entries[digest] = Entry.from_document(document)
        if any(digest not in self._entries for digest in missing):
            raise self._damaged(f"a document of project {project}")
        return tuple(self._entries[digest] for digest in digests)

    def _write_entries(self, connection: Connection, project: str, entries: Sequence[Entry]) -> None:
        documents = {entry.digest: entry.document for entry in entries}
        for chunk in _chunks(list(documents)):
            query = select(DOCUMENTS.c.digest).where(DOCUMENTS.c.project == project, DOCUMENTS.c.digest.in_(chunk))
            for digest in connection.scalars(query):
                del documents[digest]
        rows = [{"project": project, "digest": digest, "document": text} for digest, text in documents.items()]
        if rows:
            connection.execute(insert(DOCUMENTS), rows)

    @contextmanager
    def _reading(self) -> Iterator[Connection | None]:
        """A read transaction, all of one moment; ``None`` when there is no registry yet."""
        if not self._exists():
            yield None
            return
        engine = self._engine
        if self._url.get_backend_name() != "sqlite":
            # Otherwise each statement has a moment of its own, and a project could look empty and yet have a version.
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self._wrapped("read"), engine.connect() as connection, connection.begin():
            yield connection if self._has_tables(connection) else None

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A write transaction: all of it or nothing. Creates the registry when there is none."""
        self._create()
        with self._wrapped("written"):
            engine = self._engine.execution_options(tiffin_writes=True)
            with engine.connect() as connection, connection.begin():
                self._has_tables(connection)
                yield connection

    def _create(self) -> None:
        with self._reading() as connection:
            if connection is not None:
                return
        self._make_folder()
        engine = self._engine.execution_options(tiffin_writes=True)
        with self._wrapped("created"):
            try:
                with engine.connect() as connection, connection.begin():
                    if not self._has_tables(connection):
                        metadata.create_all(connection)
                        connection.execute(insert(META), {"name": "format_version", "value": str(FORMAT_VERSION)})
            except (IntegrityError, ProgrammingError):
                # Where tables are not created under a lock, another process may have created them just now.
                with engine.connect() as connection:
                    if not self._has_tables(connection):
                        raise

    @contextmanager
    def _wrapped(self, doing: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise registry_error(error, self._url, doing) from error

    def _has_tables(self, connection: Connection) -> bool:
        """Whether the tables are there.

        Raises:
            RegistryVersionError: they have a format that only a newer tiffin understands.
        """
        if not inspect(connection).has_table(META.name):
            return False
        value = connection.scalar(select(META.c.value).where(META.c.name == "format_version"))
        if value is None or not value.isdigit():
            raise self._damaged(f"its format version ({value!r})")
        if int(value) > FORMAT_VERSION:
            raise RegistryVersionError(
                f"the registry has format {value}; this version of tiffin understands format {FORMAT_VERSION}",
                subject="registry",
                hint="upgrade tiffin: pip install --upgrade tiffin",
            )
        return True

    def _exists(self) -> bool:
        """Whether there is anything to open; SQLite would create an empty file."""
        if self._url.get_backend_name() != "sqlite":
            return True
        try:
            os.stat(str(self._url.database))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise RegistryError(f"the registry {self._url.database} cannot be read: {error.strerror}") from error
        return True

    def _make_folder(self) -> None:
        if self._url.get_backend_name() != "sqlite":
            return
        folder = os.path.dirname(str(self._url.database))
        try:
            os.makedirs(folder or ".", exist_ok=True)
        except OSError as error:
            raise RegistryError(
                f"the registry's folder {folder} cannot be created: {error.strerror}",
                hint="look at the permissions, or give `registry` another path",
            ) from error

    def _damaged(self, what: str) -> RegistryError:
        where = self._url.render_as_string(hide_password=True)
        return RegistryError(
            f"the registry {where} is damaged: {what} is not what was written",
            subject="registry",
            hint="restore it from a backup, or apply again to a new registry",
        )


def _newest(connection: Connection, project: str) -> int:
    """The newest version of a project; that under which it was forgotten when it has no commits."""
    found = [
        connection.scalar(select(func.max(table.c.version)).where(table.c.project == project))
        for table in (SNAPSHOTS, FORGOTTEN)
    ]
    return max(version or 0 for version in found)


def _empty(project: str, version: int, at: int | None) -> Snapshot:
    """What a project without commits holds."""
    if at is None:
        return Snapshot(project, version)
    raise NotFoundError(
        f"project {project!r} has no version {at}",
        subject=f"project {project}",
        hint=f"its newest version is {version}" if version else "nothing has been applied to it yet",
    )


def _conflict(project: str, base_version: int, newest: int) -> RegistryConflictError:
    return RegistryConflictError(
        f"project {project!r} is at version {newest}, but the plan was made against version {base_version}; "
        "nothing was changed",
        subject=f"project {project}",
        hint="somebody else applied in between: plan again, look at the changes and apply",
    )


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
