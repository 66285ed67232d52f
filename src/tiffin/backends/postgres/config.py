"""Options of the PostgreSQL online store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from psycopg import conninfo
from psycopg.errors import Error as PsycopgError

from tiffin.contracts.guard import CallOptions
from tiffin.errors import ConfigError, nearest

_CONNECTIONS = ("singleton", "pool")


@dataclass(frozen=True)
class PostgresOptions(CallOptions):
    """The ``online_store`` section for the type ``postgres``.

    Attributes:
        connection_string: where it is: ``postgresql://user:password@host:5432/database``; then the parts are left out.
        host: the server.
        port: its port.
        database: the database.
        db_schema: the schema for tiffin's tables; made when it is not there.
        user: who asks.
        password: the password.
        sslmode: as libpq has it: ``disable``, ``prefer``, ``require``, ``verify-ca``, ``verify-full``.
        sslkey_path: the client's key.
        sslcert_path: the client's certificate.
        sslrootcert_path: the authorities to trust.
        keepalives_idle: seconds after which a silent connection is probed; the system's when 0.
        max_conn: how many connections at once, for each process, and for each of its event loops.
        min_conn: kept for compatibility; connections are opened when they are needed.
        conn_type: kept for compatibility; connections are always pooled.
        vector_enabled: kept for compatibility; no effect.
    """

    connection_string: str = field(default="", repr=False)
    host: str = "localhost"
    port: int = 5432
    database: str = ""
    db_schema: str = "public"
    user: str = ""
    password: str = field(default="", repr=False)
    sslmode: str = "prefer"
    sslkey_path: str = ""
    sslcert_path: str = ""
    sslrootcert_path: str = ""
    keepalives_idle: int = 0
    max_conn: int = 10
    min_conn: int = 1
    conn_type: str = "pool"
    vector_enabled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_conn < 1:
            raise ConfigError(f"online_store.max_conn is {self.max_conn}", hint="give at least 1")
        if self.conn_type not in _CONNECTIONS:
            hint = nearest(self.conn_type, _CONNECTIONS)
            raise ConfigError(f"online_store.conn_type is {self.conn_type!r}", hint=hint)
        if not self.db_schema:
            raise ConfigError("online_store.db_schema is empty", hint="write public, or a name of your own")
        if self.connection_string and (self.database or self.user or self.password):
            raise ConfigError("online_store has connection_string and parts of it", hint="give one of them")
        try:
            conninfo.conninfo_to_dict(self.connection_string)
        except PsycopgError:
            # The message of the library repeats the text, which may hold a password.
            hint = "write postgresql://user:password@host:5432/database"
            raise ConfigError("online_store.connection_string cannot be read", hint=hint) from None

    @property
    def conninfo(self) -> str:
        """All of it, as libpq reads it; holds the password."""
        milliseconds = int(self.write_deadline_seconds * 1000)
        extra: dict[str, Any] = {"options": f"-c statement_timeout={milliseconds}", "application_name": "tiffin"}
        if self.connection_string:
            return conninfo.make_conninfo(self.connection_string, **extra)
        parts: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "sslmode": self.sslmode,
            "sslkey": self.sslkey_path,
            "sslcert": self.sslcert_path,
            "sslrootcert": self.sslrootcert_path,
            "keepalives_idle": self.keepalives_idle,
        }
        return conninfo.make_conninfo(**{name: value for name, value in parts.items() if value}, **extra)

    @property
    def words(self) -> str:
        """Host, port, database and user, without secrets."""
        found = conninfo.conninfo_to_dict(self.conninfo)
        where = f"{found.get('host', 'localhost')}:{found.get('port', 5432)}/{found.get('dbname', '')}"
        return f"{found['user']}@{where}" if found.get("user") else where
