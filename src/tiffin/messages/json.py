"""Messages in JSON: one object each.

Each message is decoded by itself. One call over many joined messages (as in Arrow's reader of JSON lines) is no faster
once rows become columns, and two broken messages can make a valid one when they are joined.
"""

from __future__ import annotations

from functools import partial

import msgspec

from tiffin.messages.rows import Decode, RowType, decode_all


def json_decoder(row_type: RowType) -> Decode:
    """The decoder for rows of a type."""
    return partial(decode_all, decode=msgspec.json.Decoder(row_type.type).decode)
