"""Options of the Redis online store."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiffin.backends.redis.addresses import Address, parse_address
from tiffin.contracts.guard import CallOptions
from tiffin.errors import ConfigError, nearest

KINDS = ("redis", "redis_cluster", "redis_sentinel")
#: How many masters that hang a write behind sentinels outlasts, and one more.
_TRIES = 4


@dataclass(frozen=True)
class RedisOptions(CallOptions):
    """The ``online_store`` section for the type ``redis``.

    Attributes:
        connection_string: where it is: ``redis://user:password@host:6379/0``, ``rediss://`` for TLS, or
            ``host:port,host:port,password=...,ssl=true``.
        redis_type: ``redis``, ``redis_cluster`` or ``redis_sentinel``.
        sentinel_master: the name of the master that the sentinels watch.
        sentinel_username: who asks the sentinels, where that is another one than who asks the master.
        sentinel_password: the password of the sentinels; that of the master is in ``connection_string``.
        key_ttl_seconds: a row leaves Redis so long after it was written; 0 for never.
        expiry_margin_seconds: a row of a view with a ttl leaves Redis so long after it expired; negative for never. It
            then answers NOT_FOUND instead of OUTSIDE_MAX_AGE, by the clock of the server.
        ssl_ca_certs: the file of the authorities to trust, for TLS; the system's when empty.
        ssl_certfile: the client's certificate.
        ssl_keyfile: the client's key.
        ssl_verify: refuse a server whose certificate is not trusted.
        max_connections: how many connections at once.
        full_scan_for_deletion: kept for compatibility; no effect.
        skip_dedup: kept for compatibility; no effect, since the newest fact always wins.
        client: kept for compatibility; no effect.
    """

    connection_string: str = "localhost:6379"
    redis_type: str = "redis"
    sentinel_master: str = "mymaster"
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    key_ttl_seconds: int = 0
    expiry_margin_seconds: float = -1.0
    ssl_ca_certs: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_verify: bool = True
    max_connections: int = 64
    full_scan_for_deletion: bool = True
    skip_dedup: bool = False
    client: str = "redis"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redis_type not in KINDS:
            hint = nearest(self.redis_type, KINDS)
            raise ConfigError(f"online_store.redis_type is {self.redis_type!r}", hint=hint)
        if self.key_ttl_seconds < 0:
            raise ConfigError(f"online_store.key_ttl_seconds is {self.key_ttl_seconds}", hint="0 turns it off")
        if self.max_connections < 1:
            raise ConfigError(f"online_store.max_connections is {self.max_connections}", hint="give at least 1")
        parse_address(self.connection_string)

    @property
    def address(self) -> Address:
        """The connection string, read."""
        return parse_address(self.connection_string)

    @property
    def seconds_per_try(self) -> float:
        """How long to wait for one server; behind sentinels there may be another master by then."""
        seconds = self.write_deadline_seconds
        return seconds / _TRIES if self.redis_type == "redis_sentinel" else seconds

    def __repr__(self) -> str:
        """Without the password."""
        return f"RedisOptions({self.redis_type} {self.address})"
