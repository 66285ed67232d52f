"""Connection strings of Redis, in both forms that people write."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from tiffin.errors import ConfigError, nearest

_PORT = 6379
_OPTIONS = ("username", "password", "db", "ssl")
_HINT = "write redis://user:password@host:6379/0, or host:6379,password=...,ssl=true"


@dataclass(frozen=True)
class Address:
    """Where a Redis is, and who asks.

    Attributes:
        nodes: hosts and ports; several for a cluster or for sentinels.
        db: the number of the database.
        ssl: whether by TLS.
    """

    nodes: tuple[tuple[str, int], ...]
    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    ssl: bool = False

    def __str__(self) -> str:
        """Hosts and database, without secrets."""
        return ",".join(f"{host}:{port}" for host, port in self.nodes) + (f"/{self.db}" if self.db else "")


def parse_address(text: str) -> Address:
    """Read a connection string.

    Raises:
        ConfigError: it is neither form; the message does not repeat it, since it may hold a password.

    >>> str(parse_address("redis://:secret@localhost:6379/2"))
    'localhost:6379/2'
    >>> str(parse_address("a:7000,b:7001,password=secret,ssl=true"))
    'a:7000,b:7001'
    """
    return _from_url(text) if "://" in text else _from_list(text)


def _from_url(text: str) -> Address:
    url = urlsplit(text)
    if url.scheme not in ("redis", "rediss"):
        raise _wrong(f"has the scheme {url.scheme!r}, neither redis nor rediss")
    *_, hosts = url.netloc.rpartition("@")
    given = dict(parse_qsl(url.query))
    given |= {"db": url.path.strip("/")} if url.path.strip("/") else {}
    given |= {"username": unquote(url.username)} if url.username else {}
    given |= {"password": unquote(url.password)} if url.password else {}
    return _address(hosts.split(","), {"ssl": str(url.scheme == "rediss").lower(), **given})


def _from_list(text: str) -> Address:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    options = dict(part.split("=", 1) for part in parts if "=" in part)
    return _address([part for part in parts if "=" not in part], options)


def _address(hosts: list[str], options: dict[str, str]) -> Address:
    unknown = set(options) - set(_OPTIONS)
    if unknown:
        name = min(unknown)
        raise ConfigError(f"online_store.connection_string has no option {name!r}", hint=nearest(name, _OPTIONS))
    nodes = tuple(_node(host) for host in hosts if host)
    if not nodes:
        raise _wrong("names no host")
    db, ssl = options.get("db", "0"), options.get("ssl", "false").lower()
    if not db.isdigit():
        raise _wrong(f"has the database {db!r}, not a number")
    if ssl not in ("true", "false"):
        raise _wrong(f"has ssl={ssl}, neither true nor false")
    return Address(nodes, options.get("username", ""), options.get("password", ""), int(db), ssl == "true")


def _node(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), _PORT
    if not port.isdigit() or not host:
        raise _wrong("has a host without a proper port")
    return host.strip("[]"), int(port)


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"online_store.connection_string {what}", hint=_HINT)
