"""The ``feature_server`` section of ``feature_store.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tiffin.config import audit_log_of
from tiffin.contracts.options import options_from
from tiffin.errors import ConfigError

#: What older repositories may have in the section. It chooses nothing here.
_OLDER = (
    "type",
    "enabled",
    "transformation_service_endpoint",
    "metrics",
    "feature_logging",
    "offline_push_batching_enabled",
    "offline_push_batching_batch_size",
    "offline_push_batching_batch_interval_seconds",
    "mcp_enabled",
    "mcp_server_name",
    "mcp_server_version",
    "mcp_transport",
)
FALLBACKS = ("none", "stale", "default")


@dataclass(frozen=True)
class ServerOptions:
    """Limits and manners of the server.

    Attributes:
        deadline_seconds: how long a read may take, waiting for its body included.
        write_deadline_seconds: how long a push or a write may take; loads have no deadline.
        max_body_bytes: the largest body.
        max_entities: the most entity rows of a request.
        max_features: the most features of a request.
        threads: for stores without async of their own, for large answers and for writes; in each worker.
        max_waiting: how many requests may wait for a thread before others are turned away.
        registry_seconds: how often newer definitions are looked for.
        drain_seconds: how long the server says that it is not ready before it stops to listen.
        fallback: what is answered, and labelled, while the online store does not answer: ``none`` (an error),
            ``stale`` (the rows that this worker saw last) or ``default`` (as if nothing was found).
        fallback_rows: how many rows each worker keeps for ``stale``.
        access_log: a line of JSON for every request.
        audit_log: the file of writes, applies and refusals, relative to the repository; none when empty.
        log_rows: of served features: how many rows may wait to be written; those above are counted and dropped.
        log_seconds: of served features: how often they are written.
    """

    deadline_seconds: float = 2.0
    write_deadline_seconds: float = 60.0
    max_body_bytes: int = 4 << 20
    max_entities: int = 10_000
    max_features: int = 1_000
    threads: int = 8
    max_waiting: int = 64
    registry_seconds: float = 5.0
    drain_seconds: float = 0.0
    fallback: str = "none"
    fallback_rows: int = 100_000
    access_log: bool = True
    audit_log: str = ""
    log_rows: int = 100_000
    log_seconds: float = 10.0

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and (value < 0 or (value == 0 and option.name not in ("drain_seconds", "max_waiting"))):
                raise ConfigError(f"feature_server.{option.name} is {value}", hint="give a number above 0")
        if self.fallback not in FALLBACKS:
            raise ConfigError(f"feature_server.fallback is {self.fallback!r}", hint=f"one of: {', '.join(FALLBACKS)}")

    @classmethod
    def from_section(cls, section: object) -> ServerOptions:
        """Read the section; ``None`` is an empty one.

        Raises:
            ConfigError: it is no section, or an option is unknown or wrong.
        """
        if section is None:
            return cls()
        if not isinstance(section, Mapping):
            raise ConfigError("feature_server is no section", hint="write options below it, one a line")
        own: dict[str, Any] = {str(name): value for name, value in section.items() if name not in _OLDER}
        if own.pop("audit_logging", None) is not None:
            own["audit_log"] = audit_log_of(section)
        return options_from(cls, "feature_server", own)
