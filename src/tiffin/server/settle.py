"""A process that only serves: what is done to it so that requests wait for nothing that happens beside them."""

from __future__ import annotations

import gc
import sys

#: How long a thread keeps the interpreter from the event loop, which asks for it after every wait. Python's own 5 ms
#: add up: while newer definitions were loaded, requests waited for 40 ms.
_SWITCH_SECONDS = 0.0005


def settle_process() -> None:
    """Make the process fit for serving, once everything is open.

    What is there by now stays as long as the process does. Garbage collection no longer goes through it, which took a
    quarter of a second now and then, in which no thread ran.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
