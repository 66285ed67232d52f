"""HTTP as the server sees it: a call that came in, a reply that goes out. Everything else is bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.errors import InputError, LimitError, RequestError, TiffinError

if TYPE_CHECKING:
    from tiffin.governance.access import Principal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON, MSGPACK, ARROW = "application/json", "application/msgpack", "application/vnd.apache.arrow.stream"
_MSGPACK_NAMES = (MSGPACK, "application/x-msgpack", "application/vnd.msgpack")


#: How a flag of the query is written; as Feast's server takes it.
_FLAGS = dict.fromkeys(("true", "1", "yes", "on", "t", "y"), True) | dict.fromkeys(
    ("false", "0", "no", "off", "f", "n"), False
)


class ClientGone(Exception):
    """The client went away while its body was read."""


@dataclass(slots=True)
class Call:
    """A request that is being answered.

    Attributes:
        method, path, query: as they came.
        headers: names in lower case; of a repeated one the last.
        request_id: the client's own, or a new one.
        receive: gives the parts of the body.
        principal: who asks; set before a handler sees the call.
        is_decided: whether somebody has decided that the principal may do what is asked.
        notes: what the access log is to say besides.
    """

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    request_id: str
    receive: Receive
    principal: Principal
    is_decided: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """A header, empty when it is not there."""
        return self.headers.get(name.encode(), b"").decode("latin-1")

    def flag(self, name: str) -> bool:
        """Whether a flag of the query is set.

        Raises:
            RequestError: it is neither set nor unset.
        """
        from urllib.parse import parse_qs

        said = parse_qs(self.query, keep_blank_values=True).get(name, ["false"])[-1]
        if said.lower() not in _FLAGS:
            raise RequestError(f"{name} is {said!r}", hint=f"write {name}=true, or leave it out")
        return _FLAGS[said.lower()]

    @property
    def sends_msgpack(self) -> bool:
        """Whether the body is msgpack; it is JSON otherwise."""
        return self.header("content-type").partition(";")[0].strip().lower() in _MSGPACK_NAMES

    @property
    def wants(self) -> str:
        """The content type of the answer: the first known one of ``Accept``, else JSON."""
        accept = self.header("accept")
        if not accept or accept == JSON or accept == "*/*":
            return JSON
        for item in accept.split(","):
            name = item.partition(";")[0].strip().lower()
            if name in _MSGPACK_NAMES:
                return MSGPACK
            if name in (JSON, ARROW):
                return name
        return JSON

    async def body(self, most_bytes: int) -> bytes:
        """The whole body.

        Raises:
            LimitError: it is too large; by its declared length before anything is read.
            ClientGone: the client went away.
        """
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > most_bytes:
            raise _too_large(most_bytes)
        message = await self.receive()
        parts = [message.get("body", b"")]
        size = len(parts[0])
        while message.get("more_body"):
            message = await self.receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most_bytes:
                raise _too_large(most_bytes)
        if message["type"] == "http.disconnect":
            raise ClientGone
        return b"".join(parts) if len(parts) > 1 else parts[0]


@dataclass(slots=True)
class Reply:
    """What goes out.

    Attributes:
        body: the bytes.
        status: the HTTP status.
        content_type: what the bytes are.
        headers: further headers.
    """

    body: bytes = b""
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send, request_id: str) -> None:
        """Hand it to the server."""
        headers = [
            *([(b"content-type", self.content_type.encode())] if self.body else ()),
            (b"content-length", str(len(self.body)).encode()),
            (b"x-request-id", request_id.encode()),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(data: object, status: int = 200) -> Reply:
    """Plain data as JSON."""
    return Reply(msgspec.json.encode(data), status)


def error_fields(error: TiffinError, request_id: str) -> dict[str, Any]:
    """An error as the ``/v1`` routes show it: its fields, without the place in somebody's file."""
    shown: dict[str, Any] = {"code": error.code, "message": error.message}
    shown |= {name: value for name, value in (("subject", error.subject), ("hint", error.hint)) if value}
    return shown | {"retryable": error.retryable, "request_id": request_id}


def refuse_ext(code: int, data: memoryview) -> Any:
    """For decoders of msgpack: nothing but plain values is taken."""
    raise ValueError(f"msgpack extension {code} is not taken")


def decoded(decode: Callable[[bytes], Any], body: bytes) -> Any:
    """A body as what it should be.

    Raises:
        InputError: it is not.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise InputError(f"the body is not as it should be: {error}", hint="see /docs for the shape") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InputError(f"the body cannot be read: {error}", hint="send JSON, in UTF-8") from None


def _too_large(most_bytes: int) -> LimitError:
    return LimitError(f"the body is larger than {most_bytes} bytes", hint="ask in several requests")
