"""Options of Spark in the section ``stream_engine``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tiffin.errors import ConfigError


@dataclass(frozen=True)
class SparkOptions:
    """How Spark is reached, and how much it takes at once.

    Attributes:
        master: the cluster, such as ``spark://host:7077``, ``yarn`` or ``local[4]``; what ``spark-submit`` says, or all
            cores of this machine, when empty.
        trigger_seconds: how long after one batch has begun the next one begins; 0 for at once.
        max_messages_per_batch: how many messages a batch has at most, over all partitions.
        kafka: further settings of Kafka's client for Java by their own names.
        conf: settings of Spark, such as ``spark.executor.memory``.
    """

    master: str = ""
    trigger_seconds: float = 0.0
    max_messages_per_batch: int = 200_000
    kafka: dict[str, Any] = field(default_factory=dict, repr=False)
    conf: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.trigger_seconds < 0:
            raise ConfigError(f"stream_engine.trigger_seconds is {self.trigger_seconds!r}", hint="give seconds, or 0")
        if self.max_messages_per_batch < 1:
            found = self.max_messages_per_batch
            raise ConfigError(f"stream_engine.max_messages_per_batch is {found!r}", hint="give a number above 0")
