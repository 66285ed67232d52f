"""Windows of time: which event times belong to the window at a moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]

#: Before every fact: the old edge of a window that holds everything.
BEFORE_ALL_US = np.iinfo(np.int64).min
#: Longer than the years 1 to 9999; no window or offset needs more, and differences stay within int64.
_LONGEST_US = 1 << 60


@dataclass(frozen=True)
class Window:
    """A window of time; at ``t`` it holds the facts with ``after < event time <= until``.

    ``until`` is ``t - offset``. ``after`` is ``until - length``, or, with ``slide``, ``floor(until, slide) - length``.

    Attributes:
        length_us: how far back it goes; ``None`` for everything.
        slide_us: what the old edge is rounded down to a multiple of, since the epoch; ``None`` for exact edges.
        offset_us: how long before ``t`` it ends.

    >>> Window(60, slide_us=10).bounds(105)
    (40, 105)
    """

    length_us: int | None = None
    slide_us: int | None = None
    offset_us: int = 0

    def __post_init__(self) -> None:
        for name in ("length_us", "slide_us", "offset_us"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, min(value, _LONGEST_US))

    def bounds(self, t_us: int) -> tuple[int, int]:
        """(after, until) at one moment; ``BEFORE_ALL_US`` where there is no old edge."""
        until = t_us - self.offset_us
        if self.length_us is None:
            return BEFORE_ALL_US, until
        edge = until if self.slide_us is None else until // self.slide_us * self.slide_us
        return edge - self.length_us, until

    def bounds_of(self, times_us: Int64Array) -> tuple[Int64Array | None, Int64Array]:
        """(n,) after and (n,) until at many moments; ``None`` where there is no old edge."""
        until = times_us - self.offset_us if self.offset_us else times_us
        if self.length_us is None:
            return None, until
        edge = until if self.slide_us is None else until // self.slide_us * self.slide_us
        return edge - self.length_us, until
