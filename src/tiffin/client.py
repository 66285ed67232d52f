"""A client of the feature server, for programs that serve models: it needs neither Arrow, nor DuckDB, nor pandas.

>>> client = Client("http://features:6566", token="tiffin_model-a_...")
>>> client.get_online_features(["driver_stats:conv_rate"], [{"driver_id": 1001}]).to_dict()  # doctest: +SKIP
{'driver_id': [1001], 'conv_rate': [0.25]}
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal as PyDecimal
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from tiffin.errors import ConfigError, StoreUnavailableError, TiffinError, error_from
from tiffin.types import Array, Decimal, FeatureType, Json, Map, Set, Struct, TimeUuid, Uuid, parse_type

MSGPACK, ARROW = "application/msgpack", "application/vnd.apache.arrow.stream"
#: What a connection that the server has closed meanwhile ends with; the same request then goes through on a new one.
_CLOSED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, http.client.CannotSendRequest)
EntityRows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
PushTo = Literal["online", "offline", "online_and_offline"]


@dataclass(frozen=True)
class Features:
    """An answer, with the methods of ``OnlineResponse`` that need no data library.

    Attributes:
        columns: entity columns, then features as asked, to values; as ``OnlineResponse.to_dict`` has them.
        types: feature column to its type.
        definitions_version: the version of the definitions that it was answered by.
        fallback: what it was answered from because the store did not answer, ``stale`` or ``default``; else empty.
        explained: how it was read, when that was asked for.
    """

    columns: Mapping[str, list[Any]]
    types: Mapping[str, FeatureType]
    definitions_version: int
    fallback: str = ""
    explained: Mapping[str, Any] = field(default_factory=dict)
    _statuses: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    _times: Mapping[str, list[datetime | None]] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, list[Any]]:
        """Column name to values, one per entity row."""
        return dict(self.columns)

    def statuses(self) -> dict[str, list[str]]:
        """Feature column to the status of each value: PRESENT, NULL_VALUE, NOT_FOUND or OUTSIDE_MAX_AGE."""
        return dict(self._statuses)

    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """Feature column to the event time of each value's fact; ``None`` without a fact."""
        return dict(self._times)


class Client:
    """Asks a feature server. One object may be shared by many threads; connections are kept and used again.

    Args:
        url: where the server is, such as ``http://127.0.0.1:6566``.
        token: an API key or a token, where the server asks for one.
        timeout_seconds: how long a request may take.
        ca_file: the authorities to trust, for https; the system's when left out.

    Raises:
        ConfigError: the URL is none.
    """

    def __init__(self, url: str, *, token: str = "", timeout_seconds: float = 5.0, ca_file: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no address of a server", hint="write it as http://127.0.0.1:6566")
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca_file or None) if parts.scheme == "https" else None
        self._token = token
        self._timeout = timeout_seconds
        self._idle: list[http.client.HTTPConnection] = []
        self.url = url

    def __repr__(self) -> str:
        return f"Client({self._host!r})"

    def get_online_features(
        self,
        features: Sequence[str] | str,
        entity_rows: EntityRows,
        full_feature_names: bool = False,
        *,
        explain: bool = False,
    ) -> Features:
        """The features of entities as of now.

        Args:
            features: ``["view:feature", ...]``, or the name of a feature service.
            entity_rows: ``[{"driver_id": 1}, ...]``, or ``{"driver_id": [1, ...]}``.
            full_feature_names: name columns ``view__feature``.
            explain: tell how it was read.

        Raises:
            TiffinError: what the server refuses, as the error that the library raises for it.
            StoreUnavailableError: the server cannot be reached.
        """
        body = read_body(features, entity_rows, full_feature_names) | {"explain": explain}
        answer = msgspec.msgpack.decode(self.post("/v1/features", body))
        types = {name: parse_type(text) for name, text in answer["types"].items()}
        return Features(
            {name: _column(cells, types.get(name)) for name, cells in answer["columns"].items()},
            types,
            answer["definitions_version"],
            answer.get("fallback", ""),
            answer.get("explain", {}),
            answer["statuses"],
            answer["event_timestamps"],
        )

    def push(self, source: str, rows: EntityRows, to: PushTo = "online") -> dict[str, Any]:
        """Push facts to every view of a push source; what became of them is in ``views``, ``appended``, ``refused``.

        Raises:
            TiffinError: as for ``get_online_features``; nothing was written when a row is wrong.
        """
        answer: dict[str, Any] = msgspec.json.decode(self.post("/v1/push", {"source": source, "to": to} | _frame(rows)))
        return answer

    def write(self, view: str, rows: EntityRows) -> dict[str, Any]:
        """Write facts of one view online, and tell what became of them: ``written``, ``stale``, ``refused``.

        Raises:
            TiffinError: as for ``get_online_features``; nothing was written when a row is wrong.
        """
        answer: dict[str, Any] = msgspec.json.decode(self.post("/v1/write", {"view": view} | _frame(rows)))
        return answer

    def post(self, path: str, body: Mapping[str, Any], accept: str = MSGPACK) -> bytes:
        """Send a body as msgpack to a route, and give the answer as it came.

        Raises:
            TiffinError: the server refuses it.
            StoreUnavailableError: the server cannot be reached.
        """
        headers = {"content-type": MSGPACK, "accept": accept}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        status, answer = self._exchange(path, msgspec.msgpack.encode(body), headers)
        if status != 200:
            raise _error(status, answer)
        return answer

    def close(self) -> None:
        """Close the connections that are not in use; others are opened when they are needed."""
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        # Taking one from a list and giving it back are single steps, so that threads need no lock.
        connection = self._idle.pop() if self._idle else self._connect()
        is_used = connection.sock is not None
        for may_try_again in (is_used, False):
            try:
                connection.request("POST", self._path + path, body, dict(headers))
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if may_try_again and isinstance(error, _CLOSED):
                    continue
                raise StoreUnavailableError(
                    f"the feature server {self._host} does not answer: {error or type(error).__name__}",
                    subject="feature server",
                    hint="check that `tiffin serve` runs there and can be reached",
                ) from error
            self._idle.append(connection)
            return status, content
        raise AssertionError("the second try returns or raises")

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)


def read_body(features: Sequence[str] | str, entity_rows: EntityRows, full_feature_names: bool) -> dict[str, Any]:
    """The body of a request for features by column, with statuses and times."""
    wanted = {"service": features} if isinstance(features, str) else {"features": list(features)}
    return {
        **wanted,
        **_frame(entity_rows),
        "full_feature_names": full_feature_names,
        "layout": "columns",
        "details": True,
    }


def _frame(rows: EntityRows) -> dict[str, Any]:
    if isinstance(rows, Mapping):
        return {"columns": {name: list(cells) for name, cells in rows.items()}}
    return {"rows": [dict(row) for row in rows]}


def _column(cells: list[Any], dtype: FeatureType | None) -> list[Any]:
    if dtype is None or not _changes(dtype):
        return cells
    return [_value(cell, dtype) for cell in cells]


def _changes(dtype: FeatureType) -> bool:
    """Whether msgpack has another form for values of a type than Python."""
    if isinstance(dtype, Struct):
        return any(_changes(part) for part in dtype.fields.values())
    return isinstance(dtype, Set) or (isinstance(dtype, Array) and _changes(dtype.base_type)) or dtype in _FORMS


_FORMS: dict[FeatureType, Any] = {Decimal: PyDecimal, Uuid: UUID, TimeUuid: UUID}


def _value(value: Any, dtype: FeatureType) -> Any:
    if value is None:
        return None
    if isinstance(dtype, Array | Set):
        items = [_value(item, dtype.base_type) for item in value]
        return set(items) if isinstance(dtype, Set) and _can_be_in_a_set(dtype.base_type) else items
    if isinstance(dtype, Struct):
        return {name: _value(value.get(name), part) for name, part in dtype.fields.items()}
    return _FORMS[dtype](value) if dtype in _FORMS else value


def _can_be_in_a_set(dtype: FeatureType) -> bool:
    return not isinstance(dtype, Array | Set | Struct) and dtype not in (Map, Json)


def _error(status: int, answer: bytes) -> TiffinError:
    """The error that a server tells, of the class that the library has for it."""
    try:
        return error_from(msgspec.json.decode(answer))
    except (msgspec.DecodeError, TypeError, KeyError):
        return TiffinError(f"the feature server answered with status {status}", hint="look at its log")
