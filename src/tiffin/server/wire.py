"""Answers as bytes: the JSON that Feast's server gives, rows and columns of our own, msgpack and Arrow.

JSON has no NaN, so that NaN and the infinities are the texts ``NaN``, ``Infinity`` and ``-Infinity``; bytes are Base64,
times RFC 3339, decimals and UUIDs text, sets lists. Msgpack and Arrow keep all of these apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from tiffin.errors import InputError
from tiffin.online.response import OnlineResponse
from tiffin.time import from_us
from tiffin.types import (
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

if TYPE_CHECKING:
    from tiffin.planning.online import OnlinePlan

_FLOATS = (Float32, Float64)
#: Types whose values the encoder writes as they are.
_PLAIN = frozenset({Bool, Int32, Int64, String, Bytes, UnixTimestamp, Decimal, Uuid, TimeUuid})
_EPOCH = from_us(0)
_MANY_TIMES = 8
#: What comes before the values of a column in an answer for Feast's clients.
_OPENING = b',{"values":'

_to_json = msgspec.json.Encoder().encode
_to_json_lines = msgspec.json.Encoder().encode_lines
_to_msgpack = msgspec.msgpack.Encoder().encode


def encode(write: Callable[[Any], bytes], data: Any) -> bytes:
    """Write an answer, which repeats columns of the request.

    Raises:
        InputError: such a column has a value that cannot be written.
    """
    try:
        return write(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"a value of the entity rows cannot be answered: {error}", hint="send numbers, texts and times"
        ) from None


def feast_json(response: OnlineResponse, label: str) -> bytes:
    """An answer as Feast's server gives it: by column, keys first, all times in whole requests.

    Args:
        response: the answer.
        label: the fallback that it came from; empty when it came from the store.
    """
    plan, entities = response.plan, response.entities
    columns = [*map(_plain, entities.values()), *json_columns(response)]
    metadata: dict[str, Any] = {"feature_names": [*entities, *plan.names]}
    if label:
        metadata["fallback"] = label
    count = len(columns[0]) if columns else 0
    # A line for each column: no text in JSON has a line break as it is.
    parts = [_OPENING] * (2 * len(columns) + 1)
    parts[1::2] = encode(_to_json_lines, columns).splitlines()
    parts[2::2] = [_tail_like_present(count)] * len(entities) + _feast_tails(response, count)
    results = b"".join(parts)[len(b",") : -len(_OPENING)]
    return b'{"metadata":%b,"results":[%b]}' % (_to_json(metadata), results)


def _feast_tails(response: OnlineResponse, count: int) -> list[bytes]:
    """For each feature what comes after its values; written once for columns that have it alike."""
    if response.are_present():
        statuses = _present_json(count)
        tails = [_feast_tail(statuses, _moments_json(times)) for times in response.stored_event_us()]
        return [tails[view] for view in _forms(response.plan).views]
    made: dict[tuple[int, int], bytes] = {}
    # Columns of one view share these lists. They are kept until the end, so that no two have the same id.
    columns = list(zip(response.column_statuses(), response.column_event_us(), strict=True))
    for states, times in columns:
        if (id(states), id(times)) not in made:
            made[id(states), id(times)] = _feast_tail(_to_json(states), _moments_json(times))
    return [made[id(states), id(times)] for states, times in columns]


def _feast_tail(statuses: bytes, times: bytes) -> bytes:
    """What comes between the values of a column and those of the next."""
    return b',"statuses":%b,"event_timestamps":%b}%b' % (statuses, times, _OPENING)


@lru_cache(64)
def _present_json(count: int) -> bytes:
    return _to_json(["PRESENT"] * count)


@lru_cache(64)
def _tail_like_present(count: int) -> bytes:
    """The tail of columns that came with the request."""
    return _feast_tail(_present_json(count), _to_json([_EPOCH] * count))


def json_body(response: OnlineResponse, extra: dict[str, Any], layout: str, details: bool) -> bytes:
    """An answer as columns, or as one object per row.

    Args:
        response: the answer.
        extra: further members.
        layout: ``columns`` or ``rows``.
        details: whether statuses and event times are told.
    """
    plan = response.plan
    columns: dict[str, Sequence[Any]] = {name: _plain(cells) for name, cells in response.entities.items()}
    columns.update(zip(plan.names, json_columns(response), strict=True))
    return encode(_to_json, _body(response, columns, extra, layout, details))


def msgpack_body(response: OnlineResponse, extra: dict[str, Any], layout: str, details: bool) -> bytes:
    """Like ``json_body``, in msgpack, with the type of each feature, from which its values can be made again."""
    extra = {**extra, "types": {name: repr(dtype) for name, dtype in response.types.items()}}
    return encode(_to_msgpack, _body(response, dict(response.to_dict()), extra, layout, details))


def arrow_body(response: OnlineResponse, extra: dict[str, Any], details: bool) -> bytes:
    """The answer as a stream of Arrow, with ``extra`` in its metadata.

    With details each feature has a column ``<name>__status``, and ``<name>__event_timestamp`` next to it.
    """
    import pyarrow as pa

    try:
        table = response.to_arrow()
    except (pa.ArrowException, OverflowError) as error:
        raise InputError(f"the entity rows make no columns: {error}", hint="give every column one type") from None
    if details:
        moments = pa.timestamp("us", "UTC")
        statuses, times = response.statuses(), response.event_us()
        for name in response.types:
            table = table.append_column(f"{name}__status", pa.array(statuses[name], pa.string()))
            table = table.append_column(f"{name}__event_timestamp", pa.array(times[name], moments))
    extra = {**extra, "types": {name: repr(dtype) for name, dtype in response.types.items()}}
    table = table.replace_schema_metadata({"tiffin": _to_json(extra)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def json_columns(response: OnlineResponse) -> list[Sequence[Any]]:
    """The columns of features in the forms that JSON has."""
    columns: list[Sequence[Any]] = [*response.columns()]
    forms = _forms(response.plan)
    changed = forms.others
    if not _are_finite([columns[place] for place in forms.floats]):
        changed += tuple(place for place in forms.floats if not _is_finite(columns[place]))
    for place in changed:
        columns[place] = [_json_value(cell) for cell in columns[place]]
    return columns


class _Forms(NamedTuple):
    """What there is to know of the columns of a plan.

    Attributes:
        floats: the places of those that may have NaN or the infinities.
        others: the places of those whose values the encoder does not write as they are.
        views: the view of each; of no use where functions compute some.
    """

    floats: tuple[int, ...]
    others: tuple[int, ...]
    views: tuple[int, ...]


@lru_cache(1000)
def _forms(plan: OnlinePlan) -> _Forms:
    types = list(enumerate(plan.dtypes))
    return _Forms(
        floats=tuple(place for place, dtype in types if dtype in _FLOATS),
        others=tuple(place for place, dtype in types if dtype not in _FLOATS and dtype not in _PLAIN),
        views=tuple(column.view for column in plan.columns),
    )


def _are_finite(columns: Sequence[Sequence[float | None]]) -> bool:
    """Whether nothing is null, NaN or infinite; sometimes ``False`` all the same. A sum tells it faster than a look."""
    try:
        return isfinite(sum(map(sum, columns)))  # type: ignore[arg-type]
    except TypeError:
        return False


def _is_finite(cells: Sequence[float | None]) -> bool:
    """Whether nothing is NaN or infinite."""
    return all([cell is None or isfinite(cell) for cell in cells])  # noqa: C419 - a list is faster


def _plain(cells: Sequence[Any]) -> Sequence[Any]:
    """A column of the request, which only msgpack can have brought floats of no JSON in."""
    return [_json_value(cell) for cell in cells] if float in map(type, cells) else cells


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        if isfinite(value):
            return value
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(item) for item in value]
    return value


def _body(
    response: OnlineResponse, columns: dict[str, Sequence[Any]], extra: dict[str, Any], layout: str, details: bool
) -> dict[str, Any]:
    parts: dict[str, dict[str, Sequence[Any]]] = {"columns": columns}
    if details:
        shared: dict[int, list[datetime | None]] = {}
        parts["statuses"] = dict(response.statuses())
        parts["event_timestamps"] = {
            name: shared.get(id(times)) or shared.setdefault(id(times), _moments(times))
            for name, times in response.event_us().items()
        }
    if layout == "columns":
        return {**parts, **extra}
    turned = {("rows" if part == "columns" else part): _rows(value) for part, value in parts.items()}
    return {**turned, **extra}


def _rows(columns: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _moments_json(times: Sequence[int | None]) -> bytes:
    """A list of times; of many of them by numpy, which makes times without a zone."""
    if len(times) < _MANY_TIMES:
        return _to_json([_EPOCH if us is None else from_us(us) for us in times])
    moments = np.array([0 if us is None else us for us in times], "M8[us]").tolist()
    return _to_json(moments).replace(b'",', b'Z",')[:-2] + b'Z"]'


def _moments(times: Sequence[int | None]) -> list[datetime | None]:
    """Times as datetimes, each distinct one made once."""
    made: dict[int | None, datetime | None] = {None: None}
    for us in times:
        if us not in made:
            made[us] = from_us(us)  # type: ignore[arg-type]
    return [made[us] for us in times]
