"""An online read without its I/O: from a request to the keys to read, and from the rows to the answer.

A driver does what is between: it hands ``requests`` to a store, waiting or not, and gives the rows to ``answer``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiffin.contracts.online import ReadRequest
from tiffin.errors import InputError, nearest
from tiffin.online.response import FieldStatus, OnlineResponse, ViewRows
from tiffin.online.rows import event_us
from tiffin.planning.online import OnlinePlan, ViewRead

_PRESENT, _NOT_FOUND, _EXPIRED = FieldStatus.PRESENT, FieldStatus.NOT_FOUND, FieldStatus.OUTSIDE_MAX_AGE
_FLAGS, _LAYOUT = 24, slice(25, 27)


class OnlineRead:
    """One read on its way.

    Attributes:
        requests: what the store is to read; empty keys are left out.
    """

    __slots__ = ("_count", "_entities", "_keys", "_plan", "requests")

    def __init__(
        self, plan: OnlinePlan, entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
    ) -> None:
        self._plan = plan
        self._entities, self._count = entity_columns(plan, entity_rows)
        self._keys = [_encode_keys(view, self._entities, self._count) for view in plan.views]
        self.requests = [
            ReadRequest(view.table, [key for key in keys if key is not None] if None in keys else keys)  # type: ignore[arg-type]
            for view, keys in zip(plan.views, self._keys, strict=True)
        ]

    def answer(self, found: Sequence[Sequence[bytes | None]], now_us: int) -> OnlineResponse:
        """The answer from the rows that the store found.

        Args:
            found: for each request its rows.
            now_us: the moment at which ages are judged (ONL-2).
        """
        decoded = []
        for view, keys, rows in zip(self._plan.views, self._keys, found, strict=True):
            if len(rows) != len(keys):
                rows = _with_gaps(keys, rows)
            decode = _decode_one if len(rows) == 1 else _decode_many
            decoded.append(decode(view, rows, now_us))
        return OnlineResponse(self._plan, self._entities, decoded, self._count)


def entity_columns(
    plan: OnlinePlan, entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
) -> tuple[dict[str, list[Any]], int]:
    """Entity rows as columns, in request order, and how many rows there are.

    Raises:
        InputError: rows have different columns, columns have different lengths, or a key column is missing.
    """
    if isinstance(entity_rows, Mapping):
        columns = {name: list(values) for name, values in entity_rows.items()}
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            sizes = ", ".join(f"{name}: {len(values)}" for name, values in columns.items())
            raise InputError(f"the entity columns have different lengths: {sizes}")
        count = lengths.pop() if lengths else 0
    else:
        columns, count = _columns_of(plan, entity_rows), len(entity_rows)
    for entity, key in plan.entity_names.items():
        if entity in columns and key not in columns:
            columns = {key if name == entity else name: values for name, values in columns.items()}
    for key in plan.keys:
        if key not in columns:
            hint = nearest(key, columns) if columns else f"pass entity_rows=[{{{key!r}: ...}}]"
            raise InputError(f"the entity rows have no {key!r}, which is a join key", subject=key, hint=hint)
    return columns, count


def _columns_of(plan: OnlinePlan, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    if len(rows) == 0:
        return {key: [] for key in plan.keys}
    first: Any = rows[0]
    if not isinstance(first, Mapping):
        hint = 'pass a list of dicts such as [{"driver_id": 1001}]'
        raise InputError(f"entity row 0 is {first!r}, not a mapping", hint=hint)
    if len(rows) == 1:
        return {name: [value] for name, value in first.items()}
    names = first.keys()
    for number, row in enumerate(rows):
        if row.keys() != names:
            raise InputError(
                f"entity row {number} has the columns {', '.join(row)}, row 0 has {', '.join(first)}",
                hint="all rows need the same columns; use None for a missing key",
            )
    return {name: [row[name] for row in rows] for name in first}


def _encode_keys(view: ViewRead, entities: Mapping[str, list[Any]], count: int) -> list[bytes | None]:
    encode = view.encode
    if not view.keys:
        return [encode(())] * count
    try:
        if len(view.keys) == 1:
            return [encode((value,)) for value in entities[view.keys[0]]]
        return [encode(values) for values in zip(*(entities[key] for key in view.keys), strict=True)]
    except InputError as error:
        raise _with_row(error, view, entities, count) from None


def _with_row(error: InputError, view: ViewRead, entities: Mapping[str, list[Any]], count: int) -> InputError:
    """The error with the number of the first row that causes it."""
    for number in range(count):
        try:
            view.encode([entities[key][number] for key in view.keys])
        except InputError as found:
            return type(found)(f"entity row {number}: {found.message}", subject=found.subject, hint=found.hint)
    return error


def _with_gaps(keys: Sequence[bytes | None], rows: Sequence[bytes | None]) -> list[bytes | None]:
    """Rows for the keys that were asked for, ``None`` for those that were null."""
    left = iter(rows)
    return [None if key is None else next(left) for key in keys]


def _decode_one(view: ViewRead, rows: Sequence[bytes | None], now_us: int) -> ViewRows:
    """The plain path for a single row: no arrays, no sets."""
    row = rows[0]
    width = len(view.wanted[0])
    if row is None or row[_FLAGS]:
        return ViewRows([[None] for _ in range(width)], [_NOT_FOUND], [None])
    event = event_us(row)
    if view.ttl_us is not None and event < now_us - view.ttl_us:
        return ViewRows([[None] for _ in range(width)], [_EXPIRED], [event])
    layout = row[25] << 8 | row[26]
    values = view.codecs[layout].decode_one(row)
    wanted = view.wanted[layout]
    if -1 in wanted:
        picked = [[values[i] if i >= 0 else None] for i in wanted]
        return ViewRows(picked, [_PRESENT], [event], frozenset((f, 0) for f, i in enumerate(wanted) if i < 0))
    return ViewRows([[values[i]] for i in wanted], [_PRESENT], [event])


def _decode_many(view: ViewRead, rows: Sequence[bytes | None], now_us: int) -> ViewRows:
    """Many rows: columns at once for all rows of one layout."""
    count, width = len(rows), len(view.wanted[0])
    oldest = None if view.ttl_us is None else now_us - view.ttl_us
    states = [_NOT_FOUND] * count
    events: list[int | None] = [None] * count
    by_layout: dict[bytes, list[int]] = {}
    for number, row in enumerate(rows):
        if row is None or row[_FLAGS]:
            continue
        event = events[number] = event_us(row)
        if oldest is not None and event < oldest:
            states[number] = _EXPIRED
            continue
        states[number] = _PRESENT
        by_layout.setdefault(row[_LAYOUT], []).append(number)
    if len(by_layout) == 1:
        ((number_bytes, numbers),) = by_layout.items()
        layout = int.from_bytes(number_bytes, "big")
        if len(numbers) == count and -1 not in view.wanted[layout]:
            values = view.codecs[layout].decode_many(rows, view.wanted[layout])  # type: ignore[arg-type]
            return ViewRows(values, states, events)
    spread: list[list[Any]] = [[None] * count for _ in range(width)]
    absent: set[tuple[int, int]] = set()
    for number_bytes, numbers in by_layout.items():
        layout = int.from_bytes(number_bytes, "big")
        wanted = view.wanted[layout]
        chosen: list[bytes] = [row for row in (rows[n] for n in numbers) if row is not None]
        decoded = view.codecs[layout].decode_many(chosen, [i for i in wanted if i >= 0])
        columns = iter(decoded)
        for feature, position in enumerate(wanted):
            if position < 0:
                absent.update((feature, n) for n in numbers)
                continue
            column = spread[feature]
            for n, value in zip(numbers, next(columns), strict=True):
                column[n] = value
    return ViewRows(spread, states, events, frozenset(absent))
