"""Options of Kinesis in the section ``streams.kinesis``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tiffin.errors import ConfigError


@dataclass(frozen=True)
class KinesisOptions:
    """How Kinesis is reached; for all sources in it. Credentials are found as AWS's own tools find them.

    Attributes:
        endpoint_url: another endpoint, such as one in a private network; holds no user and no password.
        timeout_seconds: how long an answer may take.
        session_timeout_seconds: the shards of a worker that is not heard of so long go to the others. The clocks of the
            workers' machines have to agree better than that.
        reads_per_second: how often a shard is asked; Amazon allows 5 for all readers of a shard together.
    """

    endpoint_url: str = ""
    timeout_seconds: float = 10.0
    session_timeout_seconds: float = 10.0
    reads_per_second: float = 4.0

    def __post_init__(self) -> None:
        for name in ("timeout_seconds", "session_timeout_seconds", "reads_per_second"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"streams.kinesis.{name} is {getattr(self, name)!r}", hint="give a number above 0")
        if self.endpoint_url and "@" in urlsplit(self.endpoint_url).netloc:
            raise ConfigError("streams.kinesis.endpoint_url holds a user or a password", hint="leave them out")
