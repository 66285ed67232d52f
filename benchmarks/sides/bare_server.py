"""The least that a server of features does: decode, one MGET, unpack, encode. No checks, no statuses, no ages."""

from __future__ import annotations

import os
import struct
from typing import Any

import msgspec
import redis.asyncio

_NAMES = os.environ["BARE_NAMES"].split(",")
_PLACES = {f"v0:{name}": place for place, name in enumerate(_NAMES)}
_UNPACK = struct.Struct("<qq" + "dq" * (len(_NAMES) // 2)).unpack
_STAMP = 2
_CLIENT = redis.asyncio.Redis(port=int(os.environ["BARE_REDIS"]))


class _Request(msgspec.Struct):
    features: list[str]
    entities: dict[str, list[int]]


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


async def read(body: bytes) -> bytes:
    """The answer to a request."""
    request = _decode(body)
    keys = request.entities["key"]
    rows = [_UNPACK(row) for row in await _CLIENT.mget([b"0:%d" % key for key in keys])]
    places = [(name, _PLACES[name] + _STAMP) for name in request.features]
    return _encode({"key": keys, **{name: [row[place] for row in rows] for name, place in places}})


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The bare application."""
    if scope["type"] != "http":
        return
    message = await receive()
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        parts.append(message["body"])
    body = await read(b"".join(parts))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
