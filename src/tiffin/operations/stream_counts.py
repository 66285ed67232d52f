"""What is counted of a stream: per partition, and kept together with the position, so that no crash makes it wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from tiffin.time import MIN_US


class PartitionCount(msgspec.Struct):
    """What has been counted of a partition since its group began.

    Attributes:
        messages: worked off, dead ones included.
        dead: dead letters.
        late: facts that came later than the source allows.
        newest_us: the newest event time; the watermark is as long before it as a message may be late.
        at_us: when it was counted last.
        rate: messages per second in the run that counted last.
    """

    messages: int = 0
    dead: int = 0
    late: int = 0
    newest_us: int = MIN_US
    at_us: int = 0
    rate: float = 0.0

    def note(self) -> str:
        """As the text that is kept with the position."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_note(cls, text: str) -> PartitionCount:
        """From that text; a new one from a text that is none, such as another program's."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return cls()

    def add(self, messages: int, dead: int, times_us: NDArray[np.int64], delay_us: int | None) -> int:
        """Count messages of the partition.

        Args:
            messages: how many.
            dead: how many of them are dead letters.
            times_us: the event times of the others, in their order.
            delay_us: how late they may be; ``None`` for any time.

        Returns:
            How many were late. It depends on the order of the messages alone, not on how they came in batches.
        """
        late = 0
        if len(times_us):
            newest = np.maximum.accumulate(np.concatenate(([self.newest_us], times_us)))
            if delay_us is not None:
                # Without a message before there is no watermark; the least time would run over.
                late = int((times_us < np.maximum(newest[:-1], MIN_US + delay_us) - delay_us).sum())
            self.newest_us = int(newest[-1])
        self.messages += messages
        self.dead += dead
        self.late += late
        return late


@dataclass(frozen=True)
class SourceProgress:
    """How far one source is.

    Attributes:
        source: its name.
        views: which it feeds.
        group: the group of consumers.
        messages: worked off by this worker since it began.
        written: over all views: keys with a new row online now, and facts that are new in windows.
        stale: rows that were not newer than what was there, and facts that were there before.
        expired: facts that are too old for every window of their view (STR-2).
        capped: keys that came to have more facts than are kept one by one, counted in each write.
        dead: messages that went to the dead letters, those too far ahead of now (WR-5) included.
        late: facts that came later than the source allows; they are written all the same (STR-2).
        reasons: why messages were dead letters, and how often; the first ones of each kind.
        lag: messages that wait; ``None`` where it is not known.
        watermark_us: how far event times have got in the partitions of this worker; ``None`` before the first message.
        rate: messages per second, lately.
    """

    source: str
    views: tuple[str, ...]
    group: str
    messages: int = 0
    written: int = 0
    stale: int = 0
    expired: int = 0
    capped: int = 0
    dead: int = 0
    late: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    lag: int | None = None
    watermark_us: int | None = None
    rate: float = 0.0


def watermark_us(counts: Iterable[PartitionCount], delay_us: int | None) -> int | None:
    """How far event times have got in all of some partitions; those without a message do not count."""
    newest = [count.newest_us for count in counts if count.newest_us > MIN_US]
    return min(newest) - (delay_us or 0) if newest else None
