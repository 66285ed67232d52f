"""Redis's client, with a deadline that holds: a socket never waits past the moment at which a call must be done.

The library's own timeout is per wait, so that a server which drips its answer can hold a call for ever; and its own
retries do not know of the deadline, so they are off.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import hiredis
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

if TYPE_CHECKING:
    from tiffin.backends.redis.config import RedisOptions

_LEAST_SECONDS = 0.001
_MANY_ARGUMENTS = 8
#: When the call of this thread must be done, by ``time.monotonic``.
_call = threading.local()


def set_deadline(until: float) -> None:
    """Say when the calls of this thread must be done from here on."""
    _call.until = until


class _TimedSocket:
    """A socket whose waits end at the deadline of the thread that waits."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._waits = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, seconds: float | None) -> None:
        """How long the library would wait is left aside, but not that it only wants to look: it does so by 0."""
        self._waits = seconds != 0

    def recv_into(self, *arguments: Any) -> int:
        """Wait for bytes, no longer than is left."""
        self._socket.settimeout(_left() if self._waits else 0)
        count: int = self._socket.recv_into(*arguments)
        return count

    def recv(self, *arguments: Any) -> bytes:
        """Wait for bytes, no longer than is left."""
        self._socket.settimeout(_left() if self._waits else 0)
        data: bytes = self._socket.recv(*arguments)
        return data

    def sendall(self, *arguments: Any) -> None:
        """Send, waiting no longer than is left."""
        self._socket.settimeout(_left())
        self._socket.sendall(*arguments)


def _left() -> float:
    until: float = _call.until
    return max(until - time.monotonic(), _LEAST_SECONDS)


class _Timed:
    """Keeps deadlines; stands before a class of connections."""

    socket_timeout: Any
    socket_connect_timeout: Any

    def _connect(self) -> Any:
        self.socket_connect_timeout = self.socket_timeout = _left()
        return _TimedSocket(super()._connect())  # type: ignore[misc]


class TimedConnection(_Timed, Connection):
    """A connection that keeps deadlines."""


class TimedSSLConnection(_Timed, SSLConnection):
    """The same by TLS."""


class TimedMasterConnection(_Timed, SentinelManagedConnection):
    """The same to the master that the sentinels name."""


class TimedSSLMasterConnection(_Timed, SentinelManagedSSLConnection):
    """The same by TLS to the master that the sentinels name."""


class _Packed:
    """Packs commands with many arguments in C, as the library does only for threads; stands before a class."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """A command as bytes."""
        if len(args) > _MANY_ARGUMENTS:
            return [hiredis.pack_command(args)]
        packed: list[bytes] = super().pack_command(*args)  # type: ignore[misc]
        return packed


class PackedConnection(_Packed, redis.asyncio.Connection):
    """A connection of an event loop."""


class PackedSSLConnection(_Packed, redis.asyncio.SSLConnection):
    """The same by TLS."""


def connect(options: RedisOptions) -> Any:
    """A client for threads; nothing is opened yet."""
    address = options.address
    retry = {"retry": Retry(NoBackoff(), 0)}
    shared = _shared(options) | retry
    if options.redis_type == "redis_cluster":
        nodes = [redis.cluster.ClusterNode(host, port) for host, port in address.nodes]
        # It makes its connections itself, so that its deadline holds for each wait and not for a whole answer.
        shared["socket_timeout"] = options.deadline_seconds
        return redis.cluster.RedisCluster(startup_nodes=nodes, **_ssl(options), **shared)
    if options.redis_type == "redis_sentinel":
        watchers = _sentinels(options) | retry
        sentinel = redis.sentinel.Sentinel(address.nodes, sentinel_kwargs=watchers, **_certificates(options), **shared)
        managed = TimedSSLMasterConnection if address.ssl else TimedMasterConnection
        return sentinel.master_for(options.sentinel_master, db=address.db, connection_class=managed)
    host, port = address.nodes[0]
    kind = TimedSSLConnection if address.ssl else TimedConnection
    pool = redis.ConnectionPool(
        connection_class=kind, host=host, port=port, db=address.db, **_certificates(options), **shared
    )
    return redis.Redis(connection_pool=pool)


def connect_async(options: RedisOptions) -> Any:
    """A client for one event loop; nothing is opened yet."""
    address = options.address
    retry = {"retry": AsyncRetry(NoBackoff(), 0)}
    shared = _shared(options) | retry
    if options.redis_type == "redis_cluster":
        nodes = [redis.asyncio.cluster.ClusterNode(host, port) for host, port in address.nodes]
        return redis.asyncio.cluster.RedisCluster(startup_nodes=nodes, **_ssl(options), **shared)
    if options.redis_type == "redis_sentinel":
        sentinel = redis.asyncio.sentinel.Sentinel(
            list(address.nodes), sentinel_kwargs=_sentinels(options) | retry, **_ssl(options), **shared
        )
        return sentinel.master_for(options.sentinel_master, db=address.db)
    host, port = address.nodes[0]
    packed = PackedSSLConnection if address.ssl else PackedConnection
    return redis.asyncio.Redis.from_pool(
        redis.asyncio.ConnectionPool(
            connection_class=packed, host=host, port=port, db=address.db, **_certificates(options), **shared
        )
    )


def with_sentinels(client: Any) -> list[Any]:
    """A client and those of its sentinels, which it does not close itself."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [client, *getattr(manager, "sentinels", [])]


def _shared(options: RedisOptions) -> dict[str, Any]:
    address = options.address
    return {
        "username": address.username or None,
        "password": address.password or None,
        "max_connections": options.max_connections,
        "socket_timeout": options.seconds_per_try,
        "socket_connect_timeout": options.deadline_seconds,
        "protocol": 2,
    }


def _sentinels(options: RedisOptions) -> dict[str, Any]:
    """How sentinels are asked, one after the other: those that hang leave time for the next one and for the master."""
    share = options.deadline_seconds / (len(options.address.nodes) + 1)
    user = {"username": options.sentinel_username or None, "password": options.sentinel_password or None}
    return {"socket_timeout": share, "socket_connect_timeout": share, "protocol": 2, **user, **_ssl(options)}


def _ssl(options: RedisOptions) -> dict[str, Any]:
    return {"ssl": True, **_certificates(options)} if options.address.ssl else {}


def _certificates(options: RedisOptions) -> dict[str, Any]:
    if not options.address.ssl:
        return {}
    return {
        "ssl_ca_certs": options.ssl_ca_certs or None,
        "ssl_certfile": options.ssl_certfile or None,
        "ssl_keyfile": options.ssl_keyfile or None,
        "ssl_cert_reqs": "required" if options.ssl_verify else "none",
        "ssl_check_hostname": options.ssl_verify,
    }
