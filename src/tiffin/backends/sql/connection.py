"""Open the database of a SQL registry, and say in plain words what went wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tiffin.errors import BackendNotFoundError, ConfigError, RegistryError

#: How long a writer waits for others to finish.
BUSY_TIMEOUT_MS = 60_000

_HINTS = {
    "SQLITE_BUSY": "another process holds it; try again",
    "SQLITE_LOCKED": "another process holds it; try again",
    "SQLITE_FULL": "the disk is full: nothing was written; make room and run it again",
    "SQLITE_IOERR": "nothing was written; look whether the disk is full or failing, and run it again",
    "SQLITE_READONLY": "the file or its folder may not be written; nothing was changed",
    "SQLITE_CANTOPEN": "look at the path and the permissions of its folder",
    "SQLITE_CORRUPT": "the file is damaged; restore it from a backup",
    "SQLITE_NOTADB": "it is not a SQLite file; if Feast wrote it, give `registry` another path and run `tiffin apply`, "
    "which makes the registry anew from the repository; else restore it from a backup",
}


def registry_url(path: str, base_path: str) -> URL:
    """The database that a registry path means: a URL, or a SQLite file below ``base_path``.

    PostgreSQL without the name of a driver means psycopg, which is the one that tiffin installs.

    Raises:
        ConfigError: it is no URL that SQLAlchemy understands, or a SQLite database in memory.
    """
    if "://" not in path:
        return URL.create("sqlite", database=str(Path(base_path, Path(path).expanduser())))
    try:
        url = make_url(path)
    except ArgumentError:
        raise ConfigError("the registry path is not a URL", hint=_URL_HINT) from None
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        return url
    if url.database in (None, "", ":memory:"):
        raise ConfigError("a registry cannot be kept in memory", hint="give it a path, such as data/registry.db")
    return url.set(database=str(Path(base_path, str(url.database))))


_URL_HINT = "write a path, such as data/registry.db, or a SQLAlchemy URL, such as postgresql+psycopg://host/database"


def open_engine(url: URL, options: Mapping[str, Any]) -> Engine:
    """The SQLAlchemy engine of a registry.

    Raises:
        ConfigError: there is no such kind of database.
        BackendNotFoundError: its driver is not installed.
    """
    try:
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True, **options)
        # One connection per operation: nothing to share between threads or to inherit by a fork, and opening is cheap.
        # The journal stays SQLite's default. WAL would let readers pass writers, which a registry does not need, and
        # could not be read from a folder that may not be written.
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, **options)
    except NoSuchModuleError:
        raise ConfigError(f"a registry cannot be kept at {url.drivername}://", hint=_URL_HINT) from None
    except ImportError as error:
        backend = url.get_backend_name()
        hint = "pip install 'tiffin[postgres]'" if backend == "postgresql" else f"install the driver of {backend}"
        raise BackendNotFoundError(f"the registry's driver is not installed: {error}", hint=hint) from error
    event.listen(engine, "connect", _connect_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions late and by itself; ``_begin_sqlite`` does it instead.
    connection.isolation_level = None


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later could otherwise fail
    # in the middle because somebody else wrote in between.
    writes = connection.get_execution_options().get("tiffin_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def registry_error(error: SQLAlchemyError, url: URL, doing: str) -> RegistryError:
    """What went wrong, in words, without the password and without the statement."""
    cause = getattr(error, "orig", None) or error
    name = str(getattr(cause, "sqlite_errorname", ""))
    hint = next((text for code, text in _HINTS.items() if name.startswith(code)), "")
    where = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    reason = str(cause).strip().partition("\n")[0]
    found = RegistryError(f"the registry {where} cannot be {doing}: {reason}", subject=f"registry {where}", hint=hint)
    found.retryable = name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return found
