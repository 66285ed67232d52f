"""Online reads and writes of a program: to a store, or through a feature server.

With ``online_store: {type: remote, path: http://...}`` definitions, permissions and stores are the server's. What it
answers is the same as a store gives there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tiffin.client import ARROW, Client, EntityRows, read_body
from tiffin.compat.gaps import ONLINE_RESPONSE, WithGaps
from tiffin.contracts.options import options_from
from tiffin.definitions import FeatureService, PushMode
from tiffin.errors import ConfigError
from tiffin.online.pipeline import entity_columns
from tiffin.operations.online import OnlineWrite, read_online, read_online_async, write_online
from tiffin.operations.push import PushReport, push
from tiffin.types import parse_type

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    import pyarrow as pa

    from tiffin.config import RepoConfig
    from tiffin.online.response import OnlineResponse
    from tiffin.operations.context import Context


@dataclass(frozen=True)
class RemoteOptions:
    """Options of an online store of type ``remote``.

    Attributes:
        path: where the server is.
        token: an API key or a token; else ``auth.token``, or the environment variable ``auth.token_env_var``.
        timeout_seconds: how long a request may take.
        cert: the authorities to trust, for https.
        connection_pool_size, connection_idle_timeout, connection_retries: as in Feast; no effect.
    """

    path: str = ""
    token: str = field(default="", repr=False)
    timeout_seconds: float = 5.0
    cert: str = ""
    connection_pool_size: int = 50
    connection_idle_timeout: int = 300
    connection_retries: int = 3


class RemoteResponse(WithGaps):
    """What a server answered, with the methods of ``OnlineResponse``.

    Args:
        entities: the columns of the entity rows, as they went in.
        table: the answer: entity columns, features, then for each feature its statuses and event times.
    """

    _gaps = ONLINE_RESPONSE

    def __init__(self, entities: dict[str, list[Any]], table: pa.Table) -> None:
        import msgspec

        told = msgspec.json.decode(table.schema.metadata[b"tiffin"])
        self._entities = entities
        self._types = {name: parse_type(text) for name, text in told["types"].items()}
        values = table.num_columns - 2 * len(self._types)
        self._table = table.select(range(values)).replace_schema_metadata(None)
        # By position: a feature may be called like the status of another one.
        self._statuses = table.columns[values::2]
        self._times = table.columns[values + 1 :: 2]
        #: What it was answered from because the store did not answer, ``stale`` or ``default``; else empty.
        self.fallback: str = told.get("fallback", "")

    def to_arrow(self, include_event_timestamps: bool = False) -> pa.Table:
        """As ``OnlineResponse.to_arrow``."""
        import pyarrow as pa

        table = self._table
        for name, seconds in (self._seconds() if include_event_timestamps else {}).items():
            table = table.append_column(name, pa.array(seconds, pa.int64()))
        return table

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """As ``OnlineResponse.to_dict``."""
        from tiffin.transforms.column import Column

        answer: dict[str, list[Any]] = dict(self._entities)
        for name, dtype in self._types.items():
            answer[name] = list(Column(dtype, arrow=self._table[name]).python())
        return answer | self._seconds() if include_event_timestamps else answer

    def to_df(self, include_event_timestamps: bool = False) -> pd.DataFrame:
        """As ``OnlineResponse.to_df``."""
        from tiffin.columns import pandas_type

        frame: pd.DataFrame = self.to_arrow(include_event_timestamps).to_pandas(types_mapper=pandas_type)
        return frame

    def statuses(self) -> dict[str, list[str]]:
        """As ``OnlineResponse.statuses``."""
        return {name: each.to_pylist() for name, each in zip(self._types, self._statuses, strict=True)}

    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """As ``OnlineResponse.event_timestamps``."""
        from tiffin.time import from_us

        return {name: [None if us is None else from_us(us) for us in times] for name, times in self._us().items()}

    def _us(self) -> dict[str, list[int | None]]:
        import pyarrow as pa

        return {n: each.cast(pa.int64()).to_pylist() for n, each in zip(self._types, self._times, strict=True)}

    def _seconds(self) -> dict[str, list[int]]:
        times = self._us().items()
        return {f"{name}__ts": [0 if us is None else us // 1_000_000 for us in each] for name, each in times}


def read_features(
    ctx: Context, features: Sequence[str] | FeatureService, entity_rows: EntityRows, full_feature_names: bool = False
) -> OnlineResponse | RemoteResponse:
    """Read features; see ``read_online`` and ``read_remote``."""
    client = ctx.remote
    if client is None:
        return read_online(ctx, features, entity_rows, full_feature_names)
    return read_remote(client, features, entity_rows, full_feature_names)


async def read_features_async(
    ctx: Context, features: Sequence[str] | FeatureService, entity_rows: EntityRows, full_feature_names: bool = False
) -> OnlineResponse | RemoteResponse:
    """Like ``read_features``, without holding up the event loop."""
    client = ctx.remote
    if client is None:
        return await read_online_async(ctx, features, entity_rows, full_feature_names)
    return await asyncio.to_thread(read_remote, client, features, entity_rows, full_feature_names)


def push_facts(ctx: Context, push_source_name: str, df: Any, to: PushMode) -> PushReport:
    """Push facts; see ``push`` and ``push_remote``."""
    client = ctx.remote
    return push(ctx, push_source_name, df, to) if client is None else push_remote(client, push_source_name, df, to)


def write_facts(ctx: Context, feature_view_name: str, df: Any) -> OnlineWrite:
    """Write facts of one view online; see ``write_online`` and ``write_remote``."""
    client = ctx.remote
    return write_online(ctx, feature_view_name, df) if client is None else write_remote(client, feature_view_name, df)


def client_of(config: RepoConfig) -> Client | None:
    """A client of the server that a repository reads from; ``None`` when it reads from a store of its own.

    Raises:
        ConfigError: an option is unknown or wrong.
    """
    section = config.online_store
    if section is None or section.type != "remote":
        return None
    options = options_from(RemoteOptions, "online_store", section.options)
    if not options.path:
        raise ConfigError("online_store.path is missing", hint="say where the server is: path: http://127.0.0.1:6566")
    auth = config.auth.options
    token = options.token or str(auth.get("token", "")) or os.environ.get(str(auth.get("token_env_var", "")), "")
    return Client(options.path, token=token, timeout_seconds=options.timeout_seconds, ca_file=options.cert)


def read_remote(
    client: Client, features: Sequence[str] | FeatureService, entity_rows: EntityRows, full_feature_names: bool
) -> RemoteResponse:
    """Read features, as ``read_online`` would where the server is.

    Raises:
        TiffinError: as ``read_online``, and what a server refuses besides.
        StoreUnavailableError: the server cannot be reached.
    """
    import pyarrow as pa

    wanted = features.name if isinstance(features, FeatureService) else features
    entities, _ = entity_columns(entity_rows)
    answer = client.post("/v1/features", read_body(wanted, entities, full_feature_names), ARROW)
    with pa.ipc.open_stream(answer) as reader:
        return RemoteResponse(entities, reader.read_all())


def push_remote(client: Client, push_source_name: str, df: Any, to: PushMode) -> PushReport:
    """Push facts.

    Raises:
        TiffinError: as ``push``, and what a server refuses besides.
    """
    report = client.push(push_source_name, _columns(df), to.name.lower())  # type: ignore[arg-type]
    views = {name: _written(done) for name, done in report["views"].items()}
    return PushReport(views, report["appended"], tuple(report["refused"]))


def write_remote(client: Client, feature_view_name: str, df: Any) -> OnlineWrite:
    """Write facts of one view.

    Raises:
        TiffinError: as ``write_online``, and what a server refuses besides.
    """
    report = client.write(feature_view_name, _columns(df))
    return _written(report)


def _written(done: Mapping[str, Any]) -> OnlineWrite:
    counts = {name: done[name] for name in ("written", "stale", "late", "capped", "quarantined")}
    return OnlineWrite(**counts, refused=tuple(done.get("refused", ())))


def _columns(df: Any) -> dict[str, list[Any]]:
    from tiffin.operations.entity_rows import to_table

    table = to_table(df)
    return {name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)}
