"""Answers as bytes: the JSON that Feast's server gives, rows and columns of our own, msgpack and Arrow.

JSON has no NaN, so that NaN and the infinities are the texts ``NaN``, ``Infinity`` and ``-Infinity``; bytes are Base64,
times RFC 3339, decimals and UUIDs text, sets lists. Msgpack and Arrow keep all of these apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from math import isfinite, isnan
from typing import Any

import msgspec
import numpy as np

from tiffin.errors import InputError
from tiffin.online.response import OnlineResponse
from tiffin.time import from_us
from tiffin.types import (
    Bool,
    Bytes,
    Decimal,
    FeatureType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)

_FLOATS = (Float32, Float64)
#: Types whose values the encoder writes as they are.
_PLAIN = frozenset({Bool, Int32, Int64, String, Bytes, UnixTimestamp, Decimal, Uuid, TimeUuid})
_EPOCH = from_us(0)
_MANY_TIMES = 8

_to_json = msgspec.json.Encoder().encode
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


class _FeastColumn(msgspec.Struct):
    """One column as Feast's server gives it; what all columns of a view have alike is written once."""

    values: Sequence[Any]
    statuses: msgspec.Raw
    event_timestamps: msgspec.Raw


def feast_json(response: OnlineResponse, label: str) -> bytes:
    """An answer as Feast's server gives it: by column, keys first, all times in whole requests.

    Args:
        response: the answer.
        label: the fallback that it came from; empty when it came from the store.
    """
    plan, entities = response.plan, response.entities
    results = [_FeastColumn(_plain(cells), *_like_present(len(cells))) for cells in entities.values()]
    # Columns of one view share these lists, and so what is written of them.
    tails: dict[tuple[int, int], tuple[msgspec.Raw, msgspec.Raw]] = {}
    columns = json_columns(response.columns(), plan.dtypes)
    for cells, states, times in zip(columns, response.column_statuses(), response.column_event_us(), strict=True):
        shared = id(states), id(times)
        tail = tails.get(shared)
        if tail is None:
            tail = tails[shared] = msgspec.Raw(_to_json(states)), msgspec.Raw(_moments_json(times))
        results.append(_FeastColumn(cells, *tail))
    metadata: dict[str, Any] = {"feature_names": [*entities, *plan.names]}
    if label:
        metadata["fallback"] = label
    return encode(_to_json, {"metadata": metadata, "results": results})


@lru_cache(64)
def _like_present(count: int) -> tuple[msgspec.Raw, msgspec.Raw]:
    """Statuses and times of columns that came with the request."""
    return msgspec.Raw(_to_json(["PRESENT"] * count)), msgspec.Raw(_to_json([_EPOCH] * count))


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
    columns.update(zip(plan.names, json_columns(response.columns(), plan.dtypes), strict=True))
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


def json_columns(columns: Sequence[Sequence[Any]], types: Sequence[FeatureType]) -> list[Sequence[Any]]:
    """Columns of features in the forms that JSON has."""
    return [
        cells if dtype in _PLAIN or (dtype in _FLOATS and _is_finite(cells)) else [_json_value(cell) for cell in cells]
        for cells, dtype in zip(columns, types, strict=True)
    ]


def _is_finite(cells: Sequence[float | None]) -> bool:
    """Whether nothing is NaN or infinite; sometimes ``False`` all the same. A sum tells it faster than many looks."""
    try:
        return isfinite(sum(cells))  # type: ignore[arg-type]
    except TypeError:
        return all([cell is None or isfinite(cell) for cell in cells])  # noqa: C419 - a list is faster


def _plain(cells: Sequence[Any]) -> Sequence[Any]:
    """A column of the request, which only msgpack can have brought floats of no JSON in."""
    return [_json_value(cell) for cell in cells] if any(type(cell) is float for cell in cells) else cells


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
            name: shared.get(id(times)) or shared.setdefault(id(times), _moments(times, None))
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
        return _to_json(_moments(times))
    moments = np.array([0 if us is None else us for us in times], "M8[us]").tolist()
    return _to_json(moments).replace(b'",', b'Z",')[:-2] + b'Z"]'


def _moments(times: Sequence[int | None], without: datetime | None = _EPOCH) -> list[datetime | None]:
    """Times as datetimes, each distinct one made once."""
    made: dict[int | None, datetime | None] = {None: without}
    for us in times:
        if us not in made:
            made[us] = from_us(us)  # type: ignore[arg-type]
    return [made[us] for us in times]
