"""Batches of messages for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tiffin.contracts.stream import Messages
from tiffin.definitions.streams import StreamFormat
from tiffin.messages.column import MessageColumn
from tiffin.messages.table import MessageReader, Taken
from tiffin.time import to_us
from tiffin.types import Float64, Int64, String, UnixTimestamp

NOW_US = to_us("2024-06-01T12:00:00Z")

USER = MessageColumn("user", Int64, is_key=True)
AT = MessageColumn("at", UnixTimestamp, is_time=True, is_required=True)
AMOUNT = MessageColumn("amount", Float64)
WORD = MessageColumn("word", String)


def batch(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] = (),
    headers: Sequence[Mapping[str, bytes | None]] = (),
    times_us: Sequence[int] = (),
) -> Messages:
    """Messages of one partition, from offset 0 on."""
    count = len(values)
    return Messages(
        list(values),
        np.zeros(count, np.int32),
        list(range(count)),
        lambda: list(keys) or [None] * count,
        lambda: list(times_us) or [0] * count,
        lambda: [list(each.items()) for each in headers] or [()] * count,
    )


def take(format_: StreamFormat, columns: Sequence[MessageColumn], values: Sequence[bytes | None], **around) -> Taken:
    """What a reader makes of messages at noon of a day in 2024."""
    schema_of = around.pop("schema_of", None)
    return MessageReader(format_, columns, schema_of).take(batch(values, **around), NOW_US)
