"""Options of the DynamoDB online store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tiffin.backends.dynamodb import layout
from tiffin.contracts.guard import CallOptions
from tiffin.errors import ConfigError


@dataclass(frozen=True)
class DynamoDBOptions(CallOptions):
    """The ``online_store`` section for the type ``dynamodb``. Credentials come from where AWS's tools look for them.

    Attributes:
        region: the region; the one that AWS's tools are set to when empty.
        endpoint_url: another endpoint, such as one in a private network; holds no user and no password.
        table_name_template: how tables are called; holds ``{project}`` and ``{table_name}``, and ``.`` or ``_`` between
            them.
        consistent_reads: read what was written last; without it a read costs half and may be a moment old.
        tags: tags for the tables that are made.
        expiry_margin_seconds: a row of a view with a ttl leaves the table some time after it expired so long ago;
            negative for never. It then answers NOT_FOUND instead of OUTSIDE_MAX_AGE, by Amazon's clock.
        max_pool_connections: how many calls at once.
        batch_size: kept for compatibility; Amazon's own limit of 100 is used.
        warmup_connections: kept for compatibility; no effect.
        session_based_auth: kept for compatibility; no effect.
        max_read_workers: kept for compatibility; no effect.
        keepalive_timeout: kept for compatibility; no effect.
        connect_timeout: kept for compatibility; ``deadline_seconds`` holds.
        read_timeout: kept for compatibility; ``deadline_seconds`` holds.
        total_max_retry_attempts: kept for compatibility; calls are tried again until the deadline.
        retry_mode: kept for compatibility; no effect.
    """

    region: str = ""
    endpoint_url: str = ""
    table_name_template: str = "{project}.{table_name}"
    consistent_reads: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    expiry_margin_seconds: float = -1.0
    max_pool_connections: int = 50
    batch_size: int = 100
    warmup_connections: bool = False
    session_based_auth: bool = False
    max_read_workers: int = 10
    keepalive_timeout: float = 30.0
    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    total_max_retry_attempts: int = 3
    retry_mode: str = "adaptive"

    def __post_init__(self) -> None:
        super().__post_init__()
        if layout.separator(self.table_name_template) == "":
            hint = "write {project}.{table_name}, or add letters, digits, ., _ and - to it"
            raise ConfigError(f"online_store.table_name_template is {self.table_name_template!r}", hint=hint)
        if "@" in urlsplit(self.endpoint_url).netloc:
            # The address is in every error, and none of AWS's signatures would use the password.
            hint = "leave user and password out; credentials come from where AWS's tools look for them"
            raise ConfigError("online_store.endpoint_url holds a user or a password", hint=hint)
        if self.max_pool_connections < 1:
            raise ConfigError(f"online_store.max_pool_connections is {self.max_pool_connections}", hint="at least 1")
